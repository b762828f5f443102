"""One loop per repository: across subfolders, links, worktrees, clients, helpers and data directories."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell, until
from client import Client, RpcError

BUSY = 1001
FOREVER = shell("sleep 1000")


@pytest.fixture
def other() -> Iterator[Box]:
    """A helper of its own, with another data directory."""
    box = Box("embedded")
    try:
        yield box
    finally:
        box.close()


def start(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> str:
    return client("start", workspace=str(repo), prompt="x", config={**agent, **config})["runId"]


def busy(client: Client, workspace: Path, run: str | None, pid: int) -> None:
    error = client.refused("start", workspace=str(workspace), prompt="x", config=shell(f"echo '{DONE}'"))
    assert error.code == BUSY, error
    assert (error.data["runId"], error.data["pid"]) == (run, pid)


def test_the_same_repository_by_every_name(common_shared: Box) -> None:
    client, repo = common_shared.main_client(), common_shared.repo()
    (repo / "sub" / "deep").mkdir(parents=True)
    link, tree = common_shared.room / "link", common_shared.room / "tree"
    link.symlink_to(repo / "sub")
    common_shared.git(repo, "worktree", "add", "-q", str(tree), "-b", "other")
    names = [repo, repo / "sub" / "deep", link, tree, repo / "sub" / ".."]
    pid = common_shared.helper_pid
    for first in (repo, tree):
        run = start(client, first, FOREVER)
        for name in names:
            busy(client, name, run, pid)
            assert client("status", workspace=str(name))["runId"] == run
        client("pause", runId=run, when="now")
        busy(client, repo, run, pid)  # a paused loop keeps its lock
        # other repositories are free: beside it, around it, inside of it, a clone of it
        clone = common_shared.room / f"clone-{first.name}"
        common_shared.git(common_shared.room, "clone", "-q", str(repo), str(clone))
        for free in (
            clone,
            common_shared.folder_of(f"plain-{first.name}"),
            common_shared.repo(f"repo/inner-{first.name}"),
        ):
            client.settled(start(client, free, shell(f"echo '{DONE}'")))
        client("cancel", runId=run)
        for name in names:
            client.settled(start(client, name, shell(f"echo '{DONE}'")))


def test_plain_folders(common_shared: Box) -> None:
    client, plain = common_shared.main_client(), common_shared.folder_of("plain")
    (plain / "sub").mkdir()
    (common_shared.room / "link").symlink_to(plain)
    run = start(client, plain, FOREVER)
    busy(client, plain, run, common_shared.helper_pid)
    busy(client, common_shared.room / "link", run, common_shared.helper_pid)
    client.settled(start(client, plain / "sub", shell(f"echo '{DONE}'")))  # it is its own real path
    client("cancel", runId=run)
    record = client("history", runId=start_and_end(client, plain))["iterations"][0]
    assert (record["files"], record["filesTotal"]) == ([], 0)
    assert record["tracking"]


def start_and_end(client: Client, folder: Path) -> str:
    run = start(client, folder, shell(f"echo x > new.txt; echo '{DONE}'"))
    client.settled(run)
    return run


def test_bare_and_broken_repositories(common_shared: Box) -> None:
    client = common_shared.main_client()
    bare = common_shared.folder_of("bare")
    common_shared.git(bare, "init", "-q", "--bare")
    error = client.refused("start", workspace=str(bare), prompt="x", config=FOREVER)
    assert (error.code, error.data["path"]) == (1005, str(bare))
    damages = {
        "head": "echo garbage > .git/HEAD", "index": "echo garbage > .git/index", "objects": "rm -rf .git/objects",
        "config": "echo '[core' > .git/config", "lock": "touch .git/index.lock", "empty": "rm -rf .git/*",
        "file": "rm -rf .git; echo gitdir: /no/such > .git",
    }  # fmt: skip
    for name, damage in damages.items():
        repo = common_shared.repo(name)
        subprocess.run(damage, shell=True, cwd=repo, check=True)
        run = start(client, repo, shell(f"echo x > new.txt; echo '{DONE}'"))
        assert client.settled(run)["stopReason"] == "completed", name
        record = client("history", runId=run)["iterations"][0]
        assert record.get("tracking") or record["filesTotal"] == 1, name  # it says why there is no record


def test_another_helper_is_told_who_holds_it(shared: Box, other: Box) -> None:
    ours, repo = shared.client(shared.folder), shared.repo()
    theirs = other.client(shared.folder)
    run = start(ours, repo, FOREVER)
    busy(theirs, repo, run, shared.helper_pid)
    assert theirs("list")["loops"] == []
    assert theirs("status", workspace=str(repo)) is None
    ours("pause", runId=run, when="now")
    busy(theirs, repo, run, shared.helper_pid)
    # the holder's file is for this user alone
    folders = [Path(f"/run/user/{os.getuid()}/ralph-loop"), Path(f"/tmp/ralph-loop-{os.getuid()}")]
    holders = [path for folder in folders for path in folder.glob("*.json") if run in path.read_text()]
    assert holders
    assert {oct(path.stat().st_mode & 0o777) for path in holders} == {"0o600"}
    assert {oct(path.parent.stat().st_mode & 0o777) for path in holders} == {"0o700"}
    row = json.loads(holders[0].read_text())
    assert (row["runId"], row["pid"]) == (run, shared.helper_pid)
    ours("cancel", runId=run)
    assert not holders[0].exists()
    theirs.settled(start(theirs, repo, shell(f"echo '{DONE}'")))
    # and the other way round: a helper that was killed lets it go, and gets its loop back only when it is free
    run = start(theirs, repo, FOREVER)
    busy(ours, repo, run, other.helper_pid)
    other.kill_helper()
    until(lambda: not [p for p in other.processes().values() if "sleep" in p], "its agents end")

    def free() -> bool:
        try:
            mine.append(start(ours, repo, shell("true"), iterationDelayMs=3_600_000))
        except RpcError as error:
            assert error.code == BUSY
        return bool(mine)

    mine: list[str] = []
    until(free, "the lock is free")
    theirs = other.client()
    assert theirs("status", runId=run)["status"] in ("running", "interrupted")  # it cannot be taken up now
    assert theirs.refused("resume", runId=run).code in (BUSY, 1003)
    ours("cancel", runId=mine[0])
    assert theirs("resume", runId=run)["status"] == "running"
    assert theirs("cancel", runId=run)["status"] == "cancelled"


def test_a_lock_of_somebody_who_is_no_loop(common_shared: Box) -> None:
    client, repo = common_shared.main_client(), common_shared.repo()
    fd = os.open(repo / ".git", os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        error = client.refused("start", workspace=str(repo), prompt="x", config=FOREVER)
        assert (error.code, error.data["pid"]) == (BUSY, os.getpid())
        assert error.data["runId"] == ""
    finally:
        os.close(fd)
    client.settled(start(client, repo, shell(f"echo '{DONE}'")))


def test_an_agent_cannot_free_the_lock_and_start_its_own(common_shared: Box) -> None:
    """The agent kills nothing of ours and opens the same repository: the lock stays with the guard."""
    client, repo = common_shared.main_client(), common_shared.repo()
    run = start(client, repo, shell("exec 9< .git; flock -u 9; rm -f .git/*.lock; echo freed; sleep 1000"))
    client("subscribe", runId=run)
    client.wait_printed(run, "freed")
    busy(client, repo, run, common_shared.helper_pid)
    client("cancel", runId=run)


def test_two_starts_at_the_same_instant(shared: Box) -> None:
    clients, repo = [shared.client(shared.folder) for _ in range(3)], shared.repo()
    params = {"workspace": str(repo), "prompt": "x", "config": FOREVER}
    sent = [(client, client.send("ralph/start", params)) for client in clients for _ in range(3)]
    answers = [client.response(id_) for client, id_ in sent]
    started = [answer["result"]["runId"] for answer in answers if "result" in answer]
    assert len(started) == 1
    assert {answer["error"]["code"] for answer in answers if "error" in answer} == {BUSY}
    assert {answer["error"]["data"]["runId"] for answer in answers if "error" in answer} == set(started)
    assert len(clients[0]("list")["loops"]) == 1  # a refused start leaves nothing behind
    clients[0]("cancel", runId=started[0])


def test_the_helper_of_a_held_lock_is_gone(shared: Box, other: Box) -> None:
    """kill -9 of the helper: its guard ends the agents at once and lets the lock go."""
    ours, repo = shared.client(shared.folder), shared.repo()
    run = start(ours, repo, shell("trap '' TERM; echo up; sleep 1000"))
    ours("subscribe", runId=run)
    ours.wait_printed(run, "up")
    shared.signal_helper(signal.SIGKILL)
    theirs = other.client(shared.folder)
    until(lambda: not shared.guards(), "the guard has ended them", timeout=5)
    theirs.settled(start(theirs, repo, shell(f"echo '{DONE}'")))
