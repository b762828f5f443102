"""One client: a pygls server of its own over one stream. Validates, calls the engine, renders errors; no logic.

Requests of ours never go through pygls: its documented route leaves a request without an answer when its params do
not fit. Everything of LSP itself does, with messages structured at the top level only (a nested `jsonrpc` key in the
params is data).
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, cast

import attrs
from lsprotocol import types
from pygls.lsp.server import LanguageServer
from pygls.protocol import LanguageServerProtocol, default_converter, lsp_method

from ralph_loop import __version__
from ralph_loop.engine.client import Client
from ralph_loop.engine.engine import Engine
from ralph_loop.errors import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    NOT_INITIALIZED,
    PARSE_ERROR,
    InvalidParamsError,
    RalphError,
    not_available,
)
from ralph_loop.lsp import requests as requests  # registers the handlers
from ralph_loop.lsp.calls import Calls
from ralph_loop.lsp.editor import Folders, editor_settings
from ralph_loop.lsp.events import Events
from ralph_loop.lsp.following import Following
from ralph_loop.lsp.outbox import REQUEST_ROOM, Outbox
from ralph_loop.lsp.progress import RequestProgress
from ralph_loop.lsp.registry import HANDLERS, READING
from ralph_loop.protocol import PROTOCOL_VERSION, REQUESTS, Empty, View
from ralph_loop.shared.framing import BodyError, FrameError, read_message
from ralph_loop.wire import structure, unstructure

log = logging.getLogger(__name__)

COMMANDS = {method.replace("/", "."): method for method in REQUESTS}
_FLUSH_S = 5.0
_converter = functools.cache(default_converter)  # one for all sessions: it makes code for each class that it meets


class _Protocol(LanguageServerProtocol):
    """pygls' protocol with our outbox as its transport and our capabilities in `initialize`."""

    outbox: Outbox
    on_exit: Callable[[], None]

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        result = yield from super().lsp_initialize(params)
        result.capabilities.experimental = {"ralph": {"protocolVersion": PROTOCOL_VERSION}}
        result.capabilities.execute_command_provider = types.ExecuteCommandOptions(commands=sorted(COMMANDS))
        return result

    @lsp_method(types.EXIT)
    def lsp_exit(self, *args: Any) -> Generator[Any, Any, None]:
        """`exit` of one client closes its connection and nothing else."""
        self.on_exit()
        yield from ()

    def _send_data(self, data: Any) -> None:
        if data:
            self.outbox.post(json.loads(json.dumps(data, default=self._serialize_message)))


