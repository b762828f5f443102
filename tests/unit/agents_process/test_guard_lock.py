"""The lock on a repository: one loop at a time, and whoever is refused learns who holds it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import select
import signal
import stat
import subprocess
import sys
import textwrap
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ralph_loop.agents.guard_client import Guard, GuardError, RepoBusyError
from ralph_loop.agents.repolock import RepoLock
from unit.agents_process.processes import alive, open_descriptors, python, until


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    path = tmp_path / os.fsdecode(b"r\xe9po 'x'\n")
    path.mkdir()
    return path


@pytest.fixture
def holder(tmp_path: Path) -> Path:
    return tmp_path / "holder.json"


def row_of(holder: Path) -> Any:
    return json.loads(holder.read_bytes()) if holder.exists() else None


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str) -> None:
    path.write_text(text)


def remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def is_free(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


async def test_a_second_loop_is_refused_and_told_who_holds_it(repository: Path, holder: Path) -> None:
    before = open_descriptors()
    guard = await Guard.start(lock=repository, holder=holder, run_id="first")
    row = row_of(holder)
    assert (row["runId"], row["pid"], row["guardPid"]) == ("first", os.getpid(), guard.pid)
    since = datetime.fromisoformat(row["since"])
    assert abs((datetime.now(UTC) - since).total_seconds()) < 60
    assert mode_of(holder) == 0o600
    for _ in range(2):
        with pytest.raises(RepoBusyError, match="first") as caught:
            await Guard.start(lock=repository, holder=holder, run_id="second")
        assert (caught.value.run_id, caught.value.pid, caught.value.since) == ("first", os.getpid(), row["since"])
    assert await guard.close() == []
    assert row_of(holder) is None
    assert is_free(repository)
    assert open_descriptors() == before
    assert sorted(holder.parent.iterdir()) == [repository]


async def test_waiting_for_it(repository: Path, holder: Path) -> None:
    first = await Guard.start(lock=repository, holder=holder, run_id="first")
    waiting = asyncio.create_task(Guard.start(lock=repository, holder=holder, run_id="second", wait_ms=30_000))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await first.close()
    second = await waiting
    assert row_of(holder)["runId"] == "second"
    await second.close()


async def test_giving_up_waiting(repository: Path, holder: Path) -> None:
    before = open_descriptors()
    first = await Guard.start(lock=repository, holder=holder, run_id="first")
    waiting = asyncio.create_task(Guard.start(lock=repository, holder=holder, run_id="second", wait_ms=30_000))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert row_of(holder)["runId"] == "first"
    await first.close()
    assert open_descriptors() == before


async def test_of_many_at_once_one_gets_it(repository: Path, holder: Path) -> None:
    results = await asyncio.gather(
        *(Guard.start(lock=repository, holder=holder, run_id=f"run{i}") for i in range(6)), return_exceptions=True
    )
    guards = [result for result in results if isinstance(result, Guard)]
    refusals = [result for result in results if isinstance(result, RepoBusyError)]
    assert (len(guards), len(refusals)) == (1, 5)
    winner = f"run{results.index(guards[0])}"
    assert {refusal.run_id for refusal in refusals} == {winner}
    await guards[0].close()


async def test_other_holders_and_stale_files(repository: Path, holder: Path) -> None:
    """A killed guard leaves its file behind; another program that locks the folder has none."""
    write(holder, json.dumps({"runId": "stale", "pid": 1, "guardPid": 1, "since": "2020-01-01T00:00:00Z"}))
    fd = os.open(repository, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    for _ in range(2):
        with pytest.raises(RepoBusyError, match=f"Another program.*{os.getpid()}") as caught:
            await Guard.start(lock=repository, holder=holder, run_id="second")
        assert (caught.value.run_id, caught.value.pid, caught.value.since) == (None, os.getpid(), None)
        remove(holder)
    os.close(fd)
    write(holder, "\xff not json")
    guard = await Guard.start(lock=repository, holder=holder, run_id="second")
    assert row_of(holder)["runId"] == "second"
    await guard.close()


async def test_what_cannot_be_locked(tmp_path: Path, holder: Path) -> None:
    before = open_descriptors()
    with pytest.raises(GuardError, match=r"locked. No such file or directory: .*gone"):
        await Guard.start(lock=tmp_path / "gone", holder=holder, run_id="run")
    with pytest.raises(GuardError, match="No such file or directory"):
        await Guard.start(lock=tmp_path, holder=tmp_path / "gone" / "holder", run_id="run")
    assert is_free(tmp_path)
    with pytest.raises(ValueError, match="holder"):
        await Guard.start(lock=tmp_path, holder=None, run_id="run")
    assert open_descriptors() == before


async def test_agents_do_not_keep_it(repository: Path, holder: Path) -> None:
    guard = await Guard.start(lock=repository, holder=holder, run_id="run")
    process = await guard.spawn(["/bin/sleep", "1000"], cwd=repository, env={}, stdin=None)
    os.kill(guard.pid, signal.SIGSTOP)  # it cannot end the agent
    os.kill(guard.pid, signal.SIGKILL)
    await until(lambda: is_free(repository))
    await guard.close()
    assert not alive(process.pid)


async def test_a_holder_file_that_is_not_ours_stays(repository: Path, holder: Path) -> None:
    guard = await Guard.start(lock=repository, holder=holder, run_id="run")
    write(holder, "[]")
    await guard.close()
    assert row_of(holder) == []


@pytest.mark.parametrize("number", [errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL])
def test_a_file_system_that_cannot_lock_directories(
    monkeypatch: pytest.MonkeyPatch, repository: Path, holder: Path, number: int
) -> None:
    real = fcntl.flock

    def flock(fd: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(number, os.strerror(number))
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    first, second = (RepoLock(str(repository), str(holder)) for _ in range(2))
    first.take()
    first.tell("first", 7)
    with pytest.raises(BlockingIOError):
        second.take()
    row, certain = second.who()
    assert (row["runId"], certain) == ("first", True)
    first.release()
    second.take()
    second.release()
    assert row_of(holder) is None


def test_an_error_of_locking_is_told(monkeypatch: pytest.MonkeyPatch, repository: Path, holder: Path) -> None:
    def flock(fd: int, operation: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"):
        RepoLock(str(repository), str(holder)).take()


HELPER = """
    import asyncio, sys
    from pathlib import Path
    from ralph_loop.agents.guard_client import Guard

    async def main():
        repository, holder, *argv = sys.argv[1:]
        guard = await Guard.start(lock=Path(repository), holder=Path(holder), run_id="run")
        for keep in (False, True):
            process = await guard.spawn(argv, cwd=Path(repository), env={}, stdin=b"x" * 500_000, keep=keep)
            print(guard.pid, (await process.stdout.read()).decode().strip(), flush=True)
        await process.wait()

    asyncio.run(main())
