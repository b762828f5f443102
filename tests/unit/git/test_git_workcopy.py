"""The private working copy of plan mode: the user's tree in it, nothing of the user's reached from it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ralph_loop.git import workcopy
from ralph_loop.git.checkout import StoppedError
from ralph_loop.git.locate import locate
from ralph_loop.git.snapshot import SnapshotError, SnapshotStore
from ralph_loop.git.workcopy import WorkCopy

Git = Callable[..., bytes]


@pytest.fixture
def dirty(tmp_path: Path, repo: Path, git: Git) -> Path:
    """A repository with everything in it: staged, unstaged, untracked, ignored, a submodule, a stash, a tag."""
    git(tmp_path, "clone", "-q", str(repo), "other")
    git(repo, "submodule", "add", "-q", str(tmp_path / "other"), "sub")
    (repo / ".gitignore").write_text("*.log\nnode_modules/\n.env\n")
    (repo / "kept.log").write_text("1\n")
    git(repo, "add", "-f", "kept.log", ".gitignore")
    git(repo, "commit", "-qm", "second")
    git(repo, "tag", "v1")
    (repo / "a.txt").write_text("stashed\n")
    git(repo, "stash", "-q")
    (repo / "a.txt").write_text("staged\n")
    git(repo, "add", "a.txt")
    (repo / "a.txt").write_text("staged\nand not\n")
    (repo / "kept.log").write_text("2\n")
    (repo / "untracked\n\udcff").write_text("u\n")
    (repo / "dir" / "b.txt").unlink()
    (repo / "run.sh").chmod(0o755)
    (repo / "link").symlink_to("a.txt")
    (repo / "sub" / "inner.txt").write_text("new in the submodule\n")
    (repo / "node_modules" / "m").mkdir(parents=True)
    (repo / "node_modules" / "m" / "index.js").write_text("x\n")
    (repo / "node_modules" / "m" / ".git").write_text(f"gitdir: {repo}/.git\n")
    (repo / "node_modules" / ".bin").symlink_to("m")
    os.mkfifo(repo / "node_modules" / "fifo")
    (repo / ".env").write_text("SECRET=1\n")
    (repo / "other.log").write_text("not copied\n")
    hook = repo / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\n")
    hook.chmod(0o755)
    return repo


@pytest.fixture
def store(tmp_path: Path, dirty: Path, env: dict[str, str]) -> SnapshotStore:
    return SnapshotStore(tmp_path / "store", locate(dirty), env)


@pytest.fixture
def copy(tmp_path: Path, store: SnapshotStore) -> WorkCopy:
    return workcopy.create(store, tmp_path / "plan" / "copy", "before", ["node_modules", ".env", "none*"])


def test_the_copy_is_what_the_user_has(copy: WorkCopy, dirty: Path, git: Git, tmp_path: Path) -> None:
    for command in (
        ("status", "--porcelain=v2", "-z"),
        ("diff", "--cached"),
        ("diff",),
        ("log", "--format=%H %D"),
        ("branch", "-a"),
    ):
        assert git(copy.folder, *command) == git(dirty, *command), command
    assert git(copy.folder / "sub", "status", "--porcelain") == b"?? inner.txt\n"
    assert (copy.folder / "node_modules" / "m" / "index.js").read_text() == "x\n"
    assert (copy.folder / "node_modules" / ".bin").readlink() == Path("m")
    assert sorted(path.name for path in (copy.folder / "node_modules").rglob("*")) == [".bin", "index.js", "m"]
    assert (copy.folder / ".env").read_text() == "SECRET=1\n"
    assert not (copy.folder / "other.log").exists()
    assert not (tmp_path / "hook-ran").exists()


def test_no_git_command_reaches_the_user(copy: WorkCopy, dirty: Path, git: Git, store: SnapshotStore) -> None:
    def seen() -> tuple[object, ...]:
        files = {
            path: path.read_bytes()
            for path in (dirty / ".git").rglob("*")
            if path.is_file() and "objects" not in path.parts
        }
        objects = sorted(path for path in (dirty / ".git" / "objects").rglob("*"))
        status = git(dirty, "status", "--porcelain=v2", "-z", GIT_OPTIONAL_LOCKS="0")
        return files, objects, git(dirty, "stash", "list"), status

    known = seen()
    for command in (
        ("stash", "-u"),
        ("checkout", "-q", "-b", "mine"),
        ("tag", "-f", "v1", "HEAD~1"),
        ("config", "user.name", "Agent"),
        ("update-ref", "refs/heads/main", "HEAD~1"),
        ("stash", "pop"),
        ("commit", "-qam", "work"),
        ("branch", "-D", "main"),
        ("gc", "-q", "--prune=now"),
        ("worktree", "add", "-q", "../tree"),
    ):
        git(copy.folder, *command)
    git(copy.folder / "sub", "commit", "-qam", "inside", "--allow-empty")
    assert git(copy.folder, "push", check=False) == b"" and git(copy.folder, "remote") == b""
    assert seen() == known
    changes = workcopy.collect(store, copy, "after").changes
    assert changes.total == 0


def test_what_the_agent_changed(copy: WorkCopy, git: Git, store: SnapshotStore, dirty: Path) -> None:
    folder = copy.folder
    (folder / "a.txt").write_text("by the agent\n")
    (folder / "kept.log").unlink()
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "work")
    (folder / "sub" / "a.txt").write_text("x\n")
    (folder / "new.log").write_text("ignored\n")
    (folder / "node_modules" / "m" / "index.js").write_text("changed\n")
    (folder / "link").unlink()
    (folder / "link").write_text("a file now\n")
    os.mkfifo(folder / "sub" / "pipe")
    os.mkfifo(folder / "node_modules" / "pipe")
    found = workcopy.collect(store, copy, "after")
    after, changes = found.after, found.changes
    assert [(change.kind, change.path) for change in changes.files] == [
        ("modify", "a.txt"),
        ("delete", "kept.log"),
        ("typeChange", "link"),
        ("modify", "sub/a.txt"),
    ]
    assert store.read(after, "a.txt").data == b"by the agent\n"
    assert (dirty / "a.txt").read_text() == "staged\nand not\n"
    assert found.dropped == {b"new.log": "ignored by git", b"sub/pipe": "not a regular file"}


def test_an_agent_that_breaks_git_still_has_its_changes_seen(
    copy: WorkCopy, store: SnapshotStore, tmp_path: Path
) -> None:
    (copy.folder / "a.txt").write_text("by the agent\n")
    (copy.folder / "sub" / "inner.txt").write_text("by the agent\n")
    (copy.folder / "sub" / ".git" / "index").write_bytes(b"broken")
    (copy.folder / ".git").rename(tmp_path / "away")
    changes = workcopy.collect(store, copy, "after").changes
    assert [change.path for change in changes.files] == ["a.txt", "sub/inner.txt"]


def test_the_tasks_go_in_and_come_back_even_when_ignored(tmp_path: Path, dirty: Path, store: SnapshotStore) -> None:
    (dirty / ".git" / "info" / "exclude").write_text(".ralph/\n")
    (dirty / ".ralph").mkdir()
    (dirty / ".ralph" / "ralph-tasks.md").write_text("- [ ] one\n")
    (dirty / ".ralph" / "state.json").write_text("{}")
    copy = workcopy.create(store, tmp_path / "plan" / "copy", "before")
    assert not (copy.folder / ".ralph" / "state.json").exists()
    (copy.folder / ".ralph" / "ralph-tasks.md").write_text("- [x] one\n")
    changes = workcopy.collect(store, copy, "after").changes
    assert [change.path for change in changes.files] == [".ralph/ralph-tasks.md"]


def test_copies_of_every_kind_of_repository(tmp_path: Path, repo: Path, git: Git, env: dict[str, str]) -> None:
    git(repo, "worktree", "add", "-q", str(tmp_path / "tree"))
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    git(tmp_path, "init", "-q", "--object-format=sha256", "sha256")
    git(tmp_path, "init", "-q", 'odd "\n name')
    git(tmp_path, "clone", "-q", str(repo), "split")
    git(tmp_path / "split", "update-index", "--split-index")
    git(tmp_path, "clone", "-q", str(repo), "sparse")
    git(tmp_path / "sparse", "sparse-checkout", "set", "--cone", "--sparse-index", "none")
    for name in ("tree", "shallow", "sha256", 'odd "\n name', "split", "sparse"):
        source = tmp_path / name
        (source / "more").write_text("x\n")
        git(source, "add", "more")
        store = SnapshotStore(tmp_path / f"store of {name}", locate(source), env)
        copy = workcopy.create(store, tmp_path / "plan" / name, "before")
        for command in (("status", "--porcelain=v2"), ("log", "--format=%H"), ("fsck", "--no-dangling")):
            assert git(copy.folder, *command, check=False) == git(source, *command, check=False), (name, command)
        git(copy.folder, "commit", "-qm", "works")
        workcopy.discard(copy.folder)
        assert not copy.folder.exists()


def test_making_a_copy_can_be_stopped(dirty: Path, store: SnapshotStore, tmp_path: Path) -> None:
    (dirty / "node_modules" / "deep" / "deeper").mkdir(parents=True)
    folder, asked = tmp_path / "plan" / "copy", list[int]()

    def stop(after: int) -> bool:
        asked.append(1)
        return len(asked) > after

    workcopy.create(store, folder, "before", ["node_modules"], lambda: stop(1_000_000))
    for after in range(len(asked)):
        workcopy.discard(folder)
        asked.clear()
        with pytest.raises(StoppedError):
            workcopy.create(store, folder, "before", ["node_modules"], lambda after=after: stop(after))
    workcopy.discard(folder)
    assert not folder.exists()


def test_nothing_is_left(copy: WorkCopy, store: SnapshotStore, tmp_path: Path) -> None:
    locked = copy.folder / "locked" / "inner"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0)
    workcopy.discard(copy.folder)
    workcopy.discard(copy.folder)
    assert not copy.folder.exists()
    store.prune()
    views = [view.name for view in (tmp_path / "store" / "views").iterdir()]
    assert len(views) == 2  # of the user's tree and its submodule


def test_nothing_is_left_whatever_rights_the_agent_took_away(tmp_path: Path, env: dict[str, str]) -> None:
    """As a user without rights: root removes everything."""
    script = """
