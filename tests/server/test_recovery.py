"""kill -9 of the helper at any moment: its agents end with it, what was told is stored, one action resumes the loop."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from box import DONE, Box, shell, until
from client import Client

# prints on and on; ends well once the file `done` is there
AGENT = f"""
echo "begin $1"; echo edit $1 >> work.txt
i=0
while [ ! -e "$BOX/done" ] && [ $i -lt 40 ]; do i=$((i+1)); echo "line $i"; echo "error $i" >&2; sleep 0.01; done
test -e "$BOX/done" && echo "{DONE}"
true
"""

Moment = Callable[[Client, str, int], Any]


def phase(name: str) -> Moment:
    """When the loop says that it is in this phase of an iteration after number `before`."""
    return lambda client, run, before: client.wait(
        "didChange", lambda s: s["runId"] == run and s.get("phase") == name and s["iteration"] >= before
    )


MOMENTS: dict[str, Moment] = {
    "the request was answered": lambda client, run, before: None,
    "starting": phase("starting"),
    "the agent was recorded": lambda client, run, before: client.wait(
        "didIterate", lambda r: (r["runId"], r["status"]) == (run, "running") and r["iteration"] > before
    ),
    "the agent printed": lambda client, run, before: client.wait(
        "didOutput", lambda o: any(c["iteration"] > before and "line 9\n" in c["text"] for c in o["chunks"])
    ),
    "ending": phase("ending"),
    "an iteration ended": lambda client, run, before: client.wait(
        "didIterate", lambda r: r["runId"] == run and r["status"] == "completed" and r["iteration"] > before
    ),
    "between two iterations": phase("delay"),
    "a pause was asked for": lambda client, run, before: client("pause", runId=run),
}


def agents(box: Box) -> dict[int, str]:
    return {pid: name for pid, name in box.processes().items() if "ralph_loop" not in name}


def stored(client: Client, run: str) -> list[dict[str, Any]]:
    chunks: list[dict[str, Any]] = []
    more, after = True, 0
    while more:
        page = client("output", runId=run, after=after, view="raw")
        chunks += page["chunks"]
        more, after = page["more"], page["chunks"][-1]["seq"] if page["chunks"] else 0
    return chunks


def test_killed_at_every_moment_and_resumed(shared: Box) -> None:
    repo = shared.repo()
    client = shared.client(shared.folder)
    run = client("start", workspace=str(repo), prompt="x", config=shell(AGENT) | {"iterationDelayMs": 150})["runId"]
    before = 0
    for name, moment in MOMENTS.items():
        client("subscribe", runId=run, after=0, view="raw")
        moment(client, run, before)
        shared.kill_helper()
        client.wait_ended()
        told = client
        client = shared.client(shared.folder)
        snapshot = client("status", runId=run)
        assert (snapshot["status"], snapshot["pauseRequested"]) == ("interrupted", False), name
        assert "phase" not in snapshot, name
        assert not agents(shared), name
        assert snapshot["revision"] > max((s["revision"] for s in told.heard("didChange")), default=0), name
        # whatever was told is stored, as it was told
        chunks = stored(client, run)
        heard = [chunk for params in told.heard("didOutput") for chunk in params["chunks"]]
        assert chunks[: len(heard)] == heard, name
        seqs = [chunk["seq"] for chunk in client("output", runId=run, limit=10_000)["chunks"]]
        assert seqs == list(range(1, len(seqs) + 1)), name
        records = client("history", runId=run)["iterations"]
        assert [r["iteration"] for r in records] == list(range(1, len(records) + 1)), name
        assert all(r["status"] in ("completed", "interrupted") and r["endedAt"] for r in records), name
        for record in told.heard("didIterate"):
            if record["status"] != "running":
                assert record in records, name
        assert snapshot["iteration"] == len(records), name
        before = snapshot["iteration"]
        assert client("resume", runId=run)["status"] == "running", name
    (shared.folder / "done").touch()
    end = client.settled(run)
    assert (end["status"], end["stopReason"]) == ("completed", "completed")
    assert end["iteration"] > before
    records = client("history", runId=run)["iterations"]
    counted = [r for r in records if r["status"] == "completed"]
    edits = (repo / "work.txt").read_text().splitlines()
    assert edits == [f"edit {r['iteration']}" for r in records if f"edit {r['iteration']}" in edits]
    assert {f"edit {r['iteration']}" for r in counted} <= set(edits)
    texts = [m["text"] for m in client("sessions/get", sessionId=end["sessionId"])["messages"] if m["kind"] == "prompt"]
    assert texts == ["x"]


def test_sigterm_is_like_pause_now(shared: Box) -> None:
    """Rule 6: nothing is lost, the iteration is run again on resume."""
    repo, gates = shared.repo(), shared.gates()
    client = shared.client(shared.folder)
    run = client("start", workspace=str(repo), prompt="x", config=shell(f"{gates.wait}; echo '{DONE}'"))["runId"]
    client.wait("didChange", lambda s: s.get("phase") == "agent")
    client("addContext", runId=run, text="later")
    shared.signal_helper(signal.SIGTERM)
    assert not agents(shared)
    client = shared.client(shared.folder)
    found = client("status", runId=run)
    assert (found["status"], found["pendingContext"], found["iteration"]) == ("paused", 1, 1)
    assert client("history", runId=run)["iterations"][0]["status"] == "interrupted"
    client("resume", runId=run)
    gates.open(2)
    end = client.settled(run)
    assert (end["stopReason"], end["iteration"]) == ("completed", 2)
    assert "later" in client("prompt", runId=run, iteration=2)["prompt"]


def test_a_paused_loop_keeps_its_repository_over_a_kill(shared: Box) -> None:
    repo = shared.repo()
    client = shared.client(shared.folder)
    run = client("start", workspace=str(repo), prompt="x", config=shell("sleep 100"))["runId"]
    client.wait("didChange", lambda s: s.get("phase") == "agent")
    assert client("pause", runId=run, when="now")["status"] == "paused"
    before = client("status", runId=run)
    shared.kill_helper()
    client = shared.client(shared.folder)
    after = client("status", runId=run)
    assert after["status"] == "paused"
    assert after["elapsedMs"] == before["elapsedMs"]  # rule 7: it stood still
    busy = client.refused("start", workspace=str(repo), prompt="y", config=shell("true"))
    assert (busy.code, busy.data["kind"], busy.data["runId"]) == (1001, "repoBusy", run)
    assert client("cancel", runId=run)["status"] == "cancelled"
    other = client("start", workspace=str(repo), prompt="y", config=shell(f"echo '{DONE}'"))["runId"]
    assert client.settled(other)["stopReason"] == "completed"


def test_files_in_the_workspace_tell_the_truth_after_a_kill(shared: Box) -> None:
    repo: Path = shared.repo()
    client = shared.client(shared.folder)
    run = client("start", workspace=str(repo), prompt="x", config=shell("echo made > new.txt; sleep 100"))["runId"]
    client.wait("didChange", lambda s: s.get("phase") == "agent")
    until(lambda: (repo / "new.txt").exists(), "the agent works")
    shared.kill_helper()
    client = shared.client(shared.folder)
    assert client("status", runId=run)["status"] == "interrupted"
    assert (repo / "new.txt").read_text() == "made\n"
    assert shared.git(repo, "status", "--porcelain").split("\n") == ["?? new.txt", ""]
    assert not list((repo / ".ralph").glob("*.tmp*"))


def test_a_resume_while_its_session_is_deleted(shared: Box) -> None:
    """One comes first: no loop runs on without a session."""
    client, repo = shared.client(), shared.repo()
    for passing in range(4):
        run = client("start", workspace=str(repo), prompt="x", config=shell("sleep 600"))
        shared.kill_helper()
        client = shared.client()
        resumed = client.send("ralph/resume", {"runId": run["runId"]})
        for _ in range(passing):  # what passes time
            client("health")
        deleted = client.send("ralph/sessions/delete", {"sessionId": run["sessionId"]})
        resume, delete = client.response(resumed), client.response(deleted)
        if "result" in resume:
            assert delete["error"]["code"] == 1003
            assert client("cancel", runId=run["runId"])["status"] == "cancelled"
        else:
            assert (resume["error"]["code"], delete["result"]) == (1002, {})
