"""What is given up of old output: that of loops that have ended, by age and by size. Records, prompts, messages stay.

Everything goes in small steps, each a transaction of its own: a loop that prints waits for one step at most.
"""

from __future__ import annotations

from datetime import datetime

import attrs

from ralph_loop.protocol import ENDED
from ralph_loop.store.database import Database, Writer, timestamp

_ENDED = ", ".join(f"'{status}'" for status in sorted(ENDED))
_EVERYTHING = 2**62
_STEP_CHUNKS = 64  # at most 4 MiB of output
_COUNT_CHUNKS = 1000
_STEP_PAGES = 256  # 1 MiB given back to the file system
_KEPT_PAGES = 256  # free pages that are left for what is written next

# the oldest chunks of a loop that has ended, until so many bytes are reached
_DELETE = f"""
DELETE FROM output_logs WHERE number IN (
    SELECT number FROM (
        SELECT number, sum(size) OVER (ORDER BY seq) - size AS passed FROM (
            SELECT o.number, o.seq, length(o.data) AS size FROM output_logs o JOIN loops l ON l.id = o.run_id
            WHERE o.run_id = ? AND l.status IN ({_ENDED}) ORDER BY o.seq LIMIT {_STEP_CHUNKS}
        )
    ) WHERE passed < ?
) RETURNING length(data)
"""


@attrs.define
class Retention:
    """Deletes output. `_sizes` remembers how much loops that ended have: it changes no more, except by us."""

    _database: Database
    _sizes: dict[str, int] = attrs.Factory(dict[str, int])

    async def sweep(self, *, before: datetime | None, most_bytes: int | None) -> int:
        """Deletes the output of loops that ended before a moment, then the oldest beyond so many bytes; gives the room
        back. Returns how many bytes were deleted. Raises DiskFullError and sqlite3.Error."""
        ended = await self._ended()
        deleted = 0
        if before is not None:
            limit = timestamp(before)
            for run_id in [run_id for run_id, at in ended.items() if at < limit]:
                deleted += await self._delete(run_id, _EVERYTHING)
        if most_bytes is not None:
            await self._measure(ended)
            for run_id in ended:
                over = sum(self._sizes.values()) - most_bytes
                if over <= 0:
                    break
                deleted += await self._delete(run_id, over)
        await self._give_back()
        return deleted

    async def _ended(self) -> dict[str, str]:
        """When each loop ended, by its id, oldest first."""
        rows = await self._database.rows(
            "SELECT id, coalesce(json_extract(state, '$.endedAt'), json_extract(state, '$.startedAt')) AS at"
            f" FROM loops WHERE status IN ({_ENDED}) ORDER BY at, number"
        )
        return {row["id"]: row["at"] for row in rows}

    async def _measure(self, ended: dict[str, str]) -> None:
        self._sizes = {run_id: size for run_id, size in self._sizes.items() if run_id in ended}
        for run_id in ended:
            if run_id not in self._sizes:
                self._sizes[run_id] = await self._size(run_id)

    async def _size(self, run_id: str) -> int:
        total, seq = 0, -1
        while True:
            row = await self._database.row(
                "SELECT count(*) AS chunks, sum(size) AS size, max(seq) AS seq FROM (SELECT seq, length(data) AS size"
                " FROM output_logs WHERE run_id = ? AND seq > ? ORDER BY seq LIMIT ?)",
                (run_id, seq, _COUNT_CHUNKS),
            )
            if row is None or not row["chunks"]:
                return total
            total, seq = total + row["size"], row["seq"]

    async def _delete(self, run_id: str, wanted: int) -> int:
        """Deletes whole chunks from the oldest on, until `wanted` bytes are gone. Returns how many were."""
        deleted = 0
        while deleted < wanted:
            left = wanted - deleted

            async def step(writer: Writer, left: int = left) -> int:
                return sum(row[0] for row in await writer.execute_fetchall(_DELETE, (run_id, left)))

            gone = await self._database.write(step)
            if gone == 0:
                break
            deleted += gone
        if run_id in self._sizes:
            self._sizes[run_id] -= deleted
        return deleted

    async def _give_back(self) -> None:
        """Shrinks the file, step by step (auto_vacuum = INCREMENTAL)."""

        async def step(writer: Writer) -> None:
            await writer.execute_fetchall(f"PRAGMA incremental_vacuum({_STEP_PAGES})")

        free = await self._free_pages()
        while free > _KEPT_PAGES + _STEP_PAGES:
            await self._database.write(step)
            before, free = free, await self._free_pages()
            if free >= before:
                return  # loops took more meanwhile

    async def _free_pages(self) -> int:
        row = await self._database.row("PRAGMA freelist_count")
        return row[0] if row else 0
