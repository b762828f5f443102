"""What the parser tests share: feeding a parser, and comparing what came out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeVar

import attrs

from ralph_loop.agents.amp import AmpParser
from ralph_loop.agents.base import Event, Parser, RateLimit, Text, ToolEnd, ToolStart
from ralph_loop.agents.claude import ClaudeParser
from ralph_loop.agents.codex import CodexParser
from ralph_loop.agents.copilot import CopilotParser
from ralph_loop.agents.cursor import CursorParser
from ralph_loop.agents.gemini import GeminiParser
from ralph_loop.agents.opencode import OpenCodeParser
from ralph_loop.agents.ralph_cli import RalphParser

T = TypeVar("T")
Piece = tuple[Literal["stdout", "stderr"], bytes]
NOTHING: dict[str, object] = {}

CAPTURES = Path(__file__).parent / "captures"
PARSERS = {
    "claude": ClaudeParser,
    "codex": CodexParser,
    "opencode": OpenCodeParser,
    "gemini": GeminiParser,
    "copilot": CopilotParser,
    "cursor": CursorParser,
    "amp": AmpParser,
    "ralph": RalphParser,
}


def run(parser: Parser, out: bytes = b"", err: bytes = b"", exit_code: int | None = 0) -> list[Event]:
    return [*parser.feed("stdout", out), *parser.feed("stderr", err), *parser.close(exit_code)]


def run_pieces(parser: Parser, pieces: Iterable[Piece], exit_code: int | None = 0) -> list[Event]:
    events = [event for stream, data in pieces for event in parser.feed(stream, data)]
    return [*events, *parser.close(exit_code)]


def read(agent: str, *records: object, err: str = "", exit_code: int | None = 0) -> list[Event]:
    """What the agent's parser makes of these: objects are printed as JSON, texts as they are."""
    lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
    return run(PARSERS[agent](), "".join(f"{line}\n" for line in lines).encode(), err.encode(), exit_code)


def joined(events: Iterable[Event]) -> list[Event]:
    """Adjacent texts as one, and no time of a reset: those are reckoned from now."""
    result: list[Event] = []
    for event in events:
        if isinstance(event, Text) and result and isinstance(result[-1], Text):
            result[-1] = Text(result[-1].text + event.text)
        elif isinstance(event, RateLimit):
            result.append(attrs.evolve(event, reset_at=None))
        else:
            result.append(event)
    return result


def only(kind: type[T], events: Iterable[Event]) -> list[T]:
    return [event for event in events if isinstance(event, kind)]


def text_of(events: Iterable[Event]) -> str:
    return "".join(event.text for event in only(Text, events))


def tools_of(events: Iterable[Event]) -> list[tuple[str, bool]]:
    """Name of each tool, and whether it failed."""
    events = list(events)
    ends = {event.id: event for event in only(ToolEnd, events)}
    return [(event.name, event.id in ends and ends[event.id].error is not None) for event in only(ToolStart, events)]
