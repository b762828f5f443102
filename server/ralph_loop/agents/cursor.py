"""Cursor: ``cursor-agent -p --output-format stream-json``.

Claude's dialect with other names for tokens and with other tool calls, which have three forms:
``tool_call.shellToolCall.args``, ``tool_call.function`` and ``name``, ``input``.
With ``--stream-partial-output`` the text comes twice: in pieces that carry `timestamp_ms` and no `model_call_id`, and
then whole. `result` joins all messages of the turn, so the final message is the last `assistant` event instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ralph_loop.agents.base import Command, Event, Invocation, Retry, Usage, find_binary
from ralph_loop.agents.claude import ClaudeParser, content_text
from ralph_loop.agents.commandline import option, prompt_argument, prompt_bytes
from ralph_loop.agents.modelerrors import About
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.agents.records import Record, one_line, parse_record


class CursorParser(ClaudeParser):
    about = About("Cursor", "Set CURSOR_API_KEY, or run `cursor-agent login` once in a terminal.")
    allow_hint = "To allow single tools, see `permissions` in `.cursor/cli.json`."

    def on_record(self, record: Record) -> Iterable[Event]:
        match record.text("type"):
            case "tool_call":
                return self._tool_call(record)
            case "assistant" if "timestamp_ms" in record.fields and not record.text("model_call_id"):
                return self.messages.delta(_text(record))
            case "assistant" if self._told(_text(record)):
                self.messages.end()
                return ()
            case "retry" | "connection":
                return [Retry(one_line(f"{record.text('type')} {record.text('subtype')}"))]
            case "" if _nested(record)[0]:
                return self._tool_call(Record({"tool_call": record.fields, "subtype": "started"}))
            case _:
                return super().on_record(record)

    def _told(self, text: str) -> bool:
        """The whole text of which the pieces have come; at the end it holds all messages of the turn."""
        return self.messages.current != "" and text.endswith(self.messages.current)

    def _finish(self, record: Record) -> Iterator[Event]:
        if (text := self.messages.final) and not record.flag("is_error"):
            record = Record({**record.fields, "result": text})
        yield from super()._finish(record)

    def _total_usage(self, record: Record) -> Usage | None:
        usage = record.record("usage")
        read = sum(usage.integer(key) for key in ("inputTokens", "cacheReadTokens", "cacheWriteTokens"))
        written = usage.integer("outputTokens")
        return Usage(read, written) if read or written else None

    def _tool_call(self, record: Record) -> Iterator[Event]:
        name, call = _nested(record.record("tool_call"))
        if name:
            arguments, result = call.record("args"), call.record("result")
        else:
            name, arguments = record.text("name", "tool") or "tool", record.record("input") or record.record("args")
            result = record
        id_ = record.text("call_id", "id") or arguments.text("toolCallId")
        if record.text("subtype") in ("started", ""):
            yield from self.start_tool(id_, name, arguments)
        elif record.text("subtype") == "completed":
            error = _error(result)
            if "rejected" in result.fields or "permissionDenied" in result.fields:
                self.denied.append(f"{name} ({one_line(arguments.text('command', 'path') or error)})")
            yield from self.end_tool(id_, name, error)


def _text(record: Record) -> str:
    return "".join(block.text("text") for block in record.record("message").records("content"))


def _nested(call: Record) -> tuple[str, Record]:
    """``{"shellToolCall": {"args": …}}``: the name ``shell`` and what belongs to it. MCP tools come as functions."""
    if name := (function := call.record("function")).text("name"):
        arguments = parse_record(function.text("arguments")) or function.record("arguments")
        return name, Record({"args": arguments.fields, "result": function.record("result").fields})
    for key in call.fields:
        if key.endswith("ToolCall") and (found := call.record(key)):
            return key.removesuffix("ToolCall"), found
    return "", Record()


def _error(result: Record) -> str:
    """Results are ``{"success": …}`` or ``{"error": …}``, ``{"rejected": {"reason": …}}`` and more of that kind."""
    success = result.record("success")
    if code := success.integer("exitCode"):
        return f"exit code {code}: {success.text('stderr', 'stdout').strip()}"
    if result.flag("is_error"):
        return content_text(result) or "failed"
    for key in ("error", "failure", "rejected", "permissionDenied", "timeout", "fileNotFound"):
        if key in result.fields:
            detail = result.record(key)
            code = detail.integer("exitCode")
            words = detail.text("errorMessage", "error", "message", "reason", "stderr") or result.text(key) or key
            return f"exit code {code}: {words}" if code else words
    return ""


class CursorAdapter(CommandAdapter):
    """Off means the permissions of the user's `cli-config.json`, with no person to ask. The folder is trusted for the
    run (`--trust`): without that Cursor does not start."""

    id = "cursor"
    name = "Cursor CLI"
    install_hint = "Install it as cursor.com/cli says; it must be on the PATH as `cursor-agent`."
    binary_name = "cursor-agent"
    binary_env: str | None = "RALPH_CURSOR_BINARY"
    structured = True
    models: Sequence[str] = ("auto",)

    def command(self, call: Invocation) -> Command:
        prompt = prompt_argument(call)
        return Command(
            [
                *(find_binary(self, call), "-p", "--output-format", "stream-json", "--trust"),
                *(*(["--force"] if call.allow_all else []), *option("--model", call.model), *call.agent_args),
                *([prompt] if prompt else []),
            ],
            stdin=None if prompt else prompt_bytes(call),
        )

    def parser(self) -> CursorParser:
        return CursorParser()
