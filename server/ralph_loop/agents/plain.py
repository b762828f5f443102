"""Agents that print plain text: all of stdout is their message, and the exit code says how it went."""

from __future__ import annotations

import codecs
import signal
from datetime import UTC, datetime
from typing import Literal

from ralph_loop.agents.agent_process import ExitStatus, signal_name
from ralph_loop.agents.base import AgentError, ErrorKind, Event, Final, RateLimit, Text
from ralph_loop.agents.ratelimit import rate_limit_from_text
from ralph_loop.engine.escapes import EscapeRemover

KEPT = 8 * 1024  # bytes of the end of each stream, where a command says why it failed
LAST_LINES = 3
LONGEST_LINE = 300  # characters
SIGNALS = {number.value for number in signal.Signals}
TIMED_OUT = 124  # timeout(1): the end of its output is no reason


class PlainParser:
    """`name` is what messages call the agent."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ends = {"stdout": b"", "stderr": b""}

    def feed(self, stream: Literal["stdout", "stderr"], data: bytes) -> list[Event]:
        self._ends[stream] = (self._ends[stream] + data[-KEPT:])[-KEPT:]
        if stream == "stderr":
            return []
        text = self._decoder.decode(data)
        return [Text(text)] if text else []

    def close(self, exit_code: int | None) -> list[Event]:
        text = self._decoder.decode(b"", final=True)
        events: list[Event] = [Text(text)] if text else []
        if exit_code == 0:
            events.append(Final())
        elif exit_code is not None:
            events.append(self._failure(exit_code))
        return events

    def _failure(self, exit_code: int) -> RateLimit | AgentError:
        said = self._last_lines("stderr", 20) + self._last_lines("stdout", LAST_LINES)
        if exit_code > 0 and exit_code != TIMED_OUT:
            limit = rate_limit_from_text("\n".join(said), datetime.now(UTC).astimezone())
            if limit:
                return limit
        words = self._last_lines("stderr", LAST_LINES) or self._last_lines("stdout", 1)
        how = str(ExitStatus(exit_code))
        if exit_code - 128 in SIGNALS:
            how += f" (128 + {signal_name(exit_code - 128)})"
        return AgentError(ErrorKind.EXIT, f"{self._name} {how}" + (": " + " · ".join(words) if words else "."))

    def _last_lines(self, stream: Literal["stdout", "stderr"], count: int) -> list[str]:
        text = EscapeRemover().feed(self._ends[stream].decode(errors="replace"))
        lines = [line.strip() for line in text.splitlines()]
        return [line[:LONGEST_LINE] for line in lines if line][-count:]
