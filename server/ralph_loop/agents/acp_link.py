"""The Agent Client Protocol: a warm agent process, and the messages to and from it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ralph_loop import __version__
from ralph_loop.agents.agent_process import AgentProcess, GuardLostError
from ralph_loop.agents.base import AgentError, ErrorKind, RateLimit, Workbench
from ralph_loop.agents.lines import LineReader, Tail
from ralph_loop.agents.records import Record, as_record, one_line, parse_record

if TYPE_CHECKING:
    from acp.core import ClientSideConnection

START_LIMIT_S = 60.0
QUIET_S = 2.0  # after the process has ended
LONGEST_MESSAGE = 32 * 1024 * 1024  # bytes

T = TypeVar("T")


class AcpError(Exception):
    """The agent cannot be used: an event for people."""

    def __init__(self, event: AgentError | RateLimit) -> None:
        super().__init__(event.message)
        self.event = event


class Pipes:
    """The transport that the library works on. Notifications are heard here, in order and at the sink's pace; the
    library would make a task of each."""

    def __init__(self, process: AgentProcess, hear: Callable[[Record], Awaitable[bool]]) -> None:
        self._process, self._hear = process, hear
        self._reader = LineReader(LONGEST_MESSAGE)
        self._lines: deque[str] = deque()
        self._writing = asyncio.Lock()

    async def receive(self) -> dict[str, Any] | None:
        """The next message that is not heard here; None at the end."""
        while True:
            while self._lines:
                record = parse_record(self._lines.popleft().strip())
                if record and not await self._hear(record):
                    return dict(record.fields)
            data = await self._process.stdout.read()
            if not data:
                return None
            self._lines.extend(self._reader.feed(data))

    async def send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        async with self._writing:
            # the library puts Python's own exceptions into its answers to what it cannot read
            await self._process.stdin.write(json.dumps(message, default=str).encode() + b"\n")

    async def close(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()


class AcpLink:
    """An agent process that was greeted. `hear` gets each message before the library does, and says whether that was
    all; `heard_stderr` what the agent prints besides."""

    def __init__(self, process: AgentProcess, connection: ClientSideConnection) -> None:
        self.process, self.connection = process, connection
        self.capabilities = Record()
        self.login = ""  # how to log in, in the agent's words
        self.said = Tail(8 * 1024)
        self.draining: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        bench: Workbench,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        client: object,
        hear: Callable[[Record], Awaitable[bool]],
        hear_stderr: Callable[[bytes], Awaitable[None]],
    ) -> AcpLink:
        """Raises AcpError, SpawnError, GuardLostError."""
        acp = await asyncio.to_thread(importlib.import_module, "acp")  # takes half a second
        process = await bench.guard.spawn(argv, cwd=cwd, env=env, stdin="pipe", keep=True)
        connection = acp.connect_to_agent(cast("Any", client), Pipes(process, hear), use_unstable_protocol=True)
        link = cls(process, connection)
        link.draining = asyncio.create_task(link._drain(hear_stderr), name=f"stderr of ACP agent {process.pid}")
        try:
            await link._greet()
            return link
        except BaseException:
            await link.close()
            raise

    @property
    def alive(self) -> bool:
        return self.process.running

    async def ask(self, answer: Coroutine[Any, Any, T], limit_s: float | None = None) -> T:
        """An answer of the agent's. Raises AcpError when there will be none, RequestError as the agent answered."""
        asking = asyncio.create_task(answer, name="request to an ACP agent")
        ending = asyncio.create_task(self.process.wait(), name=f"end of ACP agent {self.process.pid}")
        try:
            await asyncio.wait({asking, ending}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                # its last answer may still be in the pipe; a child of its may hold that open for ever
                await asyncio.wait({asking}, timeout=QUIET_S)
            if asking.done():
                return asking.result()
            how = str(self.process.status or f"did not answer in {limit_s} s")
            raise AcpError(AgentError(ErrorKind.EXIT, self._words(how)))
        except ConnectionError:
            await asyncio.wait({ending}, timeout=QUIET_S)
            how = str(self.process.status or "closed the connection")
            raise AcpError(AgentError(ErrorKind.EXIT, self._words(how))) from None
        except ValueError as error:  # pydantic's ValidationError is one
            words = one_line(str(error), 300)
            raise AcpError(
                AgentError(ErrorKind.OTHER, self._words(f"answered otherwise than ACP 1: {words}"))
            ) from None
        finally:
            for task in (asking, ending):
                task.cancel()
            await asyncio.gather(asking, ending, return_exceptions=True)

    async def close(self) -> None:
        """Ends the process and all it started. Never raises."""
        with contextlib.suppress(GuardLostError):
            await self.process.end()
        with contextlib.suppress(ConnectionError):
            await self.connection.close()
        if self.draining:
            self.draining.cancel()
            await asyncio.gather(self.draining, return_exceptions=True)
        await self.process.close()

    async def _greet(self) -> None:
        from acp import PROTOCOL_VERSION, RequestError
        from acp.schema import (
            ClientCapabilities,
            ElicitationCapabilities,
            ElicitationFormCapabilities,
            FileSystemCapabilities,
            Implementation,
        )

        # files and terminals are the agent's own business: it runs on the same machine
        capabilities = ClientCapabilities(
            fs=FileSystemCapabilities(read_text_file=False, write_text_file=False),
            terminal=False,
            elicitation=ElicitationCapabilities(form=ElicitationFormCapabilities()),
        )
        info = Implementation(name="ralph-loop", title="Ralph Loop", version=__version__)
        greeting = self.connection.initialize(PROTOCOL_VERSION, client_capabilities=capabilities, client_info=info)
        try:
            answer = await self.ask(greeting, START_LIMIT_S)
        except RequestError as error:
            words = self._words(f"refused to start: {error}")
            raise AcpError(AgentError(ErrorKind.OTHER, words)) from None
        if answer.protocol_version != PROTOCOL_VERSION:
            words = self._words(f"speaks version {answer.protocol_version} of ACP, and not {PROTOCOL_VERSION}")
            raise AcpError(AgentError(ErrorKind.USAGE, words, "Another version of it may do.", fatal=True))
        told = as_record(answer.model_dump(mode="json", by_alias=True, exclude_none=True))
        self.capabilities = told.record("agentCapabilities")
        self.login = "; ".join(one_line(method.text("description", "name")) for method in told.records("authMethods"))

    async def _drain(self, hear: Callable[[bytes], Awaitable[None]]) -> None:
        lines = LineReader(64 * 1024)
        while data := await self.process.stderr.read():
            for line in lines.feed(data):
                self.said.add(line)
            await hear(data)

    def _words(self, what: str) -> str:
        lines = [one_line(line, 300) for line in self.said.text.splitlines() if line.strip()]
        return f"The agent {what}" + (f": {' · '.join(lines[-3:])}" if lines else ".")
