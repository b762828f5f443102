"""OpenCode's HTTP server: one warm server per loop, a fresh session per iteration, permissions and questions.

Settings: `opencode.url`, `opencode.password` and `opencode.username` name a server that runs already on this machine;
`opencode.continue` keeps one session for the whole loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from ralph_loop.agents.agent_process import SpawnError
from ralph_loop.agents.base import (
    AgentError,
    AgentSession,
    ErrorKind,
    Invocation,
    Outcome,
    Sink,
    Workbench,
    find_binary,
)
from ralph_loop.agents.opencode import INSTALL_HINT
from ralph_loop.agents.opencode_http import USERNAME, OpenCodeServer, ServerError
from ralph_loop.agents.opencode_permission import ask_environment, missing_rules
from ralph_loop.agents.opencode_turn import Turn
from ralph_loop.agents.records import as_record
from ralph_loop.agents.teller import Teller
from ralph_loop.waiting import outlast

URL = "opencode.url"


class OpenCodeServerAdapter:
    """Off means that OpenCode may edit and asks for all else."""

    id = "opencode-server"
    name = "OpenCode (server)"
    install_hint = INSTALL_HINT
    binary_name = "opencode"
    binary_env: str | None = "RALPH_OPENCODE_BINARY"
    permissions = True
    structured = True
    models: Sequence[str] = ()
    elsewhere: str | None = URL

    def session(self, bench: Workbench) -> AgentSession:
        return OpenCodeServerSession(self, bench)


class OpenCodeServerSession:
    def __init__(self, adapter: OpenCodeServerAdapter, bench: Workbench) -> None:
        self._adapter, self._bench = adapter, bench
        self._server: OpenCodeServer | None = None
        self._started_with: object = None
        self._session = ""  # of the last iteration

    async def run(self, call: Invocation, sink: Sink) -> Outcome:
        teller = Teller(sink)
        turn = None
        try:
            model = _model(call.model)
            server = await self._connect(call)
            session = await self._open_session(server, call)
            turn = Turn(server, session, sink, teller)
            await turn.run(call.prompt, model)
        except ServerError as error:
            await teller.tell(error.error)
            await self.close()
        except SpawnError as error:
            await teller.tell(AgentError(ErrorKind.OTHER, str(error), fatal=error.lasting))
            await self.close()
        except asyncio.CancelledError:
            await outlast(asyncio.create_task(self._stop(turn), name="stop of an OpenCode session"))
            raise
        return Outcome(None, finished=turn is not None and turn.finished)

    async def close(self) -> None:
        server, self._server, self._session = self._server, None, ""
        if server:
            await server.close()

    async def _stop(self, turn: Turn | None) -> None:
        """The abort ends the running tool. A server of ours goes, too: what a tool left behind is below it."""
        if turn:
            await turn.abort()
        self._session = ""  # a prompt sent to a busy session would merge into what runs there
        if self._server and self._server.process:
            await self.close()

    async def _connect(self, call: Invocation) -> OpenCodeServer:
        """The warm server, or a new one. Raises ServerError, SpawnError, AgentNotFoundError, GuardLostError."""
        url = self._setting(URL)
        binary = "" if url else find_binary(self._adapter, call)
        wanted = (url, binary, tuple(call.agent_args), call.workspace, dict(call.env), call.allow_all)
        if self._server and self._server.alive and wanted == self._started_with:
            return self._server
        await self.close()
        if url:
            username = self._setting("opencode.username") or USERNAME
            password, directory = self._setting("opencode.password"), str(call.workspace)
            self._server = OpenCodeServer(_loopback(url), username, password, directory=directory)
        else:
            argv = [binary, "serve", "--hostname", "127.0.0.1", *call.agent_args]
            env = dict(call.env)
            if not call.allow_all:
                env.update(await ask_environment(self._bench.guard, binary, call.workspace, call.env))
            self._server = await OpenCodeServer.start(self._bench, argv, call.workspace, env)
        self._started_with = wanted
        return self._server

    async def _open_session(self, server: OpenCodeServer, call: Invocation) -> str:
        if self._session and self._bench.settings("opencode.continue") is True:
            return self._session
        content: dict[str, object] = {"title": f"Ralph Loop, iteration {call.iteration}"}
        if not call.allow_all and not server.process:
            content["permission"] = await _rules_for_session(server)
        self._session = as_record(await server.ask("POST", "/session", content)).text("id")
        if not self._session:
            raise ServerError(AgentError(ErrorKind.OTHER, f"{server.url} is no OpenCode server: it made no session."))
        return self._session

    def _setting(self, key: str) -> str:
        value = self._bench.settings(key)
        return value if isinstance(value, str) else ""


async def _rules_for_session(server: OpenCodeServer) -> list[dict[str, str]]:
    """A server that is not ours has its configuration: what can be asked for beyond it holds for our session alone."""
    rules = missing_rules(as_record(await server.ask_if_known("/config")).fields.get("permission"))
    return [{"permission": name, "pattern": "*", "action": action} for name, action in rules.items()]


def _model(model: str | None) -> dict[str, str] | None:
    """``provider/model`` as the API wants it. Raises ServerError."""
    if not model:
        return None
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        text = f"OpenCode names models as provider/model, and this one is {model!r}."
        raise ServerError(AgentError(ErrorKind.MODEL_NOT_FOUND, text, "See `opencode models`.", fatal=True))
    return {"providerID": provider, "modelID": name}


def _loopback(url: str) -> str:
    """Raises ServerError for anything but a server on this machine: the helper makes no other network calls."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        host = parts.hostname or ""
        if parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback):
            return url.rstrip("/")
    text = f"The setting `opencode.url` must be the address of a server on this machine, and not {url}."
    raise ServerError(AgentError(ErrorKind.USAGE, text, "Such as http://127.0.0.1:4096.", fatal=True))
