"""One iteration of a command: everything it prints arrives, everything it started ends."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import attrs
import pytest

from ralph_loop.agents.base import (
    AgentError,
    AgentNotFoundError,
    AgentSession,
    Command,
    CommandRefusedError,
    ErrorKind,
    Event,
    Final,
    Invocation,
    Outcome,
    Text,
    ToolEnd,
    ToolStart,
    Workbench,
)
from ralph_loop.agents.guard_client import Guard, GuardLostError
from ralph_loop.agents.pipes import CHUNK, LARGEST_PIPE
from ralph_loop.agents.plain import PlainParser
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.agents.supervise import Patience
from unit.agents_process.processes import Recorder, alive, open_descriptors, python, until

# short where nothing is to happen, long where something is
SHORT = Patience(quiet=0.3, drain=1.0, closed=0.3, final=0.3, grace=0.5, sink=0.5)
LONG = Patience(quiet=60, drain=60, closed=60, final=60, grace=60, sink=60)


class LineParser:
    """Of a structured agent: `text …`, `tool …`, `failed …`, `final`; never judges."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, stream: Literal["stdout", "stderr"], data: bytes) -> list[Event]:
        *lines, self.rest = (self.rest + data).split(b"\n")
        return [event for line in lines for event in self.event(line.decode())]

    def event(self, line: str) -> list[Event]:
        word, _, rest = line.partition(" ")
        match word:
            case "text":
                return [Text(rest)]
            case "tool":
                return [ToolStart("1", "Bash", f"Bash: {rest}")]
            case "failed":
                return [ToolEnd("1", "Bash", rest)]
            case "final":
                return [Final(ok=rest != "bad")]
            case _:
                return []

    def close(self, exit_code: int | None) -> list[Event]:
        return [Text(f"closed {exit_code}")]


@attrs.define
class Adapter(CommandAdapter):
    argv: Sequence[str] = ()
    patience: Patience = SHORT
    structured: bool = False
    error: AgentError | None = None
    id: str = "test"
    install_hint: str = "Install it."

    def command(self, call: Invocation) -> Command:
        if self.error:
            raise CommandRefusedError(self.error)
        return Command(self.argv, stdin=call.prompt.encode(), env={"ADDED": "1"})

    def parser(self) -> PlainParser | LineParser:
        return LineParser() if self.structured else PlainParser("The agent")


Start = Callable[..., AgentSession]
Invoke = Callable[..., Invocation]


@pytest.fixture
def session(bench: Workbench) -> Start:
    def make(argv: Sequence[str], **rest: object) -> AgentSession:
        return Adapter(argv=argv, **rest).session(bench)  # type: ignore[arg-type]

    return make


def sh(code: str) -> list[str]:
    return ["/bin/sh", "-c", code]


async def test_output_and_end_of_a_well_behaved_agent(session: Start, invocation: Invoke) -> None:
    before = open_descriptors()
    sink = Recorder()
    outcome = await session(sh("cat; echo; echo $ADDED; pwd; echo problem >&2")).run(invocation("the prompt"), sink)
    assert outcome == Outcome(exit_code=0, finished=True)
    workspace = invocation().workspace
    assert sink.bytes("stdout") == b"the prompt\n1\n%s\n" % os.fsencode(workspace)
    assert sink.bytes("stderr") == b"problem\n"
    assert sink.bytes("display") == b""
    assert sink.text.encode() == sink.bytes("stdout")
    assert sink.events[-1] == Final()
    assert open_descriptors() == before


