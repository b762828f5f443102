"""Tree objects as bytes: names that are not UTF-8 stay what they are."""

from __future__ import annotations

import stat
from collections.abc import Iterable

import pygit2
from pygit2.enums import FileMode, ObjectType


def entries(repo: pygit2.Repository, tree: bytes) -> dict[bytes, tuple[int, bytes]]:
    """Name to mode and id, of one tree. Raises KeyError when there is no such tree."""
    kind, data = repo.odb.read(pygit2.Oid(raw=tree))
    if kind != ObjectType.TREE:
        raise KeyError(f"{tree.hex()} is not a tree")
    found: dict[bytes, tuple[int, bytes]] = {}
    at = 0
    while at < len(data):
        space, end = data.index(b" ", at), data.index(b"\0", at)
        found[data[space + 1 : end]] = (int(data[at:space], 8), data[end + 1 : end + 21])
        at = end + 21
    return found


def find(repo: pygit2.Repository, tree: bytes, paths: Iterable[bytes]) -> dict[bytes, tuple[int, bytes]]:
    """Mode and id of what a tree has at these paths; those where it has nothing are left out."""
    known: dict[bytes, dict[bytes, tuple[int, bytes]]] = {}  # a folder with many of the paths is read once
    found: dict[bytes, tuple[int, bytes]] = {}
    for path in paths:
        entry: tuple[int, bytes] | None = (int(FileMode.TREE), tree)
        for part in path.split(b"/"):
            if entry is None or not stat.S_ISDIR(entry[0]):
                entry = None
                break
            if entry[1] not in known:
                known[entry[1]] = entries(repo, entry[1])
            entry = known[entry[1]].get(part)
        if entry is not None:
            found[path] = entry
    return found


def graft(
    repo: pygit2.Repository,
    tree: bytes | None,
    path: list[bytes],
    id_: bytes,
    mode: int = FileMode.TREE,
    writer: pygit2.Repository | None = None,
) -> bytes:
    """The id of a tree with something put at a path, whatever was there; written to `writer`, else to `repo`."""
    found = entries(repo, tree) if tree else {}
    name, *rest = path
    if rest:
        above, below = found.get(name, (0, b""))
        id_ = graft(repo, below if stat.S_ISDIR(above) else None, rest, id_, mode, writer)
        mode = FileMode.TREE
    found[name] = (mode, id_)
    ordered = sorted(found.items(), key=lambda item: item[0] + b"/" if stat.S_ISDIR(item[1][0]) else item[0])
    data = b"".join(b"%o %s\0%s" % (kind, key, entry) for key, (kind, entry) in ordered)
    return (writer or repo).write(ObjectType.TREE, data).raw
