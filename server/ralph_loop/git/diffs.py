"""What differs between any two of: working tree, index, HEAD, a revision, a recorded tree of a loop. For threads."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping

import pygit2
from pygit2.enums import DiffOption, FileMode, FilterMode, ObjectType

from ralph_loop.git import clidiff, trees
from ralph_loop.git.changes import find_renames, listed, patches
from ralph_loop.git.gitcli import instead
from ralph_loop.git.locate import Place
from ralph_loop.git.scratch import ReadError, Scratch, open_user, reading, scratch
from ralph_loop.git.shapes import Recorded, Side, limited_patch
from ralph_loop.git.submodules import unwanted
from ralph_loop.protocol import MAX_FILES_IN_RECORD, GitDiff

_TYPES = DiffOption.INCLUDE_TYPECHANGE


def diff(
    place: Place,
    env: Mapping[str, str],
    old: Side = "HEAD",
    new: Side = "worktree",
    path: str | None = None,
    patch: bool = False,
) -> GitDiff:
    """The changes from one side to the other, at a path or below it, as `git diff` tells them.

    Untracked files do not count, but between recorded trees and the working tree all files do.
    Raises ReadError, and SnapshotError of a recorded side.
    """
    at = None if path is None or posixpath.normpath(path) == "." else os.fsencode(posixpath.normpath(path))
    recorded = next((side for side in (old, new) if isinstance(side, Recorded)), None)
    if recorded and all(isinstance(side, Recorded) or side == "worktree" for side in (old, new)):
        store = recorded.store
        ids = [side.tree if isinstance(side, Recorded) else store.take("diff") for side in (old, new)]
        with reading(place):
            repo = pygit2.Repository(os.fspath(store.objects))
            first, second = (repo[id_].peel(pygit2.Tree) for id_ in ids)
            return _told(repo, find_renames(repo, first.diff_to_tree(second, _TYPES, 3, 0)), at, patch)
    return _compared(place, env, old, new, at, patch)


@instead(clidiff.compared)
def _compared(place: Place, env: Mapping[str, str], old: Side, new: Side, at: bytes | None, patch: bool) -> GitDiff:
    recorded = next((side for side in (old, new) if isinstance(side, Recorded)), None)
    with scratch(place, env, recorded.store.objects if recorded else None) as look:
        hidden = frozenset[bytes]()
        look.settle(files="worktree" in (old, new))
        found = _between(place, look, old, new)
        if "worktree" in (old, new):
            hidden = look.hidden() | unwanted(place, env, found)
        elif "index" in (old, new):
            hidden = look.intended()
        return _told(look.repo, found, at, patch, hidden)


def _between(place: Place, look: Scratch, old: Side, new: Side) -> pygit2.Diff:
    if place.bare and {"worktree", "index"} & {side for side in (old, new) if isinstance(side, str)}:
        raise ReadError(f"{place.root} is a bare repository: it has no working tree and no index.")
    if old in ("worktree", "index") and new != "worktree":
        found = _from_files(place, look, new, old, DiffOption.REVERSE)
    elif new in ("worktree", "index"):
        found = _from_files(place, look, old, new, DiffOption.NORMAL)
    else:
        first, second = _side(place, look, old), _side(place, look, new)
        if isinstance(old, Recorded):
            first = _as_git_has_it(look, first, second)
        elif isinstance(new, Recorded):
            second = _as_git_has_it(look, second, first)
        found = first.diff_to_tree(second, _TYPES, 3, 0)
    return find_renames(look.repo, found)


def _from_files(place: Place, look: Scratch, side: Side, files: Side, direction: DiffOption) -> pygit2.Diff:
    """From the index or a tree to the working tree or the index; the other way round with REVERSE."""
    index = look.repo.index
    if side == files:
        return look.tree(None).diff_to_tree(look.tree(None))  # nothing
    if side == "index":
        return index.diff_to_workdir(_TYPES | direction)
    tree = _side(place, look, side)
    if isinstance(side, Recorded):
        tree = _as_git_has_it(look, tree, None)
    found = tree.diff_to_index(index, _TYPES | direction)
    if files == "worktree":
        found.merge(index.diff_to_workdir(_TYPES | direction))
    return found


def _side(place: Place, look: Scratch, side: Side) -> pygit2.Tree:
    if isinstance(side, Recorded):
        return look.tree(side.tree)
    user = open_user(place)
    if side == "HEAD" and user.head_is_unborn:
        return look.tree(None)
    try:
        found = user.revparse_single(side)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise ReadError(f"There is no revision {side} in {place.root}.") from error
    try:
        return look.tree(str(found.id))
    except pygit2.GitError as error:
        if isinstance(found, pygit2.Commit | pygit2.Tag):
            text = f"The files of {side} are not here: {place.root} is a partial clone, or damaged."
            raise ReadError(f"{text} `git ls-tree {side}` there fetches them, or tells more.") from error
        raise ReadError(f"{side} in {place.root} is neither a commit nor a tree.") from error


def _as_git_has_it(look: Scratch, recorded: pygit2.Tree, other: pygit2.Tree | None) -> pygit2.Tree:
    """A recorded tree as git would store it, compared with a tree or, without one, the index.

    Recorded are the bytes on disk and the files in submodules; git has line endings as configured, and links.
    """
    deltas = _deltas(look, recorded, other)
    links = [side for delta in deltas for side in [delta.new_file] if side.mode == FileMode.COMMIT]
    for link in links:
        if trees.find(look.repo, recorded.id.raw, [link.raw_path]):
            recorded = _with(look, recorded, link.raw_path, link.id.raw, FileMode.COMMIT)
    if links:
        deltas = _deltas(look, recorded, other)
    for delta in deltas:
        side = delta.old_file
        if side.mode not in (FileMode.BLOB, FileMode.BLOB_EXECUTABLE):
            continue
        filters = look.repo.load_filter_list(side.raw_path, FilterMode.TO_ODB)  # pyright: ignore[reportArgumentType] - takes bytes too
        data = look.repo.odb.read(side.id)[1] if filters is not None else b""
        changed = data
        if filters is not None and "crlf" in filters and b"\0" not in data:
            changed = changed.replace(b"\r\n", b"\n")
        if filters is not None and "ident" in filters:
            changed = re.sub(rb"\$Id:[^$\n]*\$", b"$Id$", changed)
        if changed != data:
            id_ = look.writer.write(ObjectType.BLOB, changed).raw
            recorded = _with(look, recorded, side.raw_path, id_, side.mode)
    return recorded


def _deltas(look: Scratch, recorded: pygit2.Tree, other: pygit2.Tree | None) -> list[pygit2.DiffDelta]:
    found = recorded.diff_to_index(look.repo.index) if other is None else recorded.diff_to_tree(other)
    return list(found.deltas)


def _with(look: Scratch, tree: pygit2.Tree, path: bytes, id_: bytes, mode: int) -> pygit2.Tree:
    changed = trees.graft(look.repo, tree.id.raw, path.split(b"/"), id_, mode, look.writer)
    return look.tree(changed.hex())


def _told(
    repo: pygit2.Repository, found: pygit2.Diff, at: bytes | None, patch: bool, hidden: frozenset[bytes] = frozenset()
) -> GitDiff:
    changes = listed(repo, found, MAX_FILES_IN_RECORD, at, hidden, equal=False)
    text = limited_patch(patches(repo, found, at, hidden)) if patch else None
    return GitDiff(files=changes.files, files_total=changes.total, patch=text)
