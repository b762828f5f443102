"""OpenCode: ``opencode run --format json``. The agent's end is a `step_finish` that asks for no further tool.

The final message is the text of the last message (`messageID`). Texts marked `synthetic`, and the summary that
OpenCode has the model write when it compacts a conversation, are not the agent's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from ralph_loop.agents.base import AgentError, Command, Event, Invocation, PermissionNote, RateLimit, Usage, find_binary
from ralph_loop.agents.commandline import option, prompt_bytes
from ralph_loop.agents.jsonlines import JsonLinesParser, Stream
from ralph_loop.agents.modelerrors import About, model_error
from ralph_loop.agents.opencode_permission import ASK_FIRST, VARIABLE
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.agents.ratelimit import reset_time
from ralph_loop.agents.records import Record, one_line

ABOUT = About("OpenCode", "Run `opencode auth login` once in a terminal, or set your provider's key.")
INSTALL_HINT = "Install it with `npm install -g opencode-ai`."
ALLOW_HINT = "To be asked, use the agent `opencode-server`; to allow single tools, `permission` in `opencode.json`."

# What the model may answer without being finished: it wants tools, or the provider said nothing.
_GOES_ON = {"tool-calls", "unknown", ""}

_REJECTED = re.compile(r"permission requested: (?P<what>.*?); auto-rejecting")
# "Unexpected server error. Check server logs for details." has a reference, under which its log tells the reason.
_REASON = re.compile(r'\bref=(?P<ref>err_\w+) error="(?P<reason>(?:[^"\\]|\\.)+)"')
_FORBIDDEN = "specified a rule which prevents you from using this specific tool call"
_REJECTED_TOOL = "rejected permission to use this specific tool call"


class OpenCodeParser(JsonLinesParser):
    about = ABOUT
    allow_hint = ALLOW_HINT

    def __init__(self) -> None:
        super().__init__()
        self._session = ""  # id of the first one
        self._message = ""  # id of the one that text comes from
        self._compacting = False
        self._tokens = (0, 0)
        self._cost = 0.0
        self._rejected = 0  # tool calls that came back as rejected
        self._had_errors = False
        self._ref = ""  # of the last error, when OpenCode kept its reason for its log
        self._reasons: dict[str, str] = {}  # by reference

    def on_record(self, record: Record) -> Iterable[Event]:
        part = record.record("part")
        own = self._is_own(record.text("sessionID") or part.text("sessionID"))
        match record.text("type"):
            case "text" if own:
                return self._text(part)
            case "tool_use":
                return self._tool(part)
            case "step_finish":
                return self._step_finish(part, own)
            case "error" if own:
                self._error(record)
            case _:
                pass
        return ()

    def on_plain(self, stream: Stream, line: str) -> Iterable[Event]:
        if stream == "stderr" and (found := _REJECTED.search(line)):
            what = one_line(found["what"])
            self.denied.append(what)
            yield PermissionNote(what.partition(" ")[0], f"OpenCode was refused: {what}")
        elif stream == "stderr" and (found := _REASON.search(line)):
            self._reasons[found["ref"]] = found["reason"]

    def close(self, exit_code: int | None) -> list[Event]:
        if self.failure and (reason := self._reasons.get(self._ref)):
            self.refused(reason)
        if self._rejected and not self.denied:
            self.denied.append("a tool that needs permission")
        if exit_code == 1 and self._had_errors and self.final and self.final.ok:
            exit_code = 0  # it exits with 1 after any error, also after one that it got over
        return super().close(exit_code)

    def _text(self, part: Record) -> Iterable[Event]:
        if part.flag("synthetic"):
            # "Continue if you have next steps": what came before it was the summary
            if part.record("metadata").flag("compaction_continue"):
                self._compacting = False
                self.messages.forget()
            return ()
        if part.flag("ignored") or self._compacting:
            return ()
        if part.text("messageID") != self._message:
            self.messages.end()
            self._message = part.text("messageID")
        return self.messages.delta(part.text("text"))

    def _tool(self, part: Record) -> Iterator[Event]:
        state, name, id_ = part.record("state"), part.text("tool") or "tool", part.text("callID", "id")
        yield from self.start_tool(id_, name, state.record("input"))
        error = tool_error(state)
        if _FORBIDDEN in error:
            self.denied.append(name)
        self._rejected += _REJECTED_TOOL in error
        yield from self.end_tool(id_, error=error)

    def _is_own(self, session: str) -> bool:
        """The first session is the prompt's; others are those of subagents."""
        self._session = self._session or session
        return session in ("", self._session)

    def _step_finish(self, part: Record, own: bool) -> Iterator[Event]:
        read, written = tokens_of(part.record("tokens"))
        self._tokens = (self._tokens[0] + read, self._tokens[1] + written)
        self._cost += part.number("cost")
        if read or written or self._cost:
            yield Usage(*self._tokens, self._cost if "cost" in part.fields else None)
        if part.text("reason") in _GOES_ON or self._compacting or not own:
            return
        if part.text("reason") == "length":
            self.refused("the answer was cut at the model's output limit")
            yield from self.finish(ok=False)
        else:
            yield from self.finish()

    def _error(self, record: Record) -> None:
        error = record.record("error")
        self.failure, self._had_errors = opencode_error(error), True
        self._ref = error.record("data").text("ref")
        self._compacting = error.text("name") == "ContextOverflowError"


