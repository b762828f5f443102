"""What real agents ask a person: accepted, rejected, and left alone while the client is gone."""

from __future__ import annotations

from typing import Any

import pytest
from real_agents import ASKING, Agent
from real_place import Place

by_id = {agent.id: agent for agent in ASKING}


def of(*ids: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("agent", [by_id[id_] for id_ in ids], ids=lambda agent: agent.id)


def asked(place: Place, run: str) -> dict[str, Any]:
    """The one open permission."""
    place.client.wait("permissionAsked", lambda request: request["runId"] == run, timeout=120)
    (request,) = place.client("permission/list", runId=run)["requests"]
    assert place.client("status", runId=run)["pendingPermissions"] == 1
    assert (request["tool"], request["options"]) == (place_shell(place, run), ["once", "always", "reject"])
    assert "echo made > by-shell.txt" in f"{request['title']} {request['arguments']}"
    return request


def place_shell(place: Place, run: str) -> str:
    agent = place.client("status", runId=run)["agent"]
    return next(each.shell for each in ASKING if each.id == agent)


@of("acp-codex", "acp-copilot", "acp-gemini")
def test_an_accepted_permission(place: Place, agent: Agent) -> None:
    run = place.start(agent, "bash")
    request = asked(place, run)
    assert not (place.repo / "by-shell.txt").exists()
    place.client("permission/reply", requestId=request["requestId"], reply="once")
    end = place.end(run)
    assert (end["status"], end["stopReason"]) == ("completed", "completed"), end
    assert (place.repo / "by-shell.txt").exists()


@of("opencode-server", "acp-copilot", "acp-codex")
def test_always_is_remembered_by_us(place: Place, agent: Agent) -> None:
    run = place.start(agent, "bash", minIterations=2, maxIterations=2)
    place.client("permission/reply", requestId=asked(place, run)["requestId"], reply="always")
    assert place.end(run)["stopReason"] == "completed"
    assert len([request for request in place.client.heard("permissionAsked") if request["runId"] == run]) == 1
    assert place.model.steps("bash") == [0, 1, 0, 1]


@of("opencode-server", "acp-opencode", "acp-claude", "acp-codex")
def test_a_rejected_permission(place: Place, agent: Agent) -> None:
    run = place.start(agent, "bash")
    place.client("permission/reply", requestId=asked(place, run)["requestId"], reply="reject", message="Not today.")
    place.end(run)
    (record,) = place.records(run)
    assert record["status"] == "completed"
    assert not (place.repo / "by-shell.txt").exists()
    assert record["errors"]


@of("opencode-server", "acp-opencode", "acp-claude")
def test_accepted_after_it_was_left_alone_until_the_client_is_back(place: Place, agent: Agent) -> None:
    run = place.start(agent, "bash")
    request = asked(place, run)
    assert not (place.repo / "by-shell.txt").exists()
    place.client.close()

    place.client = place.connect()
    assert place.client("permission/list", runId=run)["requests"] == [request]
    place.client("permission/reply", requestId=request["requestId"], reply="once")
    assert place.end(run)["stopReason"] == "completed"
    assert (place.repo / "by-shell.txt").exists()


@of("opencode-server", "acp-claude")
def test_a_question(place: Place, agent: Agent) -> None:
    run = place.start(agent, "ask")
    question = place.client.wait("questionAsked", lambda question: question["runId"] == run, timeout=120)
    assert (question["text"], question["options"]) == ("Which colour?", ["Red", "Blue"])
    place.client("question/answer", questionId=question["questionId"], answer="Blue")
    assert place.end(run)["stopReason"] == "completed"
    assert "Blue" in str(place.model.last_results("ask"))


@of("opencode-server", "acp-claude", "acp-copilot")
def test_cancel_while_it_asks(place: Place, agent: Agent) -> None:
    run = place.start(agent, "bash")
    asked(place, run)
    assert place.client.request("ralph/cancel", {"runId": run}, timeout=60)["status"] == "cancelled"
    assert place.client("permission/list", runId=run)["requests"] == []
