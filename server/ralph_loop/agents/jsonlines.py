"""What the parsers of all agents have in common that print one JSON object per line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import ClassVar, Literal

from ralph_loop.agents.base import AgentError, ErrorKind, Event, Note, RateLimit
from ralph_loop.agents.lines import LineReader, Tail
from ralph_loop.agents.modelerrors import About, known_failure, permission_error
from ralph_loop.agents.plain import TIMED_OUT
from ralph_loop.agents.reading import Reading
from ralph_loop.agents.records import Record, one_line, parse_record
from ralph_loop.engine.escapes import EscapeRemover

PLAIN_TEXT_KEPT = 64 * 1024  # characters of what was no JSON, from the end: where a CLI says why it failed

Stream = Literal["stdout", "stderr"]


class JsonLinesParser(Reading):
    """Reads lines, hands each JSON object to :meth:`on_record`, and judges the end."""

    about: About
    allow_hint: ClassVar[str] = ""  # the agent's own way to allow single tools

    def __init__(self) -> None:
        super().__init__(type(self).about)
        self._readers = {"stdout": LineReader(), "stderr": LineReader()}
        self._plain = Tail(PLAIN_TEXT_KEPT)

    # what an agent's parser adds

    def on_record(self, record: Record) -> Iterable[Event]:
        raise NotImplementedError

    def on_plain(self, stream: Stream, line: str) -> Iterable[Event]:
        """A line that is no JSON object, without terminal escapes. What stands on stderr is shown as it is."""
        return [Note(line)] if stream == "stdout" and not line.startswith("{") else []

    def on_exit(self, exit_code: int) -> RateLimit | AgentError | None:
        """What the exit code says, when nothing else did."""
        return None

    # the Parser contract

    def feed(self, stream: Stream, data: bytes) -> list[Event]:
        return [event for line in self._readers[stream].feed(data) for event in self._read(stream, line)]

    def close(self, exit_code: int | None) -> list[Event]:
        events: list[Event] = []
        for stream in ("stdout", "stderr"):
            events += [event for line in self._readers[stream].close() for event in self._read(stream, line)]
        if self.denied:
            events.append(permission_error(self.about, self.denied, self.allow_hint))
        if exit_code is not None:
            events += self._judge(exit_code)
        return events

    # inner workings

    def _read(self, stream: Stream, line: str) -> Iterable[Event]:
        if "\x1b" in line or "\x9b" in line:
            line = EscapeRemover().feed(line)
        line = line.replace("\0", "").strip().lstrip("\ufeff")
        if "\r" in line and not line.startswith("{"):
            line = line.rpartition("\r")[2].strip()  # as a terminal shows it: what stood before was a spinner
        if not line:
            return ()
        record = parse_record(line) if stream == "stdout" else None
        if record is not None:
            return self.on_record(record)
        if stream == "stderr" or not line.startswith("{"):
            self._plain.add(line)
        return self.on_plain(stream, line)

    def _judge(self, exit_code: int) -> Iterator[Event]:
        if self.final and not self.final.ok:
            if not self.failure:
                yield self._unexplained(exit_code)
        elif self.failure:
            yield self.failure
        elif exit_code != 0:
            yield self.on_exit(exit_code) or self._unexplained(exit_code)
        elif not self.final and not self.denied:
            yield known_failure(self.about, self._plain.text) or AgentError(
                ErrorKind.NO_FINAL,
                f"{self.about.name} ended without saying that it was finished (exit code 0).",
                "It may have been stopped from outside. Its output has the details.",
            )

    def _unexplained(self, exit_code: int) -> RateLimit | AgentError:
        plain = self._plain.text
        known = None if exit_code == TIMED_OUT else known_failure(self.about, plain)
        return known or exit_error(self.about, exit_code, plain)


def exit_error(about: About, exit_code: int, plain: str) -> AgentError:
    """The agent ended badly and did not say why in a form we know. `plain`: the end of what it printed."""
    lines = [line for line in plain.splitlines() if line.strip()]
    said = one_line(lines[-1], 300) if lines else ""
    how = f"was ended by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    if exit_code > 0 and (line := misuse(plain)):
        hint = "Check the settings `agentArgs` and `model`, and whether this version of the agent is a recent one."
        return AgentError(
            ErrorKind.USAGE, f"{about.name} did not understand its command line: {line}", hint, fatal=True
        )
    return AgentError(ErrorKind.EXIT, f"{about.name} {how}{': ' + said if said else '.'}")


def misuse(plain: str) -> str:
    """The line in which a CLI complains about its arguments, or ""."""
    return next((one_line(line, 300) for line in plain.splitlines() if _MISUSED.search(line)), "")


_MISUSED = re.compile(
    r"unknown (option|argument|command)|(unexpected|unrecognized) (argument|subcommand|option)|"
    r"invalid value .{0,40}\bfor\b|is not a valid value",
    re.IGNORECASE,
)