def opencode_error(error: Record) -> RateLimit | AgentError:
    """What an error of OpenCode's means: `{name, data: {message, statusCode, responseHeaders, responseBody}}`."""
    name, data = error.text("name"), error.record("data")
    message = data.text("message") or error.text("message") or name or "an error without a message"
    reset_at = _reset_of(data)
    return model_error(ABOUT, message, status=data.integer("statusCode"), code=name, reset_at=reset_at)


def _reset_of(data: Record) -> datetime | None:
    """When the provider takes work again, by its headers, else by the body of its answer."""
    headers = {name.lower(): value for name, value in data.record("responseHeaders").fields.items()}
    waits = [f"{name}: {headers[name]}" for name in ("retry-after-ms", "retry-after") if name in headers]
    found = (reset_time(text, datetime.now(UTC)) for text in (*waits, data.text("responseBody")))
    return next(filter(None, found), None)


def tool_error(state: Record) -> str:
    """Why a tool failed, or "": a command that ended with another exit code than 0 counts as failed."""
    if state.text("status") == "error":
        return state.text("error") or "failed"
    if code := state.record("metadata").integer("exit"):
        return f"exit code {code}: {state.text('output').strip()}"
    return ""


def tokens_of(tokens: Record) -> tuple[int, int]:
    """Read (with the cached ones) and written (with the reasoning) tokens of a step or message."""
    cache = tokens.record("cache")
    read = tokens.integer("input") + cache.integer("read") + cache.integer("write")
    return read, tokens.integer("output") + tokens.integer("reasoning")


class OpenCodeAdapter(CommandAdapter):
    """Off means that OpenCode may edit and must ask for all else, which `opencode run` refuses by itself."""

    id = "opencode"
    name = "OpenCode"
    install_hint = INSTALL_HINT
    binary_name = "opencode"
    binary_env: str | None = "RALPH_OPENCODE_BINARY"
    structured = True

    def command(self, call: Invocation) -> Command:
        ask = {VARIABLE: json.dumps(dict.fromkeys(ASK_FIRST, "ask"))}
        return Command(
            [
                *(find_binary(self, call), "run", "--format", "json", "--print-logs", "--log-level", "ERROR"),
                *(*(["--auto"] if call.allow_all else []), *option("--model", call.model), *call.agent_args),
            ],
            stdin=prompt_bytes(call),
            env={} if call.allow_all or VARIABLE in call.env else ask,
        )

    def parser(self) -> OpenCodeParser:
        return OpenCodeParser()
