"""Claude Code: ``claude -p --output-format stream-json``. The dialect is also that of Amp, and half of Cursor's.

The final message is the `result` of the first result event that has one: when background tasks end later, Claude
answers them and prints a second result, which is about them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from ralph_loop.agents.base import (
    AgentError,
    Command,
    ErrorKind,
    Event,
    Invocation,
    QuestionNote,
    RateLimit,
    Retry,
    Usage,
    find_binary,
)
from ralph_loop.agents.commandline import option, prompt_bytes
from ralph_loop.agents.jsonlines import JsonLinesParser
from ralph_loop.agents.modelerrors import About, model_error
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.agents.ratelimit import moment
from ralph_loop.agents.records import Record, one_line, tool_title

ASK_TOOL = "AskUserQuestion"

_TOOL_NAME = ("tool_name", "toolName", "tool")
_PARENT = ("parent_tool_use_id", "parentToolUseId")  # the tool call of a subagent

# Tools whose denial means that nobody was there to answer, not that something is not allowed.
_FOR_PEOPLE = {ASK_TOOL, "ExitPlanMode", "EnterPlanMode"}


class ClaudeParser(JsonLinesParser):
    about = About("Claude Code", "Set ANTHROPIC_API_KEY, or run `claude` once in a terminal and log in.")
    allow_hint = "To allow single tools, add `--allowedTools` and e.g. `Bash(npm test:*)` to `agentArgs`."

    def __init__(self) -> None:
        super().__init__()
        self._usage: dict[str, tuple[int, int]] = {}  # of each message by its id
        self._synthetic = ""  # the last message that is the CLI's own, not the model's
        self._error_code = ""  # what kind of error that message told of
        self._limited = False  # the CLI said that the model takes no more work
        self._reset_at: datetime | None = None
        self._asked: set[str] = set()  # questions

    def on_record(self, record: Record) -> Iterable[Event]:
        match record.text("type"):
            case "assistant":
                return self._assistant(record)
            case "user":
                return self._tool_results(record)
            case "tool_use":
                return self._tool_use(record)
            case "tool_result":
                return self._tool_result(record)
            case "stream_event":
                return self._delta(record)
            case "system" if record.text("subtype") == "api_retry":
                return [Retry(_retry_words(record))]
            case "rate_limit_event":
                self._note_limit(record.record("rate_limit_info"))
            case "result":
                return self._result(record)
            case _:
                pass
        return ()

    def _assistant(self, record: Record) -> Iterator[Event]:
        message = record.record("message")
        synthetic = message.text("model") == "<synthetic>" or bool(record.text("error")) or record.flag("isSynthetic")
        own = not (record.text(*_PARENT) or record.flag("isSidechain") or record.flag("isCompactSummary"))
        if isinstance(text := message.fields.get("content"), str) and own and not synthetic:
            yield from self.messages.whole(text)
        for block in message.records("content"):
            match block.text("type"):
                case "text" if synthetic:
                    self._synthetic, self._error_code = block.text("text"), record.text("error")
                case "text" if own:
                    yield from self.messages.whole(block.text("text"))
                case "tool_use" | "server_tool_use":
                    yield from self._tool_use(block)
                case _:
                    pass
        yield from self._message_usage(message)

    def _tool_use(self, block: Record) -> Iterator[Event]:
        name, arguments = block.text("name") or "tool", block.record("input")
        yield from self.start_tool(block.text("id"), name, arguments)
        if name == ASK_TOOL:
            yield from self._questions(arguments)

    def _questions(self, arguments: Record) -> Iterator[Event]:
        """Each once: what was asked is told again among the denials."""
        for question in arguments.records("questions") or [arguments]:
            labels = [option.text("label") for option in question.records("options")]
            if (text := question.text("question")) and text not in self._asked:
                self._asked.add(text)
                yield QuestionNote(text, [label for label in labels if label])

    def _message_usage(self, message: Record) -> Iterator[Event]:
        """Tokens so far: a stopped iteration has no result event that would tell them."""
        usage = message.record("usage")
        tokens = (_input_tokens(usage), usage.integer("output_tokens"))
        if any(tokens) and self._usage.get(message.text("id")) != tokens:
            self._usage[message.text("id")] = tokens
            yield Usage(*self._tokens())

    def _tokens(self) -> tuple[int, int]:
        return sum(read for read, _ in self._usage.values()), sum(written for _, written in self._usage.values())

    def _tool_results(self, record: Record) -> Iterator[Event]:
        for block in record.record("message").records("content"):
            if block.text("type") in ("tool_result", "web_search_tool_result"):
                yield from self._tool_result(block)

    def _tool_result(self, block: Record) -> Iterator[Event]:
        error = (content_text(block) or "failed") if block.flag("is_error") else ""
        yield from self.end_tool(block.text("tool_use_id"), error=error)

    def _delta(self, record: Record) -> Iterable[Event]:
        if record.text(*_PARENT):
            return ()
        event = record.record("event")
        if event.text("type") in ("content_block_start", "message_start"):
            self.messages.end()
        delta = event.record("delta")
        return self.messages.delta(delta.text("text")) if delta.text("type") == "text_delta" else ()

    def _note_limit(self, info: Record) -> None:
        self._limited = info.text("status") == "rejected" and not info.flag("isUsingOverage")
        if self._limited:
            self._reset_at = moment(info.fields.get("resetsAt")) or moment(info.fields.get("resets_at"))

    def on_exit(self, exit_code: int) -> RateLimit | AgentError | None:
        """A limit that was told and no result after it."""
        return RateLimit(f"{self.about.name}: rate limit", self._reset_at) if self._limited and exit_code > 0 else None

    def _result(self, record: Record) -> Iterator[Event]:
        if usage := self._total_usage(record):
            yield usage
        if self.final is None:
            yield from self._finish(record)

    def _finish(self, record: Record) -> Iterator[Event]:
        text = record.text("result")
        failed = record.flag("is_error") or record.text("subtype").startswith("error")
        synthetic = text != "" and text == self._synthetic
        if failed or synthetic:
            error = self._error(record)
            if failed or isinstance(error, RateLimit) or error.kind is not ErrorKind.OTHER:
                self.failure = error
        self.denied += record.texts("permission_denials")  # so Amp tells them
        for entry in record.records("permission_denials"):
            if (denial := _denial(entry)) and denial not in self.denied:
                self.denied.append(denial)
            if entry.text(*_TOOL_NAME) == ASK_TOOL:
                yield from self._questions(entry.record("tool_input") or entry.record("toolInput"))
        yield from self.finish("" if synthetic else text, ok=self.failure is None)

    def _error(self, record: Record) -> RateLimit | AgentError:
        words = record.text("result") or "; ".join(record.texts("errors")) or record.text("error") or self._synthetic
        code = self._error_code or record.text("terminal_reason")
        status = record.integer("api_error_status")
        error = model_error(self.about, words, status=status, code=code, reset_at=self._reset_at)
        if self._limited and isinstance(error, AgentError) and error.kind is ErrorKind.OTHER:
            return RateLimit(f"{self.about.name}: {one_line(words) or 'rate limit'}", self._reset_at)
        return error

    def _total_usage(self, record: Record) -> Usage | None:
        models = record.record("modelUsage")
        entries = [models.record(name) for name in models.fields]
        if entries:
            read = sum(
                entry.integer("inputTokens")
                + entry.integer("cacheReadInputTokens")
                + entry.integer("cacheCreationInputTokens")
                for entry in entries
            )
            written = sum(entry.integer("outputTokens") for entry in entries)
        elif usage := record.record("usage"):
            read, written = _input_tokens(usage), usage.integer("output_tokens")
        else:
            read, written = (
                (sum(numbers) for numbers in zip(*self._usage.values(), strict=True)) if self._usage else (0, 0)
            )
        cost = record.number("total_cost_usd") if "total_cost_usd" in record.fields else None
        return Usage(read, written, cost) if read or written or cost else None


def content_text(block: Record) -> str:
    """The text of a tool result, which is a string or a list of blocks."""
    text = block.text("content") or "\n".join(part.text("text") for part in block.records("content"))
    return text.replace("<tool_use_error>", "").replace("</tool_use_error>", "").strip()


def _input_tokens(usage: Record) -> int:
    """With the cached ones: other agents count them in, too."""
    return (
        usage.integer("input_tokens")
        + usage.integer("cache_creation_input_tokens")
        + usage.integer("cache_read_input_tokens")
    )


def _denial(entry: Record) -> str:
    """`tool_name` and `tool_input`, or `tool` and `command` in older versions. "" for tools that only ask people."""
    name = entry.text(*_TOOL_NAME) or "a tool"
    if name in _FOR_PEOPLE:
        return ""
    arguments = entry.record("tool_input") or entry.record("toolInput") or entry
    what = tool_title(name, {key: value for key, value in arguments.fields.items() if key != "tool"})
    return f"{name} ({what.removeprefix(name + ': ')})" if what != name else name


def _retry_words(record: Record) -> str:
    reason = record.text("error").replace("_", " ") or "the model did not answer"
    status = f" ({status})" if (status := record.integer("error_status")) else ""
    return one_line(f"{reason}{status}: attempt {record.integer('attempt')} of {record.integer('max_retries')}")


class ClaudeAdapter(CommandAdapter):
    """Off means `acceptEdits`: files in the workspace may be edited, all else that would need a person is denied."""

    id = "claude"
    name = "Claude Code"
    install_hint = "Install it with `npm install -g @anthropic-ai/claude-code`."
    binary_name = "claude"
    binary_env: str | None = "RALPH_CLAUDE_BINARY"
    structured = True
    models: Sequence[str] = ("opus", "sonnet", "haiku")

    def command(self, call: Invocation) -> Command:
        mode = ["--dangerously-skip-permissions"] if call.allow_all else ["--permission-mode", "acceptEdits"]
        return Command(
            [
                *(find_binary(self, call), "-p", "--output-format", "stream-json", "--verbose"),
                *(*mode, *option("--model", call.model), *call.agent_args),
            ],
            stdin=prompt_bytes(call),
        )

    def parser(self) -> ClaudeParser:
        return ClaudeParser()
