"""What was asked of a loop and is not done yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Wishes:
    """Set by requests, looked at by the loop's task."""

    def __init__(self) -> None:
        self.cancelled = False
        self.pause_now = False
        self.closing = False  # the helper ends
        self.stop = asyncio.Event()  # ends the iteration that runs
        self.signal = asyncio.Event()  # look again
        self._end = asyncio.Event()  # cancelled, or closing

    @property
    def ending(self) -> bool:
        """The loop's task is to end: nothing may wait for a person any more."""
        return self._end.is_set()

    async def unless_ending(self, work: Coroutine[Any, Any, T], patience_s: float) -> T | None:
        """The result of `work`. None when the loop's task is to end and `work` takes longer than `patience_s` from then
        on: it was cancelled and has ended."""
        task = asyncio.create_task(work, name="work that the end of the loop stops")
        end = asyncio.create_task(self._end.wait(), name="end of the loop")
        try:
            await asyncio.wait({task, end}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=patience_s)
            if task.done():
                return task.result()
            return None
        finally:
            end.cancel()
            task.cancel()
            await asyncio.wait({task})

    def cancel(self) -> None:
        self.cancelled = True
        self._end.set()
        self._stop()

    def pause(self) -> None:
        self.pause_now = True
        self._stop()

    def close(self) -> None:
        self.closing = True
        self._end.set()
        self._stop()

    def _stop(self) -> None:
        self.stop.set()
        self.signal.set()

    async def closed_within(self, seconds: float) -> bool:
        """Whether the helper ends within this time; it waits for that."""
        self.signal.clear()
        if not self.closing:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.signal.wait(), seconds)
        return self.closing

    def paused(self) -> None:
        """What a pause asked for is done."""
        self.pause_now = False
        if not self.ending:
            self.stop.clear()
