"""Whole real runs: what each parser makes of them, and that it does not matter where they are cut."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from agents_parsing import CAPTURES, PARSERS, Piece, joined, only, run, run_pieces, text_of, tools_of

from ralph_loop.agents.base import AgentError, ErrorKind, Final, PermissionNote, RateLimit, Retry, Usage

DONE = "All three done. <promise>COMPLETE</promise>"


@attrs.frozen
class Capture:
    agent: str
    file: str
    exit_code: int = 0
    message: str | None = None  # of the final event
    tools: tuple[tuple[str, bool], ...] = ()
    tokens: tuple[int, int] | None = None
    cost: float | None = None
    limit: str | None = None  # words of the rate limit
    error: ErrorKind | None = None

    @property
    def out(self) -> bytes:
        return (CAPTURES / self.file).read_bytes()

    @property
    def err(self) -> bytes:
        file = Path(CAPTURES / self.file).with_suffix(".err")
        return file.read_bytes() if file.exists() else b""


ALL = [
    Capture(
        "claude",
        "cl-both.out",
        message=DONE,
        tools=(("Write", False), ("Bash", False), ("Bash", True)),
        tokens=(4400, 200),
        cost=0.0239,
    ),
    Capture(
        "claude",
        "cl-latest-both.out",
        message=DONE,
        tools=(("Write", False), ("Bash", False), ("Bash", True)),
        tokens=(4400, 200),
        cost=0.01896,
    ),
    Capture(
        "claude",
        "cl-perm.out",
        message=DONE,
        tools=(("Write", True), ("Bash", False), ("Bash", True)),
        tokens=(4400, 200),
        cost=0.0239,
        error=ErrorKind.PERMISSION,
    ),
    Capture("claude", "cl-e429-r1.out", exit_code=1, limit="Request rejected (429)"),
    Capture(
        "claude",
        "cl-maxturns.out",
        exit_code=1,
        tools=(("Bash", False), ("Bash", False)),
        tokens=(2200, 100),
        cost=0.01195,
        error=ErrorKind.OTHER,
    ),
    Capture(
        "codex",
        "cx-both.out",
        message=DONE,
        tools=(("command_execution", False), ("command_execution", False), ("command_execution", True)),
        tokens=(4000, 200),
    ),
    Capture(
        "codex",
        "cx-patch.out",
        message=DONE,
        tools=(("command_execution", False), ("command_execution", False), ("command_execution", True)),
        tokens=(4000, 200),
    ),
    Capture("codex", "cx-e429.out", exit_code=1, limit="429 Too Many Requests"),
    Capture(
        "opencode",
        "opencode-run-both.jsonl",
        message=DONE,
        tools=(("write", False), ("bash", False), ("bash", True)),
        tokens=(4000, 200),
        cost=0.0036,
    ),
    Capture("opencode", "oc-text.out", message="Just thinking, more work is needed.", tokens=(1000, 50), cost=0.0009),
    Capture("opencode", "oc-e429.out", exit_code=1, limit="fake: rate limited"),
    Capture(
        "opencode",
        "oc-run-ask.out",
        tools=(("write", True),),
        tokens=(1000, 50),
        cost=0.0009,
        error=ErrorKind.PERMISSION,
    ),
    Capture(
        "gemini",
        "gm-both.out",
        message=DONE,
        tools=(("write_file", False), ("run_shell_command", False), ("run_shell_command", False)),
        tokens=(4000, 200),
    ),
    Capture("gemini", "gm-e429.out", exit_code=173, limit="Gemini: fake: rate limited"),
    Capture("copilot", "cp-both.out", message=DONE, tools=(("create", False), ("bash", False), ("bash", True))),
    Capture("copilot", "cp-e429.out", exit_code=1, limit="429 fake: rate limited"),
]
each_capture = pytest.mark.parametrize("capture", ALL, ids=lambda capture: capture.file)


@each_capture
def test_a_real_run_is_understood(capture: Capture) -> None:
    events = run(PARSERS[capture.agent](), capture.out, capture.err, capture.exit_code)

    finals = only(Final, events)
    assert [final.message for final in finals if final.ok] == ([capture.message] if capture.message else [])
    assert tuple(tools_of(events)) == capture.tools
    usage = only(Usage, events)
    assert ((usage[-1].input_tokens, usage[-1].output_tokens) if usage else None) == capture.tokens
    assert (usage[-1].cost_usd if usage else None) == (pytest.approx(capture.cost) if capture.cost else None)
    limits = only(RateLimit, events)
    assert len(limits) == (capture.limit is not None)
    assert not capture.limit or capture.limit in limits[0].message
    assert [error.kind for error in only(AgentError, events)] == ([capture.error] if capture.error else [])


@each_capture
def test_it_does_not_matter_where_the_output_is_cut(capture: Capture) -> None:
    whole = joined(run(PARSERS[capture.agent](), capture.out, capture.err, capture.exit_code))

    byte_by_byte: list[Piece] = []
    byte_by_byte.extend(("stdout", capture.out[at : at + 1]) for at in range(len(capture.out)))
    byte_by_byte.extend(("stderr", capture.err[at : at + 1]) for at in range(len(capture.err)))
    assert joined(run_pieces(PARSERS[capture.agent](), byte_by_byte, capture.exit_code)) == whole


@each_capture
def test_a_run_without_its_final_event_is_never_success(capture: Capture) -> None:
    """The process dies before it says that it is finished, and exits with 0."""
    last_line = capture.out.rstrip().rindex(b"\n") + 1 if capture.message else len(capture.out)
    lines = capture.out[:last_line].splitlines(keepends=True)

    for count in range(0, len(lines) + 1, max(1, len(lines) // 20)):
        events = run(PARSERS[capture.agent](), b"".join(lines[:count]), capture.err, 0)
        assert not [final for final in only(Final, events) if final.ok]
        assert only(AgentError, events) or only(RateLimit, events), f"after {count} lines"


def test_what_opencode_refused_is_told_once_in_plain_words() -> None:
    capture = next(each for each in ALL if each.file == "oc-run-ask.out")
    events = run(PARSERS["opencode"](), capture.out, capture.err, 0)

    assert [note.tool for note in only(PermissionNote, events)] == ["edit"]
    (error,) = only(AgentError, events)
    assert error.message == "OpenCode was not allowed to use: edit (hello.txt)"
    assert not error.fatal
    assert error.hint is not None
    assert "ralphLoop.allowAll" in error.hint
    assert "--allow-all" in error.hint


def test_the_agents_own_retries_are_told() -> None:
    copilot = next(each for each in ALL if each.file == "cp-e429.out")
    claude = next(each for each in ALL if each.file == "cl-e429-r1.out")

    assert len(only(Retry, run(PARSERS["copilot"](), copilot.out, exit_code=1))) == 5
    assert [retry.message for retry in only(Retry, run(PARSERS["claude"](), claude.out, exit_code=1))] == [
        "rate limit (429): attempt 1 of 1"
    ]


def test_messages_do_not_run_into_one_line() -> None:
    capture = next(each for each in ALL if each.file == "gm-both.out")
    events = run(PARSERS["gemini"](), capture.out, capture.err)

    assert text_of(events).splitlines() == [
        "Step one: write a file.",
        "Step two: run a command.",
        "Step three: a failing command.",
        DONE,
    ]
