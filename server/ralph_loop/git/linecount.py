"""Counts the lines of changed files without the patches of libgit2, each of which looks up attributes five times."""

from __future__ import annotations

import os

import pygit2
from pygit2.enums import FileMode

from ralph_loop.git import config as git_config

_FILES = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)


class LineCounter:
    """Counts where the bytes of a file are what is compared: no attribute and no line ending can play a part.

    With `on_disk` the new side of every change is in the working tree, else both sides are objects.
    """

    def __init__(self, repo: pygit2.Repository, on_disk: bool) -> None:
        self._on_disk = on_disk
        self._index, self._odb = repo.index, repo.odb
        self._root = os.fsencode(repo.workdir)
        outside = (f"{repo.path}info/attributes", git_config.get(repo.config, "core.attributesfile"))
        as_it_is = git_config.get(repo.config, "core.autocrlf", "false") == "false"
        self._plain = {b"": as_it_is and not any(map(os.path.isfile, outside)) and not self._has_attributes(b"")}

    def count(self, delta: pygit2.DiffDelta) -> tuple[int, int, bool] | None:
        """Lines added and removed, and whether the file is binary. None where libgit2 has to tell: also when a side is
        no regular file or cannot be read."""
        old, new = delta.old_file, delta.new_file
        if not self._is_plain(new.raw_path) or not self._is_plain(old.raw_path):
            return None
        try:
            before, after = self._object(old), self._file(new) if self._on_disk else self._object(new)
        except (OSError, KeyError, pygit2.GitError):
            return None
        if before is None or after is None:
            return None
        patch = pygit2.Patch.create_from(before, after, context_lines=0)
        if patch.delta.is_binary:
            return 0, 0, True
        _, added, removed = patch.line_stats
        return added, removed, False

    def _is_plain(self, path: bytes) -> bool:
        folder = path[: path.rfind(b"/") + 1]
        if folder not in self._plain:
            ends = [n + 1 for n, byte in enumerate(folder) if byte == ord("/")]
            self._plain[folder] = self._plain[b""] and not any(self._has_attributes(folder[:end]) for end in ends)
        return self._plain[folder]

    def _has_attributes(self, folder: bytes) -> bool:
        name = folder + b".gitattributes"
        return os.path.lexists(self._root + name) or os.fsdecode(name) in self._index

    def _object(self, side: pygit2.DiffFile) -> bytes | None:
        mode = side.mode
        if mode not in _FILES:
            return None if mode else b""
        return self._odb.read(side.id)[1]

    def _file(self, side: pygit2.DiffFile) -> bytes | None:
        mode = side.mode
        if mode not in _FILES:
            return None if mode else b""
        handle = os.open(self._root + side.raw_path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            data = os.read(handle, side.size + 1)
        finally:
            os.close(handle)
        return data if len(data) == side.size else None
