"""Writes a recorded tree into a new folder: raw bytes, no filter, no line ending."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from ralph_loop.git import trees
from ralph_loop.git.blobs import Blob


class StoppedError(Exception):
    """It was asked to stop half-way."""


def write_tree(
    repo: pygit2.Repository, tree: bytes, folder: Path, stop: Callable[[], bool] = lambda: False
) -> dict[bytes, Blob]:
    """The files written, by path. Raises OSError, also for a file that is there already, KeyError, and StoppedError as
    soon as `stop` says so."""
    written: dict[bytes, Blob] = {}
    pending = [(tree, b"")]
    root = os.fsencode(folder) + b"/"
    while pending:
        id_, prefix = pending.pop()
        for name, (mode, entry) in trees.entries(repo, id_).items():
            path = prefix + name
            if mode == FileMode.TREE:
                os.mkdir(root + path)  # noqa: PTH102 - bytes
                pending.append((entry, path + b"/"))
            elif stop():
                raise StoppedError
            elif mode != FileMode.COMMIT:
                written[path] = _write(repo, root + path, mode, entry)
    return written


def _write(repo: pygit2.Repository, path: bytes, mode: int, id_: bytes) -> Blob:
    data = repo.odb.read(pygit2.Oid(raw=id_))[1]
    if mode == FileMode.LINK:
        os.symlink(data, path)  # noqa: PTH211 - bytes
        return Blob(id_, mode, os.lstat(path))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o777 if mode == FileMode.BLOB_EXECUTABLE else 0o666), "wb") as file:  # noqa: PTH123
        file.write(data)
        file.flush()
        return Blob(id_, mode, os.fstat(file.fileno()))
