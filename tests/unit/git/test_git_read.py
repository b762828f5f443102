"""Status, log, branches and diffs, compared with the real git."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ralph_loop.git import read
from ralph_loop.git.diffs import diff
from ralph_loop.git.locate import locate
from ralph_loop.git.scratch import ReadError
from ralph_loop.git.shapes import Recorded
from ralph_loop.git.snapshot import SnapshotStore
from ralph_loop.protocol import Change, GitStatus

Git = Callable[..., bytes]
Env = dict[str, str]


def status(folder: Path, env: Env) -> GitStatus:
    return read.status(locate(folder), env)


def kinds(changes: list[Change]) -> dict[str, str]:
    return {f"{one.old_path} > {one.path}" if one.old_path else one.path: one.kind for one in changes}


def test_a_clean_repository(repo: Path, env: Env, git: Git) -> None:
    head = git(repo, "rev-parse", "HEAD").decode().strip()
    assert status(repo / "dir", env) == GitStatus(
        branch="main", detached=False, unborn=False, head=head, ahead=0, behind=0,
        staged=[], unstaged=[], untracked=[], conflicts=[],
    )  # fmt: skip


def test_everything_at_once(repo: Path, env: Env, git: Git, home: Path) -> None:
    (repo / "long.txt").write_text("".join(f"{n}\n" for n in range(20)))
    (repo / "gone").write_text("1\n2\n")
    (repo / "link").symlink_to("a.txt")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "more")
    (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/ignores\n")
    (home / "ignores").write_text("*.mine\n")
    git(repo, "mv", "long.txt", "moved.txt")
    (repo / "a.txt").write_text("staged\n")
    (repo / "new").write_text("1\n2\n3\n")
    git(repo, "add", "a.txt", "new")
    (repo / "a.txt").write_text("staged\nand more\n")
    (repo / "gone").unlink()
    (repo / "link").unlink()
    (repo / "link").write_text("file\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "blob").write_bytes(b"\0")
    (repo / "un" / "tracked").mkdir(parents=True)
    (repo / "un" / "tracked" / "\udcff\n").write_text("")
    (repo / "x.mine").write_text("")
    seen = status(repo, env)
    assert {"a.txt": "modify", "new": "create", "long.txt > moved.txt": "rename"} == kinds(seen.staged)
    assert {"a.txt": "modify", "gone": "delete", "link": "typeChange", "run.sh": "modify"} == kinds(seen.unstaged)
    assert [(one.added, one.removed) for one in seen.staged] == [(1, 10), (0, 0), (3, 0)]
    assert [(one.added, one.removed) for one in seen.unstaged] == [(1, 0), (0, 2), (1, 1), (0, 0)]
    assert seen.untracked == ["blob", "un/tracked/�\n"]
    assert read.dirty(locate(repo), env) == frozenset(
        {b"a.txt", b"new", b"long.txt", b"moved.txt", b"gone", b"link", b"run.sh", b"blob", b"un/tracked/\xff\n"}
    )


def test_unborn_detached_and_bare(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    git(tmp_path, "init", "-q", "new")
    (tmp_path / "new" / "x").write_text("1\n")
    git(tmp_path / "new", "add", "x")
    unborn = status(tmp_path / "new", env)
    assert (unborn.unborn, unborn.detached, unborn.branch, unborn.head) == (True, False, "main", None)
    assert kinds(unborn.staged) == {"x": "create"}
    assert (
        read.log(locate(tmp_path / "new"), env).commits == []
        and read.branches(locate(tmp_path / "new"), env).branches == []
    )
    git(repo, "checkout", "-q", "--detach")
    detached = status(repo, env)
    assert (detached.unborn, detached.detached, detached.branch) == (False, True, None) and detached.head
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    bare = status(tmp_path / "bare.git", env)
    assert (bare.branch, bare.detached, bare.staged, bare.untracked) == ("main", False, [], [])


def test_upstream_ahead_and_behind(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    git(tmp_path, "clone", "-q", str(repo), "clone")
    clone = tmp_path / "clone"
    git(repo, "commit", "-q", "--allow-empty", "-m", "theirs")
    for n in range(2):
        git(clone, "commit", "-q", "--allow-empty", "-m", f"ours {n}")
    git(clone, "fetch", "-q")
    seen = status(clone, env)
    assert (seen.upstream, seen.ahead, seen.behind) == ("origin/main", 2, 1)
    git(clone, "checkout", "-q", "-b", "local", "--track", "main")
    assert status(clone, env).upstream == "main"
    git(clone, "update-ref", "-d", "refs/remotes/origin/main")
    git(clone, "checkout", "-q", "main")
    gone = status(clone, env)
    assert (gone.upstream, gone.ahead, gone.behind) == ("origin/main", 0, 0)
    git(clone, "config", "remote.origin.fetch", "+refs/heads/m*:refs/remotes/mine/m*")
    git(clone, "fetch", "-q")
    mapped = status(clone, env)
    assert (mapped.upstream, mapped.ahead, mapped.behind) == ("mine/main", 2, 1)
    git(clone, "config", "branch.main.remote", str(repo))  # a URL: nothing here stands for it
    assert status(clone, env).upstream is None


@pytest.mark.parametrize(
    ("command", "told", "conflicts"),
    [
        (("merge", "other"), "merge", ["a.txt"]),
        (("rebase", "other"), "rebase", ["a.txt"]),
        (("cherry-pick", "other"), "cherry-pick", ["a.txt"]),
        (("bisect", "start"), "bisect", []),
    ],
)
def test_what_is_going_on(
    repo: Path, env: Env, git: Git, command: tuple[str, ...], told: str, conflicts: list[str]
) -> None:
    git(repo, "checkout", "-q", "-b", "other")
    (repo / "a.txt").write_text("other\n")
    git(repo, "commit", "-qam", "other")
    git(repo, "checkout", "-q", "main")
    (repo / "a.txt").write_text("main\n")
    git(repo, "commit", "-qam", "main")
    git(repo, *command, check=False)
    seen = status(repo, env)
    assert (seen.operation, seen.conflicts, seen.staged, seen.unstaged) == (told, conflicts, [], [])
    place = locate(repo)
    assert diff(place, env, "HEAD", "index").files == []
    if conflicts:  # markers around the one line of either
        found = diff(place, env, patch=True)
        assert [(one.path, one.kind, one.added, one.removed) for one in found.files] == [("a.txt", "modify", 4, 0)]
        assert found.patch is not None and "+<<<<<<< " in found.patch


def test_flags_and_kinds_of_index(repo: Path, env: Env, git: Git) -> None:
    (repo / "intended").write_text("1\n")
    git(repo, "add", "-N", "intended")
    git(repo, "update-index", "--skip-worktree", "dir/b.txt")
    (repo / "dir" / "b.txt").unlink()
    git(repo, "update-index", "--assume-unchanged", "run.sh")
    (repo / "run.sh").write_text("changed\n")
    (repo / "a.txt").write_text("changed\n")
    for option in ("--no-split-index", "--split-index", "--index-version=4", "--index-version=2"):
        git(repo, "update-index", *option.split("="))
        seen = status(repo, env)
        assert kinds(seen.unstaged) == {"a.txt": "modify", "intended": "create"}, option
        assert seen.staged == [] and seen.untracked == [], option
        assert diff(locate(repo), env, "HEAD", "index").files == [], option
        assert [one.path for one in diff(locate(repo), env).files] == ["a.txt", "intended"], option
        assert read.dirty(locate(repo), env) == {b"a.txt", b"intended"}, option


def test_sparse_working_trees_and_submodules(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    git(tmp_path, "clone", "-q", str(repo), "sparse")
    git(tmp_path / "sparse", "sparse-checkout", "set", "--cone", "--sparse-index", "none")
    assert not (tmp_path / "sparse" / "dir").exists()
    sparse = status(tmp_path / "sparse", env)
    assert (sparse.staged, sparse.unstaged, sparse.untracked) == ([], [], [])
    for old, new in (("HEAD", "worktree"), ("HEAD", "index"), ("index", "worktree")):
        assert diff(locate(tmp_path / "sparse"), env, old, new).files == [], (old, new)
    git(repo, "worktree", "add", "-q", "-b", "tree", str(tmp_path / "tree"))
    (tmp_path / "tree" / "a.txt").unlink()
    seen = status(tmp_path / "tree" / "dir", env)
    assert (seen.branch, kinds(seen.unstaged)) == ("tree", {"a.txt": "delete"})
    assert [branch.name for branch in read.branches(locate(tmp_path / "tree"), env).branches if branch.current] == [
        "tree"
    ]
    git(repo, "submodule", "add", "-q", str(tmp_path / "sparse"), "sub")
    git(repo, "commit", "-qm", "sub")
    assert status(repo, env).unstaged == []
    (repo / "sub" / "a.txt").write_text("changed\n")
    assert kinds(status(repo, env).unstaged) == {"sub": "modify"}
    git(repo / "sub", "commit", "-qam", "inside")
    assert [(one.path, one.added, one.removed) for one in status(repo, env).unstaged] == [("sub", 1, 1)]


def test_line_endings_are_those_of_the_configuration(repo: Path, env: Env, git: Git, home: Path) -> None:
    (home / ".gitconfig").write_text("[core]\n\tautocrlf = true\n")
    (repo / "win").write_bytes(b"a\r\nb\r\n")
    git(repo, "add", "win")
    git(repo, "commit", "-qm", "win")
    (repo / "win").write_bytes(b"a\nb\n")
    os.utime(repo / "a.txt")
    assert kinds(status(repo, env).unstaged) == {"win": "modify"}  # as git says: its size is another
    assert diff(locate(repo), env).files == []


def test_reading_writes_nothing_and_runs_nothing(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    def fingerprint() -> dict[str, tuple[int, bytes]]:
        files = [path for path in (repo / ".git").rglob("*")]
        return {
            str(path): (path.stat().st_mtime_ns, hashlib.sha1(path.read_bytes()).digest() if path.is_file() else b"")
            for path in files
        }

    store = SnapshotStore(tmp_path / "store", locate(repo), env)
    tree = store.take("one")
    (repo / ".gitattributes").write_text("*.txt filter=bad diff=bad\n")
    git(repo, "config", "filter.bad.clean", f"touch {tmp_path}/ran; cat")
    git(repo, "config", "diff.bad.textconv", f"touch {tmp_path}/ran; cat")
    git(repo, "config", "core.fsmonitor", f"touch {tmp_path}/ran")
    os.utime(repo / "a.txt")
    (repo / "dir" / "b.txt").write_text("changed\n")
    known = fingerprint()
    place = locate(repo)
    for old, new in (("HEAD", "worktree"), ("HEAD", "index"), ("index", "worktree"), ("worktree", "HEAD")):
        diff(place, env, old, new, patch=True)
    diff(place, env, "HEAD", Recorded(store, tree), patch=True)
    diff(place, env, Recorded(store, tree), "index", patch=True)
    read.status(place, env)
    read.log(place, env)
    read.branches(place, env)
    read.dirty(place, env)
    assert fingerprint() == known
    assert not (tmp_path / "ran").exists()


def test_log_in_pages(repo: Path, git: Git, env: Env) -> None:
    for n in range(12):
        git(repo, "commit", "-q", "--allow-empty", "-m", f"number {n}", GIT_COMMITTER_DATE=f"2030-01-01T00:00:{n:02}Z")
    git(repo, "checkout", "-q", "-b", "side", "HEAD~3")
    git(repo, "commit", "-q", "--allow-empty", "-m", "side", GIT_COMMITTER_DATE="2030-01-01T00:00:30Z")
    git(repo, "merge", "-q", "--no-ff", "-m", "merge", "main", GIT_COMMITTER_DATE="2030-01-01T00:00:31Z")
    expected = git(repo, "log", "--format=%H").decode().split()
    place = locate(repo)
    shas: list[str] = []
    while True:
        page = read.log(place, env, 4, shas[-1] if shas else None)
        shas += [commit.sha for commit in page.commits]
        if not page.more:
            break
        assert len(page.commits) == 4
    assert shas == expected
    assert len(read.log(place, env, 1).commits[0].parents) == 2
    git(repo, "checkout", "-q", "main")
    assert read.log(place, env, 1, before=expected[1]).commits  # not in this history any more
    for before in ("1" * 40, "no-such", "HEAD^{tree}"):
        with pytest.raises(ReadError, match="no commit"):
            read.log(place, env, 1, before=before)


def test_commits_as_they_are(repo: Path, git: Git, env: Env) -> None:
    git(
        repo, "-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "--allow-empty",
        "-m", "two\nlines of subject\n\nbody é\n\nend\n".encode("latin-1"),
        GIT_AUTHOR_DATE="1700000000 +0200", GIT_AUTHOR_EMAIL="x@example.com",
    )  # fmt: skip
    commit = read.log(locate(repo), env, 1).commits[0]
    assert (commit.subject, commit.body) == ("two lines of subject", "body é\n\nend")
    assert (commit.author, commit.email, commit.at) == ("A U Thor", "x@example.com", "2023-11-14T22:13:20.000Z")
    raw = git(repo, "cat-file", "commit", "HEAD").replace(b"1700000000", b"999999999999999")
    (repo / "raw").write_bytes(raw)
    sha = git(repo, "hash-object", "-t", "commit", "-w", "--literally", "raw").decode().strip()
    git(repo, "update-ref", "HEAD", sha)
    assert read.log(locate(repo), env, 1).commits[0].sha == sha


def test_a_page_of_the_log_is_what_an_answer_holds(repo: Path, git: Git, env: Env, tmp_path: Path) -> None:
    message = tmp_path / "message"
    for size in (1_000_000, 60_000, 60_000):
        message.write_text(f"one\n\n{'ü' * size}\n")
        for _ in range(5):
            git(repo, "commit", "-q", "--allow-empty", "-F", str(message))
    place, seen = locate(repo), list[str]()
    page = read.log(place, env, 1000)
    while page.more:
        assert 1 <= len(page.commits) < 15
        assert sum(len(one.body) for one in page.commits) <= 512 * 1024
        seen += [one.sha for one in page.commits]
        page = read.log(place, env, 1000, page.commits[-1].sha)
    seen += [one.sha for one in page.commits]
    assert seen == git(repo, "rev-list", "HEAD").decode().split()
    assert page.commits[-2].body == "ü" * 64 * 1024 + "…"


def test_configuration_and_branches_that_are_no_text(repo: Path, git: Git, env: Env, home: Path) -> None:
    branch = b"caf\xe9"
    (home / ".gitconfig").write_bytes(b"[user]\n\tname = Ren\xe9\n[core]\n\texcludesFile = ~/ignor\xe9s\n")
    (home / "ignor\udce9s").write_text("*.mine\n")
    git(repo, "checkout", "-q", "-b", os.fsdecode(branch))
    with (repo / ".git" / "config").open("ab") as config:
        config.write(b'[branch "caf\xe9"]\n\tremote = .\n\tmerge = refs/heads/main\n')
    (repo / "x.mine").write_text("ignored\n")
    (repo / "x.yours").write_text("not ignored\n")
    found = status(repo, env)
    assert (found.branch, found.untracked) == ("caf\ufffd", ["x.yours"])
    assert len(read.log(locate(repo), env).commits) == len(git(repo, "rev-list", "HEAD").split())
    branches = read.branches(locate(repo), env).branches
    assert [(one.name, one.current) for one in branches] == [("caf\ufffd", True), ("main", False)]
    assert [one.path for one in diff(locate(repo), env, "HEAD", "worktree").files] == []


def test_branches_local_and_remote(tmp_path: Path, repo: Path, git: Git, env: Env) -> None:
    git(repo, "branch", "feature/é")
    git(tmp_path, "clone", "-q", str(repo), "clone")
    git(tmp_path / "clone", "branch", "mine")
    found = read.branches(locate(tmp_path / "clone"), env).branches
    assert [(one.name, one.remote, one.current, one.upstream) for one in found] == [
        ("main", False, True, "origin/main"),
        ("mine", False, False, None),
        ("origin/feature/é", True, False, None),
        ("origin/main", True, False, None),
    ]
    assert {one.sha for one in found} == {git(repo, "rev-parse", "HEAD").decode().strip()}


def numstat(git: Git, repo: Path, *args: str) -> dict[str, tuple[str, str]]:
    fields = iter(git(repo, "diff", "--numstat", "-M", "-z", *args).decode().split("\0"))
    found: dict[str, tuple[str, str]] = {}
    for field in fields:
        if field:
            added, removed, path = field.split("\t")
            if not path:
                next(fields)
                path = next(fields)
            found[path] = (added, removed)
    return found


def test_diffs_between_any_two_sides(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    (repo / "long.txt").write_text("".join(f"{n}\n" for n in range(20)))
    (repo / "bin").write_bytes(b"\0\1")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "second")
    git(repo, "mv", "long.txt", "moved.txt")
    (repo / "a.txt").write_text("staged\n")
    (repo / "new").write_text("1\n2\n3\n")
    git(repo, "add", "a.txt", "new")
    (repo / "a.txt").write_text("staged\nand more\n")
    (repo / "bin").write_bytes(b"\0\2")
    (repo / "dir" / "b.txt").unlink()
    (repo / "untracked").write_text("x\n")
    place = locate(repo)
    pairs = {
        ("HEAD", "worktree"): ("HEAD",),
        ("worktree", "HEAD"): ("-R", "HEAD"),
        ("HEAD", "index"): ("--cached", "HEAD"),
        ("index", "HEAD"): ("--cached", "-R", "HEAD"),
        ("index", "worktree"): (),
        ("worktree", "index"): ("-R",),
        ("HEAD~1", "HEAD"): ("HEAD~1", "HEAD"),
        ("HEAD~1", "worktree"): ("HEAD~1",),
        ("main~1", "index"): ("--cached", "main~1"),
        ("HEAD^{tree}", "HEAD~1"): ("HEAD", "HEAD~1"),
        ("worktree", "worktree"): ("HEAD", "HEAD"),
        ("index", "index"): ("HEAD", "HEAD"),
    }
    for (old, new), args in pairs.items():
        seen = diff(place, env, old, new)
        ours = {one.path: ("-", "-") if one.binary else (str(one.added), str(one.removed)) for one in seen.files}
        assert ours == numstat(git, repo, *args), (old, new)
        assert seen.files_total == len(seen.files) and seen.patch is None
    assert [one.path for one in diff(place, env, "HEAD", "worktree", "dir").files] == ["dir/b.txt"]
    shown = diff(place, env, "HEAD", "worktree", "a.txt", patch=True)
    assert shown.patch == git(repo, "diff", "HEAD", "--", "a.txt").decode()
    for side in ("no-such", "-x", "HEAD:a.txt", ""):
        with pytest.raises(ReadError):
            diff(place, env, side, "worktree")


def test_diffs_with_recorded_trees(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    git(tmp_path, "clone", "-q", str(repo), "other")
    git(repo, "submodule", "add", "-q", str(tmp_path / "other"), "sub")
    git(repo, "config", "core.autocrlf", "true")
    (repo / "win.txt").write_bytes(b"a\r\nb\r\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "second")
    (repo / "untracked").write_text("x\n")
    store = SnapshotStore(tmp_path / "store", locate(repo), env)
    first = Recorded(store, store.take("first"))
    (repo / "a.txt").write_text("changed\n")
    second = Recorded(store, store.take("second"))
    (repo / "win.txt").write_bytes(b"a\r\nb\r\nc\r\n")
    place = locate(repo)
    expected = {
        (first, second): [("a.txt", "modify", 1, 10)],
        (second, first): [("a.txt", "modify", 10, 1)],
        (first, "worktree"): [("a.txt", "modify", 1, 10), ("win.txt", "modify", 1, 0)],
        ("worktree", second): [("win.txt", "modify", 0, 1)],
        ("HEAD", first): [("untracked", "create", 1, 0)],
        (second, "HEAD"): [("a.txt", "modify", 10, 1), ("untracked", "delete", 0, 1)],
        ("index", second): [("a.txt", "modify", 1, 10), ("untracked", "create", 1, 0)],
        (first, "index"): [("untracked", "delete", 0, 1)],
    }
    for (old, new), told in expected.items():
        seen = diff(place, env, old, new)
        assert [(one.path, one.kind, one.added, one.removed) for one in seen.files] == told, (old, new)


def test_a_long_patch_is_cut_by_files(repo: Path, env: Env) -> None:
    for name in ("a.txt", "run.sh"):
        (repo / name).write_text("0123456789\n" * 130_000)
    shown = diff(locate(repo), env, patch=True)
    assert shown.files_total == 2 and shown.patch is not None
    assert len(shown.patch) < 3 * 1024 * 1024 and shown.patch.endswith(
        "# 1 more files: their patches are too long to be shown here.\n"
    )


def test_a_content_that_is_not_here_costs_its_lines_only(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    """A partial clone fetches contents when they are needed; reading is not a reason to do that."""
    (repo / "a.txt").write_text("second\n")
    (repo / "b.txt").write_text("b\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "second")
    git(repo, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{repo}", str(partial))
    found = diff(locate(partial), env, "HEAD~1", "HEAD", patch=True)
    assert kinds(found.files) == {"a.txt": "modify", "b.txt": "create"}
    assert [(one.added, one.removed, one.binary) for one in found.files] == [(0, 0, True), (1, 0, False)]
    assert "Binary files a/a.txt and b/a.txt differ" in (found.patch or "")
    git(tmp_path, "clone", "-q", "--filter=tree:0", f"file://{repo}", "treeless")
    assert status(tmp_path / "treeless", env).unstaged == []
    with pytest.raises(ReadError, match=r"HEAD~1 are not here: .* is a partial clone"):
        diff(locate(tmp_path / "treeless"), env, "HEAD~1", "HEAD")
    head = git(repo, "rev-parse", "HEAD:a.txt").decode().strip()
    (repo / ".git/objects" / head[:2] / head[2:]).unlink()  # damaged
    (repo / "a.txt").write_text("third\n")
    (repo / "b.txt").write_text("b\nb\n")
    seen = status(repo, env)
    assert [(one.path, one.added, one.binary) for one in seen.unstaged] == [("a.txt", 0, True), ("b.txt", 1, False)]


def test_what_cannot_be_read_says_so(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    git(tmp_path, "init", "-q", "future")
    git(tmp_path / "future", "config", "core.repositoryFormatVersion", "1")
    git(tmp_path / "future", "config", "extensions.unheardOf", "1")
    (tmp_path / "plain").mkdir()
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    for folder, word in (("future", "unheardof"), ("plain", "not in a git repository")):
        with pytest.raises(ReadError, match=word):
            read.status(locate(tmp_path / folder), env)
        with pytest.raises(ReadError, match=word):
            read.log(locate(tmp_path / folder), env)
    with pytest.raises(ReadError, match="bare"):
        diff(locate(tmp_path / "bare.git"), env)
    (repo / ".git" / "index").write_bytes(b"garbage")
    with pytest.raises(ReadError, match="index is damaged"):
        read.status(locate(repo), env)
    shutil.rmtree(repo / ".git" / "objects")
    with pytest.raises(ReadError):
        read.log(locate(repo), env)
