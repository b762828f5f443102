"""What an iteration changed, as the record tells it: every kind of change, in every kind of repository."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from box import Box, shell
from client import Client


@pytest.fixture
def box(common_shared: Box) -> Box:
    return common_shared


def record(client: Client, workspace: Path, script: str, **config: Any) -> dict[str, Any]:
    """The record of the one iteration that ran this shell script."""
    config = {**shell(script), "maxIterations": 1, **config}
    run = client("start", workspace=str(workspace), prompt="x", config=config)["runId"]
    client.settled(run)
    return client("history", runId=run)["iterations"][0]


def told(record: dict[str, Any]) -> dict[str, Any]:
    """{path: (kind, added, removed)}; a rename with where it came from."""
    return {
        f["path"]: (f["kind"], f["added"], f["removed"], *([f["oldPath"]] if "oldPath" in f else []))
        for f in record["files"]
    }


def test_every_kind_in_a_dirty_tree(client: Client, box: Box, repo: Path) -> None:
    long = "".join(f"line {number}\n" for number in range(50))
    for name in ("dirty", "clean", "gone", "moved", "mode", "kind", "committed"):
        (repo / name).write_text(f"{long}{name}\n")
    (repo / ".gitignore").write_text("ignored\n")
    box.git(repo, "add", ".")
    box.commit(repo, "second")
    mine = f"{long}dirty\nby the user\n"
    (repo / "dirty").write_text(mine)
    (repo / "clean2").write_text("untracked before\n")
    (repo / "left").write_text("untracked, and never touched\n")
    box.git(repo, "add", "left")
    index = (repo / ".git" / "index").read_bytes()
    script = """
    echo by the agent >> dirty; echo more >> clean2; rm gone; mv moved there; chmod +x mode
    rm kind; ln -s dirty kind; printf 'a\\0b' > binary; echo x > ignored; mkdir -p 'a b/ü'; echo 1 > 'a b/ü/
