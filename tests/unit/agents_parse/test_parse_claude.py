"""Claude Code's dialect, line by line: what counts as its message, and how its ends are read."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from agents_parsing import NOTHING, PARSERS, joined, only, read, run, text_of, tools_of

from ralph_loop.agents.base import AgentError, ErrorKind, Final, Note, QuestionNote, RateLimit, Usage

RESULT = {"type": "result", "subtype": "success", "is_error": False}


def assistant(*content: object, **more: object) -> dict[str, object]:
    return {"type": "assistant", "message": {"role": "assistant", "content": list(content)}, **more}


def text(words: str) -> dict[str, object]:
    return {"type": "text", "text": words}


def delta(words: str, **more: object) -> dict[str, object]:
    event = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": words}}
    return {"type": "stream_event", "event": event, **more}


def final(*records: object) -> str | None:
    (event,) = only(Final, read("claude", *records))
    return event.message


def test_the_result_is_the_final_message() -> None:
    assert final(assistant(text("on the way")), {**RESULT, "result": "Done.\n<promise>X</promise>"}) == (
        "Done.\n<promise>X</promise>"
    )


def test_without_a_result_text_the_last_message_is_final() -> None:
    assert final(assistant(text("first")), assistant(text("last")), RESULT) == "last"


def test_the_first_of_two_results_is_final() -> None:
    """A background task that ends later is answered with a result of its own."""
    first = {"type": "result", "result": "Work done.", "num_turns": 16}
    second = {"type": "result", "result": "The completion report is above.", "num_turns": 1}
    assert final(first, second) == "Work done."


def test_a_last_line_without_newline_counts() -> None:
    (event,) = only(Final, run(PARSERS["claude"](), json.dumps({"type": "result", "result": "tail"}).encode()))
    assert event.message == "tail"


@pytest.mark.parametrize(
    "record",
    [
        assistant({"type": "thinking", "thinking": "I will say\n<promise>X</promise>"}),
        assistant(text("<promise>X</promise>"), parent_tool_use_id="toolu_1"),
        delta("<promise>X</promise>", parent_tool_use_id="toolu_1"),
        {"type": "user", "message": {"content": [text("<promise>X</promise>")]}},
        {"type": "user", "message": {"content": "<promise>X</promise>"}, "isCompactSummary": True},
        {"type": "user", "message": {"content": [{"type": "tool_result", "content": "<promise>X</promise>"}]}},
        {"type": "assistant", "message": "<promise>X</promise>"},
        {"type": "system", "subtype": "hook_response", "output": "<promise>X</promise>"},
        {"type": "assistant", "message": {"model": "<synthetic>", "content": [text("<promise>X</promise>")]}},
        "<promise>X</promise>",
    ],
    ids=[
        "thought",
        "subagent",
        "subagent delta",
        "echo",
        "summary",
        "tool",
        "no message",
        "hook",
        "synthetic",
        "plain",
    ],
)
def test_only_the_agents_own_text_counts(record: object) -> None:
    events = read("claude", assistant(text("Working.")), record, RESULT)
    assert text_of(events) == "Working."
    assert [event.message for event in only(Final, events)] == ["Working."]


def test_deltas_are_joined_and_not_told_twice() -> None:
    records = [
        delta("Just <promise>CO"),
        delta("MPLETE</promise>"),
        assistant(text("Just <promise>COMPLETE</promise>")),
    ]
    assert text_of(read("claude", *records[:2])) == "Just <promise>COMPLETE</promise>"
    events = read("claude", *records, RESULT)
    assert text_of(events) == "Just <promise>COMPLETE</promise>"
    assert only(Final, events)[0].message == "Just <promise>COMPLETE</promise>"


def test_json_in_colour_with_other_key_order_between_plain_lines() -> None:
    line = '\x1b[32m{"result": "fine", "x": {"y": [1]}, "type": "result"}\x1b[0m\r'
    events = read("claude", "Warning: something", "", "{broken", line, "[1, 2]", '"text"', "null")
    assert [event.message for event in only(Final, events)] == ["fine"]


def test_tools_are_counted_once_with_their_errors() -> None:
    def use(id_: str) -> dict[str, object]:
        return {"type": "tool_use", "id": id_, "name": "Bash", "input": {"command": "npm\ntest"}}

    def done(id_: str, **more: object) -> dict[str, object]:
        return {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": id_, **more}]}}

    events = read(
        "claude",
        assistant(use("a"), use("b")),
        assistant(use("a")),
        done("a", content=[text("<tool_use_error>no file</tool_use_error>")], is_error=True),
        done("b", content="y"),
        done("unknown", content="z"),
    )
    assert tools_of(events) == [("Bash", True), ("Bash", False)]


def test_a_question_is_told_and_its_denial_is_no_error() -> None:
    questions = [{"question": "Which colour?", "options": [{"label": "Red"}, {"label": "Blue"}]}]
    ask = {"type": "tool_use", "id": "q", "name": "AskUserQuestion", "input": {"questions": questions}}
    denials = [{"tool_name": "AskUserQuestion", "tool_use_id": "q", "tool_input": NOTHING}]
    events = read("claude", assistant(ask), {**RESULT, "result": "?", "permission_denials": denials})
    assert only(QuestionNote, events) == [QuestionNote("Which colour?", ["Red", "Blue"])]
    assert not only(AgentError, events)


@pytest.mark.parametrize(
    ("denial", "told"),
    [
        ({"tool_name": "Bash", "tool_input": {"command": "npm install"}}, "Bash (npm install)"),
        ({"tool": "Bash", "command": "npm install", "reason": "Tool not in allowed list"}, "Bash (npm install)"),
        ({"tool_name": "WebSearch", "tool_input": {}}, "WebSearch"),
    ],
)
@pytest.mark.parametrize("exit_code", [0, None], ids=["ended", "hung, and ended by us"])
def test_denied_tools_are_an_error_of_the_iteration(denial: object, told: str, exit_code: int | None) -> None:
    result = {**RESULT, "result": "Done.", "permission_denials": [denial, denial]}
    events = read("claude", result, exit_code=exit_code)
    (error,) = only(AgentError, events)
    assert error.kind is ErrorKind.PERMISSION
    assert error.message == f"Claude Code was not allowed to use: {told}"
    assert not error.fatal
    assert only(Final, events)[0].ok


@pytest.mark.parametrize(
    ("status", "words", "kind", "fatal"),
    [
        (400, "Prompt is too long · the request is ~300000 tokens (limit 200000)", ErrorKind.CONTEXT_OVERFLOW, False),
        (401, "Failed to authenticate. API Error: 401 invalid api key", ErrorKind.AUTH, True),
        (None, "Invalid API key · Please run /login", ErrorKind.AUTH, True),
        (402, "API Error: 402 insufficient credits", ErrorKind.PAYMENT, False),
        (None, "Credit balance is too low", ErrorKind.PAYMENT, False),
        (404, "There's an issue with the selected model (nope). It may not exist.", ErrorKind.MODEL_NOT_FOUND, True),
        (500, "API Error: 500 internal server error.", ErrorKind.SERVER, False),
        (529, "API Error: 529 overloaded.", ErrorKind.OVERLOADED, False),
        (None, "API Error: Claude's response exceeded the 64000 output token maximum.", ErrorKind.OTHER, False),
    ],
)
def test_a_refusal_of_the_model(status: int | None, words: str, kind: ErrorKind, fatal: bool) -> None:
    result = {**RESULT, "is_error": True, "api_error_status": status, "result": words}
    said = {"type": "assistant", "message": {"model": "<synthetic>", "content": [text(words)]}, "error": "x"}
    events = read("claude", said, result, exit_code=1)
    (error,) = only(AgentError, events)
    assert (error.kind, error.fatal) == (kind, fatal)
    assert words.split(".")[0] in error.message
    assert [(event.ok, event.message) for event in only(Final, events)] == [(False, None)]
    assert text_of(events) == ""


def test_a_rate_limit_knows_its_reset() -> None:
    info = {"status": "rejected", "resetsAt": 1_900_000_000, "rateLimitType": "five_hour"}
    result = {**RESULT, "is_error": True, "api_error_status": 429, "result": "You've hit your limit"}
    events = read("claude", {"type": "rate_limit_event", "rate_limit_info": info}, result, exit_code=1)
    (limit,) = only(RateLimit, events)
    assert limit.reset_at == datetime.fromtimestamp(1_900_000_000, UTC)


def test_a_rate_limit_in_the_clis_own_words_is_no_progress() -> None:
    """Claude has printed this as a success, too."""
    words = "You've hit your limit · resets 5pm (Europe/Vilnius)"
    said = {"type": "assistant", "message": {"model": "<synthetic>", "content": [text(words)]}}
    events = read("claude", said, {**RESULT, "result": words})
    (limit,) = only(RateLimit, events)
    assert limit.reset_at is not None
    assert not only(Final, events)[0].ok


def test_an_allowed_limit_event_is_nothing() -> None:
    info = {"status": "allowed_warning", "resetsAt": 1_900_000_000}
    events = read("claude", {"type": "rate_limit_event", "rate_limit_info": info}, {**RESULT, "result": "ok"})
    assert joined(events) == [Final("ok")]


def test_a_file_that_speaks_of_limits_is_no_limit() -> None:
    """A time limit ended the agent after it had read a file about limits: no judgement at all."""
    content = "Error: 429 Too Many Requests: 5-hour limit reached"
    record = {"type": "user", "message": {"content": [{"type": "tool_result", "tool_use_id": "x", "content": content}]}}
    assert read("claude", record, content, exit_code=None) == [Note(content)]
    events = read("claude", record, content, exit_code=124)
    assert not only(RateLimit, events)
    assert [error.kind for error in only(AgentError, events)] == [ErrorKind.EXIT]


def test_a_failure_that_was_told_survives_our_ending_the_silent_agent() -> None:
    """Claude sometimes hangs after its result line; then we end it, and its exit code means nothing."""
    result = {**RESULT, "is_error": True, "api_error_status": 500, "result": "API Error: 500"}
    assert [error.kind for error in only(AgentError, read("claude", result, exit_code=None))] == [ErrorKind.SERVER]


def test_tokens_of_a_run_that_never_finished() -> None:
    def message(id_: str, read_: int, written: int) -> dict[str, object]:
        usage = {"input_tokens": read_, "cache_read_input_tokens": 10, "output_tokens": written}
        return {"type": "assistant", "message": {"id": id_, "content": [], "usage": usage}}

    events = read("claude", message("a", 100, 1), message("a", 100, 7), message("b", 200, 5), exit_code=None)
    assert only(Usage, events)[-1] == Usage(320, 12)
