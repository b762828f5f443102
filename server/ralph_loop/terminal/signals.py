"""Ctrl+C and SIGTERM while a loop of this terminal runs: counted, and noticed at once by whoever waits."""

from __future__ import annotations

import os
import signal
from types import FrameType


class Interrupts:
    """Use as a context manager. `wake` is readable as soon as a signal came."""

    def __init__(self) -> None:
        self.count = 0
        self.wake, self._write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self._write, False)

    def __enter__(self) -> Interrupts:
        self._before = [(number, signal.signal(number, self._came)) for number in (signal.SIGINT, signal.SIGTERM)]
        self._fd = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._fd)
        for number, handler in self._before:
            signal.signal(number, handler)
        os.close(self.wake)
        os.close(self._write)

    def drain(self) -> None:
        try:
            while os.read(self.wake, 512):
                pass
        except BlockingIOError:
            return

    def _came(self, _number: int, _frame: FrameType | None) -> None:
        self.count += 1
