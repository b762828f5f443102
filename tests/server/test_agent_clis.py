"""Loops with the agents' CLIs, played by fakes on the PATH: what a loop makes of how they behave."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, until
from client import Client
from fake_cli import PROGRAMS, SAYING, FakeCli, claude

Fake = Callable[[str], FakeCli]
every = pytest.mark.parametrize("agent", SAYING)
HOUR_MS = 3_600_000


@pytest.fixture
def box(common_shared: Box) -> Box:
    return common_shared


@pytest.fixture
def fake(box: Box) -> Fake:
    def make(agent: str) -> FakeCli:
        return FakeCli(box, PROGRAMS.get(agent, agent))

    return make


def start(client: Client, repo: Path, cli: FakeCli, agent: str = "claude", **config: Any) -> str:
    config = {"agent": agent, "maxIterations": 1, "maxFailures": 1, **config}
    return client("start", workspace=str(repo), prompt="Do it.", config=config, env=cli.env)["runId"]


def ended(client: Client, repo: Path, cli: FakeCli, agent: str = "claude", **config: Any) -> dict[str, Any]:
    return client.settled(start(client, repo, cli, agent, **config))


def records(client: Client, run: str) -> list[dict[str, Any]]:
    return client("history", runId=run)["iterations"]


# ---------------------------------------------------------------------------------------------------- how they end
@every
def test_a_promise_in_its_final_message(client: Client, repo: Path, fake: Fake, agent: str) -> None:
    cli = fake(agent).plays("Some warning", *SAYING[agent](f"All done.\n{DONE}"))
    end = ended(client, repo, cli, agent)
    assert (end["status"], end["stopReason"]) == ("completed", "completed")
    (record,) = records(client, end["runId"])
    assert (record["promise"], record["message"], record["errors"]) == ("completion", f"All done.\n{DONE}", [])
    shown = client("output", runId=end["runId"])["chunks"]
    assert "All done.\n<promise>COMPLETE</promise>" in "".join(c["text"] for c in shown if c["stream"] == "display")
    assert "Do it." in (cli.stdin() or cli.argv()[-1])


@every
def test_an_exit_code_of_0_without_the_final_event(client: Client, repo: Path, fake: Fake, agent: str) -> None:
    *lines, _ = SAYING[agent](DONE)
    end = ended(client, repo, fake(agent).plays(*lines), agent, maxIterations=5)
    assert (end["stopReason"], end["error"]["kind"]) == ("agentFailed", "noFinal")
    (record,) = records(client, end["runId"])
    assert (record["status"], record["exitCode"], record["promise"]) == ("failed", 0, "none")


@every
def test_an_empty_answer_is_a_failure_that_counts(client: Client, repo: Path, fake: Fake, agent: str) -> None:
    end = ended(client, repo, fake(agent).plays(*SAYING[agent]("")), agent, maxIterations=5, maxFailures=2)
    assert (end["stopReason"], end["iteration"], end["error"]["kind"]) == ("agentFailed", 2, "server")
    assert "empty answer" in end["error"]["message"] and "another model" in end["error"]["hint"]


def test_what_said_nothing_but_did_something_is_no_empty_answer(client: Client, repo: Path, fake: Fake) -> None:
    tool = {"type": "assistant", "message": {"content": [{"type": "tool_use", "id": "1", "name": "Bash"}]}}
    *_, final = claude("")
    cli = fake("claude").plays(tool, final).plays(final, then=f"touch {repo}/made").plays(final)
    found = records(client, ended(client, repo, cli, maxIterations=3, maxFailures=3)["runId"])
    assert [record["status"] for record in found] == ["completed", "completed", "failed"]


def test_ralph_loops_by_itself_so_its_own_word_and_exit_code_count(client: Client, repo: Path, fake: Fake) -> None:
    cli = fake("ralph").plays("Say LOOP_COMPLETE when done").plays("Failed", code=1).plays("Done.", "LOOP_COMPLETE")
    end = ended(client, repo, cli, "ralph", maxIterations=5, maxFailures=3)
    assert (end["stopReason"], end["iteration"]) == ("completed", 3)
    found = records(client, end["runId"])
    assert [(record["status"], record["promise"]) for record in found] == [
        ("completed", "none"), ("failed", "none"), ("completed", "completion")
    ]  # fmt: skip
    assert cli.argv()[:3] == ["run", "--autonomous", "--prompt"]
    assert "Do it." in cli.argv()[3]


def test_a_line_that_is_cut_off_in_the_middle(client: Client, repo: Path, fake: Fake) -> None:
    *lines, last = claude(DONE)
    end = ended(client, repo, fake("claude").plays(*lines, json.dumps(last).encode()[:-9]))
    assert (end["stopReason"], end["error"]["kind"]) == ("agentFailed", "noFinal")
    end = ended(client, repo, fake("codex").plays(*SAYING["codex"](DONE)[:-1], b'{"type":"turn.completed"}'), "codex")
    assert end["stopReason"] == "completed"


def test_codex_in_its_older_dialect_among_odd_bytes(client: Client, repo: Path, fake: Fake) -> None:
    said = [
        {"type": "agent_reasoning", "text": DONE},
        {"type": "exec_command_begin", "call_id": "1", "command": ["bash", "-lc", "npm test"]},
        {"type": "exec_command_end", "call_id": "1", "exit_code": 1, "stdout": DONE, "stderr": ""},
        {"type": "token_count", "info": {"total_token_usage": {"input_tokens": 10, "output_tokens": 2}}},
        {"type": "agent_message", "message": f"All done.\n{DONE}"},
        {"type": "task_complete", "last_agent_message": f"All done.\n{DONE}"},
    ]
    lines = [json.dumps({"id": "0", "msg": message}).encode() + b"\r\n" for message in said]
    cli = fake("codex").plays(b"\xef\xbb\xbf", b"\0\xff\xfe\r\n", b"50%\r100%\r", *lines, err="noise \x1b[31m")
    end = ended(client, repo, cli, "codex")
    (record,) = records(client, end["runId"])
    assert (end["stopReason"], record["promise"], record["message"]) == (
        "completed",
        "completion",
        f"All done.\n{DONE}",
    )
    assert (record["tools"], record["tokens"]) == ({"command_execution": 1}, {"input": 10, "output": 2})
    assert record["errors"] == [f"command_execution: exit code 1: {DONE}"]


REFUSED: list[tuple[str, list[Any], int, str, bool]] = [
    ("claude", claude("API Error: 401", is_error=True, api_error_status=401), 1, "auth", True),
    ("claude", claude("API Error: 402 no credit", is_error=True, api_error_status=402), 1, "payment", False),
    ("claude", claude("API Error: 500 sorry", is_error=True, api_error_status=500), 1, "server", False),
    ("claude", claude("API Error: 529 sorry", is_error=True, api_error_status=529), 1, "overloaded", False),
    ("claude", claude("Prompt is too long", is_error=True, api_error_status=400), 1, "contextOverflow", False),
    ("claude", claude("model: nope", is_error=True, api_error_status=404), 1, "modelNotFound", True),
    ("gemini", [], 145, "auth", True),
    ("gemini", [{"type": "result", "status": "error", "error": {"message": "[API Error: 500]"}}], 0, "server", False),
    ("codex", [{"type": "turn.failed", "error": {"message": "status 402: pay"}}], 1, "payment", False),
    (
        "opencode",
        [{"type": "error", "error": {"name": "APIError", "data": {"statusCode": 529}}}],
        1,
        "overloaded",
        False,
    ),
    ("copilot", [{"type": "session.error", "data": {"errorType": "authentication"}}], 1, "auth", True),
]


@pytest.mark.parametrize(("agent", "lines", "code", "kind", "fatal"), REFUSED)
def test_refusals_of_the_model(
    client: Client, repo: Path, fake: Fake, agent: str, lines: list[Any], code: int, kind: str, fatal: bool
) -> None:
    """What cannot get better ends the loop at once; else it is tried again, `maxFailures` times in a row."""
    cli = fake(agent).plays(*lines, code=code)
    end = ended(client, repo, cli, agent, maxIterations=5, maxFailures=2)
    assert (end["status"], end["stopReason"], end["error"]["kind"]) == ("error", "agentFailed", kind)
    assert end["error"]["hint"]
    assert cli.calls == (1 if fatal else 2)


def test_what_was_denied_is_an_error_with_the_setting_that_would_allow_it(
    client: Client, repo: Path, fake: Fake
) -> None:
    denials = [{"tool_name": "Bash", "tool_input": {"command": "npm ci"}}]
    end = ended(client, repo, fake("claude").plays(*claude(DONE, permission_denials=denials)))
    assert end["stopReason"] == "completed"
    (record,) = records(client, end["runId"])
    assert record["errors"] == ["Claude Code was not allowed to use: Bash (npm ci)"]
    shown = "".join(c["text"] for c in client("output", runId=end["runId"])["chunks"] if c["stream"] == "display")
    assert "ralphLoop.allowAll" in shown


def test_the_colours_of_a_tools_error_do_not_get_into_the_next_prompt(client: Client, repo: Path, fake: Fake) -> None:
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "pytest"}}
    told = {"type": "tool_result", "tool_use_id": "t", "is_error": True, "content": "\x1b[31mFAILED\x1b[0m a.py\0\nwhy"}
    lines = [{"type": "assistant", "message": {"content": [use]}}, {"type": "user", "message": {"content": [told]}}]
    cli = fake("claude").plays(*lines, *claude("Not yet.")).plays(*claude(DONE))
    end = ended(client, repo, cli, maxIterations=2)
    assert records(client, end["runId"])[0]["errors"] == ["Bash: FAILED a.py\nwhy"]
    assert "- Bash: FAILED a.py\n  why\n" in cli.stdin(2)


# ------------------------------------------------------------------------------------------------------ rate limits
def test_a_reset_time_is_waited_for(client: Client, repo: Path, fake: Fake) -> None:
    at = int((datetime.now(UTC) + timedelta(hours=2)).timestamp())
    limit = {"type": "rate_limit_event", "rate_limit_info": {"status": "rejected", "resetsAt": at}}
    cli = fake("claude").plays(limit, *claude("You've hit your limit", is_error=True, api_error_status=429), code=1)
    cli.plays(*claude(DONE))
    run = start(client, repo, cli)
    waiting = client.settled(run, "waiting")
    assert datetime.fromisoformat(waiting["waitingUntil"]).timestamp() == at
    assert waiting["error"]["kind"] == "rateLimit"
    client("resume", runId=run)
    end = client.settled(run)
    assert (end["stopReason"], end["iteration"]) == ("completed", 2)
    assert [record["status"] for record in records(client, run)] == ["interrupted", "completed"]


SECONDS = 7200
IN_A_FIELD: list[tuple[str, Any]] = [
    ("codex", {"type": "turn.failed", "error": {"code": "rate_limit_exceeded", "resetsInSeconds": SECONDS}}),
    ("gemini", {"type": "result", "status": "error", "error": {"code": 429, "message": f"retryDelay: {SECONDS}s"}}),
    ("copilot", {"type": "session.error", "data": {"statusCode": 429, "retryAfterMs": SECONDS * 1000}}),
    ("opencode", {"type": "error", "error": {"name": "APIError", "data": {
        "statusCode": 429, "responseHeaders": {"Retry-After-Ms": str(SECONDS * 1000)}}}}),
]  # fmt: skip


@pytest.mark.parametrize(("agent", "record"), IN_A_FIELD)
def test_a_wait_that_a_field_of_the_error_tells(
    client: Client, repo: Path, fake: Fake, agent: str, record: Any
) -> None:
    began = datetime.now(UTC).timestamp()
    run = start(client, repo, fake(agent).plays(record, code=1), agent)
    waiting = client.settled(run, "waiting")
    assert SECONDS - 1 < datetime.fromisoformat(waiting["waitingUntil"]).timestamp() - began < SECONDS + 60
    assert [record["status"] for record in records(client, run)] == ["interrupted"]
    client("cancel", runId=run)


def test_a_reset_time_that_has_passed_is_no_reason_to_hurry(client: Client, repo: Path, fake: Fake) -> None:
    """Else a clock that is wrong would make agents start without end."""
    words = "Claude AI usage limit reached|1700000000"
    cli = fake("claude").plays(*claude(words, is_error=True), code=1)
    run = start(client, repo, cli, maxIterations=0)
    client("config/set", key="rateLimitBackoffMs", value=HOUR_MS)
    waiting = client.settled(run, "waiting")
    assert waiting["waitingUntil"] > datetime.now(UTC).isoformat()
    client("cancel", runId=run)
    assert cli.calls == 1


# -------------------------------------------------------------------------------------------------------- questions
ASKED = {"questions": [{"question": "Which colour?", "options": [{"label": "Red"}, {"label": "Blue"}]}]}


@pytest.mark.parametrize("told", ["as a tool", "as a denial"])
def test_the_answer_to_claudes_question_goes_into_the_next_prompt(
    client: Client, repo: Path, fake: Fake, told: str
) -> None:
    if told == "as a tool":
        use = {"type": "tool_use", "id": "q", "name": "AskUserQuestion", "input": ASKED}
        lines = [{"type": "assistant", "message": {"content": [use]}}, *claude("I asked.")]
    else:
        lines = claude("I asked.", permission_denials=[{"tool_name": "AskUserQuestion", "tool_input": ASKED}])
    cli = fake("claude").plays(*lines).plays(*claude(DONE))
    run = start(client, repo, cli, maxIterations=3, iterationDelayMs=HOUR_MS)
    question = client.wait("questionAsked", lambda q: q["runId"] == run)
    assert (question["text"], question["options"]) == ("Which colour?", ["Red", "Blue"])
    client("question/answer", questionId=question["questionId"], answer="Blue, please")
    assert client.refused("question/answer", questionId=question["questionId"], answer="Red").code == 1003
    client("pause", runId=run, when="now")
    client("resume", runId=run)
    assert client.settled(run)["stopReason"] == "completed"
    assert "Which colour?" in cli.stdin(2)
    assert "Blue, please" in cli.stdin(2)
    assert records(client, run)[0]["errors"] == []


@pytest.mark.parametrize("paused", [True, False], ids=["paused", "interrupted"])
def test_a_question_that_no_agent_waits_for_outlives_the_helper(shared: Box, paused: bool) -> None:
    repo, client = shared.repo(), shared.main_client()
    cli = FakeCli(shared, "claude")
    cli.plays(*claude("I asked.", permission_denials=[{"tool_name": "AskUserQuestion", "tool_input": ASKED}]))
    cli.plays(*claude(DONE))
    run = start(client, repo, cli, maxIterations=3, iterationDelayMs=HOUR_MS)
    question = client.wait("questionAsked", lambda q: q["runId"] == run)
    if paused:
        client("pause", runId=run, when="now")
    shared.kill_helper()

    client = shared.client(repo)
    found = client("status", runId=run)
    assert (found["status"], found["pendingQuestions"]) == ("paused" if paused else "interrupted", 1)
    assert client("question/list", runId=run)["questions"] == [question]
    client("question/answer", questionId=question["questionId"], answer="Blue, please")
    resolved = client.wait("questionResolved", lambda told: told["questionId"] == question["questionId"])
    assert resolved["answer"] == "Blue, please"
    answered = client("status", runId=run)
    assert (answered["pendingQuestions"], answered["status"]) == (0, found["status"])
    assert answered["revision"] > found["revision"]
    assert client.refused("question/answer", questionId=question["questionId"], answer="Red").code == 1003

    shared.kill_helper()  # the answer is kept, too
    shared.env |= cli.env  # what the start request added is not kept
    client = shared.client(repo)
    client("resume", runId=run)
    assert client.settled(run)["stopReason"] == "completed"
    assert "Which colour?" in cli.stdin(2)
    assert "Blue, please" in cli.stdin(2)


def test_what_was_asked_in_plan_mode_is_asked_beside_the_approval(client: Client, repo: Path, fake: Fake) -> None:
    asks = claude("I asked.", permission_denials=[{"tool_name": "AskUserQuestion", "tool_input": ASKED}])
    cli = fake("claude").plays(*asks, then='cd "$OLDPWD"; echo new > made.txt')
    run = start(client, repo, cli, planMode=True, maxIterations=2)
    client.wait("questionAsked", lambda q: q["runId"] == run)
    found = client("status", runId=run)
    assert (found["status"], found["pendingQuestions"]) == ("awaiting_approval", 1)
    client("cancel", runId=run)


def test_an_interrupted_loop_that_is_cancelled_asks_no_more(shared: Box) -> None:
    repo, client = shared.repo(), shared.main_client()
    cli = FakeCli(shared, "claude")
    cli.plays(*claude("I asked.", permission_denials=[{"tool_name": "AskUserQuestion", "tool_input": ASKED}]))
    run = start(client, repo, cli, maxIterations=3, iterationDelayMs=HOUR_MS)
    question = client.wait("questionAsked", lambda q: q["runId"] == run)
    shared.kill_helper()
    client = shared.client(repo)
    assert client("cancel", runId=run)["pendingQuestions"] == 0
    assert client("question/list", runId=run)["questions"] == []
    error = client.refused("question/answer", questionId=question["questionId"], answer="Red")
    assert (error.code, error.data["status"]) == (1003, "withdrawn")


# ----------------------------------------------------------------------------------------------------------- cancel
def test_cancel_while_a_tool_that_left_its_group_runs(client: Client, repo: Path, fake: Fake, box: Box) -> None:
    """Agents put shells into sessions of their own, and these outlive even a SIGKILL of the agent's group."""
    stray = f"(setsid sh -c 'trap \"\" TERM; echo $$ > {box.room}/stray; exec tail -f /dev/null' &) ; tail -f /dev/null"
    use = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "x"}}
    lines = [{"type": "assistant", "message": {"content": [use]}}]
    run = start(client, repo, fake("claude").plays(*lines, then=stray))
    pid = int(until(lambda: (box.room / "stray").exists() and (box.room / "stray").read_text().strip(), "it runs"))
    assert client("cancel", runId=run)["status"] == "cancelled"
    assert not box.alive(pid)


