"""The helper: one engine per data directory, a session per connection, and its end when nobody needs it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ralph_loop import __version__
from ralph_loop.engine.client import Client, clean_environment
from ralph_loop.engine.engine import Engine
from ralph_loop.errors import RalphError
from ralph_loop.lsp.session import Session
from ralph_loop.paths import Paths, socket_path
from ralph_loop.protocol import PROTOCOL_VERSION
from ralph_loop.shared import peer
from ralph_loop.shared.forward import GREETING
from ralph_loop.waiting import either

log = logging.getLogger(__name__)

IDLE_S = 60.0
_GREETING_LIMIT_S = 10.0
_GREETING_BYTES = 8 * 1024 * 1024  # an environment may be large


def hold_data_directory(paths: Paths) -> int:
    """The lock of the data directory, held until the descriptor is closed. Raises RalphError helperRunning."""
    paths.create()
    fd = os.open(paths.engine_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        text = os.read(fd, 64).decode("ascii", "replace").strip()
        os.close(fd)
        pid = int(text) if text.isdigit() else 0
        raise RalphError(
            "helperRunning",
            f"A helper already runs with the data directory {paths.data} (process {pid}). "
            "Use it, end it, or give another --data-dir.",
            pid=pid,
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


class Helper:
    """Serves connections to one engine until it is told to stop, or idles for `idle_s` seconds."""

    def __init__(self, engine: Engine, *, idle_s: float | None) -> None:
        self._engine = engine
        self._idle_s = idle_s
        self._token: str | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._stop = asyncio.Event()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        self._stop.set()
        self._changed.set()

    async def listen(self, *, tcp: bool, ready: Callable[[], None]) -> None:
        """Listens until stopped. The endpoint file tells forwarders where."""
        paths = self._engine.paths
        endpoint: dict[str, Any] = {"pid": os.getpid(), "version": __version__, "protocol": PROTOCOL_VERSION}
        if tcp:
            self._token = secrets.token_hex(32)
            server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_GREETING_BYTES)
            endpoint |= {"port": server.sockets[0].getsockname()[1], "token": self._token}
        else:
            path = socket_path(paths.data)
            path.unlink(missing_ok=True)
            mask = os.umask(0o177)
            try:
                server = await asyncio.start_unix_server(self._accept, path, limit=_GREETING_BYTES)
            finally:
                os.umask(mask)
            endpoint["socket"] = str(path)
        _write_private(paths.endpoint, json.dumps(endpoint))
        log.info("helper %s listens (process %d)", __version__, os.getpid())
        ready()
        try:
            await self._until_idle()
        finally:
            paths.endpoint.unlink(missing_ok=True)
            server.close()
            async with self._engine.finishing:
                pass  # what ends us is answered first
            for task in self._sessions:
                task.cancel()
            await asyncio.gather(*self._sessions, return_exceptions=True)
            if "socket" in endpoint:
                socket_path(paths.data).unlink(missing_ok=True)

    async def _until_idle(self) -> None:
        """Returns when stopped, or when there was neither a client nor a loop for the whole idle time."""
        while not self._stop.is_set():
            self._changed.clear()
            busy = bool(self._sessions or self._engine.active)
            if busy and not self._sessions:
                await either(self._changed, self._engine.quiet)
                continue
            timeout = None if busy or self._idle_s is None else self._idle_s
            try:
                await asyncio.wait_for(self._changed.wait(), timeout)
            except TimeoutError:
                log.info("nobody needs the helper any more; it ends")
                return

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        self._changed.set()
        try:
            client = await self._greet(reader, writer)
            if client is not None:
                await self.session(reader, writer, client)
        except (OSError, asyncio.CancelledError):
            pass  # the client is gone, or the helper ends
        finally:
            self._sessions.discard(task)
            self._changed.set()
            writer.close()

    async def session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, client: Client) -> None:
        pid, _ = peer.peer(writer.get_extra_info("socket"))
        below = pid is not None and await asyncio.to_thread(peer.is_below, pid, self._engine.guard_pids())
        await Session(self._engine, reader, writer, client, reads_only=below).serve()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Client | None:
        """The client's environment, or None after an answer that refuses."""
        _, uid = peer.peer(writer.get_extra_info("socket"))
        if uid is not None and uid != os.getuid():
            return None
        try:
            line = await asyncio.wait_for(reader.readuntil(b"\n"), _GREETING_LIMIT_S)
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        word, _, text = line.decode("utf-8", "surrogateescape").strip().partition(" ")
        if word != GREETING:
            theirs = word[:40]
            error = RalphError(
                "protocolMismatch",
                f"The helper speaks {GREETING}, this client {theirs!r}. Update the older of the two.",
                ours=PROTOCOL_VERSION,
                theirs=theirs.removeprefix("ralph-loop/"),
            )
            return await self._turn_away(writer, {"code": error.code, "message": error.message, "data": error.data})
        try:
            hello: dict[str, Any] = json.loads(text)
            given: dict[Any, Any] = hello.get("env") or {}
            env = {str(name): str(value) for name, value in given.items()}
            token = hello.get("token")
        except (ValueError, AttributeError):
            return await self._turn_away(writer, {"code": -32700, "message": "the greeting is not JSON", "data": {}})
        if self._token is not None and not secrets.compare_digest(str(token), self._token):
            return await self._turn_away(writer, {"code": -32600, "message": "the token is wrong", "data": {}})
        replace = hello.get("replace")
        if replace and (not self._engine.active or (replace == "only" and self._engine.rests)):
            log.info("making room for another helper (%s)", hello.get("version"))
            writer.write(b"replaced\n")
            await writer.drain()
            self.stop()
            return None
        if replace == "only":  # not a client's greeting: without an environment that loops could go on with
            writer.write(b"busy\n")
            await writer.drain()
            return None
        writer.write(b"ok\n")
        await writer.drain()
        return Client(env=clean_environment(env))

    async def _turn_away(self, writer: asyncio.StreamWriter, error: dict[str, Any]) -> None:
        writer.write(f"error {json.dumps(error)}\n".encode())
        with contextlib.suppress(OSError):
            await writer.drain()


