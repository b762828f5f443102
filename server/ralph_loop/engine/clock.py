"""Time that can stand still: limits do not run while a person is asked (PROTOCOL.md, statuses)."""

from __future__ import annotations

import time


class Stopwatch:
    """Milliseconds since it was made, without the time it was held. Holds nest."""

    def __init__(self, start_ms: int = 0) -> None:
        self._passed = float(start_ms)
        self._since: float | None = time.monotonic()
        self._holds = 0

    @property
    def ms(self) -> int:
        running = 0.0 if self._since is None else (time.monotonic() - self._since) * 1000
        return int(self._passed + running)

    @property
    def held(self) -> bool:
        return self._holds > 0

    def restart(self) -> None:
        """Back to zero; a hold stays."""
        self._passed = 0.0
        if self._since is not None:
            self._since = time.monotonic()

    def hold(self) -> None:
        self._holds += 1
        if self._since is not None:
            self._passed += (time.monotonic() - self._since) * 1000
            self._since = None

    def release(self) -> None:
        self._holds -= 1
        if self._holds == 0:
            self._since = time.monotonic()
