"""`ralph/git/*` through the helper: reading repositories as git itself tells them."""

from __future__ import annotations

from pathlib import Path

from box import Box, shell
from client import Client


def test_status_log_and_branches(client: Client, box: Box, repo: Path) -> None:
    (repo / "a.txt").write_text("a\n")
    box.git(repo, "add", "a.txt")
    (repo / "b.txt").write_text("b\n")
    found = client("git/status", workspace=str(repo))
    assert [change["path"] for change in found["staged"]] == ["a.txt"]
    assert (found["untracked"], found["unstaged"], found["conflicts"]) == (["b.txt"], [], [])
    assert found["branch"] == box.git(repo, "branch", "--show-current").strip()
    assert (found["detached"], found["unborn"], found["ahead"], found["behind"]) == (False, False, 0, 0)
    box.commit(repo, "second")
    log = client("git/log", workspace=str(repo), limit=1)
    assert ([commit["subject"] for commit in log["commits"]], log["more"]) == (["second"], True)
    [branch] = client("git/branches", workspace=str(repo))["branches"]
    assert (branch["current"], branch["sha"]) == (True, log["commits"][0]["sha"])


def test_what_an_iteration_changed_as_a_patch(client: Client, repo: Path) -> None:
    (repo / "a.txt").write_text("before\n")
    run = client("start", workspace=str(repo), prompt="x", config=shell("echo after > a.txt") | {"maxIterations": 1})
    client.settled(run["runId"])
    (repo / "a.txt").write_text("later\n")
    sides = {"from": f"{run['runId']}#1.before", "to": f"{run['runId']}#1.after"}
    found = client.request("ralph/git/diff", {"workspace": str(repo), "patch": True, **sides})
    assert [(change["path"], change["added"], change["removed"]) for change in found["files"]] == [("a.txt", 1, 1)]
    assert "-before\n+after\n" in found["patch"]
    since = client.request("ralph/git/diff", {"workspace": str(repo), "from": sides["to"], "patch": True})
    assert "-after\n+later\n" in since["patch"]


def test_refusals(client: Client, box: Box, repo: Path) -> None:
    assert client.refused("git/status", workspace=str(box.folder_of())).data["kind"] == "notARepository"
    error = client.refused("git/diff", workspace=str(repo), to="no-such-branch")
    assert error.data["kind"] == "gitFailed"
    error = client.refused("git/diff", workspace=str(repo), to="run_none#1.before")
    assert error.data["kind"] == "notFound"