newline'
    """
    found = record(client, repo, script)
    assert (repo / ".git" / "index").read_bytes() == index
    changes = told(found)
    assert changes.pop("kind")[0] == "typeChange"
    assert changes == {
        "dirty": ("modify", 1, 0), "clean2": ("modify", 1, 0), "gone": ("delete", 0, 51),
        "there": ("rename", 0, 0, "moved"), "mode": ("modify", 0, 0), "binary": ("create", 0, 0),
        "a b/ü/\nnewline": ("create", 1, 0),
    }  # fmt: skip
    assert found["filesTotal"] == len(found["files"]) == 8
    assert [f["path"] for f in found["files"] if f["binary"]] == ["binary"]
    for side, text in (("before", mine), ("after", f"{mine}by the agent\n")):
        file = client("file", runId=found["runId"], iteration=1, path="dirty", side=side)
        assert (file["exists"], file["text"]) == (True, text), side
    assert not client("file", runId=found["runId"], iteration=1, path="there", side="before")["exists"]


def test_what_the_agent_commits_counts(client: Client, box: Box, repo: Path) -> None:
    commit = "git -c user.name=A -c user.email=a@example.invalid commit -qm agent"
    found = record(client, repo, f"echo two >> README; echo new > file; git add -A; {commit}; git checkout -qb other")
    assert told(found) == {"README": ("modify", 1, 0), "file": ("create", 1, 0)}


def test_nothing_changed_is_told_as_nothing(client: Client, repo: Path) -> None:
    found = record(client, repo, "cat README; touch README")
    assert (found["files"], found["filesTotal"], "tracking" in found) == ([], 0, False)


@pytest.mark.parametrize("how", ["directly", "planned", "committed", "uncommitted"])
def test_names_that_are_no_text(client: Client, box: Box, repo: Path, how: str) -> None:
    name = "\"$(printf 'caf\\351')\""
    script = f"case $1 in 1) printf x > {name};; 2) printf y >> {name};; 3) rm {name};; esac"
    config = {**shell(script), "maxIterations": 3, "autoCommit": "committed" in how, "planMode": how == "planned"}
    if how == "committed":
        box.git(repo, "config", "user.name", "Somebody")
        box.git(repo, "config", "user.email", "somebody@localhost")
    run = client("start", workspace=str(repo), prompt="x", config=config)["runId"]
    if how == "planned":
        for number in (1, 2, 3):
            client.wait(
                "didChange",
                lambda s, number=number: (
                    (s["runId"], s["iteration"], s["status"]) == (run, number, "awaiting_approval")
                ),
            )
            client("plan/approve", runId=run)
    client.settled(run)
    records = client("history", runId=run)["iterations"]
    assert [record.get("tracking") for record in records] == [None] * 3
    changes = [change for record in records for change in record["files"]]
    assert [(c["kind"], base64.b64decode(c["pathBytes"])) for c in changes] == [
        ("create", b"caf\xe9"),
        ("modify", b"caf\xe9"),
        ("delete", b"caf\xe9"),
    ]
    if how == "uncommitted":  # nobody has said who commits: it is tried again, and told each time
        assert all("auto-commit failed" in "".join(record["errors"]) for record in records[:2])
    if how == "committed":
        assert [record["errors"] for record in records] == [[]] * 3
        assert len(box.git(repo, "log", "--format=%s").splitlines()) == 4
    file = {"runId": run, "iteration": 2, "path": changes[1]["path"]}
    sides = [
        client("file", **file, side=side, pathBytes=changes[1]["pathBytes"])["text"] for side in ("before", "after")
    ]
    assert sides == ["x", "xy"]
    patch = client("git/diff", workspace=str(repo), **{"from": f"{run}#2.before", "to": f"{run}#2.after"}, patch=True)
    assert "+xy" in patch["patch"]
    against_head = client("git/diff", workspace=str(repo), **{"from": "HEAD", "to": f"{run}#2.after"})
    assert b"caf\xe9" in [base64.b64decode(c["pathBytes"]) for c in against_head["files"] if "pathBytes" in c]
    error = client.refused("file", **file, side="after", pathBytes="caf\xe9")
    assert error.code == -32602 and "pathBytes" in error.message


@pytest.mark.parametrize("kind", ["unborn", "worktree", "subfolder", "link"])
def test_other_kinds_of_repositories(client: Client, box: Box, kind: str) -> None:
    repo = box.repo(commit=kind != "unborn")
    workspace, prefix = repo, ""
    if kind == "worktree":
        workspace = box.room / "tree"
        box.git(repo, "worktree", "add", "-q", str(workspace), "-b", "other")
    elif kind == "subfolder":
        workspace, prefix = repo / "sub" / "folder", "sub/folder/"
        workspace.mkdir(parents=True)
    elif kind == "link":
        workspace = box.room / "link"
        workspace.symlink_to(repo)
    found = record(client, workspace, "echo here > made; pwd -P")
    assert told(found) == {f"{prefix}made": ("create", 1, 0)}
    assert (workspace / "made").exists()
    assert box.git(repo, "stash", "list") == ""


def test_submodules(client: Client, box: Box, repo: Path) -> None:
    inner = box.repo("inner")
    box.git(repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner), "sub")
    box.commit(repo, "with a submodule")
    commit = "git -c user.name=A -c user.email=a@example.invalid commit -qm agent"
    found = record(client, repo, f"cd sub; echo new > file; git add -A; {commit}")
    assert [change["path"] for change in found["files"]] in (["sub"], ["sub/file"], ["sub", "sub/file"])


def test_without_git_and_with_a_broken_one(client: Client, box: Box, repo: Path) -> None:
    plain = box.folder_of("plain")
    found = record(client, plain, "echo x > made")
    assert (found["status"], found["files"]) == ("completed", [])
    assert found["errors"] == []
    (repo / ".git" / "HEAD").write_text("nonsense\n")
    found = record(client, repo, "echo x > made")
    assert found["status"] == "completed"
    assert found["tracking"]


def test_a_locked_index_harms_nobody(client: Client, repo: Path) -> None:
    (repo / ".git" / "index.lock").write_text("")
    assert told(record(client, repo, "echo x > made")) == {"made": ("create", 1, 0)}
    assert (repo / ".git" / "index.lock").read_text() == ""


def test_runtime_files_are_no_change_and_not_seen_by_git(client: Client, box: Box, repo: Path) -> None:
    folder = repo / ".ralph"
    folder.mkdir()
    (folder / "ralph-tasks.md").write_text("- [ ] mine\n")
    found = record(client, repo, "echo x > made; echo '- [ ] more' >> .ralph/ralph-tasks.md")
    assert told(found) == {"made": ("create", 1, 0), ".ralph/ralph-tasks.md": ("modify", 1, 0)}
    assert box.git(repo, "status", "--porcelain", "-uall").split() == ["??", ".ralph/ralph-tasks.md", "??", "made"]
    ignored = (folder / ".gitignore").read_text().split()
    assert {"state.json", "history.json", "context.md", "summary.md", ".gitignore"} <= {
        line.lstrip("/") for line in ignored
    }
    assert {name for name in os.listdir(folder) if name.endswith((".json", ".md"))} >= {  # noqa: PTH208
        "state.json", "history.json", "summary.md", "ralph-tasks.md",
    }  # fmt: skip
