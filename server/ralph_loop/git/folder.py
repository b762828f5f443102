"""Reads and changes files below one folder, and nowhere else: no symbolic link on the way is ever followed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType

import attrs
from pygit2.enums import FileMode

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASSAGE = _FOLDER | getattr(os, "O_PATH", 0)  # Linux: enough to go through, for folders that cannot be listed
_CHUNK = 1 << 20

Rights = tuple[int, int, int]
"""The permission bits of a file, its owner and its group."""


@attrs.frozen
class State:
    """What is at a path: mode and id as git has them. `mode` is 0 for what git cannot hold (FIFOs, devices)."""

    mode: int
    id: bytes
    rights: Rights


class Folder:
    """A folder held open: it stays the same one though it be renamed. Paths are bytes below it, with `/`.

    Every method raises OSError: NotADirectoryError where a file or a link is in the way.
    """

    def __init__(self, root: Path) -> None:
        self._handle = os.open(root, _PASSAGE)

    def __enter__(self) -> Folder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._handle)

    @contextlib.contextmanager
    def parent(self, path: bytes, create: bool = False) -> Generator[tuple[int, bytes], None, None]:
        """The descriptor of the folder a path lies in, and its last name. `create` makes missing folders."""
        *folders, name = path.split(b"/")
        if any(part in (b"", b".", b"..") or part.lower() == b".git" for part in (*folders, name)):
            raise ValueError(f"{os.fsdecode(path)} is not a path inside the folder")
        handle = os.dup(self._handle)
        try:
            for part in folders:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=handle)
                below = _enter(handle, part)
                os.close(handle)
                handle = below
            yield handle, name
        finally:
            os.close(handle)

    def state(self, path: bytes) -> State | None:
        """What is at a path; None when nothing is, also where a file or a link is in the place of its folder."""
        try:
            with self.parent(path) as (handle, name):
                return _state(handle, name)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, path: bytes) -> list[bytes]:
        """What is in a folder, as paths."""
        with self.parent(path) as (handle, name):
            inside = os.open(name, _FOLDER, dir_fd=handle)
            try:
                return [path + b"/" + os.fsencode(entry) for entry in os.listdir(inside)]  # noqa: PTH208
            finally:
                os.close(inside)

    def remove(self, path: bytes) -> None:
        with self.parent(path) as (handle, name):
            os.unlink(name, dir_fd=handle)

    def make(self, path: bytes, mode: int) -> None:
        """Makes a folder where there is none."""
        with self.parent(path) as (handle, name), contextlib.suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=handle)

    def move(self, source: bytes, target: bytes) -> None:
        """Puts a file in the place of another, in one step; missing folders are made."""
        with self.parent(source) as (old, name), self.parent(target, create=True) as (new, last):
            os.rename(name, last, src_dir_fd=old, dst_dir_fd=new)

    def clear(self, path: bytes) -> None:
        """Removes a folder with the empty folders in it."""
        for inside in self.names(path):
            self.clear(inside)
        with self.parent(path) as (handle, name):
            os.rmdir(name, dir_fd=handle)

    def clear_parents(self, path: bytes) -> None:
        """Removes the folders above a path that are empty."""
        while path := path.rpartition(b"/")[0]:
            try:
                with self.parent(path) as (handle, name):
                    os.rmdir(name, dir_fd=handle)
            except OSError:  # not empty, or gone
                return

    def write(self, path: bytes, mode: int, data: bytes, rights: Rights | None, file_mode: bool) -> None:
        """A new file or link, on disk when this returns; with the rights and the owner of another, if given.

        The executable bit is that of `mode`; without `file_mode` that of the other file.
        """
        with self.parent(path) as (handle, name):
            if mode == FileMode.LINK:
                os.symlink(data, name, dir_fd=handle)
                return
            executable = mode == FileMode.BLOB_EXECUTABLE
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(name, flags, 0o777 if executable else 0o666, dir_fd=handle)
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(file, view) :]
                if rights is not None:
                    _give(file, rights, executable if file_mode else None)
                os.fsync(file)
            finally:
                os.close(file)


def _enter(handle: int, name: bytes) -> int:
    try:
        return os.open(name, _PASSAGE, dir_fd=handle)
    except OSError as error:
        if error.errno == errno.ELOOP:  # how some systems say that it is a link
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fsdecode(name)) from error
        raise


def _state(handle: int, name: bytes) -> State | None:
    status = os.stat(name, dir_fd=handle, follow_symlinks=False)
    rights = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    if stat.S_ISDIR(status.st_mode):
        return State(FileMode.TREE, b"", rights)
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(name, dir_fd=handle))
        return State(FileMode.LINK, _blob_id(len(target), [target]), rights)
    if not stat.S_ISREG(status.st_mode):
        return State(0, b"", rights)
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
    try:
        status = os.fstat(file)
        mode = FileMode.BLOB_EXECUTABLE if status.st_mode & stat.S_IXUSR else FileMode.BLOB
        return State(mode, _blob_id(status.st_size, iter(lambda: os.read(file, _CHUNK), b"")), rights)
    finally:
        os.close(file)


def _blob_id(size: int, chunks: Iterator[bytes] | list[bytes]) -> bytes:
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.digest()


def _give(file: int, rights: Rights, executable: bool | None) -> None:
    mode, owner, group = rights
    if executable is not None:
        mode = mode & ~0o111 | ((mode & 0o444) >> 2 if executable else 0)
    if (owner, group) != (os.geteuid(), os.getegid()):
        with contextlib.suppress(PermissionError):  # only root gives files away
            os.fchown(file, owner, group)
    os.fchmod(file, mode)
