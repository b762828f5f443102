"""What other versions of the agents print, and what comes between their lines."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from agents_parsing import PARSERS, only, read, run, text_of, tools_of

from ralph_loop.agents.acp_events import request_error
from ralph_loop.agents.base import AgentError, ErrorKind, Event, Final, RateLimit, Retry, ToolEnd, ToolStart, Usage
from ralph_loop.agents.modelerrors import About

EPOCH = 1_800_000_000
AT = datetime.fromtimestamp(EPOCH, UTC)


def message_of(events: list[Event]) -> str | None:
    return only(Final, events)[-1].message


# ------------------------------------------------------------ Codex, older dialects
def old(type_: str, **message: object) -> dict[str, object]:
    return {"id": "0", "msg": {"type": type_, **message}}


def test_codex_an_older_dialect() -> None:
    events = read(
        "codex",
        {"model": "gpt-5", "sandbox": "workspace-write"},
        {"prompt": "<promise>COMPLETE</promise>"},
        old("task_started"),
        old("agent_reasoning", text="<promise>COMPLETE</promise>"),
        old("agent_message", message="I begin."),
        old("exec_command_begin", call_id="1", command=["bash", "-lc", "npm test"], cwd="/x"),
        old("exec_command_output_delta", call_id="1", chunk="PHByb21pc2U+"),
        old("exec_command_end", call_id="1", stdout="", stderr="no tests", exit_code=2),
        old("patch_apply_begin", call_id="2", changes={"a.py": {"add": {"content": "x"}}}),
        old("patch_apply_end", call_id="2", stdout="", stderr="", success=True),
        old("mcp_tool_call_begin", call_id="3", invocation={"server": "docs", "tool": "find", "arguments": {"a": 1}}),
        old("mcp_tool_call_end", call_id="3", result={"Err": "not there"}),
        old("stream_error", message="stream error: 500; retrying 1/5 in 203ms…"),
        old("token_count", info={"total_token_usage": {"input_tokens": 10, "output_tokens": 2}}),
        old("token_count", info=None),
        old("agent_message", message="Done."),
        old("task_complete", last_agent_message="Done."),
    )  # fmt: skip
    assert (message_of(events), text_of(events)) == ("Done.", "I begin.\nDone.")
    assert tools_of(events) == [("command_execution", True), ("file_change", False), ("docs.find", True)]
    titles = [tool.title for tool in only(ToolStart, events)]
    assert titles == ["command_execution: npm test", "file_change: a.py", "docs.find"]
    assert [end.error for end in only(ToolEnd, events)] == ["exit code 2: no tests", None, "failed: not there"]
    assert only(Usage, events)[-1] == Usage(10, 2)
    assert len(only(Retry, events)) == 1
    assert only(AgentError, events) == []


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        ([old("error", message="unexpected status 401 Unauthorized: no key")], ErrorKind.AUTH),
        ([old("turn_aborted", reason="interrupted")], ErrorKind.OTHER),
        ([old("agent_message", message="<promise>COMPLETE</promise>")], ErrorKind.NO_FINAL),
    ],
)
def test_codex_an_older_dialect_without_success(lines: list[object], kind: ErrorKind) -> None:
    events = read("codex", *lines)
    assert [error.kind for error in only(AgentError, events)] == [kind]
    assert [final for final in only(Final, events) if final.ok] == []


def test_codex_the_type_of_an_item_under_its_older_name() -> None:
    items = [
        {"id": "1", "item_type": "reasoning", "text": "<promise>X</promise>"},
        {"id": "2", "item_type": "command_execution", "command": "ls", "exit_code": 0, "status": "completed"},
        {"id": "3", "item_type": "assistant_message", "text": "Done."},
    ]
    events = read("codex", *({"type": "item.completed", "item": item} for item in items), {"type": "turn.completed"})
    assert (message_of(events), tools_of(events)) == ("Done.", [("command_execution", False)])


# ------------------------------------------------------------ rate limits
@pytest.mark.parametrize("told", [EPOCH, EPOCH * 1000, str(EPOCH), AT.isoformat(), AT.strftime("%Y-%m-%dT%H:%M:%SZ")])
@pytest.mark.parametrize("key", ["resetsAt", "resets_at"])
def test_claudes_time_of_a_reset_in_any_form(key: str, told: object) -> None:
    limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", key: told}}
    result = {"type": "result", "is_error": True, "result": "Stopped", "api_error_status": 429}
    (found,) = only(RateLimit, read("claude", limit, result, exit_code=1))
    assert found.reset_at == AT


@pytest.mark.parametrize("told", [True, -1, "soon", 1e300, "9" * 400, [], None])
def test_claudes_time_of_a_reset_that_is_none(told: object) -> None:
    limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": told}}
    (found,) = only(RateLimit, read("claude", limit, exit_code=1))
    assert found.reset_at is None


def test_claude_a_limit_that_its_event_told_needs_no_words() -> None:
    def limited(*records: object, exit_code: int, **info: object) -> list[RateLimit]:
        info = {"status": "rejected", "resetsAt": EPOCH, **info}
        return only(RateLimit, read("claude", {"type": "rate_limit_event", "rate_limit_info": info}, *records,
                                    exit_code=exit_code))  # fmt: skip

    failed = {"type": "result", "is_error": True, "result": "I stopped."}
    assert [limit.reset_at for limit in limited(failed, exit_code=1)] == [AT]
    assert [limit.reset_at for limit in limited(exit_code=1)] == [AT]
    assert limited({**failed, "api_error_status": 401}, exit_code=1) == []
    assert limited(failed, exit_code=1, isUsingOverage=True) == []
    assert limited({**failed, "is_error": False}, exit_code=0) == []
    assert limited(exit_code=-9) == []


HOURS_2 = timedelta(hours=2)


def opencode(**data: object) -> object:
    return {"type": "error", "error": {"name": "APIError", "data": {"statusCode": 429, **data}}}


def copilot(**data: object) -> object:
    return {"type": "session.error", "data": {"message": "no", **data}}


def gemini(**error: object) -> object:
    return {"type": "result", "status": "error", "error": error}


def codex(**error: object) -> object:
    return {"type": "turn.failed", "error": {"message": "no", **error}}


WAITS: list[tuple[str, object]] = [
    ("codex", codex(code="rate_limit_exceeded", resetsInSeconds=7200)),
    ("codex", {"type": "error", "message": "no", "error": {"type": "usage_limit_reached", "resets_in_seconds": 7200}}),
    ("gemini", gemini(code=429, message="Quota", retryDelay="7200s")),
    ("gemini", gemini(message="You have exhausted your capacity on this model. Your quota will reset after 2h0m0s.")),
    ("copilot", copilot(errorType="rate_limit", retryAfterMs=7_200_000)),
    ("copilot", copilot(statusCode=429, retryAfter=7200)),
    ("opencode", opencode(responseHeaders={"Retry-After-Ms": "7200000"})),
    ("opencode", opencode(responseHeaders={"Retry-After": "7200"})),
    ("opencode", opencode(responseBody=json.dumps({"error": {"resets_in_seconds": 7200}}))),
]


@pytest.mark.parametrize(("agent", "record"), WAITS)
def test_a_wait_in_a_field_of_the_error(agent: str, record: object) -> None:
    (limit,) = only(RateLimit, read(agent, record, exit_code=1))
    assert limit.reset_at is not None
    assert abs(limit.reset_at - datetime.now(UTC) - HOURS_2) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("code", "data"),
    [
        (429, {"message": "no", "retryAfter": 7200}),
        (-32603, {"message": "no", "statusCode": 429, "retryAfterMs": 7_200_000}),
        (-32603, {"details": "no", "errorKind": "rate_limit", "resetsInSeconds": 7200}),
    ],
)
def test_a_wait_in_the_error_of_an_acp_agent(code: int, data: object) -> None:
    limit = request_error(About("A", "Log in."), code, "Internal error: no", data)
    assert isinstance(limit, RateLimit)
    assert limit.reset_at is not None
    assert abs(limit.reset_at - datetime.now(UTC) - HOURS_2) < timedelta(minutes=1)


@pytest.mark.parametrize("data", [None, "no", [], {"statusCode": "429", "retryAfter": None}])
def test_an_error_of_an_acp_agent_without_details(data: object) -> None:
    error = request_error(About("A", "Log in."), -32000, "Authentication required", data)
    assert isinstance(error, AgentError)
    assert (error.kind, error.fatal) == (ErrorKind.AUTH, True)


def test_a_status_in_a_field_of_the_error() -> None:
    def kinds(error: dict[str, object]) -> list[ErrorKind]:
        events = read("codex", codex(**error), exit_code=1)
        return [event.kind for event in only(AgentError, events)]

    assert kinds({"code": 401}) == [ErrorKind.AUTH]
    assert kinds({"status": 402}) == [ErrorKind.PAYMENT]
    assert kinds({"statusCode": 529}) == [ErrorKind.OVERLOADED]
    assert kinds({"code": "context_length_exceeded"}) == [ErrorKind.CONTEXT_OVERFLOW]
    assert kinds({"code": "model_not_found"}) == [ErrorKind.MODEL_NOT_FOUND]
    assert kinds({"code": -32000, "status": "failed"}) == [ErrorKind.OTHER]


# ------------------------------------------------------------ what is not the agent's own
PROMISE = "<promise>COMPLETE</promise>"


@pytest.mark.parametrize(
    "mark",
    [{"isSidechain": True}, {"isCompactSummary": True}, {"isSynthetic": True}, {"parentToolUseId": "t"}],
)
def test_claude_marks_what_is_not_its_own(mark: dict[str, object]) -> None:
    said = {"type": "assistant", "message": {"content": [{"type": "text", "text": PROMISE}]}, **mark}
    assert message_of(read("claude", said, {"type": "result", "is_error": False, "result": ""})) == ""


def test_opencode_the_session_of_a_subagent() -> None:
    def text(session: str, text: str) -> object:
        return {"type": "text", "sessionID": session, "part": {"messageID": session, "text": text}}

    def step(session: str) -> object:
        tokens = {"input": 10, "output": 2}
        return {"type": "step_finish", "sessionID": session, "part": {"reason": "stop", "tokens": tokens}}

    failed = {"type": "error", "sessionID": "b", "error": {"name": "APIError", "data": {"statusCode": 401}}}
    only_sub = [text("a", "I ask another."), text("b", PROMISE), step("b"), failed]
    events = read("opencode", *only_sub)
    assert [error.kind for error in only(AgentError, events)] == [ErrorKind.NO_FINAL]
    events = read("opencode", *only_sub, step("a"))
    assert (message_of(events), only(Usage, events)[-1]) == ("I ask another.", Usage(20, 4))


def test_gemini_thoughts() -> None:
    said: list[dict[str, object]] = [
        {"type": "message", "role": "assistant", "content": "Not yet.", "delta": True},
        {"type": "message", "role": "assistant", "content": PROMISE, "thought": True},
        {"type": "thought", "content": PROMISE},
    ]
    assert message_of(read("gemini", *said, {"type": "result", "status": "success"})) == "Not yet."


# ------------------------------------------------------------ denials
def test_claude_denials_in_another_spelling() -> None:
    denials = [{"toolName": "Bash", "toolInput": {"command": "npm ci"}}]
    events = read("claude", {"type": "result", "is_error": False, "result": "x", "permission_denials": denials})
    assert [error.message for error in only(AgentError, events)] == [
        "Claude Code was not allowed to use: Bash (npm ci)"
    ]


@pytest.mark.parametrize(
    ("agent", "records"),
    [
        ("opencode", [
            {"type": "tool_use", "part": {"callID": "1", "tool": "bash", "state": {"status": "error", "error":
                "The user has specified a rule which prevents you from using this specific tool call."}}},
            {"type": "step_finish", "part": {"reason": "stop"}},
        ]),
        *(("gemini", [
            {"type": "tool_use", "tool_name": "bash", "tool_id": "1"},
            {"type": "tool_result", "tool_id": "1", "status": "error", "error": {"message": words}},
            {"type": "result", "status": "success"},
        ]) for words in (
            'Tool execution for "bash" requires user confirmation, which is not supported in non-interactive mode.',
            "Tool execution denied by policy.",
        )),
    ],
)  # fmt: skip
def test_what_a_rule_forbids_is_denied(agent: str, records: list[object]) -> None:
    (error,) = only(AgentError, read(agent, *records))
    assert (error.kind, error.message.endswith("was not allowed to use: bash")) == (ErrorKind.PERMISSION, True)


# ------------------------------------------------------------ flat tools
@pytest.mark.parametrize("agent", ["claude", "cursor", "amp"])
def test_tools_as_events_of_their_own(agent: str) -> None:
    events = read(
        agent,
        {"type": "tool_use", "id": "1", "name": "Bash", "input": {"command": "ls"}},
        {"type": "tool_result", "tool_use_id": "1", "is_error": True, "content": "no"},
        {"type": "result", "is_error": False, "result": "x"},
    )
    assert [tool.title for tool in only(ToolStart, events)] == ["Bash: ls"]
    assert [end.error for end in only(ToolEnd, events)] == ["no"]


def test_cursor_a_tool_call_that_does_not_say_that_it_starts() -> None:
    assert tools_of(read("cursor", {"type": "tool_call", "name": "Read", "input": {"path": "a"}})) == [("Read", False)]


# ------------------------------------------------------------ odd bytes
FINAL = b'{"type":"result","is_error":false,"result":"a b"}'


@pytest.mark.parametrize(
    "printed",
    [
        b"\xef\xbb\xbf" + FINAL + b"\r\n",
        b"\0\0" + FINAL + b"\n",
        FINAL.replace(b"a b", b"a\0 b"),
        b"Loading 50%\rLoading 100%\r" + FINAL + b"\r\n",
        b"\xff\xfe noise\n" + FINAL,
        b'{"half":\n' + FINAL + b'\n{"type":"later"',
    ],
)
def test_odd_bytes_around_the_final_event(printed: bytes) -> None:
    assert message_of(run(PARSERS["claude"](), printed)) == "a b"


def test_control_characters_in_a_string_need_not_be_escaped() -> None:
    assert message_of(run(PARSERS["claude"](), FINAL.replace(b"a b", b"a\tb"))) == "a\tb"
