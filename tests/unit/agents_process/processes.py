"""Real processes that misbehave, and ways to see what is left of them."""

from __future__ import annotations

import asyncio
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from ralph_loop.agents.base import Event, PermissionReply, Text


def python(code: str, *arguments: object) -> list[str]:
    """The argv of a Python program that starts fast."""
    return [sys.executable, "-I", "-S", "-c", textwrap.dedent(code), *map(str, arguments)]


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits for a condition that some other process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        await asyncio.sleep(0.005)


def open_descriptors(pid: int | str = "self") -> dict[str, str]:
    """Descriptors of a process and what they lead to."""
    found: dict[str, str] = {}
    for entry in list(Path(f"/proc/{pid}/fd").iterdir()):
        try:
            found[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            pass  # the one of the listing itself
    return found


@attrs.define
class Recorder:
    """A sink that keeps everything. `hold`: the sink takes output only while it is set."""

    chunks: list[tuple[str, bytes]] = attrs.Factory(list[tuple[str, bytes]])
    events: list[Event] = attrs.Factory(list[Event])
    hold: asyncio.Event | None = None
    heard: asyncio.Event = attrs.Factory(asyncio.Event)

    async def output(self, stream: str, data: bytes) -> None:
        self.heard.set()
        if self.hold:
            await self.hold.wait()
        self.chunks.append((stream, data))

    async def event(self, event: Event) -> None:
        self.events.append(event)

    async def ask_permission(
        self, tool: str, title: str, arguments: Mapping[str, object], diff: str | None, pattern: str
    ) -> PermissionReply:
        raise AssertionError("nobody asks")

    async def ask_question(self, text: str, options: Sequence[str]) -> str:
        raise AssertionError("nobody asks")

    def bytes(self, stream: str) -> bytes:
        return b"".join(data for name, data in self.chunks if name == stream)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Text))
