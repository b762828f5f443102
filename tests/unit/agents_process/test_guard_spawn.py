"""What an agent is given when the guard starts it, and what comes back."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
from pathlib import Path

import pytest

from ralph_loop.agents import guard_link
from ralph_loop.agents.agent_process import ExitStatus
from ralph_loop.agents.guard_client import AgentProcess, Guard, GuardError, GuardLostError, SpawnError
from ralph_loop.agents.pipes import LARGEST_PIPE
from unit.agents_process.processes import alive, open_descriptors, python, until

TELL = """
    import json, os, signal, sys
    json.dump({
        "argv": [os.fsencode(a).hex() for a in sys.argv[1:]],
        "env": {k.decode("latin-1"): v.decode("latin-1") for k, v in os.environb.items()},
        "cwd": os.getcwdb().hex(),
        "session": os.getsid(0) == os.getpid() == os.getpgid(0),
        "fds": sorted(os.listdir("/proc/self/fd"))[:-1],
        "ignored": [int(s) for s in signal.valid_signals() if signal.getsignal(s) == signal.SIG_IGN],
        "status": [l for l in open("/proc/self/status") if l.startswith(("SigIgn", "SigBlk"))],
    }, sys.stdout)
"""


async def everything(process: AgentProcess) -> tuple[bytes, bytes]:
    """All output of a process that ends by itself."""
    output: dict[str, bytes] = {}

    async def read(name: str) -> None:
        chunks: list[bytes] = []
        while data := await getattr(process, name).read():
            chunks.append(data)
        output[name] = b"".join(chunks)

    await asyncio.gather(read("stdout"), read("stderr"))
    return output["stdout"], output["stderr"]


async def test_an_agent_gets_what_it_was_given_and_nothing_else(linux_guard: Guard, tmp_path: Path) -> None:
    cwd = tmp_path / os.fsdecode(b"caf\xe9 \n'x'")
    cwd.mkdir()
    arguments = ["", "$HOME `x` \"'", "ü😀", os.fsdecode(b"\xff\xfe"), "a\nb"]
    env = {"A": "1", "EMPTY": "", "ÜMLAUT": os.fsdecode(b"\xff=\n")}
    process = await linux_guard.spawn([*python(TELL), *arguments], cwd=cwd, env=env, stdin=None)
    told = json.loads((await everything(process))[0])
    await process.close()
    assert [bytes.fromhex(argument) for argument in told["argv"]] == [os.fsencode(argument) for argument in arguments]
    given = {name.encode("latin-1"): value.encode("latin-1") for name, value in told["env"].items()}
    given.pop(b"LC_CTYPE", None)  # Python sets it for itself in the C locale
    assert given == {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
    assert bytes.fromhex(told["cwd"]) == os.fsencode(cwd)
    assert told["session"]
    assert told["fds"] == ["0", "1", "2"]
    # Python itself ignores SIGPIPE (13) and SIGXFSZ (25)
    assert told["ignored"] == [13, 25]
    ours = sum(1 << number - 1 for number in signal.valid_signals())  # not glibc's own, which nobody can set
    assert [int(line.split()[1], 16) & ours for line in told["status"]] == [0, 1 << 12 | 1 << 24]


async def test_signals_that_the_guard_ignores_end_an_agent(linux_guard: Guard, tmp_path: Path) -> None:
    process = await linux_guard.spawn(
        ["/bin/sh", "-c", "kill -PIPE $$; echo survived"], cwd=tmp_path, env={}, stdin=None
    )
    assert await process.wait() == ExitStatus(-13)
    assert str(await process.wait()) == "was killed by SIGPIPE"
    assert await everything(process) == (b"", b"")


@pytest.mark.parametrize(("code", "status"), [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -9 $$", -9)])
async def test_how_it_ended(guard: Guard, tmp_path: Path, code: str, status: int) -> None:
    process = await guard.spawn(["/bin/sh", "-c", code], cwd=tmp_path, env={}, stdin=None)
    assert (await process.wait()).code == status
    assert process.status == ExitStatus(status)
    assert not process.running


async def test_stdin_of_any_size_while_output_flows(linux_guard: Guard, tmp_path: Path) -> None:
    prompt = os.urandom(3_000_000)
    process = await linux_guard.spawn(["/bin/cat"], cwd=tmp_path, env={}, stdin=prompt)
    output, _ = await everything(process)
    assert output == prompt
    assert await process.wait() == ExitStatus(0)


async def test_an_agent_that_does_not_read_its_prompt(linux_guard: Guard, tmp_path: Path) -> None:
    process = await linux_guard.spawn(["/bin/true"], cwd=tmp_path, env={}, stdin=b"x" * 1_000_000)
    assert await process.wait() == ExitStatus(0)
    await process.close()


async def test_no_prompt_is_the_end_of_input(linux_guard: Guard, tmp_path: Path) -> None:
    process = await linux_guard.spawn(["/bin/cat"], cwd=tmp_path, env={}, stdin=None)
    assert await everything(process) == (b"", b"")


async def test_a_pipe_to_talk_over(linux_guard: Guard, tmp_path: Path) -> None:
    process = await linux_guard.spawn(["/bin/cat"], cwd=tmp_path, env={}, stdin="pipe")
    assert process.stdin
    for line in (b"one\n", b"two\n"):
        await process.stdin.write(line)
        assert await process.stdout.read() == line
    process.stdin.close()
    assert await process.stdout.read() == b""
    assert await process.wait() == ExitStatus(0)
    with pytest.raises(BrokenPipeError):
        await process.stdin.write(b"three\n")
    await process.close()


async def test_asyncio_streams(linux_guard: Guard, tmp_path: Path) -> None:
    before = open_descriptors()
    process = await linux_guard.spawn(["/bin/cat"], cwd=tmp_path, env={}, stdin="pipe")
    reader, writer = await process.streams()
    writer.write(b"line\n")
    await writer.drain()
    assert await reader.readline() == b"line\n"
    await process.end(0)
    assert await reader.read() == b""
    await process.close()
    await until(lambda: open_descriptors() == before)


@pytest.mark.parametrize(
    ("program", "stage", "number", "words"),
    [
        ("/nowhere/agent", "exec", errno.ENOENT, "No such file"),
        ("/", "exec", errno.EACCES, "executable"),
        ("plain.txt", "exec", errno.EACCES, "executable"),
        ("no-shebang", "exec", errno.ENOEXEC, "#!"),
        ("bad-shebang", "exec", errno.ENOENT, "interpreter"),
        ("relative", "arguments", errno.EINVAL, "absolute"),
    ],
)
async def test_what_cannot_be_started_is_told(
    linux_guard: Guard, tmp_path: Path, program: str, stage: str, number: int, words: str
) -> None:
    for name, text, mode in (
        ("plain.txt", "x", 0o644),
        ("no-shebang", "x", 0o755),
        ("bad-shebang", "#!/nowhere/sh\n", 0o755),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    argv0 = str(tmp_path / program) if (tmp_path / program).is_file() else program
    with pytest.raises(SpawnError, match=words) as caught:
        await linux_guard.spawn([argv0], cwd=tmp_path, env={}, stdin=None)
    assert (caught.value.stage, caught.value.errno) == (stage, number)


async def test_arguments_that_no_process_can_take(linux_guard: Guard, tmp_path: Path) -> None:
    before = open_descriptors()
    for argv, env, number in (
        (["/bin/true", "x" * 200_000], {}, errno.E2BIG),
        (["/bin/true", "a\0b"], {}, errno.EINVAL),
        (["/bin/true", "\ud800"], {}, errno.EINVAL),
        (["/bin/true"], {"A": "\0"}, errno.EINVAL),
        (["/bin/true"], {"A=B": "1"}, errno.EINVAL),
        (["/bin/true"], {"": "1"}, errno.EINVAL),
        ([], {}, errno.EINVAL),
    ):
        with pytest.raises(SpawnError) as caught:
            await linux_guard.spawn(argv, cwd=tmp_path, env=env, stdin=b"x")
        assert caught.value.errno == number
    assert open_descriptors() == before


async def test_a_working_directory_that_is_gone(linux_guard: Guard, tmp_path: Path) -> None:
    with pytest.raises(SpawnError, match=r"gone cannot be entered.*removed") as caught:
        await linux_guard.spawn(["/bin/true"], cwd=tmp_path / "gone", env={}, stdin=None)
    assert caught.value.stage == "cwd"


async def test_an_agent_that_is_not_read_stops(linux_guard: Guard, tmp_path: Path) -> None:
    progress = tmp_path / "progress"
    code = """
        import os, sys
        fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for _ in range(1000):
            os.write(1, b"x" * 4096)
            os.write(fd, b".")
    """
    process = await linux_guard.spawn(python(code, progress), cwd=tmp_path, env={}, stdin=None)

    def blocked() -> bool:
        wait = Path(f"/proc/{process.pid}/wchan").read_text()
        return "pipe" in wait

    await until(blocked)
    assert progress.stat().st_size == LARGEST_PIPE / 4096
    first = await process.stdout.read()
    output, _ = await everything(process)
    assert progress.stat().st_size == 1000
    assert len(first) + len(output) == 4_096_000


async def test_what_an_agent_writes_without_waiting_fits_into_its_pipe(linux_guard: Guard, tmp_path: Path) -> None:
    """Gemini writes its echo of a long prompt so, and loses what does not fit."""
    code = """
        import os
        os.set_blocking(1, False)
        os.write(1, b"x" * 1_000_000)
    """
    process = await linux_guard.spawn(python(code), cwd=tmp_path, env={}, stdin=None)
    await process.wait()
    output, _ = await everything(process)
    assert len(output) == 1_000_000


async def test_many_at_once_and_no_descriptor_or_zombie_is_left(tmp_path: Path) -> None:
    before = open_descriptors()
    guard = await Guard.start(lock=None, holder=None, run_id="run")
    for _ in range(3):
        processes = await asyncio.gather(
            *(
                guard.spawn(["/bin/sh", "-c", f"echo {i}; exit {i}"], cwd=tmp_path, env={}, stdin=b"x")
                for i in range(10)
            )
        )
        assert [await everything(process) for process in processes] == [(b"%d\n" % i, b"") for i in range(10)]
        assert [(await process.wait()).code for process in processes] == list(range(10))
        for process in processes:
            await process.close()
    assert await guard.close() == []
    assert open_descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(guard.pid, os.WNOHANG)  # noqa: ASYNC222 - returns at once


async def test_closing_the_guard_closes_forgotten_pipes(tmp_path: Path) -> None:
    before = open_descriptors()
    guard = await Guard.start(lock=None, holder=None, run_id="run")
    process = await guard.spawn(["/bin/sleep", "1000"], cwd=tmp_path, env={}, stdin="pipe")
    waiting = asyncio.create_task(process.stdout.read())
    await asyncio.sleep(0)
    assert await guard.close(0) == []
    assert await waiting == b""
    assert not alive(process.pid)
    assert open_descriptors() == before


async def test_a_cancelled_start_leaves_nothing(linux_guard: Guard, tmp_path: Path) -> None:
    before = open_descriptors()
    pids = tmp_path / "pids"
    for rounds in range(8):
        spawning = asyncio.create_task(
            linux_guard.spawn(["/bin/sh", "-c", f"echo $$ >> {pids}; sleep 1000"], cwd=tmp_path, env={}, stdin=b"x")
        )
        for _ in range(rounds):  # at each of its steps
            await asyncio.sleep(0)
        spawning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await spawning
    assert await linux_guard.end(0) == []
    started = pids.read_text().split() if pids.exists() else []
    assert not [pid for pid in started if alive(int(pid))]
    assert open_descriptors() == before


async def test_after_closing_nothing_can_be_started(tmp_path: Path) -> None:
    guard = await Guard.start(lock=None, holder=None, run_id="run")
    assert guard.alive
    await guard.close()
    await guard.close()
    await guard.wait_closed()
    assert not guard.alive
    with pytest.raises(GuardLostError, match="closed"):
        await guard.spawn(["/bin/true"], cwd=tmp_path, env={}, stdin=None)
    with pytest.raises(GuardLostError):
        await guard.end()


async def test_a_guard_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    monkeypatch.setattr(guard_link, "BOOT", "raise SystemExit(1)")
    with pytest.raises(GuardError, match="ended at once"):
        await Guard.start(lock=None, holder=None, run_id="run")
    assert open_descriptors() == before


async def test_the_guard_is_apart_from_the_helper() -> None:
    guard = await Guard.start(lock=None, holder=None, run_id="run")
    assert os.getsid(guard.pid) == os.getpgid(guard.pid) == guard.pid
    assert os.readlink(f"/proc/{guard.pid}/cwd") == "/"  # noqa: PTH115
    descriptors = open_descriptors(guard.pid).values()
    assert {name.partition(":")[0] for name in descriptors} == {"/dev/null", "socket", "pipe"}
    await guard.close()
