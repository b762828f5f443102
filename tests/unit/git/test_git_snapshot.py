"""What a snapshot sees, compared with the real git."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from ralph_loop.git.locate import locate
from ralph_loop.git.snapshot import SnapshotError, SnapshotStore

Git = Callable[..., bytes]

Told = dict[str, tuple[str, int, int]]


@pytest.fixture
def store(tmp_path: Path, repo: Path, env: dict[str, str]) -> SnapshotStore:
    return SnapshotStore(tmp_path / "store", locate(repo), env)


def told(store: SnapshotStore, work: Callable[[], object]) -> Told:
    """What an agent that does `work` is told to have changed."""
    before = store.take("before", fresh=True)
    work()
    listed = store.changes(before, store.take("after"))
    assert listed.total == len(listed.files)
    return {
        f"{one.old_path} > {one.path}" if one.old_path else one.path: (
            one.kind,
            -1 if one.binary else one.added,
            -1 if one.binary else one.removed,
        )
        for one in listed.files
    }


def fingerprint(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file below a folder with its mode, time of change and content."""
    return {
        str(path): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            hashlib.sha1(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def test_nothing_changed(store: SnapshotStore) -> None:
    assert told(store, lambda: None) == {}


def test_every_kind_of_change(store: SnapshotStore, repo: Path) -> None:
    (repo / "old.txt").write_text("".join(f"{n}\n" for n in range(20)))
    (repo / "gone.txt").write_text("1\n2\n")
    (repo / "link").symlink_to("a.txt")
    (repo / "was-file").write_text("x\n")

    def work() -> None:
        (repo / "a.txt").write_text("line 0\nnew\n")
        (repo / "new.txt").write_text("not\nlike\nit")
        (repo / "gone.txt").unlink()
        (repo / "old.txt").rename(repo / "moved.txt")
        (repo / "moved.txt").write_text("".join(f"{n}\n" for n in range(21)))
        (repo / "run.sh").chmod(0o755)
        (repo / "dir" / "b.txt").unlink()
        (repo / "dir" / "b.txt").symlink_to("/etc/passwd")
        (repo / "link").unlink()
        (repo / "link").write_text("now a file\n")
        (repo / "was-file").unlink()
        (repo / "was-file").mkdir()
        (repo / "was-file" / "inner").write_text("quite different\nhere\n")
        (repo / "binary").write_bytes(b"\0\1\2")
        (repo / "empty").mkdir()

    assert told(store, work) == {
        "a.txt": ("modify", 1, 9),
        "binary": ("create", -1, -1),
        "dir/b.txt": ("typeChange", 1, 1),
        "gone.txt": ("delete", 0, 2),
        "link": ("typeChange", 1, 1),
        "old.txt > moved.txt": ("rename", 1, 0),
        "new.txt": ("create", 3, 0),
        "run.sh": ("modify", 0, 0),
        "was-file": ("delete", 0, 1),
        "was-file/inner": ("create", 2, 0),
    }


def test_numbers_are_those_of_git(store: SnapshotStore, repo: Path, git: Git, tmp_path: Path) -> None:
    """The same two trees through `git diff --numstat -M`."""

    def tree(name: str) -> str:
        more = {"GIT_INDEX_FILE": str(tmp_path / name)}
        git(repo, "add", "-A", **more)
        return git(repo, "write-tree", **more).decode().strip()

    texts = ["", "one\n", "no newline", "".join(f"{n}\n" for n in range(100)), "\r\n".join("abcdef"), "é\nü\n"]
    for n, text in enumerate(texts):
        (repo / f"keep{n}").write_text(text)
        (repo / f"edit{n}").write_text(text)
        (repo / f"move{n}").write_text(f"{n}" + text * 3)
    old, first = tree("one"), store.take("one")
    for n, text in enumerate(texts):
        (repo / f"edit{n}").write_text(text[::2] + "tail\n")
        (repo / f"move{n}").rename(repo / "dir" / f"moved{n}")
        (repo / f"add{n}").write_bytes(text.encode() + bytes([n]))
    new, second = tree("two"), store.take("two")
    expected: set[tuple[str, ...]] = set()
    fields = iter(git(repo, "diff", "--numstat", "-z", "-M", old, new).decode().split("\0"))
    for field in fields:
        if field:
            added, removed, path = field.split("\t")
            expected.add((added, removed, path) if path else (added, removed, next(fields), next(fields)))
    ours: set[tuple[str, ...]] = set()
    for one in store.changes(first, second).files:
        counts = ("-", "-") if one.binary else (str(one.added), str(one.removed))
        ours.add((*counts, one.old_path, one.path) if one.old_path else (*counts, one.path))
    assert ours == expected
    assert first == old and second == new


def test_dirty_before_and_changed_again(store: SnapshotStore, repo: Path) -> None:
    (repo / "a.txt").write_text("dirty\n")
    (repo / "untracked").write_text("1\n")

    def work() -> None:
        (repo / "a.txt").write_text("dirty\nmore\n")
        (repo / "untracked").write_text("2\n")

    assert told(store, work) == {"a.txt": ("modify", 1, 0), "untracked": ("modify", 1, 1)}


def test_committed_by_the_agent(store: SnapshotStore, repo: Path, git: Git) -> None:
    (repo / "lying-around").write_text("mine\n")

    def work() -> None:
        (repo / "a.txt").write_text("x\n")
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", "work")

    assert told(store, work) == {"a.txt": ("modify", 1, 10)}


def test_same_size_and_same_times(store: SnapshotStore, repo: Path) -> None:
    """Nothing but the content tells: written within one tick of the clock, or with its times put back."""
    file = repo / "a.txt"
    for n in range(30):
        file.write_text(f"{n:04}\n")
        status = file.stat()
        before = store.take("before")
        file.write_text(f"{n + 5000:04}\n")
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert store.changes(before, store.take("after")).total == 1


def test_ignored_files_are_not_seen_unless_tracked(store: SnapshotStore, repo: Path, git: Git, home: Path) -> None:
    (repo / ".gitignore").write_text("*.log\nbuild/\n")
    (repo / "kept.log").write_text("1\n")
    git(repo, "add", "-f", "kept.log", ".gitignore")
    (home / ".gitconfig").write_text("[core]\n\texcludesFile = ~/my-ignores\n")
    (home / "my-ignores").write_text("*.mine\n")
    (repo / ".git" / "info" / "exclude").write_text("*.theirs\n")

    def work() -> None:
        (repo / "kept.log").write_text("1\n2\n")
        (repo / "build").mkdir()
        for name in ("other.log", "build/out", "x.mine", "x.theirs"):
            (repo / name).write_text("x\n")

    assert told(store, work) == {"kept.log": ("modify", 1, 0)}
    assert told(store, (repo / "kept.log").unlink) == {"kept.log": ("delete", 0, 2)}
    assert told(store, lambda: (repo / "kept.log").write_text("3\n")) == {"kept.log": ("create", 1, 0)}


def test_names_that_are_no_text_are_ignored_like_others(
    store: SnapshotStore, repo: Path, env: dict[str, str], tmp_path: Path
) -> None:
    root = os.fsencode(repo)
    (repo / "sub" / "deep").mkdir(parents=True)
    for name in (b"kept\xe9", b"out\xe9.log", b"sub/deep/\xff", b"sub/\xe9.log", b"sub/\xe9"):
        Path(os.fsdecode(root + b"/" + name)).write_text("1\n")
    assert len(store.changes(store.take("a"), store.take("b")).files) == 0
    (repo / ".gitignore").write_text("*.log\nsub/deep/\n")
    again = SnapshotStore(tmp_path / "store", locate(repo), env)
    gone = again.changes(store.take("c"), again.take("d", fresh=True))
    assert {base64.b64decode(one.path_bytes or "") for one in gone.files if one.kind == "delete"} == {
        b"out\xe9.log",
        b"sub/deep/\xff",
        b"sub/\xe9.log",
    }
    assert gone.total == 3


def test_a_new_ignore_rule_deletes_nothing(store: SnapshotStore, repo: Path) -> None:
    (repo / "out.log").write_text("1\n")
    rule = repo / ".gitignore"
    assert told(store, lambda: rule.write_text("*.log\n")) == {".gitignore": ("create", 1, 0)}
    assert told(store, lambda: (repo / "out.log").write_text("2\n")) == {}


def test_files_of_the_helper_never_count(store: SnapshotStore, repo: Path, git: Git) -> None:
    ralph = repo / ".ralph"
    ralph.mkdir()
    (ralph / "state.json").write_text("1")
    git(repo, "add", "-f", ".ralph/state.json")

    def work() -> None:
        for name in ("state.json", "history.json", "context.md", "summary.md", ".gitignore", ".state.json.0a1b.tmp"):
            (ralph / name).write_text("2\n")
        (ralph / "presets").mkdir()
        for name in ("presets/mine.md", "config.yaml", "ralph-tasks.md"):
            (ralph / name).write_text("x\n")

    create = ("create", 1, 0)
    assert told(store, work) == {
        ".ralph/config.yaml": create,
        ".ralph/presets/mine.md": create,
        ".ralph/ralph-tasks.md": create,
    }


def test_a_repository_without_a_commit(tmp_path: Path, git: Git, env: dict[str, str]) -> None:
    git(tmp_path, "init", "-q", "new")
    store = SnapshotStore(tmp_path / "store", locate(tmp_path / "new"), env)
    assert told(store, lambda: (tmp_path / "new" / "x").write_text("1\n")) == {"x": ("create", 1, 0)}


def test_a_linked_working_tree(tmp_path: Path, repo: Path, git: Git, env: dict[str, str]) -> None:
    git(repo, "worktree", "add", "-q", str(tmp_path / "tree"))
    (repo / ".git" / "info" / "exclude").write_text("*.o\n")
    store = SnapshotStore(tmp_path / "store", locate(tmp_path / "tree" / "dir"), env)

    def work() -> None:
        (tmp_path / "tree" / "dir" / "b.txt").write_text("")
        (tmp_path / "tree" / "x.o").write_text("")

    assert told(store, work) == {"dir/b.txt": ("modify", 0, 1)}


def test_submodules_and_nested_repositories(store: SnapshotStore, tmp_path: Path, repo: Path, git: Git) -> None:
    git(tmp_path, "clone", "-q", str(repo), "other")
    git(repo, "submodule", "add", "-q", str(tmp_path / "other"), "mods/sub")
    git(repo, "commit", "-qm", "sub")
    git(repo, "init", "-q", "nested")
    (repo / "nested" / "n").write_text("1\n")
    (repo / "nested" / ".gitignore").write_text("*.tmp\n")
    git(repo / "nested", "add", ".")

    def work() -> None:
        (repo / "mods" / "sub" / "a.txt").write_text("x\n")
        git(repo / "mods" / "sub", "commit", "-qam", "inside")
        (repo / "mods" / "sub" / "new").write_text("x\n")
        (repo / "nested" / "n").write_text("2\n")
        (repo / "nested" / "n.tmp").write_text("2\n")

    assert told(store, work) == {
        "mods/sub/a.txt": ("modify", 1, 10),
        "mods/sub/new": ("create", 1, 0),
        "nested/n": ("modify", 1, 1),
    }
    assert told(store, lambda: git(repo, "init", "-q", "dir")) == {}
    assert told(store, lambda: (repo / "nested" / ".git" / "index").write_bytes(b"broken")) == {}
    assert list(store.problems) == [b"nested/.git/index"]
    assert told(store, lambda: shutil.rmtree(repo / "nested")) == {
        "nested/.gitignore": ("delete", 0, 1),
        "nested/n": ("delete", 0, 1),
    }


def test_odd_names(store: SnapshotStore, repo: Path) -> None:
    names = [
        b"with space",
        b"new\nline",
        b"\xff\xfe",
        b'"quoted"',
        b"tab\t",
        b"-rf",
        b"x" * 255,
        b"back\\slash",
        b"a:b",
    ]
    deep = b"/".join([b"d" * 200] * 15)
    root = os.fsencode(repo)

    def work() -> None:
        Path(os.fsdecode(root + b"/" + deep)).mkdir(parents=True)
        for name in [*names, deep + b"/f"]:
            Path(os.fsdecode(root + b"/" + name)).write_text("1\n")

    before = store.take("before")
    work()
    files = store.changes(before, store.take("after")).files
    assert {base64.b64decode(f.path_bytes) if f.path_bytes else f.path.encode() for f in files} == {
        *names,
        deep + b"/f",
    }
    (odd,) = [f for f in files if f.path_bytes]
    assert (odd.path, odd.path_bytes) == ("��", base64.b64encode(b"\xff\xfe").decode())
    assert store.read(store.take("x"), b"\xff\xfe").data == b"1\n"


def test_names_git_refuses_and_things_that_are_no_files(store: SnapshotStore, repo: Path) -> None:
    def work() -> None:
        (repo / "git~1").write_text("1\n")
        os.mkfifo(repo / "fifo")
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(repo / "socket"))
        (repo / "good").write_text("1\n")

    assert told(store, work) == {"good": ("create", 1, 0)}
    assert list(store.problems) == [b"git~1"]
    assert told(store, lambda: None) == {}

    def replace() -> None:
        (repo / "good").unlink()
        os.mkfifo(repo / "good")

    assert told(store, replace) == {"good": ("delete", 0, 1)}


def test_links_are_never_followed(store: SnapshotStore, repo: Path, tmp_path: Path, git: Git) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(repo / "dir", outside)

    def work() -> None:
        shutil.rmtree(repo / "dir")
        (repo / "dir").symlink_to(outside)

    assert told(store, work) == {"dir": ("create", 1, 0), "dir/b.txt": ("delete", 0, 1)}
    assert told(store, lambda: (outside / "b.txt").write_text("2\n")) == {}
    (repo / "endless").symlink_to(".")
    assert told(store, lambda: None) == {}


def test_files_that_cannot_be_read_cost_only_themselves(tmp_path: Path, repo: Path, env: dict[str, str]) -> None:
    """As a user without rights: root reads everything."""
    script = """
import os, sys
from pathlib import Path
from ralph_loop.git.locate import locate
from ralph_loop.git.snapshot import SnapshotStore
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
repo, data = map(Path, sys.argv[1:])
store = SnapshotStore(data, locate(repo), {})
before = store.take("before")
(repo / "a.txt").chmod(0)
(repo / "secret").write_text("x"); (repo / "secret").chmod(0)
(repo / "dir").chmod(0)
(repo / "run.sh").write_text("changed")
after = store.take("after")
print([f.path for f in store.changes(before, after).files], sorted(store.problems))
(repo / "dir").chmod(0o700)
"""
    data = tmp_path / "data"
    data.mkdir()
    if os.geteuid() == 0:
        for folder, _, files in os.walk(tmp_path):
            for name in (".", *files):
                os.chown(Path(folder, name), 65534, 65534)
        for folder in tmp_path.parents:
            if folder.stat().st_mode & 0o5 != 0o5:
                folder.chmod(folder.stat().st_mode | 0o5)
    done = subprocess.run(
        [sys.executable, "-c", script, str(repo), str(data)],
        env={**env, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.strip() == "['run.sh'] [b'a.txt', b'dir/b.txt', b'secret']"


def test_line_endings_and_filters_do_not_matter(tmp_path: Path, repo: Path, git: Git, env: dict[str, str]) -> None:
    (repo / ".gitattributes").write_text(
        "*.crlf text eol=crlf\n*.up filter=up\n*.id ident\n*.u16 text working-tree-encoding=UTF-16\n"
    )
    git(repo, "config", "core.autocrlf", "true")
    git(repo, "config", "core.safecrlf", "true")
    git(repo, "config", "filter.up.clean", "touch filter-ran; tr a-z A-Z")
    (repo / "win.txt").write_bytes(b"a\r\nb\r\n")
    (repo / "x.crlf").write_bytes(b"a\r\nb\n")
    (repo / "x.up").write_bytes(b"same size\n")
    (repo / "x.id").write_bytes(b"$Id$\n")
    (repo / "x.u16").write_bytes("a\n".encode("utf-16"))
    git(repo, "-c", "core.safecrlf=false", "add", "-A")
    git(repo, "commit", "-qm", "endings")
    (repo / "filter-ran").unlink(missing_ok=True)
    store = SnapshotStore(tmp_path / "store", locate(repo), env)
    assert told(store, lambda: None) == {}
    assert told(store, lambda: (repo / "x.up").write_bytes(b"SAME SIZE\n")) == {"x.up": ("modify", 1, 1)}
    assert told(store, lambda: (repo / "win.txt").write_bytes(b"a\nb\n")) == {"win.txt": ("modify", 2, 2)}
    for name in ("win.txt", "x.crlf", "x.id", "x.u16", "a.txt"):
        os.utime(repo / name)
    assert told(store, lambda: None) == {}
    assert store.read(store.take("x"), "x.u16").data == "a\n".encode("utf-16")
    assert not (repo / "filter-ran").exists()


def test_modes_do_not_count_where_git_is_told_so(store: SnapshotStore, repo: Path, git: Git) -> None:
    git(repo, "config", "core.fileMode", "false")

    def work() -> None:
        (repo / "run.sh").chmod(0o755)
        (repo / "a.txt").write_text("x\n")
        (repo / "a.txt").chmod(0o755)

    assert told(store, work) == {"a.txt": ("modify", 1, 10)}
    git(repo, "config", "core.fileMode", "true")
    assert told(store, (repo / "dir" / "b.txt").touch) == {}


def test_sparse_skipped_and_flagged_entries(store: SnapshotStore, repo: Path, git: Git) -> None:
    git(repo, "update-index", "--split-index")
    (repo / "kept.log").write_text("1\n")
    (repo / "intended").write_text("1\n")
    (repo / ".gitignore").write_text("*.log\n")
    git(repo, "add", "-f", "kept.log")
    git(repo, "add", "-N", "intended")
    git(repo, "update-index", "--assume-unchanged", "a.txt")
    git(repo, "update-index", "--skip-worktree", "dir/b.txt")
    (repo / "dir" / "b.txt").unlink()

    def work() -> None:
        for name in ("a.txt", "kept.log", "intended"):
            (repo / name).write_text("2\n")

    assert told(store, work) == {
        "a.txt": ("modify", 1, 10),
        "intended": ("modify", 1, 1),
        "kept.log": ("modify", 1, 1),
    }
    git(repo, "update-index", "--no-split-index", "--index-version", "4")
    git(repo, "sparse-checkout", "set", "--cone", "--sparse-index", "nothing")
    assert told(store, lambda: (repo / "kept.log").write_text("3\n")) == {"kept.log": ("modify", 1, 1)}


def test_a_sha256_repository(tmp_path: Path, git: Git, env: dict[str, str]) -> None:
    folder = tmp_path / "new"
    git(tmp_path, "init", "-q", "--object-format=sha256", "new")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "kept.log").write_text("1\n")
    git(folder, "add", "-f", "kept.log")
    git(folder, "commit", "-qm", "x")
    store = SnapshotStore(tmp_path / "store", locate(folder), env)
    assert told(store, lambda: (folder / "kept.log").write_text("2\n")) == {"kept.log": ("modify", 1, 1)}


def test_the_git_directory_is_never_written(store: SnapshotStore, tmp_path: Path, repo: Path, git: Git) -> None:
    git(tmp_path, "clone", "-q", str(repo), "other")
    git(repo, "submodule", "add", "-q", str(tmp_path / "other"), "sub")
    for name in ("fsmonitor", "post-index-change"):
        (repo / ".git" / "hooks" / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        (repo / ".git" / "hooks" / name).chmod(0o755)
    git(repo, "config", "core.fsmonitor", ".git/hooks/fsmonitor")
    git(repo, "config", "core.untrackedCache", "true")
    git(repo, "status")
    (tmp_path / "ran").unlink(missing_ok=True)
    known = fingerprint(repo)
    before = store.take("before")
    (repo / "a.txt").write_text("x\n")
    after = store.take("after")
    store.changes(before, after)
    store.patch(before, after)
    store.forget(["before"])
    store.prune()
    now = fingerprint(repo)
    changed = {path for path in known if known[path] != now[path]}
    assert changed == {str(repo / "a.txt")} and known.keys() == now.keys()
    assert not (tmp_path / "ran").exists()


def test_a_record_outlives_the_repository(store: SnapshotStore, repo: Path, git: Git) -> None:
    before = store.take("before")
    (repo / "a.txt").write_text("x\n")
    git(repo, "commit", "-qa", "--amend", "-m", "other")
    git(repo, "reflog", "expire", "--expire=now", "--all")
    git(repo, "gc", "-q", "--prune=now")
    after = store.take("after")
    shutil.rmtree(repo / ".git")
    assert store.changes(before, after).files[0].removed == 10
    assert (store.read(before, "a.txt").data or b"").startswith(b"line 0\n")
    assert store.patch(before, after, "a.txt").startswith(b"diff --git a/a.txt b/a.txt\n")


def test_a_locked_repository_has_a_record(store: SnapshotStore, repo: Path) -> None:
    (repo / ".git" / "index.lock").write_bytes(b"")
    assert told(store, lambda: (repo / "a.txt").write_text("x\n")) == {"a.txt": ("modify", 1, 10)}


@pytest.mark.parametrize(
    ("name", "content"),
    [("HEAD", b"\0\0"), ("HEAD", None), ("objects", None), ("index", b"DIRC garbage"), ("config", b"[core")],
)
def test_a_broken_repository_says_so(store: SnapshotStore, repo: Path, name: str, content: bytes | None) -> None:
    damaged = repo / ".git" / name
    if content is not None:
        damaged.write_bytes(content)
    elif damaged.is_dir():
        shutil.rmtree(damaged)
    else:
        damaged.unlink()
    with pytest.raises(SnapshotError, match=name):
        store.take("before")


def test_a_damaged_index_is_told_by_its_checksum(store: SnapshotStore, repo: Path) -> None:
    index = repo / ".git" / "index"
    data = bytearray(index.read_bytes())
    data[70] ^= 1
    index.write_bytes(data)
    with pytest.raises(SnapshotError, match="index is damaged"):
        store.take("before")


def test_no_snapshots_outside_a_working_tree(tmp_path: Path, repo: Path, git: Git) -> None:
    (tmp_path / "plain").mkdir()
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    for name, word in (("plain", "not in a git repository"), ("bare.git", "bare")):
        with pytest.raises(SnapshotError, match=word):
            SnapshotStore(tmp_path / name / "store", locate(tmp_path / name)).take("x")


def test_reading_and_patches(store: SnapshotStore, repo: Path, git: Git) -> None:
    (repo / "link").symlink_to("a.txt")
    (repo / "blob").write_bytes(bytes(range(256)) * 10)
    before = store.take("before")
    link, script, missing = (store.read(before, name) for name in ("link", "run.sh", "dir/none"))
    assert (link.kind, link.data, link.mode) == ("symlink", b"a.txt", 0o120000)
    assert (script.mode, script.size, script.data) == (0o100644, 10, b"#!/bin/sh\n")
    assert not missing.exists and not store.read(before, "dir").exists and not store.read(before, "a.txt/x").exists
    assert store.read(before, "run.sh", limit=9).data is None
    (repo / "a.txt").write_text("x\n")
    (repo / "blob").write_bytes(bytes(range(255, -1, -1)) * 10)
    (repo / "link").unlink()
    after = store.take("after")
    whole = store.patch(before, after, binary=True)
    git(repo, "checkout", "-q", ".")
    (repo / "link").symlink_to("a.txt")
    (repo / "blob").write_bytes(bytes(range(256)) * 10)
    subprocess.run(["git", "apply", "-"], cwd=repo, input=whole, check=True)
    assert store.take("again") == after
    with pytest.raises(SnapshotError):
        store.read("1" * 40, "a.txt")


def test_the_limit_and_the_total(store: SnapshotStore, repo: Path) -> None:
    before = store.take("before")
    for n in range(30):
        (repo / f"n{n:02}").write_text(f"{n}\n")
    listed = store.changes(before, store.take("after"), limit=5)
    assert ([f.path for f in listed.files], listed.total) == ([f"n{n:02}" for n in range(5)], 30)


def test_forget_and_prune_keep_what_is_named(store: SnapshotStore, tmp_path: Path, repo: Path) -> None:
    trees: list[str] = []
    for n in range(4):
        for m in range(150):
            (repo / f"f{m}").write_text(f"{n} {m}\n")
        (repo / "a.txt").write_text(f"{n}\n")
        trees.append(store.take(f"run_x/{n} before?~^:"))
    size = sum(f.stat().st_size for f in (tmp_path / "store").rglob("*") if f.is_file())
    store.forget(["run_x/0 before?~^:", "run_x/2 before?~^:", "unknown"])
    store.prune()
    assert sum(f.stat().st_size for f in (tmp_path / "store").rglob("*") if f.is_file()) < size
    assert store.read(trees[1], "f77").data == b"1 77\n" and store.read(trees[1], "a.txt").data == b"1\n"
    with pytest.raises(SnapshotError):
        store.read(trees[2], "a.txt")
    store.forget([f"run_x/{n} before?~^:" for n in range(4)])
    store.prune()
    assert store.take("again") == trees[3]
    assert store.read(trees[3], "f149").data == b"3 149\n"


def test_a_damaged_store_heals(store: SnapshotStore, tmp_path: Path, repo: Path, env: dict[str, str]) -> None:
    tree = store.take("one")
    for index in (tmp_path / "store").glob("views/*/index"):
        index.write_bytes(b"DIRC")
        index.with_name("index.lock").write_bytes(b"")
    again = SnapshotStore(tmp_path / "store", locate(repo), env)
    assert again.take("two") == tree
    shutil.rmtree(tmp_path / "store" / "store.git" / "objects")
    (tmp_path / "store" / "store.git" / "objects").mkdir()
    (repo / "new").write_text("x\n")
    healed = SnapshotStore(tmp_path / "store", locate(repo), env)
    assert healed.read(healed.take("three"), "a.txt").exists


def test_two_stores_on_one_directory(store: SnapshotStore, tmp_path: Path, repo: Path, env: dict[str, str]) -> None:
    """As a loop and the approval of its plan have: what one prunes the other does not take for there."""
    other = SnapshotStore(tmp_path / "store", locate(repo), env)
    for m in range(150):
        (repo / f"f{m}").write_text(f"{m}\n")
    store.take("one")
    store.forget(["one"])
    for m in range(150):
        (repo / f"f{m}").unlink()
    other.take("other")
    other.prune()
    for m in range(150):
        (repo / f"f{m}").write_text(f"{m}\n")
    tree = store.take("two")
    assert SnapshotStore(tmp_path / "store", locate(repo), env).read(tree, "f149").data == b"149\n"


def test_a_large_file_in_bounded_memory(store: SnapshotStore, repo: Path) -> None:
    with (repo / "large").open("wb") as file:
        for n in range(40):
            file.write(hashlib.sha1(bytes([n])).digest() * 52429)
    before = store.take("before")
    with (repo / "large").open("ab") as file:
        file.write(b"end\n")
    tracemalloc.start()
    after = store.take("after")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024
    (change,) = store.changes(before, after).files
    assert (change.kind, change.binary) == ("modify", True)
    assert b"Binary files" in store.patch(before, after)
    assert (
        hashlib.sha1(store.read(after, "large").data or b"").digest()
        == hashlib.sha1((repo / "large").read_bytes()).digest()
    )


def test_from_several_threads(store: SnapshotStore, repo: Path) -> None:
    trees: list[str] = []

    def take() -> None:
        trees.append(store.take(threading.current_thread().name))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(trees) == 4 and len(set(trees)) == 1