def _write_private(path: Path, text: str) -> None:
    temporary = path.with_suffix(".tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
    temporary.replace(path)


def _set_level(level: str | None, engine: Engine) -> None:
    logging.getLogger().setLevel(level or str(engine.settings.get("logLevel")))


async def serve(
    paths: Paths, *, idle_s: float | None, tcp: bool, ready: Callable[[], None], level: str | None = None
) -> None:
    """The shared helper, until it is told to stop or idles. `level` of its log: None leaves it to the setting logLevel.
    Raises RalphError, OSError, sqlite3.Error at the start."""
    lock = hold_data_directory(paths)
    try:
        engine = await Engine.open(paths, shared=True)
        _set_level(level, engine)
        helper = Helper(engine, idle_s=idle_s)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, helper.stop)
        try:
            await helper.listen(tcp=tcp, ready=ready)
        finally:
            await engine.close()
    finally:
        os.close(lock)


async def embedded(
    paths: Paths,
    connection: socket.socket,
    env: dict[str, str],
    begin: Callable[[], None],
    *,
    level: str | None = None,
) -> None:
    """The engine for one client at the other end of a socket pair, in this process. `begin` is called when the engine
    stands. Raises what `serve` raises."""
    lock = hold_data_directory(paths)
    try:
        engine = await Engine.open(paths, shared=False)
        _set_level(level, engine)
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_unix_connection(sock=connection, limit=_GREETING_BYTES)
        helper = Helper(engine, idle_s=None)
        begin()
        serving = asyncio.create_task(
            helper.session(reader, writer, Client(env=clean_environment(env))), name="embedded session"
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, serving.cancel)
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await serving
        finally:
            await engine.close()
    finally:
        os.close(lock)
