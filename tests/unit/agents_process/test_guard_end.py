"""Ending: whatever an agent has started, and however it hides, nothing of it is left."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from ralph_loop.agents import guard_link
from ralph_loop.agents.agent_process import ExitStatus
from ralph_loop.agents.guard_client import AgentProcess, Guard, GuardLostError
from unit.agents_process.processes import alive, open_descriptors, python, until

SH = ["/bin/sh", "-c"]
ENV = {"PATH": os.environ["PATH"]}

# prints the pids of everything it starts, and starts one thing of each kind
FAMILY = """
    import os, signal, sys, time

    def born(kind):
        os.write(1, b"%s %d\\n" % (kind.encode(), os.getpid()))
        time.sleep(1000)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        born("child")
    if os.fork() == 0:  # a process group of its own
        os.setpgid(0, 0)
        born("group")
    if os.fork() == 0:  # a session of its own, as agents' shells have
        os.setsid()
        born("session")
    if os.fork() == 0:  # a daemon
        os.setsid()
        if os.fork() == 0:
            born("daemon")
        os._exit(0)
    if os.fork() == 0:  # one that is stopped
        os.setpgid(0, 0)
        os.write(1, b"stopped %d\\n" % os.getpid())
        os.kill(os.getpid(), signal.SIGSTOP)
    born("main")
