"""A client of the helper for the terminal: requests and notifications over one blocking connection.

Own code instead of pygls' client or asyncio streams: importing those costs up to 0.3 s, and a command that asks one
question should be done in a fraction of that.
"""

from __future__ import annotations

import collections
import itertools
import json
import select
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ralph_loop import __version__
from ralph_loop.shared import forward

_CHUNK = 256 * 1024


class ResponseError(Exception):
    """The helper refused a request."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error.get("message", "unknown error"))
        self.code: int = error.get("code", 0)
        self.data: Mapping[str, Any] = error.get("data") or {}


class Notification(NamedTuple):
    method: str
    params: Any


class Reply(NamedTuple):
    """The answer to a request sent with :meth:`Client.send`."""

    id: int
    result: Any
    error: ResponseError | None


class Client:
    """One connection. Not for several threads."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()
        self._ids = itertools.count(1)
        self._kept: collections.deque[Notification | Reply] = collections.deque()
        self.warnings: list[str] = []
        """What the helper has to say to a person who comes, such as that its database was damaged."""
        self.bells: frozenset[str] = frozenset()  # notifications that are kept once: what matters is that they came

    @classmethod
    def connect(cls, data: Path, *, start: bool = True, folder: Path | None = None) -> Client | None:
        """A connection to the helper of a data directory, which is started when there is none; with `start` false:
        None then. Raises forward.HelperError, OSError, ResponseError."""
        connection = forward.connect(data, start=start)
        if connection is None:
            return None
        client = cls(connection)
        client._introduce(folder)
        return client

    def reconnect(self, data: Path) -> None:
        """After the connection was lost: a new one. What was asked on the old one stays unanswered.

        Raises what :meth:`connect` raises.
        """
        self.close()
        connection = forward.connect(data)
        assert connection is not None
        self._connection = connection
        self._received.clear()
        self._kept.clear()
        self._introduce(None)

    def _introduce(self, folder: Path | None) -> None:
        try:
            self.request("initialize", _introduction(folder))
            self._set_warnings_apart()
            self._write({"jsonrpc": "2.0", "method": "initialized", "params": {}})
        except BaseException:
            self.close()
            raise

    def _set_warnings_apart(self) -> None:
        kept, self._kept = self._kept, collections.deque()
        for message in kept:
            if isinstance(message, Notification) and message.method == "window/showMessage":
                self.warnings.append(message.params["message"])
            else:
                self._kept.append(message)

    def request(self, method: str, params: Mapping[str, Any] | None = None) -> Any:
        """The result. What arrives meanwhile is kept for :meth:`next`. Raises ResponseError, ConnectionError."""
        id_ = self.send(method, params)
        while True:
            message = self._message(None, None)
            if isinstance(message, Reply) and message.id == id_:
                if message.error is not None:
                    raise message.error
                return message.result
            if message is not None and not self._rung(message):
                self._kept.append(message)

    def send(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Sends a request without waiting: :meth:`next` gives its reply. Raises ConnectionError."""
        id_ = next(self._ids)
        self._write({"jsonrpc": "2.0", "id": id_, "method": method, "params": dict(params or {})})
        return id_

    def next(self, timeout_s: float, wake: int | None = None) -> Notification | Reply | None:
        """What arrived first; None when the time is over or the descriptor `wake` is readable.

        Raises ConnectionError when the helper is gone.
        """
        if self._kept:
            return self._kept.popleft()
        return self._message(time.monotonic() + timeout_s, wake)

    def _rung(self, message: Notification | Reply) -> bool:
        if not isinstance(message, Notification) or message.method not in self.bells:
            return False
        return any(isinstance(kept, Notification) and kept.method == message.method for kept in self._kept)

    def close(self) -> None:
        self._connection.close()

    # ------------------------------------------------------------------------------------------------------ messages
    def _write(self, message: Mapping[str, Any]) -> None:
        # what is no UTF-8 was refused before; half a surrogate pair must not end in a traceback all the same
        body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
        try:
            self._connection.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        except BrokenPipeError:  # that would be taken for a closed standard output
            raise ConnectionError("The helper ended the connection.") from None

    def _message(self, deadline: float | None, wake: int | None) -> Notification | Reply | None:
        while True:
            body = self._take()
            if body is not None:
                message = _parsed(body)
                if message is not None:
                    return message
                continue
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            watched = [self._connection] if wake is None else [self._connection, wake]
            ready, _, _ = select.select(watched, [], [], left)
            if self._connection not in ready:
                return None
            data = self._connection.recv(_CHUNK)
            if not data:
                raise ConnectionError("The helper ended the connection.")
            self._received += data

    def _take(self) -> bytes | None:
        """The body of the next whole message that was received."""
        head = self._received.find(b"\r\n\r\n")
        if head < 0:
            return None
        length = 0
        for line in bytes(self._received[:head]).split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length":
                length = int(value)
        end = head + 4 + length
        if len(self._received) < end:
            return None
        body = bytes(self._received[head + 4 : end])
        del self._received[:end]
        return body


def _parsed(body: bytes) -> Notification | Reply | None:
    message: dict[str, Any] = json.loads(body)
    if "method" in message:
        # a request of the helper's (progress) is none of ours: we said that we show none
        return None if "id" in message else Notification(message["method"], message.get("params"))
    error = message.get("error")
    return Reply(message.get("id") or 0, message.get("result"), None if error is None else ResponseError(error))


def _introduction(folder: Path | None) -> dict[str, Any]:
    folders = [] if folder is None else [{"uri": folder.as_uri(), "name": folder.name}]
    return {
        "processId": None,
        "rootUri": None,
        "capabilities": {},
        "workspaceFolders": folders,
        "clientInfo": {"name": "the terminal", "version": __version__},
        "initializationOptions": {"progress": False},
    }
