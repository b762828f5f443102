"""Plan mode through the helper: nothing of the user's changes before approval, then all of it or nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from box import Box, shell, until
from client import Client

DONE = "; echo '<promise>COMPLETE</promise>'"


def plan(script: str, **config: Any) -> dict[str, Any]:
    return {**shell(script), "planMode": True, **config}


def staged(client: Client, repo: Path, script: str, **config: Any) -> tuple[str, list[dict[str, Any]]]:
    run = client("start", workspace=str(repo), prompt="do it", config=plan(script, **config))["runId"]
    snapshot = client.settled(run, "awaiting_approval", "error", "completed")
    assert snapshot["status"] == "awaiting_approval", snapshot
    operations = client("plan/staged", runId=run)["operations"]
    assert snapshot["stagedOperations"] == len(operations)
    return run, operations


def tree(repo: Path) -> dict[str, bytes]:
    """Everything in the folder but what a loop writes in `.ralph`, git's own files included."""
    found: dict[str, bytes] = {}
    for path in sorted(repo.rglob("*")):
        name = str(path.relative_to(repo))
        if path.is_file() and not name.startswith(".ralph/"):
            found[name] = path.read_bytes()
    return found


@pytest.fixture
def box(common_embedded: Box) -> Box:
    return common_embedded


@pytest.fixture
def dirty(box: Box) -> Path:
    """A repository with a commit, a dirty file, a staged one and an untracked one."""
    repo = box.repo()
    (repo / "kept.txt").write_text("one\ntwo\n")
    (repo / "gone.txt").write_text("to be deleted\n")
    box.git(repo, "add", ".")
    box.commit(repo, "files")
    (repo / "kept.txt").write_text("one\ntwo\ndirty\n")
    (repo / "staged.txt").write_text("staged\n")
    box.git(repo, "add", "staged.txt")
    (repo / "untracked.txt").write_text("untracked\n")
    return repo


CHANGE = (
    "cat kept.txt untracked.txt staged.txt; echo more >> kept.txt; echo new > new.txt; rm gone.txt; "
    "git stash; git stash pop; git tag mine; git config user.name agent; git add -A; git commit -qm agent; "
    "git worktree add -q ../beside; echo x > ../more" + DONE
)


def test_nothing_changes_before_approval_then_everything(client: Client, box: Box, dirty: Path) -> None:
    before = tree(dirty)
    run, operations = staged(client, dirty, CHANGE)
    assert tree(dirty) == before
    assert list((box.data / "copies").iterdir()) == []  # nor anything that was put beside the copy
    kinds = {operation["path"]: operation["kind"] for operation in operations}
    assert kinds == {"kept.txt": "modify", "new.txt": "create", "gone.txt": "delete"}
    lines = {operation["path"]: (operation["added"], operation["removed"]) for operation in operations}
    assert lines == {"kept.txt": (1, 0), "new.txt": (1, 0), "gone.txt": (0, 1)}
    assert [o["path"] for o in client.wait("didStage")["operations"]] == [o["path"] for o in operations]

    assert client("plan/approve", runId=run) == {"operations": []}
    assert client.settled(run)["stopReason"] == "completed"
    after = tree(dirty)
    assert after.pop("new.txt") == b"new\n"
    assert after.pop("kept.txt") == b"one\ntwo\ndirty\nmore\n"
    assert "gone.txt" not in after
    for name in ("kept.txt", "gone.txt"):
        del before[name]
    assert after == before  # the index, the refs, the configuration and the stash too


def test_files_of_an_operation(client: Client, dirty: Path) -> None:
    run, operations = staged(client, dirty, CHANGE)
    one = next(operation for operation in operations if operation["path"] == "kept.txt")
    sides = [
        client("file", runId=run, operationId=one["operationId"], path="kept.txt", side=side)["text"]
        for side in ("before", "after")
    ]
    assert sides == ["one\ntwo\ndirty\n", "one\ntwo\ndirty\nmore\n"]
    client("cancel", runId=run)