"""


async def pids_of(process: AgentProcess, count: int) -> dict[str, int]:
    output = b""
    while output.count(b"\n") < count:
        chunk = await process.stdout.read()
        assert chunk
        output += chunk
    return {kind.decode(): int(pid) for kind, pid in (line.split() for line in output.splitlines())}


async def test_a_whole_family_that_ignores_sigterm(linux_guard: Guard, tmp_path: Path) -> None:
    process = await linux_guard.spawn(python(FAMILY), cwd=tmp_path, env={}, stdin=None)
    pids = await pids_of(process, 6)
    assert all(map(alive, pids.values()))
    assert await process.end(0.1) == []
    assert not any(map(alive, pids.values()))
    assert await process.wait() == ExitStatus(-signal.SIGKILL)
    assert await process.stdout.read() == b""


async def test_without_a_subreaper_all_is_found_but_orphaned_daemons(tmp_path: Path) -> None:
    guard = await Guard.start(lock=None, holder=None, run_id="run", ps=True)
    process = await guard.spawn(python(FAMILY), cwd=tmp_path, env={}, stdin=None)
    pids = await pids_of(process, 6)
    assert await process.end(0.1) == []
    assert not [kind for kind, pid in pids.items() if kind != "daemon" and alive(pid)]
    await guard.close(0)
    os.kill(pids["daemon"], signal.SIGKILL)


async def test_those_that_obey_get_their_grace(guard: Guard, tmp_path: Path) -> None:
    code = "trap 'echo tidied up; exit 9' TERM; echo ready; while :; do sleep 0.01; done"
    process = await guard.spawn([*SH, code], cwd=tmp_path, env=ENV, stdin=None)
    assert await process.stdout.read() == b"ready\n"
    start = time.monotonic()
    assert await guard.end(30) == []
    assert time.monotonic() - start < 10
    assert await process.stdout.read() == b"tidied up\n"
    assert await process.wait() == ExitStatus(9)


async def test_sigterm_comes_once(linux_guard: Guard, tmp_path: Path) -> None:
    """Some agents take a second one for an order to stop at once."""
    code = """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: os.write(1, b"T"))
        os.write(1, b"ready")
        while True:
            signal.pause()
    """
    process = await linux_guard.spawn(python(code), cwd=tmp_path, env={}, stdin=None)
    assert await process.stdout.read() == b"ready"
    assert await linux_guard.end(0.5) == []
    assert await process.stdout.read() == b"T"


async def test_what_holds_on_after_the_main_process_is_gone(guard: Guard, tmp_path: Path) -> None:
    process = await guard.spawn([*SH, "sleep 1000 & echo sleep $!"], cwd=tmp_path, env=ENV, stdin=None)
    pids = await pids_of(process, 1)
    await process.wait()
    assert alive(pids["sleep"])
    assert await process.end(0) == []
    assert not alive(pids["sleep"])


async def test_nothing_to_end(guard: Guard, tmp_path: Path) -> None:
    assert await guard.end(30) == []
    process = await guard.spawn(["/bin/true"], cwd=tmp_path, env={}, stdin=None)
    await process.wait()
    assert await process.end(30) == []


async def test_kept_processes_and_their_descendants_stay(guard: Guard, tmp_path: Path) -> None:
    family = [*SH, "sleep 1000 & echo child $!; wait"]
    server = await guard.spawn(family, cwd=tmp_path, env=ENV, stdin=None, keep=True)
    agent = await guard.spawn(family, cwd=tmp_path, env=ENV, stdin=None)
    other = await guard.spawn(family, cwd=tmp_path, env=ENV, stdin=None)
    children = [(await pids_of(process, 1))["child"] for process in (server, agent, other)]
    assert await agent.end(0) == []
    assert [alive(pid) for pid in children] == [True, False, True]
    assert await guard.end(0) == []
    assert [alive(pid) for pid in children] == [True, False, False]
    assert [process.running for process in (server, agent, other)] == [True, False, False]
    assert await server.end(0) == []
    assert not alive(children[0])


async def test_an_agent_started_while_others_are_ended_stays(linux_guard: Guard, tmp_path: Path) -> None:
    stubborn = await linux_guard.spawn([*SH, "trap '' TERM; echo; sleep 1000"], cwd=tmp_path, env=ENV, stdin=None)
    assert await stubborn.stdout.read() == b"\n"
    ending = asyncio.create_task(linux_guard.end(0.3))
    await asyncio.sleep(0)
    new = await linux_guard.spawn(["/bin/sleep", "1000"], cwd=tmp_path, env={}, stdin=None)
    assert await ending == []
    assert not stubborn.running
    assert alive(new.pid)


async def test_closing_overtakes_a_long_grace(linux_guard: Guard, tmp_path: Path) -> None:
    process = await linux_guard.spawn([*SH, "trap '' TERM; echo; sleep 1000"], cwd=tmp_path, env=ENV, stdin=None)
    await process.stdout.read()
    ending = asyncio.create_task(process.end(600))
    await asyncio.sleep(0)
    assert await linux_guard.close(0) == []
    assert await asyncio.wait_for(ending, 20) == []


async def test_a_quiet_fork_storm_that_ignores_sigterm(linux_guard: Guard, tmp_path: Path) -> None:
    """Each lives for some milliseconds only, so that a list of processes shows none of them. They hold the pipe."""
    code = """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            if os.fork():
                os._exit(0)
            time.sleep(0.005)
    """
    process = await linux_guard.spawn(python(code), cwd=tmp_path, env={}, stdin=None)
    await process.wait()
    assert await linux_guard.end(1) == []
    assert await asyncio.wait_for(process.stdout.read(), 1) == b""


@pytest.mark.parametrize(
    ("ps", "kind"), [(False, "group"), (False, "session"), (False, "moving"), (True, "group"), (True, "session")]
)
async def test_a_fork_storm(tmp_path: Path, ps: bool, kind: str) -> None:
    """Bounded at 300 processes; those of `moving` fork and exit, so that none lives for long."""
    code = """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        kind, path = sys.argv[1:]
        def count():
            fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(fd, b"%7d\\n" % os.getpid())
            return os.fstat(fd).st_size // 8
        while count() < 300:
            parent = os.fork()
            if kind == "session" and not parent:
                os.setsid()
            if kind == "moving" and parent:
                os._exit(0)
        time.sleep(60)
    """
    guard = await Guard.start(lock=None, holder=None, run_id="run", ps=ps)
    pids = tmp_path / "pids"
    process = await guard.spawn(python(code, kind, pids), cwd=tmp_path, env={}, stdin=None)
    await until(lambda: pids.exists() and pids.stat().st_size > 400)
    assert await process.end(0) == []
    started = [int(pid) for pid in pids.read_text().split()]
    assert len(started) >= 50
    assert not [pid for pid in started if alive(pid)]
    assert await guard.close(0) == []


async def test_a_thread_that_outlives_its_main_thread(linux_guard: Guard, tmp_path: Path) -> None:
    """Such a process looks like a zombie, and is none."""
    code = """
        import ctypes, os, threading, time
        def work():
            os.write(1, b"thread %d\\n" % os.getpid())
            time.sleep(1000)
        threading.Thread(target=work).start()
        ctypes.CDLL(None).pthread_exit(None)
    """
    process = await linux_guard.spawn(python(code), cwd=tmp_path, env={}, stdin=None)
    await pids_of(process, 1)
    await until(lambda: "Z" in Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split())
    assert await process.end(0) == []
    assert await process.wait() == ExitStatus(-signal.SIGKILL)


async def test_a_guard_that_is_killed_is_no_hang_and_leaves_no_agent(tmp_path: Path) -> None:
    guard = await Guard.start(lock=tmp_path, holder=tmp_path / "holder", run_id="run")
    process = await guard.spawn(python(FAMILY), cwd=tmp_path, env={}, stdin=None)
    pids = await pids_of(process, 6)
    ending = asyncio.create_task(guard.end(600))
    await asyncio.sleep(0)
    os.kill(guard.pid, signal.SIGKILL)
    with pytest.raises(GuardLostError, match="killed"):
        await process.wait()
    with pytest.raises(GuardLostError):
        await ending
    assert not guard.alive
    assert not process.running
    # a daemon that had neither its session nor its parents any more belongs to nobody now
    assert not [kind for kind, pid in pids.items() if kind != "daemon" and alive(pid)]
    os.kill(pids["daemon"], signal.SIGKILL)
    with pytest.raises(GuardLostError):
        await guard.spawn(["/bin/true"], cwd=tmp_path, env={}, stdin=None)
    assert await guard.close() == []
    await (await Guard.start(lock=tmp_path, holder=tmp_path / "holder", run_id="next")).close()


async def test_signals_do_not_end_the_guard(linux_guard: Guard, tmp_path: Path) -> None:
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        os.kill(linux_guard.pid, number)
    process = await linux_guard.spawn(["/bin/true"], cwd=tmp_path, env={}, stdin=None)
    assert await process.wait() == ExitStatus(0)


async def test_a_guard_that_is_stopped_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    guard = await Guard.start(lock=None, holder=None, run_id="run")
    process = await guard.spawn(["/bin/sleep", "1000"], cwd=tmp_path, env={}, stdin=None)
    monkeypatch.setattr(guard_link, "PATIENCE", 0.1)
    os.kill(guard.pid, signal.SIGSTOP)
    with pytest.raises(GuardLostError):
        await guard.spawn(["/bin/true"], cwd=tmp_path, env={}, stdin=b"x" * 1_000_000)
    assert not alive(process.pid)
    assert await guard.close() == []


FAKE = """
import json, os, socket, sys
control = socket.socket(fileno=int(sys.argv[2]))
os.set_inheritable(control.fileno(), False)
buffer = b""
while data := control.recv(65536):
    *lines, buffer = (buffer + data).split(b"\\n")
    for line in lines:
        message = json.loads(line)
        answer = {"request": message["request"]}
        if message["do"] == "lock":
            answer["type"] = "ready"
        elif message["do"] == "end":
            answer = {"type": "crashed", "message": "OSError(24)"}
        else:
            answer.update(type="ended", left=[4711])
        control.sendall(json.dumps(answer).encode() + b"\\n")
        if message["do"] == "end":
            sys.exit(1)
"""


async def test_what_cannot_be_ended_is_told_and_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in an uninterruptible wait, for one; played by a guard that says so."""
    before = open_descriptors()
    monkeypatch.setattr(guard_link, "BOOT", FAKE)
    guard = await Guard.start(lock=None, holder=None, run_id="run")
    assert await guard.close() == [4711]
    assert not guard.alive
    assert open_descriptors() == before
    await until(lambda: not Path(f"/proc/{guard.pid}").exists())


async def test_a_guard_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_link, "BOOT", FAKE)
    guard = await Guard.start(lock=None, holder=None, run_id="run")
    with pytest.raises(GuardLostError, match=r"failed: OSError\(24\); its agents were ended"):
        await guard.end()
    assert await guard.close() == []