# ------------------------------------------------------------------------------------------------------ how called
def test_the_binary_can_be_configured(client: Client, repo: Path, fake: Fake) -> None:
    cli = fake("my-claude").plays(*claude(DONE))
    config = {"agent": "claude", "maxIterations": 1, "agentArgs": ["--add-dir", "/x y"], "model": "opus"}

    def stop_reason(**env: str) -> str:
        env = {"PATH": "/usr/bin:/bin", **env}
        run = client("start", workspace=str(repo), prompt="x", config=config, env=env)["runId"]
        return client.settled(run)["stopReason"]

    assert stop_reason(RALPH_CLAUDE_BINARY=str(cli.path)) == "completed"
    assert stop_reason(RALPH_CLAUDE_BINARY="my-claude", **cli.env) == "completed"
    assert cli.argv()[-4:] == ["--model", "opus", "--add-dir", "/x y"]
    client("config/set", key="binary.claude", value=str(cli.path))
    try:
        assert stop_reason(RALPH_CLAUDE_BINARY="/not/this/one") == "completed"
        found = next(backend for backend in client("config/backends")["backends"] if backend["id"] == "claude")
        assert (found["path"], found["version"]) == (str(cli.path), "1.2.3")
    finally:
        client("config/delete", key="binary.claude")


@every
def test_a_missing_program_is_refused_at_start(client: Client, repo: Path, agent: str) -> None:
    error = client.refused(
        "start", workspace=str(repo), prompt="x", config={"agent": agent}, env={"PATH": "/usr/bin:/bin"}
    )
    assert (error.code, error.data["kind"], error.data["agent"]) == (1004, "agentNotFound", agent)
    assert error.data["installHint"]
