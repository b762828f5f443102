"""What an iteration changed, told by snapshots of the tree; in threads, one at a time per repository."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from ralph_loop.git.locate import Place
from ralph_loop.git.snapshot import FileState, SnapshotError, SnapshotStore
from ralph_loop.protocol import MAX_FILES_IN_RECORD, Change

ALL_FILES = 1_000_000_000

log = logging.getLogger(__name__)


@attrs.frozen
class Tracked:
    """Changes between two trees, or why they cannot be told."""

    files: list[Change] = attrs.Factory(list[Change])
    total: int = 0
    reason: str | None = None


def store_directory(snapshots: Path, place: Place) -> Path:
    """Where the private store of a working tree lies."""
    return snapshots / hashlib.sha256(os.fsencode(place.root)).hexdigest()[:32]


class Tracker:
    """Snapshots of one repository. Never raises: a tree that cannot be told is None, `reason` says why."""

    def __init__(self, store: SnapshotStore | None, reason: str | None) -> None:
        self.store = store
        self.reason = reason
        self._lock = asyncio.Lock()

    @classmethod
    def of(cls, directory: Path, place: Place, env: Mapping[str, str]) -> Tracker:
        """`env` is the user's: their git configuration says which files are ignored."""
        if not place.git:
            return cls(None, "not a git repository")
        return cls(SnapshotStore(store_directory(directory, place), place, env), None)

    async def take(self, name: str, *, fresh: bool) -> str | None:
        """The tree as it is now; `fresh` at the start of an iteration (git/snapshot.py)."""
        if self.store is None:
            return None
        async with self._lock:
            try:
                tree = await asyncio.to_thread(self.store.take, name, fresh=fresh)
            except SnapshotError as error:
                self.reason = str(error)
                return None
        return tree

    async def changes(self, before: str | None, after: str | None, limit: int = MAX_FILES_IN_RECORD) -> Tracked:
        if self.store is None or before is None or after is None:
            return Tracked(reason=self.reason or "there is no record of the tree before it")
        async with self._lock:
            try:
                found = await asyncio.to_thread(self.store.changes, before, after, limit)
            except SnapshotError as error:
                return Tracked(reason=str(error))
        return Tracked(list(found.files), found.total)

    async def read(self, tree: str, path: bytes | str, limit: int) -> FileState:
        """One file of a tree. Raises SnapshotError."""
        if self.store is None:
            raise SnapshotError(self.reason or "there is no record")
        async with self._lock:
            return await asyncio.to_thread(self.store.read, tree, path, limit)

    async def forget(self, names: list[str]) -> None:
        """Gives trees up, and frees their space. What fails is logged: the trees only take space."""
        if self.store is None:
            return
        async with self._lock:
            try:
                await asyncio.to_thread(self.store.forget, names)
                await asyncio.to_thread(self.store.prune)
            except SnapshotError as error:
                log.warning("recorded trees were not deleted: %s", error)