class Session:
    """A connection from its first byte to its last."""

    def __init__(
        self,
        engine: Engine,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: Client,
        *,
        reads_only: bool,
    ) -> None:
        self.engine = engine
        self.client = client
        self.reads_only = reads_only  # below one of our own agents
        self.watch_all = False
        self.in_order = asyncio.Lock()
        self.folders = Folders()
        self._reader = reader
        self._outbox = Outbox(writer)
        self._server = LanguageServer("ralph-loop", __version__, protocol_cls=_Protocol, converter_factory=_converter)
        self._protocol = cast(_Protocol, self._server.protocol)
        self._protocol.outbox = self._outbox
        self._protocol.on_exit = self._exit
        self._lsp_methods = frozenset(cast(dict[str, Any], cast(Any, self._protocol.fm).builtin_features))
        self._events = Events(self, self._outbox)
        self._following = Following(engine, self._outbox)
        self._calls = Calls(self.call, self._outbox, self._following.start_waiting)
        self._initialized = self._shut_down = self._exited = False

    # ------------------------------------------------------------------------------------------------------- serving
    async def serve(self) -> None:
        """Returns when the client is gone or said `exit`. Loops go on."""
        self.engine.bus.listeners.add(self._events)
        if not self.reads_only:
            self.engine.adopt(self.client)
        closed = asyncio.create_task(self._outbox.closed.wait(), name="client gone")
        reading = asyncio.create_task(self._read(), name="client reading")
        try:
            await asyncio.wait({closed, reading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.engine.bus.listeners.discard(self._events)
            closed.cancel()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            await self._calls.close()
            await self._following.close()
            await self._outbox.close(_FLUSH_S)
            self._server.shutdown()

    async def _read(self) -> None:
        while not self._exited:
            await self._outbox.room(REQUEST_ROOM)
            try:
                message = await read_message(self._reader)
            except BodyError as error:
                self._calls.refuse(None, PARSE_ERROR, str(error))
                continue
            except FrameError as error:
                self._calls.refuse(None, PARSE_ERROR, f"{error}; the connection is closed")
                return
            except OSError:
                return
            if message is None:
                return
            await self._receive(message)

    def _exit(self) -> None:
        self._exited = True

    async def _receive(self, message: Any) -> None:
        if not isinstance(message, dict):
            return self._calls.refuse(None, INVALID_REQUEST, "a message is a JSON object")
        message = cast(dict[str, Any], message)
        id_, method = message.get("id"), message.get("method")
        if method is None and ("result" in message or "error" in message):
            return None  # what we ask (for a progress bar) needs no answer
        known_id = isinstance(id_, str | int) and not isinstance(id_, bool)
        if "id" in message and not known_id:
            return self._calls.refuse(None, INVALID_REQUEST, "id must be a string or an integer")
        if message.get("jsonrpc") != "2.0" or not isinstance(method, str):
            if "id" in message:
                self._calls.refuse(id_, INVALID_REQUEST, 'a request has "jsonrpc": "2.0" and a method')
            return None
        if "id" in message:
            await self._request(id_, method, message)
        else:
            await self._notification(method, message)
        return None

    async def _notification(self, method: str, message: dict[str, Any]) -> None:
        params = message.get("params")
        if method == types.CANCEL_REQUEST:
            id_ = cast(dict[str, Any], params).get("id") if isinstance(params, dict) else None
            return self._calls.cancel(id_)
        if method == types.WINDOW_WORK_DONE_PROGRESS_CANCEL and isinstance(params, dict):
            return self._calls.cancel_progress(cast(dict[str, Any], params).get("token"))
        if method == types.WORKSPACE_DID_CHANGE_CONFIGURATION:
            self._configure(cast(dict[str, Any], params).get("settings") if isinstance(params, dict) else None)
        elif method == types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS:
            await self.folders.change(params)
        if method == types.EXIT or (self._initialized and method in self._lsp_methods):
            self._pygls({"params": {}, **message} if method == types.INITIALIZED else message)

    async def _request(self, id_: Any, method: str, message: dict[str, Any]) -> None:
        if self._shut_down:
            return self._calls.refuse(id_, INVALID_REQUEST, "the server was shut down; only exit may follow")
        if method == types.INITIALIZE:
            if self._initialized:
                return self._calls.refuse(id_, INVALID_REQUEST, "initialize was sent before")
            await self._initialize(message)
            return None
        if not self._initialized:
            return self._calls.refuse(id_, NOT_INITIALIZED, "the first request must be initialize")
        params: Any = message.get("params", {})
        if method == types.WORKSPACE_EXECUTE_COMMAND:
            command, params = _command(params)
            if command is None:
                return self._calls.refuse(id_, INVALID_PARAMS, params)
            method = command
        if method in REQUESTS:
            return self._calls.start(id_, method, params)
        if method in self._lsp_methods:
            self._shut_down = method == types.SHUTDOWN
            self._pygls(message)
            return None
        return self._calls.refuse(id_, METHOD_NOT_FOUND, f"there is no method {method}")

    async def _initialize(self, message: dict[str, Any]) -> None:
        params: Any = message.get("params")
        if isinstance(params, dict):
            given = cast(dict[str, Any], params)
            await self.folders.begin(given)
            info: Any = given.get("clientInfo")
            if isinstance(info, dict) and isinstance(cast(dict[str, Any], info).get("name"), str):
                self.client = attrs.evolve(self.client, name=cast(dict[str, Any], info)["name"])
            options: Any = given.get("initializationOptions")
            self._configure(options)
            self._events.begin(given, options)
            if (damaged := self.engine.database.set_aside) is not None:
                self._events.warn(
                    f"Ralph Loop's database was damaged. It was kept as {damaged}, and a new one was begun: earlier "
                    "loops and settings are not in it."
                )
        self._initialized = self._pygls(message)

    def _configure(self, settings: Any) -> None:
        """The editor's settings, a layer of rule 9. What does not fit is told and changes nothing."""
        try:
            found = editor_settings(settings)
        except InvalidParamsError as error:
            self._events.warn(f"Ralph Loop settings were not taken: {error.message}")
            return
        if found is not None:
            config, binaries = found
            self.client = attrs.evolve(self.client, config=config, binaries=binaries)

    def _pygls(self, message: dict[str, Any]) -> bool:
        """Hands a message of LSP itself to pygls. False when it did not fit."""
        id_ = message.get("id")
        try:
            self._protocol.handle_message(cast(Any, self._protocol.structure_message({"params": None, **message})))
        except Exception as error:
            log.info("a %s did not fit: %s", message.get("method", "response"), error)
            if id_ is not None and "method" in message:
                self._calls.refuse(id_, INVALID_PARAMS, f"the params of {message['method']} do not fit the protocol")
            return False
        return True

    async def call(self, method: str, params: Any) -> Any:
        """Validates and carries out one request of the contract; the result as JSON values."""
        handler = HANDLERS.get(method)
        if not isinstance(params, dict):
            raise InvalidParamsError("params", "expected an object")
        wanted, _ = REQUESTS[method]
        given: Any = structure(cast(Any, params), cast(Any, wanted))
        if handler is None:
            raise not_available(method)
        if self.reads_only and method not in READING:
            raise RalphError(
                "untrusted",
                f"{method} was refused: an agent of a loop opened this connection; it may read and nothing else.",
                path="",
                keys=[method],
            )
        result = await handler(self, given)
        return unstructure(result if result is not None else None) if not isinstance(result, Empty) else {}

    # ----------------------------------------------------------------------------------------------- used by handlers
    def sees(self, key: str, run_id: str) -> bool:
        """Whether a loop is in one of the client's folders, subscribed to, or all are watched."""
        return self.watch_all or self.folders.contain(key) or self._following.follows(run_id)

    def follows(self, run_id: str) -> bool:
        return self._following.follows(run_id)

    def follow_after_answer(self, run_id: str, after: int, view: View) -> None:
        self._following.add(run_id, after, view)

    def progress(self, token: Any, title: str) -> AbstractContextManager[RequestProgress]:
        """Work-done progress of the request that is being carried out, which its client can cancel by it."""
        return self._calls.progress(token, title)

    async def unfollow(self, run_id: str) -> None:
        await self._following.remove(run_id)


def _command(params: Any) -> tuple[str | None, Any]:
    """`workspace/executeCommand` as (method, params); (None, problem) when it is none of ours."""
    given = cast(dict[str, Any], params) if isinstance(params, dict) else {}
    command, arguments = given.get("command"), given.get("arguments")
    if not isinstance(command, str) or command not in COMMANDS:
        return None, f"command: {command!r} is not a command of this server"
    if arguments is None:
        arguments = []
    if not isinstance(arguments, list) or len(cast(list[Any], arguments)) > 1:
        return None, "arguments: expected a list with the params object as its one element"
    return COMMANDS[command], cast(list[Any], arguments)[0] if arguments else {}
