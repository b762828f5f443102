"""The agents `custom` and `demo`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ralph_loop.agents.base import (
    AgentError,
    AgentNotFoundError,
    CommandRefusedError,
    ErrorKind,
    Final,
    Invocation,
    Outcome,
    Workbench,
)
from ralph_loop.agents.custom import CustomAdapter
from ralph_loop.agents.demo import DemoAdapter
from unit.agents_process.processes import Recorder, open_descriptors

Invoke = Callable[..., Invocation]

PROMPT = "Line one\n$HOME `x` $& {model} {prompt_file} \"'\\ ü😀"


def argv_of(call: Invocation) -> list[str]:
    return list(CustomAdapter().command(call).argv)


# ---- custom


def test_placeholders_are_replaced_once_wherever_they_stand(invocation: Invoke) -> None:
    command = ["/bin/echo", "-p={prompt}!", "{iteration}/{iteration}", "{model}", "{other} {{prompt}}", "{prompt_file}"]
    call = invocation(PROMPT, command, iteration=7)
    assert argv_of(call) == [
        "/bin/echo",
        f"-p={PROMPT}!",
        "7/7",
        "",
        "{other} {" + PROMPT + "}",
        str(call.prompt_file),
    ]
    assert CustomAdapter().command(call).stdin is None
    assert argv_of(invocation(PROMPT, ["/bin/echo", "{model}"], model="{prompt}"))[1] == "{prompt}"


@pytest.mark.parametrize(
    ("arguments", "by_stdin"), [([], True), (["{model}"], True), (["{prompt_file}"], False), (["x{prompt}"], False)]
)
def test_the_prompt_comes_on_stdin_when_no_argument_has_it(
    invocation: Invoke, arguments: list[str], by_stdin: bool
) -> None:
    command = CustomAdapter().command(invocation(PROMPT, ["/bin/echo", *arguments]))
    assert command.stdin == (PROMPT.encode() if by_stdin else None)


def test_further_arguments_follow(invocation: Invoke) -> None:
    call = invocation("x", ["/bin/echo", "{prompt}"], agent_args=["--more", "{prompt}"])
    assert argv_of(call) == ["/bin/echo", "x", "--more", "{prompt}"]


def test_a_name_is_looked_up_on_the_clients_path(invocation: Invoke, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "two" / "tool").chmod(0o755)
    path = f"relative::{tmp_path}/one:{tmp_path}/two"
    assert argv_of(invocation("", ["tool"], env={"PATH": path})) == [f"{tmp_path}/two/tool"]


@pytest.mark.parametrize("program", ["nowhere-to-be-found", "./tool", "sub/tool", "/nowhere/tool", ""])
def test_a_program_that_is_not_there(invocation: Invoke, tmp_path: Path, program: str) -> None:
    for path in (tmp_path / "tool", tmp_path / "sub" / "tool"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    with pytest.raises(AgentNotFoundError, match="absolute path"):
        argv_of(invocation("", [program]))


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("{room}", "is a folder and no program"),
        ("{room}/plain", "cannot be executed"),
        ("{room}/none", "was not found"),
        ("./plain", "is a relative path"),
        ("plain", "was not found"),
    ],
)
def test_why_a_program_cannot_be_one(invocation: Invoke, tmp_path: Path, program: str, why: str) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    with pytest.raises(AgentNotFoundError, match=why):
        argv_of(invocation("", [program.format(room=tmp_path)], env={"PATH": str(tmp_path)}))


@pytest.mark.parametrize(
    ("command", "prompt", "words"),
    [
        ([], "x", "needs a command"),
        (["/bin/echo", "{prompt}"], "ü" * 51_201, "too long.*102402 of 102400"),
        (["/bin/echo", "{prompt}{prompt}"], "x" * 60_000, "too long"),
        (["/bin/echo", "{prompt}"], "a\0b", "NUL"),
    ],
)
def test_what_cannot_be_called(invocation: Invoke, command: list[str], prompt: str, words: str) -> None:
    with pytest.raises(CommandRefusedError, match=words) as caught:
        argv_of(invocation(prompt, command))
    assert (caught.value.error.kind, caught.value.error.fatal) == (ErrorKind.USAGE, True)
    assert caught.value.error.hint


async def test_the_longest_prompt_that_fits(bench: Workbench, invocation: Invoke) -> None:
    sink = Recorder()
    call = invocation("x" * 102_400, ["printf", "%s", "{prompt}"])
    assert await CustomAdapter().session(bench).run(call, sink) == Outcome(0, finished=True)
    assert sink.bytes("stdout") == call.prompt.encode()


@pytest.mark.parametrize("arguments", [[], ["{prompt_file}"]])
async def test_a_prompt_of_any_size(bench: Workbench, invocation: Invoke, arguments: list[str]) -> None:
    sink = Recorder()
    call = invocation("päge\n" * 100_000, ["cat", *arguments])
    assert (await CustomAdapter().session(bench).run(call, sink)).finished
    assert sink.bytes("stdout") == call.prompt.encode()


async def test_a_refused_call_is_an_error_of_the_iteration(bench: Workbench, invocation: Invoke) -> None:
    sink = Recorder()
    outcome = await CustomAdapter().session(bench).run(invocation("x" * 200_000, ["cat", "{prompt}"]), sink)
    assert outcome == Outcome(None, finished=False)
    (error,) = sink.events
    assert isinstance(error, AgentError)
    assert "{prompt_file}" in (error.hint or "")


# ---- demo


class Demo:
    """Runs iterations of the demo agent in one folder."""

    def __init__(self, bench: Workbench, invocation: Invoke) -> None:
        self.session = DemoAdapter().session(bench)
        self.invocation = invocation
        self.outcome = Outcome(None, finished=False)
        self.sink = Recorder()

    async def run(self, prompt: str = "", **env: str) -> list[str]:
        """The lines that one iteration prints."""
        self.sink = Recorder()
        call = self.invocation(prompt, env={"RALPH_DEMO_DELAY_MS": "0", **env})
        self.outcome = await self.session.run(call, self.sink)
        return self.sink.text.splitlines()


@pytest.fixture
def demo(bench: Workbench, invocation: Invoke) -> Demo:
    return Demo(bench, invocation)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "ralph-demo").iterdir())}


@pytest.mark.parametrize("total", [2, 4, 6])
async def test_failing_tests_first_and_passing_ones_at_the_end(demo: Demo, tmp_path: Path, total: int) -> None:
    before = open_descriptors()
    states: list[dict[str, bytes]] = []
    for number in range(1, total + 1):
        lines = await demo.run(RALPH_DEMO_ITERATIONS=str(total))
        assert demo.outcome == Outcome(0, finished=True)
        assert demo.sink.events[-1] == Final()
        assert "[tool] bash python3 -m unittest discover -s ralph-demo" in lines
        assert any(line.startswith("[tool] edit ralph-demo/") for line in lines)
        states.append(files(tmp_path))
        if number < total:
            assert any("FAILED" in line for line in lines)
            assert not any("<promise>" in line for line in lines)
        else:
            assert "  OK" in lines
            assert lines[-1] == "<promise>COMPLETE</promise>"
    assert len({str(state) for state in states}) == total  # each iteration changed something
    assert {"roman.py", "test_roman.py"} <= set(states[-1]) <= {"roman.py", "test_roman.py", "NOTES.md"}
    lines = await demo.run(RALPH_DEMO_ITERATIONS=str(total))
    assert lines[-1] == "<promise>COMPLETE</promise>"
    assert files(tmp_path) == states[-1]
    assert open_descriptors() == before


async def test_it_is_the_same_every_time(demo: Demo) -> None:
    def remove() -> None:
        for path in (demo.invocation().workspace / "ralph-demo").iterdir():
            path.unlink()

    first = await demo.run()
    remove()
    assert await demo.run() == first


async def test_it_reads_the_promise_and_the_hints_in_the_prompt(demo: Demo) -> None:
    prompt = (
        "# Ralph Loop\n\nNever print <promise>WRONG</promise>.\n\n"
        "## Additional Context (added by user mid-loop)\n\nuse tabs\nplease\n\nand <promise>X</promise>\n\n---\n\n"
        "## When You Are Done\n\nPrint:\n\n    <promise>ALL DONE</promise>\n\nor else\n\n    <promise>STOP</promise>\n"
    )
    lines = [await demo.run(prompt, RALPH_DEMO_ITERATIONS="2") for _ in range(2)][-1]
    assert "Hint received: use tabs please" in lines
    assert "Hint received: and <promise>X</promise>" in lines
    assert lines[-1] == "<promise>ALL DONE</promise>"


async def test_the_engines_own_prompt(demo: Demo) -> None:
    from ralph_loop.engine.prompt import PromptInput, render

    prompt = render(
        PromptInput(
            task="do it",
            iteration=1,
            max_iterations=5,
            min_iterations=1,
            completion_promise="FERTIG",
            abort_promise="AUFGEBEN",
            context=["first hint", "second\n\n---\n\nhint"],
        )
    )
    lines = [await demo.run(prompt, RALPH_DEMO_ITERATIONS="2") for _ in range(2)][-1]
    assert [line for line in lines if line.startswith("Hint")] == [
        "Hint received: first hint",
        "Hint received: second",
        "Hint received: ---",
        "Hint received: hint",
    ]
    assert lines[-1] == "<promise>FERTIG</promise>"


@pytest.mark.parametrize("name", ["roman.py", "test_roman.py", "NOTES.md"])
async def test_it_never_touches_what_it_has_not_made(demo: Demo, tmp_path: Path, name: str) -> None:
    (tmp_path / "ralph-demo").mkdir()
    (tmp_path / "ralph-demo" / name).write_text("mine\n")
    lines = await demo.run()
    assert demo.outcome == Outcome(1, finished=False)
    assert f"ralph-demo/{name}" in lines[-1]
    assert (tmp_path / "ralph-demo" / name).read_text() == "mine\n"


@pytest.mark.parametrize("kind", ["file", "link"])
async def test_a_folder_that_is_none(demo: Demo, tmp_path: Path, kind: str) -> None:
    if kind == "file":
        (tmp_path / "ralph-demo").write_text("mine")
    else:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "ralph-demo").symlink_to("elsewhere")
    lines = await demo.run()
    assert demo.outcome == Outcome(1, finished=False)
    assert "ralph-demo" in lines[-1]
    assert kind == "file" or not os.listdir(tmp_path / "elsewhere")  # noqa: PTH208


async def test_output_comes_line_by_line(demo: Demo) -> None:
    await demo.run(RALPH_DEMO_DELAY_MS="20")
    assert len([data for stream, data in demo.sink.chunks if stream == "stdout"]) > 5


async def test_strange_settings_do_no_harm(demo: Demo) -> None:
    await demo.run(RALPH_DEMO_ITERATIONS="many")
    assert demo.outcome.finished
    await demo.run(RALPH_DEMO_ITERATIONS="-1")
    assert demo.outcome.finished


def test_nothing_needs_to_be_installed_for_it(invocation: Invoke) -> None:
    adapter = DemoAdapter()
    assert adapter.binary_name == ""
    assert adapter.command(invocation("prompt")).argv[0] == sys.executable
