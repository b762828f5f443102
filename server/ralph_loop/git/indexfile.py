"""Reads and copies git's index file (gitformat-index(5)), versions 2 to 4.

libgit2 cannot read a split index, a sparse index or one of a SHA-256 repository; which files the user tracks must be
known there too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import struct
from pathlib import Path
from typing import NamedTuple

SPARSE_DIRECTORY = 0o040000


class Entry(NamedTuple):
    """One path of an index."""

    path: bytes
    mode: int
    id: bytes
    stage: int
    skip_worktree: bool
    assume_valid: bool
    intent_to_add: bool


class BrokenIndexError(Exception):
    """The file is not an index git would read."""


def read_index(file: Path, algorithm: str = "sha1", folders: bool = False) -> list[Entry]:
    """The entries in the order of the file; none when there is no file. `algorithm` is sha1 or sha256.

    `folders` keeps those of a sparse index, whose id is a tree; else they are left out: nothing of them is on disk.
    Raises BrokenIndexError, and OSError when the file cannot be read.
    """
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        return []
    try:
        entries = _parse(data, file.parent, algorithm)
        return [entry for entry in entries if folders or entry.mode != SPARSE_DIRECTORY]
    except (IndexError, ValueError, struct.error) as error:
        raise BrokenIndexError(f"{file} is damaged") from error


def copy_index(file: Path, target: str | os.PathLike[str]) -> None:
    """Copies an index with its time; where there is none, nothing. Raises OSError.

    A file that changed no earlier than the index was written may have changed once more without a trace in its size and
    times: git looks into such files, and tells them by the index's own time (git's Documentation/technical/racy-git).
    """
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(file, target)


def cached_tree(file: Path) -> bytes | None:
    """The tree that an index was last written as; None when it changed since. Raises as `read_index`."""
    try:
        _, extensions = _split(file.read_bytes(), "sha1")
    except (IndexError, ValueError, struct.error) as error:
        raise BrokenIndexError(f"{file} is damaged") from error
    return _root_tree(extensions)


def quickly_cached_tree(file: Path) -> bytes | None:
    """As `cached_tree` without reading the entries: the extension is looked for from the end. None when not found."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    start = len(data)
    for _ in range(5):  # what looks like its name may be part of something else: then the rest does not fit
        start = data.rfind(b"TREE", 12, start)
        if start < 0:
            return None
        end = start
        while end + 8 <= len(data) - 20:
            end += 8 + int.from_bytes(data[end + 4 : end + 8])
        if end == len(data) - 20:
            return _root_tree(_extensions(data, start, 20))
    return None


def _root_tree(extensions: dict[bytes, bytes]) -> bytes | None:
    counts, _, rest = extensions.get(b"TREE", b"").partition(b"\n")  # an empty name, NUL, "entries subtrees"
    return rest[:20] if counts and not counts.startswith(b"\0-") else None


def _parse(data: bytes, directory: Path, algorithm: str) -> list[Entry]:
    entries, extensions = _split(data, algorithm)
    size = hashlib.new(algorithm).digest_size
    link = extensions.get(b"link", b"")
    if not any(link[:size]):
        return entries
    shared = (directory / f"sharedindex.{link[:size].hex()}").read_bytes()
    return _merge(_split(shared, algorithm)[0], entries, link[size:])


def _split(data: bytes, algorithm: str) -> tuple[list[Entry], dict[bytes, bytes]]:
    """The entries and the extensions of an index."""
    size = hashlib.new(algorithm).digest_size
    signature, version, count = struct.unpack_from(">4sII", data)
    if signature != b"DIRC" or version not in (2, 3, 4):
        raise ValueError("not an index")
    checksum = data[-size:]  # zeros when the user set index.skipHash
    if any(checksum) and hashlib.new(algorithm, memoryview(data)[:-size]).digest() != checksum:
        raise ValueError("wrong checksum")
    entries, offset = _entries(data, version, count, size)
    return entries, _extensions(data, offset, size)


def _extensions(data: bytes, offset: int, size: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    while offset < len(data) - size:
        name, length = struct.unpack_from(">4sI", data, offset)
        found[name] = data[offset + 8 : offset + 8 + length]
        offset += 8 + length
    return found


def _entries(data: bytes, version: int, count: int, size: int) -> tuple[list[Entry], int]:
    entries: list[Entry] = []
    offset, path = 12, b""
    stat_size = 40  # ctime, mtime, dev, ino, mode, uid, gid, size
    for _ in range(count):
        mode = int.from_bytes(data[offset + 24 : offset + 28])
        start = offset + stat_size
        flags = int.from_bytes(data[start + size : start + size + 2])
        name = start + size + 2
        extended = 0
        if flags & 0x4000:
            extended = int.from_bytes(data[name : name + 2])
            name += 2
        if version == 4:
            strip, name = _varint(data, name)
            end = data.index(b"\0", name)
            path = path[: len(path) - strip] + data[name:end]
            following = end + 1
        else:
            end = data.index(b"\0", name) if flags & 0xFFF == 0xFFF else name + (flags & 0xFFF)
            path = data[name:end]
            following = offset + (end - offset + 8) // 8 * 8
        bits = (bool(extended & 0x4000), bool(flags & 0x8000), bool(extended & 0x2000))
        entries.append(Entry(path, mode, data[start : start + size], flags >> 12 & 3, *bits))
        offset = following
    return entries, offset


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """The offset encoding of pack files: every continuation adds one, so that no number has two spellings."""
    byte = data[offset]
    value = byte & 0x7F
    while byte & 0x80:
        offset += 1
        byte = data[offset]
        value = (value + 1) << 7 | byte & 0x7F
    return value, offset + 1


def _merge(shared: list[Entry], own: list[Entry], link: bytes) -> list[Entry]:
    """A split index: the shared one without what was deleted, with replaced entries (unnamed here), plus new ones."""
    deleted, rest = _bitmap(link)
    replaced, _ = _bitmap(rest)
    merged: dict[int, Entry] = {n: entry for n, entry in enumerate(shared) if n not in deleted}
    unnamed = iter([entry for entry in own if not entry.path])
    for position in sorted(replaced):
        merged[position] = next(unnamed)._replace(path=shared[position].path)
    entries = [*merged.values(), *(entry for entry in own if entry.path)]
    return sorted(entries, key=lambda entry: (entry.path, entry.stage))


def _bitmap(data: bytes) -> tuple[set[int], bytes]:
    """The set bits of an EWAH bitmap (gitformat-bitmap(5), appendix A), and the bytes after it."""
    if not data:
        return set(), b""
    _bits, count = struct.unpack_from(">II", data)
    words = struct.unpack_from(f">{count}Q", data, 8)
    found: set[int] = set()
    position, at = 0, 0
    while at < count:
        marker = words[at]
        run = marker >> 1 & 0xFFFFFFFF
        literals = marker >> 33
        if marker & 1:
            found.update(range(position, position + run * 64))
        position += run * 64
        for word in words[at + 1 : at + 1 + literals]:
            found.update(position + bit for bit in range(64) if word >> bit & 1)
            position += 64
        at += 1 + literals
    return found, data[8 + 8 * count + 4 :]
