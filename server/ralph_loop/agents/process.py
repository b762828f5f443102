"""Agents that are a command, run once per iteration."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from ralph_loop.agents.agent_process import SpawnError
from ralph_loop.agents.base import (
    AgentError,
    AgentNotFoundError,
    AgentSession,
    Command,
    CommandRefusedError,
    ErrorKind,
    Invocation,
    Outcome,
    Parser,
    Sink,
    Workbench,
)
from ralph_loop.agents.display import Display
from ralph_loop.agents.supervise import Patience, Relay, Supervision


class CommandAdapter:
    """Base of the adapters whose agent is a command; they say how to call it and how to read it."""

    id: str = ""
    name: str = ""
    install_hint: str = ""
    binary_name: str = ""
    binary_env: str | None = None
    permissions: bool = False
    structured: bool = False
    models: Sequence[str] = ()
    elsewhere: str | None = None
    patience: Patience = Patience()

    def command(self, call: Invocation) -> Command:
        """The process of one iteration. A prompt over 100 KB never goes into argv: Linux takes 128 KiB an argument.
        Raises AgentNotFoundError, CommandRefusedError."""
        raise NotImplementedError

    def parser(self) -> Parser:
        """A new parser, for one iteration."""
        raise NotImplementedError

    def session(self, bench: Workbench) -> AgentSession:
        return CommandSession(self, bench)


class CommandSession:
    """Starts the command anew for each iteration; keeps nothing between them."""

    def __init__(self, adapter: CommandAdapter, bench: Workbench) -> None:
        self._adapter, self._bench = adapter, bench

    async def run(self, call: Invocation, sink: Sink) -> Outcome:
        relay = Relay(sink, self._adapter.parser(), Display() if self._adapter.structured else None)
        try:
            command = self._adapter.command(call)
            process = await self._bench.guard.spawn(
                command.argv, cwd=call.workspace, env={**call.env, **command.env}, stdin=command.stdin
            )
        except CommandRefusedError as refusal:
            await relay.tell(refusal.error)
            return Outcome(None, finished=False)
        except SpawnError as error:
            if error.stage == "exec" and error.errno == errno.ENOENT:
                raise AgentNotFoundError(self._adapter.id, error.program, self._adapter.install_hint) from error
            await relay.tell(AgentError(ErrorKind.OTHER, str(error), fatal=error.lasting))
            return Outcome(None, finished=False)
        return await Supervision(process, relay, self._adapter.patience, self._bench.log).run()

    async def close(self) -> None:
        """Nothing is warm."""
