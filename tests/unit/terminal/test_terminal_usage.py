"""Command lines: what they come to on the wire, and how wrong ones are told. No helper is needed for either."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ralph_loop.terminal import commands, options, starting
from ralph_loop.terminal.options import Parser, Problem


def started(*arguments: str) -> dict[str, Any]:
    before, command = starting.split_command(arguments)
    parser = Parser("run", "")
    starting.add_prompt(parser)
    options.place(parser)
    starting.add_config(parser)
    return starting.start_params(parser.parse_args(before), command)


def test_only_what_was_given_is_sent(tmp_path: Path) -> None:
    params = started("Do it", "--repo", str(tmp_path))
    assert params == {"workspace": tmp_path.as_uri(), "prompt": "Do it", "config": {}}


def test_every_option_has_its_key(tmp_path: Path) -> None:
    (tmp_path / "t.md").write_text("{{prompt}}")
    given = [
        "--agent", "claude", "--model", "opus", "--preset", "debug", "--template", f"{tmp_path}/x/../t.md",
        "--min-iterations", "2", "--max-iterations", "0", "--max-failures", "4", "--promise", "DONE",
        "--abort-promise", "STUCK", "--tasks", "--task-promise", "NEXT", "--plan", "--allow-all", "--no-auto-commit",
        "--pause-on-struggle", "--iteration-timeout", "20m", "--inactivity-timeout", "90s", "--max-duration", "1h30m",
        "--delay", "0s", "--arg=--verbose", "--arg", "x", "--rotation", "a:b, c:d", "--rotation", "e:f",
        "--env", "A=b=c", "--env", "EMPTY=", "--session", "ses_1",
    ]  # fmt: skip
    assert started("x", "--repo", str(tmp_path), *given) == {
        "workspace": tmp_path.as_uri(),
        "prompt": "x",
        "sessionId": "ses_1",
        "env": {"A": "b=c", "EMPTY": ""},
        "config": {
            "agent": "claude",
            "model": "opus",
            "preset": "debug",
            "template": f"{tmp_path}/t.md",
            "minIterations": 2,
            "maxIterations": 0,
            "maxFailures": 4,
            "completionPromise": "DONE",
            "abortPromise": "STUCK",
            "tasksMode": True,
            "taskPromise": "NEXT",
            "planMode": True,
            "allowAll": True,
            "autoCommit": False,
            "pauseOnStruggle": True,
            "iterationTimeoutMs": 1_200_000,
            "inactivityTimeoutMs": 90_000,
            "maxDurationMs": 5_400_000,
            "iterationDelayMs": 0,
            "agentArgs": ["--verbose", "x"],
            "rotation": ["a:b", "c:d", "e:f"],
        },
    }


def test_a_command_is_for_the_agent_custom() -> None:
    config = started("x", "--", "my-agent", "--", "{prompt}", "")["config"]
    assert config == {"agent": "custom", "command": ["my-agent", "--", "{prompt}", ""]}


def test_a_prompt_file_is_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "TASK.md").write_text("x")
    monkeypatch.chdir(tmp_path / "work")
    params = started("-f", "../TASK.md")
    assert params["promptFile"] == str(tmp_path / "TASK.md")
    assert "prompt" not in params
    assert params["workspace"] == (tmp_path / "work").as_uri()


@pytest.mark.parametrize("arguments", [("-",), ("-f", "-")])
def test_a_prompt_from_standard_input_is_taken_as_it_is(
    arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("  $& 日本\r\n\n".encode())))
    assert started(*arguments)["prompt"] == "  $& 日本\r\n\n"


@pytest.mark.parametrize(("data", "problem"), [(b"\xff", "not UTF-8"), (b" \n", "is empty")])
def test_what_is_no_prompt_on_standard_input(data: bytes, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(Problem, match=problem) as raised:
        started("-")
    assert raised.value.code == 64


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "usage: ralph-loop"),
        (("statsu",), "Did you mean status?"),
        (("--frobnicate",), "--frobnicate"),
        (("run", "x", "--frobnicate"), "unrecognized arguments: --frobnicate"),  # peer case cli.unknown
        (("run",), "there is no prompt"),
        (("run", ""), "must not be empty"),
        (("run", "\udcff"), "not valid UTF-8"),
        (("run", "x", "-f", "y"), "not both"),
        (("run", "-f", "/does/not/exist"), "there is no file /does/not/exist"),
        (("run", "x", "--repo", "/does/not/exist"), "not an existing folder"),
        (("run", "x", "--max-duration", "90"), "like 90s, 30m or 1h30m"),  # peer case cli.duration
        (("run", "x", "--max-duration", "0s"), "more than nothing"),
        (("run", "x", "--max-iterations", "-1"), "--max-iterations"),
        (("run", "x", "--max-iterations", "1.5"), "'1.5' is not a whole number from 0 on"),
        (("run", "x", "--min-iterations", "0"), "'0' is not a whole number from 1 on"),
        (
            ("run", "x", "--min-iterations", "5", "--max-iterations", "3"),  # peer case cli.iterations
            "--min-iterations (5) cannot be greater than --max-iterations (3)",
        ),
        (("run", "x", "--max-iter", "3"), "unrecognized arguments"),  # options are not abbreviated
        (("run", "x", "--env", "nothing"), "'nothing' is not NAME=VALUE"),
        (("run", "x", "--"), "no command after --"),
        (("run", "x", "--agent", "claude", "--", "cat"), "not for claude"),
        (("run", "x", "y"), "unrecognized arguments: y"),
        (("logs", "--stream", "stdout"), "goes with --raw"),
        (("logs", "--iteration", "0"), "whole number"),
        (("logs", "--json", "--raw"), "--json prints one document"),
        (("prompt",), "required: iteration"),
        (("prompt", "x"), "'x' is not a whole number"),
        (("plan", "show", "--feedback", "x"), "goes with reject"),
        (("tasks", "remove", "x"), "not the number of a task"),
        (("config", "set", "key"), "needs a key and a value"),
        (("repos", "clone", "x"), "needs a URL"),
        (("list", "--limit", "0"), "whole number"),
        (("demo", "--agent=claude"), "there is no prompt"),
    ],
)
def test_wrong_usage_ends_with_64_and_one_clear_line(
    arguments: Sequence[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RALPH_LOOP_DATA_DIR", "/does/not/exist")
    assert commands.run(arguments) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert told in err
    assert "Traceback" not in err


@pytest.mark.parametrize("name", [name for name in commands.COMMANDS if name != "doctor"])
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.run([name, "--help"])
    assert ended.value.code == 0
    assert f"usage: ralph-loop {name}" in capsys.readouterr().out


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["--help"]) == 0
    out = capsys.readouterr().out
    assert [name for name in commands.COMMANDS if f"  {name} " not in out] == ["demo"]


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.run(["--version"]) == 0
    assert capsys.readouterr().out == "ralph-loop 0.1.0 (protocol 1)\n"


def test_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(Problem, match="does not exist any more"):
        started("x")