def test_some_approved_the_rest_rejected_with_feedback(client: Client, dirty: Path) -> None:
    run, operations = staged(client, dirty, "[ $1 = 1 ] && echo new > new.txt && echo other > other.txt; cat" + DONE)
    ids = {operation["path"]: operation["operationId"] for operation in operations}
    left = client("plan/approve", runId=run, operationIds=[ids["new.txt"]])["operations"]
    assert [operation["path"] for operation in left] == ["other.txt"]
    assert (dirty / "new.txt").read_text() == "new\n"
    assert client("status", runId=run)["status"] == "awaiting_approval"
    assert client("plan/reject", runId=run, operationIds=[])["operations"] == left  # decides nothing, says nothing
    client("plan/reject", runId=run, operationIds=[ids["other.txt"]], feedback="no other, please")
    # the promise did not count, since not everything was approved; the second one does: it changed nothing
    assert client.settled(run)["iteration"] == 2
    prompt = client("prompt", runId=run, iteration=2)["prompt"]
    assert "What is not named here was approved.\n\nRejected: other.txt\n\nThey said:\n\nno other, please\n" in prompt
    assert not (dirty / "other.txt").exists()
    assert [record["promise"] for record in client("history", runId=run)["iterations"]] == ["completion"] * 2


def test_a_file_the_user_changed_is_refused_by_name(client: Client, dirty: Path) -> None:
    run, _ = staged(client, dirty, CHANGE)
    (dirty / "kept.txt").write_text("the user was here\n")
    before = tree(dirty)
    error = client.refused("plan/approve", runId=run)
    assert (error.code, error.data["kind"], error.data["paths"]) == (1008, "treeChanged", ["kept.txt"])
    assert tree(dirty) == before
    assert client("status", runId=run)["stagedOperations"] == 3
    client("plan/reject", runId=run)
    client("cancel", runId=run)


def test_what_belongs_together_is_named(client: Client, dirty: Path) -> None:
    run, operations = staged(client, dirty, "rm kept.txt; mkdir kept.txt; echo in > kept.txt/inside" + DONE)
    one = next(operation for operation in operations if operation["path"] == "kept.txt/inside")
    error = client.refused("plan/approve", runId=run, operationIds=[one["operationId"]])
    assert error.code == -32602
    assert "kept.txt" in str(error)
    assert (dirty / "kept.txt").is_file()
    client("plan/approve", runId=run)
    client.settled(run)
    assert (dirty / "kept.txt/inside").read_text() == "in\n"


def test_states_in_which_nothing_may_happen(client: Client, dirty: Path) -> None:
    run, _ = staged(client, dirty, CHANGE)
    for method in ("pause", "resume"):
        assert client.refused(method, runId=run).data["status"] == "awaiting_approval"
    assert client.refused("start", workspace=str(dirty), prompt="x", config=plan("true")).data["kind"] == "repoBusy"
    assert client.refused("plan/approve", runId=run, operationIds=["op_none"]).data["kind"] == "notFound"
    snapshot = client("cancel", runId=run)
    assert (snapshot["status"], snapshot["stagedOperations"]) == ("cancelled", 0)
    assert client.refused("plan/approve", runId=run).data == {
        "kind": "invalidState",
        "status": "cancelled",
        "allowed": ["awaiting_approval"],
    }


def test_a_cancel_while_changes_are_applied_waits_for_them(client: Client, dirty: Path) -> None:
    run, operations = staged(client, dirty, "for i in 1 2 3 4 5 6 7 8 9; do echo x > n$i; done" + DONE)
    approving = client.send("ralph/plan/approve", {"runId": run})
    assert client("cancel", runId=run)["status"] == "cancelled"
    assert len(list(dirty.glob("n?"))) == len(operations) == 9
    assert client.answer(approving) == {"operations": []}


def test_the_summary_tells_what_is_not_in_the_folder(client: Client, dirty: Path) -> None:
    run, operations = staged(client, dirty, "echo a > a; echo b > b; echo c > c; echo d > 'git~1'" + DONE)
    ids = {operation["path"]: operation["operationId"] for operation in operations}
    assert sorted(ids) == ["a", "b", "c"]  # the fourth has a name that git does not take, which is said
    assert "git~1" in client("history", runId=run)["iterations"][0]["errors"][0]
    client("plan/approve", runId=run, operationIds=[ids["a"]])
    client("plan/reject", runId=run, operationIds=[ids["b"]])
    summary = (dirty / ".ralph/summary.md").read_text()
    changed, missing = summary.partition("## What changed")[2].split("## What is not in your folder")
    assert "`a`" in changed and "`b`" not in changed + missing.split("\n")[3]
    assert "- `b` +1 -0, new: you rejected it (iteration 1)\n" in missing
    assert "- `c` +1 -0, new: waits for your approval (iteration 1)\n" in missing
    client("cancel", runId=run)
    assert "dropped before you could approve it" in (dirty / ".ralph/summary.md").read_text()


