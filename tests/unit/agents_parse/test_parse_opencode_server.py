"""Whole real prompts on OpenCode's server: what its events come to."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agents_parsing import CAPTURES, only, text_of, tools_of

from ralph_loop.agents.base import AgentError, ErrorKind, Event, Final, RateLimit, Retry, Usage
from ralph_loop.agents.opencode_events import PromptReading
from ralph_loop.agents.records import Record, as_record


def events_of(file: str) -> tuple[str, list[Record]]:
    """The session of a capture, and its events."""
    lines: list[dict[str, Any]] = [json.loads(line) for line in (CAPTURES / file).read_text().splitlines()]
    session = next(line["response"]["id"] for line in lines if line.get("http") == "POST /session")
    return session, [as_record(line["event"]) for line in lines if "event" in line]


def read(file: str) -> tuple[PromptReading, list[Event]]:
    session, records = events_of(file)
    reading, events = PromptReading(session), list[Event]()
    for record in records:
        if reading.concerns(record):
            events += reading.read(record)
    return reading, [*events, *reading.conclude()]


def test_work_is_read() -> None:
    reading, events = read("oc-serve-both-once.jsonl")
    assert reading.ended
    assert [final.message for final in only(Final, events)] == ["All three done. <promise>COMPLETE</promise>"]
    assert tools_of(events) == [("write", False), ("bash", False), ("bash", True)]
    usage = only(Usage, events)[-1]
    assert (usage.input_tokens, usage.output_tokens, usage.cost_usd) == (4000, 200, pytest.approx(0.0036))
    assert text_of(events).splitlines()[0] == "Step one: write a file."
    assert only(AgentError, events) == []


def test_a_rejected_tool_is_no_success() -> None:
    reading, events = read("oc-serve-reject.jsonl")
    assert reading.ended
    assert tools_of(events) == [("write", True)]
    assert [error.kind for error in only(AgentError, events)] == [ErrorKind.NO_FINAL]


def test_a_rate_limit_after_its_own_retries() -> None:
    reading, events = read("oc-serve-e429.jsonl")
    assert reading.ended
    assert len(only(Retry, events)) == 5
    assert [limit.message for limit in only(RateLimit, events)] == ["OpenCode: fake: rate limited"]


def test_a_retry_at_a_time_that_is_none_is_a_rate_limit_all_the_same() -> None:
    reading = PromptReading("s")
    status = {"type": "retry", "attempt": 1, "message": "slow down", "next": 2**53}
    event = {"type": "session.status", "properties": {"sessionID": "s", "status": status}}
    list(reading.read(as_record(event)))
    assert reading.failure == RateLimit("OpenCode: slow down", None)


def test_an_aborted_prompt_is_no_success() -> None:
    reading, events = read("oc-serve-abort.jsonl")
    assert reading.ended
    assert only(AgentError, events)
    assert not [final for final in only(Final, events) if final.ok]


@pytest.mark.parametrize("file", ["oc-serve-both-once.jsonl", "oc-serve-e429.jsonl"])
def test_only_an_idle_after_the_work_ends_it(file: str) -> None:
    """Ended is said once the session is idle, not before, and nothing comes of events that are told twice."""
    session, records = events_of(file)
    reading = PromptReading(session)
    idle_at = next(at for at, record in enumerate(records) if record.text("type") == "session.idle")
    once = [event for record in records[: idle_at - 1] if reading.concerns(record) for event in reading.read(record)]
    assert once
    assert not reading.ended
    texts_and_tools = [event for record in records[: idle_at - 1] for event in reading.read(record)]
    assert not tools_of(texts_and_tools)
    list(reading.read(records[idle_at]))
    assert reading.ended
