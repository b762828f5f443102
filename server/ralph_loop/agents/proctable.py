"""The process table, and signals that hit the right process. Standard library only: the guard runs without the rest.

On Linux from /proc, see proc_pid_stat(5); elsewhere from ``ps``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Collection, Iterable, Mapping

MARK = "RALPH_RUN_ID"  # in the environment of all that a loop starts: its run id


class Process:
    """A row of the process table. `started` names one process for ever, together with the pid: ticks since the system
    started from /proc, a date from ps."""

    __slots__ = ("alive", "group", "parent", "pid", "session", "started")

    def __init__(self, pid: int, parent: int, group: int, session: int, started: int | str, alive: bool) -> None:
        self.pid, self.parent, self.group, self.session = pid, parent, group, session
        self.started, self.alive = started, alive


Table = dict[int, Process]


def look(pid: int) -> Process | None:
    """The process as /proc shows it, or None when there is none."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = os.read(fd, 4096).decode("latin-1")
        finally:
            os.close(fd)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    fields = data[data.rindex(")") + 2 :].split()  # the name before it may hold anything
    # a zombie whose other threads still run is alive
    alive = fields[0] not in "ZX" or int(fields[17]) > 1
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), alive)


def proc_table() -> Table:
    with os.scandir("/proc") as entries:
        pids = [int(entry.name) for entry in entries if entry.name.isdigit()]
    return {pid: process for pid in pids if (process := look(pid))}


def ps_table() -> Table:
    """The process table where there is no /proc; sessions are not told there."""
    import subprocess

    command = ["/bin/ps", "-axo", "pid=,ppid=,pgid=,stat=,lstart="]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"LC_ALL": "C"}) as ps:
        lines = ps.communicate()[0].decode("latin-1").splitlines()
    table: Table = {}
    for line in lines:
        pid, parent, group, state, started = line.split(None, 4)
        if int(pid) != ps.pid:
            table[int(pid)] = Process(int(pid), int(parent), int(group), 0, started, not state.startswith("Z"))
    return table


def offspring(processes: Table, roots: Iterable[int], spare: Iterable[int] = ()) -> Table:
    """The living among the roots and their descendants, without the spared ones and what descends from them."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: Table = {}
    todo = [pid for pid in roots if pid in processes]
    seen = set(spare)
    while todo:
        pid = todo.pop()
        if pid in seen:
            continue
        seen.add(pid)
        todo += children.get(pid, [])
        if processes[pid].alive:
            found[pid] = processes[pid]
    return found


def send(process: Process, number: int) -> None:
    """Signals exactly this process: when its pid was given to another one meanwhile, nothing happens."""
    handle = None
    try:
        if isinstance(process.started, int):
            handle = _open(process.pid)
            now = look(process.pid)
            if now is None or now.started != process.started:
                return
        if handle is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        pass  # gone; or not ours to signal (setuid), then it stays in the table and is reported
    finally:
        if handle is not None:
            os.close(handle)


def _open(pid: int) -> int | None:
    """A descriptor that stands for the process itself, if the kernel (5.3) and the container give one."""
    try:
        return os.pidfd_open(pid) if sys.platform == "linux" else None
    except ProcessLookupError:
        raise
    except OSError:
        return None


def send_group(group: int, number: int) -> None:
    """Signals a process group. The caller makes sure that the number is still that group's."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # as in send()


def send_all(targets: Table, processes: Table, number: int) -> None:
    """Signals the targets; a whole process group at once where that is safe, so that nothing forks between two kills.

    Safe is a group that a child of ours belongs to (the caller does not reap meanwhile, so the group's number cannot
    be given to another one) and that only targets belong to.
    """
    me = os.getpid()
    stay = {other.group for other in processes.values() if other.alive and other.pid not in targets}
    groups = {target.group for target in targets.values() if target.parent == me} - stay
    for group in groups:
        send_group(group, number)
    for target in targets.values():
        if target.group not in groups:
            send(target, number)


def kill_offspring(spare: Collection[int]) -> Table:
    """Kills our descendants, but not the spared ones and what descends from them. Returns those that still live; call
    it until there is none. Linux only.

    It kills while it reads /proc, which lists pids in their order: what is forked meanwhile has a higher pid and comes
    up later, and a killed process cannot fork. So it catches up with any fork storm, where a list made first and killed
    afterwards never does.
    """
    me = os.getpid()
    ours: Table = {}
    with os.scandir("/proc") as entries:
        for entry in entries:
            process = look(int(entry.name)) if entry.name.isdigit() else None
            if process is None or process.pid in spare:
                continue
            if process.parent != me:
                # looked at again, last: the pid of a parent that we killed may be another process's by now
                parent, now = ours.get(process.parent), None
                if parent is None or (now := look(parent.pid)) is None or now.started != parent.started:
                    continue
            ours[process.pid] = process
            if process.alive:
                send(process, signal.SIGKILL)
    return {pid: process for pid, process in ours.items() if process.alive}


def kill_left(run_id: str, sessions: Mapping[int, int | str], patience: float = 5.0) -> list[int]:
    """Kills what a dead guard has left: the sessions that these leaders (pid: started) have made, on Linux also what
    carries the loop's mark, and what descends from them. Again and again until two looks found none, for `patience`
    seconds at most. Returns the pids that are left.

    What left an agent's session, lost its parent *and* threw its environment away by then cannot be told any more.
    """
    known: dict[int, int | str] = {}
    until = time.monotonic() + patience
    quiet = 0
    while quiet < 2:
        left = _kill_listed(sessions, known)
        if sys.platform == "linux":
            left += _kill_marked(run_id)
        if left and time.monotonic() >= until:
            return sorted(left)
        quiet = 0 if left else quiet + 1
        if left:
            time.sleep(0.01)
    return []


def _kill_listed(sessions: Mapping[int, int | str], known: dict[int, int | str]) -> list[int]:
    """All at once, while those that left their session still have their parents."""
    processes = proc_table() if sys.platform == "linux" else ps_table()
    ours = {pid for pid, when in sessions.items() if pid not in processes or when in ("", processes[pid].started)}
    roots = [
        process.pid
        for process in processes.values()
        if (process.session or process.group) in ours or known.get(process.pid) == process.started
    ]
    targets = offspring(processes, roots, [os.getpid()])
    known.update((target.pid, target.started) for target in targets.values())
    for target in targets.values():
        send(target, signal.SIGKILL)
    return list(targets)


def _kill_marked(run_id: str) -> list[int]:
    """One look through /proc, killing on the way as `kill_offspring` does."""
    mark = f"{MARK}={run_id}".encode()
    found: list[int] = []
    with os.scandir("/proc") as entries:
        for entry in entries:
            if not entry.name.isdigit() or mark not in _environment(entry.name):
                continue
            process = look(int(entry.name))
            if process is not None and process.alive and process.pid != os.getpid():
                found.append(process.pid)
                send(process, signal.SIGKILL)
    return found


def _environment(pid: str) -> list[bytes]:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: PTH123 - pathlib would double the guard's time to start
            return file.read().split(b"\0")
    except OSError:  # gone; or not ours, then it is none of the loop's either
        return []
