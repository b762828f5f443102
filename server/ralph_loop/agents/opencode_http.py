"""OpenCode's HTTP server: starting one, asking it, listening to its events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path

import httpx
from httpx_sse import SSEError, aconnect_sse

from ralph_loop.agents.agent_process import AgentProcess, GuardLostError
from ralph_loop.agents.base import AgentError, ErrorKind, Workbench
from ralph_loop.agents.lines import LineReader, Tail
from ralph_loop.agents.pipes import PipeReader
from ralph_loop.agents.records import Record, as_record, one_line

START_LIMIT_S = 60.0  # 1.5 to 3.6 s were seen on an idle machine; its first start of all migrates a database
QUIET_LIMIT_S = 60.0  # the server sends a heartbeat more often than that

USERNAME = "opencode"

_NOT_THERE = (404, 405, 501)

_LISTENING = re.compile(r"listening on (http://\S+)")

# What httpx raises when the other side is gone or slow, or sends something that is no HTTP.
Unreachable = (httpx.HTTPError, httpx.StreamError, SSEError)


class ServerError(Exception):
    """The server cannot be used, or refused a request: an error for people. `status`: of its answer, 0 without one."""

    def __init__(self, error: AgentError, status: int = 0) -> None:
        super().__init__(error.message)
        self.error, self.status = error, status


class OpenCodeServer:
    """A server to talk to: ours (`process`), or one that runs elsewhere on this machine, for this `directory`."""

    def __init__(
        self, url: str, username: str, password: str, process: AgentProcess | None = None, directory: str = ""
    ) -> None:
        self.url, self.process = url, process
        auth = (username, password) if password else None
        params = {"directory": directory} if directory else None
        # trust_env: no proxy and no .netrc of the helper's own environment
        self._client = httpx.AsyncClient(
            base_url=url, auth=auth, params=params, trust_env=False, timeout=httpx.Timeout(30, connect=5)
        )
        self._draining: list[asyncio.Task[None]] = []
        self._said = Tail(8 * 1024)

    @classmethod
    async def start(cls, bench: Workbench, argv: Sequence[str], cwd: Path, env: dict[str, str]) -> OpenCodeServer:
        """Starts a server of our own and waits until it listens. A request that is sent earlier is never answered.
        Raises ServerError, SpawnError, GuardLostError."""
        password = secrets.token_urlsafe(24)
        env = {**env, "OPENCODE_SERVER_PASSWORD": password, "OPENCODE_SERVER_USERNAME": USERNAME}
        process = await bench.guard.spawn(argv, cwd=cwd, env=env, stdin=None, keep=True)
        said, found = Tail(8 * 1024), asyncio.get_running_loop().create_future()
        draining = [
            asyncio.create_task(_drain(reader, said, found), name=f"output of opencode serve {process.pid}")
            for reader in (process.stdout, process.stderr)
        ]
        ending = asyncio.create_task(process.wait(), name=f"end of opencode serve {process.pid}")
        try:
            await asyncio.wait({found, ending}, timeout=START_LIMIT_S, return_when=asyncio.FIRST_COMPLETED)
            if not found.done():
                why = str(process.status or f"was not ready after {START_LIMIT_S:.0f} s")
                raise ServerError(AgentError(ErrorKind.EXIT, _words(f"opencode serve {why}", said)))
            server = cls(found.result(), USERNAME, password, process)
            server._draining, server._said = draining, said
            return server
        except BaseException:
            await _end(process, draining)
            raise
        finally:
            ending.cancel()
            await asyncio.gather(ending, return_exceptions=True)

    @property
    def alive(self) -> bool:
        return self.process is None or self.process.running

    async def ask(self, method: str, path: str, content: object = None, timeout_s: float = 30) -> object:
        """The answer's JSON. Raises ServerError."""
        try:
            answer = await self._client.request(method, path, json=content, timeout=httpx.Timeout(timeout_s, connect=5))
        except Unreachable as error:
            raise ServerError(self.lost(error)) from error
        if answer.status_code >= 400:
            raise ServerError(_refusal(self.url, answer), answer.status_code)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            text = f"{self.url} is no OpenCode server: it answered {method} {path} with something that is no JSON."
            raise ServerError(AgentError(ErrorKind.OTHER, text, "Check the setting `opencode.url`.")) from None

    async def ask_if_known(self, path: str) -> object:
        """The same for what only some versions of OpenCode can be asked; None when this one cannot."""
        try:
            return await self.ask("GET", path)
        except ServerError as error:
            if error.status in _NOT_THERE:
                return None
            raise

    @contextlib.asynccontextmanager
    async def listen(self) -> AsyncGenerator[AsyncIterator[Record]]:
        """The server's events from now on, until the connection breaks. Raises one of Unreachable, ServerError."""
        limits = httpx.Timeout(30, connect=5, read=QUIET_LIMIT_S)
        async with aconnect_sse(self._client, "GET", "/event", timeout=limits) as source:
            if source.response.status_code >= 400:
                await source.response.aread()
                raise ServerError(_refusal(self.url, source.response))

            async def events() -> AsyncIterator[Record]:
                async for event in source.aiter_sse():
                    with contextlib.suppress(ValueError, RecursionError):
                        yield as_record(json.loads(event.data))

            yield events()

    def lost(self, error: Exception) -> AgentError:
        """The connection to the server is gone, and with it the prompt."""
        if self.process and self.process.status:
            return AgentError(ErrorKind.EXIT, _words(f"opencode serve {self.process.status}", self._said))
        return AgentError(
            ErrorKind.SERVER,
            f"The OpenCode server at {self.url} does not answer: {one_line(str(error)) or type(error).__name__}",
            None if self.process else "Check that the server of the setting `opencode.url` runs.",
        )

    async def close(self) -> None:
        """Ends the server if it is ours, with all that it started. Never raises."""
        with contextlib.suppress(*Unreachable):
            await self._client.aclose()
        if self.process:
            await _end(self.process, self._draining)


async def _end(process: AgentProcess, draining: Sequence[asyncio.Task[None]]) -> None:
    with contextlib.suppress(GuardLostError):
        await process.end()
    for task in draining:
        task.cancel()
    await asyncio.gather(*draining, return_exceptions=True)
    await process.close()


async def _drain(reader: PipeReader, said: Tail, found: asyncio.Future[str]) -> None:
    """Reads what the server prints, so that it never waits for us."""
    lines = LineReader(64 * 1024)
    while data := await reader.read():
        for line in lines.feed(data):
            said.add(line)
            if (match := _LISTENING.search(line)) and not found.done():
                found.set_result(match[1])


def _words(what: str, said: Tail) -> str:
    lines = [one_line(line, 300) for line in said.text.splitlines() if line.strip()]
    return what + (f": {' · '.join(lines[-3:])}" if lines else ".")


def _refusal(url: str, answer: httpx.Response) -> AgentError:
    if answer.status_code == 401:
        return AgentError(
            ErrorKind.AUTH,
            f"The OpenCode server at {url} wants another password.",
            "Check the settings `opencode.url` and `opencode.password`.",
            fatal=True,
        )
    detail = one_line(answer.text[:2000], 500)
    return AgentError(ErrorKind.OTHER, f"The OpenCode server refused a request ({answer.status_code}): {detail}")
