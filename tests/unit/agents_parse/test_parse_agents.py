"""The dialects of the other agents, line by line."""

from __future__ import annotations

import json

import pytest
from agents_parsing import NOTHING, only, read, text_of, tools_of

from ralph_loop.agents.base import (
    AgentError,
    ErrorKind,
    Event,
    Final,
    Note,
    RateLimit,
    Retry,
    ToolEnd,
    ToolStart,
    Usage,
)


def message_of(events: list[Event]) -> str | None:
    (final,) = [event for event in only(Final, events) if event.ok]
    return final.message


def errors_of(events: list[Event]) -> list[ErrorKind]:
    return [error.kind for error in only(AgentError, events)]


# ----------------------------------------------------------------------------------------------------------- Codex


def test_codex_keeps_its_last_message() -> None:
    items = [
        {"id": "0", "type": "agent_message", "text": "<promise>X</promise>"},
        {"id": "1", "type": "reasoning", "text": "<promise>Y</promise>"},
        {"id": "2", "type": "agent_message", "text": "Still working"},
        {"id": "3", "type": "error", "message": "Model metadata not found. Defaulting to fallback metadata."},
        {"id": "4", "type": "todo_list", "items": ["x"]},
    ]
    records = [{"type": "item.completed", "item": item} for item in items]
    events = read("codex", *records, {"type": "turn.completed", "usage": NOTHING})
    assert message_of(events) == "Still working"
    assert [note.text for note in only(Note, events)] == [items[3]["message"]]
    assert errors_of(events) == []


def test_codex_tools() -> None:
    items = [
        {"id": "1", "type": "command_execution", "command": "/bin/bash -lc 'npm test'", "exit_code": 1,
         "aggregated_output": "command not found", "status": "failed"},
        {"id": "2", "type": "mcp_tool_call", "server": "docs", "tool": "find", "status": "completed"},
        {"id": "3", "type": "file_change", "changes": [{"path": "a.py"}, {"path": "b.py"}], "status": "completed"},
    ]  # fmt: skip
    records = [{"type": "item.started", "item": items[0]}] + [
        {"type": "item.completed", "item": item} for item in items
    ]
    events = read("codex", *records, {"type": "turn.completed"})
    assert tools_of(events) == [("command_execution", True), ("docs.find", False), ("file_change", False)]
    assert [tool.title for tool in only(ToolStart, events)] == [
        "command_execution: npm test",
        "docs.find",
        "file_change: a.py, b.py",
    ]
    assert only(ToolEnd, events)[0].error == "exit code 1: command not found"


def test_codex_declined_commands_are_denied() -> None:
    item = {"id": "1", "type": "command_execution", "command": "curl x", "status": "declined", "exit_code": None}
    events = read("codex", {"type": "item.completed", "item": item}, {"type": "turn.completed"})
    assert errors_of(events) == [ErrorKind.PERMISSION]


@pytest.mark.parametrize(
    ("record", "kind"),
    [
        ({"type": "error", "error": "Direct string error"}, ErrorKind.OTHER),
        ({"type": "turn.failed", "error": {"message": "unexpected status 401 Unauthorized: bad key"}}, ErrorKind.AUTH),
        ({"type": "turn.failed", "error": {"message": "stream disconnected before completion"}}, ErrorKind.SERVER),
        (
            {"type": "turn.failed", "error": {"message": "unexpected status 404: model_not_found"}},
            ErrorKind.MODEL_NOT_FOUND,
        ),
        ({"type": "turn.failed"}, ErrorKind.OTHER),
    ],
)
def test_codex_failures(record: object, kind: ErrorKind) -> None:
    assert errors_of(read("codex", record, exit_code=1)) == [kind]


def test_codex_reconnecting_is_a_retry() -> None:
    events = read("codex", {"type": "error", "message": "Reconnecting... 1/5 (429)"}, {"type": "turn.completed"})
    assert [type(event) for event in events] == [Retry, Final]


# -------------------------------------------------------------------------------------------------------- OpenCode


def opencode_text(text: str, message: str = "msg_1", **more: object) -> dict[str, object]:
    return {"type": "text", "part": {"type": "text", "messageID": message, "text": text, **more}}


def step(reason: str) -> dict[str, object]:
    return {"type": "step_finish", "part": {"reason": reason, "tokens": {"input": 5, "output": 1}, "cost": 0}}


def test_opencode_only_its_last_message_counts() -> None:
    events = read(
        "opencode",
        opencode_text("<promise>X</promise>", "msg_1"),
        step("tool-calls"),
        opencode_text("Now ", "msg_2"),
        opencode_text("finished", "msg_2"),
        opencode_text("<promise>X</promise>", "msg_3", synthetic=True),
        step("stop"),
    )
    assert message_of(events) == "Now finished"


