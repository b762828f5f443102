"""`ralph-loop` as people run it: commands with pipes, and commands on a terminal of their own."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from box import PROGRAM, Box, until
from client import PATIENCE_S

from ralph_loop.terminal.words import cells


def agent(script: str) -> list[str]:
    """The arguments for an agent that is a shell script; $1 is the number of the iteration."""
    return ["--", "/bin/sh", "-c", script, "agent", "{iteration}"]


@attrs.frozen
class Done:
    code: int
    out: str
    err: str
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """One that runs; what it has printed so far is kept."""

    def __init__(self, process: subprocess.Popen[bytes], output: int, error: int | None) -> None:
        self.process = process
        self._out, self._err = bytearray(), bytearray()
        self._news = threading.Condition()
        readers = [(output, self._out)] + ([] if error is None else [(error, self._err)])
        self._threads = [threading.Thread(target=self._read, args=pair, daemon=True) for pair in readers]
        for thread in self._threads:
            thread.start()

    def _read(self, fd: int, into: bytearray) -> None:
        with contextlib.suppress(OSError):  # a terminal that nobody holds any more is EIO
            while data := os.read(fd, 65536):
                with self._news:
                    into += data
                    self._news.notify_all()
        os.close(fd)

    @property
    def out(self) -> str:
        with self._news:
            return self._out.decode(errors="replace")

    @property
    def err(self) -> str:
        with self._news:
            return self._err.decode(errors="replace")

    def printed(self, text: str, times: int = 1) -> None:
        """Waits until it has printed the text."""
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while self._out.decode(errors="replace").count(text) < times:
                left = deadline - time.monotonic()
                assert (left > 0 and self.process.poll() is None) or text.encode() in self._out, (
                    f"{text!r} was not printed; but:\n{self._out.decode(errors='replace')}\n"
                    f"{self._err.decode(errors='replace')}"
                )
                self._news.wait(min(left, 0.5))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def done(self) -> Done:
        code = self.process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join(PATIENCE_S)
        assert "Traceback" not in self.err and "Warning" not in self.err, self.err
        return Done(code, self.out, self.err, bytes(self._out))


class Terminal:
    """Runs commands in a box."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.env = {**box.env, "RALPH_LOOP_DATA_DIR": str(box.data), "RALPH_DEMO_DELAY_MS": "1"}
        self._running: list[Command] = []

    def __call__(self, *arguments: str, cwd: Path | None = None, given: bytes = b"", **env: str) -> Done:
        """Runs a command to its end."""
        done = subprocess.run(
            [*PROGRAM, *arguments], input=given, capture_output=True, cwd=cwd or self.box.room,
            env={**self.env, **env}, timeout=60, check=False,
        )  # fmt: skip
        err = done.stderr.decode(errors="replace")
        assert "Traceback" not in err and "Warning" not in err, err
        return Done(done.returncode, done.stdout.decode(errors="replace"), err, done.stdout)

    def start(
        self, *arguments: str, cwd: Path | None = None, reads: bool = True, before: Callable[[], None] | None = None
    ) -> Command:
        """A command whose standard output is a pipe; with `reads` false nobody reads it."""
        out, out_write = os.pipe()
        err, err_write = os.pipe()
        process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=subprocess.DEVNULL, stdout=out_write, stderr=err_write,
            cwd=cwd or self.box.room, env=self.env, preexec_fn=before,
        )  # fmt: skip
        os.close(out_write)
        os.close(err_write)
        if not reads:
            self._unread = os.fdopen(out, "rb")
            out, write = os.pipe()
            os.close(write)
        command = Command(process, out, err)
        self._running.append(command)
        return command

    def on_tty(
        self, *arguments: str, cwd: Path | None = None, columns: int = 80, env: Mapping[str, str] | None = None
    ) -> Tty:
        """A command on a terminal of its own."""
        main, side = os.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

        def own_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [*PROGRAM, *arguments], stdin=side, stdout=side, stderr=side, cwd=cwd or self.box.room,
            env={**self.env, "TERM": "xterm-256color", **(env or {})}, preexec_fn=own_terminal,
        )  # fmt: skip
        os.close(side)
        command = Tty(process, main)
        self._running.append(command)
        return command

    def status(self, cwd: Path, holds: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """What `status` tells of the loop in a folder, when there is a snapshot that is waited for."""
        client = self.box.main_client()

        def look() -> bool:
            found = client("status", workspace=str(cwd))
            return found is not None and holds(found)

        until(look, what)
        found = self("status", "--json", cwd=cwd).json
        assert holds(found), found
        return found

    def stop_reading(self) -> None:
        """The pipe of the command that was started with `reads` false breaks."""
        self._unread.close()

    def close(self) -> None:
        for command in self._running:
            if command.process.poll() is None:
                command.process.kill()
                command.process.wait()


class Tty(Command):
    def __init__(self, process: subprocess.Popen[bytes], main: int) -> None:
        self._main = os.dup(main)
        super().__init__(process, main, None)

    def press(self, keys: bytes) -> None:
        os.write(self._main, keys)

    def done(self) -> Done:
        done = super().done()
        os.close(self._main)
        return done


def screen_of(text: str, columns: int) -> list[str]:
    """The lines a terminal would show, for the few escapes that we write ourselves. Anything else fails."""
    lines = [""]
    for part in re.split(r"(\x1b\[[0-9;:]*m|\r\x1b\[K|\r?\n)", text):
        if part in ("\n", "\r\n"):
            lines.append("")
        elif part == "\r\x1b[K":
            lines[-1] = ""
        elif not part.startswith("\x1b["):
            assert "\x1b" not in part and "\r" not in part, repr(part)
            lines[-1] += part
            assert cells(lines[-1]) <= columns, f"wider than {columns}: {lines[-1]}"
    return lines


class Proxy:
    """Stands between the commands and the helper, and can cut every connection."""

    def __init__(self, box: Box) -> None:
        endpoint = box.endpoint
        assert endpoint is not None
        self._target: str = endpoint["socket"]
        self._path = box.folder / "proxy.sock"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._path))
        self._listener.listen()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._stop, self._stopped = os.pipe()
        self.accepted = 0
        (box.data / "helper.json").write_text(json.dumps({**endpoint, "socket": str(self._path)}))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            ends: Sequence[Any] = [end for pair in self._pairs for end in pair]
            ready, _, _ = select.select([self._listener, self._stop, *ends], [], [], 0.05)
            if self._stop in ready:
                return
            if self._listener in ready:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._pairs.append((near, far))
                self.accepted += 1
                continue
            for pair in list(self._pairs):
                for source, sink in (pair, pair[::-1]):
                    if source in ready and pair in self._pairs:
                        self._copy(pair, source, sink)

    def _copy(self, pair: tuple[Any, Any], source: Any, sink: Any) -> None:
        try:
            data = source.recv(65536)
            if data:
                sink.sendall(data)
                return
        except OSError:
            pass  # one end is gone: so is the other
        self._pairs.remove(pair)
        for end in pair:
            end.close()

    def cut(self) -> None:
        """Ends every connection."""
        for pair in list(self._pairs):
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        os.write(self._stopped, b"x")
        self._thread.join()
        for end in (self._listener, *(end for pair in self._pairs for end in pair)):
            end.close()
        os.close(self._stop)
        os.close(self._stopped)
