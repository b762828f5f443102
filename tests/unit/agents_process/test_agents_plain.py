"""Agents that print plain text: their message, and how their end is judged."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.agents.base import (
    AgentError,
    ErrorKind,
    Event,
    Final,
    PermissionNote,
    QuestionNote,
    RateLimit,
    Retry,
    Text,
    ToolEnd,
    ToolStart,
    Usage,
)
from ralph_loop.agents.display import Display
from ralph_loop.agents.plain import PlainParser


def text_of(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)))
def test_where_the_output_is_cut_changes_nothing(data: bytes, cuts: list[int]) -> None:
    parser = PlainParser("It")
    events: list[Event] = []
    edges = [0, *sorted(cuts), len(data)]
    for start, end in itertools.pairwise(edges):
        events += parser.feed("stdout", data[start:end])
        events += parser.feed("stderr", b"\xe2\x82")
    events += parser.close(0)
    assert text_of(events) == data.decode(errors="replace")
    assert events[-1] == Final()


def failure(exit_code: int, stderr: bytes = b"", stdout: bytes = b"") -> Event:
    parser = PlainParser("It")
    parser.feed("stdout", stdout)
    parser.feed("stderr", stderr)
    events = [event for event in parser.close(exit_code) if not isinstance(event, Text)]
    (event,) = events
    return event


@pytest.mark.parametrize(
    ("exit_code", "stderr", "stdout", "message"),
    [
        (3, b"", b"", "It exited with code 3."),
        (3, b"warning\n\nerror: no luck\n\n", b"out\n", "It exited with code 3: warning · error: no luck"),
        (1, b"", b"working\nlast line", "It exited with code 1: last line"),
        (1, b"\x1b[31mred\x1b[0m\r\n", b"", "It exited with code 1: red"),
        (-9, b"", b"", "It was killed by SIGKILL."),
        (-40, b"", b"", "It was killed by signal 40."),
        (137, b"", b"", "It exited with code 137 (128 + SIGKILL)."),
        (255, b"", b"", "It exited with code 255."),
        (1, b"a\nb\nc\nd\n", b"", "It exited with code 1: b · c · d"),
    ],
)
def test_a_failure_in_words(exit_code: int, stderr: bytes, stdout: bytes, message: str) -> None:
    assert failure(exit_code, stderr, stdout) == AgentError(ErrorKind.EXIT, message)


def test_the_words_of_a_flood_are_its_last_ones() -> None:
    event = failure(1, b"x" * 10_000_000 + b"\nthe reason")
    assert isinstance(event, AgentError)
    assert event.message.endswith("· the reason")
    assert len(event.message) < 400


def test_no_judgement_of_what_we_ended_ourselves() -> None:
    parser = PlainParser("It")
    parser.feed("stderr", b"Error: HTTP 429 Too Many Requests")
    assert parser.feed("stdout", b"half \xf0\x9f") == [Text("half ")]
    assert parser.close(None) == [Text("\ufffd")]


CASES = [
    json.loads(line)
    for line in """
{"stderr": "Error: HTTP 429 Too Many Requests", "exit_code": 1, "expected": true}
{"stderr": "Server is overloaded, please try again later", "exit_code": 1, "expected": true}
{"stderr": "Error: Network timeout", "exit_code": 1, "expected": false}
{"stderr": "ESLint type-safety issues with external libraries (@upstash/ratelimit)", "exit_code": 0, "expected": false}
{"stderr": "Error: HTTP 429 Too Many Requests", "exit_code": 0, "expected": false}
{"stderr": "Error: HTTP 429 Too Many Requests", "exit_code": -15, "expected": false}
{"stderr": "Error: HTTP 429 Too Many Requests", "exit_code": 124, "expected": false}
{"stderr": "Rate limit exceeded. retry-after: 30s", "exit_code": 1, "expected": true}
{"stdout": "You've hit your limit \\u00b7 resets 5pm (Europe/Vilnius)", "exit_code": 1, "expected": true}
{"stdout": "Rate limit exceeded is what the test expects\\n1\\n2\\n3", "exit_code": 1, "expected": false}
""".strip().splitlines()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: json.dumps(case)[:60])
def test_rate_limits_of_failed_agents_only(case: dict[str, str | int | bool]) -> None:
    event = failure(int(case["exit_code"]), str(case.get("stderr", "")).encode(), str(case.get("stdout", "")).encode())
    assert isinstance(event, RateLimit) == case["expected"]


def shown(*events: Event) -> str:
    display = Display()
    return b"".join(display.render(event) for event in events).decode()


def test_display_of_each_event() -> None:
    assert shown(
        Text("I look"),
        Text(" around."),
        ToolStart("1", "Bash", "Bash: npm test"),
        ToolEnd("1", "Bash"),
        ToolStart("2", "Edit", ""),
        ToolEnd("2", "Edit", "no such file"),
        Usage(1, 2),
        Retry("tries again in 2 s"),
        PermissionNote("Bash", "nobody could answer"),
        QuestionNote("Which?", ["a", "b"]),
        RateLimit("too many requests"),
        Text("Done.\n"),
        Final("Done."),
        AgentError(ErrorKind.AUTH, "No key.", "Log in."),
    ) == (
        "I look around.\n→ Bash: npm test\n→ Edit\n✗ Edit: no such file\n… tries again in 2 s\n"
        "✗ Bash was not allowed: nobody could answer\n? Which?\n  - a\n  - b\n✗ rate limit: too many requests\n"
        "Done.\n✗ No key. Log in.\n"
    )


def test_a_final_message_that_was_not_printed_before_is_shown() -> None:
    assert shown(Text("\n"), Final("All done.")) == "\nAll done.\n"


def test_half_a_surrogate_pair_is_no_crash() -> None:
    assert shown(Text("\ud800")) == "?"