import os, sys
from pathlib import Path
from ralph_loop.git import workcopy
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
room = Path(sys.argv[1])
inner = room / "copy" / "a" / "b" / "c"
inner.mkdir(parents=True)
(inner / "file").write_text("x")
(room / "users").mkdir(0o555)
(room / "copy" / "a" / "link").symlink_to(room / "users")
for folder in (inner, inner.parent, inner.parent.parent, room / "copy"):
    folder.chmod(0)
workcopy.discard(room / "copy")
print([path.name for path in room.iterdir()], oct((room / "users").stat().st_mode))
"""
    room = tmp_path / "room"
    room.mkdir()
    if os.geteuid() == 0:
        os.chown(room, 65534, 65534)
        for folder in room.parents:
            if folder.stat().st_mode & 0o5 != 0o5:
                folder.chmod(folder.stat().st_mode | 0o5)
    done = subprocess.run(
        [sys.executable, "-c", script, str(room)],
        env={**env, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("['users'] 0o40555", "")


def test_no_copy_of_what_is_broken(tmp_path: Path, repo: Path, env: dict[str, str]) -> None:
    (repo / ".git" / "HEAD").unlink()
    with pytest.raises(SnapshotError, match="HEAD"):
        workcopy.create(SnapshotStore(tmp_path / "store", locate(repo), env), tmp_path / "copy", "before")
