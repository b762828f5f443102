"""Agents that speak the Agent Client Protocol: one warm process per loop, a fresh session per iteration."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import attrs

from ralph_loop.agents.acp_events import CODEX_NOTICES, COPILOT_NOTICES, AcpReading
from ralph_loop.agents.acp_link import AcpError, AcpLink
from ralph_loop.agents.acp_turn import AcpTurn
from ralph_loop.agents.agent_process import SpawnError
from ralph_loop.agents.base import (
    AgentError,
    AgentSession,
    ErrorKind,
    Invocation,
    Note,
    Outcome,
    Sink,
    Workbench,
    find_binary,
    program,
    resolve,
)
from ralph_loop.agents.commandline import option
from ralph_loop.agents.modelerrors import ALLOW_ALL_HINT, About
from ralph_loop.agents.opencode_permission import ask_environment
from ralph_loop.agents.records import Record
from ralph_loop.agents.teller import Teller
from ralph_loop.waiting import outlast

CANCEL_LIMIT_S = 3.0  # for the agent to end the prompt itself; then its process is ended

Arguments = Callable[[Invocation], Sequence[str]]
Environment = Callable[[Workbench, str, Invocation], Awaitable[Mapping[str, str]]]


async def _no_environment(_bench: Workbench, _binary: str, _call: Invocation) -> Mapping[str, str]:
    return {}


async def _opencode_environment(bench: Workbench, binary: str, call: Invocation) -> Mapping[str, str]:
    return {} if call.allow_all else await ask_environment(bench.guard, binary, call.workspace, call.env)


def _bubblewrap(call: Invocation) -> str | None:
    """Without it no command runs in Codex's sandbox, and the bridge says nothing about that."""
    if call.allow_all or sys.platform != "linux" or program("bwrap", call.env):
        return None
    return (
        "Codex's bridge needs `bwrap` for its sandbox, and there is none on the PATH: its commands may fail without a "
        f"word. Install the package bubblewrap. {ALLOW_ALL_HINT}"
    )


async def _claude_environment(_bench: Workbench, _binary: str, call: Invocation) -> Mapping[str, str]:
    return {"ANTHROPIC_MODEL": call.model} if call.model else {}


@attrs.define
class AcpAdapter:
    """One agent that speaks ACP; without a `binary_name` the command comes from the loop's configuration.

    `arguments` are those of its command line; `by_session`: it takes the model for a session, not by its command line;
    `lacks`: what the machine lacks for it, in words for people; `notices`: see acp_events.py.
    """

    id: str
    name: str
    install_hint: str
    binary_name: str = ""
    binary_env: str | None = None
    arguments: Arguments = lambda _: ()
    environment: Environment = _no_environment
    by_session: bool = False
    lacks: Callable[[Invocation], str | None] = lambda _: None
    notices: tuple[str, ...] = ()
    permissions: bool = True
    structured: bool = True
    models: Sequence[str] = ()
    elsewhere: str | None = None

    def session(self, bench: Workbench) -> AgentSession:
        return AcpSession(self, bench)


ACP_ADAPTERS = (
    AcpAdapter(
        "acp-opencode",
        "OpenCode (ACP)",
        "Install it with `npm install -g opencode-ai`.",
        "opencode",
        "RALPH_OPENCODE_BINARY",
        lambda call: ["acp", *call.agent_args],
        _opencode_environment,
        by_session=True,
    ),
    AcpAdapter(
        "acp-claude",
        "Claude Code (ACP)",
        "Install it with `npm install -g @agentclientprotocol/claude-agent-acp`.",
        "claude-agent-acp",
        "RALPH_CLAUDE_ACP_BINARY",
        lambda call: call.agent_args,
        _claude_environment,
    ),
    AcpAdapter(
        "acp-codex",
        "Codex (ACP)",
        "Install it with `npm install -g @zed-industries/codex-acp`; on Linux it needs bubblewrap, too.",
        "codex-acp",
        "RALPH_CODEX_ACP_BINARY",
        lambda call: [*option("-c", f"model={json.dumps(call.model)}" if call.model else None), *call.agent_args],
        lacks=_bubblewrap,
        notices=CODEX_NOTICES,
    ),
    AcpAdapter(
        "acp-gemini",
        "Gemini CLI (ACP)",
        "Install it with `npm install -g @google/gemini-cli`.",
        "gemini",
        "RALPH_GEMINI_BINARY",
        lambda call: ["--acp", "--skip-trust", *option("--model", call.model), *call.agent_args],
    ),
    AcpAdapter(
        "acp-copilot",
        "GitHub Copilot CLI (ACP)",
        "Install it with `npm install -g @github/copilot`.",
        "copilot",
        "RALPH_COPILOT_BINARY",
        lambda call: [
            *("--acp", "--no-auto-update", "--allow-tool=write"),
            *option("--model", call.model),
            *call.agent_args,
        ],
        notices=COPILOT_NOTICES,
    ),
    AcpAdapter(
        "acp",
        "Any agent that speaks ACP",
        'Give its command, such as "command": ["my-agent", "--acp"].',
        by_session=True,
    ),
)


