"""`ralph/git/*` through the helper: reading repositories as git itself tells them."""

from __future__ import annotations

from pathlib import Path

import pytest
from box import Box, shell
from client import Client


@pytest.fixture
def box(common: Box) -> Box:
    return common


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
    assert client.refused("git/diff", workspace=str(repo), to=f"run_none#{2**63}.before").code in (1002, 1006)
    error = client.refused("git/diff", workspace=str(repo), to="run_none#1.before")
    assert error.data["kind"] == "notFound"


@pytest.mark.parametrize("plan", [False, True], ids=["direct", "plan"])
def test_a_repository_with_sha256(client: Client, box: Box, plan: bool) -> None:
    """libgit2 cannot read it: git does. Reads, writes, loops, auto-commit and plan mode are those of any other."""
    origin = box.folder_of("origin")
    box.git(origin, "init", "-q", "--object-format=sha256", "-b", "main", ".")
    (origin / "readme").write_text("one\n")
    box.git(origin, "add", ".")
    box.commit(origin, "first")
    bare = box.room / "bare.git"
    box.git(origin, "clone", "-q", "--bare", str(origin), str(bare))
    target = box.folder_of("target")
    added = client("repos/add", url=bare.as_uri(), directory=str(target))
    work, repo = added["path"], Path(added["path"])
    assert (added["git"], added["branch"]) == (True, "main")
    [found] = client("repos/scan", paths=[str(target)])["repos"]
    assert (found["path"], found["registered"]) == (work, True)
    client("repos/trust", workspace=work, trusted=True)
    box.git(repo, "config", "user.name", "Somebody")
    box.git(repo, "config", "user.email", "somebody@localhost")

    (repo / "readme").write_text("two\n")
    (repo / "new").write_text("new\n")
    status = client("git/status", workspace=work)
    assert (status["branch"], status["upstream"], len(status["head"])) == ("main", "origin/main", 64)
    assert [(one["path"], one["added"], one["removed"]) for one in status["unstaged"]] == [("readme", 1, 1)]
    assert status["untracked"] == ["new"]
    assert "-one\n+two\n" in client("git/diff", workspace=work, patch=True)["patch"]
    for method, params in {
        "branch": {"name": "side"}, "checkout": {"branch": "side"}, "add": {"paths": ["readme"]},
        "commit": {"message": "second"}, "pull": {},
    }.items():  # fmt: skip
        done = client(f"git/{method}", workspace=work, **params)
        assert (done["exitCode"] == 0) == (method != "pull"), done  # `side` has no upstream
    box.git(repo, "checkout", "-q", "main")
    box.git(repo, "merge", "-q", "side")
    assert client("git/status", workspace=work)["ahead"] == 1
    assert client("git/push", workspace=work)["exitCode"] == 0
    assert client("git/pull", workspace=work)["exitCode"] == 0
    assert [one["subject"] for one in client("git/log", workspace=work)["commits"]] == ["second", "first"]
    names = [one["name"] for one in client("git/branches", workspace=work)["branches"]]
    assert names == ["main", "side", "origin/main"]

    (repo / "readme").write_text("not committed\n")
    before = box.git(repo, "status", "--porcelain=v2")
    done = client("git/reset", workspace=work, confirm=True, to="HEAD~1")
    assert (done["exitCode"], (repo / "readme").read_text()) == (0, "one\n")
    undo = next(line for line in done["stdout"].splitlines() if "To undo: " in line).partition("To undo: ")[2]
    for command in undo.split(" && "):
        box.git(repo, *command.split()[1:])
    assert ((repo / "readme").read_text(), box.git(repo, "status", "--porcelain=v2")) == ("not committed\n", before)

    config = shell("echo made > made; rm readme.old") | {"maxIterations": 1, "autoCommit": True, "planMode": plan}
    (repo / "readme.old").write_text("old\n")
    box.git(repo, "add", "readme.old")
    box.git(repo, "commit", "-qm", "third", "readme.old")
    run = client("start", workspace=work, prompt="x", config=config)["runId"]
    if plan:
        client.settled(run, "awaiting_approval")
        client("plan/approve", runId=run)
    client.settled(run)
    assert box.git(repo, "show", "--format=", "--name-status").split() == ["A", "made", "D", "readme.old"]
    since = client("git/diff", workspace=work, **{"from": f"{run}#1.before", "to": "HEAD~1"})
    assert [one["path"] for one in since["files"]] == ["new", "readme"]  # untracked, and not committed
