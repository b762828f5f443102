"""The Agent Client Protocol: what the updates of one prompt mean (agentclientprotocol.com/protocol)."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ralph_loop.agents.base import AgentError, Event, Note, RateLimit, Usage
from ralph_loop.agents.modelerrors import About, known_failure, model_error, refusal
from ralph_loop.agents.reading import Reading
from ralph_loop.agents.records import Record, as_record, one_line, tool_title

LONGEST_DIFF = 200_000  # characters of each side

_AUTH_REQUIRED = -32000
# How what agents' programs say themselves begins. It comes as if it were the model's, but whole and without an id.
COPILOT_NOTICES = ("Info: ", "Warning: ", "Error: ")
CODEX_NOTICES = (
    *("Model metadata for `", "Heads up: Long threads", "Falling back from WebSockets", "Context compacted"),
    *("Under-development features enabled: ", "Model rerouted"),
)

_STOPPED = {
    "max_tokens": "the answer was cut at the model's output limit",
    "max_turn_requests": "it reached its limit of requests to the model",
    "refusal": "the model refused to go on",
    "cancelled": "the prompt was cancelled",
}
_MARKS = {"completed": "[x]", "in_progress": "[/]"}


class AcpReading(Reading):
    def __init__(self, about: About, notices: tuple[str, ...] = ()) -> None:
        super().__init__(about)
        self._notices = notices
        self._message = ""  # id of the one that text comes from, where the agent gives ids
        self._error = ""  # what the agent's program said last, if that was an error
        self._calls: dict[str, Record] = {}  # tool calls as far as they are known, by id
        self._cost: float | None = None
        self._rejected = False  # by a person

    def read(self, update: Record) -> Iterable[Event]:
        kind = update.text("sessionUpdate")
        if kind == "agent_message_chunk":
            return self._chunk(update)
        if kind in ("tool_call", "tool_call_update"):
            return self._tool(update)
        if kind == "plan":
            self.messages.end()
            return [Note(line) for entry in update.records("entries") if (line := _plan_line(entry))]
        if kind == "usage_update":
            if not self._message:
                self.messages.end()  # Codex gives no ids, and tells its usage after each answer of the model
            if update.record("cost"):
                self._cost = update.record("cost").number("amount")
        elif kind in ("agent_thought_chunk", "user_message_chunk"):
            self.messages.end()
        return ()

    def call(self, update: Record) -> Record:
        """A tool call with all that was told of it so far."""
        id_ = update.text("toolCallId")
        known = self._calls.get(id_, Record())
        told = {key: value for key, value in update.fields.items() if value not in (None, {}, [])}
        name = known.text("name") or _name(update)
        self._calls[id_] = Record({**known.fields, **told, "name": name})
        return self._calls[id_]

    def start(self, call: Record) -> Iterator[Event]:
        """The tool call is known well enough to be told."""
        title = call_title(call)
        yield from self.start_tool(call.text("toolCallId"), call.text("name"), call.record("rawInput"), title)

    def rejected(self) -> None:
        """A person refused a tool. Some agents end their turn now: what they said before cannot be their last word."""
        self.messages.forget()
        self._rejected = True

    def ended(self, answer: Record) -> Iterator[Event]:
        """The agent answered the prompt: `{stopReason, usage}`."""
        usage = answer.record("usage")
        written = usage.integer("outputTokens")
        if read := max(usage.integer("totalTokens") - written, 0):
            yield Usage(read, written, self._cost)
        reason = answer.text("stopReason")
        if reason == "cancelled" and self._rejected:
            reason = "end_turn"  # so Codex ends its turn when it may not use a tool
        stopped = "" if reason == "end_turn" else _STOPPED.get(reason, "it gave no reason for its end")
        if stopped:
            self.refused(stopped)
        elif self._error:
            self.failure = known_failure(self.about, self._error) or model_error(self.about, self._error)
        yield from self.finish(ok=not (stopped or self._error))

    def failed(self, code: int, message: str, data: object) -> Iterator[Event]:
        """The agent answered the prompt with an error."""
        if code == _AUTH_REQUIRED:
            message = self.messages.final or message
        self.failure = request_error(self.about, code, message, data)
        yield from self.finish(ok=False)

    def _chunk(self, update: Record) -> Iterable[Event]:
        text, id_ = update.record("content").text("text"), update.text("messageId")
        if not id_ and text.startswith(self._notices):
            self.messages.end()
            self._error = text.removeprefix("Error: ") if text.startswith("Error: ") else ""
            return [Note(text)]
        if id_ != self._message:
            self.messages.end()
            self._message = id_
        self._error = ""
        return self.messages.delta(text)

    def _tool(self, update: Record) -> Iterator[Event]:
        self.messages.end()
        call = self.call(update)
        status = call.text("status")
        # a call is told of while its arguments are still coming
        if _telling(call) or status in ("completed", "failed"):
            yield from self.start(call)
        if status in ("completed", "failed"):
            yield from self.end_tool(call.text("toolCallId"), error=_error(call))


def call_title(call: Record) -> str:
    """One readable line: agents give titles such as "Run a test command" that do not say which."""
    name, title = call.text("name"), call.text("title")
    return _telling(call) or (one_line(f"{name}: {title}") if title not in ("", name) else one_line(name))


def call_diff(call: Record) -> str | None:
    """The change that a tool call is about, as a unified diff."""
    diffs = [block for block in call.records("content") if block.text("type") == "diff"]
    lines: list[str] = []
    for diff in diffs:
        old, new = diff.text("oldText")[:LONGEST_DIFF], diff.text("newText")[:LONGEST_DIFF]
        path = diff.text("path")
        before, after = (text.splitlines(keepends=True) for text in (old, new))
        lines += difflib.unified_diff(before, after, path if old else "/dev/null", path if new else "/dev/null")
    return "".join(lines) or call.record("rawInput").text("diff") or None


def call_pattern(call: Record, workspace: Path) -> str:
    """What an `always` is remembered for: exactly this command, or these files."""
    if command := _command(call.record("rawInput")):
        return command
    paths = [location.text("path").removeprefix(f"{workspace}/") for location in call.records("locations")]
    return ", ".join(paths) or call.text("title") or "*"


def _command(arguments: Record) -> str:
    """A command line, a list of words as Codex gives it, or a program with its arguments beside it."""
    command = arguments.text("command", "cmd") or shlex.join(arguments.texts("command"))
    return " ".join(filter(None, (command, shlex.join(arguments.texts("args")))))


def request_error(about: About, code: int, message: str, data: object) -> RateLimit | AgentError:
    """An error of JSON-RPC's. Agents put the model's status into its code, or the words into its data."""
    details = as_record(data)
    words = details.text("message", "details") or message.removeprefix("Internal error: ")
    told = {**details.fields, "errorType": details.text("errorKind", "errorName")}
    if 400 <= code < 600 or code == _AUTH_REQUIRED:
        told["statusCode"] = 401 if code == _AUTH_REQUIRED else code
    return refusal(about, Record(told), words)


def _telling(call: Record) -> str:
    """What the arguments say about a call, if they do."""
    name = call.text("name")
    title = tool_title(name, call.record("rawInput").fields)
    return title if title != tool_title(name, {}) else ""


def _name(update: Record) -> str:
    """Tools have a title and a kind in the protocol; some agents tell the name, too."""
    for extension in update.record("_meta").fields.values():
        if name := as_record(extension).text("toolName"):
            return name
    title = update.text("title")
    bare = title if title.isidentifier() else ""
    return update.text("name") or bare or update.text("kind") or "tool"


def _error(call: Record) -> str:
    output = call.record("rawOutput")
    # OpenCode, Codex and Copilot, in this order
    codes = (output.record("metadata").integer("exit"), output.integer("exit_code"))
    codes += tuple(content.integer("exitCode") for content in output.records("contents"))
    texts = [block.record("content").text("text") for block in call.records("content")]
    words = call.text("rawOutput") or output.text("output", "formatted_output", "error") or "\n".join(texts)
    if code := next(filter(None, codes), 0):
        return ": ".join(filter(None, (f"exit code {code}", words.strip())))
    return (words.strip() or "failed") if call.text("status") == "failed" else ""


def _plan_line(entry: Record) -> str:
    return one_line(f"{_MARKS.get(entry.text('status'), '[ ]')} {entry.text('content')}") if entry else ""


def select_option(options: Iterable[Mapping[str, str]], reply: str) -> str | None:
    """The id of the agent's own option for our reply. An `always` is ours to remember: the agent is told "once"."""
    wanted = ("reject_once", "reject_always") if reply == "reject" else ("allow_once", "allow_always")
    by_kind = {option["kind"]: option["optionId"] for option in reversed(list(options))}
    return next((by_kind[kind] for kind in wanted if kind in by_kind), None)