async def test_an_exit_code_is_a_failure(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    outcome = await session(sh("echo 'out of luck' >&2; exit 3")).run(invocation(), sink)
    assert outcome == Outcome(exit_code=3, finished=False)
    assert sink.events == [AgentError(ErrorKind.EXIT, "The agent exited with code 3: out of luck")]


async def test_killed_by_a_signal(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    assert await session(sh("kill -SEGV $$")).run(invocation(), sink) == Outcome(-11, finished=False)
    assert sink.events == [AgentError(ErrorKind.EXIT, "The agent was killed by SIGSEGV.")]


async def test_both_streams_in_the_order_they_arrive(session: Start, invocation: Invoke) -> None:
    """The agent goes on only when its last piece was heard."""
    code = """
        import os, sys, time
        for number in range(6):
            os.write(1 + number % 2, b"%d" % number)
            while not os.path.exists(f"{sys.argv[1]}/{number}"):
                time.sleep(0.001)
    """
    call = invocation()
    sink = Recorder()
    running = asyncio.create_task(session(python(code, call.workspace), patience=LONG).run(call, sink))
    for number in range(6):
        await until(lambda number=number: len(sink.chunks) == number + 1)
        touch(call.workspace / str(number))
    await running
    names = ("stdout", "stderr")
    assert sink.chunks == [(names[number % 2], b"%d" % number) for number in range(6)]


def touch(path: Path) -> None:
    path.touch()


async def test_strange_bytes_arrive_as_they_are(session: Start, invocation: Invoke) -> None:
    data = bytes(range(256)) * 300 + b"\xf0\x9f\x98" + b"\0" * 1000 + b"no newline at the end"
    sink = Recorder()
    await session(["/bin/cat", "-"]).run(invocation(), sink)
    path = invocation().workspace / "bytes"
    write(path, data)
    sink = Recorder()
    outcome = await session(["/bin/cat", str(path)]).run(invocation(), sink)
    assert outcome.finished
    assert sink.bytes("stdout") == data
    assert sink.text == data.decode(errors="replace")


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


async def test_a_line_of_100_mb_in_bounded_memory(session: Start, invocation: Invoke) -> None:
    class Counter(Recorder):
        total = 0

        async def output(self, stream: str, data: bytes) -> None:
            self.total += len(data)

        async def event(self, event: Event) -> None:
            pass

    sink = Counter()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await session(sh("head -c 100000000 /dev/zero | tr '\\0' x")).run(invocation(), sink)
    assert sink.total == 100_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 10_000  # KB


async def test_a_slow_sink_slows_the_agent(session: Start, invocation: Invoke) -> None:
    call = invocation()
    code = """
        import os, sys
        fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(fd, b"%8d" % os.getpid())
        for _ in range(500):
            os.write(1, b"x" * 4096)
            os.write(fd, b".")
    """
    progress = call.workspace / "progress"
    sink = Recorder(hold=asyncio.Event())
    assert sink.hold
    running = asyncio.create_task(session(python(code, progress), patience=LONG).run(call, sink))
    await sink.heard.wait()
    await until(lambda: "pipe" in Path(f"/proc/{int(progress.read_bytes()[:8])}/wchan").read_text())
    assert size(progress) <= 8 + (CHUNK + LARGEST_PIPE) // 4096  # one chunk in our hands, one pipe full
    sink.hold.set()
    assert (await running).finished
    assert len(sink.bytes("stdout")) == 500 * 4096


def size(path: Path) -> int:
    return path.stat().st_size


async def test_a_child_that_holds_the_pipes(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    outcome = await session(sh("sleep 1000 & echo $!")).run(invocation(), sink)
    assert outcome == Outcome(0, finished=True)
    assert not alive(int(sink.bytes("stdout")))


async def test_output_after_the_main_process_ended(session: Start, invocation: Invoke) -> None:
    """Nothing of it is lost as long as it keeps coming."""
    code = "(for i in 1 2 3 4 5 6; do sleep 0.1; echo late $i; done) & echo done"
    sink = Recorder()
    outcome = await session(sh(code)).run(invocation(), sink)
    assert outcome.finished
    assert sink.bytes("stdout") == b"done\n" + b"".join(b"late %d\n" % i for i in range(1, 7))
    assert sink.events[-1] == Final()


async def test_output_that_never_ends_after_the_main_process_ended(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    start = time.monotonic()
    outcome = await session(sh("(while :; do echo more; sleep 0.05; done) & echo $! >&2")).run(invocation(), sink)
    assert time.monotonic() - start < 10
    assert outcome.finished
    assert not alive(int(sink.bytes("stderr")))
    assert sink.bytes("stdout").count(b"more\n") > 3


async def test_closed_pipes_and_a_process_that_lives_on(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    outcome = await session(sh("echo last words; exec >&- 2>&-; exec sleep 1000")).run(invocation(), sink)
    assert outcome == Outcome(-signal.SIGTERM, finished=False)
    assert sink.bytes("stdout") == b"last words\n"
    assert [event.kind for event in sink.events if isinstance(event, AgentError)] == [ErrorKind.EXIT]


async def test_closed_pipes_and_an_exit_a_little_later(session: Start, invocation: Invoke) -> None:
    outcome = await session(sh("exec >&- 2>&-; sleep 0.2; exit 4"), patience=LONG).run(invocation(), Recorder())
    assert outcome == Outcome(4, finished=False)


async def test_a_hang_after_the_final_event_counts_as_finished(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    code = "trap '' TERM; echo text hello; echo final; while :; do sleep 0.1; done"
    outcome = await session(sh(code), structured=True).run(invocation(), sink)
    assert outcome == Outcome(-signal.SIGKILL, finished=True)
    # we ended it: its exit code is no judgement
    assert sink.events == [Text("hello"), Final(), Text("closed None")]


async def test_noise_on_stderr_after_the_final_event_is_silence(session: Start, invocation: Invoke) -> None:
    agent = "echo text hello; echo final; while :; do echo tick >&2; sleep 0.05; done"
    async with asyncio.timeout(20):
        outcome = await session(sh(agent), structured=True).run(invocation(), sink := Recorder())
    assert outcome.finished
    assert sink.events == [Text("hello"), Final(), Text("closed None")]


async def test_output_after_the_final_event_is_waited_for(session: Start, invocation: Invoke) -> None:
    code = "echo final; for i in 1 2 3 4 5 6; do sleep 0.1; echo text $i; done; sleep 1000"
    sink = Recorder()
    outcome = await session(sh(code), structured=True).run(invocation(), sink)
    assert outcome.finished
    assert sink.text == "123456closed None"


async def test_a_final_event_that_says_no(session: Start, invocation: Invoke) -> None:
    outcome = await session(sh("echo final bad"), structured=True).run(invocation(), Recorder())
    assert outcome == Outcome(0, finished=False)


async def test_what_a_person_sees_of_a_structured_agent(session: Start, invocation: Invoke) -> None:
    code = "echo text I look; echo tool npm test; echo failed 2 tests failed; echo text and see; echo final; exit 7"
    sink = Recorder()
    await session(sh(code), structured=True).run(invocation(), sink)
    assert sink.bytes("display").decode() == ("I look\n→ Bash: npm test\n✗ Bash: 2 tests failed\nand seeclosed 7")
    assert sink.bytes("stdout").startswith(b"text I look\n")


async def test_cancelling_ends_everything_and_loses_no_output(session: Start, invocation: Invoke) -> None:
    code = """
        import os, signal, sys, time
        def stop(*_):
            os.write(1, b"x" * 200_000 + b"bye")
            os._exit(0)
        if os.fork() == 0:
            os.setsid()
            os.write(1, b"%d\\n" % os.getpid())
            time.sleep(1000)
        signal.signal(signal.SIGTERM, stop)
        os.write(1, b"%d\\n" % os.getpid())
        while True:
            signal.pause()
    """
    before = open_descriptors()
    sink = Recorder()
    running = asyncio.create_task(session(python(code), patience=LONG).run(invocation(), sink))
    await until(lambda: sink.bytes("stdout").count(b"\n") == 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    first, second, rest = sink.bytes("stdout").split(b"\n")
    assert not alive(int(first))
    assert not alive(int(second))
    assert rest == b"x" * 200_000 + b"bye"
    assert sink.text.encode() == sink.bytes("stdout")
    assert not [event for event in sink.events if not isinstance(event, Text)]
    assert open_descriptors() == before


async def test_cancelling_again_and_again(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    patience = attrs.evolve(LONG, grace=0.3)
    running = asyncio.create_task(
        session(sh("trap '' TERM; echo $$; while :; do sleep 0.1; done"), patience=patience).run(invocation(), sink)
    )
    await until(lambda: sink.chunks)
    while not running.done():
        running.cancel()
        await asyncio.sleep(0.01)
    assert running.cancelled()
    assert not alive(int(sink.bytes("stdout")))


async def test_cancelling_while_the_sink_is_stuck(session: Start, invocation: Invoke) -> None:
    """A full disk: what cannot be handed on must not keep an agent alive."""
    call = invocation()
    sink = Recorder(hold=asyncio.Event())
    running = asyncio.create_task(session(sh("echo $$ > pid; echo out; sleep 1000")).run(call, sink))
    await sink.heard.wait()
    await until(lambda: (call.workspace / "pid").exists())
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 30)
    assert not alive(int((call.workspace / "pid").read_text()))


async def test_a_chunk_in_the_sinks_hands_when_cancelled_is_not_lost(session: Start, invocation: Invoke) -> None:
    sink = Recorder(hold=asyncio.Event())
    assert sink.hold
    running = asyncio.create_task(
        session(sh("echo precious; sleep 1000"), patience=attrs.evolve(SHORT, sink=60)).run(invocation(), sink)
    )
    await sink.heard.wait()
    running.cancel()
    await asyncio.sleep(0)
    sink.hold.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sink.bytes("stdout") == b"precious\n"
    assert sink.text == "precious\n"


async def test_a_failing_sink_ends_the_agent(session: Start, invocation: Invoke) -> None:
    class Full(Recorder):
        async def output(self, stream: str, data: bytes) -> None:
            self.chunks.append((stream, data))
            raise OSError(28, "No space left on device")

    before = open_descriptors()
    sink = Full()
    with pytest.raises(OSError, match="No space"):
        await session(sh("echo $$; exec sleep 1000")).run(invocation(), sink)
    assert not alive(int(sink.bytes("stdout")))
    assert open_descriptors() == before


async def test_a_killed_guard_is_an_error_of_the_loop(session: Start, invocation: Invoke, linux_guard: Guard) -> None:
    sink = Recorder()
    running = asyncio.create_task(session(sh("echo $$; exec sleep 1000"), patience=LONG).run(invocation(), sink))
    await until(lambda: sink.chunks)
    os.kill(linux_guard.pid, signal.SIGKILL)
    with pytest.raises(GuardLostError):
        await running
    assert not alive(int(sink.bytes("stdout")))


async def test_a_command_that_is_not_there(session: Start, invocation: Invoke) -> None:
    with pytest.raises(AgentNotFoundError, match=r"/nowhere/agent was not found. Install it.") as caught:
        await session(["/nowhere/agent"]).run(invocation(), Recorder())
    assert caught.value.command == "/nowhere/agent"


async def test_a_command_that_cannot_be_started(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    assert await session(["/etc/passwd"]).run(invocation(), sink) == Outcome(None, finished=False)
    (error,) = sink.events
    assert isinstance(error, AgentError)
    assert error.fatal
    assert "executable" in error.message


async def test_a_refusal_of_the_adapter(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    error = AgentError(ErrorKind.USAGE, "no such option", fatal=True)
    assert await session([], error=error).run(invocation(), sink) == Outcome(None, finished=False)
    assert sink.events == [error]


async def test_a_prompt_that_is_not_read_while_output_flows(session: Start, invocation: Invoke) -> None:
    sink = Recorder()
    code = "head -c 3000000 /dev/zero; exit 0"
    outcome = await session(sh(code), patience=LONG).run(invocation("p" * 3_000_000), sink)
    assert outcome.finished
    assert len(sink.bytes("stdout")) == 3_000_000


async def test_iterations_one_after_the_other(session: Start, invocation: Invoke) -> None:
    agent = session(sh("cat"))
    for number in range(3):
        sink = Recorder()
        assert (await agent.run(invocation(f"prompt {number}"), sink)).finished
        assert sink.bytes("stdout") == f"prompt {number}".encode()
    await agent.close()
