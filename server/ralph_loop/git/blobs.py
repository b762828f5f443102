"""Puts the bytes of files into the private store, exactly as they are on disk: no filter, no line ending is touched."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import attrs
import pygit2
from pygit2.enums import FileMode

from ralph_loop.git.pack import PackWriter

_SMALL = 1 << 20  # larger files are streamed: memory stays bounded whatever their size
_CHUNK = 1 << 20
_ATTEMPTS = 3
MANY = 100  # as many new blobs go into a pack, fewer are loose objects


class NotAFileError(Exception):
    """The path is neither a regular file nor a symbolic link: nothing that git could hold."""


@attrs.frozen
class Blob:
    """What a path holds: the id of its content, its mode as git knows modes, and the file status it was read under."""

    id: bytes
    mode: int
    status: os.stat_result


class BlobWriter:
    """Writes the blobs of one snapshot. `finish` makes them readable, `abandon` drops those of the pack."""

    def __init__(self, repo: pygit2.Repository, many: bool) -> None:
        self._repo = repo
        self._many = many
        self._pack: PackWriter | None = None

    def add(self, path: bytes) -> Blob:
        """Stores what is at a path; links are never followed, other kinds of files never opened.

        Raises NotAFileError, and OSError when the file is gone or cannot be read.
        """
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            return Blob(self._add_bytes(os.readlink(path)), FileMode.LINK, status)  # noqa: PTH115 - bytes
        if not stat.S_ISREG(status.st_mode):
            raise NotAFileError
        # Not blocking: the file may have been replaced by a FIFO just now.
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise NotAFileError
            mode = FileMode.BLOB_EXECUTABLE if status.st_mode & stat.S_IXUSR else FileMode.BLOB
            if status.st_size > _SMALL:
                return self._add_large(handle, mode)
            return Blob(self._add_bytes(b"".join(_chunks(handle, status.st_size))), mode, status)
        finally:
            os.close(handle)

    def finish(self) -> None:
        if self._pack:
            self._pack.finish()

    def abandon(self) -> None:
        if self._pack:
            self._pack.abandon()

    def _has(self, id_: bytes) -> bool:
        return (self._pack is not None and id_ in self._pack) or self._repo.odb.exists(pygit2.Oid(raw=id_))

    def _add_bytes(self, data: bytes) -> bytes:
        id_ = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).digest()
        if not self._has(id_):
            if self._many:
                self._open_pack().add(id_, len(data), (data,))
            else:
                self._repo.create_blob(data)
        return id_

    def _add_large(self, handle: int, mode: int) -> Blob:
        """Read twice, so that a file that is there already costs no space; again when it changed between."""
        for _ in range(_ATTEMPTS):
            status = os.fstat(handle)
            digest = hashlib.sha1(b"blob %d\0" % status.st_size, usedforsecurity=False)
            for chunk in _chunks(handle, status.st_size):
                digest.update(chunk)
            id_ = digest.digest()
            try:
                if not self._has(id_):
                    self._open_pack().add(id_, status.st_size, _chunks(handle, status.st_size))
                return Blob(id_, mode, status)
            except ValueError:
                continue
        raise OSError("the file changes all the time")

    def _open_pack(self) -> PackWriter:
        if self._pack is None:
            self._pack = PackWriter(Path(self._repo.path, "objects"))
        return self._pack


def _chunks(handle: int, size: int) -> Iterator[bytes]:
    os.lseek(handle, 0, os.SEEK_SET)
    left = size
    while left and (chunk := os.read(handle, min(left, _CHUNK))):
        left -= len(chunk)
        yield chunk
