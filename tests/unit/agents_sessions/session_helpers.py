"""A sink that keeps what it hears, and what a session needs to run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs

from ralph_loop.agents.base import Event, Final, Invocation, PermissionReply, Stream, Text, Workbench
from ralph_loop.agents.guard_client import Guard

T = TypeVar("T")
ONCE = PermissionReply("once")


@attrs.define
class Asked:
    tool: str
    title: str
    arguments: Mapping[str, object]
    diff: str | None
    pattern: str
    answer: asyncio.Future[PermissionReply]


class KeepingSink:
    """Answers permissions with `reply` at once; with None a test answers them itself (`asked`)."""

    def __init__(self, reply: PermissionReply | None = ONCE) -> None:
        self.events: list[Event] = []
        self.streams: dict[str, bytes] = {}
        self.asked: list[Asked] = []
        self.questions: list[tuple[str, Sequence[str]]] = []
        self.withdrawn: list[str] = []
        self.changed = asyncio.Condition()
        self._reply = reply

    async def output(self, stream: Stream, data: bytes) -> None:
        self.streams[stream] = self.streams.get(stream, b"") + data
        await self._tell()

    async def event(self, event: Event) -> None:
        self.events.append(event)
        await self._tell()

    async def ask_permission(
        self, tool: str, title: str, arguments: Mapping[str, object], diff: str | None, pattern: str
    ) -> PermissionReply:
        answer: asyncio.Future[PermissionReply] = asyncio.get_running_loop().create_future()
        self.asked.append(Asked(tool, title, arguments, diff, pattern, answer))
        await self._tell()
        if self._reply:
            return self._reply
        try:
            return await answer
        except asyncio.CancelledError:
            self.withdrawn.append(title)
            await self._tell()
            raise

    async def ask_question(self, text: str, options: Sequence[str]) -> str:
        self.questions.append((text, options))
        return options[-1] if options else "an answer"

    def only(self, kind: type[T]) -> list[T]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, what: object) -> None:
        """Waits until `what()` is true; it is asked again whenever something was heard."""
        assert callable(what)
        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(lambda: bool(what())), 20)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def bench(guard: Guard, **settings: object) -> Workbench:
    values = {name.replace("_", "."): value for name, value in settings.items()}
    return Workbench(guard=guard, settings=values.get, log=lambda _: None)


def call(workspace: Path, **more: Any) -> Invocation:
    return attrs.evolve(
        Invocation(
            prompt="Do it.",
            prompt_file=workspace / "prompt.md",
            workspace=workspace,
            env={"PATH": f"{workspace}:/usr/bin:/bin", "HOME": str(workspace)},
            iteration=1,
        ),
        **more,
    )


def said(sink: KeepingSink) -> str:
    return "".join(text.text for text in sink.only(Text))


def final(sink: KeepingSink) -> Final:
    (event,) = sink.only(Final)
    return event


def is_gone(pid: int) -> bool:
    """Whether a process is dead; it may still wait for its parent to take note."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
