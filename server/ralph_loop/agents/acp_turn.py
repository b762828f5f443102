"""One prompt of an ACP agent, in a session of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence
from typing import TypeVar

from ralph_loop.agents.acp_events import AcpReading, call_diff, call_pattern, call_title, select_option
from ralph_loop.agents.acp_forms import fill_in, questions_of
from ralph_loop.agents.acp_link import AcpError, AcpLink
from ralph_loop.agents.base import AgentError, ErrorKind, Invocation, Sink
from ralph_loop.agents.modelerrors import About
from ralph_loop.agents.records import Record, as_record
from ralph_loop.agents.teller import Teller

REQUEST_LIMIT_S = 60.0

T = TypeVar("T")


class AcpTurn:
    def __init__(self, reading: AcpReading, call: Invocation, sink: Sink, teller: Teller) -> None:
        self._reading, self._call, self._sink, self._teller = reading, call, sink, teller
        self._link: AcpLink | None = None
        self._session = ""
        self._asks: dict[asyncio.Task[object], str] = {}  # what is asked for which tool call, by its id
        self._requests: dict[object, str] = {}  # the same by the id of the agent's request
        self._withdrawn: set[str] = set()
        self._over = False  # cancelled: what the agent still asks is asked of nobody
        self._prompting = False  # the agent has the prompt
        self._answered = asyncio.Event()  # and has answered it

    @property
    def finished(self) -> bool:
        return self._reading.final is not None and self._reading.final.ok

    def know(self, about: About) -> None:
        """The agent has said more about itself."""
        self._reading.about = about

    async def run(self, link: AcpLink, model: str | None) -> None:
        """Raises AcpError."""
        from acp import RequestError, text_block

        self._link = link
        try:
            await self._open(link, model)
            prompt = link.connection.prompt(session_id=self._session, prompt=[text_block(self._call.prompt)])
            self._prompting = True
            answer = await link.ask(prompt)
            await self._teller.tell_all(self._reading.ended(as_record(answer.model_dump(mode="json", by_alias=True))))
            if "close" in link.capabilities.record("sessionCapabilities").fields:
                # Claude's bridge has a process for each session
                await link.ask(link.connection.close_session(self._session), REQUEST_LIMIT_S)
        except RequestError as error:
            await self._teller.tell_all(self._reading.failed(error.code, str(error), error.data))

    async def cancel(self) -> None:
        """Tells the agent that the prompt is cancelled, and what it had asked too; waits until it has ended the prompt.
        Raises AcpError."""
        self._over = True
        if self._link and self._session and self._link.alive:
            await self._link.ask(self._link.connection.cancel(self._session))
            self.withdraw()
            if self._prompting:
                await self._link.ask(self._answered.wait())

    def withdraw(self) -> None:
        """Nobody needs to answer any more."""
        for task in self._asks:
            task.cancel()

    # what comes from the agent

    async def hear(self, message: Record) -> None:
        params = message.record("params")
        if message.text("method") and params.text("sessionId") not in ("", self._session):
            return
        await self._teller.came(message.fields)
        match message.text("method"):
            case "session/update" if self._session:
                await self._teller.tell_all(self._reading.read(params.record("update")))
            case "session/request_permission":
                call = params.record("toolCall").text("toolCallId")
                self._withdrawn.discard(call)  # asked anew
                self._requests[message.text("id") or message.integer("id")] = call
            case "$/cancel_request":
                self._withdraw(self._requests.get(params.text("requestId") or params.integer("requestId"), ""))
            case "" if self._prompting and (message.record("result").text("stopReason") or message.record("error")):
                self._answered.set()
            case _:
                pass

    async def hear_stderr(self, data: bytes) -> None:
        await self._sink.output("stderr", data)

    async def permission(self, session: str, update: Record, options: Sequence[Mapping[str, str]]) -> str | None:
        """The id of the chosen option; None when nobody is asked any more."""
        if session != self._session:
            return None
        call = self._reading.call(update)
        await self._teller.tell_all(self._reading.start(call))
        arguments = call.record("rawInput").fields
        pattern = call_pattern(call, self._call.workspace)
        ask = self._sink.ask_permission(call.text("name"), call_title(call), arguments, call_diff(call), pattern)
        reply = await self._asked(ask, call.text("toolCallId"))
        if reply and reply.reply == "reject":
            self._reading.rejected()
            # the protocol has no place for a reason: the next prompt tells it
            why = f" ({reply.message})" if reply.message else ""
            await self._teller.tell(AgentError(ErrorKind.PERMISSION, f"You rejected: {call_title(call)}{why}"))
        return select_option(options, reply.reply) if reply else None

    async def form(self, message: str, form: Record) -> dict[str, object] | None:
        if form.text("sessionId") not in ("", self._session):
            return None
        questions = questions_of(message, form.record("requestedSchema"))
        return await self._asked(fill_in(questions, self._sink.ask_question), form.text("toolCallId"))

    async def _asked(self, ask: Coroutine[None, None, T], call: str) -> T | None:
        """A person's answer; None when the question is withdrawn. `call`: id of the tool call that it is about."""
        if self._over or (call and call in self._withdrawn):
            ask.close()
            return None
        task = asyncio.create_task(ask, name=f"what an ACP agent asks about {call}")
        self._asks[task] = call
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancelled() and not _cancelled():
                return None
            raise
        finally:
            del self._asks[task]

    def _withdraw(self, call: str) -> None:
        """The agent asks no more; the question itself may still be on its way to us."""
        self._withdrawn.add(call)
        for task, about in self._asks.items():
            if call and about == call:
                task.cancel()

    async def _open(self, link: AcpLink, model: str | None) -> None:
        from acp import RequestError

        connection = link.connection
        answer = await link.ask(connection.new_session(cwd=str(self._call.workspace), mcp_servers=[]), REQUEST_LIMIT_S)
        session = as_record(answer.model_dump(mode="json", by_alias=True, exclude_none=True))
        self._session = session.text("sessionId")
        if mode := _mode(session.record("modes"), self._call.allow_all):
            with contextlib.suppress(RequestError):  # then it asks for each edit
                await link.ask(connection.set_session_mode(self._session, mode), REQUEST_LIMIT_S)
        if model:
            await self._choose_model(link, session, model)

    async def _choose_model(self, link: AcpLink, session: Record, model: str) -> None:
        from acp import RequestError

        options = [option for option in session.records("configOptions") if option.text("category", "id") == "model"]
        if not options:
            hint = "Name the model in the command of the agent instead."
            words = "This agent does not let us choose its model."
            raise AcpError(AgentError(ErrorKind.USAGE, words, hint, fatal=True))
        try:
            choose = link.connection.set_config_option(options[0].text("id"), self._session, model)
            await link.ask(choose, REQUEST_LIMIT_S)
        except RequestError as error:
            known = ", ".join(choice.text("value") for choice in options[0].records("options"))
            words = f"The agent does not know the model {model!r}: {error}"
            hint = f"It knows {known[:500]}." if known else None
            raise AcpError(AgentError(ErrorKind.MODEL_NOT_FOUND, words, hint, fatal=True)) from None


def _mode(modes: Record, allow_all: bool) -> str | None:
    """The agent's own mode in which edits inside the workspace are not asked for, if it has one."""
    known = {mode.text("id") for mode in modes.records("availableModes")}
    if {"read-only", "auto"} <= known:
        # Codex: "auto" is the sandbox that can write in the workspace; elsewhere the word means other things
        return "full-access" if allow_all and "full-access" in known else "auto"
    return next((mode for mode in ("acceptEdits", "autoEdit") if mode in known), None)


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
