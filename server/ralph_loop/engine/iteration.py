"""One run of the agent inside a loop: where its output and events go, and the limits on its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs

from ralph_loop.agents.base import (
    AgentError,
    AgentNotFoundError,
    AgentSession,
    ErrorKind,
    Event,
    Final,
    Invocation,
    Outcome,
    PermissionReply,
    QuestionNote,
    RateLimit,
    Stream,
    Text,
    ToolEnd,
    ToolStart,
    Usage,
)
from ralph_loop.engine.clock import Stopwatch
from ralph_loop.engine.completion import MessageScanner, Verdict
from ralph_loop.engine.escapes import EscapeRemover
from ralph_loop.engine.output import OutputLog
from ralph_loop.engine.struggle import ErrorScanner
from ralph_loop.protocol import LoopConfig, Tokens
from ralph_loop.wire import unstructure

_MESSAGE_TAIL = 8 * 1024  # characters of a plain-text agent's message that are kept as "final message"
_MAX_ERRORS = 20

# Errors that leave the iteration's work standing: a tool failed or was denied, the agent went on.
_HARMLESS = frozenset({ErrorKind.TOOL, ErrorKind.PERMISSION})

End = Literal["finished", "failed", "timedOut", "inactive", "stopped", "maxDuration"]


TOO_LONG: Mapping[str, str] = {
    "timedOut": "The iteration took longer than iterationTimeoutMs allows.",
    "inactive": "The agent printed nothing for longer than inactivityTimeoutMs allows.",
}


class Asking(Protocol):
    """Who puts permissions and questions to a person (engine/asking.py)."""

    async def permission(
        self, iteration: int, tool: str, title: str, arguments: Mapping[str, object], diff: str | None, pattern: str
    ) -> PermissionReply: ...

    async def question(self, iteration: int, text: str, options: Sequence[str]) -> str: ...


@attrs.define(kw_only=True)
class Result:
    """What an iteration left behind, before its changes are known."""

    end: End = "failed"
    exit_code: int | None = None
    verdict: Verdict
    message: str | None = None
    errors: list[str] = attrs.Factory(list[str])
    failure: AgentError | None = None  # the first error that makes the iteration a failed one
    rate_limit: RateLimit | None = None
    tools: dict[str, int] = attrs.Factory(dict[str, int])
    tokens: Tokens | None = None
    cost_usd: float | None = None
    duration_ms: int = 0
    questions: list[QuestionNote] = attrs.Factory(list[QuestionNote])
    silent: bool = False  # finished without a word, a tool, a question or an error

    def add_error(self, message: str) -> None:
        message = EscapeRemover().feed(message)  # colours of a tool's output are nothing for the next prompt
        if len(self.errors) < _MAX_ERRORS and message not in self.errors:
            self.errors.append(message)

    def fail(self, error: AgentError) -> None:
        self.end, self.failure = "failed", error
        self.add_error(error.message)


class Iteration:
    """The sink of one agent run (agents/base.py Sink), and the run itself."""

    def __init__(
        self,
        number: int,
        config: LoopConfig,
        output: OutputLog,
        asking: Asking,
        publish: Callable[[int, dict[str, Any]], None],
        structured: bool,
    ) -> None:
        self.number = number
        self._config = config
        self._output = output
        self._asking = asking
        self._publish = publish
        self._structured = structured
        self._scanner = MessageScanner(
            config.completion_promise,
            task=config.task_promise if config.tasks_mode else None,
            abort=config.abort_promise,
        )
        self._errors = ErrorScanner()
        self._tail = ""
        self._final: Final | None = None
        self._asked = False  # a person
        self.result = Result(verdict=self._scanner.verdict())
        self._began = time.monotonic()
        self.time = Stopwatch()
        self.quiet = Stopwatch()
        self._woken = asyncio.Event()

    # ------------------------------------------------------------------------------------------------------- sink
    async def output(self, stream: Stream, data: bytes) -> None:
        self.quiet.restart()
        await self._output.write(self.number, stream, data)

    async def event(self, event: Event) -> None:
        self.quiet.restart()
        match event:
            case Text():
                self._scanner.feed(event.text)
                self._tail = (self._tail + event.text)[-_MESSAGE_TAIL:]
                if not self._structured:
                    self._errors.feed(event.text)
                    return  # its text is its output; telling it twice helps nobody
            case ToolStart():
                self.result.tools[event.name] = self.result.tools.get(event.name, 0) + 1
            case ToolEnd():
                if event.error:
                    self.result.add_error(f"{event.name}: {event.error}")
            case Usage():
                self.result.tokens = Tokens(input=event.input_tokens, output=event.output_tokens)
                self.result.cost_usd = event.cost_usd if event.cost_usd is not None else self.result.cost_usd
            case RateLimit():
                self.result.rate_limit = event
            case QuestionNote():
                self.result.questions.append(event)
            case Final():
                self._final = event
            case AgentError():
                self.result.add_error(event.message)
                if event.kind not in _HARMLESS and self.result.failure is None:
                    self.result.failure = event
            case _:
                pass
        self._publish(self.number, unstructure(event))

    async def ask_permission(
        self, tool: str, title: str, arguments: Mapping[str, object], diff: str | None, pattern: str
    ) -> PermissionReply:
        self._asked = True
        with self.standing_still():
            return await self._asking.permission(self.number, tool, title, arguments, diff, pattern)

    async def ask_question(self, text: str, options: Sequence[str]) -> str:
        self._asked = True
        with self.standing_still():
            return await self._asking.question(self.number, text, options)

    def standing_still(self) -> _Hold:
        """Time limits do not run inside this block."""
        return _Hold(self)

    def wake(self) -> None:
        """The clocks changed: waits are computed anew."""
        self._woken.set()

    # -------------------------------------------------------------------------------------------------------- run
    async def run(
        self,
        session: AgentSession,
        call: Invocation,
        *,
        stop: asyncio.Event,
        loop_time: Stopwatch,
    ) -> Result:
        """Runs the agent until it ends, `stop` is set, or a limit is reached; leaves nothing of it running."""
        task = asyncio.create_task(session.run(call, self), name=f"agent of iteration {self.number}")
        stopping = asyncio.create_task(stop.wait(), name=f"stop of iteration {self.number}")
        end: End | None = None
        try:
            while end is None and not task.done():
                self._woken.clear()
                limit, left = self._next_limit(loop_time)
                if left is not None and left <= 0:
                    end = limit
                    break
                waking = asyncio.create_task(self._woken.wait(), name=f"wake of iteration {self.number}")
                await asyncio.wait(
                    {task, stopping, waking},
                    timeout=None if left is None else left / 1000,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                waking.cancel()
                if stopping.done() and not task.done():
                    end = "stopped"
        finally:
            stopping.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        self._conclude(end, task)
        await self._output.end_iteration()
        return self.result

    def _next_limit(self, loop_time: Stopwatch) -> tuple[End, float | None]:
        config = self._config
        left: list[tuple[float, End]] = []
        if not self.time.held:
            if config.iteration_timeout_ms is not None:
                left.append((config.iteration_timeout_ms - self.time.ms, "timedOut"))
            if config.inactivity_timeout_ms is not None:
                left.append((config.inactivity_timeout_ms - self.quiet.ms, "inactive"))
            if config.max_duration_ms is not None:
                left.append((config.max_duration_ms - loop_time.ms, "maxDuration"))
        if not left:
            return "timedOut", None
        ms, limit = min(left)
        return limit, ms

    def _conclude(self, end: End | None, task: asyncio.Task[Outcome]) -> None:
        result = self.result
        if end is None and not task.cancelled():
            error = task.exception()
            if error is None:
                outcome = task.result()
                result.exit_code = outcome.exit_code
                end = "finished" if outcome.finished and result.failure is None else "failed"
            elif isinstance(error, AgentNotFoundError):
                result.fail(AgentError(ErrorKind.OTHER, str(error), error.install_hint, fatal=True))
            else:
                raise error
        result.end = end or "failed"
        result.duration_ms = int((time.monotonic() - self._began) * 1000)
        if result.end in TOO_LONG:  # also for the next prompt: the agent cannot know why it was ended
            result.add_error(TOO_LONG[result.end])
        if result.end == "failed" and result.failure is None and result.rate_limit is None:
            result.fail(AgentError(ErrorKind.OTHER, "The agent ended without finishing its work."))
        for message in self._errors.errors():
            result.add_error(message)
        if self._final is not None and self._final.message is not None:
            self._scanner.reset()
            self._scanner.feed(self._final.message)
            result.message = self._final.message
        else:
            result.message = self._tail.strip() or None
        result.silent = result.end == "finished" and self._silent()
        own_word = self._final is not None and self._final.completed
        result.verdict = Verdict("completion") if own_word else self._scanner.verdict()

    def _silent(self) -> bool:
        """What prints plain text may have nothing to say."""
        result = self.result
        did = self._asked or result.tools or result.questions or result.errors
        return self._structured and not did and not (self._tail.strip() or (result.message or "").strip())


class _Hold:
    def __init__(self, iteration: Iteration) -> None:
        self._iteration = iteration

    def __enter__(self) -> None:
        for clock in (self._iteration.time, self._iteration.quiet):
            clock.hold()
        self._iteration.wake()

    def __exit__(self, *_: object) -> None:
        for clock in (self._iteration.time, self._iteration.quiet):
            clock.release()
        self._iteration.quiet.restart()
        self._iteration.wake()
