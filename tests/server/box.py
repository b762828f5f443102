"""One data directory with a home of its own, the helpers and clients in it, and the check that they leave nothing."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from client import PATIENCE_S, Client

AGENTS = Path(__file__).parent / "agents"
SCRIPT = Path(sys.executable).with_name("ralph-loop")
# as the console command, with warnings about what is not closed
PROGRAM = [sys.executable, "-W", "always::ResourceWarning", "-m", "ralph_loop"]
DONE = "<promise>COMPLETE</promise>"

Transport = Literal["embedded", "shared", "socket", "tcp"]


def until(holds: Callable[[], Any], what: str, timeout: float = PATIENCE_S) -> Any:
    """Waits for something that nobody tells about: a file, a process. Returns what `holds` returned."""
    deadline = time.monotonic() + timeout
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.01)
    return found


def shell(script: str) -> dict[str, Any]:
    """The configuration of a loop whose agent is a shell script; $1 is the number of the iteration."""
    return {"agent": "custom", "command": ["/bin/sh", "-c", script, "agent", "{iteration}"]}


def script(name: str, *arguments: str) -> dict[str, Any]:
    """The configuration of a loop whose agent is one of the programs in `agents/`."""
    return {"agent": "custom", "command": [sys.executable, "-I", "-S", str(AGENTS / name), *arguments]}


class Box:
    def __init__(self, transport: Transport = "shared") -> None:
        self.transport: Transport = transport
        self._began = int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))
        self.folder = Path(tempfile.mkdtemp(prefix="ralph-test-", dir="/tmp")).resolve()
        self.data = self.folder / "data"
        self.home = self.folder / "home"
        self.home.mkdir()
        self.room = self.folder  # where repositories are made
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "BOX": str(self.folder),  # by which the processes of this box are known
            "RALPH_LOOP_TEST_BOX": str(self.folder),
        }
        if "PYTHONPATH" in os.environ:
            self.env["PYTHONPATH"] = os.environ["PYTHONPATH"]
        self.expected_log: list[str] = []
        self._seen_log: set[str] = set()
        self.arguments: list[str] = []  # of `ralph-loop serve`
        self.clients: list[Client] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._of: dict[int, subprocess.Popen[bytes]] = {}  # by client
        self._main: Client | None = None
        self._errors = self.folder / "stderr"

    # ---------------------------------------------------------------------------------------------------- helpers
    def client(self, *folders: str | Path, transport: Transport | None = None, **params: Any) -> Client:
        """An initialized client; the first of a shared helper starts it."""
        client = self.connection(transport=transport)
        client.initialize(*(Path(folder).as_uri() for folder in folders), **params)
        return client

    def main_client(self) -> Client:
        """The same for all tests of this box; it hears of every loop."""
        if self._main is None:
            self._main = self.client(self.folder)
        return self._main

    def connection(self, *, transport: Transport | None = None, env: dict[str, str] | None = None) -> Client:
        match transport or self.transport:
            case "embedded":
                return self.spawn("lsp", "--embedded", env=env)
            case "shared":
                self.serve()
                return self.spawn("lsp", env=env)
            case _:
                self.serve()
                return self.direct(env=env)

    def spawn(self, *arguments: str, program: list[str] | None = None, env: dict[str, str] | None = None) -> Client:
        """A client over the pipes of a process."""
        process = self.start(*arguments, program=program, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None and process.stdout is not None
        client = Client(cast(BinaryIO, process.stdout), cast(BinaryIO, process.stdin), lambda: self._end(process))
        self.clients.append(client)
        self._of[id(client)] = process
        return client

    def start(
        self,
        *arguments: str,
        program: list[str] | None = None,
        env: dict[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
    ) -> subprocess.Popen[bytes]:
        with self._errors.open("ab") as errors:
            process = subprocess.Popen(
                [*(program or PROGRAM), *arguments, "--data-dir", str(self.data)],
                stdin=stdin,
                stdout=errors if stdout is None else stdout,
                stderr=errors,
                env=self.env if env is None else env,
                cwd=self.folder,
            )
        self._processes.append(process)
        return process

    def serve(self) -> None:
        """Starts the shared helper in the foreground, when there is none."""
        if self.endpoint is not None and self.alive(self.endpoint["pid"]):
            return
        tcp = ["--tcp"] if self.transport == "tcp" else []
        process = self.start("serve", *tcp, *self.arguments)
        until(lambda: self.endpoint is not None or process.poll() is not None, "the helper listens")

    def direct(self, *, env: dict[str, str] | None = None, **greeting: Any) -> Client:
        """A client on the helper's socket or port itself."""
        connection, answer = self.greet(env=env, **greeting)
        assert answer == "ok", answer
        return self.over(connection)

    def over(self, connection: socket.socket) -> Client:
        stream = connection.makefile("rwb", buffering=0)
        reader = connection.makefile("rb")

        def close() -> None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            stream.close()
            connection.close()

        client = Client(reader, cast(BinaryIO, stream), close)
        self.clients.append(client)
        return client

    def greet(
        self, *, word: str = "ralph-loop/1", line: bytes | None = None, env: dict[str, str] | None = None, **more: Any
    ) -> tuple[socket.socket, str]:
        """A connection whose greeting was sent, and the line that it was answered with."""
        endpoint = self.endpoint
        assert endpoint is not None
        if "port" in endpoint:
            connection = socket.create_connection(("127.0.0.1", endpoint["port"]))
        else:
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.connect(endpoint["socket"])
        connection.settimeout(PATIENCE_S)
        hello = {
            "token": endpoint.get("token"), "env": self.env if env is None else env, "cwd": "/", "version": "0.1.0"
        }  # fmt: skip
        connection.sendall(line if line is not None else f"{word} {json.dumps({**hello, **more})}\n".encode())
        answer = bytearray()
        while not answer.endswith(b"\n") and (byte := connection.recv(1)):
            answer += byte
        connection.settimeout(None)
        return connection, answer.decode().strip()

    @property
    def endpoint(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.data / "helper.json").read_text())
        except (FileNotFoundError, ValueError):
            return None

    @property
    def helper_pid(self) -> int:
        """Of whoever holds the data directory."""
        return int((self.data / "engine.lock").read_text())

    def alive(self, pid: int) -> bool:
        return _began(pid) is not None

    def signal_helper(self, number: signal.Signals) -> int:
        """Sends the signal, waits until the helper is gone and returns its pid."""
        pid = self.helper_pid
        os.kill(pid, number)
        until(lambda: not self.alive(pid), f"the helper {pid} is gone")
        for process in self._processes:
            process.poll()
        return pid

    def kill_helper(self) -> int:
        return self.signal_helper(signal.SIGKILL)

    def kill_client(self, client: Client) -> None:
        """kill -9 of the process that this client speaks to."""
        process = self._of[id(client)]
        process.kill()
        process.wait()

    def stored_bytes(self) -> str:
        """Everything in the data directory."""
        return "\n".join(p.read_bytes().decode("latin-1") for p in self.data.rglob("*") if p.is_file())

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"{process.args} did not end with its client") from None

    # -------------------------------------------------------------------------------------------------- workspaces
    def folder_of(self, name: str = "plain") -> Path:
        path = self.room / name
        path.mkdir(parents=True)
        return path

    def repo(self, name: str = "repo", *, commit: bool = True) -> Path:
        path = self.folder_of(name)
        self.git(path, "init", "-q", "-b", "main")
        if commit:
            (path / "README").write_text("hello\n")
            self.git(path, "add", ".")
            self.commit(path, "first")
        return path

    def commit(self, path: Path, message: str) -> None:
        self.git(path, "-c", "user.name=T", "-c", "user.email=t@example.invalid", "commit", "-qm", message)

    def git(self, path: Path, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(path), *arguments], capture_output=True, env=self.env, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode("utf-8", "surrogateescape")

    def gate(self, name: str = "gate") -> Gate:
        return Gate(self.folder / name)

    def gates(self) -> Gates:
        return Gates(self.folder)

    # --------------------------------------------------------------------------------------------------------- end
    def close(self) -> None:
        """Ends clients and helpers. Raises AssertionError when anything is left, or the helper complained."""
        problems: list[str] = []
        for client in self.clients:
            try:
                client.close()
                client.raise_problems()
            except AssertionError as error:
                problems.append(str(error))
        for process in self._processes:
            problems += self._stop(process)
        with contextlib.suppress(FileNotFoundError, ValueError):
            pid = self.helper_pid
            if self.alive(pid) and str(self.data) in _read(f"/proc/{pid}/cmdline"):
                self.signal_helper(signal.SIGTERM)
        problems += self._leftovers()
        problems += self._complaints()
        log = self.log()[-8000:]
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not problems, "\n".join([*problems, "", log])

    @contextlib.contextmanager
    def one_test(self, number: int) -> Generator[Box]:
        """The same checks for a test in a box of many: its own place for repositories, and no agent left."""
        self.room = self.folder / f"test{number}"
        self.room.mkdir()
        self.expected_log = []
        if self._main is not None:
            self._main.notifications.clear()
        yield self
        problems = self._complaints()
        for client in self.clients:
            if client is not self._main:
                client.close()
            problems += client.problems
        spare = {process.pid for process in self._processes}
        with contextlib.suppress(FileNotFoundError, ValueError):
            spare.add(self.helper_pid)  # which a command has started
        problems += self._leftovers(spare=spare)
        assert not problems, "\n".join(problems)

    def _stop(self, process: subprocess.Popen[bytes]) -> list[str]:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return [f"{process.args} did not end after SIGTERM"]
        finally:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
        return []

    def processes(self) -> dict[int, str]:
        """Everything that has to do with this box, {pid: command line}: agents by their environment or folder, guards
        by the lock they hold."""
        mine = {pid: _read(f"/proc/{pid}/cmdline").replace("\0", " ") for pid in _pids() if self._is_mine(pid)}
        # one that is ending has given up its memory before its files: neither a command line nor a program is left
        return {pid: command for pid, command in mine.items() if command or _link(f"/proc/{pid}/exe")}

    def guards(self) -> list[int]:
        return [pid for pid, command in self.processes().items() if "agents.guard" in command]

    def _is_mine(self, pid: int) -> bool:
        name = str(self.folder)
        began = _began(pid)
        if pid == os.getpid() or began is None or began < self._began:
            return False  # what is older than the box is none of it, and need not be looked at
        if name in _read(f"/proc/{pid}/environ") or name in _read(f"/proc/{pid}/cmdline"):
            return True
        links = [f"/proc/{pid}/cwd", *(f"/proc/{pid}/fd/{fd}" for fd in _names(f"/proc/{pid}/fd"))]
        return any(_link(link).startswith(name) for link in links)

    def _leftovers(self, spare: Collection[int] = ()) -> list[str]:
        deadline = time.monotonic() + 10
        while (left := {p: c for p, c in self.processes().items() if p not in spare}) and time.monotonic() < deadline:
            time.sleep(0.02)
        guards = {pid for pid, command in left.items() if "agents.guard" in command}
        for pid in sorted(left, key=lambda pid: pid in guards):  # a guard last: nobody else can end a fork storm
            if pid in guards:
                deadline = time.monotonic() + 5
                while self.alive(pid) and time.monotonic() < deadline:
                    time.sleep(0.02)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return [f"left running: {left}"] if left else []

    def log(self) -> str:
        """Of all helpers so far, and what they and the forwarders wrote to stderr."""
        files = sorted(self.data.glob("helper.log*")) if self.data.exists() else []
        texts = [file.read_text(errors="replace") for file in [*files, self._errors] if file.exists()]
        return "\n".join(texts)

    def _complaints(self) -> list[str]:
        """Lines that are new since the last call."""
        bad = re.compile(r"ERROR|CRITICAL|Traceback|Warning|never retrieved|was destroyed")
        lines = [line for line in self.log().splitlines() if bad.search(line) and line not in self._seen_log]
        self._seen_log.update(lines)
        return [f"the helper's log: {line}" for line in lines if not any(re.search(e, line) for e in self.expected_log)]


