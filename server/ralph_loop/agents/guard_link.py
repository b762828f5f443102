"""The line to a guard process: its start, orders and answers, and what to do when it is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ralph_loop.agents.agent_process import Ended, ExitStatus, GuardError, GuardLostError
from ralph_loop.agents.proctable import kill_left
from ralph_loop.waiting import outlast

PATIENCE = 20.0  # seconds on top of what was asked for; a guard answers in milliseconds unless somebody stopped it
BOOT = "import sys; sys.path.append(sys.argv[1]); from ralph_loop.agents.guard import main; main(sys.argv[2:])"


class GuardLink:
    """Started by making one. `running`: how each running agent will have ended, by pid."""

    def __init__(self, run_id: str, ps: bool) -> None:
        self._run_id = run_id
        self._control, self._process = _start(ps)
        self.pid = self._process.pid
        self.lost: GuardLostError | None = None  # why there is no guard any more
        self.left: list[int] = []  # pids that a lost guard has left behind
        self.running: dict[int, asyncio.Future[Ended]] = {}
        self.sessions: dict[int, int | str] = {}  # of agents that may have left something: {pid: when it started}
        self._sending = asyncio.Lock()
        self._requests = 0
        self._crash = ""
        self._answers: dict[int, asyncio.Future[dict[str, Any] | None]] = {}
        self._listening = asyncio.create_task(self._listen(), name=f"guard {self.pid}")

    async def ask(self, order: str, seconds: float, descriptors: Sequence[int] = (), **content: Any) -> dict[str, Any]:
        """The guard's answer, which takes about `seconds`. Raises GuardLostError."""
        loop = asyncio.get_running_loop()
        self._requests += 1
        request = self._requests
        answer = self._answers[request] = loop.create_future()
        line = json.dumps({"do": order, "request": request, **content}).encode() + b"\n"
        # somebody stopped it: without its answer nothing is certain
        late = loop.call_later(seconds + PATIENCE, self._process.kill)
        try:
            await outlast(asyncio.create_task(self._send(line, descriptors), name=f"{order} to guard {self.pid}"))
            message = None if self.lost else await answer
        finally:
            late.cancel()
            del self._answers[request]
        if message is None:
            raise self.lost or GuardLostError()
        return message

    async def wait_closed(self) -> None:
        """Returns when the guard process is gone, or left behind."""
        await asyncio.wait([self._listening])

    def forget_sessions_but(self, pids: set[int]) -> None:
        """Nothing is left of the others."""
        self.sessions = {pid: started for pid, started in self.sessions.items() if pid in pids}

    def leave(self) -> None:
        """The guard holds the lock and goes on killing what is left for as long as that takes: we cannot wait."""
        self._listening.cancel()
        self.lost = GuardLostError("The guard of this loop is closed.")
        self._control.close()
        threading.Thread(target=self._process.wait, name=f"reaper of guard {self.pid}", daemon=True).start()

    async def _send(self, line: bytes, descriptors: Sequence[int]) -> None:
        """Sends a message whole: after part of one the next could not be read. When the guard is gone, the answer
        tells."""
        loop = asyncio.get_running_loop()
        async with self._sending:
            if self.lost:
                return
            with contextlib.suppress(ConnectionError):
                sent = 0
                while descriptors and not sent:
                    try:
                        sent = socket.send_fds(self._control, [line], descriptors)
                    except BlockingIOError:
                        writable = asyncio.Event()
                        loop.add_writer(self._control, writable.set)
                        await writable.wait()
                        loop.remove_writer(self._control)
                await loop.sock_sendall(self._control, memoryview(line)[sent:])

    async def _listen(self) -> None:
        """Hears the guard until it is gone; then nothing may be left waiting for it, nor running."""
        loop = asyncio.get_running_loop()
        buffer = b""
        try:
            while data := await loop.sock_recv(self._control, 65536):
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._hear(json.loads(line))
        except ConnectionError:
            pass
        except (KeyError, TypeError, ValueError) as error:  # the program was updated under a helper that goes on
            self._crash = f"is of another version ({error!r})"
            self._process.kill()
        code = await asyncio.to_thread(self._process.wait)
        why = "is closed"
        if code != 0:
            why = f"(process {self.pid}) {self._crash or 'was killed'}; {await self._kill_orphans()}"
        self.lost = GuardLostError(f"The guard of this loop {why}.")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(None)
        for ended in self.running.values():
            ended.set_result(self.lost)
        self.running.clear()
        self._control.close()

    async def _kill_orphans(self) -> str:
        """Ends what a dead guard has left. Says how that went."""
        try:
            self.left = await asyncio.to_thread(kill_left, self._run_id, self.sessions)
        except OSError as error:  # no descriptor left to read /proc, for one
            return f"its agents could not be ended: {error}"
        return f"its agents could not be ended: {self.left}" if self.left else "its agents were ended"

    def _hear(self, message: dict[str, Any]) -> None:
        if message["type"] == "exit":
            self.running.pop(message["pid"]).set_result(ExitStatus(message["code"]))
            return
        if message["type"] == "crashed":
            self._crash = f"failed: {message['message']}"
            return
        if message["type"] == "forked":
            self.sessions[message["pid"]] = message["started"]
            return
        if message["type"] == "failed" and "pid" in message:
            self.sessions.pop(message["pid"], None)
        if message["type"] == "spawned":
            message["ended"] = self.running[message["pid"]] = asyncio.get_running_loop().create_future()
        answer = self._answers.get(message["request"])
        if answer and not answer.done():
            answer.set_result(message)


def _start(ps: bool) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Takes 1 to 2 ms, which is why it needs no thread."""
    root = Path(__file__).parents[2]
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", BOOT, root, str(theirs.fileno()), *(["--ps"] if ps else [])],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        except OSError as error:
            ours.close()
            raise GuardError(f"The guard process could not be started: {error}") from error
    ours.setblocking(False)
    return ours, process
