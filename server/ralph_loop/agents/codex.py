"""Codex: ``codex exec --json``. The final message is the last `agent_message` before `turn.completed`.

Older versions print another dialect (codex_messages.py), or call the type of an item `item_type`.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence

from ralph_loop.agents.base import Command, Event, Invocation, Note, Retry, Usage, find_binary
from ralph_loop.agents.codex_messages import newer
from ralph_loop.agents.commandline import option, prompt_bytes
from ralph_loop.agents.jsonlines import JsonLinesParser
from ralph_loop.agents.modelerrors import About, refusal
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.agents.records import Record, one_line, tool_title

_NO_TOOLS = {"agent_message", "assistant_message", "reasoning", "error", "todo_list", "user_message", ""}


class CodexParser(JsonLinesParser):
    about = About("Codex", "Set CODEX_API_KEY, or run `codex login` once in a terminal.")
    allow_hint = "Or choose another sandbox with `agentArgs`, e.g. `-c` `sandbox_workspace_write.network_access=true`."

    def on_record(self, record: Record) -> Iterable[Event]:
        if message := record.record("msg"):
            record = newer(message)
        match record.text("type"):
            case "item.started":
                return self._start(record.record("item"))
            case "item.updated":
                return ()
            case "item.completed":
                return self._item(record.record("item"))
            case "turn.completed":
                return self._completed(record)
            case "usage":
                return self._usage(record.record("usage"))
            case "turn.failed":
                return self._failed(record)
            case "error":
                return self._error(record)
            case "stream_error":
                return [Retry(one_line(_message(record) or "the model did not answer"))]
            case _:
                return ()

    def _start(self, item: Record) -> Iterable[Event]:
        name = _type(item)
        if name in _NO_TOOLS:
            return ()
        if name == "mcp_tool_call":
            name = ".".join(filter(None, (item.text("server"), item.text("tool")))) or name
        arguments = {key: value for key, value in item.fields.items() if key in _ARGUMENTS}
        if command := item.text("command"):
            title = tool_title(name, arguments | {"command": shell_command(command)})
        else:
            title = tool_title(name, arguments)
        if paths := [change.text("path") for change in item.records("changes")]:
            title = one_line(f"{name}: {', '.join(paths)}")
        return self.start_tool(item.text("id"), name, Record(arguments), title)

    def _item(self, item: Record) -> Iterator[Event]:
        if _type(item) in ("agent_message", "assistant_message"):
            yield from self.messages.whole(item.text("text"))
            return
        if _type(item) == "error":
            yield Note(one_line(item.text("message"), 1000))  # a warning: errors are events of their own
        yield from self._start(item)
        status, code = item.text("status"), item.integer("exit_code")
        error = ""
        if code or status in ("failed", "declined"):
            output = item.text("aggregated_output").strip() or _message(item)
            error = ": ".join(filter(None, (f"exit code {code}" if code else status, output)))
        if status == "declined":
            self.denied.append(one_line(item.text("command") or _type(item)))
        yield from self.end_tool(item.text("id"), error=error)

    def _completed(self, record: Record) -> Iterator[Event]:
        yield from self._usage(record.record("usage"))
        yield from self.finish(record.text("message"))

    def _usage(self, usage: Record) -> Iterator[Event]:
        read, written = usage.integer("input_tokens"), usage.integer("output_tokens")
        if read or written:
            # of the whole thread, so with `resume` also what was used before; we always start a new one
            yield Usage(read, written)

    def _failed(self, record: Record) -> Iterator[Event]:
        if (message := _message(record)) or self.failure is None:
            self.failure = refusal(self.about, record.record("error") or record, message or "the turn failed")
        yield from self.finish(ok=False)

    def _error(self, record: Record) -> Iterator[Event]:
        message = _message(record)
        if message.startswith("Reconnecting"):
            yield Retry(one_line(message))
        else:
            self.failure = refusal(self.about, record.record("error") or record, message)


def shell_command(command: str) -> str:
    """What runs inside Codex's own ``/bin/bash -lc '…'``."""
    try:
        words = shlex.split(command)
    except ValueError:
        return command
    return words[2] if len(words) == 3 and words[1] in ("-lc", "-c") else command


_ARGUMENTS = {"command", "changes", "query", "arguments", "prompt", "server", "tool", "url", "path"}


def _type(item: Record) -> str:
    return item.text("type", "item_type")


def _message(record: Record) -> str:
    """`message` of the record or of its `error`, or an `error` that is a string."""
    return record.text("message") or record.record("error").text("message") or record.text("error")


class CodexAdapter(CommandAdapter):
    """Off means the sandbox `workspace-write`; `codex exec` never asks, what the sandbox forbids fails."""

    id = "codex"
    name = "Codex"
    install_hint = "Install it with `npm install -g @openai/codex`."
    binary_name = "codex"
    binary_env: str | None = "RALPH_CODEX_BINARY"
    structured = True
    models: Sequence[str] = ("gpt-5.1-codex", "gpt-5.1")

    def command(self, call: Invocation) -> Command:
        everything = "--dangerously-bypass-approvals-and-sandbox"
        mode = [everything] if call.allow_all else ["--sandbox", "workspace-write"]
        return Command(
            [
                *(find_binary(self, call), "exec", "--json", "--skip-git-repo-check"),
                *(*mode, *option("--model", call.model), *call.agent_args, "-"),
            ],
            stdin=prompt_bytes(call),
        )

    def parser(self) -> CodexParser:
        return CodexParser()
