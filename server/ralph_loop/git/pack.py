"""Writes blobs into one pack file (gitformat-pack(5)): a first snapshot has as many blobs as the tree has files.

A file per object would cost a disk block each (200 MB for 50,000 small files) and three times the time.
"""

from __future__ import annotations

import hashlib
import os
import struct
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

_BLOB = 3
_LARGE_OFFSET = 1 << 31
_CHUNK = 1 << 20


class PackWriter:
    """One pack in the making. Nothing of it can be seen in the repository before `finish`."""

    def __init__(self, objects: Path) -> None:
        self._directory = objects / "pack"
        self._directory.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(prefix="tmp_", dir=self._directory)
        self._file = os.fdopen(handle, "w+b")
        self._path = Path(name)
        self._file.write(struct.pack(">4sII", b"PACK", 2, 0))
        self._entries: dict[bytes, tuple[int, int]] = {}  # id: (crc32 of the packed bytes, offset)

    def __contains__(self, id_: bytes) -> bool:
        return id_ in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, id_: bytes, size: int, chunks: Iterable[bytes]) -> None:
        """Adds a blob of exactly `size` bytes. Raises ValueError, and leaves the pack as it was, when it is not."""
        start = self._file.tell()
        crc = self._write(_header(size), 0)
        compressor = zlib.compressobj(1)
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        for chunk in chunks:
            digest.update(chunk)
            crc = self._write(compressor.compress(chunk), crc)
        crc = self._write(compressor.flush(), crc)
        if digest.digest() != id_:
            self._file.seek(start)
            self._file.truncate()
            raise ValueError("the file changed while it was read")
        self._entries[id_] = (crc, start)

    def finish(self) -> None:
        """Puts the pack and its index into the repository; nothing when it is empty."""
        if not self._entries:
            self.abandon()
            return
        self._file.seek(0)
        self._file.write(struct.pack(">4sII", b"PACK", 2, len(self._entries)))
        checksum = _checksum(self._file)
        self._file.write(checksum)
        self._file.close()
        index = self._path.with_name(self._path.name + ".idx")
        index.write_bytes(self._index(checksum))
        final = self._directory / f"pack-{checksum.hex()}"
        for path, ending in ((self._path, ".pack"), (index, ".idx")):  # a pack is found by its index: that one last
            path.chmod(0o400)
            path.replace(final.with_name(final.name + ending))

    def abandon(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, data: bytes, crc: int) -> int:
        self._file.write(data)
        return zlib.crc32(data, crc)

    def _index(self, checksum: bytes) -> bytes:
        ids = sorted(self._entries)
        counts = [0] * 256
        for id_ in ids:
            counts[id_[0]] += 1
        total, fanout = 0, bytearray()
        for count in counts:
            total += count
            fanout += struct.pack(">I", total)
        crcs, offsets, large = bytearray(), bytearray(), bytearray()
        for id_ in ids:
            crc, offset = self._entries[id_]
            crcs += struct.pack(">I", crc)
            if offset < _LARGE_OFFSET:
                offsets += struct.pack(">I", offset)
            else:
                offsets += struct.pack(">I", _LARGE_OFFSET | len(large) // 8)
                large += struct.pack(">Q", offset)
        body = b"".join((b"\377tOc\0\0\0\2", fanout, *ids, crcs, offsets, large, checksum))
        return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _header(size: int) -> bytes:
    byte, size = _BLOB << 4 | size & 15, size >> 4
    header = bytearray()
    while size:
        header.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    header.append(byte)
    return bytes(header)


def _checksum(file: BinaryIO) -> bytes:
    """The SHA-1 of the whole file, which is left at its end."""
    file.seek(0)
    digest = hashlib.sha1(usedforsecurity=False)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.digest()
