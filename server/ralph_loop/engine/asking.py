"""What an agent asks a person: stored first, then told, then waited for; for as long as it takes.

The only place where a permission or a question gets its answer.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import attrs

from ralph_loop.agents.base import PermissionReply
from ralph_loop.engine.bus import Bus
from ralph_loop.errors import invalid_state, not_found
from ralph_loop.protocol import Permission, Question, Reply
from ralph_loop.store import asks
from ralph_loop.store.database import Database, Writer, now
from ralph_loop.store.ids import new_id

_ANSWERED = ["open"]

# What a person is shown of a request; an answer on the wire holds several of them.
_MOST_ARGUMENTS = 50
_LONGEST_ARGUMENT = 10_000  # characters
_LONGEST_DIFF = 400_000


@attrs.frozen
class Loopwise:
    """What Asking needs to know of the loop that asks."""

    run_id: str
    repo_id: str
    key: str
    allow_all: bool
    changed: Callable[[], Awaitable[None]]  # the counters of the loop's snapshot changed
    note: Callable[[int, str], Awaitable[None]]  # a line for people in the loop's output


@attrs.define
class _Open:
    loop: Loopwise
    answer: asyncio.Future[tuple[str, str | None]]
    tool: str = ""
    pattern: str = ""
    waiting: bool = True  # False: the agent went on, the answer goes into the next prompt


Keep = Callable[[Loopwise, Question, Callable[[Writer], Awaitable[None]]], Awaitable[None]]
"""Keeps the answer to a question that no agent waits for, in one transaction with what the last argument writes."""


class Desk:
    """All open permissions and questions of the helper."""

    def __init__(self, database: Database, bus: Bus) -> None:
        self._database = database
        self._bus = bus
        self._open: dict[str, _Open] = {}

    def count(self, run_id: str) -> tuple[int, int]:
        """(permissions, questions) that are open in a loop."""
        ids = [id_ for id_, entry in self._open.items() if entry.loop.run_id == run_id]
        permissions = sum(id_.startswith("prm_") for id_ in ids)
        return permissions, len(ids) - permissions

    async def recover(self, loop: Loopwise) -> None:
        """After a restart: takes up the loop's questions whose answers go into its next prompt."""
        for question in await asks.open_questions(self._database, loop.run_id, ["posted"]):
            future = asyncio.get_running_loop().create_future()
            self._open[question.question_id] = _Open(loop, future, waiting=False)

    def belong(self, loop: Loopwise) -> None:
        """What the loop has asked is from now on this one's: it was resumed, or runs no more."""
        for entry in self._open.values():
            if entry.loop.run_id == loop.run_id:
                entry.loop = loop

    async def permission(
        self,
        loop: Loopwise,
        iteration: int,
        tool: str,
        title: str,
        arguments: Mapping[str, object],
        diff: str | None,
        pattern: str,
    ) -> PermissionReply:
        if loop.allow_all:
            await loop.note(iteration, f"allowed by allowAll: {title}")
            return PermissionReply("once")
        if await asks.is_granted(self._database, loop.repo_id, tool, pattern):
            await loop.note(iteration, f"allowed as before (always): {title}")
            return PermissionReply("once")
        request = Permission(
            request_id=new_id("prm"),
            run_id=loop.run_id,
            iteration=iteration,
            tool=tool,
            title=title,
            arguments=_shown(arguments),
            diff=diff and _shortened(diff, _LONGEST_DIFF),
            options=["once", "always", "reject"],
            asked_at=now(),
        )
        entry = _Open(loop, asyncio.get_running_loop().create_future(), tool, pattern)
        await self._database.write(lambda writer: asks.insert_permission(writer, request))
        self._open[request.request_id] = entry
        await loop.changed()
        for listener in tuple(self._bus.listeners):
            listener.permission_asked(loop.key, request)
        try:
            reply, message = await entry.answer
        except asyncio.CancelledError:
            await self._withdraw_permission(request.request_id, loop)
            raise
        return PermissionReply(cast(Reply, reply), message)

    async def question(self, loop: Loopwise, iteration: int, text: str, options: Sequence[str]) -> str:
        request = await self.post_question(loop, iteration, text, options, waiting=True)
        try:
            answer, _ = await self._open[request.question_id].answer
        except asyncio.CancelledError:
            await self._withdraw_question(request.question_id, loop)
            raise
        return answer

    async def post_question(
        self, loop: Loopwise, iteration: int, text: str, options: Sequence[str], *, waiting: bool = False
    ) -> Question:
        """Puts a question; the caller waits for its answer, or the agent went on without one."""
        request = Question(
            question_id=new_id("qst"),
            run_id=loop.run_id,
            iteration=iteration,
            text=text,
            options=list(options),
            asked_at=now(),
        )
        state = "open" if waiting else "posted"
        await self._database.write(lambda writer: asks.insert_question(writer, request, state))
        future = asyncio.get_running_loop().create_future()
        self._open[request.question_id] = _Open(loop, future, waiting=waiting)
        await loop.changed()
        for listener in tuple(self._bus.listeners):
            listener.question_asked(loop.key, request)
        return request

    async def reply(self, request_id: str, reply: Reply, message: str | None, by: str) -> None:
        """Raises notFound, and invalidState for one that is answered or withdrawn."""
        entry = self._open.get(request_id)
        if entry is None or not request_id.startswith("prm_"):
            state = await asks.permission_state(self._database, request_id)
            if state is None:
                raise not_found("permission request", request_id)
            raise invalid_state(f"This request was already settled ({state}).", state, _ANSWERED)
        del self._open[request_id]

        async def store(writer: Any) -> None:
            await asks.resolve_permission(writer, request_id, reply, message, by)
            if reply == "always":
                await asks.grant(writer, entry.loop.repo_id, entry.tool, entry.pattern)

        await self._database.write(store)
        if not entry.answer.done():
            entry.answer.set_result((reply, message))
        await self._told_permission(entry.loop, request_id, reply, by)

    async def answer(self, question_id: str, answer: str, by: str, keep: Keep) -> None:
        """Settles a question: the answer goes to the agent that waits for it, else to `keep`.
        Raises notFound and invalidState like `reply`."""
        entry = self._open.get(question_id)
        if entry is None or not question_id.startswith("qst_"):
            state = await asks.question_state(self._database, question_id)
            if state is None:
                raise not_found("question", question_id)
            raise invalid_state(f"This question was already settled ({state}).", state, _ANSWERED)
        questions = await asks.open_questions(self._database, entry.loop.run_id)
        question = next(q for q in questions if q.question_id == question_id)
        del self._open[question_id]

        async def store(writer: Writer) -> None:
            await asks.resolve_question(writer, question_id, "answered", answer, by)

        if entry.waiting:
            await self._database.write(store)
        else:
            await keep(entry.loop, question, store)
        if not entry.answer.done():
            entry.answer.set_result((answer, None))
        await self._told_question(entry.loop, question_id, answer, by)

    async def withdraw(self, loop: Loopwise) -> None:
        """The loop is over: what it had asked is asked no more."""
        for id_ in [id_ for id_, entry in self._open.items() if entry.loop.run_id == loop.run_id]:
            if id_.startswith("prm_"):
                await self._withdraw_permission(id_, loop)
            else:
                await self._withdraw_question(id_, loop)

    async def _withdraw_permission(self, request_id: str, loop: Loopwise) -> None:
        if self._open.pop(request_id, None) is not None:
            await self._database.write(
                lambda writer: asks.resolve_permission(writer, request_id, "withdrawn", None, "agent")
            )
            await self._told_permission(loop, request_id, "withdrawn", "agent")

    async def _withdraw_question(self, question_id: str, loop: Loopwise) -> None:
        if self._open.pop(question_id, None) is not None:
            await self._database.write(
                lambda writer: asks.resolve_question(writer, question_id, "withdrawn", None, "agent")
            )
            await self._told_question(loop, question_id, None, "agent")

    async def _told_permission(self, loop: Loopwise, request_id: str, reply: str, by: str) -> None:
        await loop.changed()
        for listener in tuple(self._bus.listeners):
            listener.permission_resolved(loop.key, loop.run_id, request_id, reply, by)

    async def _told_question(self, loop: Loopwise, question_id: str, answer: str | None, by: str) -> None:
        await loop.changed()
        for listener in tuple(self._bus.listeners):
            listener.question_resolved(loop.key, loop.run_id, question_id, answer, by)


def _shown(arguments: Mapping[str, object]) -> dict[str, Any]:
    """The arguments as JSON can hold them and people can read them: an agent may ask to write a file of many MB."""
    shown: dict[str, Any] = {}
    for name, value in islice(arguments.items(), _MOST_ARGUMENTS):
        text = value if isinstance(value, str) else json.dumps(value, default=str)
        whole = isinstance(value, str) or len(text) > _LONGEST_ARGUMENT
        shown[name] = _shortened(text, _LONGEST_ARGUMENT) if whole else json.loads(text)
    return shown


def _shortened(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}… ({len(text)} characters)"
