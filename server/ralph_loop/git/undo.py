"""Saves what `git reset --hard` would destroy as a stash: index, working tree, and untracked files in the way."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Awaitable, Iterable
from pathlib import Path

import attrs

from ralph_loop.git.command import Git, Result
from ralph_loop.git.indexfile import copy_index
from ralph_loop.git.locate import Place

# Commits of ours: the person need not have said who they are, and does not sign them.
_ALL = sys.maxsize
_WHO = ("-c", "user.name=Ralph Loop", "-c", "user.email=ralph-loop@localhost", "-c", "commit.gpgSign=false")


class SaveError(Exception):
    """The tree could not be saved; the message is git's."""


@attrs.frozen
class Saved:
    head: str
    stash: str | None
    """None when nothing would be lost."""
    merging: str | None
    """The commit of a merge that was going on, which a reset ends."""

    @property
    def how(self) -> str:
        """How to go back, for a person."""
        undo = f"git reset --hard {self.head}"
        if self.stash is None:
            lines = [f"To undo: {undo}"]
        else:
            lines = [f"Your changes were saved as a stash. To undo: {undo} && git stash apply --index {self.stash}"]
        if self.merging is not None:
            lines.append(f"The merge that was going on was ended. To begin it again: git merge {self.merging}")
        return "".join(f"{line}\n" for line in lines)

    @property
    def kept(self) -> str:
        """Where the changes are when the reset was refused, for a person. The files may be as they were."""
        if self.stash is None:
            return ""
        return f"Your changes are kept as a stash, too. To get them from there: git stash apply --index {self.stash}\n"


async def save(git: Git, place: Place, target: str) -> Saved:
    """Saves everything that a hard reset to a commit would destroy. Raises SaveError, OSError."""
    assert place.git_dir is not None
    head = await _must(git.run("rev-parse", "--verify", "HEAD^{commit}"))
    merged = await git.run("rev-parse", "--quiet", "--verify", "MERGE_HEAD")
    merging = None if merged.exit_code else merged.text
    with tempfile.TemporaryDirectory(prefix="ralph-loop-") as name:
        index, work, lost = (os.fspath(Path(name, kind)) for kind in ("index", "work", "lost"))
        for copy in (index, work):
            copy_index(place.git_dir / "index", copy)
        unchanged = await _taken_as_unchanged(git)
        if unchanged:  # a reset overwrites these, too
            flags = ("update-index", "--no-assume-unchanged", "-z", "--stdin")
            await _must(git.run(*flags, stdin=unchanged, GIT_INDEX_FILE=work))
        await _must(git.run("add", "--update", "--", ":/", GIT_INDEX_FILE=work))
        tree = await _must(git.run("write-tree", GIT_INDEX_FILE=work))
        staged = await git.run("write-tree", GIT_INDEX_FILE=index)
        staged_tree = tree if staged.exit_code else staged.text  # in a merge with conflicts nothing is staged as a tree
        untracked = await _in_the_way(git, target)
        head_tree = await _must(git.run("rev-parse", "HEAD^{tree}"))
        if tree == staged_tree == head_tree and not untracked:
            return Saved(head, None, merging)
        parents = ["-p", head, "-p", await _commit(git, staged_tree, "index", "-p", head)]
        if untracked:
            await _must(git.run("update-index", "--add", "-z", "--stdin", stdin=untracked, GIT_INDEX_FILE=lost))
            lost_tree = await _must(git.run("write-tree", GIT_INDEX_FILE=lost))
            parents += ["-p", await _commit(git, lost_tree, "untracked files")]
    message = f"Ralph Loop: before reset to {target}"
    stash = await _commit(git, tree, message, *parents)
    await _must(git.run(*_WHO, "stash", "store", "--message", message, stash))
    return Saved(head, stash, merging)


async def _commit(git: Git, tree: str, message: str, *parents: str) -> str:
    return await _must(git.run(*_WHO, "commit-tree", *parents, "-m", message, tree))


async def _taken_as_unchanged(git: Git) -> bytes:
    """The files marked by `git update-index --assume-unchanged`: their letter is a small one (git-ls-files(1), -v)."""
    found = await _lines(git.run("ls-files", "-z", "-v", keep=_ALL))
    return b"".join(line[2:] + b"\0" for line in sorted(found) if line[:1].islower())


async def _in_the_way(git: Git, target: str) -> bytes:
    """The files that are not in the index, where the target has a file or needs a folder; ignored ones too."""
    wanted = await _lines(git.run("ls-tree", "-r", "-z", "--name-only", "--full-tree", target, keep=_ALL))
    folders = {above for path in wanted for above in _above(path)}
    found = await _lines(git.run("ls-files", "-z", "--others", keep=_ALL))
    return b"".join(
        path + b"\0"
        for path in sorted(found)
        if not path.endswith(b"/")  # a repository of its own
        and (path in wanted or path in folders or not wanted.isdisjoint(_above(path)))
    )


def _above(path: bytes) -> Iterable[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


async def _lines(command: Awaitable[Result]) -> set[bytes]:
    return {*(await _done(command)).stdout.split(b"\0")} - {b""}


async def _must(command: Awaitable[Result]) -> str:
    return (await _done(command)).text


async def _done(command: Awaitable[Result]) -> Result:
    result = await command
    if result.exit_code:
        raise SaveError(os.fsdecode(result.stderr).strip() or f"git ended with {result.exit_code}")
    return result
