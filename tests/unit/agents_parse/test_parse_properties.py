"""What holds for every input: no split changes the events, nothing raises, memory stays bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agents_parsing import CAPTURES, PARSERS, Piece, joined, only, run, run_pieces
from hypothesis import given, settings
from hypothesis import strategies as st

from ralph_loop.agents.acp_events import AcpReading, call_diff, call_pattern
from ralph_loop.agents.base import Event, Final, Text, ToolEnd, ToolStart
from ralph_loop.agents.lines import LONGEST_LINE, LineReader, Tail
from ralph_loop.agents.messages import LONGEST_MESSAGE, Messages
from ralph_loop.agents.modelerrors import About
from ralph_loop.agents.opencode_events import PromptReading
from ralph_loop.agents.records import Record, one_line, parse_record, tool_title

PREFIXES = {
    "claude": "cl-",
    "amp": "cl-",
    "cursor": "cl-",
    "codex": "cx-",
    "opencode": "oc-",
    "gemini": "gm-",
    "copilot": "cp-",
}
LINES = {
    agent: [
        line
        for file in sorted(CAPTURES.glob(f"{prefix}*.out"))
        for line in file.read_text().splitlines()
        if len(line) < 3000
    ]
    for agent, prefix in PREFIXES.items()
}
LINES["cursor"] += [
    '{"type":"tool_call","subtype":"started","call_id":"1","tool_call":{"shellToolCall":{"args":{"command":"ls"}}}}',
    '{"type":"tool_call","subtype":"completed","call_id":"1","tool_call":{"shellToolCall":{"result":{"rejected":{}}}}}',
    '{"type":"assistant","timestamp_ms":1,"message":{"content":[{"type":"text","text":"piece"}]}}',
]

SERVED = [
    json.dumps(record["event"])
    for file in sorted(CAPTURES.glob("oc-serve*.jsonl"))
    for record in map(json.loads, file.read_text().splitlines())
    if "event" in record
]
UPDATES = [
    json.dumps(record["params"]["update"])
    for file in sorted(CAPTURES.parents[1].glob("agents_sessions/captures/*.jsonl"))
    for record in map(json.loads, file.read_text().splitlines())
    if "update" in record.get("params", {})
]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("text") | st.just("\ud800")
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


def is_object(value: object) -> bool:
    return isinstance(value, dict)


def is_list_of_objects(value: Any) -> bool:
    return type(value) is list and value != [] and is_object(value[0])  # pyright: ignore[reportUnknownArgumentType]


@st.composite
def spoiled(draw: st.DrawFn, lines: list[str]) -> str:
    """A real event in which something has another type, is missing, or has another name."""
    record: dict[str, Any] = json.loads(draw(st.sampled_from(lines)))
    place = record
    for _ in range(draw(st.integers(0, 4))):
        inner = [value for value in place.values() if is_object(value)]
        inner += [value[0] for value in place.values() if is_list_of_objects(value)]
        if not inner:
            break
        place = draw(st.sampled_from(inner))
    if place:
        place[draw(st.sampled_from(sorted(place)))] = draw(values)
    return json.dumps(record)


def stream(agent: str) -> st.SearchStrategy[list[Piece]]:
    line = st.text(max_size=40)
    if agent in PREFIXES:
        line = line | st.sampled_from(LINES[agent]) | spoiled(LINES[agent])
    data = line.map(lambda text: text.encode(errors="surrogatepass") + b"\n") | st.binary(max_size=40)
    return st.lists(st.tuples(st.sampled_from(("stdout", "stdout", "stdout", "stderr")), data), max_size=12)  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("agent", PARSERS)
@settings(max_examples=60)
@given(data=st.data())
def test_no_input_raises_and_no_split_changes_the_events(agent: str, data: st.DataObject) -> None:
    pieces = data.draw(stream(agent))
    exit_code = data.draw(st.sampled_from([0, 1, 2, 173, -9, None]))
    whole = run_pieces(PARSERS[agent](), pieces, exit_code)

    split: list[Piece] = []
    for name, piece in pieces:
        at = data.draw(st.integers(0, len(piece)))
        split.extend((name, part) for part in (piece[:at], b"", piece[at:]))
    assert joined(run_pieces(PARSERS[agent](), split, exit_code)) == joined(whole)

    assert len(only(Final, whole)) <= 1
    ids = [event.id for event in only(ToolStart, whole)]
    assert len(ids) == len(set(ids))
    assert {event.id for event in only(ToolEnd, whole)} <= set(ids)
    for event in whole:
        json.dumps(repr(event)).encode()
        assert "\ud800" not in repr(event)


def events_of(lines: list[str]) -> st.SearchStrategy[list[Record]]:
    line = st.sampled_from(lines) | spoiled(lines)
    return st.lists(line.map(parse_record).filter(bool), max_size=15)  # pyright: ignore[reportReturnType]


@settings(max_examples=100)
@given(events=events_of(SERVED))
def test_no_event_of_opencodes_server_raises(events: list[Record]) -> None:
    reading = PromptReading(events[0].record("properties").text("sessionID") if events else "")
    for event in events:
        reading.concerns(event)
        list(reading.read(event))
    list(reading.conclude())


@settings(max_examples=100)
@given(events=events_of(UPDATES))
def test_no_update_over_acp_raises(events: list[Record]) -> None:
    reading = AcpReading(About("Agent", "Log in."))
    for event in events:
        list(reading.read(event))
        call = reading.call(event)
        list(reading.start(call))
        call_diff(call)
        call_pattern(call, Path("/w"))
    list(reading.ended(events[-1] if events else Record()))


@settings(max_examples=200)
@given(st.lists(st.binary(max_size=30)), st.integers(1, 20))
def test_lines_do_not_depend_on_the_cuts(pieces: list[bytes], longest: int) -> None:
    reader = LineReader(longest)
    lines = [line for piece in pieces for line in reader.feed(piece)] + reader.close()
    expected = [line for line in b"".join(pieces).split(b"\n") if 0 < len(line) <= longest]
    assert lines == [line.decode(errors="replace") for line in expected]


@settings(max_examples=100)
@given(st.lists(st.tuples(st.sampled_from("dwe"), st.text(max_size=4))))
def test_the_last_message_with_text_is_final(steps: list[tuple[str, str]]) -> None:
    messages, shown, expected = Messages(), "", [""]
    for kind, text in steps:
        if kind == "d":
            shown += "".join(event.text for event in messages.delta(text))
            expected[-1] += text
        elif kind == "w":
            shown += "".join(event.text for event in messages.whole(expected[-1] + text))
            expected[-1] += text
            expected.append("")
        else:
            messages.end()
            expected.append("")
    told = [text for text in expected if text]
    assert messages.final == next((text for text in reversed(told) if text.strip()), "")
    assert shown.replace("\n", "") == "".join(told).replace("\n", "")


def test_a_line_of_100_mb_is_passed_over_and_the_next_ones_are_read() -> None:
    parser = PARSERS["claude"]()
    events: list[Event] = parser.feed("stdout", b'{"type":"user","x":"')
    chunk = b"a" * 2**20
    for _ in range(100):
        events += parser.feed("stdout", chunk)
    assert parser._readers["stdout"]._length > LONGEST_LINE  # pyright: ignore[reportPrivateUsage]
    assert not parser._readers["stdout"]._pieces  # pyright: ignore[reportPrivateUsage]
    events += parser.feed("stdout", b'"}\n{"type":"result","result":"ok"}\n')
    assert [event.message for event in only(Final, [*events, *parser.close(0)])] == ["ok"]


def test_a_message_of_any_length_keeps_its_end() -> None:
    messages = Messages()
    for _ in range(50):
        messages.delta("x" * (LONGEST_MESSAGE // 10))
    messages.delta("\n<promise>X</promise>")
    assert messages.final.endswith("x\n<promise>X</promise>")
    assert len(messages.final) <= LONGEST_MESSAGE


def test_a_flood_of_plain_lines_is_bounded_and_quick() -> None:
    tail = Tail(1000)
    for number in range(100_000):
        tail.add(f"line {number}")
    assert tail.text.endswith("line 99999")
    assert len(tail.text) <= 1000
    tail.add("y" * 5000)
    assert tail.text == "y" * 1000


def test_deep_and_wrong_json_is_no_record() -> None:
    assert parse_record("{" * 100_000) is None
    assert parse_record('{"a":' + "[" * 100_000) is None
    assert parse_record('{"a":' + "9" * 10_000 + "}") is None
    record = parse_record('{"a": "\\ud800", "b": "\\ud83d\\ude00"}')
    assert record is not None
    assert dict(record.fields) == {"a": "?", "b": "😀"}


def test_numbers_are_never_infinite_or_negative() -> None:
    record = parse_record('{"a": 1e999, "b": -5, "c": NaN, "d": true, "e": ' + "9" * 400 + ', "f": "7", "g": 2.5}')
    assert record is not None
    assert [record.number(key) for key in "abcdefgh"] == [0, 0, 0, 0, 2**53, 0, 2.5, 0]


def test_titles_are_one_line() -> None:
    assert tool_title("Bash", {"command": "a\n\tb \x1b[31mc"}) == "Bash: a b [31mc"
    assert tool_title("bash", {"command": ["ls", "-l"]}) == "bash: ls -l"
    assert tool_title("x\ny", {"other": 1}) == "x y"
    assert one_line("x" * 500) == "x" * 199 + "…"
    assert run(PARSERS["codex"](), b"", exit_code=None) == []
    assert Text("a") == joined([Text("a")])[0]
