"""Streams what an agent's process prints, and ends it with all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable
from typing import Literal

import attrs

from ralph_loop.agents.agent_process import AgentProcess, GuardLostError
from ralph_loop.agents.base import AgentError, ErrorKind, Event, Final, Outcome, Parser, Sink
from ralph_loop.agents.display import Display
from ralph_loop.agents.pipes import LARGEST_PIPE, PipeReader
from ralph_loop.waiting import outlast


@attrs.frozen
class Patience:
    """How long to wait for what an agent may still do, in seconds."""

    quiet: float = 2.0  # after the process has exited: for output of processes that hold its pipes
    drain: float = 10.0  # the same, however much they print
    closed: float = 5.0  # after it has closed its output, for its exit
    final: float = 15.0  # of silence after its own final event, for its exit: Claude sometimes hangs there
    grace: float = 5.0  # between SIGTERM and SIGKILL
    sink: float = 10.0  # after a cancelled agent was ended, for its last output to be taken


class Relay:
    """Hands on what an agent prints: first the bytes, then the events that they make, then how these read."""

    def __init__(self, sink: Sink, parser: Parser, display: Display | None) -> None:
        self._sink, self._parser, self._display = sink, parser, display
        self.final: Final | None = None

    async def hand_on(self, stream: Literal["stdout", "stderr"], data: bytes) -> None:
        await self._sink.output(stream, data)
        for event in self._parser.feed(stream, data):
            await self.tell(event)

    async def tell(self, event: Event) -> None:
        if isinstance(event, Final):
            self.final = event
        await self._sink.event(event)
        if self._display and (shown := self._display.render(event)):
            await self._sink.output("display", shown)

    async def close(self, exit_code: int | None) -> None:
        for event in self._parser.close(exit_code):
            await self.tell(event)


class Supervision:
    """One run of a process, from its start until nothing of it is left.

    The work is a task of its own that a cancellation does not reach: what was read from a pipe is always handed on.
    Cancelling only makes it end the process at once.
    """

    def __init__(self, process: AgentProcess, relay: Relay, patience: Patience, log: Callable[[str], None]) -> None:
        self._process, self._relay, self._patience, self._log = process, relay, patience, log
        self._wake = asyncio.Event()
        self._ending: asyncio.Task[list[int]] | None = None
        self._by_itself = False  # it exited before we ended it
        self._exited_at = self._closed_at = self._heard_at = 0.0  # on the monotonic clock; 0: not yet
        self._worked_at = 0.0  # the last output that can be work: noise on stderr after the final event is none

    async def run(self) -> Outcome:
        """See AgentSession.run. Raises GuardLostError, and what the sink raises."""
        pid = self._process.pid
        work = asyncio.create_task(self._work(), name=f"agent process {pid}")
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await outlast(asyncio.create_task(self._finish(work), name=f"end of agent process {pid}"))
            raise

    async def _finish(self, work: asyncio.Task[Outcome]) -> None:
        """Lets the work come to its end after a cancellation, also when the sink takes nothing any more."""
        await asyncio.wait([self._end()])
        await asyncio.wait([work], timeout=self._patience.sink)
        work.cancel()
        await asyncio.wait([work])
        if not work.cancelled() and (error := work.exception()):
            self._log(f"ending agent process {self._process.pid}: {error!r}")

    async def _work(self) -> Outcome:
        self._process.when_ended(self._wake.set)
        try:
            await self._pump(self._until_over)
            ending = self._end()
            await self._pump(lambda: 0 if ending.done() else math.inf)
            await self._drain()
            status = self._process.status
            await self._relay.close(status.code if status and self._by_itself else None)
            await self._explain(ending.result())
            if not self._process.running:
                status = await self._process.wait()
            final = self._relay.final
            return Outcome(status.code if status else None, finished=final is not None and final.ok)
        finally:
            await outlast(self._end())
            await self._process.close()

    def _end(self) -> asyncio.Task[list[int]]:
        """Ends the process and all it started, once."""
        if self._ending is None:
            self._by_itself = not self._process.running
            self._ending = asyncio.create_task(self._end_all(), name=f"ending agent process {self._process.pid}")
            self._ending.add_done_callback(lambda _: self._wake.set())
            self._wake.set()
        return self._ending

    async def _end_all(self) -> list[int]:
        with contextlib.suppress(GuardLostError):  # wait() tells it
            return await self._process.end(self._patience.grace)
        return []

    async def _explain(self, left: list[int]) -> None:
        if left:
            pids = ", ".join(map(str, left))
            await self._relay.tell(
                AgentError(ErrorKind.OTHER, f"These processes of the agent cannot be ended: {pids}.")
            )
        if self._closed_at and not self._by_itself and not self._relay.final:
            text = "The agent closed its output but went on running. It was ended."
            await self._relay.tell(AgentError(ErrorKind.EXIT, text))

    def _until_over(self) -> float:
        """Seconds until the work counts as over; 0 or less: it is."""
        now, patience = time.monotonic(), self._patience
        silent = all(reader.at_end for _, reader in self._streams())
        if self._ending:
            return 0
        if not self._process.running:
            self._exited_at = self._exited_at or now
            quiet = max(self._exited_at, self._heard_at) + patience.quiet
            return 0 if silent else min(self._exited_at + patience.drain, quiet) - now
        if silent:
            self._closed_at = self._closed_at or now
            return self._closed_at + patience.closed - now
        return self._worked_at + patience.final - now if self._relay.final else math.inf

    async def _pump(self, remaining: Callable[[], float]) -> None:
        """Hands on output as it comes, until no time remains."""
        while remaining() > 0:
            self._wake.clear()
            if await self._hand_on():
                await asyncio.sleep(0)  # a sink that never waits must not stop everything else
                continue
            seconds = remaining()  # again: a stream may have ended
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if seconds == math.inf else seconds):
                    await self._wake.wait()

    async def _drain(self) -> None:
        """What is still in the pipes when their writers are dead. No more than that: a process that is none of ours
        (a daemon that the agent gave its pipe to) may go on for ever."""
        rest = 2 * LARGEST_PIPE
        while rest > 0 and (handed := await self._hand_on()):
            rest -= handed

    async def _hand_on(self) -> int:
        """Hands on what is there, a chunk of each stream. Returns how many bytes that was."""
        handed = 0
        for stream, reader in self._streams():
            data = reader.take()
            if data is None:
                reader.when_ready(self._wake.set)
            elif data:
                await self._relay.hand_on(stream, data)
                handed += len(data)
                self._heard_at = time.monotonic()
                if stream == "stdout" or not self._relay.final:
                    self._worked_at = self._heard_at
        return handed

    def _streams(self) -> list[tuple[Literal["stdout", "stderr"], PipeReader]]:
        return [("stdout", self._process.stdout), ("stderr", self._process.stderr)]
