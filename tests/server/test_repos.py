"""The list of repositories: added, found, forgotten, registered by a loop."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell
from client import Client

INVALID_PARAMS, NOT_FOUND, INVALID_STATE = -32602, 1002, 1003


@pytest.fixture
def box(common_embedded: Box) -> Box:
    return common_embedded


def listed(client: Client, room: Path) -> dict[str, dict[str, Any]]:
    repos = client("repos/list")["repos"]
    return {repo["path"]: repo for repo in repos if Path(repo["path"]).is_relative_to(room)}


def scan(client: Client, *roots: Path, **params: Any) -> list[str]:
    found = client("repos/scan", paths=[str(root) for root in roots], **params)["repos"]
    return [repo["path"] for repo in found]


def test_add_list_remove(client: Client, box: Box) -> None:
    repo, plain = box.repo("with git"), box.folder_of("plain")
    (repo / "deep" / "down").mkdir(parents=True)
    added = client("repos/add", path=str(repo / "deep" / "down"))
    assert (added["path"], added["name"], added["git"], added["branch"]) == (str(repo), "with git", True, "main")
    assert (added["trusted"], added["missing"], "lastRunId" in added) == (False, False, False)
    assert client("repos/add", path=repo.as_uri())["repoId"] == added["repoId"]  # twice is no mistake
    assert client("repos/add", path=str(plain))["git"] is False
    link = box.room / "link"
    link.symlink_to(repo)
    assert client("repos/add", path=str(link))["repoId"] == added["repoId"]
    assert set(listed(client, box.room)) == {str(repo), str(plain)}
    assert client("repos/remove", repoId=added["repoId"]) == {}
    assert set(listed(client, box.room)) == {str(plain)}
    assert (repo / "README").exists()
    assert client.refused("repos/remove", repoId="repo_none").code == NOT_FOUND
    for params in ({}, {"path": "relative"}, {"path": str(box.room / "no")}, {"path": str(repo / "README")},
                   {"path": str(repo), "url": "file:///x"}, {"url": "file:///x"}):  # fmt: skip
        assert client.refused("repos/add", **params).code == INVALID_PARAMS
    shutil.rmtree(plain)
    assert listed(client, box.room)[str(plain)]["missing"] is True


def test_what_was_done_in_a_folder_that_is_gone_can_still_be_listed(client: Client, box: Box, repo: Path) -> None:
    run = client("start", workspace=str(repo), prompt="x", config=shell(f"echo '{DONE}'"))["runId"]
    client.settled(run, "completed")
    repo.rename(repo.with_name("moved"))
    for workspace in (str(repo), repo.as_uri()):
        assert [loop["runId"] for loop in client("list", workspace=workspace)["loops"]] == [run]
        assert [session["title"] for session in client("sessions/list", workspace=workspace)["sessions"]] == ["x"]
    assert client.refused("start", workspace=str(repo), prompt="x").code == INVALID_PARAMS
    client("repos/remove", repoId=listed(client, box.room)[str(repo)]["repoId"])
    assert client.refused("list", workspace=str(repo)).code == INVALID_PARAMS  # a folder that nobody knows is a mistake


def test_a_loop_registers_its_repository(client: Client, box: Box, repo: Path) -> None:
    config = {**shell(f"echo '{DONE}'"), "iterationDelayMs": 3_600_000, "minIterations": 2}
    started = client("start", workspace=str(repo), prompt="x", config=config)
    found = listed(client, box.room)[str(repo)]
    assert (found["repoId"], found["lastRunId"]) == (started["repoId"], started["runId"])
    refused = client.refused("repos/remove", repoId=found["repoId"])
    assert refused.code == INVALID_STATE
    assert f"A loop is under way in {repo}. Cancel it first." in str(refused)  # no status as the protocol calls it
    client("cancel", runId=started["runId"])
    client("repos/remove", repoId=found["repoId"])
    assert listed(client, box.room) == {}
    assert client("status", runId=started["runId"])["status"] == "cancelled"  # forgotten is not deleted
    client.settled(client("start", workspace=str(repo), prompt="x", config=shell(f"echo '{DONE}'"))["runId"])
    assert str(repo) in listed(client, box.room)


def test_a_worktree_that_is_gone_does_not_hide_its_repository(client: Client, box: Box, repo: Path) -> None:
    linked = box.room / "linked"
    box.git(repo, "worktree", "add", "-q", str(linked))
    assert client("repos/add", path=str(linked))["path"] == str(linked)
    shutil.rmtree(linked)
    again = client("repos/add", path=str(repo))
    assert (again["path"], again["name"], again["missing"]) == (str(repo), "repo", False)


def test_scan(client: Client, box: Box) -> None:
    top = box.folder_of("top")
    for name in ("top/a", "top/a/nested", "top/.hidden/x", "top/node_modules/x", "top/1/2/3/deep"):
        box.repo(name)
    box.git(top / "a", "worktree", "add", "-q", str(top / "tree"))
    (top / "loop").symlink_to(top)
    (top / "1" / "up").symlink_to("..")
    (top / "broken").mkdir()
    (top / "broken" / ".git").write_text("gitdir: /nowhere/at/all\n")
    (top / "empty" / ".git").mkdir(parents=True)
    box.git(box.folder_of("top/bare.git"), "init", "-q", "--bare")
    expected = [str(top / name) for name in ("1/2/3/deep", "a", "a/nested", "tree")]
    assert scan(client, top) == expected
    assert scan(client, top, top / "a", top) == expected
    assert scan(client, top, maxDepth=1) == [str(top / "a"), str(top / "tree")]
    assert scan(client, top / "a", maxDepth=0) == [str(top / "a")]
    assert scan(client) == []
    client("repos/add", path=str(top / "a"))
    found = client("repos/scan", paths=[str(top)])["repos"]
    assert {r["path"]: r["registered"] for r in found}[str(top / "a")] is True
    assert {r["path"]: r["registered"] for r in found}[str(top / "a" / "nested")] is False
    for params in ({}, {"paths": str(top)}, {"paths": ["relative"]}, {"paths": [str(top)], "maxDepth": -1}):
        assert client.refused("repos/scan", **params).code == INVALID_PARAMS
