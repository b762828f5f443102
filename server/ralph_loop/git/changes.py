"""What differs between two trees of the private store, told as the wire contract tells it."""

from __future__ import annotations

import base64
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import attrs
import pygit2
from pygit2.enums import DeltaStatus, DiffFind, DiffOption, FileMode

from ralph_loop.git.linecount import LineCounter
from ralph_loop.protocol import Change, ChangeKind

_KINDS: dict[int, ChangeKind] = {
    DeltaStatus.ADDED: "create",
    DeltaStatus.DELETED: "delete",
    DeltaStatus.MODIFIED: "modify",
    DeltaStatus.RENAMED: "rename",
    DeltaStatus.TYPECHANGE: "typeChange",
    DeltaStatus.UNTRACKED: "create",
    DeltaStatus.CONFLICTED: "modify",
}
# Larger files are told as binary, without lines: comparing them would take several times their size in memory.
MAX_COMPARED_BYTES = 32 * 1024 * 1024
MAX_PAIRS = 1000 * 1000  # git's own diff.renameLimit: beyond, only files with the same content are renames
_NOT_HERE = (KeyError, pygit2.GitError)  # how libgit2 tells that it misses a content


class _BeyondError(Exception):
    """A content is too large to be compared, or not here: a partial clone, a damaged store, gone meanwhile."""


@attrs.frozen
class ChangeList:
    """The first changes by path, and how many there are in all."""

    files: list[Change]
    total: int


def compare(repo: pygit2.Repository, before: str, after: str, limit: int) -> ChangeList:
    """The changes between two trees, renames found as `git diff -M` does (half of the content is the same)."""
    return listed(repo, _diff(repo, before, after, 0), limit)


def patch(repo: pygit2.Repository, before: str, after: str, path: bytes | None, binary: bool) -> bytes:
    """The changes as a git patch: of one path (or all below a folder), else of everything.

    `binary` puts the bytes of binary files in, so that the patch can be applied.
    """
    diff = _diff(repo, before, after, 3, DiffOption.SHOW_BINARY if binary else DiffOption.NORMAL)
    return b"".join(patches(repo, diff, path))


def listed(
    repo: pygit2.Repository,
    diff: pygit2.Diff,
    limit: int,
    path: bytes | None = None,
    without: Collection[bytes] = (),
    equal: bool = True,
    counter: LineCounter | None = None,
) -> ChangeList:
    """The changes of a diff by path, the first `limit`; of one path (or all below a folder), or without some.

    `equal` keeps files that look changed and are not, once their line endings are what the configuration says.
    `counter` counts the lines where it can, which is faster for many files.
    """
    deltas = list(diff.deltas)
    chosen = [n for n, delta in enumerate(deltas) if is_at(delta, path) and delta.new_file.raw_path not in without]
    chosen.sort(key=lambda n: deltas[n].new_file.raw_path)
    files = [_change(repo, diff, n, deltas[n], counter) for n in chosen[:limit]]
    if not equal:
        files = [file for n, file in zip(chosen, files, strict=False) if not _is_equal(deltas[n], file)]
    return ChangeList(files, len(chosen) - len(chosen[:limit]) + len(files))


def patches(
    repo: pygit2.Repository, diff: pygit2.Diff, path: bytes | None = None, without: Collection[bytes] = ()
) -> Iterator[bytes]:
    """The patch of each file of a diff; of one path (or all below a folder), or without some."""
    for n, delta in enumerate(diff.deltas):
        if not is_at(delta, path) or delta.new_file.raw_path in without:
            continue
        try:
            one = _patch_of(repo, diff, n, delta)
        except _BeyondError:
            yield b"Binary files a/%s and b/%s differ\n" % (delta.old_file.raw_path, delta.new_file.raw_path)
        else:
            if one is not None:
                yield one.data


def _is_equal(delta: pygit2.DiffDelta, change: Change) -> bool:
    same_mode = delta.old_file.mode == delta.new_file.mode and delta.new_file.mode != FileMode.COMMIT
    return delta.status == DeltaStatus.MODIFIED and same_mode and not (change.added or change.removed or change.binary)


def find_renames(repo: pygit2.Repository, diff: pygit2.Diff) -> pygit2.Diff:
    """The same diff with what was deleted here and added there told as renamed."""
    added = [delta for delta in diff.deltas if delta.status == DeltaStatus.ADDED]
    deleted = [delta for delta in diff.deltas if delta.status == DeltaStatus.DELETED]
    if added and deleted:
        find = DiffFind.FIND_RENAMES
        if len(added) * len(deleted) > MAX_PAIRS or any(_is_large(repo, delta) for delta in (*added, *deleted)):
            find |= DiffFind.FIND_EXACT_MATCH_ONLY
        try:
            diff.find_similar(find)
        except _NOT_HERE:
            diff.find_similar(find | DiffFind.FIND_EXACT_MATCH_ONLY)
    return diff