def test_opencode_a_summary_is_no_message() -> None:
    overflow = {"type": "error", "error": {"name": "ContextOverflowError", "data": {"message": "prompt is too long"}}}
    go_on = opencode_text("Continue", "msg_3", synthetic=True, metadata={"compaction_continue": True})
    summary = [opencode_text("Summary: <promise>X</promise>", "msg_2"), step("stop")]

    cut_off = read("opencode", opencode_text("Working"), overflow, *summary)
    assert errors_of(cut_off) == [ErrorKind.CONTEXT_OVERFLOW]
    assert not only(Final, cut_off)

    for exit_code in (0, 1):  # it exits with 1 after any error
        records = [opencode_text("Working"), overflow, *summary, go_on, opencode_text("On", "msg_4"), step("stop")]
        events = read("opencode", *records, exit_code=exit_code)
        assert message_of(events) == "On"
        assert errors_of(events) == []


@pytest.mark.parametrize(("reason", "finished"), [("stop", True), ("tool-calls", False), ("unknown", False)])
def test_opencode_is_finished_when_it_wants_no_tool(reason: str, finished: bool) -> None:
    events = read("opencode", opencode_text("x"), step(reason))
    assert bool(only(Final, events)) is finished
    assert errors_of(events) == ([] if finished else [ErrorKind.NO_FINAL])


def test_opencode_an_answer_that_was_cut_is_no_success() -> None:
    events = read("opencode", opencode_text("x"), step("length"))
    assert errors_of(events) == [ErrorKind.OTHER]


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("APIError", {"message": "invalid api key", "statusCode": 401}, ErrorKind.AUTH),
        ("ProviderAuthError", {"message": "no key", "providerID": "x"}, ErrorKind.AUTH),
        ("UnknownError", {"message": "Model not found: fake/nope."}, ErrorKind.MODEL_NOT_FOUND),
        ("APIError", {"message": "boom", "statusCode": 503}, ErrorKind.SERVER),
        ("MessageAbortedError", {"message": "Aborted"}, ErrorKind.OTHER),
    ],
)
def test_opencode_errors(name: str, data: object, kind: ErrorKind) -> None:
    assert errors_of(read("opencode", {"type": "error", "error": {"name": name, "data": data}}, exit_code=1)) == [kind]


# ---------------------------------------------------------------------------------------------------------- Gemini


def test_gemini_exit_codes_are_statuses() -> None:
    stderr = 'Attempt 1 failed: _ApiError: {"error":{"code":401,"message":"API key not valid","status":"X"}}\n'
    (error,) = only(AgentError, read("gemini", err=stderr, exit_code=401 % 256))
    assert (error.kind, error.fatal) == (ErrorKind.AUTH, True)
    assert error.message.endswith(": API key not valid")
    assert only(RateLimit, read("gemini", exit_code=429 % 256))
    assert errors_of(read("gemini", exit_code=500 % 256)) == [ErrorKind.SERVER]
    assert errors_of(read("gemini", exit_code=41)) == [ErrorKind.AUTH]
    assert errors_of(read("gemini", exit_code=55)) == [ErrorKind.EXIT]


def test_gemini_a_result_that_failed_with_exit_code_0() -> None:
    error = {"type": "error", "severity": "error", "message": "The model returned an empty response"}
    warning = {"type": "error", "severity": "warning", "message": "Loop detected, stopping"}
    result = {"type": "result", "status": "error", "stats": NOTHING}
    events = read("gemini", warning, error, result)
    assert [final.ok for final in only(Final, events)] == [False]
    assert errors_of(events) == [ErrorKind.SERVER]


def test_gemini_the_echoed_prompt_is_not_its_message() -> None:
    events = read(
        "gemini",
        {"type": "message", "role": "user", "content": "<promise>X</promise>"},
        {"type": "message", "role": "assistant", "content": "No.", "delta": True},
        {"type": "result", "stats": {"total_tokens": 500, "input_tokens": 350, "output_tokens": 150}},
    )
    assert message_of(events) == "No."
    assert only(Usage, events) == [Usage(350, 150)]


# --------------------------------------------------------------------------------------------------------- Copilot


def test_copilot_an_empty_last_message_does_not_hide_the_answer() -> None:
    events = read(
        "copilot",
        {"type": "user.message", "data": {"content": "<promise>X</promise>"}},
        {"type": "assistant.message", "data": {"content": "answer"}},
        {"type": "assistant.message", "data": {"content": "from a subagent", "parentToolCallId": "call_1"}},
        {"type": "assistant.message", "data": {"content": "", "toolRequests": []}},
        {"type": "result", "exitCode": 0, "usage": {"sessionDurationMs": 34}},
    )
    assert message_of(events) == "answer"
    assert text_of(events) == "answer"


