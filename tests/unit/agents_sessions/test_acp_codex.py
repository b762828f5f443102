"""What Codex's bridge (codex-acp 0.16.0) sends, as it was captured: no message ids, and its own words as messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ralph_loop.agents.acp import ACP_ADAPTERS
from ralph_loop.agents.acp_events import CODEX_NOTICES, AcpReading, call_pattern, call_title
from ralph_loop.agents.base import AgentError, Event, Final, Note, Text, ToolEnd, ToolStart
from ralph_loop.agents.modelerrors import About
from ralph_loop.agents.records import Record, as_record

CAPTURES = Path(__file__).parent / "captures"
DONE = "All done.\n<promise>COMPLETE</promise>"


def messages(capture: str) -> list[Record]:
    return [as_record(json.loads(line)) for line in (CAPTURES / f"cx-acp-{capture}.jsonl").read_text().splitlines()]


def read(reading: AcpReading, lines: list[Record]) -> list[Event]:
    events: list[Event] = []
    for line in lines:
        if line.text("method") == "session/update":
            events += reading.read(line.record("params", "update"))
        elif line.record("result"):
            events += reading.ended(line.record("result"))
    return events


def told(capture: str) -> list[Event]:
    return read(AcpReading(About("Codex", "Log in."), CODEX_NOTICES), messages(capture))


def test_a_run_with_tools() -> None:
    events = told("work")
    assert [event.title for event in events if isinstance(event, ToolStart)] == [
        "execute: printf %s 'hello from the model ' > hello.txt",
        "execute: cat hello.txt && echo exit-ok",
        "execute: echo oops >&2; exit 3",
    ]
    assert [event.error for event in events if isinstance(event, ToolEnd)] == [None, None, "exit code 3"]
    assert events[-1] == Final(DONE)


@pytest.mark.parametrize("capture", ["joined", "only"])
def test_an_answer_is_not_joined_to_what_came_before_it(capture: str) -> None:
    """Neither to another answer, whose tool the bridge did not tell of, nor to a warning of Codex's own."""
    events = told(capture)
    assert events[-1] == Final("<promise>COMPLETE</promise>")
    (note,) = [event for event in events if isinstance(event, Note)]
    assert note.text.startswith("Model metadata for `gpt-5-codex` not found.")
    text = "".join(event.text for event in events if isinstance(event, Text))
    assert text.splitlines()[-1] == "<promise>COMPLETE</promise>"


def test_a_rejected_tool_ends_the_turn_but_is_no_failure() -> None:
    lines = messages("rejected")
    asked = next(index for index, line in enumerate(lines) if line.text("method") == "session/request_permission")
    reading = AcpReading(About("Codex", "Log in."), CODEX_NOTICES)
    read(reading, lines[:asked])
    call = reading.call(lines[asked].record("params", "toolCall"))
    assert call_title(call) == "execute: sh -c 'echo made > by-shell.txt'"
    assert call_pattern(call, Path("/w")) == "/bin/bash -lc 'sh -c '\"'\"'echo made > by-shell.txt'\"'\"''"
    reading.rejected()
    assert read(reading, lines[asked + 1 :]) == [Final("")]


def test_a_turn_that_nobody_rejected_must_not_be_cancelled() -> None:
    events = told("rejected")
    assert [event.ok for event in events if isinstance(event, Final)] == [False]
    assert [event.message for event in events if isinstance(event, AgentError)] == [
        "Codex reported an error: the prompt was cancelled"
    ]


def test_usage_ends_no_message_that_has_an_id() -> None:
    reading = AcpReading(About("Another agent", "Log in."))
    halves = [
        {"sessionUpdate": "agent_message_chunk", "messageId": "m1", "content": {"type": "text", "text": text}}
        for text in ("<promise>COM", "PLETE</promise>")
    ]
    for update in (halves[0], {"sessionUpdate": "usage_update", "used": 1, "size": 2}, halves[1]):
        list(reading.read(as_record(update)))
    assert list(reading.ended(Record({"stopReason": "end_turn"}))) == [Final("<promise>COMPLETE</promise>")]


def test_a_missing_sandbox_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from session_helpers import call

    monkeypatch.setattr("sys.platform", "linux")
    adapter = next(adapter for adapter in ACP_ADAPTERS if adapter.id == "acp-codex")
    env = {"PATH": str(tmp_path)}
    assert "bubblewrap" in (adapter.lacks(call(tmp_path, env=env)) or "")
    assert adapter.lacks(call(tmp_path, env=env, allow_all=True)) is None
    (tmp_path / "bwrap").touch(0o755)
    assert adapter.lacks(call(tmp_path, env=env)) is None