def is_at(delta: pygit2.DiffDelta, path: bytes | None) -> bool:
    """Whether a change is at a path or below it."""
    names = (delta.old_file.raw_path, delta.new_file.raw_path)
    return path is None or any(name == path or name.startswith(path + b"/") for name in names)


def path_fields(path: bytes) -> tuple[str, str | None]:
    """A path as the wire has it: readable text, and the bytes in base64 when they are not UTF-8."""
    try:
        return path.decode(), None
    except UnicodeDecodeError:
        return path.decode(errors="replace"), base64.b64encode(path).decode()


def _diff(
    repo: pygit2.Repository, before: str, after: str, context_lines: int, flags: DiffOption = DiffOption.NORMAL
) -> pygit2.Diff:
    old, new = (repo[tree] for tree in (before, after))
    if not isinstance(old, pygit2.Tree) or not isinstance(new, pygit2.Tree):
        raise KeyError(f"{before} or {after} is not a tree")
    return find_renames(repo, old.diff_to_tree(new, DiffOption.INCLUDE_TYPECHANGE | flags, context_lines, 0))


def _is_large(repo: pygit2.Repository, delta: pygit2.DiffDelta) -> bool:
    return any(_size(repo, side) > MAX_COMPARED_BYTES for side in (delta.old_file, delta.new_file))


def _size(repo: pygit2.Repository, side: pygit2.DiffFile) -> int:
    """Bytes that would be read. What the index or the disk says is near enough when it is small, and costs nothing."""
    if 0 < side.size <= MAX_COMPARED_BYTES:
        return side.size
    if side.mode in (0, FileMode.COMMIT):
        return 0
    try:
        return repo.odb.read_header(side.id)[1]
    except (KeyError, pygit2.GitError):  # a file of the working tree
        return side.size


def _change(
    repo: pygit2.Repository, diff: pygit2.Diff, n: int, delta: pygit2.DiffDelta, counter: LineCounter | None
) -> Change:
    status = delta.status
    path, path_bytes = path_fields(delta.new_file.raw_path)
    old_path, old_path_bytes = None, None
    if status == DeltaStatus.RENAMED:
        old_path, old_path_bytes = path_fields(delta.old_file.raw_path)
    added, removed, binary = _lines(repo, diff, n, delta, counter)
    return Change(
        path=path,
        old_path=old_path,
        kind=_KINDS[status],
        added=added,
        removed=removed,
        binary=binary,
        path_bytes=path_bytes,
        old_path_bytes=old_path_bytes,
    )


def _lines(
    repo: pygit2.Repository, diff: pygit2.Diff, n: int, delta: pygit2.DiffDelta, counter: LineCounter | None
) -> tuple[int, int, bool]:
    """Lines added and removed, and whether the file is binary."""
    status = delta.status
    if delta.old_file.id == delta.new_file.id or status == DeltaStatus.CONFLICTED:
        return 0, 0, False
    if counter and not _is_large(repo, delta) and (counted := counter.count(delta)):
        return counted
    try:
        if status == DeltaStatus.TYPECHANGE:  # libgit2 has no lines for these
            old, new = _content(repo, delta.old_file), _content(repo, delta.new_file)
            one = pygit2.Patch.create_from(old, new, context_lines=0)
        else:
            one = _patch_of(repo, diff, n, delta)
    except (_BeyondError, OSError):
        return 0, 0, True
    if one is None:
        return 0, 0, False
    if one.delta.is_binary:
        return 0, 0, True
    _, added, removed = one.line_stats
    return added, removed, False


def _patch_of(repo: pygit2.Repository, diff: pygit2.Diff, n: int, delta: pygit2.DiffDelta) -> pygit2.Patch | None:
    """What differs in one file; None when that is nothing. Raises _BeyondError."""
    if _is_large(repo, delta):
        raise _BeyondError
    try:
        return diff[n]
    except _NOT_HERE as error:
        raise _BeyondError from error


def _content(repo: pygit2.Repository, side: pygit2.DiffFile) -> bytes:
    """Raises OSError, _BeyondError."""
    if _size(repo, side) > MAX_COMPARED_BYTES:
        raise _BeyondError
    if side.id in repo.odb:
        return repo.odb.read(side.id)[1]
    if side.mode == FileMode.COMMIT:
        return b"Subproject commit %s\n" % str(side.id).encode()
    file = Path(repo.workdir, os.fsdecode(side.raw_path))
    return os.fsencode(file.readlink()) if side.mode == FileMode.LINK else file.read_bytes()