class AcpSession:
    def __init__(self, adapter: AcpAdapter, bench: Workbench) -> None:
        self._adapter, self._bench = adapter, bench
        self._about = About(adapter.name, "Log in to it once in a terminal, or set its key.")
        self._link: AcpLink | None = None
        self._started_with: object = None
        self._turn: AcpTurn | None = None

    async def run(self, call: Invocation, sink: Sink) -> Outcome:
        teller = Teller(sink)
        turn = self._turn = AcpTurn(AcpReading(self._about, self._adapter.notices), call, sink, teller)
        try:
            link = await self._connect(call)
            if link.login:
                turn.know(attrs.evolve(self._about, login=f"The agent says: {link.login}."))
            if lacking := self._adapter.lacks(call):
                await teller.tell(Note(lacking))
            await turn.run(link, call.model if self._adapter.by_session else None)
        except AcpError as error:
            await teller.tell(error.event)
            await self.close()
        except SpawnError as error:
            await teller.tell(AgentError(ErrorKind.OTHER, str(error), fatal=error.lasting))
            await self.close()
        except asyncio.CancelledError:
            await outlast(asyncio.create_task(self._stop(turn), name="stop of an ACP session"))
            raise
        finally:
            self._turn = None
            turn.withdraw()
        return Outcome(None, finished=turn.finished)

    async def close(self) -> None:
        link, self._link = self._link, None
        if link:
            await link.close()

    async def _stop(self, turn: AcpTurn) -> None:
        """Ends the prompt as the protocol says, then the process: agents leave their tools running."""
        with contextlib.suppress(AcpError, TimeoutError):
            async with asyncio.timeout(CANCEL_LIMIT_S):
                await turn.cancel()
        await self.close()

    async def _connect(self, call: Invocation) -> AcpLink:
        """The warm process, or a new one. Raises AcpError, SpawnError, AgentNotFoundError, GuardLostError."""
        if self._adapter.binary_name:
            binary = find_binary(self._adapter, call)
            argv = [binary, *self._adapter.arguments(call)]
        elif call.command:
            binary = resolve(self._adapter, call.command[0], call.env)
            argv = [binary, *call.command[1:], *call.agent_args]
        else:
            hint = self._adapter.install_hint
            raise AcpError(AgentError(ErrorKind.USAGE, "The agent `acp` needs a command.", hint, fatal=True))
        model = None if self._adapter.by_session else call.model
        wanted = (tuple(argv), call.workspace, dict(call.env), call.allow_all, model)
        if self._link and self._link.alive and wanted == self._started_with:
            return self._link
        await self.close()
        env = {**call.env, **await self._adapter.environment(self._bench, binary, call)}
        self._link = await AcpLink.start(self._bench, argv, call.workspace, env, self, self._hear, self._hear_stderr)
        self._started_with = wanted
        return self._link

    # what comes from the agent

    async def _hear(self, message: Record) -> bool:
        if self._turn:
            await self._turn.hear(message)
        return message.text("method") != "" and "id" not in message.fields

    async def _hear_stderr(self, data: bytes) -> None:
        if self._turn:
            await self._turn.hear_stderr(data)

    # the library's Client

    async def request_permission(self, session_id: str, tool_call: Any, options: Any, **_: Any) -> Any:
        from acp.schema import AllowedOutcome, DeniedOutcome, RequestPermissionResponse

        call = Record(tool_call.model_dump(mode="json", by_alias=True, exclude_none=True))
        choices = [{"optionId": option.option_id, "kind": option.kind} for option in options]
        chosen = await self._turn.permission(session_id, call, choices) if self._turn else None
        outcome = AllowedOutcome(outcome="selected", option_id=chosen) if chosen else DeniedOutcome(outcome="cancelled")
        return RequestPermissionResponse(outcome=outcome)

    async def create_elicitation(self, message: str, mode: Any, **_: Any) -> Any:
        from acp import AcceptElicitationResponse, DeclineElicitationResponse

        form = Record(mode.model_dump(mode="json", by_alias=True, exclude_none=True))
        content = await self._turn.form(message, form) if self._turn else None
        if content is None:
            return DeclineElicitationResponse(action="decline")
        return AcceptElicitationResponse(action="accept", content=content)  # pyright: ignore[reportArgumentType]

    async def ext_notification(self, method: str, params: dict[str, Any]) -> None:
        """Notifications beyond the protocol tell nothing we need."""
