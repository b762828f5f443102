"""Frees what no snapshot needs: libgit2 has no `gc`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, ObjectType

from ralph_loop.git.indexfile import cached_tree
from ralph_loop.git.pack import PackWriter


def sweep(store: Path) -> None:
    """Removes what a killed helper left half-written."""
    for pattern in ("objects/pack/tmp_*", "objects/*/tmp_*", "objects/tmp_*", "refs/**/*.lock", "*.lock"):
        for file in store.glob(pattern):
            file.unlink(missing_ok=True)
    for file in store.glob("objects/pack/*.pack"):
        if not file.with_suffix(".idx").exists():
            file.unlink()


def prune(directory: Path) -> None:
    """Deletes every object that no reference and no view needs. Raises pygit2.GitError, KeyError, OSError."""
    store = directory / "store.git"
    repo = pygit2.Repository(os.fspath(store))
    needed: set[bytes] = set()
    for name in repo.references:
        _collect(repo, repo.references[name].target, needed)
    for view in directory.glob("views/*"):
        if not _has_tree(view):
            shutil.rmtree(view)
    for index in directory.glob("views/*/index"):
        tree = cached_tree(index)
        if tree and repo.odb.exists(pygit2.Oid(raw=tree)):
            _collect(repo, pygit2.Oid(raw=tree), needed)
        else:
            index.unlink()
    packs = {file: _ids(file) for file in sorted((store / "objects" / "pack").glob("*.idx"))}
    stale = {file for file, ids in packs.items() if not ids <= needed}
    kept = {id_ for file, ids in packs.items() if file not in stale for id_ in ids}
    _repack(repo, store, {id_ for file in stale for id_ in packs[file]} & needed - kept)
    for file in stale:
        file.unlink()
        file.with_suffix(".pack").unlink()
    for file in (store / "objects").glob("[0-9a-f][0-9a-f]/*"):
        if bytes.fromhex(file.parent.name + file.name) not in needed:
            file.unlink()


def _has_tree(view: Path) -> bool:
    """Whether the working tree of a view is still there: those of work copies are not for long."""
    try:
        tree = pygit2.Repository(os.fspath(view)).workdir
    except pygit2.GitError:
        return False
    return os.path.isdir(tree or "")  # noqa: PTH112


def _collect(repo: pygit2.Repository, tree: pygit2.Oid | str, needed: set[bytes]) -> None:
    pending = [pygit2.Oid(hex=tree) if isinstance(tree, str) else tree]
    while pending:
        id_ = pending.pop()
        if id_.raw in needed:
            continue
        needed.add(id_.raw)
        found = repo[id_]
        if not isinstance(found, pygit2.Tree):
            continue
        for entry in found:
            if entry.filemode == FileMode.TREE:
                pending.append(entry.id)
            else:
                needed.add(entry.id.raw)


def _ids(index: Path) -> set[bytes]:
    """The ids in a pack index of version 2 (gitformat-pack(5)): after the header and 256 counts of 4 bytes."""
    data = index.read_bytes()
    start = 8 + 256 * 4
    count = int.from_bytes(data[start - 4 : start])
    return {data[at : at + 20] for at in range(start, start + count * 20, 20)}


def _repack(repo: pygit2.Repository, store: Path, ids: set[bytes]) -> None:
    pack = PackWriter(store / "objects")
    try:
        for id_ in sorted(ids):
            kind, data = repo.odb.read(pygit2.Oid(raw=id_))
            if kind == ObjectType.BLOB:
                pack.add(id_, len(data), (data,))
        pack.finish()
    except BaseException:
        pack.abandon()
        raise
