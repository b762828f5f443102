"""The `ralph` CLI (ralph-orchestrator): ``ralph run --autonomous --prompt …``.

It is a loop of its own: one iteration of ours is a whole loop of it. Its exit code says how that ended (its guide,
"Exit codes"): 0 completed, 1 failed, 2 limit reached, 3 restart wanted, 130 interrupted. 0 also follows a stop from
outside, so its own completion word must stand in what it printed, too.
"""

from __future__ import annotations

import re
from typing import Literal

from ralph_loop.agents.base import (
    AgentError,
    Command,
    ErrorKind,
    Event,
    Final,
    Invocation,
    RateLimit,
    Text,
    find_binary,
)
from ralph_loop.agents.commandline import prompt_argument
from ralph_loop.agents.jsonlines import PLAIN_TEXT_KEPT, exit_error, misuse
from ralph_loop.agents.lines import LineReader, Tail
from ralph_loop.agents.modelerrors import About, known_failure
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.engine.escapes import EscapeRemover

COMPLETION_WORD = "LOOP_COMPLETE"

_ENDED = re.compile(r"Loop terminated: (?P<reason>[^\n|]+)")
_COMPLETED = "Completion promise detected"

RESTART, LIMIT = 3, 2


class RalphParser:
    about = About("ralph", "Log in to the agent that `ralph` uses; `ralph doctor` says what is missing.")

    def __init__(self) -> None:
        self._readers = {"stdout": LineReader(), "stderr": LineReader()}
        self._plain = Tail(PLAIN_TEXT_KEPT)
        self._said = Tail(PLAIN_TEXT_KEPT)  # on stdout: its log on stderr is no message

    def feed(self, stream: Literal["stdout", "stderr"], data: bytes) -> list[Event]:
        return [event for line in self._readers[stream].feed(data) for event in self._read(stream, line)]

    def close(self, exit_code: int | None) -> list[Event]:
        events: list[Event] = []
        for stream in ("stdout", "stderr"):
            events += [event for line in self._readers[stream].close() for event in self._read(stream, line)]
        if exit_code is not None:
            events.append(self._judge(exit_code))
        return events

    def _read(self, stream: Literal["stdout", "stderr"], line: str) -> list[Event]:
        line = EscapeRemover().feed(line.rstrip("\r"))
        self._plain.add(line)
        if stream == "stderr":
            return []
        self._said.add(line)
        return [Text(line + "\n")]

    def _judge(self, exit_code: int) -> Final | AgentError | RateLimit:
        plain = "\n" + self._plain.text
        reasons = [match["reason"].strip() for match in _ENDED.finditer(plain)]
        reason = reasons[-1] if reasons else ""
        said = self._said.text.strip()
        completed = reason == _COMPLETED or (not reason and f"\n{said}".endswith(f"\n{COMPLETION_WORD}"))
        if exit_code == 0 and completed:
            return Final(said, completed=True)
        if exit_code in (0, LIMIT, RESTART) and not (exit_code and misuse(plain)):
            # its own limits are no failure: our next iteration goes on where it stopped
            return Final(said)
        if reason:
            return AgentError(ErrorKind.EXIT, f"ralph ended its loop: {reason}", "Its output has the details.")
        return known_failure(self.about, plain) or exit_error(self.about, exit_code, plain)


class RalphAdapter(CommandAdapter):
    """Which agent, model and permissions it uses stands in its own `ralph.yml`."""

    id = "ralph"
    name = "ralph"
    install_hint = "Install it with `npm install -g @ralph-orchestrator/ralph-cli` or `cargo install ralph-cli`."
    binary_name = "ralph"
    binary_env: str | None = "RALPH_RALPH_BINARY"

    def command(self, call: Invocation) -> Command:
        prompt = prompt_argument(call)
        given = ["--prompt", prompt] if prompt else ["--prompt-file", str(call.prompt_file)]
        return Command([find_binary(self, call), "run", "--autonomous", *given, *call.agent_args])

    def parser(self) -> RalphParser:
        return RalphParser()
