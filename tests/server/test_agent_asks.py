"""What agents ask a person, over the wire: the permissions of an ACP agent and of an OpenCode server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from box import Box
from client import Client
from served_opencode import FakeOpenCode, served

FAKE_ACP = Path(__file__).parent.parent / "unit" / "agents_sessions" / "fake_acp.py"
HOUR_MS = 3_600_000


@pytest.fixture
def box(common_shared: Box) -> Box:
    return common_shared


def acp(scenario: str) -> dict[str, Any]:
    return {"agent": "acp", "command": [sys.executable, "-I", "-S", str(FAKE_ACP), scenario], "maxIterations": 1}


def start(client: Client, repo: Path, config: dict[str, Any], **more: Any) -> str:
    return client("start", workspace=str(repo), prompt="x", config={**config, **more})["runId"]


def asked(client: Client, run: str) -> dict[str, Any]:
    return client.wait("permissionAsked", lambda request: request["runId"] == run)


def shown(client: Client, run: str) -> str:
    chunks = client("output", runId=run)["chunks"]
    return "".join(chunk["text"] for chunk in chunks if chunk["stream"] in ("display", "system"))


def test_a_permission_is_kept_until_somebody_answers(client: Client, repo: Path, box: Box) -> None:
    other = box.client(repo)
    run = start(other, repo, acp("permission"), iterationTimeoutMs=HOUR_MS)
    request = asked(other, run)
    assert (request["tool"], request["title"]) == ("execute", "execute: touch x")
    assert request["arguments"] == {"command": "touch x"}
    assert request["diff"].startswith("--- /w/a.txt\n+++ /w/a.txt\n")
    assert request["options"] == ["once", "always", "reject"]
    other.close()

    client.until(lambda: client("status", runId=run)["pendingPermissions"] == 1)
    assert client("permission/list", runId=run)["requests"] == [request]
    assert client("status", runId=run)["status"] == "running"
    assert client.refused("permission/reply", requestId=request["requestId"], reply="perhaps").code == -32602
    client("permission/reply", requestId=request["requestId"], reply="once")
    resolved = client.wait("permissionResolved", lambda told: told["requestId"] == request["requestId"])
    assert resolved["reply"] == "once"
    client.settled(run)
    late = client.refused("permission/reply", requestId=request["requestId"], reply="reject")
    assert (late.code, late.data["allowed"]) == (1003, ["open"])
    assert client.refused("permission/reply", requestId="prm_nothing", reply="once").code == 1002
    assert client("permission/list", runId=run)["requests"] == []


def test_always_is_remembered_for_this_repository_tool_and_pattern(client: Client, box: Box) -> None:
    repo, other = box.repo(), box.repo("other")
    run = start(client, repo, acp("permission"))
    client("permission/reply", requestId=asked(client, run)["requestId"], reply="always")
    client.settled(run)

    run = start(client, repo, acp("permission"))
    client.settled(run)
    assert "allowed as before (always): execute: touch x" in shown(client, run)

    run = start(client, other, acp("permission"))
    asked(client, run)
    client("cancel", runId=run)


def test_always_is_remembered_over_a_restart_for_exactly_this_command(shared: Box) -> None:
    repo, client = shared.repo(), shared.main_client()
    run = start(client, repo, acp("permission"))
    client("permission/reply", requestId=asked(client, run)["requestId"], reply="always")
    client.settled(run)
    shared.kill_helper()

    client = shared.client(repo)
    run = start(client, repo, acp("permission"))
    client.settled(run)
    assert "allowed as before (always): execute: touch x" in shown(client, run)
    run = start(client, repo, acp("other-permission"))
    assert asked(client, run)["title"] == "execute: touch y"
    client("cancel", runId=run)


def test_what_is_too_long_to_be_read_is_shortened_for_people_alone(client: Client, repo: Path) -> None:
    run = start(client, repo, acp("huge-permission"))
    request = asked(client, run)
    assert client("permission/list", runId=run)["requests"] == [request]
    command = request["arguments"]["command"]
    assert command.startswith("touch xxx") and command.endswith("… (6000006 characters)") and len(command) < 20_000
    client("permission/reply", requestId=request["requestId"], reply="once")
    assert client.settled(run)["status"] == "completed"


def test_allow_all_answers_by_itself_and_says_so(client: Client, repo: Path) -> None:
    run = start(client, repo, acp("permission"), allowAll=True)
    client.settled(run)
    assert "allowed by allowAll: execute: touch x" in shown(client, run)
    assert not [request for request in client.heard("permissionAsked") if request["runId"] == run]


def test_a_rejection_and_its_reason_are_told(client: Client, repo: Path) -> None:
    run = start(client, repo, acp("permission"), maxIterations=2)
    client("permission/reply", requestId=asked(client, run)["requestId"], reply="reject", message="Use the Makefile.")
    (record, *_) = until_recorded(client, run, 1)
    assert record["errors"] == ["You rejected: execute: touch x (Use the Makefile.)"]
    assert record["promise"] == "none"
    client.wait("permissionAsked", lambda request: (request["runId"], request["iteration"]) == (run, 2))
    client("cancel", runId=run)
    assert "Use the Makefile." in client("prompt", runId=run, iteration=2)["prompt"]


def until_recorded(client: Client, run: str, iteration: int) -> list[dict[str, Any]]:
    client.wait("didIterate", lambda r: r["runId"] == run and r["iteration"] == iteration and r["status"] != "running")
    return client("history", runId=run)["iterations"]


def test_cancel_withdraws_what_is_asked(client: Client, repo: Path) -> None:
    run = start(client, repo, acp("permission"))
    request = asked(client, run)
    assert client("cancel", runId=run)["status"] == "cancelled"
    resolved = client.wait("permissionResolved", lambda told: told["requestId"] == request["requestId"])
    assert resolved["reply"] == "withdrawn"
    assert client("status", runId=run)["pendingPermissions"] == 0
    assert client.refused("permission/reply", requestId=request["requestId"], reply="once").code == 1003


def test_time_limits_stand_still_while_a_person_is_asked(client: Client, repo: Path) -> None:
    run = start(client, repo, acp("form"), iterationTimeoutMs=5000, inactivityTimeoutMs=5000, maxDurationMs=HOUR_MS)
    question = client.wait("questionAsked", lambda question: question["runId"] == run)
    assert (question["text"], question["options"]) == ("Which colour?", ["Red", "Blue"])
    assert client("status", runId=run)["pendingQuestions"] == 1
    client("question/answer", questionId=question["questionId"], answer="Blue")
    client.settled(run)
    assert '"colour": "b"' in client("history", runId=run)["iterations"][0]["message"]


def test_a_missing_acp_agent_is_refused_at_start(client: Client, repo: Path) -> None:
    config = {"agent": "acp", "command": ["no-such-agent", "--acp"]}
    error = client.refused("start", workspace=str(repo), prompt="x", config=config)
    assert (error.code, error.data["command"]) == (1004, "no-such-agent")


# ---------------------------------------------------------------------------------------------------- OpenCode's server
@pytest.fixture
def opencode(client: Client) -> Iterator[FakeOpenCode]:
    """A server that is named by its address, and asks once per prompt."""

    async def asks(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        id_ = await server.ask(session)
        _, _, answer = await server.asked_for(f"POST /permission/{id_}/reply")
        await server.say(session, f"{answer['reply']}\n<promise>COMPLETE</promise>")
        await server.idle(session)

    with served(asks, asks) as server:
        client("config/set", key="opencode.url", value=server.url)
        yield server
        client("config/delete", key="opencode.url")


def test_an_opencode_server_that_runs_already(client: Client, repo: Path, opencode: FakeOpenCode) -> None:
    config = {"agent": "opencode-server", "maxIterations": 2, "minIterations": 2}
    run = start(client, repo, config, model="provider/some/model")
    request = asked(client, run)
    assert (request["tool"], request["title"], request["arguments"]) == (
        "bash",
        "bash: touch x",
        {"command": "touch x"},
    )
    opencode.drop()  # the connection breaks, and comes back
    client("permission/reply", requestId=request["requestId"], reply="always")
    end = client.settled(run)
    assert (end["stopReason"], end["iteration"]) == ("completed", 2)
    # the server is told "once": it would remember an "always" for everybody and for ever
    replies = [content for _, path, content in opencode.requests if path.endswith("/reply")]
    assert replies == [{"reply": "once"}, {"reply": "once"}]
    prompts = [content for _, path, content in opencode.requests if path.endswith("prompt_async")]
    assert [prompt["model"] for prompt in prompts] == [{"providerID": "provider", "modelID": "some/model"}] * 2
    assert len({path for _, path, _ in opencode.requests if path.endswith("prompt_async")}) == 2  # fresh sessions
    assert "allowed as before (always): bash: touch x" in shown(client, run)
