"""Gemini CLI: ``gemini --output-format stream-json``. Deltas between tool calls make a message; the last one counts.

Its exit code is the HTTP status of the model modulo 256, or one of its own codes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ralph_loop.agents.base import AgentError, Command, ErrorKind, Event, Invocation, RateLimit, Usage, find_binary
from ralph_loop.agents.commandline import option, prompt_bytes
from ralph_loop.agents.jsonlines import JsonLinesParser, Stream
from ralph_loop.agents.modelerrors import About, error_of, model_error, refusal
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.agents.records import Record, one_line

_STATUSES = (400, 401, 402, 403, 404, 413, 429, 500, 502, 503, 504, 529)
STATUS_BY_EXIT_CODE = {status % 256: status for status in _STATUSES}

# Tools that Gemini does not offer to the model when nobody could allow them; models may call them nevertheless.
_LEFT_OUT = {"run_shell_command", "web_fetch", "google_web_search", "save_memory"}


_DENIED = re.compile(
    r"requires user confirmation|requires user approval|denied by (policy|user)|blocked by policy", re.IGNORECASE
)


class GeminiParser(JsonLinesParser):
    about = About("Gemini", "Set GEMINI_API_KEY, or run `gemini` once in a terminal and log in.")
    allow_hint = "To allow single tools, write a policy file and name it in `agentArgs` with `--policy`."

    def __init__(self) -> None:
        super().__init__()
        self._refusal = ""  # the last answer of the model that was an error, from stderr

    def on_record(self, record: Record) -> Iterable[Event]:
        match record.text("type"):
            case "message" if record.text("role") == "assistant" and not record.flag("thought"):
                text = record.text("content")
                return self.messages.delta(text) if record.flag("delta") else self.messages.whole(text)
            case "tool_use":
                return self._tool_use(record)
            case "tool_result":
                return self._tool_result(record)
            case "error" if record.text("severity") != "warning":
                self.refused(record.text("message") or "an error without a message")
            case "result":
                return self._result(record)
            case _:
                pass
        return ()

    def on_plain(self, stream: Stream, line: str) -> Iterable[Event]:
        if stream == "stderr" and '"message"' in line and (found := line.find("{")) >= 0:
            self._refusal = line[found:]
        return ()

    def on_exit(self, exit_code: int) -> RateLimit | AgentError | None:
        if status := STATUS_BY_EXIT_CODE.get(exit_code):
            return model_error(self.about, self._refusal, status=status)
        if exit_code == 41:
            return error_of(self.about, ErrorKind.AUTH, self._plain.text.splitlines()[-1] if self._plain.text else "")
        return None

    def _tool_use(self, record: Record) -> Iterable[Event]:
        return self.start_tool(record.text("tool_id"), record.text("tool_name") or "tool", record.record("parameters"))

    def _tool_result(self, record: Record) -> Iterator[Event]:
        error = ""
        if record.text("status") == "error":
            error = record.record("error").text("message") or record.text("output") or "failed"
            name = self.running.get(record.text("tool_id"), "")
            denied = ("not found" in error and name in _LEFT_OUT) or _DENIED.search(error)
            if denied and name not in self.denied:
                self.denied.append(name)
        yield from self.end_tool(record.text("tool_id"), error=error)

    def _result(self, record: Record) -> Iterator[Event]:
        stats = record.record("stats")
        if stats.integer("input_tokens") or stats.integer("output_tokens"):
            yield Usage(stats.integer("input_tokens"), stats.integer("output_tokens"))
        ok = record.text("status") not in ("error", "failed") and not record.record("error")
        if not ok and (message := one_line(record.record("error").text("message"), 1000)):
            self.failure = refusal(self.about, record.record("error"), message)
        yield from self.finish(ok=ok)


class GeminiAdapter(CommandAdapter):
    """Off means `auto_edit`. The folder is trusted for the run (`--skip-trust`): without that Gemini does not start."""

    id = "gemini"
    name = "Gemini CLI"
    install_hint = "Install it with `npm install -g @google/gemini-cli`."
    binary_name = "gemini"
    binary_env: str | None = "RALPH_GEMINI_BINARY"
    structured = True
    models: Sequence[str] = ("gemini-3-pro-preview", "gemini-2.5-pro", "gemini-2.5-flash")

    def command(self, call: Invocation) -> Command:
        mode = "yolo" if call.allow_all else "auto_edit"
        return Command(
            [
                *(find_binary(self, call), "--output-format", "stream-json", "--skip-trust", "--approval-mode", mode),
                *(*option("--model", call.model), *call.agent_args),
            ],
            stdin=prompt_bytes(call),
        )

    def parser(self) -> GeminiParser:
        return GeminiParser()
