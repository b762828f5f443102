"""Tells a sink what a warm agent does: its messages as they came, what they mean, and how that reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from ralph_loop.agents.base import Event, Sink
from ralph_loop.agents.display import Display


class Teller:
    def __init__(self, sink: Sink) -> None:
        self._sink, self._display = sink, Display()

    async def came(self, message: Mapping[str, object]) -> None:
        """A message of the agent's, as one line of JSON."""
        line = json.dumps(message, ensure_ascii=False, default=str)
        await self._sink.output("stdout", line.encode(errors="replace") + b"\n")

    async def tell(self, *events: Event) -> None:
        for event in events:
            await self._sink.event(event)
            if shown := self._display.render(event):
                await self._sink.output("display", shown)

    async def tell_all(self, events: Iterable[Event]) -> None:
        await self.tell(*events)