def test_a_lost_lock_lets_nothing_run_over_what_is_staged(client: Client, box: Box, dirty: Path) -> None:
    guards = set(box.guards())
    run, _ = staged(client, dirty, CHANGE)
    (guard,) = set(box.guards()) - guards
    os.kill(guard, signal.SIGKILL)
    until(lambda: not box.alive(guard), "the guard is gone")
    error = client.refused("start", workspace=str(dirty), prompt="x", config=shell("true"))
    assert (error.data["kind"], error.data["runId"]) == ("repoBusy", run)
    assert client("cancel", runId=run)["status"] == "cancelled"


def test_the_limit_is_judged_after_approval(client: Client, dirty: Path) -> None:
    run, _ = staged(client, dirty, "echo $1 > n.txt", maxIterations=1)
    client("plan/approve", runId=run)
    assert client.settled(run)["stopReason"] == "maxIterations"
    assert (dirty / "n.txt").read_text() == "1\n"


def test_what_a_reached_time_limit_cut_short_is_staged(client: Client, dirty: Path) -> None:
    run, operations = staged(client, dirty, "echo half > half.txt; sleep 60", maxDurationMs=5000)
    assert [operation["path"] for operation in operations] == ["half.txt"]
    client("plan/approve", runId=run)
    assert client.settled(run)["stopReason"] == "maxDuration"
    assert (dirty / "half.txt").read_text() == "half\n"


def test_what_an_interrupted_iteration_changed_is_told_as_dropped(client: Client, box: Box, dirty: Path) -> None:
    script = f"[ $1 = 1 ] && echo half > half.txt && cat {box.gate().path}; echo new > new.txt" + DONE
    run = client("start", workspace=str(dirty), prompt="do it", config=plan(script))["runId"]
    until(lambda: next((box.data / "copies" / run).rglob("half.txt"), None), "the first iteration is half done")
    client("pause", runId=run, when="now")
    client("resume", runId=run)
    client.settled(run, "awaiting_approval")
    client("plan/approve", runId=run)
    client.settled(run)
    summary = (dirty / ".ralph/summary.md").read_text()
    changed, missing = summary.partition("## What changed")[2].split("## What is not in your folder")
    assert "`new.txt`" in changed and "`half.txt`" not in changed
    assert "- `half.txt` +1 -0, new: dropped before you could approve it (iteration 1)\n" in missing


def test_a_copy_that_the_agent_left_unreadable_is_a_failure_of_its_iteration(client: Client, dirty: Path) -> None:
    run, operations = staged(client, dirty, '[ $1 = 1 ] && rm -rf "$PWD" || echo new > new.txt' + DONE)
    assert [operation["path"] for operation in operations] == ["new.txt"]
    first, _ = client("history", runId=run)["iterations"]
    assert (first["status"], first["filesTotal"]) == ("failed", 0)
    assert first["errors"][0].startswith("What the agent changed could not be read: ") and first["tracking"]
    client("plan/approve", runId=run)
    assert client.settled(run)["stopReason"] == "completed"


def test_the_next_iteration_starts_from_the_users_tree(client: Client, dirty: Path) -> None:
    run, _ = staged(client, dirty, "[ $1 = 1 ] && echo 1 > n.txt || { cat new.txt; true; }", maxIterations=2)
    (dirty / "new.txt").write_text("from the user meanwhile\n")
    client("subscribe", runId=run)
    client("plan/reject", runId=run)
    client.settled(run)
    client.wait_printed(run, "from the user meanwhile")


def test_an_iteration_without_changes_does_not_wait(client: Client, dirty: Path) -> None:
    run = client("start", workspace=str(dirty), prompt="x", config=plan("true" + DONE))["runId"]
    assert client.settled(run)["stopReason"] == "completed"


def test_plan_mode_needs_git(client: Client, box: Box) -> None:
    folder = box.folder_of()
    error = client.refused("start", workspace=str(folder), prompt="x", config=plan("true"))
    assert (error.code, error.data) == (1015, {"kind": "planNeedsGit"})
    assert list(folder.iterdir()) == []


