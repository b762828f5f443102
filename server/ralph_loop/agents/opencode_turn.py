"""One prompt on an OpenCode server, from sending it to its end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine, Sequence

from ralph_loop.agents.base import AgentError, ErrorKind, Sink
from ralph_loop.agents.opencode_events import PromptReading
from ralph_loop.agents.opencode_http import OpenCodeServer, ServerError, Unreachable
from ralph_loop.agents.records import Record, as_record, one_line, tool_title
from ralph_loop.agents.teller import Teller

RECONNECT_LIMIT_S = 30.0  # how long a connection that broke may take to come back
CHECK_S = 5.0  # of silence, then the server is asked whether it is still busy: an event may have been lost
ABORT_LIMIT_S = 5.0


class Turn:
    def __init__(self, server: OpenCodeServer, session: str, sink: Sink, teller: Teller) -> None:
        self._server, self._session, self._sink, self._teller = server, session, sink, teller
        self._reading = PromptReading(session)
        self._asks: dict[str, asyncio.Task[None]] = {}  # what a person is asked, by OpenCode's id of it
        self._idle_checks = 0

    @property
    def finished(self) -> bool:
        return self._reading.final is not None and self._reading.final.ok

    async def run(self, prompt: str, model: dict[str, str] | None) -> None:
        """Raises ServerError."""
        content: dict[str, object] = {"parts": [{"type": "text", "text": prompt}]}
        if model:
            content["model"] = model
        self._reading.know(message.record("info").text("id") for message in await self._messages())
        try:
            await self._follow(content)
            await self._catch_up()
            await self._teller.tell_all(self._reading.conclude())
        finally:
            for task in self._asks.values():
                task.cancel()
            await asyncio.gather(*self._asks.values(), return_exceptions=True)
        if self._reading.gave_up:
            await self.abort()

    async def abort(self) -> None:
        """Ends what runs in the session; never raises."""
        with contextlib.suppress(ServerError):
            await self._server.ask("POST", f"/session/{self._session}/abort", timeout_s=ABORT_LIMIT_S)

    async def _follow(self, content: dict[str, object]) -> None:
        """Listens first, then sends the prompt, so that nothing of it is missed. Listens anew when the connection
        breaks."""
        sent, lost_at = False, 0.0
        while not self._reading.ended:
            try:
                async with self._server.listen() as events:
                    if sent:
                        await self._catch_up()
                    else:
                        await self._server.ask("POST", f"/session/{self._session}/prompt_async", content)
                        sent = True
                    lost_at = 0.0
                    await self._hear(events)
            except Unreachable as error:
                lost_at = lost_at or time.monotonic()
                if not self._server.alive or time.monotonic() - lost_at > RECONNECT_LIMIT_S:
                    raise ServerError(self._server.lost(error)) from error
                await asyncio.sleep(0.2)

    async def _hear(self, events: AsyncIterator[Record]) -> None:
        """Until the prompt or the connection has ended."""
        coming: asyncio.Task[Record] | None = None
        try:
            while not self._reading.ended:
                coming = coming or asyncio.create_task(_next(events), name="next event of OpenCode")
                await asyncio.wait({coming}, timeout=CHECK_S)
                if not coming.done():
                    await self._check()
                    continue
                try:
                    event = coming.result()
                except StopAsyncIteration:
                    return
                coming = None
                await self._handle(event)
        finally:
            if coming:
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)

    async def _handle(self, event: Record) -> None:
        if not self._reading.concerns(event):
            return
        self._idle_checks = 0
        await self._teller.came(event.fields)
        await self._teller.tell_all(self._reading.read(event))
        properties = event.record("properties")
        match event.text("type"):
            case "permission.asked":
                self._ask(properties.text("id"), self._permission(properties))
            case "question.asked":
                self._ask(properties.text("id"), self._questions(properties))
            case "permission.replied" | "question.replied" | "question.rejected":
                if task := self._asks.get(properties.text("requestID")):
                    task.cancel()  # answered, by us or elsewhere
            case _:
                pass

    async def _check(self) -> None:
        """Twice idle, with nothing heard in between: the end was missed, or never told. No answer tells nothing: the
        server may be busy, and when it is gone the connection breaks."""
        try:
            statuses = await self._server.ask_if_known("/session/status")
        except ServerError:
            return
        if statuses is None:
            return
        busy = as_record(statuses).record(self._session).text("type") in ("busy", "retry")
        self._idle_checks = 0 if busy or self._asking else self._idle_checks + 1
        if self._idle_checks >= 2:
            self._reading.went_idle()

    async def _catch_up(self) -> None:
        """What may have been missed: messages, and what is still asked."""
        for message in await self._messages():
            info = message.record("info")
            await self._teller.tell_all(self._reading.read_message(info))
            for part in message.records("parts"):
                await self._teller.tell_all(self._reading.read_part(part))
        if self._reading.ended:
            return
        for path, ask in (("/permission", self._permission), ("/question", self._questions)):
            for request in _records(await self._server.ask_if_known(path)):
                # aborted sessions leave stale entries behind: only what our sessions ask counts
                if request.text("sessionID") in self._reading.sessions:
                    self._ask(request.text("id"), ask(request))

    async def _messages(self) -> Sequence[Record]:
        return _records(await self._server.ask_if_known(f"/session/{self._session}/message"))

    @property
    def _asking(self) -> bool:
        return any(not task.done() for task in self._asks.values())

    def _ask(self, id_: str, ask: Coroutine[None, None, None]) -> None:
        if id_ in self._asks and not self._asks[id_].done():
            ask.close()
            return
        self._asks[id_] = asyncio.create_task(ask, name=f"OpenCode asks {id_}")

    async def _permission(self, request: Record) -> None:
        tool, arguments = request.text("permission"), request.record("metadata")
        patterns = ", ".join(request.texts("patterns"))
        title = one_line(f"{tool}: {patterns}") if patterns else tool_title(tool, arguments.fields)
        # "always" is what OpenCode itself would remember; we do, for ever and for this repository alone
        pattern = ", ".join(request.texts("always")) or patterns or "*"
        diff = arguments.text("diff") or None
        reply = await self._sink.ask_permission(tool, title, arguments.fields, diff, pattern)
        content = {"reply": "reject" if reply.reply == "reject" else "once"}
        if reply.reply == "reject" and reply.message:
            content["message"] = reply.message
        elif reply.reply == "reject":
            self._reading.rejected.append(title)
        await self._answer(f"/permission/{request.text('id')}/reply", content)

    async def _questions(self, request: Record) -> None:
        answers: list[list[str]] = []
        for question in request.records("questions"):
            labels = [option.text("label") for option in question.records("options")]
            answer = await self._sink.ask_question(question.text("question", "header"), labels)
            several = [part.strip() for part in answer.split(",")]
            answers.append(several if question.flag("multiple") and set(several) <= set(labels) else [answer])
        await self._answer(f"/question/{request.text('id')}/reply", {"answers": answers})

    async def _answer(self, path: str, content: object) -> None:
        try:
            await self._server.ask("POST", path, content)
        except ServerError as error:
            # answered elsewhere, or withdrawn; if not, it is asked again when we catch up
            words = f"The answer did not reach OpenCode. {error.error.message}"
            await self._teller.tell(AgentError(ErrorKind.TOOL, words))


async def _next(events: AsyncIterator[Record]) -> Record:
    return await anext(events)


def _records(answer: object) -> Sequence[Record]:
    return Record({"": answer}).records("")
