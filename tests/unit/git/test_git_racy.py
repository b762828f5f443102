"""A file that was changed once more as its index was written looks unchanged: only the index's time tells that it must
be looked into (git's Documentation/technical/racy-git). Nothing that works on a copy of the index may lose it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ralph_loop.git import cliread, read, write
from ralph_loop.git.autocommit import auto_commit
from ralph_loop.git.command import Git as Command
from ralph_loop.git.locate import locate
from ralph_loop.git.snapshot import SnapshotStore

Git = Callable[..., bytes]
Env = dict[str, str]
LONG_AGO = 1_700_000_000
"""Of the file and of the index, in seconds since 1970: a copy made now is newer."""


@pytest.fixture
def change(repo: Path, git: Git) -> Callable[[], None]:
    """Changes `a.txt` in the second in which the index was written, to other text of the same size."""
    file = repo / "a.txt"
    git(repo, "config", "core.trustctime", "false")
    os.utime(file, (LONG_AGO, LONG_AGO))
    git(repo, "update-index", "--refresh")
    os.utime(repo / ".git" / "index", (LONG_AGO, LONG_AGO))

    def now() -> None:
        file.write_bytes(file.read_bytes().upper())
        os.utime(file, (LONG_AGO, LONG_AGO))

    return now


def test_it_is_seen(repo: Path, env: Env, git: Git, change: Callable[[], None]) -> None:
    change()
    place = locate(repo)
    for way in (read, cliread):
        assert [one.path for one in way.status(place, env).unstaged] == ["a.txt"]
        assert way.dirty(place, env) == {b"a.txt"}
    assert git(repo, "--no-optional-locks", "status", "--porcelain") == b" M a.txt\n"


def test_it_is_committed(tmp_path: Path, repo: Path, env: Env, git: Git, change: Callable[[], None]) -> None:
    place = locate(repo)
    store = SnapshotStore(tmp_path / "store", place, env)
    dirty = read.dirty(place, env)
    before = store.take("before", fresh=True)
    change()
    changes = store.changes(before, store.take("after", fresh=True), limit=100).files
    done = asyncio.run(auto_commit(Command.of(place, env), place, changes, dirty, "work"))
    assert (done.error, done.committed) == (None, ["a.txt"])
    assert git(repo, "show", "HEAD:a.txt").startswith(b"LINE 0\n")
    assert git(repo, "status", "--porcelain") == b""


async def test_it_comes_back_after_a_reset(repo: Path, env: Env, git: Git, change: Callable[[], None]) -> None:
    change()
    done = await write.reset(Command.of(locate(repo), env), locate(repo))
    assert done.exit_code == 0 and (repo / "a.txt").read_text().startswith("line 0\n")
    undo = done.stdout.splitlines()[-1].partition("To undo: ")[2]
    process = await asyncio.create_subprocess_shell(undo, cwd=repo, env=env)
    assert await process.wait() == 0
    assert (repo / "a.txt").read_text().startswith("LINE 0\n")
