"""`ralph-loop lsp`: finds or starts the user's shared helper and copies bytes both ways.

Standard library only, and little of it: an editor starts this for every window, and it should cost nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ralph_loop import __version__

PROTOCOL = 1
GREETING = f"ralph-loop/{PROTOCOL}"
START_LIMIT_S = 60.0  # a start may wait for what a dead helper left behind
_POLL_S = 0.03
_MAX_LINE = 1024 * 1024
# What the helper itself needs of an environment. Loops get their client's, never the helper's (ARCHITECTURE.md, 2).
_KEPT = ("HOME", "PATH", "LANG", "LANGUAGE", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "SYSTEMROOT", "PYTHONPATH")
_KEPT_PREFIXES = ("LC_", "XDG_", "RALPH_LOOP_")


class HelperError(Exception):
    """The helper cannot be used: a JSON-RPC error for the client."""

    def __init__(self, code: int, message: str, data: dict[str, Any]) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    @classmethod
    def from_json(cls, text: str) -> HelperError:
        error = json.loads(text)
        return cls(error["code"], error["message"], error.get("data", {}))

    def to_json(self) -> str:
        return json.dumps({"code": self.code, "message": self.message, "data": self.data})


def connect(data: Path, env: Mapping[str, str] | None = None, *, start: bool = True) -> socket.socket | None:
    """A greeted connection to the helper of a data directory, which is started when there is none.

    With `start` false: None when there is none. Raises HelperError, OSError.
    """
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        found = _try(data, env)
        if found is not None or not start:
            return found
        lock = start_lock(data)
        try:
            found = _try(data, env)
            if found is not None:
                return found
            _spawn(data)
        finally:
            os.close(lock)
        if time.monotonic() > deadline:
            raise HelperError(-32603, f"The helper did not answer. See {data / 'helper.log'}.", {"kind": "internal"})
        time.sleep(_POLL_S)


def start_lock(data: Path) -> int:
    """Held until the descriptor is closed, by at most one process: nobody starts a second helper beside us."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(data / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        from ralph_loop.paths import cannot_keep  # loads attrs, which takes longer than the rest of this

        raise cannot_keep(data, error) from error
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _try(data: Path, env: Mapping[str, str] | None) -> socket.socket | None:
    """A greeted connection, None when no helper answers."""
    endpoint = read_endpoint(data)
    if endpoint is None:
        return None
    try:
        connection = _open(endpoint)
    except OSError:
        return None
    # an older helper of the same protocol makes room when it has no loops
    older = version_key(str(endpoint.get("version", ""))) < version_key(__version__)
    hello = {
        "token": endpoint.get("token"),
        "env": dict(os.environ if env is None else env),
        "cwd": _cwd(),
        "version": __version__,
        "replace": older,
    }
    try:
        connection.sendall(f"{GREETING} {json.dumps(hello)}\n".encode("utf-8", "surrogateescape"))
        answer = _line(connection)
    except OSError:
        answer = ""
    if answer == "ok":
        return connection
    connection.close()
    if answer.startswith("error "):
        raise HelperError.from_json(answer[len("error ") :])
    return None  # it ended, or makes room for a newer one


def ask_for_room(data: Path) -> str:
    """Asks the helper of a data directory to end when none of its loops runs: `replaced`, `busy`, or an empty string
    when none answers."""
    endpoint = read_endpoint(data)
    if endpoint is None:
        return ""
    hello = {"token": endpoint.get("token"), "version": __version__, "replace": "only"}
    try:
        with _open(endpoint) as connection:
            connection.sendall(f"{GREETING} {json.dumps(hello)}\n".encode())
            return _line(connection)
    except OSError:
        return ""


def read_endpoint(data: Path) -> dict[str, Any] | None:
    """What the helper wrote of itself; None when there is none, or the file is not ours."""
    path = data / "helper.json"
    try:
        if path.stat().st_uid != os.getuid():
            return None
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None  # pyright: ignore[reportUnknownVariableType]


def _open(endpoint: Mapping[str, Any]) -> socket.socket:
    if "port" in endpoint:
        return socket.create_connection(("127.0.0.1", int(endpoint["port"])), timeout=None)
    path = str(endpoint["socket"])
    if os.stat(path).st_uid != os.getuid():  # noqa: PTH116 (pathlib is loaded, but this is a socket's name)
        raise PermissionError(f"{path} belongs to somebody else")
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection


def _line(connection: socket.socket) -> str:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) < _MAX_LINE:
        byte = connection.recv(1)  # not more: what follows belongs to the protocol
        if not byte:
            break
        received += byte
    return received.decode("utf-8", "replace").strip()


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:
        return "/"


def version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split(".")[:3])


def _spawn(data: Path) -> None:
    """Starts a helper that leaves our process tree, and waits until it says that it is ready or why not."""
    ready, write = os.pipe()
    environment = {
        name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    command = [
        sys.executable,
        "-m",
        "ralph_loop",
        "serve",
        "--data-dir",
        str(data),
        "--detach",
        "--ready-fd",
        str(write),
    ]
    try:
        subprocess.run(
            command,
            pass_fds=(write,),
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
    finally:
        os.close(write)
    with os.fdopen(ready) as file:
        answer = file.readline().strip()
    if answer.startswith("error "):
        error = HelperError.from_json(answer[len("error ") :])
        if error.code == 1012:
            time.sleep(_POLL_S)  # another one holds the data directory and is about to listen, or to end
            return
        raise error
    if answer != "ready":
        raise HelperError(-32603, f"The helper could not be started. See {data / 'helper.log'}.", {"kind": "internal"})


def run(data: Path) -> int:
    """The forwarder: returns its exit code when either side has ended."""
    try:
        connection = connect(data)
    except HelperError as error:
        return refuse(error)
    assert connection is not None
    return copy(connection)


def copy(connection: socket.socket, linger_s: float = 10.0) -> int:
    """Standard input to the socket and the socket to standard output, until the helper's side ends. When the client is
    gone and does not read any more, the process ends after `linger_s` seconds (0: it never does)."""
    back = threading.Thread(target=_to_stdout, args=(connection,), daemon=True)
    back.start()
    feed = threading.Thread(target=_from_stdin, args=(connection, linger_s), daemon=True)
    feed.start()
    back.join()
    return 0


def _from_stdin(connection: socket.socket, linger_s: float) -> None:
    try:
        while data := os.read(0, 65536):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the helper is gone; the other thread sees it too
    if linger_s:
        time.sleep(linger_s)
        os._exit(0)


def _to_stdout(connection: socket.socket) -> None:
    try:
        while data := connection.recv(65536):
            view = memoryview(data)
            while view:
                view = view[os.write(1, view) :]
    except OSError:
        pass  # the client is gone, or the helper is


def refuse(error: HelperError) -> int:
    """Answers the client's first request with the error: an editor shows that, and not what stands on stderr."""
    print(f"ralph-loop: {error.message}", file=sys.stderr)
    id_ = _first_request_id()
    if id_ is not None:
        answer = {"jsonrpc": "2.0", "id": id_, "error": json.loads(error.to_json())}
        body = json.dumps(answer).encode()
        os.write(1, b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return 1


def _first_request_id() -> Any:
    length = 0
    while line := sys.stdin.buffer.readline():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        if not line.strip() and length:
            try:
                return json.loads(sys.stdin.buffer.read(length)).get("id")
            except (ValueError, AttributeError):
                return None
    return None
