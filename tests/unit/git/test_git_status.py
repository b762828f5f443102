"""Strange repositories: what we tell of them is what `git status` tells, read by libgit2 and read by git itself."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pygit2
import pytest

from ralph_loop.git import clidiff, cliread, gitcli, read
from ralph_loop.git.changes import path_fields
from ralph_loop.git.diffs import diff
from ralph_loop.git.linecount import LineCounter
from ralph_loop.git.locate import locate
from ralph_loop.git.scratch import ReadError
from ralph_loop.git.shapes import Recorded, Side
from ralph_loop.git.snapshot import SnapshotStore
from ralph_loop.protocol import GitStatus

Git = Callable[..., bytes]
Env = dict[str, str]
State = Callable[[Path, Git], Path | None]
"""Brings a repository of ours into a state; the answer is where that is, when it is not there."""


def fill(folder: Path, git: Git) -> None:
    (folder / "a.txt").write_text("".join(f"line {n}\n" for n in range(10)))
    (folder / "dir").mkdir()
    (folder / "dir" / "b.txt").write_text("b\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "link").symlink_to("a.txt")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first\nof two lines\n\nwith a body")


def other(folder: Path) -> Path:
    return folder.parent / "other"


def second(folder: Path, git: Git) -> Path:
    git(folder.parent, "clone", "-q", str(folder), "other")
    return other(folder)


def unborn(folder: Path, git: Git) -> None:
    git(folder, "checkout", "-q", "--orphan", "new")


def detached(folder: Path, git: Git) -> None:
    git(folder, "checkout", "-q", "--detach")


def with_an_upstream(folder: Path, git: Git) -> Path:
    clone = second(folder, git)
    git(folder, "commit", "-q", "--allow-empty", "-m", "theirs")
    git(clone, "commit", "-q", "--allow-empty", "-m", "ours")
    git(clone, "commit", "-q", "--allow-empty", "-m", "ours too")
    git(clone, "fetch", "-q")
    git(clone, "branch", "-q", "--no-track", "feature/é")
    return clone


def upstream_gone(folder: Path, git: Git) -> Path:
    clone = second(folder, git)
    git(clone, "update-ref", "-d", "refs/remotes/origin/main")
    return clone


def bare(folder: Path, git: Git) -> Path:
    git(folder.parent, "clone", "-q", "--bare", str(folder), "other")
    return other(folder)


def worktree(folder: Path, git: Git) -> Path:
    git(folder, "worktree", "add", "-q", "-b", "tree", str(other(folder)))
    (other(folder) / "a.txt").write_text("changed\n")
    return other(folder)


def submodule(folder: Path, git: Git) -> None:
    git(folder, "submodule", "add", "-q", str(second(folder, git)), "sub")
    git(folder, "commit", "-qm", "sub")


def submodule_moved(folder: Path, git: Git) -> None:
    submodule(folder, git)
    git(folder / "sub", "commit", "-q", "--allow-empty", "-m", "inside")


def submodule_dirty(folder: Path, git: Git) -> None:
    submodule(folder, git)
    (folder / "sub" / "a.txt").write_text("changed\n")


def submodule_with_untracked(folder: Path, git: Git) -> None:
    submodule(folder, git)
    (folder / "sub" / "new").write_text("new\n")


def submodule_not_there(folder: Path, git: Git) -> None:
    submodule(folder, git)
    git(folder, "submodule", "deinit", "-q", "-f", "sub")


def nested(folder: Path, git: Git) -> None:
    second(folder, git).rename(folder / "inner")


def sparse(folder: Path, git: Git) -> None:
    git(folder, "sparse-checkout", "set", "--cone", "nothing")


def sparse_and_there(folder: Path, git: Git) -> None:
    sparse(folder, git)
    (folder / "dir").mkdir()
    (folder / "dir" / "b.txt").write_text("changed\n")


def sparse_index_and_there(folder: Path, git: Git) -> None:
    git(folder, "sparse-checkout", "set", "--cone", "--sparse-index", "nothing")
    (folder / "dir").mkdir()
    (folder / "dir" / "b.txt").write_text("changed\n")
    (folder / "dir" / "new").write_text("new\n")


def skip_worktree_and_there(folder: Path, git: Git) -> None:
    git(folder, "update-index", "--skip-worktree", "a.txt")
    (folder / "a.txt").write_text("changed\n")


def staged_outside_sparse(folder: Path, git: Git) -> None:
    sparse_and_there(folder, git)
    git(folder, "add", "--sparse", "dir/b.txt")
    (folder / "dir" / "b.txt").write_text("changed again\n")


def diverged(folder: Path, git: Git) -> None:
    git(folder, "checkout", "-q", "-b", "other")
    (folder / "a.txt").write_text("other\n")
    git(folder, "commit", "-qam", "other")
    git(folder, "checkout", "-q", "main")
    (folder / "a.txt").write_text("main\n")
    git(folder, "commit", "-qam", "main")


def in_progress(*command: str) -> State:
    def state(folder: Path, git: Git) -> None:
        diverged(folder, git)
        git(folder, *command, check=False)

    return state


def all_conflicts(folder: Path, git: Git) -> None:
    """UU AA DU UD, and with a rename on either side DD AU UA."""
    for name in ("uu", "du", "ud", "moved"):
        (folder / name).write_text("".join(f"{name} {n}\n" for n in range(10)))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "base")
    for branch in ("theirs", "ours"):
        git(folder, "checkout", "-q", "-b", branch, "main")
        (folder / "uu").write_text(f"{branch}\n")
        (folder / "aa").write_text(f"{branch}\n")
        gone, kept = ("ud", "du") if branch == "theirs" else ("du", "ud")
        git(folder, "rm", "-q", gone)
        (folder / kept).write_text(f"{branch}\n")
        git(folder, "mv", "moved", f"moved by {branch}")
        git(folder, "add", ".")
        git(folder, "commit", "-qm", branch)
    git(folder, "merge", "theirs", check=False)


def everything_staged(folder: Path, git: Git) -> None:
    git(folder, "mv", "a.txt", "dir/moved.txt")
    (folder / "link").unlink()
    (folder / "link").write_text("a file now\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "new").write_bytes(b"\0binary")
    git(folder, "rm", "-q", "dir/b.txt")
    git(folder, "add", ".")


def nothing_staged(folder: Path, git: Git) -> None:
    (folder / "a.txt").write_text("".join(f"line {n}\n" for n in range(5)) + "more\n")
    (folder / "link").unlink()
    (folder / "link").write_text("a file now\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "dir" / "b.txt").unlink()
    (folder / "dir").rmdir()
    (folder / "dir").write_text("in the place of a folder\n")


def links(folder: Path, git: Git) -> None:
    (folder / "link").unlink()
    (folder / "link").symlink_to("elsewhere")
    (folder / "run.sh").unlink()
    (folder / "run.sh").symlink_to("a.txt")
    (folder / "to dir").symlink_to("dir")
    (folder / "dangling").symlink_to("nowhere")


def names(folder: Path, git: Git) -> None:
    odd = [
        b"\xff",
        b"new\nline",
        b'"quoted"',
        b"tab\t",
        b"back\\slash",
        b" space ",
        b"A.txt",
        b"-n",
        b"*",
        b":x",
        "é".encode(),
    ]
    for name in odd:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_text("x\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "odd")
    for name in odd:
        path = Path(os.fsdecode(os.fsencode(folder) + b"/" + name))
        if name != b"\xff":
            path.write_text("changed\n")
        Path(f"{path} untracked").write_text("")
    git(folder, "mv", "\udcff", "\udcfe")


def intent_to_add(folder: Path, git: Git) -> None:
    (folder / "intended").write_text("1\n2\n")
    (folder / "empty").write_text("")
    git(folder, "add", "-N", "intended", "empty")


def assume_unchanged(folder: Path, git: Git) -> None:
    git(folder, "update-index", "--assume-unchanged", "a.txt", "run.sh")
    (folder / "a.txt").write_text("changed\n")
    (folder / "run.sh").unlink()


def line_endings(folder: Path, git: Git) -> None:
    git(folder, "config", "core.autocrlf", "true")
    (folder / ".gitattributes").write_text("*.lf text eol=lf\n*.id ident\n*.raw -text\n")
    (folder / "x.lf").write_bytes(b"a\r\nb\r\n")
    (folder / "x.id").write_bytes(b"$Id$\n")
    (folder / "x.raw").write_bytes(b"a\r\n")
    (folder / "win").write_bytes(b"a\r\nb\r\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "endings")
    for name in ("x.lf", "x.id", "x.raw", "win"):
        os.utime(folder / name, (1, 1))
    (folder / "a.txt").write_bytes((folder / "a.txt").read_bytes().replace(b"\n", b"\r\n") + b"more\r\n")


def changed_all_over(folder: Path, git: Git) -> None:
    """A change of every kind, staged and not: what attributes say counts for all of them."""
    for name in ("kept.txt", "staged.txt", "gone.txt", "dir/deep/c.txt", "old name.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("".join(f"{name} {n}\n" for n in range(20)))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "more")
    for name in ("a.txt", "dir/b.txt", "dir/deep/c.txt", "staged.txt", "old name.txt"):
        with (folder / name).open("a") as file:
            file.write("more\n$Id: x$\nnot ended")
    git(folder, "mv", "old name.txt", "dir/new name.txt")
    (folder / "dir" / "added.txt").write_bytes(b"1\n2\r\n3\r\n")
    git(folder, "add", "staged.txt", "dir/added.txt", "dir/new name.txt")
    git(folder, "rm", "-q", "kept.txt")
    (folder / "gone.txt").unlink()
    (folder / "run.sh").write_bytes(b"#!/bin/sh\r\n")


def with_attributes(at: str, rules: str) -> State:
    def state(folder: Path, git: Git) -> None:
        changed_all_over(folder, git)
        (folder / at).parent.mkdir(parents=True, exist_ok=True)
        (folder / at).write_text(rules)

    return state


def attributes_in_the_index_only(folder: Path, git: Git) -> None:
    with_attributes("dir/.gitattributes", "*.txt -diff\n")(folder, git)
    git(folder, "add", "dir/.gitattributes")
    (folder / "dir" / ".gitattributes").unlink()


def attributes_of_the_person(folder: Path, git: Git) -> None:
    with_attributes("../attributes", "*.txt -diff\n")(folder, git)
    git(folder, "config", "core.attributesFile", str(folder.parent / "attributes"))


def attributes_of_a_driver(folder: Path, git: Git) -> None:
    git(folder, "config", "diff.mine.binary", "true")
    git(folder, "config", "filter.mine.clean", "tr a-z A-Z")
    with_attributes(".gitattributes", "*.txt diff=mine\n*.sh filter=mine\n")(folder, git)


def configured(key: str, value: str) -> State:
    def state(folder: Path, git: Git) -> None:
        git(folder, "config", key, value)
        changed_all_over(folder, git)

    return state


def binaries(folder: Path, git: Git) -> None:
    contents = {"early": b"\0 early\n", "late": b"x\n" * 5000 + b"\0", "none": b"", "text": b"1\n2"}
    for old in contents:
        for new in contents:
            (folder / f"{old} {new}").write_bytes(contents[old])
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "binaries")
    for old in contents:
        for new in contents:
            (folder / f"{old} {new}").write_bytes(contents[new] + b"more\n")
        git(folder, "rm", "-q", "--cached", f"{old} none")
        (folder / f"{old} late").unlink()
        git(folder, "add", f"{old} early")


def modes_that_do_not_count(folder: Path, git: Git) -> None:
    git(folder, "config", "core.fileMode", "false")
    (folder / "run.sh").chmod(0o755)
    (folder / "a.txt").chmod(0o755)
    (folder / "a.txt").write_text("changed\n")


def ignored(folder: Path, git: Git) -> None:
    (folder / ".gitignore").write_text("build/\n*.log\n!keep.log\n")
    for name in ("build/x", "dir/y.log", "dir/keep.log", "sub/build/z", "sub/w"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x\n")
    git(folder, "add", "-f", "dir/y.log")
    (folder / ".git" / "info" / "exclude").write_text("w\n")


def folder_became_a_link(folder: Path, git: Git) -> None:
    (folder / "dir").rename(folder / "moved")
    (folder / "dir").symlink_to("moved")


def file_became_a_folder(folder: Path, git: Git) -> None:
    (folder / "a.txt").unlink()
    (folder / "a.txt").mkdir()
    (folder / "a.txt" / "inside").write_text("x\n")


def tracked_became_a_repository(folder: Path, git: Git) -> None:
    second(folder, git).rename(folder / "inner")
    (folder / "dir" / "b.txt").unlink()
    (folder / "dir").rmdir()
    (folder / "inner").rename(folder / "dir")


def only_out_of_the_index(folder: Path, git: Git) -> None:
    git(folder, "rm", "-q", "--cached", "a.txt", "dir/b.txt")


def renamed_and_changed(folder: Path, git: Git) -> None:
    git(folder, "mv", "a.txt", "A.TXT")
    with (folder / "A.TXT").open("a") as file:
        file.write("more\n")
    git(folder, "mv", "run.sh", "gone.sh")
    (folder / "gone.sh").unlink()


def without_case(folder: Path, git: Git) -> None:
    git(folder, "config", "core.ignoreCase", "true")
    (folder / ".gitignore").write_text("*.LOG\n")
    (folder / "x.log").write_text("x\n")
    (folder / "new").write_text("x\n")
    (folder / "dir" / "b.txt").write_text("changed\n")


def submodule_to_be_ignored(folder: Path, git: Git) -> None:
    submodule_dirty(folder, git)
    git(folder, "config", "submodule.sub.ignore", "dirty")


def untracked_in_submodule_to_be_ignored(folder: Path, git: Git) -> None:
    submodule_with_untracked(folder, git)
    git(folder, "config", "-f", ".gitmodules", "submodule.sub.ignore", "untracked")
    git(folder, "commit", "-qam", "ignored")


def moved_submodule_to_be_ignored(folder: Path, git: Git) -> None:
    submodule_moved(folder, git)
    git(folder, "config", "-f", ".gitmodules", "submodule.sub.ignore", "all")
    git(folder, "commit", "-qam", "ignored")


def special_files(folder: Path, git: Git) -> None:
    os.mkfifo(folder / "fifo")
    (folder / "empty" / "folder").mkdir(parents=True)


def only_touched(folder: Path, git: Git) -> None:
    for name in ("a.txt", "run.sh"):
        os.utime(folder / name, (1, 1))


STATES: dict[str, State] = {
    state.__name__: state
    for state in (
        unborn, detached, with_an_upstream, upstream_gone, bare, worktree, submodule, submodule_moved, submodule_dirty,
        submodule_with_untracked, submodule_not_there, nested, sparse, sparse_and_there, sparse_index_and_there,
        skip_worktree_and_there, staged_outside_sparse, all_conflicts, everything_staged, nothing_staged, links, names,
        intent_to_add, assume_unchanged, line_endings, modes_that_do_not_count, ignored, only_touched,
        folder_became_a_link, file_became_a_folder, tracked_became_a_repository,
        only_out_of_the_index, renamed_and_changed, without_case, submodule_to_be_ignored,
        untracked_in_submodule_to_be_ignored, moved_submodule_to_be_ignored, special_files, attributes_of_a_driver,
    )
} | {
    name: in_progress(*command)
    for name, command in {
        "merge": ("merge", "other"),
        "rebase": ("rebase", "other"),
        "cherry_pick": ("cherry-pick", "other"),
        "revert": ("revert", "HEAD~1"),
        "bisect": ("bisect", "start", "main", "main~1"),
    }.items()
}  # fmt: skip
COUNTED: dict[str, tuple[State, str]] = {
    "changed_all_over": (changed_all_over, ""),
    "binaries": (binaries, ""),
    "attributes_in_the_index_only": (attributes_in_the_index_only, "dir/.*"),
    "attributes_of_the_person": (attributes_of_the_person, ".*"),
    "attributes_at_the_root": (with_attributes(".gitattributes", "*.txt -diff\n*.sh binary\n"), ".*"),
    "attributes_above": (with_attributes("dir/.gitattributes", "c.txt -diff\n* text=auto\nb.txt ident\n"), "dir/.*"),
    "attributes_below": (with_attributes("dir/deep/.gitattributes", "* binary\n"), "dir/deep/.*"),
    "attributes_elsewhere": (with_attributes("apart/.gitattributes", "* binary\n"), ""),
    "attributes_of_the_repository": (with_attributes(".git/info/attributes", "*.txt -diff\n*.sh text eol=lf\n"), ".*"),
    "attributes_of_the_home": (with_attributes("../home/.config/git/attributes", "*.txt -diff\n"), ".*"),
    "line_endings_for_windows": (configured("core.autocrlf", "true"), ".*"),
    "line_endings_to_be_taken": (configured("core.autocrlf", "input"), ".*"),
    "line_endings_as_they_are": (configured("core.autocrlf", "false"), ""),
    "line_endings_of_text": (configured("core.eol", "crlf"), ""),
}
"""With the paths whose lines only libgit2 can count."""
STATES.update((name, state) for name, (state, _) in COUNTED.items())


def asked(git: Git, folder: Path) -> dict[str, object]:
    """What `git status --porcelain=v2` tells."""
    fields = iter(
        git(folder, "--no-optional-locks", "status", "--porcelain=v2", "-z", "--branch", "-uall").split(b"\0")
    )
    told: dict[str, object] = {"branch": None, "upstream": None, "ahead": 0, "behind": 0}
    lists: dict[str, list[object]] = {"staged": [], "unstaged": [], "untracked": [], "conflicts": []}
    for field in fields:
        kind, _, rest = field.partition(b" ")
        if kind == b"#":
            key, _, value = rest.decode().partition(" ")
            if key == "branch.ab":
                told["ahead"], told["behind"] = (abs(int(number)) for number in value.split())
            elif key in ("branch.oid", "branch.head", "branch.upstream"):
                name = {"oid": "head", "head": "branch"}.get(key[7:], key[7:])
                told[name] = None if value in ("(initial)", "(detached)") else value
        elif kind in (b"1", b"2"):
            parts = rest.split(b" ", 7 if kind == b"1" else 8)
            path = path_fields(parts[-1])[0]
            old = path_fields(next(fields))[0] if kind == b"2" else None
            for name, letter in zip(("staged", "unstaged"), parts[0].decode(), strict=True):
                if letter != ".":
                    lists[name].append((letter, path, old if letter == "R" else None))
        elif kind == b"u":
            lists["conflicts"].append(path_fields(rest.split(b" ", 9)[-1])[0])
        elif kind == b"?":
            lists["untracked"].append(path_fields(rest)[0])
    return told | {name: sorted(found, key=str) for name, found in lists.items()}


def told(seen: GitStatus) -> dict[str, object]:
    letters = {"create": "A", "delete": "D", "modify": "M", "rename": "R", "typeChange": "T"}
    return {
        "branch": seen.branch, "head": seen.head, "upstream": seen.upstream, "ahead": seen.ahead, "behind": seen.behind,
        "staged": sorted([(letters[one.kind], one.path, one.old_path) for one in seen.staged], key=str),
        "unstaged": sorted([(letters[one.kind], one.path, one.old_path) for one in seen.unstaged], key=str),
        "untracked": sorted(seen.untracked), "conflicts": sorted(seen.conflicts),
    }  # fmt: skip


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_every_state_is_told_as_git_tells_it(tmp_path: Path, git: Git, env: Env, state: State, algorithm: str) -> None:
    def run(folder: Path, *args: str | bytes, check: bool = True, **more: str) -> bytes:
        return git(folder, *args, check=check, GIT_DEFAULT_HASH=algorithm, **more)

    folder = tmp_path / "repo"
    git(tmp_path, "init", "-q", f"--object-format={algorithm}", str(folder))
    fill(folder, git)
    at = state(folder, run) or folder
    place = locate(at)
    assert gitcli.is_needed(place, env) == (algorithm == "sha256")
    if place.bare:
        seen = read.status(place, env)
        assert (seen.branch, seen.staged, seen.unstaged, seen.untracked) == ("main", [], [], [])
    else:
        seen = read.status(place, env)
        index = (place.git_dir or at) / "index"
        before = index.read_bytes() if index.exists() else b""
        expected = asked(git, at)
        assert told(seen) == expected
        assert (index.read_bytes() if index.exists() else b"") == before
        assert read.dirty(place, env) == cliread.dirty(place, env)
    if algorithm == "sha256":
        return  # there is one way to read these
    assert cliread.status(place, env) == seen
    assert cliread.branches(place, env) == read.branches(place, env)
    assert cliread.log(place, env) == read.log(place, env)
    sides = ["HEAD"] if place.bare else ["HEAD", "index", "worktree"]
    for old in sides:
        for new in sides:
            if state is intent_to_add and "index" in (old, new):
                continue  # libgit2 takes what is in the index by name only as an empty file there
            assert clidiff.compared(place, env, old, new, None, False) == diff(place, env, old, new), (old, new)


@pytest.mark.parametrize(("state", "left"), COUNTED.values(), ids=COUNTED)
def test_lines_are_counted_as_git_counts_them(
    tmp_path: Path, git: Git, env: Env, state: State, left: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: dict[str, bool] = {}

    def count(counter: LineCounter, delta: pygit2.DiffDelta) -> tuple[int, int, bool] | None:
        found = known(counter, delta)
        counted[delta.new_file.path] = found is not None
        return found

    known = LineCounter.count
    monkeypatch.setattr(LineCounter, "count", count)
    folder = tmp_path / "repo"
    git(tmp_path, "init", "-q", str(folder))
    fill(folder, git)
    state(folder, git)
    seen = read.status(locate(folder), env)
    for changes, options in ((seen.unstaged, ("--no-renames",)), (seen.staged, ("--cached", "-M"))):
        expected = set(git(folder, "diff", "--numstat", *options).decode().splitlines())
        found = set[str]()
        for one in changes:
            lines = ("-", "-") if one.binary else (one.added, one.removed)
            name = f"{one.old_path} => {one.path}" if one.old_path else one.path
            found.add("\t".join(map(str, (*lines, name))))
        assert {line for line in found ^ expected if not line.startswith("0\t0\t")} == set()
    assert counted
    assert counted == {path: not re.fullmatch(left, path) for path in counted}


def test_recorded_trees_in_another_object_format(tmp_path: Path, git: Git, env: Env) -> None:
    """Records name objects by SHA-1: in a repository with SHA-256 they are compared by content all the same."""
    git(tmp_path, "init", "-q", "--object-format=sha256", "other")
    fill(other(tmp_path / "repo"), git)
    git(tmp_path, "init", "-q", "--object-format=sha256", "repo")
    repo = tmp_path / "repo"
    fill(repo, git)
    git(repo, "submodule", "add", "-q", str(tmp_path / "other"), "sub")
    git(repo, "config", "core.autocrlf", "true")
    (repo / "win.txt").write_bytes(b"a\r\nb\r\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "second")
    (repo / "untracked").write_text("x\n")
    place = locate(repo)
    store = SnapshotStore(tmp_path / "store", place, env)
    first = Recorded(store, store.take("first"))
    (repo / "a.txt").write_text("changed\n")
    later = Recorded(store, store.take("second"))
    expected: dict[tuple[Side, Side], list[tuple[str, str, int, int]]] = {
        (first, later): [("a.txt", "modify", 1, 10)],
        (first, "worktree"): [("a.txt", "modify", 1, 10)],
        ("HEAD", first): [("untracked", "create", 1, 0)],
        (later, "HEAD"): [("a.txt", "modify", 10, 1), ("untracked", "delete", 0, 1)],
        ("index", later): [("a.txt", "modify", 1, 10), ("untracked", "create", 1, 0)],
        (first, "index"): [("untracked", "delete", 0, 1)],
    }
    for (old, new), told in expected.items():
        seen = diff(place, env, old, new)
        assert [(one.path, one.kind, one.added, one.removed) for one in seen.files] == told, (old, new)


def test_patches_are_those_of_git(tmp_path: Path, git: Git, env: Env) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "repo")
    repo = tmp_path / "repo"
    fill(repo, git)
    nothing_staged(repo, git)
    place = locate(repo)
    shown = diff(place, env, patch=True)
    assert (shown.patch or "").encode() == git(repo, "diff", "HEAD")
    shown = diff(place, env, path="dir", patch=True)
    assert [one.path for one in shown.files] == ["dir/b.txt"]
    assert (shown.patch or "").encode() == git(repo, "diff", "HEAD", "--", "dir")
    assert diff(place, env, path="link", patch=True).patch == git(repo, "diff", "HEAD", "--", "link").decode()
    for side in ("no-such", "-x", "HEAD:a.txt", ""):
        with pytest.raises(ReadError):
            diff(place, env, side, "worktree")
    with pytest.raises(ReadError, match="no commit"):
        read.log(place, env, 1, before="1" * 64)
    assert [one.subject for one in read.log(place, env, 1).commits] == ["first of two lines"]


def test_reading_by_git_runs_and_writes_nothing(tmp_path: Path, git: Git, env: Env) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "repo")
    repo = tmp_path / "repo"
    fill(repo, git)
    submodule(repo, git)
    for at in (repo, repo / "sub"):
        (at / ".gitattributes").write_text("*.txt filter=bad diff=bad\n")
        for key in ("filter.bad.clean", "filter.bad.process", "diff.bad.textconv", "diff.bad.command", "diff.external"):
            git(at, "config", key, f"touch {tmp_path}/ran; cat")
        git(at, "config", "core.fsmonitor", f"touch {tmp_path}/ran")
        git(at, "config", "core.pager", f"touch {tmp_path}/ran")
        (at / "a.txt").write_text("changed\n")
        os.utime(at / "dir" / "b.txt", (1, 1))

    def fingerprint() -> dict[str, tuple[int, bytes]]:
        found = {str(path): path.stat() for path in (repo / ".git").rglob("*")}
        return {path: (status.st_mtime_ns, b"%d" % status.st_size) for path, status in found.items()}

    known, place = fingerprint(), locate(repo)
    read.status(place, env)
    read.dirty(place, env)
    read.log(place, env)
    read.branches(place, env)
    for old, new in (("HEAD", "worktree"), ("HEAD", "index"), ("index", "worktree"), ("worktree", "HEAD")):
        diff(place, env, old, new, patch=True)
    assert fingerprint() == known
    assert not (tmp_path / "ran").exists()


def test_without_a_git_that_can_read_it_the_reason_is_told(tmp_path: Path, git: Git, env: Env) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "repo")
    with pytest.raises(ReadError, match="not found on your PATH"):
        read.status(locate(tmp_path / "repo"), {**env, "PATH": str(tmp_path)})
    git(tmp_path / "repo", "config", "extensions.refStorage", "of-the-future")
    with pytest.raises(ReadError, match="unknown repository extension"):
        read.status(locate(tmp_path / "repo"), env)
