"""Loops from start to end: promises, limits, failures, pause, resume and cancel in every state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, Gates, script, shell, until
from client import Client

INVALID_PARAMS, INVALID_STATE, AGENT_NOT_FOUND = -32602, 1003, 1004


@pytest.fixture
def box(common: Box) -> Box:
    return common


@pytest.fixture
def gates(box: Box) -> Gates:
    return box.gates()


def start(client: Client, repo: Path, agent: dict[str, Any], prompt: str = "do it", **config: Any) -> str:
    snapshot = client("start", workspace=str(repo), prompt=prompt, config={**agent, **config})
    assert (snapshot["status"], snapshot["phase"], snapshot["iteration"]) == ("running", "starting", 0)
    assert not {"stopReason", "endedAt", "error"} & snapshot.keys()
    return snapshot["runId"]


def finish(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> dict[str, Any]:
    """The last snapshot of a loop that ends by itself."""
    run = start(client, repo, agent, **config)
    end = client.settled(run)
    assert client("status", runId=run) == end
    assert end["endedAt"] >= end["startedAt"]
    assert "phase" not in end
    return end


def records(client: Client, run: str) -> list[dict[str, Any]]:
    return client("history", runId=run)["iterations"]


def at_agent(client: Client, run: str, iteration: int = 1) -> dict[str, Any]:
    return client.wait(
        "didChange", lambda s: (s["runId"], s.get("phase"), s["iteration"]) == (run, "agent", iteration)
    )  # fmt: skip


def refused(client: Client, name: str, status: str, **params: Any) -> None:
    error = client.refused(name, **params)
    assert error.code == INVALID_STATE, (name, status, error)
    assert error.data["status"] == status
    assert error.data["allowed"]
    assert status not in error.data["allowed"]


def ended_is_final(client: Client, run: str, status: str) -> None:
    for name in ("pause", "resume", "cancel"):
        refused(client, name, status, runId=run)
    refused(client, "pause", status, runId=run, when="now")
    refused(client, "addContext", status, runId=run, text="too late")
    assert client("status", runId=run)["status"] == status


# ------------------------------------------------------------------------------------------------------------ promises
def test_a_loop_runs_until_the_promise(client: Client, repo: Path) -> None:
    end = finish(client, repo, shell(f'echo "round $1"; test $1 -lt 3 || echo "{DONE}"'))
    assert (end["status"], end["stopReason"], end["iteration"]) == ("completed", "completed", 3)
    found = records(client, end["runId"])
    assert [(r["iteration"], r["status"], r["promise"], r["exitCode"]) for r in found] == [
        (1, "completed", "none", 0), (2, "completed", "none", 0), (3, "completed", "completion", 0),
    ]  # fmt: skip
    assert found[-1]["message"].splitlines() == ["round 3", DONE]
    ended_is_final(client, end["runId"], "completed")
    revisions = [s["revision"] for s in client.heard("didChange") if s["runId"] == end["runId"]]
    assert revisions == sorted(set(revisions))
    assert [r["status"] for r in client.heard("didIterate")] == ["running", "completed"] * 3
    session = client("sessions/get", sessionId=end["sessionId"])
    assert [m["role"] for m in session["messages"]] == ["user", "agent", "agent", "agent", "system"]
    assert [loop["runId"] for loop in session["loops"]] == [end["runId"]]


def test_min_and_max_iterations(client: Client, repo: Path) -> None:
    always = shell(f"echo '{DONE}'")
    for limits, iterations, reason in (
        ({"minIterations": 3}, 3, "completed"),
        ({"maxIterations": 1}, 1, "completed"),  # a promise in the very last one is a success
        ({"minIterations": 2, "maxIterations": 2}, 2, "completed"),
    ):
        end = finish(client, repo, always, **limits)
        assert (end["iteration"], end["status"], end["stopReason"]) == (iterations, "completed", reason), limits
    end = finish(client, repo, shell("echo working"), maxIterations=2)
    assert (end["iteration"], end["status"], end["stopReason"]) == (2, "completed", "maxIterations")
    end = finish(client, repo, shell(f'test $1 -lt 7 || echo "{DONE}"'), maxIterations=0, maxFailures=100)
    assert (end["iteration"], end["stopReason"], end["maxIterations"]) == (7, "completed", 0)


def test_what_counts_as_the_promise(client: Client, repo: Path) -> None:
    yes = [
        "<promise>COMPLETE</promise>", "<PROMISE>complete</Promise>", "<promise>  COMPLETE\t</promise>  ",
        r"text\n<promise>COMPLETE</promise>\n\n  \n", r"\033[1m<promise>COMPLETE</promise>\033[0m\n",
        r"\033]0;title\007<promise>COMPLETE</promise>\r\n", r"a\r\n<promise>COMPLETE</promise>\r\n",
    ]  # fmt: skip
    for text in yes:
        end = finish(client, repo, script("say.py", text), maxIterations=1)
        assert end["stopReason"] == "completed", text
    no = [
        (r"<promise>COMPLETE</promise>\nand more", "nearMiss"), ("I say <promise>COMPLETE</promise>", "nearMiss"),
        ("<promise>COMPLETE</promise>.", "nearMiss"), ("`<promise>COMPLETE</promise>`", "nearMiss"),
        ("<promise>COMPLETED</promise>", "none"), ("COMPLETE", "none"), ("<promise>COMPLETE", "none"),
        ("<promise></promise>", "none"), ("", "none"),
    ]  # fmt: skip
    for text, promise in no:
        end = finish(client, repo, script("say.py", text), maxIterations=1, maxFailures=9)
        assert end["stopReason"] == "maxIterations", text
        assert records(client, end["runId"])[0]["promise"] == promise, text
    # said on stderr, or by the prompt that an agent repeats: not its own last word
    end = finish(client, repo, shell(f"echo '{DONE}' >&2"), maxIterations=1)
    assert end["stopReason"] == "maxIterations"
    end = finish(client, repo, shell("cat"), prompt="x", maxIterations=1)
    assert end["stopReason"] == "maxIterations"
    end = finish(client, repo, script("say.py", "<promise>all $& done</promise>"), completionPromise="all $& done")
    assert end["stopReason"] == "completed"


def test_a_near_miss_is_explained_in_the_next_prompt(client: Client, repo: Path) -> None:
    end = finish(client, repo, shell(f'test $1 = 1 && echo "so: {DONE} ok" || echo "{DONE}"'))
    first, second = (client("prompt", runId=end["runId"], iteration=n)["prompt"] for n in (1, 2))
    assert records(client, end["runId"])[0]["promise"] == "nearMiss"
    assert DONE in first
    added = set(second.splitlines()) - set(first.splitlines())
    assert any("promise" in line.lower() for line in added), added


def test_the_abort_promise(client: Client, repo: Path) -> None:
    agent = shell("echo '<promise>GIVE UP</promise>'")
    end = finish(client, repo, agent, abortPromise="give up", minIterations=5)
    assert (end["status"], end["stopReason"], end["iteration"]) == ("completed", "aborted", 1)
    assert records(client, end["runId"])[0]["promise"] == "abort"
    assert "give up" in client("prompt", runId=end["runId"], iteration=1)["prompt"]


# ------------------------------------------------------------------------------------------------------------ failures
def test_failures_end_a_loop_only_in_a_row(client: Client, repo: Path) -> None:
    end = finish(client, repo, shell("echo oops >&2; exit 3"), maxFailures=2)
    assert (end["status"], end["stopReason"], end["iteration"]) == ("error", "agentFailed", 2)
    assert end["error"]["kind"] == "exit"
    assert "oops" in end["error"]["message"]
    assert [(r["status"], r["exitCode"]) for r in records(client, end["runId"])] == [("failed", 3)] * 2
    assert "oops" in client("prompt", runId=end["runId"], iteration=2)["prompt"]  # the errors of the last iteration
    ended_is_final(client, end["runId"], "error")
    end = finish(client, repo, shell("test $(($1 % 2)) = 0 || exit 1"), maxFailures=2, maxIterations=5)
    assert (end["stopReason"], end["iteration"]) == ("maxIterations", 5)
    # the promise of a failed iteration does not count, whoever killed it
    for ending in ("exit 1", "kill -9 $$", "kill -TERM $$", "exit 255"):
        end = finish(client, repo, shell(f"echo '{DONE}'; {ending}"), maxFailures=1)
        assert (end["status"], end["stopReason"]) == ("error", "agentFailed"), ending
        assert records(client, end["runId"])[0]["promise"] == "none"


def test_agents_that_cannot_be_started(client: Client, box: Box, repo: Path) -> None:
    not_executable = box.folder / "plain.txt"
    not_executable.write_text("x")
    for command in (["no-such-program"], ["/no/such/program"], ["./relative"], ["sub/relative"], [str(box.folder)]):
        error = client.refused("start", workspace=str(repo), prompt="x", config={"agent": "custom", "command": command})
        assert error.code == AGENT_NOT_FOUND, (command, error)
        assert (error.data["agent"], error.data["command"]) == ("custom", command[0])
    error = client.refused("start", workspace=str(repo), prompt="x", config={"agent": "codex"})
    assert (error.code, error.data["agent"], error.data["command"]) == (AGENT_NOT_FOUND, "codex", "codex")
    assert error.data["installHint"]
    broken = box.folder / "broken"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    end = finish(client, repo, {"agent": "custom", "command": [str(broken)]})
    assert (end["status"], end["stopReason"]) == ("error", "agentFailed")
    assert end["iteration"] == 1  # trying again cannot help


def test_time_limits(client: Client, repo: Path, gates: Gates) -> None:
    hangs = shell(f"echo started; {gates.wait}")
    end = finish(client, repo, hangs, iterationTimeoutMs=300, maxFailures=2)
    assert (end["status"], end["stopReason"], end["error"]["kind"]) == ("error", "agentFailed", "timeout")
    assert [r["status"] for r in records(client, end["runId"])] == ["timedOut"] * 2
    end = finish(client, repo, hangs, inactivityTimeoutMs=300, maxFailures=1)
    assert (end["stopReason"], records(client, end["runId"])[0]["status"]) == ("agentFailed", "timedOut")
    end = finish(client, repo, script("drip.py", "20", "0.05", DONE), inactivityTimeoutMs=900)
    assert end["stopReason"] == "completed"  # it printed something all the time
    end = finish(client, repo, hangs, maxDurationMs=400)
    assert (end["status"], end["stopReason"]) == ("completed", "maxDuration")
    assert records(client, end["runId"])[0]["status"] == "interrupted"
    end = finish(client, repo, shell("true"), maxDurationMs=500, iterationDelayMs=60_000)
    assert (end["stopReason"], end["iteration"]) == ("maxDuration", 1)
    assert 500 <= end["elapsedMs"] < 20_000


# --------------------------------------------------------------------------------------------------- pause and resume
def test_pause_after_the_iteration(client: Client, repo: Path, gates: Gates) -> None:
    run = start(client, repo, shell(f'{gates.wait}; test $1 -lt 2 || echo "{DONE}"'))
    at_agent(client, run)
    refused(client, "resume", "running", runId=run)
    for _ in range(2):  # asking twice is no mistake
        paused = client("pause", runId=run)
        assert (paused["status"], paused["pauseRequested"]) == ("running", True)
    assert client("resume", runId=run)["pauseRequested"] is False  # not needed after all
    assert client("pause", runId=run, when="afterIteration")["pauseRequested"]
    gates.open(1)
    paused = client.settled(run, "paused")
    assert (paused["iteration"], paused["pauseRequested"]) == (1, False)
    assert "phase" not in paused
    assert "stopReason" not in paused
    assert records(client, run)[0]["status"] == "completed"
    refused(client, "pause", "paused", runId=run)
    refused(client, "pause", "paused", runId=run, when="now")
    for name in ("approve", "reject"):
        refused(client, f"plan/{name}", "paused", runId=run)
    assert client("status", runId=run)["elapsedMs"] == client("status", runId=run)["elapsedMs"]  # it stands still
    resumed = client("resume", runId=run)
    assert resumed["status"] == "running"
    gates.open(2)
    end = client.settled(run)
    assert (end["stopReason"], end["iteration"]) == ("completed", 2)


def test_pause_now_is_run_again(client: Client, repo: Path, gates: Gates) -> None:
    run = start(client, repo, shell(f'echo started; {gates.wait}; echo "{DONE}"'), maxIterations=1, maxFailures=1)
    at_agent(client, run)
    for number in (1, 2):  # an interrupted iteration counts neither towards the limit nor as a failure
        at_agent(client, run, number)
        paused = client("pause", runId=run, when="now")
        assert (paused["status"], paused["pauseRequested"], paused["iteration"]) == ("paused", False, number)
        assert records(client, run)[-1]["status"] == "interrupted"
        assert client("resume", runId=run)["status"] == "running"
    at_agent(client, run, 3)
    gates.open(3)
    end = client.settled(run)
    assert (end["stopReason"], end["iteration"]) == ("completed", 3)
    assert [(r["iteration"], r["status"]) for r in records(client, run)] == [
        (1, "interrupted"), (2, "interrupted"), (3, "completed")
    ]  # fmt: skip


def test_resume_with_other_limits_and_agent(client: Client, repo: Path) -> None:
    agent = shell('echo "model $0"')
    run = start(client, repo, agent, maxIterations=2, iterationDelayMs=60_000)
    client.wait("didChange", lambda s: s.get("phase") == "delay")
    client("pause", runId=run)
    client.settled(run, "paused")
    assert client.refused("resume", runId=run, config={"agent": "nonsense"}).code == INVALID_PARAMS
    assert client.refused("resume", runId=run, config={"agent": "codex"}).code == AGENT_NOT_FOUND
    assert client("status", runId=run)["status"] == "paused"
    resumed = client("resume", runId=run, config={"maxIterations": 1, "model": "m"})
    assert (resumed["maxIterations"], resumed["model"]) == (1, "m")
    assert client.settled(run)["stopReason"] == "maxIterations"


def test_pause_and_cancel_during_a_delay(client: Client, repo: Path) -> None:
    run = start(client, repo, shell("true"), iterationDelayMs=3_600_000)
    client.wait("didChange", lambda s: (s["runId"], s.get("phase")) == (run, "delay"))
    client("pause", runId=run)
    client.settled(run, "paused")
    seen = len(client.notifications)
    client("resume", runId=run)
    client.wait("didChange", lambda s: s.get("phase") == "delay", since=seen)
    assert client("pause", runId=run, when="now")["status"] == "paused"
    seen = len(client.notifications)
    client("resume", runId=run)
    client.wait("didChange", lambda s: s.get("phase") == "delay", since=seen)
    assert client("cancel", runId=run)["status"] == "cancelled"


def test_cancel_in_every_state(client: Client, box: Box, repo: Path, gates: Gates) -> None:
    agent = shell(f"echo started; {gates.wait}")
    at_once = start(client, repo, agent)
    assert client("cancel", runId=at_once)["stopReason"] == "cancelled"
    running = start(client, repo, agent)
    at_agent(client, running)
    cancelled = client("cancel", runId=running)
    assert (cancelled["status"], cancelled["stopReason"]) == ("cancelled", "cancelled")
    assert records(client, running)[0]["status"] == "interrupted"
    paused = start(client, repo, agent)
    at_agent(client, paused)
    client("pause", runId=paused, when="now")
    assert client("cancel", sessionId=client("status", runId=paused)["sessionId"])["status"] == "cancelled"
    requested = start(client, repo, agent)
    at_agent(client, requested)
    client("pause", runId=requested)
    assert client("cancel", runId=requested)["pauseRequested"] is False
    for run in (at_once, running, paused, requested):
        ended_is_final(client, run, "cancelled")
    until(lambda: not box.guards(), "guards are gone")
    assert not [command for command in box.processes().values() if "/bin/sh" in command]
    assert client("health")["activeLoops"] == 0


def test_waiting_for_a_rate_limit(client: Client, repo: Path) -> None:
    limited = shell(
        f"test $1 -gt 2 && echo '{DONE}' || {{ echo 'Error: 429 Too Many Requests: rate limit reached' >&2; exit 1; }}"
    )
    client("config/set", key="rateLimitBackoffMs", value=3_600_000)
    run = start(client, repo, limited, maxFailures=1, maxIterations=1)
    waiting = client.settled(run, "waiting", "error")
    assert (waiting["status"], waiting["error"]["kind"]) == ("waiting", "rateLimit")
    assert waiting["waitingUntil"] > waiting["startedAt"]
    assert "phase" not in waiting
    assert client("list", active=True)["loops"][0]["runId"] == run
    seen = len(client.notifications)
    assert client("resume", runId=run)["status"] == "running"  # tried at once
    client.settled(run, "waiting", since=seen)
    paused = client("pause", runId=run)
    paused = paused if paused["status"] == "paused" else client.settled(run, "paused", since=seen)
    assert "waitingUntil" not in paused
    client("resume", runId=run)
    end = client.settled(run)
    assert (end["stopReason"], end["iteration"]) == ("completed", 3)  # none of the limited ones counted
    assert [r["status"] for r in records(client, run)] == ["interrupted", "interrupted", "completed"]
    client("config/set", key="rateLimitBackoffMs", value=50)
    end = finish(client, repo, limited, maxFailures=1, maxIterations=1)
    assert end["stopReason"] == "completed"  # by itself, when the time had come
    client("config/set", key="rateLimitBackoffMs", value=3_600_000)
    run = start(client, repo, limited)
    client.settled(run, "waiting")
    assert client("cancel", runId=run)["status"] == "cancelled"
    ended_is_final(client, run, "cancelled")


# --------------------------------------------------------------------------------------------------- agents and prompts
def test_the_prompt_is_what_preview_said_on_every_way(client: Client, box: Box, repo: Path) -> None:
    prompt = "Do $& it: ü€ \\n {iteration} {{prompt}} `rm -rf` \"quoted\" 'x'\nsecond line"
    ways: list[list[str]] = [
        ["/bin/sh", "-c", 'cat > "$BOX/got"'],
        ["/bin/sh", "-c", 'printf %s "$1" > "$BOX/got"', "agent", "{prompt}"],
        ["/bin/sh", "-c", 'cat "$1" > "$BOX/got"; stat -c %a "$1" > "$BOX/mode"', "agent", "{prompt_file}"],
    ]
    end: dict[str, Any] = {}
    for command in ways:
        config = {"agent": "custom", "command": command, "maxIterations": 1}
        expected = client("preview", workspace=str(repo), prompt=prompt, config=config)["prompt"]
        end = finish(client, repo, config, prompt=prompt)
        assert prompt in expected
        assert (box.folder / "got").read_text() == expected
        assert client("prompt", runId=end["runId"], iteration=1)["prompt"] == expected
    assert (box.folder / "mode").read_text() == "600\n"
    assert client.refused("prompt", runId=end["runId"], iteration=2).code == 1002
    assert not list(box.data.glob("prompts/*"))
    large = "x" * 200_000
    end = finish(client, repo, shell('cat > "$BOX/got"'), prompt=large, maxIterations=1)
    assert large in (box.folder / "got").read_text()
    config = {"agent": "custom", "command": ["/bin/echo", "{prompt}"], "maxIterations": 1}
    end = finish(client, repo, config, prompt=large)  # no argument may be that long
    assert (end["status"], end["error"]["kind"]) == ("error", "usage")


def test_rotation_and_placeholders(client: Client, repo: Path) -> None:
    agent = {"command": ["/bin/sh", "-c", 'echo "$1 $2 $3"; test $1 -lt 4 || echo "$4"', "x", "{iteration}", "{model}"]}
    agent["command"] += ["{nothing} {{model}}", DONE]
    end = finish(client, repo, agent, rotation=["custom:a", "custom:b/c:d", "custom:e"])
    assert end["stopReason"] == "completed"
    assert [(r["agent"], r["model"]) for r in records(client, end["runId"])] == [
        ("custom", "a"), ("custom", "b/c:d"), ("custom", "e"), ("custom", "a"),
    ]  # fmt: skip
    text = "".join(chunk["text"] for chunk in client("output", runId=end["runId"])["chunks"])
    assert text.splitlines()[:3] == ["1 a {nothing} {a}", "2 b/c:d {nothing} {b/c:d}", "3 e {nothing} {e}"]
    assert client.refused("start", workspace=str(repo), prompt="x", config=agent | {"rotation": ["nope:x"]}).code < 0


def test_struggle_is_told_and_can_pause(client: Client, repo: Path) -> None:
    run = start(client, repo, shell("echo nothing"), pauseOnStruggle=True, maxIterations=10)
    paused = client.settled(run, "paused")
    assert (paused["stopReason"], paused["struggle"]["detected"]) == ("struggle", True)
    assert paused["struggle"]["reasons"]
    client("resume", runId=run)
    client.wait("didChange", lambda s: s["iteration"] > paused["iteration"])
    prompt = client("prompt", runId=run, iteration=paused["iteration"] + 1)["prompt"]
    assert len(prompt) > len(client("prompt", runId=run, iteration=1)["prompt"])
    client("cancel", runId=run)


# ------------------------------------------------------------------------------------------------------------- finding
def test_finding_loops(fresh: Box) -> None:
    box, client = fresh, fresh.main_client()
    first, second = box.repo("first"), box.repo("second")
    done = shell(f"echo '{DONE}'")
    runs = [finish(client, first, done)["runId"] for _ in range(4)]
    other = start(client, second, shell("true"), iterationDelayMs=3_600_000)

    def ids(**params: Any) -> tuple[list[str], bool]:
        result = client("list", **params)
        return [loop["runId"] for loop in result["loops"]], result["more"]

    assert ids() == ([other, *runs[::-1]], False)
    assert ids(limit=2) == ([other, runs[3]], True)
    assert ids(limit=2, before=runs[3]) == ([runs[2], runs[1]], True)
    assert ids(limit=2, before=runs[1]) == ([runs[0]], False)
    assert ids(active=True) == ([other], False)
    assert ids(active=False, limit=10**6) == (runs[::-1], False)
    assert ids(workspace=str(first), limit=1) == ([runs[3]], True)
    assert ids(workspace=str(box.folder_of("empty"))) == ([], False)
    assert client.refused("list", before="run_nothing").code == 1002
    assert client("status", workspace=str(first))["runId"] == runs[3]
    session = client("status", runId=runs[1])["sessionId"]
    assert client("status", sessionId=session)["runId"] == runs[1]
    # in the same session the active loop counts, else the latest
    again = client("start", workspace=str(first), prompt="x", sessionId=session, config=done)["runId"]
    client.settled(again)
    assert client("status", sessionId=session)["runId"] == again
    error = client.refused("start", workspace=str(second), prompt="x", sessionId=session, config=done)
    assert error.code in (INVALID_PARAMS, 1001)
    assert client.refused("start", workspace=str(first), prompt="x", sessionId="ses_no", config=done).code == 1002
    client("cancel", runId=other)


def test_history_in_pages(client: Client, repo: Path) -> None:
    run = finish(client, repo, shell("true"), maxIterations=7, maxFailures=99)["runId"]

    def numbers(**params: Any) -> tuple[list[int], bool]:
        result = client("history", runId=run, **params)
        return [record["iteration"] for record in result["iterations"]], result["more"]

    assert numbers() == ([1, 2, 3, 4, 5, 6, 7], False)
    assert numbers(limit=3) == ([5, 6, 7], True)
    assert numbers(limit=3, before=5) == ([2, 3, 4], True)
    assert numbers(limit=3, before=2) == ([1], False)
    assert numbers(before=1) == ([], False)
    assert numbers(limit=10**12, before=10**12) == ([1, 2, 3, 4, 5, 6, 7], False)


def test_the_demo_agent_finishes(solo: Box) -> None:
    solo.env["RALPH_DEMO_DELAY_MS"] = "0"
    client, repo = solo.client(solo.folder), solo.repo()
    end = finish(client, repo, {"agent": "demo"}, prompt="show me")
    assert end["stopReason"] == "completed"
    assert end["iteration"] >= 3
    found = records(client, end["runId"])
    assert all(record["filesTotal"] for record in found[:-1])
    assert found[0]["errors"]  # a failing test at first
    assert "ralph-demo" in solo.git(repo, "status", "--short")
