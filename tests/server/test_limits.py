"""Limits, rotation, rate limits and struggle beyond what test_loops.py says: over restarts and in combination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell
from client import Client

HOUR_MS = 3_600_000
LIMITED = "{ echo 'Error: 429 Too Many Requests: rate limit reached' >&2; exit 1; }"


@pytest.fixture
def box(common_embedded: Box) -> Box:
    return common_embedded


def start(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> str:
    return client("start", workspace=str(repo), prompt="do it", config={**agent, **config})["runId"]


def finish(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> dict[str, Any]:
    return client.settled(start(client, repo, agent, **config))


def records(client: Client, run: str) -> list[dict[str, Any]]:
    return client("history", runId=run)["iterations"]


# --------------------------------------------------------------------------------------------------------------- limits
def test_an_inactive_iteration_is_ended_counted_and_started_again(client: Client, repo: Path) -> None:
    agent = shell(f"echo here; test $1 = 1 && exec sleep 60; echo '{DONE}'")
    end = finish(client, repo, agent, inactivityTimeoutMs=1000, maxIterations=2)
    assert (end["stopReason"], end["iteration"]) == ("completed", 2)
    found = records(client, end["runId"])
    assert [(r["status"], r["promise"]) for r in found] == [("timedOut", "none"), ("completed", "completion")]
    lines = client("output", runId=end["runId"], iteration=1)["chunks"]
    assert any("inactivityTimeoutMs" in c["text"] for c in lines if c["stream"] == "system")
    end = finish(client, repo, shell("exec sleep 60"), iterationTimeoutMs=200, maxIterations=1)
    assert (end["stopReason"], len(records(client, end["runId"]))) == ("maxIterations", 1)  # it counts


def test_no_limit_of_iterations(client: Client, repo: Path) -> None:
    agent = shell(f"test $1 -lt 55 || echo '{DONE}'")
    run = start(client, repo, agent, maxIterations=0, minIterations=3)
    end = client.settled(run, timeout=60)
    assert (end["stopReason"], end["iteration"], end["maxIterations"]) == ("completed", 55, 0)
    assert "(no limit)" in client("prompt", runId=run, iteration=1)["prompt"]


def test_the_delay_is_between_iterations_only(client: Client, repo: Path) -> None:
    end = finish(client, repo, shell("true"), maxIterations=2, iterationDelayMs=400)
    first, second = records(client, end["runId"])
    assert end["elapsedMs"] >= 400
    assert second["startedAt"] > first["endedAt"]
    end = finish(client, repo, shell(f"echo '{DONE}'"), iterationDelayMs=HOUR_MS)
    assert end["stopReason"] == "completed"


def test_time_that_waits_for_a_rate_limit_counts(client: Client, repo: Path) -> None:
    client("config/set", key="rateLimitBackoffMs", value=HOUR_MS)
    end = finish(client, repo, shell(LIMITED), maxDurationMs=1500)
    assert (end["status"], end["stopReason"]) == ("completed", "maxDuration")
    assert "waitingUntil" not in end
    assert "error" not in end


# ------------------------------------------------------------------------------------------------------------- rotation
def test_the_position_is_kept_over_restarts(shared: Box) -> None:
    repo, client = shared.repo(), shared.main_client()
    agent = {"command": ["/bin/sh", "-c", "exit 0"], "rotation": ["custom:a", "custom:b:1/x", "custom:c"]}
    run = start(client, repo, agent, iterationDelayMs=HOUR_MS)
    client.wait("didChange", lambda s: s.get("phase") == "delay")
    shared.kill_helper()
    client = shared.client(repo)
    found = client("status", runId=run)
    assert (found["status"], found["agent"], found["model"]) == ("interrupted", "custom", "b:1/x")
    client("resume", runId=run)
    client.wait("didChange", lambda s: s.get("phase") == "delay")
    assert [r["model"] for r in records(client, run)] == ["a", "b:1/x"]
    client("cancel", runId=run)


@pytest.mark.parametrize("entry", ["custom", "custom:", ":x", "nope:x", " : ", ""])
def test_bad_entries_are_refused_with_the_reason(client: Client, repo: Path, entry: str) -> None:
    error = client.refused(
        "start", workspace=str(repo), prompt="x", config=shell("true") | {"rotation": ["custom:ok", entry]}
    )
    assert error.code == -32602
    assert "rotation" in error.message


# ---------------------------------------------------------------------------------------------------------- rate limits
def test_a_limited_iteration_is_replaced(client: Client, repo: Path) -> None:
    client("config/set", key="rateLimitBackoffMs", value=HOUR_MS)
    script = f"cat > $BOX/prompt-$1; test $1 = 2 && {LIMITED}; test $1 -lt 3 || echo '{DONE}'"
    agent = {"command": [*shell(script)["command"], "{model}"], "rotation": ["custom:a", "custom:b"]}
    (repo / ".ralph").mkdir()
    run = start(client, repo, agent, maxIterations=2, maxFailures=1, iterationDelayMs=1)
    client("addContext", runId=run, text="the one hint")
    waiting = client.settled(run, "waiting")
    assert waiting["waitingUntil"] > waiting["startedAt"]
    assert client("status", runId=run)["model"] == "b"
    client("resume", runId=run)
    end = client.settled(run)
    assert (end["stopReason"], end["iteration"]) == ("completed", 3)
    assert "error" not in end
    found = records(client, run)
    assert [(r["model"], r["status"]) for r in found] == [("a", "completed"), ("b", "interrupted"), ("b", "completed")]
    given = [r["iteration"] for r in found if r["contextIds"]]
    assert given in ([1], [2, 3])  # the hint came before the first or before the second


def test_a_subscriber_hears_of_a_limit_with_the_time_that_the_agent_told(box: Box) -> None:
    repo, client = box.repo(), box.main_client()
    limited = "echo 'HTTP 429 Too Many Requests: try again in 2 hours' >&2; exit 1"
    run = start(client, repo, shell(f"until [ -e $BOX/go ]; do sleep 0.02; done; {limited}"))
    client("subscribe", runId=run)
    (box.folder / "go").touch()
    told = client.wait("didEvent", lambda e: e["event"]["type"] == "rateLimit")
    assert told["event"]["resetAt"] == client.settled(run, "waiting")["waitingUntil"]
    client("cancel", runId=run)


def test_waiting_goes_on_after_a_restart_once_a_client_is_there(shared: Box) -> None:
    repo, client = shared.repo(), shared.main_client()
    client("config/set", key="rateLimitBackoffMs", value=1500)
    run = start(client, repo, shell(f"test $1 -gt 1 && echo '{DONE}' || {LIMITED}"), maxIterations=1)
    until = client.settled(run, "waiting")["waitingUntil"]
    shared.kill_helper()
    client = shared.client(repo)
    found = client("status", runId=run)
    assert found["status"] in ("waiting", "running", "completed")
    end = client.settled(run) if found["status"] != "completed" else found
    assert (end["stopReason"], end["iteration"]) == ("completed", 2)
    assert records(client, run)[1]["startedAt"] >= until


def test_what_became_of_the_start_requests_variables_after_a_restart_is_told(shared: Box) -> None:
    """Their values may be secrets: they are written nowhere, so a loop goes on with its next client's environment."""
    repo, client = shared.repo(), shared.main_client()
    client("config/set", key="rateLimitBackoffMs", value=1500)
    script = f"echo got $MY_KEY. $HOME_OF.; test $1 -gt 1 && echo '{DONE}' || {LIMITED}"
    config, env = shell(script) | {"maxIterations": 1}, {"MY_KEY": "hush-hush", "HOME_OF": "here"}
    run = client("start", workspace=str(repo), prompt="x", config=config, env=env)["runId"]
    client.settled(run, "waiting")
    shared.kill_helper()
    assert "hush-hush" not in shared.stored_bytes().replace("got hush-hush", "")
    shared.env |= {"HOME_OF": "there"}
    client = shared.client(repo)
    client.settled(run)
    chunks = client("output", runId=run)["chunks"]
    (told,) = [chunk["text"] for chunk in chunks if "keeps no values" in chunk["text"]]
    assert "started with HOME_OF, MY_KEY; " in told
    assert "and there MY_KEY is not set. To change that" in told
    printed = "".join(chunk["text"] for chunk in chunks if chunk["stream"] == "stdout")
    assert "got hush-hush. here." in printed
    assert "got . there." in printed