"""

# ignores signals, holds its pipes, daemonises
STUBBORN = """
    import os, signal, time
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    pids = [os.getpid()]
    for _ in range(3):
        reader, writer = os.pipe()
        if os.fork() == 0:
            os.setsid()
            pid = os.fork()
            if pid:
                os.write(writer, b"%d" % pid)
                os._exit(0)
            time.sleep(1000)
        pids.append(int(os.read(reader, 100)))
    os.write(1, b" ".join(b"%d" % pid for pid in pids))
    time.sleep(1000)
"""


async def test_a_killed_helper_leaves_nothing(repository: Path, holder: Path) -> None:
    argv = [sys.executable, "-c", textwrap.dedent(HELPER), repository, holder, *python(STUBBORN)]
    helper = subprocess.Popen(argv, stdout=subprocess.PIPE)  # noqa: ASYNC220 - takes milliseconds
    assert helper.stdout
    with helper.stdout:
        lines = [await asyncio.to_thread(helper.stdout.readline) for _ in range(2)]
    pids = {int(pid) for line in lines for pid in line.split()}
    assert len(pids) == 9
    assert all(map(alive, pids))
    assert not is_free(repository)
    ends = {pid: os.pidfd_open(pid) for pid in pids}
    helper.kill()
    helper.wait()
    poll = select.poll()
    for pidfd in ends.values():
        poll.register(pidfd, select.POLLIN)
    while ends:
        ready = {fd for fd, _ in await asyncio.to_thread(poll.poll, 20_000)}
        assert ready, f"still there: {list(ends)}"
        for pid in [pid for pid, pidfd in ends.items() if pidfd in ready]:
            poll.unregister(ends[pid])
            os.close(ends.pop(pid))
    assert is_free(repository)
    assert row_of(holder) is None
