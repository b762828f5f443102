"""Commits what an iteration changed and nothing else, as the user would: their hooks, their identity, their branch."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

import attrs
from pygit2.enums import FileMode

from ralph_loop.git import read
from ralph_loop.git.apply import paths_of
from ralph_loop.git.changes import path_fields
from ralph_loop.git.command import Git, GitMissingError, Result
from ralph_loop.git.folder import Folder
from ralph_loop.git.gitcli import algorithm
from ralph_loop.git.indexfile import BrokenIndexError, Entry, copy_index, read_index
from ralph_loop.git.locate import Place
from ralph_loop.git.scratch import ReadError
from ralph_loop.git.shapes import operation
from ralph_loop.protocol import Change

_ALL = 1 << 40


@attrs.frozen
class AutoCommit:
    """What became of it. Without a `sha` nothing was committed, and `skipped` or `error` says why.

    An `error` beside a `sha`: it is committed, but the index still says otherwise.
    """

    sha: str | None = None
    committed: Sequence[str] = ()
    """Paths, for people."""
    left: Sequence[str] = ()
    """Changed paths that were left alone, as they had changes of the user's before."""
    inner: Sequence[str] = ()
    """Repositories inside this one (submodules too) in which files changed: commits there are not ours to make."""
    skipped: str | None = None
    error: str | None = None


async def auto_commit(
    git: Git,
    place: Place,
    changes: Sequence[Change],
    dirty_before: Collection[bytes],
    message: str,
    also: Collection[bytes] = (),
) -> AutoCommit:
    """Commits the changes of an iteration. Never raises: a failing hook is an `error`.

    `changes` are all of them, not the first few. `dirty_before` is what `read.dirty` told when the iteration started:
    those paths are left alone. What is staged of other paths stays staged. `also` are paths of earlier iterations whose
    commit failed.
    """
    try:
        return await _auto_commit(git, place, changes, dirty_before, message, also)
    except (ReadError, GitMissingError, BrokenIndexError, OSError) as error:
        return AutoCommit(error=str(error))


async def _auto_commit(
    git: Git,
    place: Place,
    changes: Sequence[Change],
    dirty_before: Collection[bytes],
    message: str,
    also: Collection[bytes],
) -> AutoCommit:
    going_on = operation(place)
    if going_on:
        return AutoCommit(skipped=f"a {going_on} is in progress")
    head = await asyncio.to_thread(read.head, place, git.env)
    if head.branch is None:
        return AutoCommit(skipped="HEAD is detached: a commit there would belong to no branch")
    dirty = await asyncio.to_thread(read.dirty, place, git.env)
    wanted = {path for path in also if path in dirty}
    left: list[str] = []
    elsewhere: set[bytes] = set()
    for change in changes:
        paths = paths_of(change)
        if any(path in dirty_before for path in paths):
            left.append(change.path)
        else:
            wanted.update(path for path in paths if path in dirty)
            elsewhere.update(path for path in paths if path not in dirty)
    inner = await asyncio.to_thread(_repositories_of, place, elsewhere)
    if not wanted:
        return AutoCommit(left=left, inner=inner, skipped="nothing is left to commit")
    return attrs.evolve(await _commit(git, place, sorted(wanted), left, message), inner=inner)


def _repositories_of(place: Place, paths: Collection[bytes]) -> list[str]:
    """The repositories below the root that these paths lie in, for people."""
    root = os.fsencode(place.root) + b"/"
    folders = {parent for path in paths for parent in _parents(path)}
    return [path_fields(path)[0] for path in sorted(folders) if os.path.lexists(root + path + b"/.git")]


def _parents(path: bytes) -> Iterator[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


async def _commit(git: Git, place: Place, paths: list[bytes], left: list[str], message: str) -> AutoCommit:
    """Commits from an index of our own: HEAD's with the paths put in. Only then the user's entries follow."""
    assert place.git_dir is not None
    lock = place.git_dir / "index.lock"
    if await asyncio.to_thread(lock.exists):
        return AutoCommit(left=left, error=f"{lock} exists: another git process works here, or one has crashed.")
    old = (await asyncio.to_thread(read.head, place, git.env)).sha
    with tempfile.TemporaryDirectory(prefix="ralph-loop-") as name:
        index = os.fspath(Path(name, "index"))
        gone, there = await asyncio.to_thread(_sorted_out, place, git.env, paths)
        steps: list[tuple[tuple[str, ...], bytes]] = [(("update-index", "-z", "--index-info"), gone)]
        if old is not None:
            await asyncio.to_thread(copy_index, place.git_dir / "index", index)  # for what it knows of files on disk
            steps.insert(0, (("read-tree", "--reset", old), b""))
        steps.append((("update-index", "--add", "--replace", "-z", "--stdin"), there))
        for command, stdin in steps:
            if stdin or command[0] == "read-tree":
                failed = _problem(await git.run(*command, stdin=stdin, GIT_INDEX_FILE=index))
                if failed:
                    return AutoCommit(left=left, error=failed)
        failed = _problem(await git.run("commit", "--file=-", stdin=message.encode(), hooks=True, GIT_INDEX_FILE=index))
        if failed:
            return AutoCommit(left=left, error=failed)
    return await asyncio.shield(_follow(git, place, old, paths, left))


async def _follow(git: Git, place: Place, old: str | None, paths: list[bytes], left: list[str]) -> AutoCommit:
    """Brings the user's index along: what was committed, and what a hook added to it where nothing else was staged."""
    new = (await asyncio.to_thread(read.head, place, git.env)).sha
    assert new is not None
    listing = await git.run("diff-tree", "-r", "-z", "--no-renames", "--root", *([old] if old else []), new, keep=_ALL)
    fields = listing.stdout.split(b"\0")
    if old is None:
        del fields[0]  # the commit, when there is nothing to compare it with
    entries = await asyncio.to_thread(_entries, place, git.env)
    chosen = set(paths)
    lines: list[bytes] = []
    for state, path in zip(fields[::2], fields[1::2], strict=False):
        _, mode, before, after, _ = state.split(b" ")
        entry = entries.get(path)
        if path in chosen or (entry.id.hex() if entry else "0" * len(before)) == before.decode():
            lines.append(b"%s %s\t%s\0" % (mode, after, path))
    lines.sort(key=lambda line: not line.startswith(b"000000"))  # what goes makes way for what comes
    failed = _problem(listing) or _problem(
        await git.run("update-index", "--add", "--replace", "-z", "--index-info", stdin=b"".join(lines))
    )
    return AutoCommit(new, [path_fields(path)[0] for path in paths], left, error=failed)


def _sorted_out(place: Place, env: Mapping[str, str], paths: list[bytes]) -> tuple[bytes, bytes]:
    """The paths to take out of an index, and those to put in."""
    gone, there = bytearray(), bytearray()
    none = b"0" * (hashlib.new(algorithm(place, env)).digest_size * 2)
    with Folder(place.root) as folder:
        for path in paths:
            state = folder.state(path)
            if state is None or state.mode in (0, FileMode.TREE):
                gone += b"0 %s\t%s\0" % (none, path)
            else:
                there += path + b"\0"
    return bytes(gone), bytes(there)


def _entries(place: Place, env: Mapping[str, str]) -> dict[bytes, Entry]:
    assert place.git_dir is not None
    return {entry.path: entry for entry in read_index(place.git_dir / "index", algorithm(place, env))}


def _problem(result: Result) -> str | None:
    if result.exit_code == 0:
        return None
    return (result.stderr + result.stdout).decode(errors="replace").strip() or f"git ended with {result.exit_code}"