def test_a_subfolder_and_the_task_list(client: Client, dirty: Path) -> None:
    sub = dirty / "sub"
    sub.mkdir()
    (sub / "a.txt").write_text("a\n")
    (dirty / ".ralph").mkdir()
    (dirty / ".ralph/ralph-tasks.md").write_text("- [ ] one\n")
    script = "cat a.txt && sed -i 's/\\[ \\]/[x]/' ../.ralph/ralph-tasks.md" + DONE
    run, operations = staged(client, sub, script, tasksMode=True)
    assert [operation["path"] for operation in operations] == [".ralph/ralph-tasks.md"]
    assert (dirty / ".ralph/ralph-tasks.md").read_text() == "- [ ] one\n"
    client("plan/approve", runId=run)
    assert client.settled(run)["stopReason"] == "completed"
    assert (dirty / ".ralph/ralph-tasks.md").read_text() == "- [x] one\n"


def test_staged_operations_survive_the_helper(shared: Box) -> None:
    repo, elsewhere = shared.repo(), shared.repo("elsewhere")
    client = shared.client(shared.folder)
    run, operations = staged(client, repo, "echo new > new.txt" + DONE)
    other, _ = staged(client, elsewhere, "echo new > new.txt" + DONE)
    away = elsewhere.rename(elsewhere.with_name("away"))
    shared.kill_helper()
    client.close()
    client = shared.client(shared.folder)
    snapshot = client("status", runId=run)
    assert (snapshot["status"], snapshot["stagedOperations"]) == ("awaiting_approval", 1)
    assert client("plan/staged", runId=run)["operations"] == operations
    assert not (repo / "new.txt").exists()
    client("plan/approve", runId=run)
    assert client.settled(run)["stopReason"] == "completed"
    assert (repo / "new.txt").read_text() == "new\n"
    assert list((shared.data / "copies").iterdir()) == []

    # nor does a loop block its repository for ever whose folder was away at that start
    assert client("status", runId=other)["status"] == "interrupted"
    away.rename(elsewhere)
    client("cancel", runId=other)
    again = client("start", workspace=str(elsewhere), prompt="x", config=shell(DONE[2:]))
    client.settled(again["runId"])


MANY = "for i in $(seq 1000); do echo new > n$i.txt; done" + DONE


def test_killed_while_the_approved_changes_are_applied(shared: Box) -> None:
    """They are all applied, but for what the user has changed before the next start, and that is told."""
    shared.expected_log = ["loop 0: What was approved before is half applied"]
    repo = shared.repo()
    client = shared.client(repo)
    run, operations = staged(client, repo, MANY)
    client.send("ralph/plan/approve", {"runId": run})
    until(lambda: next(repo.glob("n*.txt"), None), "the first file is applied")
    shared.kill_helper()
    client.close()
    (first, *_) = repo.glob("n*.txt")
    first.write_text("the user was here\n")
    broken = shared.data / "journals" / "0"  # keeps no other from being ended
    broken.mkdir()
    (broken / "plan.json").write_text("{}")
    client = shared.client(repo)
    until(lambda: client("status", runId=run)["status"] == "completed", "the loop goes on to its end")
    texts = {path.name: path.read_text() for path in repo.glob("n*.txt")}
    assert texts == {operation["path"]: "new\n" for operation in operations} | {first.name: "the user was here\n"}
    assert list((shared.data / "journals").iterdir()) == [broken] and not list(repo.glob(".ralph/.*.tmp"))
    notes = "".join(c["text"] for c in client("output", runId=run)["chunks"] if c["stream"] == "system")
    assert "1000 changes was cut short; the rest was applied" in notes
    assert first.name in notes


def test_what_cannot_be_ended_at_the_next_start_is_ended_later(shared: Box) -> None:
    """The folder is away then: nobody is told that all was applied."""
    shared.expected_log = ["half applied"]
    repo = shared.repo()
    client = shared.client(repo)
    run, _ = staged(client, repo, MANY)
    client.send("ralph/plan/approve", {"runId": run})
    until(lambda: next(repo.glob("n*.txt"), None), "the first file is applied")
    shared.kill_helper()
    client.close()
    away = repo.rename(repo.with_name("away"))
    client = shared.client(shared.folder)
    snapshot = client("status", runId=run)
    assert (snapshot["status"], snapshot["stagedOperations"]) == ("interrupted", 1000)
    assert len(list(away.glob("n*.txt"))) < 1000
    away.rename(repo)
    client("resume", runId=run)
    assert client.settled(run)["stopReason"] == "completed"
    assert len(list(repo.glob("n*.txt"))) == 1000
    assert list((shared.data / "journals").iterdir()) == []


