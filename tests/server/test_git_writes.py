"""Git writes, clones and auto-commit through the helper, against real repositories with a bare one as the remote."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from box import Box, shell, until
from client import Client


@pytest.fixture
def box(common_embedded: Box) -> Box:
    return common_embedded


@pytest.fixture
def cloned(box: Box) -> Path:
    """A trusted clone of a bare repository with one commit."""
    origin = box.repo("origin")
    bare = box.room / "bare.git"
    box.git(origin, "clone", "-q", "--bare", str(origin), str(bare))
    box.git(origin, "clone", "-q", str(bare), str(box.room / "work"))
    work = box.room / "work"
    box.git(work, "config", "user.name", "Somebody")
    box.git(work, "config", "user.email", "somebody@localhost")
    return work


@pytest.fixture
def trusted(client: Client, cloned: Path) -> Path:
    client("repos/trust", workspace=str(cloned), trusted=True)
    return cloned


def test_add_commit_push_and_pull(client: Client, box: Box, trusted: Path) -> None:
    work = str(trusted)
    (trusted / "-odd name*").write_text("x\n")
    (trusted / "other").write_text("x\n")
    assert client("git/add", workspace=work, paths=["-odd name*"])["exitCode"] == 0
    done = client("git/commit", workspace=work, message="--amend is no option\n\nbody")
    assert done["exitCode"] == 0, done
    assert box.git(trusted, "log", "-1", "--format=%s").strip() == "--amend is no option"
    assert box.git(trusted, "status", "--short") == "?? other\n"
    assert client("git/push", workspace=work)["exitCode"] == 0
    assert client("git/status", workspace=work)["ahead"] == 0
    box.git(trusted, "clone", "-q", str(box.room / "bare.git"), str(box.room / "second"))
    second = box.room / "second"
    (second / "new").write_text("new\n")
    box.git(second, "add", "new")
    box.commit(second, "from elsewhere")
    box.git(second, "push", "-q")
    assert client("git/pull", workspace=work)["exitCode"] == 0
    assert (trusted / "new").exists()


def test_a_failure_comes_back_with_its_words(client: Client, box: Box, trusted: Path) -> None:
    done = client("git/commit", workspace=str(trusted), message="nothing is staged")
    assert done["exitCode"] != 0
    hook = trusted / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho not today >&2; exit 3\n")
    hook.chmod(0o755)
    (trusted / "x").write_text("x\n")
    client("git/add", workspace=str(trusted), paths=["x"])
    done = client("git/commit", workspace=str(trusted), message="x")
    assert done["exitCode"] != 0
    assert "not today" in done["stderr"]
    for path in ("", "/etc/passwd", str(trusted / "x")):  # git would take the first as all, the others as nothing
        assert client.refused("git/add", workspace=str(trusted), paths=[path]).data["key"] == "paths"
    for key, name in (("name", "-f"), ("from", "-d")):
        params = {"workspace": str(trusted), "name": "new", "from": "HEAD", key: name}
        assert client.refused("git/branch", **params).data["key"] == key


def test_branches_and_a_reset_that_can_be_undone(client: Client, box: Box, trusted: Path) -> None:
    work = str(trusted)
    assert client("git/branch", workspace=work, name="feature")["exitCode"] == 0
    assert client("git/checkout", workspace=work, branch="feature")["exitCode"] == 0
    assert client.refused("git/checkout", workspace=work, branch="--detach").code == -32602
    (trusted / "readme").write_text("precious\n")
    box.git(trusted, "add", "readme")
    assert client.refused("git/reset", workspace=work).data == {"kind": "confirmationRequired"}
    assert (trusted / "readme").exists()
    done = client("git/reset", workspace=work, confirm=True)
    assert done["exitCode"] == 0, done
    assert not (trusted / "readme").exists()
    assert "git stash" in done["stdout"]


def test_a_branch_of_a_remote_is_checked_out_as_one_that_follows_it(client: Client, box: Box, trusted: Path) -> None:
    work = str(trusted)
    for name in ("topic", "deep/topic"):
        box.git(box.room / "bare.git", "branch", name)
    box.git(trusted, "fetch", "-q")
    for name in ("topic", "deep/topic"):
        assert client("git/checkout", workspace=work, branch=f"origin/{name}")["exitCode"] == 0
        status = client("git/status", workspace=work)
        assert (status["branch"], status["upstream"], status["detached"]) == (name, f"origin/{name}", False)
    again = client("git/checkout", workspace=work, branch="origin/topic")
    assert again["exitCode"] != 0
    assert "already exists" in again["stderr"]
    assert client("git/status", workspace=work)["branch"] == "deep/topic"
    box.git(trusted, "branch", "origin/deep/topic", "main")  # a local one of that name comes first
    assert client("git/checkout", workspace=work, branch="origin/deep/topic")["exitCode"] == 0
    assert client("git/status", workspace=work)["branch"] == "origin/deep/topic"


def test_an_untrusted_folder_is_refused(client: Client, cloned: Path) -> None:
    error = client.refused("git/push", workspace=str(cloned))
    assert (error.code, error.data["path"]) == (1014, str(cloned))


def test_while_a_loop_runs_only_by_force(client: Client, box: Box, trusted: Path) -> None:
    gate = box.gate()
    run = client("start", workspace=str(trusted), prompt="x", config=shell(f"read x < {gate.path}"))["runId"]
    assert client.refused("git/pull", workspace=str(trusted)).data["runId"] == run
    assert client("git/pull", workspace=str(trusted), force=True)["exitCode"] == 0
    client("cancel", runId=run)


def test_clone(client: Client, box: Box) -> None:
    origin = box.repo("origin")
    target = box.folder_of("here")
    token = "clone-progress"
    repo = client.request("ralph/repos/add", {"url": origin.as_uri(), "directory": str(target), "workDoneToken": token})
    assert (repo["path"], repo["git"], repo["cloneUrl"]) == (str(target / "origin"), True, origin.as_uri())
    listed = [r["repoId"] for r in client("repos/list")["repos"] if r["path"].startswith(str(box.room))]
    assert listed == [repo["repoId"]]
    again = client.refused("repos/add", url=origin.as_uri(), directory=str(target))
    assert again.code == -32602
    for url in ("ext::sh -c touch% /tmp/x", "--upload-pack=touch", "fd::3", "../origin"):
        assert client.refused("repos/add", url=url, directory=str(target)).code == -32602
    error = client.refused("repos/add", url="http://user:secret@127.0.0.1:9/x.git", directory=str(target))
    assert error.code == 1006
    assert "secret" not in str(error.data) + str(error)
    assert [path.name for path in target.iterdir()] == ["origin"]


def test_a_bare_repository_is_not_written(client: Client, box: Box, cloned: Path) -> None:
    error = client.refused("git/branch", workspace=str(box.room / "bare.git"), name="other")
    assert error.code == 1005 and "is a bare repository" in error.message


def test_half_a_clone_of_a_killed_helper_is_cleared_away_by_the_next(shared: Box) -> None:
    client, target = shared.client(), shared.folder_of("here")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(20)
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x.git"
        client.send("ralph/repos/add", {"url": url, "directory": str(target)})
        connection, _ = silent.accept()
        with connection:
            (partial,) = target.iterdir()
            assert partial.name.startswith(".x.clone_")
            shared.kill_helper()
            assert [command for command in shared.processes().values() if " clone " in command], "git goes on"
            client = shared.client()
            assert list(target.iterdir()) == []
            assert not [command for command in shared.processes().values() if " clone " in command]
    origin = shared.repo("origin")
    assert client("repos/add", url=origin.as_uri(), directory=str(target))["path"] == str(target / "origin")
    assert list((shared.data / "clones").iterdir()) == []


def commits(box: Box, repo: Path) -> list[str]:
    return box.git(repo, "log", "--format=%s").splitlines()


def auto(script: str, **config: Any) -> dict[str, Any]:
    return {**shell(script), "autoCommit": True, "maxIterations": 1, **config}


def test_auto_commit_takes_what_the_iteration_changed(client: Client, box: Box, cloned: Path) -> None:
    (cloned / "mine.txt").write_text("the user's\n")
    (cloned / "staged.txt").write_text("staged\n")
    box.git(cloned, "add", "staged.txt")
    script = "echo agent >> mine.txt; echo new > new.txt; git rm -q README* 2>/dev/null; true"
    run = client("start", workspace=str(cloned), prompt="Do the work", config=auto(script))["runId"]
    client.settled(run)
    assert commits(box, cloned)[0] == "Ralph Loop, iteration 1: Do the work"
    assert "new.txt" in box.git(cloned, "show", "--name-only", "--format=")
    assert box.git(cloned, "status", "--short", "mine.txt", "staged.txt") == "A  staged.txt\n?? mine.txt\n"
    notes = client("output", runId=run)["chunks"]
    assert "mine.txt" in "".join(chunk["text"] for chunk in notes if chunk["stream"] == "system")


def test_changes_in_a_submodule_are_told_and_not_committed(client: Client, box: Box, cloned: Path) -> None:
    other = box.repo("other")
    box.git(cloned, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(other), "lib/sub")
    box.commit(cloned, "a submodule")
    script = "echo x > lib/sub/x.txt; echo new > new.txt"
    run = client("start", workspace=str(cloned), prompt="Do the work", config=auto(script))["runId"]
    client.settled(run)
    assert box.git(cloned, "show", "--name-only", "--format=").split() == ["new.txt"]
    assert box.git(cloned, "status", "--short", "--ignore-submodules=none") == " ? lib/sub\n"
    notes = "".join(c["text"] for c in client("output", runId=run)["chunks"] if c["stream"] == "system")
    assert "repositories of their own: lib/sub." in notes


def test_a_failing_hook_is_an_error_of_the_iteration(client: Client, box: Box, cloned: Path) -> None:
    hook = cloned / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho tests fail >&2; exit 1\n")
    hook.chmod(0o755)
    run = client("start", workspace=str(cloned), prompt="x", config=auto("echo $1 > n.txt", maxIterations=2))["runId"]
    assert client.settled(run)["stopReason"] == "maxIterations"
    records = client("history", runId=run)["iterations"]
    assert [record["status"] for record in records] == ["completed", "completed"]
    assert "tests fail" in "".join(records[0]["errors"])


def test_what_could_not_be_committed_goes_into_the_next_commit(client: Client, box: Box, cloned: Path) -> None:
    """A hook that failed, an iteration that was interrupted; not what the user changed since."""
    hook = cloned / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ntest -e ok.txt\n")
    hook.chmod(0o755)
    script = "echo $1 >> a.txt; echo $1 > $1.txt; [ $1 = 2 ] && { echo at; exec sleep 60; }; [ $1 = 3 ] && touch ok.txt"
    config = auto(f"{script}; true", maxIterations=2)
    run = client("start", workspace=str(cloned), prompt="x", config=config)["runId"]
    client("subscribe", runId=run)
    client.wait_printed(run, "at")
    client("pause", runId=run, when="now")
    (cloned / "1.txt").write_text("the user's\n")
    client("resume", runId=run)
    assert client.settled(run)["stopReason"] == "maxIterations"
    assert sorted(box.git(cloned, "show", "--name-only", "--format=").split()) == ["2.txt", "3.txt", "a.txt", "ok.txt"]
    assert box.git(cloned, "status", "--short", "1.txt", "a.txt") == "?? 1.txt\n"


def test_what_a_killed_helper_left_is_not_committed_and_told(shared: Box) -> None:
    """Nobody can tell it from what the user did since."""
    repo = shared.repo()
    shared.git(repo, "config", "user.name", "Somebody")
    shared.git(repo, "config", "user.email", "somebody@localhost")
    client = shared.client(repo)
    script = "echo $1 > $1.txt; [ $1 = 1 ] && { echo at; exec sleep 60; }; true"
    run = client("start", workspace=str(repo), prompt="x", config=auto(script))["runId"]
    client("subscribe", runId=run)
    client.wait_printed(run, "at")
    shared.kill_helper()
    client.close()
    client = shared.client(repo)
    client("resume", runId=run)
    assert client.settled(run)["stopReason"] == "maxIterations"
    assert shared.git(repo, "show", "--name-only", "--format=").split() == ["2.txt"]
    assert shared.git(repo, "status", "--short", "1.txt") == "?? 1.txt\n"
    notes = "".join(c["text"] for c in client("output", runId=run)["chunks"] if c["stream"] == "system")
    assert "what iteration 1 changed before it was cut short" in notes
    assert "left to you: 1.txt." in notes


def test_a_hook_that_never_ends_does_not_hold_up_a_cancel(client: Client, box: Box, cloned: Path) -> None:
    hook = cloned / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ntrap '' TERM\ntouch .git/at\nsleep 1000\n")
    hook.chmod(0o755)
    script = "echo x > x.txt; echo '<promise>COMPLETE</promise>'"
    run = client("start", workspace=str(cloned), prompt="x", config=auto(script))["runId"]
    until((cloned / ".git/at").exists, "the hook runs")
    assert client("cancel", runId=run)["status"] == "cancelled"
    (record,) = client("history", runId=run)["iterations"]
    assert "stopped, as the loop was ended" in record["errors"][0] and record["promise"] == "completion"
    assert box.git(cloned, "status", "--short", "x.txt") == "?? x.txt\n"


def test_a_hook_of_a_killed_helper_is_ended_by_the_next(shared: Box) -> None:
    repo = shared.repo()
    shared.git(repo, "config", "user.name", "Somebody")
    shared.git(repo, "config", "user.email", "somebody@localhost")
    hook = repo / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho $$ > .git/at.tmp; mv .git/at.tmp .git/at\nexec sleep 1000\n")
    hook.chmod(0o755)
    client = shared.client(repo)
    run = client("start", workspace=str(repo), prompt="x", config=auto("echo x > x.txt"))["runId"]
    until((repo / ".git/at").exists, "the hook runs")
    shared.kill_helper()
    client.close()
    client = shared.client(repo)
    assert client("status", runId=run)["status"] == "interrupted"
    pid = int((repo / ".git/at").read_text())
    until(lambda: not shared.alive(pid), "the hook is gone")


def test_auto_commit_after_an_approval(client: Client, box: Box, cloned: Path) -> None:
    before = commits(box, cloned)
    config = auto("echo 1 > a.txt; echo 2 > b.txt", planMode=True)
    run = client("start", workspace=str(cloned), prompt="Plan it", config=config)["runId"]
    client.settled(run, "awaiting_approval")
    assert commits(box, cloned) == before
    ids = {o["path"]: o["operationId"] for o in client("plan/staged", runId=run)["operations"]}
    client("plan/approve", runId=run, operationIds=[ids["a.txt"]])
    client("plan/reject", runId=run)
    client.settled(run)
    assert commits(box, cloned) == ["Ralph Loop, iteration 1: Plan it", *before]
    assert box.git(cloned, "show", "--name-only", "--format=").split() == ["a.txt"]
