"""The guard: one small process per loop. It starts the agents, holds the repository's lock and ends every descendant.

Run by `guard_client.py` as ``python -I -S``, with nothing but the standard library (10 ms to start, 10 MB). One end of
a socket pair leads to the helper: a line of JSON per message; ``spawn`` brings the agent's three standard streams along
as descriptors (SCM_RIGHTS).

- ``lock {request, path?, holder, runId, pid, waitMs}``: ``ready {request}``; or ``busy {request, holder}`` or
  ``failed {request, message}``, and exit.
- ``spawn {request, argv, cwd, env}``: ``forked {pid, started}`` while it still waits to be let go, so that the helper
  knows of it whatever it does to us; then ``spawned {request, pid}`` and later ``exit {pid, code}``; or
  ``failed {request, stage, errno, pid?}``.
- ``end {request, spare: [pid], graceMs}``: ends all but those agents and their descendants; ``ended {request, left}``
  with the pids that could not be ended.
- ``close {request, graceMs}``: the same for all, and exit.

``crashed {message}`` comes before it fails.

When the socket closes the helper is dead: everything is killed at once. The lock is held until nothing is left.

On Linux the guard is the subreaper of all it starts: what double-forks away comes back as its child. Elsewhere
descendants are found while they can be seen: before the kill, and by the process groups of the agents.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import signal
import socket
import sys
import time

from ralph_loop.agents.ending import KILL_PATIENCE, Ending
from ralph_loop.agents.proctable import (
    Table,
    kill_left,
    kill_offspring,
    look,
    proc_table,
    ps_table,
    send_all,
    send_group,
)
from ralph_loop.agents.repolock import RepoLock

TYPE_CHECKING = False  # typing takes 4 ms to import
if TYPE_CHECKING:
    from typing import Any

PR_SET_CHILD_SUBREAPER = 36


class Guard:
    """Serves one helper over `control` until the loop is closed or the helper dies."""

    def __init__(self, control: socket.socket, ps: bool) -> None:
        self.control = control
        self.adopts = not ps and sys.platform == "linux" and subreaper()
        self.table = ps_table if ps or sys.platform != "linux" else proc_table
        self.lock: RepoLock | None = None
        self.agents: set[int] = set()  # those running
        self.groups: set[int] = set()  # of agents, where they are needed to find orphans
        self.endings: list[Ending] = []
        self.buffer = bytearray()
        self.descriptors: list[int] = []
        self.childless = True
        self.open = True

    def run(self) -> None:
        wake, signalled = os.pipe()
        os.set_blocking(signalled, False)
        signal.set_wakeup_fd(signalled, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, wake_up)
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self.control, select.POLLIN)
        timeout: int | None = None
        while self.open:
            for fd, _ in poll.poll(timeout):
                if fd == wake:
                    os.read(wake, 4096)
                elif not self.receive():
                    poll.unregister(self.control)
                    self.endings = [Ending(None, set(), 0, last=True)]
            self.reap()
            timeout = self.advance()
        if self.lock:
            self.lock.release()

    def say(self, type: str, **content: object) -> None:
        try:
            self.control.sendall(json.dumps({"type": type, **content}).encode() + b"\n")
        except OSError:
            pass  # the helper is gone; the next read tells

    def receive(self) -> bool:
        """Obeys what has arrived; False when the helper is gone."""
        try:
            flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            data, ancillary, _, _ = self.control.recvmsg(65536, socket.CMSG_SPACE(64), flags)
        except ConnectionError:
            return False
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self.descriptors += memoryview(content[: len(content) // 4 * 4]).cast("i")
        self.buffer += data
        while (end := self.buffer.find(b"\n")) >= 0:
            message = json.loads(self.buffer[:end])
            del self.buffer[: end + 1]
            self.obey(message)
        return bool(data)

    def obey(self, message: dict[str, Any]) -> None:
        match message["do"]:
            case "lock":
                self.take_lock(message)
            case "spawn":
                self.spawn(message)
            case "end":
                spare = self.agents.intersection(message["spare"])
                self.endings.append(Ending(message["request"], spare, message["graceMs"] / 1000))
            case _:
                self.endings.append(Ending(message["request"], set(), message["graceMs"] / 1000, last=True))

    def take_lock(self, message: dict[str, Any]) -> None:
        if message["path"] is None:
            return self.say("ready", request=message["request"])
        lock = RepoLock(message["path"], message["holder"])
        until = time.monotonic() + message["waitMs"] / 1000
        self.open = False
        # the helper says something meanwhile only when it does not want to wait any longer
        while not self.buffer and not select.select([self.control], [], [], 0)[0]:
            try:
                lock.take()
                lock.tell(message["runId"], message["pid"])
            except BlockingIOError:
                holder, certain = lock.who()
                late = time.monotonic() - until
                if late >= 0 and (certain or late >= 0.2):
                    return self.say("busy", request=message["request"], holder=holder)
                time.sleep(0.02)
            except OSError as error:
                lock.release()
                text = f"{error.strerror}: {error.filename or lock.path}"
                return self.say("failed", request=message["request"], message=text)
            else:
                self.lock, self.open = lock, True
                kill_left(message["runId"], {})  # a guard of this loop that was killed cannot have done it
                return self.say("ready", request=message["request"])

    def spawn(self, message: dict[str, Any]) -> None:
        streams, self.descriptors = self.descriptors[:3], self.descriptors[3:]
        told, report = os.pipe()
        gate, go = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                os.close(go)
                become(message, streams, report, gate)
        except OSError as error:  # no process left
            os.close(told)
            os.close(go)
            return self.say("failed", request=message["request"], stage="fork", errno=error.errno)
        finally:
            for fd in (*streams, report, gate):
                os.close(fd)
        process = look(pid) if self.adopts else None
        self.say("forked", pid=pid, started=process.started if process else "")
        with open(go, "wb", buffering=0) as file:  # noqa: PTH123
            file.write(b"!")
        with open(told, "rb") as file:  # noqa: PTH123 - closes on exec
            failure = file.read()
        if failure:
            stage, _, number = failure.decode().partition(" ")
            return self.say("failed", request=message["request"], stage=stage, errno=int(number), pid=pid)
        self.agents.add(pid)
        if not self.adopts:
            self.groups.add(pid)
        for ending in self.endings:
            ending.spare.add(pid)  # ordered before this one started
        self.say("spawned", request=message["request"], pid=pid)

    def reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.childless = True
                return
            if pid == 0:
                self.childless = False
                return
            if pid in self.agents:
                self.agents.remove(pid)
                self.say("exit", pid=pid, code=os.waitstatus_to_exitcode(status))

    def advance(self) -> int | None:
        """Takes each ending a step further. Returns the milliseconds until the next step, None when there is none."""
        waits = [self.step(ending) for ending in list(self.endings) if ending in self.endings]
        return min(waits) if self.endings else None

    def step(self, ending: Ending) -> int:
        """Returns the milliseconds until the next step."""
        now = time.monotonic()
        targets: Table = {}
        if self.adopts and self.childless:  # then there are no descendants either
            done = True
        elif self.adopts and now >= ending.kill_at:
            for pid in self.agents - ending.spare:
                send_group(pid, signal.SIGKILL)  # a whole group at once; its leader is not reaped yet
            targets = kill_offspring(ending.spare)
            # pids may have started anew behind our back, so that only having no children is certain
            done = bool(ending.spare) and not targets and ending.found_none
            ending.found_none = not targets
        else:
            targets = self.end_listed(ending, now)
            done = not targets and not self.adopts
            if not targets:
                ending.kill_at = now  # a list may miss a fork storm: only having no children is certain
        if not done and now < ending.give_up_at:
            return 100 if now < ending.kill_at else 10 if now < ending.kill_at + KILL_PATIENCE else 500
        self.reap()  # what the table shows as dead may not have been waited for: its exit is told first
        # the last one ends what the others were to end, too
        for done in list(self.endings) if ending.last else [ending]:
            self.endings.remove(done)
            if done.request is not None:
                self.say("ended", request=done.request, left=sorted(targets))
        if ending.last and targets:
            self.endings = [Ending(None, set(), 0, last=True)]
        elif ending.last:
            self.open = False
        return 0

    def end_listed(self, ending: Ending, now: float) -> Table:
        """Signals what the process table shows; the way for SIGTERM, and for all signals where we adopt nobody."""
        table = self.table()
        targets = ending.targets(table, self.groups)
        if now >= ending.kill_at:
            # stopped first: they cannot fork any more, and keep their parents until all are found
            new = {pid: target for pid, target in targets.items() if pid not in ending.stopped}
            ending.stopped |= new.keys()
            send_all(new or targets, table, signal.SIGSTOP if new else signal.SIGKILL)
        elif not ending.told:
            ending.told = True
            send_all(targets, table, signal.SIGTERM)
        return targets


def become(message: dict[str, Any], streams: list[int], report: int, gate: int) -> None:
    """In the forked child: becomes the agent, in a session of its own, with nothing inherited, once the guard lets it
    go. Never returns."""
    stage = "setup"
    try:
        os.setsid()
        if not os.read(gate, 1):  # the guard is dead
            os._exit(127)
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if signal.getsignal(number) != signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        for target, fd in enumerate(streams):
            os.dup2(fd, target)
        stage = "cwd"
        os.chdir(raw(message["cwd"]))
        stage = "exec"
        argv = [raw(argument) for argument in message["argv"]]
        os.execve(argv[0], argv, {raw(name): raw(value) for name, value in message["env"].items()})
    except (OSError, ValueError) as error:
        os.write(report, f"{stage} {getattr(error, 'errno', errno.EINVAL)}".encode())
    finally:
        os._exit(127)


def raw(text: str) -> bytes:
    """The bytes of an argument or path: UTF-8, with what is not as Python's surrogates (PEP 383)."""
    return text.encode("utf-8", "surrogateescape")


def wake_up(_number: int, _frame: object) -> None:
    """A child changed: the wakeup descriptor ends the poll."""


def subreaper() -> bool:
    """Makes this process the one that orphaned descendants are given to; False when the system refuses."""
    return ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


def main(arguments: list[str]) -> None:
    """Runs the guard on an inherited socket: its descriptor, and ``--ps`` for a system without /proc and subreapers."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=int(arguments[0]))
    control.set_inheritable(False)
    guard = Guard(control, "--ps" in arguments)
    try:
        guard.run()
    except Exception as error:
        guard.say("crashed", message=repr(error))  # nobody sees a traceback of ours
        raise