def test_killed_before_the_approved_changes_are_applied(shared: Box) -> None:
    """Nothing is applied, and everything waits for approval again."""
    repo = shared.repo()
    client = shared.client(repo)
    run, operations = staged(client, repo, MANY)
    client.send("ralph/plan/approve", {"runId": run})
    until(lambda: next(repo.glob(".ralph/.*.tmp"), None), "the new files are being written beside")
    shared.kill_helper()
    client.close()
    client = shared.client(repo)
    until(lambda: not list((shared.data / "journals").iterdir()), "the journal was read")
    assert client("plan/staged", runId=run)["operations"] == operations
    assert list(repo.glob("n*.txt")) == list(repo.glob(".ralph/.*.tmp")) == []
    notes = "".join(c["text"] for c in client("output", runId=run)["chunks"] if c["stream"] == "system")
    assert "1000 changes was cut short and taken back" in notes
    client("plan/approve", runId=run)
    assert client.settled(run)["stopReason"] == "completed"
    assert len(list(repo.glob("n*.txt"))) == 1000


def test_the_copy_is_gone_after_kill_in_the_middle(shared: Box) -> None:
    repo = shared.repo()
    gate = shared.gate()
    client = shared.client(repo)
    before = tree(repo)
    run = client(
        "start", workspace=str(repo), prompt="x", config=plan(f"echo half > half.txt; echo at; cat {gate.path}")
    )["runId"]
    client("subscribe", runId=run)
    client.wait_printed(run, "at")
    shared.kill_helper()
    client.close()
    client = shared.client(repo)
    assert client("status", runId=run)["status"] == "interrupted"
    assert tree(repo) == before
    assert list((shared.data / "copies").iterdir()) == []
    client("cancel", runId=run)


def test_the_copy_is_gone_after_the_guard_was_killed(client: Client, box: Box, dirty: Path) -> None:
    box.expected_log = ["loop run_.* failed", "Traceback"]
    guards = set(box.guards())
    script = f"echo half > half.txt; echo at; cat {box.gate().path}"
    run = client("start", workspace=str(dirty), prompt="x", config=plan(script))["runId"]
    client("subscribe", runId=run)
    client.wait_printed(run, "at")
    for guard in set(box.guards()) - guards:
        os.kill(guard, signal.SIGKILL)
    client.settled(run, "interrupted")
    assert list((box.data / "copies").iterdir()) == []
    client("cancel", runId=run)


def test_the_users_folder_is_read_only_for_the_agent(client: Client, dirty: Path) -> None:
    script = f"echo x > {dirty}/kept.txt; echo x > {dirty}/.git/config; echo mine > new.txt"
    run, operations = staged(client, dirty, script)
    if client("status", runId=run)["confined"]:
        assert (dirty / "kept.txt").read_text() == "one\ntwo\ndirty\n"
        assert "[core]" in (dirty / ".git/config").read_text()
        errors = [c["text"] for c in client("output", runId=run)["chunks"] if c["stream"] == "stderr"]
        assert "Read-only file system" in "".join(errors)
    else:  # then it is said, once, where people read
        notes = [c["text"] for c in client("output", runId=run)["chunks"] if c["stream"] == "system"]
        assert "without write protection" in "".join(notes)
    assert [operation["path"] for operation in operations] == ["new.txt"]
    client("cancel", runId=run)


def test_a_linked_working_tree_and_ignored_files(client: Client, box: Box, repo: Path) -> None:
    """The main working tree is read-only too; ignored files are copied when asked for, and never come back."""
    linked = repo / ".linked"
    box.git(repo, "worktree", "add", "-q", str(linked), "-b", "linked")
    (linked / ".gitignore").write_text(".env\nbuild/\n")
    (linked / ".env").write_text("KEY=1\n")
    for pattern in ("/etc/*", "../*", ""):
        assert client.refused("config/set", key="planCopyIgnored", value=[pattern]).code == -32602
    client("config/set", key="planCopyIgnored", value=[".env"])
    run, operations = staged(
        client, linked, f"cat .env > seen; echo 2 > .env; mkdir build; touch build/x; echo 2 > {repo}/README" + DONE
    )
    assert [operation["path"] for operation in operations] == ["seen"]
    notes = [c["text"] for c in client("output", runId=run)["chunks"] if c["stream"] == "system"]
    assert "[ralph] Not staged: build/ (ignored by git).\n" in notes
    client("plan/approve", runId=run)
    client.settled(run)
    assert (linked / "seen").read_text() == (linked / ".env").read_text() == "KEY=1\n"
    if client("status", runId=run)["confined"]:
        assert (repo / "README").read_text() == "hello\n"
    client("config/delete", key="planCopyIgnored")
