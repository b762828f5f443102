"""What goes to one client: in order, bounded, and never waited for by a loop.

A client that does not read slows nobody but itself: its cursors wait for room, snapshots of one loop replace each
other, tool events are dropped (rule 5 of PROTOCOL.md), and its requests are not read while its answers pile up.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from ralph_loop.shared.framing import encode

CURSOR_ROOM = 256 * 1024  # bytes queued above which output waits
REQUEST_ROOM = 8 * 1024 * 1024  # above which requests are not read
EVENT_ROOM = 1024 * 1024  # above which tool events are dropped
LIMIT = 64 * 1024 * 1024  # above which the client is given up


class Outbox:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._queue: dict[object, bytes] = {}  # in order of first posting; a key again replaces its message
        self._size = 0
        self._count = 0
        self._more = asyncio.Event()
        self._less = asyncio.Event()
        self.closed = asyncio.Event()
        self._pump = asyncio.create_task(self._run(), name="outbox")

    def post(self, message: dict[str, Any], *, key: object = None) -> None:
        """Queues a message; with a key, in place of a queued one of the same key."""
        self.post_encoded(encode(message), key=key)

    def post_encoded(self, data: bytes, *, key: object = None) -> None:
        if key is None:
            self._count += 1
            key = self._count
        self._size += len(data) - len(self._queue.get(key, b""))
        self._queue[key] = data
        self._more.set()
        if self._size > LIMIT:
            self.closed.set()  # reads nothing and yet goes on asking: the session ends

    def post_event(self, message: dict[str, Any]) -> None:
        if self._size <= EVENT_ROOM:
            self.post(message)

    async def room(self, limit: int) -> None:
        """Returns when at most `limit` bytes are queued, or the client is gone."""
        while self._size > limit and not self.closed.is_set():
            self._less.clear()
            await self._less.wait()

    async def close(self, flush_s: float) -> None:
        """Sends what is queued, for at most `flush_s` seconds, and closes."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.room(0), flush_s)
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._pump
        self._mark_closed()
        self._writer.close()
        gone = asyncio.create_task(self._writer.wait_closed(), name="client closed")
        await asyncio.wait({gone}, timeout=flush_s)
        self._writer.transport.abort()  # a client that reads nothing must not keep the helper from ending
        with contextlib.suppress(OSError):
            await gone

    def _mark_closed(self) -> None:
        self.closed.set()
        self._less.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                while self._queue:
                    key = next(iter(self._queue))
                    data = self._queue.pop(key)
                    self._writer.write(data)
                    await self._writer.drain()
                    self._size -= len(data)
                    self._less.set()
        except OSError:  # the client is gone
            self._mark_closed()
