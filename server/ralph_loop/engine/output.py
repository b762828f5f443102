"""The output of one loop on its way into the database: cut into chunks, numbered, stored, then told.

Chunks are at most 64 KiB and never cut inside a UTF-8 character: an unfinished one waits for more bytes, the end, or
one second (PROTOCOL.md, Chunk). What is not stored yet is bounded, so an agent that floods waits for the disk.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Iterator

import attrs

from ralph_loop.protocol import MAX_CHUNK_BYTES
from ralph_loop.store import output as table
from ralph_loop.store.database import Database, DiskFullError, now

log = logging.getLogger(__name__)

_BATCH_DELAY = 0.02  # seconds; well below the 50 ms in which clients get it
_BATCH_BYTES = 256 * 1024
_UNFINISHED_CHARACTER_S = 1.0


@attrs.define
class _Waiting:
    """Bytes of one stream that are not stored yet."""

    iteration: int
    stream: str
    at: str
    data: bytearray
    due: float = 0.0  # on the loop's clock: an unfinished character waits no longer


class OutputLog:
    """One per loop. `stored` is called after each batch; `disk_full` is awaited when the disk is full, and the same
    batch is tried again when it returns: nothing is dropped."""

    def __init__(
        self,
        database: Database,
        run_id: str,
        last_seq: int,
        stored: Callable[[], None],
        disk_full: Callable[[DiskFullError], Awaitable[None]],
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._seq = last_seq
        self._stored = stored
        self._disk_full = disk_full
        self._queue: list[_Waiting] = []
        self._size = 0
        self._tails: dict[str, _Waiting] = {}  # unfinished characters, by stream
        self._lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None

    async def write(self, iteration: int, stream: str, data: bytes) -> None:
        """Returns when there is room for more. Raises what the database raised for earlier output."""
        if self._flushing is not None and self._flushing.done() and not self._flushing.cancelled():
            self._flushing.result()
        tail = self._tails.pop(stream, None)
        if tail is not None and tail.iteration == iteration:
            data = bytes(tail.data) + data
        elif tail is not None:
            self._enqueue(tail)
        whole = len(data) - _unfinished(data)
        if whole:
            self._enqueue(_Waiting(iteration, stream, now(), bytearray(data[:whole])))
        if whole < len(data):
            due = asyncio.get_running_loop().time() + _UNFINISHED_CHARACTER_S
            self._tails[stream] = _Waiting(iteration, stream, now(), bytearray(data[whole:]), due)
        if self._size >= _BATCH_BYTES:
            await self._flush()
        self._schedule()

    async def end_iteration(self) -> None:
        """Stores everything that was written, unfinished characters too."""
        for stream in list(self._tails):
            self._enqueue(self._tails.pop(stream))
        await self._flush()

    async def close(self) -> None:
        """Stores what is left. What does not fit on the disk waits for another `end_iteration`."""
        if self._flushing is not None:
            await asyncio.wait({self._flushing})
        try:
            await self.end_iteration()
        except (DiskFullError, sqlite3.Error) as error:
            log.error("the last output of %s could not be stored: %s", self._run_id, error)
        if self._timer is not None:
            self._timer.cancel()

    def _enqueue(self, waiting: _Waiting) -> None:
        self._size += len(waiting.data)
        last = self._queue[-1] if self._queue else None
        if last is not None and (last.iteration, last.stream) == (waiting.iteration, waiting.stream):
            last.data += waiting.data
        else:
            self._queue.append(waiting)

    def _schedule(self) -> None:
        due = [tail.due for tail in self._tails.values()]
        loop = asyncio.get_running_loop()
        if self._queue:
            due.append(loop.time() + _BATCH_DELAY)
        if due and (self._timer is None or self._timer.when() > min(due)):
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_at(min(due), self._start_flush)

    def _start_flush(self) -> None:
        self._timer = None
        time = asyncio.get_running_loop().time()
        for stream, tail in list(self._tails.items()):
            if tail.due <= time:
                self._enqueue(self._tails.pop(stream))
        if self._flushing is None or self._flushing.done():
            self._flushing = asyncio.create_task(self._flush(), name=f"output of {self._run_id}")
            self._flushing.add_done_callback(self._flushed)

    def _flushed(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is None:  # else the next write raises it
            self._schedule()

    async def _flush(self) -> None:
        async with self._lock:
            while self._queue:
                batch, self._queue = self._queue, []
                try:
                    await self._store(batch)
                except Exception:
                    self._queue = batch + self._queue
                    raise
                self._size -= sum(len(waiting.data) for waiting in batch)

    async def _store(self, batch: list[_Waiting]) -> None:
        pieces = [
            table.Piece(self._seq + number, waiting.iteration, waiting.stream, waiting.at, data)
            for number, (waiting, data) in enumerate(
                ((waiting, data) for waiting in batch for data in chunks(bytes(waiting.data))), start=1
            )
        ]
        while True:
            try:
                await self._database.write(lambda writer: table.append(writer, self._run_id, pieces))
                break
            except DiskFullError as error:
                await self._disk_full(error)
        self._seq += len(pieces)
        self._stored()


def chunks(data: bytes) -> Iterator[bytes]:
    """`data` in pieces whose bytes, and whose text on the wire, are at most 64 KiB; cut between characters."""
    start = 0
    while start < len(data):
        end = min(start + MAX_CHUNK_BYTES, len(data))
        piece = data[start:end]
        if end < len(data):
            piece = piece[: len(piece) - _unfinished(piece)] or piece
        if len(piece.decode("utf-8", "replace").encode()) > MAX_CHUNK_BYTES:
            # every byte that is not UTF-8 becomes three on the wire
            piece = piece[: MAX_CHUNK_BYTES // 3]
            piece = piece[: len(piece) - _unfinished(piece)] or piece
        yield piece
        start += len(piece)


def _unfinished(data: bytes) -> int:
    """How many bytes at the end begin a UTF-8 character that is not complete."""
    for length in range(1, min(3, len(data)) + 1):
        if data[-length] & 0xC0 != 0x80:  # not a continuation byte
            decoder = codecs.getincrementaldecoder("utf-8")("replace")
            decoder.decode(data[-length:])
            return len(decoder.getstate()[0])
    return 0
