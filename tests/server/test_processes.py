"""Agents that misbehave: the iteration ends, and nothing of theirs stays.

After every test the box looks for processes that are left: by environment, folder, command line and open files.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, script, shell, until
from client import Client

ESCAPES = ("child", "session", "daemon", "stubborn", "stopped", "storm", "respawn")


@pytest.fixture
def box(common_shared: Box) -> Box:
    return common_shared


def start(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> str:
    return client("start", workspace=str(repo), prompt="x", config={**agent, **config})["runId"]


def agents(box: Box) -> dict[int, str]:
    """What runs of them and below them, guards and helpers left out."""
    return {pid: name for pid, name in box.processes().items() if "ralph_loop" not in name}


def test_whatever_an_agent_leaves_behind_ends_with_its_iteration(client: Client, box: Box) -> None:
    runs = {how: start(client, box.repo(how), script("escape.py", how, "exit")) for how in ESCAPES}
    for how, run in runs.items():
        end = client.settled(run, timeout=60)
        assert (end["stopReason"], end["iteration"]) == ("completed", 1), (how, end)
        (record,) = client("history", runId=run)["iterations"]
        assert (record["status"], record["exitCode"]) == ("completed", 0), how
    assert not agents(box)


def test_a_child_that_prints_for_ever(client: Client, box: Box, repo: Path) -> None:
    run = start(client, repo, shell("(while :; do echo more; sleep 0.05; done) & echo early"), maxIterations=1)
    assert client.settled(run)["stopReason"] == "maxIterations"
    assert not agents(box)


def test_cancel_within_ten_seconds_leaves_nothing(client: Client, box: Box) -> None:
    runs = {how: start(client, box.repo(how), script("escape.py", how, "stay")) for how in ESCAPES}
    for run in runs.values():
        client("subscribe", runId=run)
        client.wait_printed(run, "ready")
    assert len(agents(box)) > len(ESCAPES)
    begun = time.monotonic()
    sent = {how: client.send("ralph/cancel", {"runId": run}) for how, run in runs.items()}
    for how, id_ in sent.items():
        assert client.answer(id_)["status"] == "cancelled", how
    assert time.monotonic() - begun < 10
    assert not agents(box)


def test_an_agent_that_closes_its_pipes(client: Client, box: Box, repo: Path) -> None:
    run = start(client, repo, script("escape.py", "deaf", "stay"), maxFailures=1)
    end = client.settled(run)
    assert (end["status"], end["stopReason"]) == ("error", "agentFailed")
    assert not agents(box)


def test_what_is_printed_after_the_exit(client: Client, repo: Path) -> None:
    """By a process that the agent left: it belongs to the iteration, and does not hold it up for ever."""
    late = "(sleep 0.3; echo late; echo late too >&2) & echo early; exit 0"
    run = start(client, repo, shell(late), maxIterations=1)
    client.settled(run)
    chunks = client("output", runId=run)["chunks"]
    text = {stream: "".join(c["text"] for c in chunks if c["stream"] == stream) for stream in ("stdout", "stderr")}
    assert text == {"stdout": "early\nlate\n", "stderr": "late too\n"}


def test_how_processes_end(client: Client, repo: Path) -> None:
    for command, code in (("exit 7", 7), ("kill -TERM $$", -15), ("kill -SEGV $$", -11), ("exit 0", 0)):
        run = start(client, repo, shell(f"ulimit -c 0; {command}"), maxIterations=1, maxFailures=1)
        client.settled(run)
        assert client("history", runId=run)["iterations"][0]["exitCode"] == code, command


def test_an_agent_that_does_not_read_its_prompt(client: Client, repo: Path) -> None:
    for how in ("exec <&-", "true", "head -c 10 >/dev/null"):
        agent = shell(f"{how}; echo '{DONE}'")
        run = client("start", workspace=str(repo), prompt="x" * 900_000, config=agent)["runId"]
        assert client.settled(run)["stopReason"] == "completed", how


@pytest.mark.parametrize("how", ["session", "daemon"])
def test_a_guard_that_is_killed(client: Client, box: Box, repo: Path, how: str) -> None:
    box.expected_log = ["guard", "failed", "Traceback"]
    agent = script("escape.py", how, "stay")
    run = start(client, repo, agent)
    client("subscribe", runId=run)
    client.wait_printed(run, "ready")
    (guard,) = box.guards()
    os.kill(guard, signal.SIGKILL)
    lost = client.settled(run, "interrupted", "error")
    assert lost["status"] == "interrupted"
    assert lost["error"]["kind"] == "guardLost"
    until(lambda: not agents(box), "its agents are gone, too")
    resumed = client("resume", runId=run)
    assert resumed["status"] == "running"
    client.wait("didChange", lambda s: (s["iteration"], s.get("phase")) == (2, "agent"))
    assert client("cancel", runId=run)["status"] == "cancelled"


def test_a_helper_and_its_guard_that_are_killed(shared: Box) -> None:
    """What they leave has lost its parents; the next helper finds it by its environment."""
    repo = shared.repo()
    client = shared.client(repo)
    run = start(client, repo, script("escape.py", "daemon", "stay"))
    client("subscribe", runId=run)
    client.wait_printed(run, "ready")
    (guard,) = shared.guards()
    os.kill(shared.helper_pid, signal.SIGSTOP)
    os.kill(guard, signal.SIGKILL)
    shared.kill_helper()
    assert agents(shared)
    client.close()
    client = shared.client(repo)
    assert client("status", runId=run)["status"] == "interrupted"
    assert not agents(shared)


def test_an_agent_that_kills_what_it_can_find(client: Client, box: Box, repo: Path) -> None:
    """Its own group and its parent, the guard."""
    box.expected_log = ["guard", "failed", "Traceback"]
    run = start(client, repo, shell("kill -9 0"), maxFailures=1)
    assert client.settled(run)["stopReason"] == "agentFailed"
    run = start(client, repo, shell("kill -9 $PPID; sleep 1000"), maxFailures=1)
    assert client.settled(run, "interrupted", "error")["status"] in ("interrupted", "error")
    until(lambda: not agents(box), "nothing is left")
    assert client("health")["status"] == "ok"


def test_a_workspace_that_goes_away(client: Client, box: Box) -> None:
    repo = box.folder_of("short-lived")
    run = start(client, repo, shell('rm -rf "$PWD"; echo gone'), maxFailures=2)
    end = client.settled(run)
    assert (end["status"], end["stopReason"]) == ("error", "agentFailed")
    assert end["error"]["message"]
    assert client("status", runId=run)["status"] == "error"


def test_nothing_is_inherited(client: Client, repo: Path) -> None:
    """No descriptor of the helper's, no ignored or blocked signal, a group and session of its own."""

    def printed(*command: str) -> list[str]:
        run = start(client, repo, {"agent": "custom", "command": list(command)}, maxIterations=1)
        assert client.settled(run)["stopReason"] == "maxIterations"
        chunks: list[dict[str, str]] = client("output", runId=run)["chunks"]
        return [line for chunk in chunks for line in chunk["text"].splitlines()]

    descriptors = printed("ls", "/proc/self/fd")
    assert descriptors == ["0", "1", "2", "3"]  # the last is its own: the folder it lists
    status = dict(line.split(":\t", 1) for line in printed("cat", "/proc/self/status") if ":\t" in line)
    ours = sum(1 << number - 1 for number in signal.valid_signals())  # not glibc's own, which nobody can set
    assert (int(status["SigIgn"], 16) & ours, int(status["SigBlk"], 16) & ours) == (0, 0)
    assert status["NSpgid"] == status["NSsid"] == status["Pid"]
