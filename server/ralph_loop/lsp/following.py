"""Subscriptions: cursors over the stored output, read at the client's pace, so that nothing is skipped (rule 5)."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from ralph_loop.engine.engine import Engine
from ralph_loop.lsp.outbox import CURSOR_ROOM, Outbox
from ralph_loop.protocol import DidOutput, View
from ralph_loop.store import output
from ralph_loop.wire import unstructure

log = logging.getLogger(__name__)

_PAGE_CHUNKS = 256
_PAGE_BYTES = 512 * 1024


class Following:
    """The subscriptions of one client, at most one per loop."""

    def __init__(self, engine: Engine, outbox: Outbox) -> None:
        self._engine = engine
        self._outbox = outbox
        self._waiting: list[tuple[str, int, View]] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._old: set[asyncio.Task[None]] = set()

    def follows(self, run_id: str) -> bool:
        return run_id in self._tasks

    def add(self, run_id: str, after: int, view: View) -> None:
        """Begins with :meth:`start_waiting`: the answer goes before the first chunk."""
        self._waiting.append((run_id, after, view))

    def start_waiting(self) -> None:
        while self._waiting:
            run_id, after, view = self._waiting.pop(0)
            self._cancel(run_id)
            self._tasks[run_id] = asyncio.create_task(self._follow(run_id, after, view), name=f"follow {run_id}")

    async def remove(self, run_id: str) -> None:
        """No chunk is sent after this returns."""
        self._cancel(run_id)
        await asyncio.gather(*self._old, return_exceptions=True)

    async def close(self) -> None:
        for run_id in list(self._tasks):
            self._cancel(run_id)
        await asyncio.gather(*self._old, return_exceptions=True)

    def _cancel(self, run_id: str) -> None:
        task = self._tasks.pop(run_id, None)
        if task is not None:
            task.cancel()
            self._old.add(task)
            task.add_done_callback(self._old.discard)

    async def _follow(self, run_id: str, after: int, view: View) -> None:
        try:
            while True:
                more = self._engine.bus.next_output(run_id)
                _, last = await output.bounds(self._engine.database, run_id)
                page = await output.page(
                    self._engine.database,
                    run_id,
                    after=after,
                    limit=_PAGE_CHUNKS,
                    view=view,
                    budget=_PAGE_BYTES,
                )
                if page.chunks:
                    await self._outbox.room(CURSOR_ROOM)
                    params = unstructure(DidOutput(run_id=run_id, chunks=page.chunks))
                    self._outbox.post({"jsonrpc": "2.0", "method": "ralph/didOutput", "params": params})
                    after = page.chunks[-1].seq
                if not page.more:
                    after = max(after, last)  # what the view hides need not be looked at again
                    await more.wait()
        except sqlite3.Error:
            log.exception("the output of %s cannot be read", run_id)
