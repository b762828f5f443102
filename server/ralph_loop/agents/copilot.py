"""GitHub Copilot CLI: ``copilot --output-format json``. The final message is the last `assistant.message` with text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ralph_loop.agents.base import Command, Event, Invocation, Retry, Usage, find_binary
from ralph_loop.agents.commandline import option, prompt_bytes
from ralph_loop.agents.jsonlines import JsonLinesParser
from ralph_loop.agents.modelerrors import About, refusal
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.agents.records import Record, one_line


class CopilotParser(JsonLinesParser):
    about = About("Copilot", "Run `copilot` once in a terminal and log in with `/login`, or set GH_TOKEN.")
    allow_hint = "To allow single tools, add `--allow-tool` and e.g. `shell(npm:*)` to `agentArgs`."

    def __init__(self) -> None:
        super().__init__()
        self._message = ""  # id of the one that text comes from
        self._usage = Usage(0, 0)

    def on_record(self, record: Record) -> Iterable[Event]:
        data = record.record("data")
        own = not data.text("parentToolCallId") and not record.text("agentId")
        match record.text("type"):
            case "assistant.message_delta" if own:
                return self._delta(data)
            case "assistant.message" if own:
                return self._whole(data)
            case "tool.execution_start":
                return self._tool_start(data)
            case "tool.execution_complete":
                return self._tool_end(data)
            case "assistant.usage":
                return self._add_usage(data)
            case "assistant.turn_retry":
                return [Retry(one_line(data.text("reason").replace("_", " ") or "the model did not answer"))]
            case "session.error":
                self.failure = refusal(self.about, data)
            case "result":
                return self.finish(ok=record.integer("exitCode") == 0)
            case _:
                pass
        return ()

    def _delta(self, data: Record) -> Iterable[Event]:
        if data.text("messageId") != self._message:
            self.messages.end()
            self._message = data.text("messageId")
        return self.messages.delta(data.text("deltaContent"))

    def _whole(self, data: Record) -> Iterable[Event]:
        if data.text("messageId") != self._message:
            self.messages.end()
        return self.messages.whole(data.text("content"))

    def _tool_start(self, data: Record) -> Iterable[Event]:
        return self.start_tool(data.text("toolCallId"), data.text("toolName") or "tool", data.record("arguments"))

    def _tool_end(self, data: Record) -> Iterator[Event]:
        error, code = "", data.record("shellExecution").integer("exitCode")
        if data.fields.get("success") is False:
            error = data.record("error").text("message") or data.record("result").text("content") or "failed"
            if data.record("error").text("code") in ("denied", "rejected", "permission_denied"):
                self.denied.append(self.running.get(data.text("toolCallId"), "a tool"))
        elif code:
            error = f"exit code {code}: {data.record('result').text('content')}"
        yield from self.end_tool(data.text("toolCallId"), error=error)

    def _add_usage(self, data: Record) -> Iterator[Event]:
        read = self._usage.input_tokens + data.integer("inputTokens")
        self._usage = Usage(read, self._usage.output_tokens + data.integer("outputTokens"))
        yield self._usage


class CopilotAdapter(CommandAdapter):
    """Off means that only the tool `write` is allowed; what else would need a person is denied."""

    id = "copilot"
    name = "GitHub Copilot CLI"
    install_hint = "Install it with `npm install -g @github/copilot`."
    binary_name = "copilot"
    binary_env: str | None = "RALPH_COPILOT_BINARY"
    structured = True
    models: Sequence[str] = ("claude-sonnet-4.5", "gpt-5.1")

    def command(self, call: Invocation) -> Command:
        mode = ["--allow-all"] if call.allow_all else ["--allow-tool=write"]
        return Command(
            [
                *(find_binary(self, call), "--output-format", "json", "--no-ask-user", "--no-auto-update"),
                *(*mode, *option("--model", call.model), *call.agent_args),
            ],
            stdin=prompt_bytes(call),
        )

    def parser(self) -> CopilotParser:
        return CopilotParser()
