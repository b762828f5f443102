"""What was asked of a loop and is not done yet."""

from __future__ import annotations

import asyncio


class Wishes:
    """Set by requests, looked at by the loop's task."""

    def __init__(self) -> None:
        self.cancelled = False
        self.pause_now = False
        self.closing = False  # the helper ends
        self.stop = asyncio.Event()  # ends the iteration that runs
        self.signal = asyncio.Event()  # look again

    @property
    def ending(self) -> bool:
        """The loop's task is to end: nothing may wait for a person any more."""
        return self.cancelled or self.closing

    def cancel(self) -> None:
        self.cancelled = True
        self._stop()

    def pause(self) -> None:
        self.pause_now = True
        self._stop()

    def close(self) -> None:
        self.closing = True
        self._stop()

    def _stop(self) -> None:
        self.stop.set()
        self.signal.set()

    def paused(self) -> None:
        """What a pause asked for is done."""
        self.pause_now = False
        if not self.ending:
            self.stop.clear()