class Gate:
    """Where an agent waits until the test opens it: `read x < "$BOX/gate"` in a shell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    def open(self, text: str = "go") -> None:
        """Lets one agent through; waits for it to come."""
        fd = until(self._try, f"somebody waits at {self.path.name}")
        os.write(fd, f"{text}\n".encode())
        os.close(fd)

    def _try(self) -> int:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return 0


class Gates:
    """A gate for each iteration, so that one agent cannot go through that of another: `wait` in a shell script."""

    wait = 'read x < "$BOX/gate-$1"'

    def __init__(self, folder: Path) -> None:
        self._gates = {number: Gate(folder / f"gate-{number}") for number in range(1, 16)}

    def open(self, iteration: int, text: str = "go") -> None:
        self._gates[iteration].open(text)


def _pids() -> Iterator[int]:
    return (int(name) for name in _names("/proc") if name.isdigit())


def _began(pid: int) -> int | None:
    """When a process was started, in clock ticks since the system's start; None when it has ended."""
    state, *fields = _read(f"/proc/{pid}/stat").rpartition(")")[2].split() or "Z"
    return None if state == "Z" else int(fields[18])


def _names(folder: str) -> list[str]:
    try:
        return [path.name for path in Path(folder).iterdir()]
    except OSError:
        return []


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""
