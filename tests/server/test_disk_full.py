"""A full disk pauses the loop and stops reading its agent; nothing is dropped (PROTOCOL.md, Snapshot).

A limit on the size of the helper's files stands in for the disk: SQLite meets the same failure.
"""

from __future__ import annotations

import base64
import contextlib
import resource
import sqlite3
from typing import Any

from box import DONE, Box, script, shell, until

MIB = 1024 * 1024


def limit(pid: int, size: int) -> None:
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def full(snapshot: dict[str, Any]) -> bool:
    return snapshot.get("error", {"kind": ""})["kind"] == "diskFull"


def flooding(box: Box, mebibytes: int) -> tuple[Any, str, int]:
    """A client, its loop that waits with a full disk, and the helper's pid."""
    client, repo = box.client(box.folder), box.repo()
    helper = box.helper_pid
    limit(helper, 4 * MIB)
    agent = script("flood.py", str(mebibytes), "lines", DONE)
    run = client("start", workspace=str(repo), prompt="x", config=agent)["runId"]
    paused = client.wait("didChange", full)
    assert paused["status"] == "paused"
    assert paused["error"]["message"]
    assert "resume" in paused["error"]["hint"]
    return client, run, helper


def test_nothing_is_dropped(shared: Box) -> None:
    shared.expected_log = ["cannot grow", "rollback"]
    client, run, helper = flooding(shared, 12)
    # it is full still: the same again
    seen = len(client.notifications)
    client("resume", runId=run)
    client.wait("didChange", full, since=seen)
    limit(helper, resource.RLIM_INFINITY)
    resumed = client("resume", runId=run)
    assert resumed["runId"] == run
    end = client.settled(run)
    assert (end["stopReason"], end["iteration"]) == ("completed", 1)
    assert "error" not in end
    printed, after, more = bytearray(), 0, True
    while more:
        page = client("output", runId=run, after=after, limit=100_000, view="raw", raw=True)
        for chunk in page["chunks"]:
            assert chunk["seq"] == after + 1
            after = chunk["seq"]
            printed += base64.b64decode(chunk["bytes"])
        more = page["more"]
    block = b"0123456789abcde\n" * 65536
    assert bytes(printed) == block * 12 + f"\n{DONE}\n".encode()


def test_a_cancel_ends_it_all_the_same(shared: Box) -> None:
    """It is told at once, and stored with the last output when there is room."""
    shared.expected_log = ["cannot grow", "rollback", "could not be stored", "failed", "Traceback", "DiskFull"]
    client, run, helper = flooding(shared, 12)
    limit(helper, 8 * 1024)  # not even that it was cancelled fits
    cancelled = client("cancel", runId=run)
    assert cancelled["status"] == "cancelled" and cancelled["endedAt"]
    assert not [name for name in shared.processes().values() if "flood.py" in name]
    assert client("status", runId=run)["status"] == "cancelled"
    assert client.refused("cancel", runId=run).code == 1003
    assert stored(shared) == "running"
    limit(helper, resource.RLIM_INFINITY)
    until(lambda: stored(shared) == "cancelled", "the end is stored")
    (record,) = client("history", runId=run)["iterations"]
    assert record["status"] == "interrupted"
    shared.kill_helper()
    client = shared.client(shared.folder)
    assert client("status", runId=run)["status"] == "cancelled"
    repo = str(shared.folder / "repo")
    assert client("start", workspace=repo, prompt="x", config=shell(f"echo '{DONE}'"))["status"] == "running"


def stored(box: Box) -> str:
    """The status of the one loop in the database."""
    with contextlib.closing(sqlite3.connect(f"file:{box.data / 'ralph-loop.db'}?mode=ro", uri=True)) as database:
        return database.execute("SELECT status FROM loops").fetchone()[0]


def test_an_approval_that_does_not_fit_changes_nothing(shared: Box) -> None:
    client, repo = shared.client(shared.folder), shared.repo()
    helper = shared.helper_pid
    agent = shell(f"echo small > a.txt; head -c {12 * MIB} /dev/zero > b.bin; echo small > c.txt; echo '{DONE}'")
    run = client("start", workspace=str(repo), prompt="x", config={**agent, "planMode": True})["runId"]
    client.settled(run, "awaiting_approval")
    operations = client("plan/staged", runId=run)["operations"]
    assert [operation["path"] for operation in operations] == ["a.txt", "b.bin", "c.txt"]
    limit(helper, 8 * MIB)
    error = client.refused("plan/approve", runId=run)
    assert error.code == 1006
    assert "Nothing was applied" in str(error) and "b.bin" in str(error)
    assert sorted(path.name for path in repo.iterdir()) == [".git", ".ralph", "README"]
    assert not list(repo.glob(".ralph/.*.tmp"))
    assert client("plan/staged", runId=run)["operations"] == operations
    limit(helper, resource.RLIM_INFINITY)
    client("plan/approve", runId=run)
    assert client.settled(run)["stopReason"] == "completed"
    assert (repo / "b.bin").read_bytes() == bytes(12 * MIB)
