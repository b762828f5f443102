"""The private repository beside a working tree: configuration that switches everything off, and index entries."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from ralph_loop.git.blobs import Blob

_SECOND_NS = 1_000_000_000
# A file changed as recently as its time stamp can tell apart may change again under the same time stamp.
_RACY_NS = 100_000_000
_RACY_COARSE_NS = 2 * _SECOND_NS  # where time stamps are whole seconds (FAT: two)
_CONFIG = b"""[core]
	repositoryformatversion = 0
	bare = false
	worktree = "%s"
	filemode = %s
	symlinks = true
	ignorecase = false
	precomposeunicode = false
	autocrlf = false
	safecrlf = false
	excludesfile = /dev/null
	attributesfile = /dev/null
"""
# Highest in gitattributes(5): nothing in the tree can bring a filter or a line ending back.
_ATTRIBUTES = b"* -text -ident -filter -working-tree-encoding !eol\n"


def prepare(directory: Path, objects: Path) -> None:
    """Makes the repository, which reads the objects of the store. Raises OSError."""
    for name in ("objects/info", "refs", "info"):
        (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    (directory / "HEAD").write_bytes(b"ref: refs/heads/none\n")
    (directory / "info" / "attributes").write_bytes(_ATTRIBUTES)
    shared = os.path.relpath(objects, directory / "objects")
    (directory / "objects" / "info" / "alternates").write_text(f"{shared}\n")
    (directory / "index.lock").unlink(missing_ok=True)  # of a helper that was killed


def configure(directory: Path, root: bytes, rules: bytes, file_mode: bool) -> None:
    """Points it at a working tree, with the ignore rules that are not in the tree itself. Raises OSError."""
    (directory / "info" / "exclude").write_bytes(rules)
    quoted = re.sub(rb'[\\"]', rb"\\\g<0>", root).replace(b"\n", b"\\n").replace(b"\t", b"\\t")
    (directory / "config").write_bytes(_CONFIG % (quoted, b"true" if file_mode else b"false"))


class StatEntry(pygit2.IndexEntry):
    """An index entry with its file status, which pygit2's own leaves out."""

    def __init__(self, path: bytes, blob: Blob, mode: int) -> None:
        super().__init__(os.fsdecode(path), pygit2.Oid(raw=blob.id), FileMode(mode))
        self._status = blob.status

    def _to_c(self):  # pyright: ignore
        entry, path = super()._to_c()  # pyright: ignore
        status = self._status
        for field, ns in ((entry.ctime, status.st_ctime_ns), (entry.mtime, status.st_mtime_ns)):  # pyright: ignore
            field.seconds = (ns // _SECOND_NS + 2**31) % 2**32 - 2**31  # pyright: ignore
            field.nanoseconds = ns % _SECOND_NS  # pyright: ignore
        entry.ino = status.st_ino & 0xFFFFFFFF  # pyright: ignore
        entry.uid, entry.gid = status.st_uid, status.st_gid  # pyright: ignore
        entry.file_size = status.st_size & 0xFFFFFFFF  # pyright: ignore
        return entry, path  # pyright: ignore


def signature_of(file: Path) -> object:
    """What tells one version of a file from the next; None when there is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def is_racy(status: os.stat_result, started: int) -> bool:
    """Whether the file may change after it was read without its time stamps telling (git's racy-git.txt)."""
    stamp = max(status.st_ctime_ns, status.st_mtime_ns)
    return stamp >= started - (_RACY_NS if stamp % _SECOND_NS else _RACY_COARSE_NS)