# ------------------------------------------------------------------------------------------------------------- struggle
def reasons(client: Client, repo: Path, script: str, **config: Any) -> list[str]:
    run = start(client, repo, shell(script), pauseOnStruggle=True, maxIterations=6, **config)
    end = client.settled(run, "paused", "completed", "error")
    if end["status"] == "paused":
        assert (end["stopReason"], end["struggle"]["detected"]) == ("struggle", True)
        client("cancel", runId=run)
    return end["struggle"]["reasons"] + [str(end["iteration"])]


def test_signs_of_struggle(client: Client, repo: Path) -> None:
    work = "echo $1 $$ >> file; "
    *same, at = reasons(client, repo, work + 'echo "Error: /tmp/x$1/a.py line $1: took ${1}ms, boom"')
    assert (len(same), at) == (1, "2")
    assert "same error" in same[0].lower()
    *idle, at = reasons(client, repo, "echo nothing")
    assert (any("No file was changed" in reason for reason in idle), at) == (True, "3")
    *circle, at = reasons(client, repo, "echo $(($1 % 2)) > flip")
    assert (any("back and forth" in reason for reason in circle), at) == (True, "3")
    assert reasons(client, repo, work + "echo '0 tests failed, 0 errors'") == ["6"]
    assert reasons(client, repo, work + 'test $(($1 % 2)) = 0 || echo "Error: boom"') == ["6"]


def test_a_completion_is_never_refused_because_of_it(client: Client, repo: Path) -> None:
    agent = shell(f"echo 'Error: boom'; test $1 -lt 5 || echo '{DONE}'")
    end = finish(client, repo, agent)
    assert (end["stopReason"], end["iteration"]) == ("completed", 5)
    assert "boom" in client("prompt", runId=end["runId"], iteration=3)["prompt"]
    assert "Stuck" in client("prompt", runId=end["runId"], iteration=4)["prompt"]
    end = finish(client, repo, shell(f"test $1 -lt 3 || echo '{DONE}'"), pauseOnStruggle=True)
    assert (end["stopReason"], end["iteration"]) == ("completed", 3)