def test_copilot_tells_why_it_failed() -> None:
    error = {"errorType": "authentication", "message": "Authentication failed (HTTP 401).", "statusCode": 401}
    events = read("copilot", {"type": "session.error", "data": error}, {"type": "result", "exitCode": 1}, exit_code=1)
    assert errors_of(events) == [ErrorKind.AUTH]


# ---------------------------------------------------------------------------------------------------------- Cursor


def cursor_says(text: str, **more: object) -> dict[str, object]:
    return {"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": text}]}, **more}


@pytest.mark.parametrize(
    ("started", "completed", "title"),
    [
        (
            {"call_id": "a\nb", "tool_call": {"shellToolCall": {"args": {"command": "ls -la"}}}},
            {
                "call_id": "a\nb",
                "tool_call": {"shellToolCall": {"args": NOTHING, "result": {"success": {"exitCode": 2}}}},
            },
            "shell: ls -la",
        ),
        (
            {"tool_call": {"readToolCall": {"args": {"path": "/test"}}}},
            {"tool_call": {"readToolCall": {"args": NOTHING, "result": {"error": {"errorMessage": "no file"}}}}},
            "read: /test",
        ),
        (
            {"tool_call": {"function": {"name": "fetch", "arguments": '{"url": "http://x"}'}}},
            {"tool_call": {"function": {"name": "fetch", "arguments": "{}", "result": {"error": {"error": "no"}}}}},
            "fetch: http://x",
        ),
        ({"name": "Read", "input": {"path": "/test"}}, {"name": "Read", "error": "no file"}, "Read: /test"),
    ],
)
def test_cursor_all_forms_of_tool_calls(started: dict[str, object], completed: dict[str, object], title: str) -> None:
    events = read(
        "cursor",
        {"type": "tool_call", "subtype": "started", **started},
        {"type": "tool_call", "subtype": "completed", **completed},
        cursor_says("done"),
        {"type": "result", "subtype": "success", "result": "done"},
    )
    assert [tool.title for tool in only(ToolStart, events)] == [title]
    assert [tool.error is not None for tool in only(ToolEnd, events)] == [True]


def test_cursor_a_bare_tool_call() -> None:
    events = read("cursor", {"shellToolCall": {"args": {"command": "wc -l drill.md", "timeout": 0}}}, exit_code=None)
    assert [tool.title for tool in only(ToolStart, events)] == ["shell: wc -l drill.md"]


def test_cursor_tells_its_tokens_at_the_end() -> None:
    usage = {"inputTokens": 100, "outputTokens": 20, "cacheReadTokens": 30, "cacheWriteTokens": 4}
    events = read("cursor", cursor_says("Done."), {"type": "result", "result": "Done.", "usage": usage})
    assert only(Usage, events) == [Usage(134, 20)]


def test_cursor_its_result_joins_all_messages_and_is_not_the_final_one() -> None:
    events = read(
        "cursor",
        cursor_says("Step one.\n", model_call_id="m", timestamp_ms=1),
        {"type": "tool_call", "subtype": "started", "name": "Read", "input": NOTHING},
        cursor_says("<promise>X</promise> is not yet due."),
        {"type": "result", "subtype": "success", "result": "Step one.\n<promise>X</promise> is not yet due."},
    )
    assert message_of(events) == "<promise>X</promise> is not yet due."


def test_cursor_partial_output_is_told_once() -> None:
    tool = {"type": "tool_call", "subtype": "started", "name": "Read", "input": NOTHING}
    events = read(
        "cursor",
        cursor_says("Let me ", timestamp_ms=1),
        cursor_says("look.", timestamp_ms=2),
        cursor_says("Let me look.", timestamp_ms=3, model_call_id="m"),
        tool,
        cursor_says("All ", timestamp_ms=4),
        cursor_says("done.", timestamp_ms=5),
        cursor_says("Let me look.All done."),
        {"type": "result", "subtype": "success", "result": "Let me look.All done."},
    )
    assert text_of(events) == "Let me look.\nAll done."
    assert message_of(events) == "All done."


def test_cursor_rejected_commands_are_denied() -> None:
    call = {"shellToolCall": {"args": {"command": "rm x"}, "result": {"rejected": {"reason": "not allowed"}}}}
    events = read(
        "cursor",
        {"type": "tool_call", "subtype": "started", "call_id": "1", "tool_call": call},
        {"type": "tool_call", "subtype": "completed", "call_id": "1", "tool_call": call},
        cursor_says("I may not."),
        {"type": "result", "result": "I may not."},
    )
    assert errors_of(events) == [ErrorKind.PERMISSION]


