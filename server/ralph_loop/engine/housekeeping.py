"""What the helper does for itself now and then: old output is given up as the settings say (off by default)."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from datetime import UTC, datetime, timedelta

from ralph_loop.engine.settings import Settings
from ralph_loop.store.database import Database, DiskFullError
from ralph_loop.store.retention import Retention

log = logging.getLogger(__name__)

_PERIOD_S = 3600.0
_MOST_DAYS = 365 * 1000  # what a date can be reduced by


class Housekeeping:
    """A task of the engine's, from `start` to `close`."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._settings = settings
        self._retention = Retention(database)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="housekeeping")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._sweep()
            except (sqlite3.Error, DiskFullError) as error:
                log.warning("old output was not deleted: %s", error)
            await asyncio.sleep(_PERIOD_S)

    async def _sweep(self) -> None:
        days, most = self._settings.get("retentionDays"), self._settings.get("retentionBytes")
        before = None if days is None else datetime.now(UTC) - timedelta(days=min(days, _MOST_DAYS))
        deleted = await self._retention.sweep(before=before, most_bytes=most)
        if deleted:
            log.info("%d bytes of old output were deleted (retentionDays, retentionBytes)", deleted)
