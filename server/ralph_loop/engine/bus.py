"""Who hears of what: the engine publishes here, sessions listen. Publishing never waits for a listener."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from ralph_loop.protocol import IterationRecord, Operation, Permission, Question, Snapshot


class Listener(Protocol):
    """A connection. Calls must return at once; what they send is bounded by the connection's own outbox."""

    def changed(self, key: str, snapshot: Snapshot) -> None: ...

    def iterated(self, key: str, record: IterationRecord) -> None: ...

    def happened(self, run_id: str, iteration: int, event: dict[str, Any]) -> None: ...

    def permission_asked(self, key: str, permission: Permission) -> None: ...

    def permission_resolved(self, key: str, run_id: str, request_id: str, reply: str, by: str) -> None: ...

    def question_asked(self, key: str, question: Question) -> None: ...

    def question_resolved(self, key: str, run_id: str, question_id: str, answer: str | None, by: str) -> None: ...

    def staged(self, key: str, run_id: str, operations: list[Operation]) -> None: ...


class Bus:
    def __init__(self) -> None:
        self.listeners: set[Listener] = set()
        self._output: dict[str, asyncio.Event] = {}

    def output_stored(self, run_id: str) -> None:
        """Wakes everybody who waits for output of this loop."""
        event = self._output.pop(run_id, None)
        if event is not None:
            event.set()

    def next_output(self, run_id: str) -> asyncio.Event:
        """Set when more output of this loop is stored. Take it before reading, then nothing is missed."""
        return self._output.setdefault(run_id, asyncio.Event())