def test_amp_speaks_claudes_dialect() -> None:
    usage = {"input_tokens": 12783, "cache_read_input_tokens": 1, "output_tokens": 8}
    events = read(
        "amp",
        {"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "what is 2+2?"}]}},
        {"type": "assistant", "message": {"content": [{"type": "text", "text": "4."}], "usage": usage}},
        {"type": "result", "subtype": "success", "is_error": False, "num_turns": 1, "result": "4."},
    )
    assert message_of(events) == "4."
    assert only(Usage, events)[-1] == Usage(12784, 8)


def test_amp_tells_what_was_denied() -> None:
    result = {"type": "result", "subtype": "success", "result": "I may not.", "permission_denials": ["Bash: git push"]}
    (error,) = only(AgentError, read("amp", result))
    assert (error.kind, "Bash: git push" in error.message) == (ErrorKind.PERMISSION, True)


def test_amp_takes_the_prompt_for_a_login_code_when_it_has_no_key() -> None:
    said = (
        "No API key found. Starting login flow...\nIf your browser does not open automatically, visit:\n\nhttps://x\n"
    )
    (error,) = only(AgentError, read("amp", err=f"{said}Login failed: That code looks incomplete.\n", exit_code=1))
    assert (error.kind, error.fatal) == (ErrorKind.AUTH, True)
    assert error.hint and "AMP_API_KEY" in error.hint


def test_opencode_keeps_a_reason_for_its_log() -> None:
    """An unknown model is told so by `opencode run`."""
    message = "Unexpected server error. Check server logs for details."
    told = {"type": "error", "error": {"name": "UnknownError", "data": {"message": message, "ref": "err_1"}}}
    log = (
        'level=ERROR message=failed ref=err_0 error="Other: \\"x\\""\n'
        'level=ERROR message=failed ref=err_1 error="ProviderModelNotFoundError: Model not found: fake/nope."\n'
    )
    (error,) = only(AgentError, read("opencode", told, err=log, exit_code=1))
    assert (error.kind, error.fatal) == (ErrorKind.MODEL_NOT_FOUND, True)
    assert "fake/nope" in error.message


# ----------------------------------------------------------------------------------------------------------- ralph

BANNER = "+---+\n| Loop terminated: {}\n+---+\n|   Iterations:  3\n"


@pytest.mark.parametrize(
    ("said", "exit_code", "completed"),
    [
        ("All done\nLOOP_COMPLETE", 0, True),
        (BANNER.format("Completion promise detected"), 0, True),
        ("Say LOOP_COMPLETE when done", 0, False),
        ("LOOP_COMPLETE\nnot yet", 0, False),
        ("LOOP_COMPLETE\n" + BANNER.format("Gracefully cancelled"), 0, False),
        ("LOOP_COMPLETE\n" + BANNER.format("Maximum iterations reached"), 2, False),
        ("restarting", 3, False),
    ],
)
def test_ralphs_own_word_and_exit_code_count(said: str, exit_code: int, completed: bool) -> None:
    (final,) = only(Final, read("ralph", said, exit_code=exit_code))
    assert (final.ok, final.completed) == (True, completed)


def test_what_ralph_logs_is_no_message_of_its() -> None:
    (final,) = only(Final, read("ralph", "Done.", "LOOP_COMPLETE", err="INFO saved\n", exit_code=0))
    assert (final.completed, final.message) == (True, "Done.\nLOOP_COMPLETE")
    (final,) = only(Final, read("ralph", "Not yet.", err="INFO prompt: say\nLOOP_COMPLETE\n", exit_code=0))
    assert (final.completed, final.message) == (False, "Not yet.")


@pytest.mark.parametrize(
    ("said", "exit_code", "kind", "words"),
    [
        ("LOOP_COMPLETE", 1, ErrorKind.EXIT, "exit code 1"),
        (BANNER.format("Loop thrashing detected"), 1, ErrorKind.EXIT, "Loop thrashing detected"),
        ("error: unexpected argument '--autonomous' found", 2 + 62, ErrorKind.USAGE, "--autonomous"),
        ("", 130, ErrorKind.EXIT, "exit code 130"),
    ],
)
def test_ralphs_failures(said: str, exit_code: int, kind: ErrorKind, words: str) -> None:
    (error,) = only(AgentError, read("ralph", said, exit_code=exit_code))
    assert error.kind is kind
    assert words in error.message


def test_a_ralph_that_does_not_know_the_command_line_ends_with_2_as_clap_does() -> None:
    (error,) = only(AgentError, read("ralph", err="error: unexpected argument '-a' found\n", exit_code=2))
    assert error.kind is ErrorKind.USAGE


def test_json_that_no_agent_prints() -> None:
    for agent in ("claude", "codex", "opencode", "gemini", "copilot", "cursor", "amp"):
        events = read(
            agent, json.loads('{"type": "something.new", "data": [1, {"a": null}]}'), {}, "plain", exit_code=0
        )
        assert errors_of(events) == [ErrorKind.NO_FINAL], agent
