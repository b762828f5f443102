"""Staged changes and patches in the terminal: `ralph-loop plan` and `ralph-loop diff`."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box
from terminals import Terminal, screen_of

AGENT = f"""printf 'new\\n' >> README; mv old.txt moved.txt; echo "try $1" > notes.txt; mkfifo pipe
grep -q 'No notes' "$2" && rm notes.txt
echo '{DONE}'"""


@pytest.fixture
def box(common_shared: Box) -> Box:
    return common_shared


@pytest.fixture
def repo(box: Box) -> Path:
    repo = box.repo()
    (repo / "old.txt").write_text("one\ntwo\nthree\n")
    box.git(repo, "add", ".")
    box.commit(repo, "second")
    return repo


def begin(terminal: Terminal, repo: Path) -> dict[str, Any]:
    command = ["--", "/bin/sh", "-c", AGENT, "agent", "{iteration}", "{prompt_file}"]
    assert terminal("run", "--detach", "--plan", "Tidy up", *command, cwd=repo).code == 0
    return waiting(terminal, repo, 1)


def waiting(terminal: Terminal, repo: Path, iteration: int) -> dict[str, Any]:
    return terminal.status(
        repo,
        lambda loop: loop["status"] == "awaiting_approval" and loop["iteration"] == iteration,
        "changes that wait for approval",
    )


def test_staged_changes_are_listed_seen_and_approved(terminal: Terminal, repo: Path) -> None:
    begin(terminal, repo)
    listed = terminal("plan", cwd=repo).out
    assert "modify   +1 -0   README" in listed
    assert "rename   +0 -0   old.txt → moved.txt" in listed
    assert "ralph-loop plan approve" in listed
    assert "Not staged: pipe (not a regular file)" in terminal("logs", cwd=repo).out

    patch = terminal("plan", "diff", cwd=repo).out
    assert "+new\n" in patch and "rename to moved.txt" in patch and "+try 1\n" in patch
    subprocess.run(["git", "apply", "--check"], cwd=repo, input=patch.encode(), check=True)
    one = terminal("plan", "diff", "README", cwd=repo).out
    assert "+new\n" in one and "try 1" not in one
    assert (repo / "README").read_text() == "hello\n"

    approved = terminal("plan", "approve", "README", "old.txt", cwd=repo)
    assert (approved.code, approved.out) == (0, "Approved and applied. 1 change left.\n")
    assert (repo / "README").read_text() == "hello\nnew\n"
    assert (repo / "moved.txt").exists() and not (repo / "notes.txt").exists()
    (left,) = terminal("plan", "--json", cwd=repo).json["operations"]
    done = terminal("plan", "approve", left["operationId"], cwd=repo)
    assert (done.code, done.out) == (0, "Approved and applied.\n")
    terminal.status(repo, lambda loop: loop["status"] == "completed", "the end")
    assert (repo / "notes.txt").read_text() == "try 1\n"


def test_rejected_with_a_word_for_the_agent(terminal: Terminal, repo: Path) -> None:
    begin(terminal, repo)
    assert terminal("plan", "approve", "moved.txt", cwd=repo).out == "Approved and applied. 2 changes left.\n"
    rejected = terminal("plan", "reject", "--feedback", "No notes, please.", cwd=repo)
    assert (rejected.code, rejected.out) == (0, "Rejected.\n")
    waiting(terminal, repo, 2)
    assert "No notes, please." in terminal("prompt", "2", cwd=repo).out
    assert [one["path"] for one in terminal("plan", "--json", cwd=repo).json["operations"]] == ["README"]
    assert terminal("cancel", cwd=repo).code == 0
    assert terminal("plan", cwd=repo).out == "No change waits for approval.\n"
    refused = terminal("plan", "approve", cwd=repo)
    assert refused.code == 1 and "nothing waits for approval" in refused.err
    assert (repo / "README").read_text() == "hello\n"


def test_what_is_not_staged_is_named(terminal: Terminal, repo: Path) -> None:
    begin(terminal, repo)
    for what in ("approve", "reject", "diff", "show"):
        refused = terminal("plan", what, "README", "nothing.txt", cwd=repo)
        assert refused.code == 1, what
        assert "'nothing.txt'" in refused.err and "ralph-loop plan show" in refused.err
    wrong = terminal("plan", "approve", "--feedback", "x", cwd=repo)
    assert wrong.code == 64 and "--feedback goes with reject" in wrong.err
    assert len(terminal("plan", "--json", cwd=repo).json["operations"]) == 3
    assert terminal("cancel", cwd=repo).code == 0


def test_the_patch_of_a_loop_and_of_one_iteration(terminal: Terminal, box: Box, repo: Path) -> None:
    assert "No loop was ever started" in terminal("diff", cwd=repo).err
    script = f'echo "line $1" >> README; echo x > "f$1"; [ $1 = 1 ] || echo "{DONE}"'
    assert terminal("run", "x", "--", "/bin/sh", "-c", script, "agent", "{iteration}", cwd=repo).code == 0
    whole = terminal("diff", cwd=repo).out
    assert "+line 1\n+line 2\n" in whole and "b/f1" in whole and "b/f2" in whole
    second = terminal("diff", "--iteration", "2", cwd=repo).out
    assert " line 1\n+line 2\n" in second and "b/f1" not in second
    assert terminal("diff", "f1", "f2", "--json", cwd=repo).json[1]["files"][0]["path"] == "f2"
    missing = terminal("diff", "--iteration", "9", cwd=repo)
    assert missing.code == 1 and "9" in missing.err
    before = box.repo("before")
    subprocess.run(["git", "apply"], cwd=before, input=whole.encode(), check=True)
    assert (before / "README").read_text() == (repo / "README").read_text()


def test_the_patch_of_a_loop_that_runs(terminal: Terminal, box: Box, repo: Path) -> None:
    gate = box.gate()
    command = ["--", "/bin/sh", "-c", f'read x < "$BOX/gate"; echo "line $1" >> README; echo "{DONE}"', "agent"]
    terminal("run", "x", "--detach", "--min-iterations", "2", *command, "{iteration}", cwd=repo)
    early = terminal("diff", cwd=repo)
    assert early.code == 1 and "No iteration has ended." in early.err
    gate.open()
    terminal.status(repo, lambda loop: loop["iteration"] == 2 and loop["phase"] == "agent", "the second iteration")
    assert "+line 1\n" in terminal("diff", cwd=repo).out
    gate.open()


def test_a_patch_on_a_terminal(terminal: Terminal, repo: Path) -> None:
    script = f"printf 'evil \\033]0;title\\007\\033[2Jtext\\n' > f; echo '{DONE}'"
    assert terminal("run", "x", "--", "/bin/sh", "-c", script, cwd=repo).code == 0
    seen = terminal.on_tty("diff", cwd=repo).done()
    assert "\x1b[32m+evil text" in seen.out
    assert "+evil text" in screen_of(seen.out, 80)
    assert "\x1b" in terminal("diff", cwd=repo).out, "a pipe gets what git apply needs"
