"""Real loops with each real agent: what it did, what it told, and how it ended."""

from __future__ import annotations

import pytest
from box import until
from real_agents import ASKING, COMMANDS, EVERY, Agent
from real_place import Place

every = pytest.mark.parametrize("agent", EVERY, ids=lambda agent: agent.id)
# one of each kind where the agent's own program matters no more
WARM = [agent for agent in ASKING if agent.id in ("opencode-server", "acp-opencode", "acp-codex")]
some = pytest.mark.parametrize("agent", COMMANDS + WARM, ids=lambda agent: agent.id)


@every
def test_work(place: Place, agent: Agent) -> None:
    run = place.start(agent, "work", allowAll=True)
    end = place.end(run)
    assert (end["status"], end["stopReason"]) == ("completed", "completed"), end

    (record,) = place.records(run)
    assert (place.repo / "hello.txt").read_text() == "hello from the model\n"
    assert [(change["path"], change["kind"]) for change in record["files"]] == [("hello.txt", "create")]
    assert record["promise"] == "completion"
    assert record["message"].endswith("<promise>COMPLETE</promise>")
    assert sum(record["tools"].values()) == 3
    assert set(record["tools"]) == {agent.write, agent.shell}
    if agent.tokens:
        assert record["tokens"] == {"input": agent.tokens, "output": agent.tokens // 20}
    assert ("costUsd" in record) is agent.cost
    assert bool(record["errors"]) is agent.failing
    assert all("3" in error for error in record["errors"])

    readable = "".join(
        chunk["text"] for chunk in place.client("output", runId=run)["chunks"] if chunk["stream"] == "display"
    )
    assert "Step one: write a file.\n" in readable
    assert f"→ {agent.shell}: " in readable
    assert place.model.steps("work")[:4] == [0, 1, 2, 3]


@some
def test_near_miss_after_a_prompt_of_200_kb(place: Place, agent: Agent) -> None:
    """What is warm is used again."""
    iterations = 2 if agent in ASKING else 1
    run = place.start(agent, "near", maxIterations=iterations, prompt="x" * 200_000)
    end = place.end(run)
    assert (end["status"], end["stopReason"]) == ("completed", "maxIterations"), end
    assert [record["promise"] for record in place.records(run)] == ["nearMiss"] * iterations
    assert [record["status"] for record in place.records(run)] == ["completed"] * iterations


@some
def test_a_wrong_key_ends_the_loop_at_once(place: Place, agent: Agent) -> None:
    run = place.start(agent, "e401", maxIterations=5)
    end = place.end(run)
    assert (end["status"], end["stopReason"]) == ("error", "agentFailed")
    assert end["error"]["kind"] == "auth"
    assert end["error"]["hint"]
    assert len(place.records(run)) == 1


@some
def test_a_rate_limit_is_waited_for(place: Place, agent: Agent) -> None:
    run = place.start(agent, "e429", maxIterations=5)
    waiting = place.end(run, "waiting", "error", "completed")
    assert waiting["status"] == "waiting", waiting
    assert waiting["waitingUntil"] > waiting["startedAt"]
    assert place.client("cancel", runId=run)["status"] == "cancelled"


@every
def test_cancel_in_the_middle_of_a_tool(place: Place, agent: Agent) -> None:
    """The box sees to it that no process is left."""
    run = place.start(agent, "long", allowAll=True)
    place.model.asked("long")
    until(lambda: _tool_runs(place), "the tool runs", 120)
    assert place.client.request("ralph/cancel", {"runId": run}, timeout=60)["status"] == "cancelled"
    assert not _tool_runs(place)


def _tool_runs(place: Place) -> bool:
    return any("ralph-test-tool" in command for command in place.box.processes().values())


@pytest.mark.parametrize("agent", COMMANDS, ids=lambda agent: agent.id)
def test_what_was_denied_is_told_in_plain_words(place: Place, agent: Agent) -> None:
    """Edits are allowed by default, all else would have to be asked for."""
    run = place.start(agent, "work")
    place.end(run)
    (record,) = place.records(run)
    assert (place.repo / "hello.txt").exists()
    denials = [error for error in record["errors"] if "was not allowed to use" in error]
    # Codex has a sandbox instead, and Gemini does not offer what it may not use
    assert bool(denials) is (agent.id not in ("codex", "gemini"))


# OpenCode tries again for over a minute: once each is enough
_OPENCODE = {"e500": ["opencode-server"], "e529": ["opencode"], "e404": ["acp-opencode"]}
REFUSED = [
    pytest.param(agent, scenario, kind, id=f"{agent.id}-{scenario}")
    for agent in COMMANDS + WARM
    for scenario, kind in {
        "e402": "payment",
        "e404": "modelNotFound",
        "e500": "server",
        "e529": "overloaded",
        "empty": "server",
    }.items()
    if "opencode" not in agent.id or agent.id in _OPENCODE.get(scenario, [agent.id])
]


@pytest.mark.parametrize(("agent", "scenario", "kind"), REFUSED)
def test_what_the_model_refuses_is_one_clear_error(place: Place, agent: Agent, scenario: str, kind: str) -> None:
    """Whatever the agent's own program makes of it; an empty answer is a success for most."""
    run = place.start(agent, scenario, maxFailures=1, maxIterations=2)
    end = place.end(run)
    assert (end["status"], end["stopReason"]) == ("error", "agentFailed"), end
    # Codex does not tell one of these from the other
    assert end["error"]["kind"] in ({kind, "server"} if scenario == "e529" else {kind}), end["error"]
    assert end["error"]["hint"]
    (record,) = place.records(run)
    assert (record["status"], record["promise"], len(record["errors"])) == ("failed", "none", 1), record
