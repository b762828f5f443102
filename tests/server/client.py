"""A small client for the tests: speaks to the real helper over pipes or a socket, and checks all that it hears."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from contract import ContractError, check_error, check_notification, check_result

PATIENCE_S = 30.0  # only ever waited for in full by a test that fails
MAX_ANSWER_BYTES = 4 * 1024 * 1024

Params = Mapping[str, Any]
Notification = tuple[str, Any]


class RpcError(Exception):
    """The helper answered with an error."""

    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(f"{error['code']} {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: Mapping[str, Any] = error.get("data") or {}


class Gone(Exception):
    """The helper closed the connection."""


class Client:
    """Everything received is kept: answers by id, notifications in order. Reads in a thread of its own."""

    def __init__(self, reader: BinaryIO, writer: BinaryIO, close: Callable[[], None]) -> None:
        self._reader, self._writer, self._close = reader, writer, close
        self._ids = itertools.count(1)
        self._methods: dict[Any, str] = {}
        self._news = threading.Condition()
        self._answers: dict[Any, list[dict[str, Any]]] = {}
        self.notifications: list[Notification] = []
        self.asked: list[dict[str, Any]] = []  # requests of the helper's
        self.order: list[Any] = []  # of everything received: ids of answers, methods of notifications
        self.problems: list[str] = []
        self.ended = False
        self._may_read = threading.Event()
        self._may_read.set()
        self._thread = threading.Thread(target=self._listen, name="test client", daemon=True)
        self._thread.start()

    # ----------------------------------------------------------------------------------------------------- sending
    def write(self, data: bytes) -> None:
        """Bytes as they are."""
        self._writer.write(data)
        self._writer.flush()

    def write_body(self, body: bytes) -> None:
        self.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def write_message(self, message: Any) -> None:
        self.write_body(json.dumps(message).encode())

    def send(self, method: str, params: Any = None, *, id_: Any = None) -> Any:
        """A request whose answer is fetched later with :meth:`answer`. Returns its id."""
        id_ = next(self._ids) if id_ is None else id_
        self._methods[id_] = method
        message = {"jsonrpc": "2.0", "id": id_, "method": method}
        self.write_message(message if params is None else {**message, "params": params})
        return id_

    def notify(self, method: str, params: Any = None) -> None:
        message = {"jsonrpc": "2.0", "method": method}
        self.write_message(message if params is None else {**message, "params": params})

    def request(self, method: str, params: Any = None, *, timeout: float = PATIENCE_S) -> Any:
        """The result. Raises RpcError."""
        return self.answer(self.send(method, {} if params is None else params), timeout=timeout)

    def __call__(self, name: str, /, **params: Any) -> Any:
        """`client("start", workspace=…)` is the request `ralph/start`."""
        return self.request(f"ralph/{name}", params)

    def command(self, method: str, params: Params | None = None) -> Any:
        """The same request as an LSP command."""
        arguments = {} if params is None else {"arguments": [params]}
        id_ = self.send("workspace/executeCommand", {"command": method.replace("/", "."), **arguments})
        self._methods[id_] = method
        return self.answer(id_)

    def refused(self, name: str, /, **params: Any) -> RpcError:
        """The error that this request must be answered with."""
        try:
            result = self.request(f"ralph/{name}", params)
        except RpcError as error:
            return error
        raise AssertionError(f"ralph/{name} {params} was accepted: {result}")

    def initialize(self, *folders: str, **params: Any) -> Any:
        given: dict[str, Any] = {
            "processId": None,
            "rootUri": None,
            "capabilities": {},
            "workspaceFolders": [{"uri": folder, "name": "folder"} for folder in folders],
            **params,
        }
        result = self.request("initialize", given)
        self.notify("initialized", {})
        return result

    # --------------------------------------------------------------------------------------------------- receiving
    def answer(self, id_: Any, *, timeout: float = PATIENCE_S) -> Any:
        """The result of a request that was sent. Raises RpcError."""
        message = self.response(id_, timeout=timeout)
        if "error" in message:
            raise RpcError(message["error"])
        return message["result"]

    def response(self, id_: Any, *, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """The whole response with this id, null included; each is given out once."""
        self.until(lambda: bool(self._answers.get(id_)), timeout, f"the answer to {self._methods.get(id_)} ({id_!r})")
        with self._news:
            return self._answers[id_].pop(0)

    def until(self, holds: Callable[[], bool], timeout: float = PATIENCE_S, what: str = "it") -> None:
        """Waits until something received makes `holds` true. Raises Gone when the connection ended before."""
        deadline = time.monotonic() + timeout
        with self._news:
            while not holds():
                if self.ended:
                    raise Gone(f"the connection ended before {what} came")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"{what} did not come within {timeout} s; last: {self.notifications[-5:]}")
                self._news.wait(left)
        self.raise_problems()

    def heard(self, method: str, *, since: int = 0) -> list[Any]:
        """The params of all notifications of a method so far."""
        return [params for name, params in self.notifications[since:] if name == f"ralph/{method}"]

    def wait(
        self,
        method: str,
        matches: Callable[[Any], bool] = lambda _: True,
        *,
        since: int = 0,
        timeout: float = PATIENCE_S,
    ) -> Any:
        """The first notification of a method that matches, from the `since`th notification on."""
        found: list[Any] = []

        def look() -> bool:
            found[:] = [params for params in self.heard(method, since=since) if matches(params)]
            return bool(found)

        self.until(look, timeout, f"ralph/{method}")
        return found[0]

    def settled(self, run_id: str, *statuses: str, since: int = 0, timeout: float = PATIENCE_S) -> Any:
        """The first snapshot of a loop with one of the statuses (any that is over when none is given)."""
        wanted = statuses or ("completed", "cancelled", "error")
        return self.wait(
            "didChange", lambda s: s["runId"] == run_id and s["status"] in wanted, since=since, timeout=timeout
        )

    def printed(self, run_id: str, stream: str = "stdout") -> str:
        """What came in didOutput so far."""
        chunks = [c for params in self.heard("didOutput") if params["runId"] == run_id for c in params["chunks"]]
        return "".join(chunk["text"] for chunk in chunks if chunk["stream"] == stream)

    def wait_printed(self, run_id: str, text: str, stream: str = "stdout") -> None:
        self.until(lambda: text in self.printed(run_id, stream), what=f"{text!r} in the output")

    def stop_reading(self) -> None:
        """From the next message on."""
        self._may_read.clear()

    def read_on(self) -> None:
        self._may_read.set()

    def raise_problems(self) -> None:
        if self.problems:
            raise ContractError("\n".join(self.problems))

    def close_input(self) -> None:
        """Nothing more is sent; like a client that is gone but still listens."""
        with contextlib.suppress(OSError):
            self._writer.close()

    def close(self) -> None:
        self._may_read.set()
        self._close()
        self._thread.join(10)
        assert not self._thread.is_alive(), "the helper did not close the connection"
        with contextlib.suppress(OSError):
            self._writer.close()
        self._reader.close()

    def wait_ended(self, timeout: float = PATIENCE_S) -> None:
        self._thread.join(timeout)
        assert self.ended, "the helper did not close the connection"

    def _listen(self) -> None:
        try:
            while self._may_read.wait():
                body = self._read_body()
                if body is None:
                    break
                self._take(body)
        except (OSError, ValueError) as error:
            self.problems.append(f"the stream broke: {error!r}")
        finally:
            with self._news:
                self.ended = True
                self._news.notify_all()

    def _read_body(self) -> bytes | None:
        length = None
        while line := self._reader.readline():
            if not line.strip():
                break
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if length is None:
            return None
        return self._reader.read(length)

    def _take(self, body: bytes) -> None:
        message = json.loads(body, parse_constant=lambda name: self.problems.append(f"{name} is no JSON"))
        try:
            self._check(message, len(body))
        except AssertionError as error:
            self.problems.append(str(error))
        with self._news:
            self.order.append(message.get("method", message.get("id")))
            if "method" in message and "id" in message:
                self.asked.append(message)
            elif "method" in message:
                self.notifications.append((message["method"], message.get("params")))
            else:
                self._answers.setdefault(message["id"], []).append(message)
            self._news.notify_all()

    def _check(self, message: dict[str, Any], size: int) -> None:
        if message.get("jsonrpc") != "2.0":
            raise ContractError(f"no jsonrpc 2.0: {message}")
        if "method" in message:
            check_notification(message["method"], message.get("params"))
            return
        if "error" in message:
            check_error(message["error"])
        elif (method := self._methods.get(message["id"], "")).startswith("ralph/"):
            check_result(method, message["result"])
        if size > MAX_ANSWER_BYTES:
            raise ContractError(f"an answer of {size} bytes")
