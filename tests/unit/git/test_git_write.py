"""Changing a repository on demand: the real git, real remotes, and nothing that waits for a person."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ralph_loop.git import write
from ralph_loop.git.command import TIMED_OUT, GitMissingError, environment
from ralph_loop.git.command import Git as Command
from ralph_loop.git.locate import locate
from ralph_loop.git.snapshot import SnapshotStore
from ralph_loop.git.write import BadNameError

Git = Callable[..., bytes]
Env = dict[str, str]


@pytest.fixture
def command(repo: Path, env: Env) -> Command:
    return Command.of(locate(repo), env)


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


async def test_add_and_commit(repo: Path, command: Command, git: Git) -> None:
    for name in ("*", ":x", "-n", "b c\n", "\udcff"):
        (repo / name).write_text("x\n")
    (repo / "a.txt").unlink()
    assert (await write.add(command, ["*", ":x", "-n", "b c\n", "\udcff", "a.txt"])).exit_code == 0
    assert git(repo, "diff", "--cached", "--name-only", "-z").split(b"\0")[:-1] == [
        b"*", b"-n", b":x", b"a.txt", b"b c\n", b"\xff",
    ]  # fmt: skip
    done = await write.commit(command, "-m option\n\n#not a comment $(id) é\n")
    assert done.exit_code == 0 and "-m option" in done.stdout
    assert git(repo, "log", "-1", "--format=%B").decode() == "-m option\n\n#not a comment $(id) é\n\n"
    missing = await write.add(command, ["nowhere"])
    assert missing.exit_code == 128 and "nowhere" in missing.stderr
    nothing = await write.commit(command, "x" * 300_000)
    assert nothing.exit_code == 1 and "nothing" in nothing.stdout


async def test_hooks_of_the_user_run_for_their_commit_only(repo: Path, command: Command, git: Git) -> None:
    hooks = repo / ".git" / "hooks"
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        script(hooks / name, f"echo {name} >> {repo}/.git/ran")
    git(repo, "config", "core.fsmonitor", str(script(repo / ".git" / "monitor", f"echo monitor >> {repo}/.git/ran")))
    (repo / "a.txt").write_text("x\n")
    for done in (
        await write.add(command, ["a.txt"]),
        await write.branch(command, "other"),
        await write.checkout(command, "other"),
        await write.reset(command, locate(repo)),
    ):
        assert done.exit_code == 0, done
    assert not (repo / ".git" / "ran").exists()
    script(hooks / "pre-commit", "echo refused by the hook >&2; exit 1")
    (repo / "a.txt").write_text("y\n")
    await write.add(command, ["a.txt"])
    done = await write.commit(command, "x")
    assert (done.exit_code, "refused by the hook" in done.stderr) == (1, True)


async def test_pull_and_push(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo), "remote.git")
    for name in ("one", "two"):
        git(tmp_path, "clone", "-q", str(tmp_path / "remote.git"), name)
    one, two = (Command.of(locate(tmp_path / name), env) for name in ("one", "two"))
    (tmp_path / "one" / "a.txt").write_text("one\n")
    git(tmp_path / "one", "commit", "-qam", "one")
    assert (await write.push(one)).exit_code == 0
    git(tmp_path / "two", "commit", "-q", "--allow-empty", "-m", "two")
    refused = await write.push(two)
    assert refused.exit_code == 1 and "rejected" in refused.stderr
    git(tmp_path / "two", "config", "pull.rebase", "false")
    assert (await write.pull(two)).exit_code == 0
    assert (tmp_path / "two" / "a.txt").read_text() == "one\n"
    script(tmp_path / "remote.git" / "hooks" / "pre-receive", "echo no pushes today >&2; exit 1")
    rejected = await write.push(two)
    assert rejected.exit_code == 1 and "no pushes today" in rejected.stderr
    (tmp_path / "one" / "a.txt").write_text("mine\n")
    script(tmp_path / "remote.git" / "hooks" / "pre-receive", "exit 0")
    (tmp_path / "two" / "a.txt").write_text("theirs\n")
    git(tmp_path / "two", "commit", "-qam", "theirs")
    assert (await write.push(two)).exit_code == 0
    git(tmp_path / "one", "commit", "-qam", "mine")
    git(tmp_path / "one", "config", "pull.rebase", "false")
    conflict = await write.pull(one)
    assert conflict.exit_code == 1 and "CONFLICT" in conflict.stdout


async def test_checkout_and_branches(tmp_path: Path, repo: Path, command: Command, git: Git, env: Env) -> None:
    assert (await write.branch(command, "feature/é", "HEAD")).exit_code == 0
    assert (await write.checkout(command, "feature/é")).exit_code == 0
    assert git(repo, "branch", "--show-current").decode() == "feature/é\n"
    path = await write.checkout(command, "a.txt")
    assert path.exit_code == 128 and "a.txt" in path.stderr
    (repo / "a.txt").write_text("keep\n")
    for name in ("-f", "--force", "-", "--orphan"):
        with pytest.raises(BadNameError):
            await write.checkout(command, name)
        with pytest.raises(BadNameError):
            await write.branch(command, name)
        with pytest.raises(BadNameError):
            await write.branch(command, "x", name)
        with pytest.raises(BadNameError):
            await write.reset(command, locate(repo), name)
    assert (repo / "a.txt").read_text() == "keep\n"
    assert (await write.branch(command, "a..b")).exit_code == 128
    git(tmp_path, "clone", "-q", str(repo), "clone")
    there = Command.of(locate(tmp_path / "clone"), env)
    assert (await write.checkout(there, "main")).exit_code == 0  # a branch only the remote has
    assert git(tmp_path / "clone", "rev-parse", "--abbrev-ref", "main@{upstream}") == b"origin/main\n"


async def test_a_reset_can_be_undone(tmp_path: Path, repo: Path, command: Command, git: Git, env: Env) -> None:
    (repo / "later").write_text("in the second commit\n")
    (repo / "folder").mkdir()
    (repo / "folder" / "file").write_text("in the second commit\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "second")
    git(repo, "tag", "target")
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    (repo / ".gitignore").write_text("later\n")
    (repo / "later").write_text("untracked, ignored, and in the way\n")
    (repo / "folder").write_text("untracked, in the place of a folder\n")
    (repo / "harmless").write_text("untracked\n")
    (repo / "a.txt").write_text("staged\n")
    git(repo, "add", "a.txt")
    (repo / "a.txt").write_text("staged\nnot staged\n")
    (repo / "dir" / "b.txt").unlink()
    (repo / "run.sh").chmod(0o755)
    store = SnapshotStore(tmp_path / "store", locate(repo), env)
    tree = store.take("before")

    def state() -> tuple[bytes, bytes, bytes, str]:
        found = git(repo, "status", "--porcelain=v2", "-z"), git(repo, "diff", "--cached"), git(repo, "diff")
        return *found, (repo / "later").read_text()

    known = state()
    done = await write.reset(command, locate(repo), "target")
    assert done.exit_code == 0
    assert (repo / "later").read_text() == "in the second commit\n"
    assert git(repo, "diff", "HEAD") == b"" and (repo / "harmless").exists()
    undo = done.stdout.splitlines()[-1].partition("To undo: ")[2]
    assert "&& git stash apply --index " in undo
    process = await asyncio.create_subprocess_shell(undo, cwd=repo, env=env)
    assert await process.wait() == 0
    assert state() == known
    assert store.take("after") == tree
    assert b"Ralph Loop: before reset" in git(repo, "stash", "list")


async def test_a_reset_leaves_what_is_in_submodules(tmp_path: Path, repo: Path, command: Command, git: Git) -> None:
    git(tmp_path, "clone", "-q", str(repo), "other")
    git(repo, "submodule", "add", "-q", str(tmp_path / "other"), "sub")
    git(repo, "commit", "-qm", "sub")
    git(repo, "config", "submodule.recurse", "true")
    (repo / "sub" / "a.txt").write_text("mine\n")
    assert (await write.reset(command, locate(repo))).exit_code == 0
    assert (repo / "sub" / "a.txt").read_text() == "mine\n"


async def test_a_reset_saves_what_git_was_told_to_take_as_unchanged(repo: Path, command: Command, git: Git) -> None:
    (repo / "empty.txt").touch()
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "second")
    git(repo, "update-index", "--assume-unchanged", "a.txt", "empty.txt")
    for name in ("a.txt", "empty.txt"):
        (repo / name).write_text("mine\n")
    done = await write.reset(command, locate(repo))
    assert done.exit_code == 0 and (repo / "a.txt").read_text() != "mine\n"
    undo = re.search(r"To undo: (.*) && (.*)", done.stdout)
    assert undo
    for line in undo.groups():
        git(repo, *line.split()[1:])
    assert [(repo / name).read_text() for name in ("a.txt", "empty.txt")] == ["mine\n", "mine\n"]


async def test_a_reset_that_git_refuses_says_where_it_is_kept(repo: Path, command: Command, git: Git) -> None:
    (repo / "a.txt").write_text("second\n")
    git(repo, "commit", "-qam", "second")
    git(repo, "update-index", "--skip-worktree", "a.txt")
    (repo / "a.txt").write_text("mine\n")
    done = await write.reset(command, locate(repo), "HEAD~1")
    assert done.exit_code == 128 and "not uptodate" in done.stderr
    assert "To undo" not in done.stdout and "stash" not in done.stdout
    (repo / "run.sh").write_text("changed\n")
    done = await write.reset(command, locate(repo), "HEAD~1")
    assert done.exit_code == 128 and "To undo" not in done.stdout
    kept = re.search(r"git stash apply --index (\w+)", done.stdout)
    assert kept and git(repo, "show", f"{kept[1]}:run.sh") == b"changed\n"
    assert ((repo / "a.txt").read_text(), (repo / "run.sh").read_text()) == ("mine\n", "changed\n")


async def test_a_checkout_overwrites_no_ignored_file(repo: Path, command: Command, git: Git) -> None:
    git(repo, "checkout", "-q", "-b", "other")
    (repo / ".env").write_text("theirs\n")
    git(repo, "add", ".env")
    git(repo, "commit", "-qm", "other")
    git(repo, "checkout", "-q", "main")
    (repo / ".git" / "info" / "exclude").write_text(".env\n")
    (repo / ".env").write_text("mine\n")
    done = await write.checkout(command, "other")
    assert done.exit_code == 1 and ".env" in done.stderr
    assert (repo / ".env").read_text() == "mine\n"


async def test_a_reset_of_nothing_and_in_a_conflict(repo: Path, command: Command, git: Git) -> None:
    head = git(repo, "rev-parse", "HEAD").decode().strip()
    done = await write.reset(command, locate(repo))
    assert done.stdout.endswith(f"To undo: git reset --hard {head}\n") and git(repo, "stash", "list") == b""
    unknown = await write.reset(command, locate(repo), "no-such")
    assert unknown.exit_code == 128 and unknown.stderr
    git(repo, "checkout", "-q", "-b", "other")
    (repo / "a.txt").write_text("other\n")
    git(repo, "commit", "-qam", "other")
    git(repo, "checkout", "-q", "main")
    (repo / "a.txt").write_text("main\n")
    git(repo, "commit", "-qam", "main")
    git(repo, "merge", "other", check=False)
    (repo / "a.txt").write_text("half resolved\n")
    done = await write.reset(command, locate(repo))
    assert done.exit_code == 0
    other = git(repo, "rev-parse", "other").decode().strip()
    assert f"The merge that was going on was ended. To begin it again: git merge {other}\n" in done.stdout
    assert (repo / "a.txt").read_text() == "main\n"
    git(repo, "stash", "pop")
    assert (repo / "a.txt").read_text() == "half resolved\n"


async def test_clone_with_progress(tmp_path: Path, repo: Path, env: Env) -> None:
    told: list[tuple[str, int | None]] = []

    def on_progress(text: str, percent: int | None) -> None:
        told.append((text, percent))

    with pytest.raises(FileNotFoundError):
        await write.clone(f"file://{repo}", tmp_path / "in", tmp_path / "in" / ".part", env)
    (tmp_path / "in").mkdir()
    folder, done = await write.clone(f"file://{repo}", tmp_path / "in", tmp_path / "in" / ".part", env, on_progress)
    assert (done.exit_code, folder) == (0, tmp_path / "in" / "repo")
    assert (folder / "dir" / "b.txt").read_text() == "b\n"
    assert ("Receiving objects: 100%" in told[-1][0] or any(one[1] == 100 for one in told)) and told
    assert list((tmp_path / "in").iterdir()) == [folder]
    with pytest.raises(BadNameError, match="exists already"):
        await write.clone(f"file://{repo}", tmp_path / "in", tmp_path / "in" / ".part", env)


async def test_a_cancel_comes_too_late_for_a_clone_that_is_there(
    tmp_path: Path, repo: Path, env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, rename = threading.Event(), threading.Event(), Path.rename

    def slowly(path: Path, target: Path) -> Path:
        begun.set()
        go_on.wait()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", slowly)
    (tmp_path / "in").mkdir()
    work = asyncio.create_task(write.clone(f"file://{repo}", tmp_path / "in", tmp_path / "in" / ".part", env))
    await asyncio.to_thread(begun.wait)
    work.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    folder, done = await work
    assert (done.exit_code, list((tmp_path / "in").iterdir())) == (0, [folder])
    assert (folder / "a.txt").exists()


async def test_of_two_clones_at_once_the_faster_one_stays(tmp_path: Path, repo: Path, env: Env) -> None:
    (tmp_path / "in").mkdir()
    both = (write.clone(f"file://{repo}", tmp_path / "in", tmp_path / "in" / f".{n}", env) for n in "ab")
    found = sorted(await asyncio.gather(*both, return_exceptions=True), key=lambda one: isinstance(one, Exception))
    assert isinstance(found[1], BadNameError) and "exists already" in str(found[1])
    assert list((tmp_path / "in").iterdir()) == [tmp_path / "in" / "repo"]


@pytest.mark.parametrize("url", ["ext::sh -c touch% ran", "--upload-pack=touch ran", "file:///no/such/repo"])
async def test_clones_that_fail_leave_nothing(tmp_path: Path, env: Env, url: str) -> None:
    (tmp_path / "in").mkdir()
    _, done = await write.clone(url, tmp_path / "in", tmp_path / "in" / ".part", env)
    assert done.exit_code != 0 and done.stderr
    assert list((tmp_path / "in").iterdir()) == []


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.com/a/repo.git", "repo"),
        ("https://example.com/a/repo/", "repo"),
        ("git@example.com:a/repo.git", "repo"),
        ("git@example.com:repo", "repo"),
        ("ssh://git@example.com:22/a/b.c.git/", "b.c"),
        ("/srv/some repo/.git", "some repo"),
        ("https://example.com/my%20repo", "my repo"),
    ],
)
def test_names_of_clones(url: str, name: str) -> None:
    assert write.clone_name(url) == name


@pytest.mark.parametrize("url", ["https://example.com", "https://example.com/..", "", "https://example.com/%2F", "a\n"])
def test_urls_without_a_name(url: str) -> None:
    if url == "a\n":
        assert write.clone_name(url) == "a"
        return
    with pytest.raises(BadNameError):
        write.clone_name(url)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host/x", "https://host/x"),
        ("https://user:sec@ret@host/x", "https://host/x"),
        ("https://user:sec'ret\"@host/x", "https://host/x"),
        ("ssh://user:sec@ret@host/x", "ssh://user@host/x"),
        ("https://host/a@b and https://token@host/c", "https://host/a@b and https://host/c"),
        ("a-" * 500_000, "a-" * 500_000),  # in a moment, not in minutes
    ],
    ids=range(6),
)
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert write.without_passwords(text) == shown


async def test_a_password_is_never_asked_for(tmp_path: Path, env: Env) -> None:
    """A server that wants credentials, with programs around that would ask a person for them."""
    asked = script(tmp_path / "ask", f"touch {tmp_path}/asked; echo secret")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n'
            b"Connection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asking = {"GIT_ASKPASS": str(asked), "SSH_ASKPASS": str(asked), "DISPLAY": ":0", "no_proxy": "*"}
    _, done = await write.clone(
        f"http://some-token@127.0.0.1:{port}/x.git", tmp_path, tmp_path / ".part", {**env, **asking}
    )
    server.close()
    assert done.exit_code == 128 and "terminal prompts disabled" in done.stderr
    assert "some-token" not in done.stderr
    assert not (tmp_path / "asked").exists()


async def test_a_remote_that_never_answers(tmp_path: Path, repo: Path, env: Env, git: Git) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"git://127.0.0.1:{silent.getsockname()[1]}/x.git"
        _, done = await write.clone(url, tmp_path, tmp_path / ".part", env, time_limit=0.5)
        assert done.exit_code == TIMED_OUT and "did not finish within 0.5 s" in done.stderr
        git(repo, "remote", "add", "origin", url)
        git(repo, "config", "push.default", "current")
        started = time.monotonic()
        pushing = asyncio.create_task(write.push(Command.of(locate(repo), env)))
        silent.settimeout(10)
        connection, _ = await asyncio.to_thread(silent.accept)
        connection2, _ = await asyncio.to_thread(silent.accept)
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        assert time.monotonic() - started < 30
        for one in (connection, connection2):
            one.settimeout(10)
            while await asyncio.to_thread(one.recv, 4096):
                pass  # until the other side is closed: nothing of it runs any more
            one.close()
    assert not await asyncio.to_thread(lambda: list(tmp_path.glob(".x*")))


@pytest.mark.parametrize("while_starting", [False, True])
async def test_a_cancelled_command_ends_with_all_it_started(
    repo: Path, command: Command, git: Git, monkeypatch: pytest.MonkeyPatch, while_starting: bool
) -> None:
    monkeypatch.setattr("ralph_loop.git.command.GRACE", 0.1)
    go_on = asyncio.Event()
    start = asyncio.create_subprocess_exec

    async def slowly(*args: Any, **options: Any) -> asyncio.subprocess.Process:
        process = await start(*args, **options)
        await go_on.wait()
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", slowly)
    if not while_starting:
        go_on.set()
    fifo = repo / ".git" / "fifo"
    os.mkfifo(fifo)
    script(
        repo / ".git" / "hooks" / "pre-commit",
        f"trap '' TERM; (trap '' TERM; sleep 1000) & echo $! > {fifo}; wait; wait",
    )
    (repo / "a.txt").write_text("x\n")
    git(repo, "add", ".")
    committing = asyncio.create_task(write.commit(command, "x"))
    child = int(await asyncio.to_thread(fifo.read_text))
    committing.cancel()
    asyncio.get_running_loop().call_soon(go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await committing
    await asyncio.to_thread(wait_for_end, child)


def wait_for_end(process: int) -> None:
    """Returns when a process of somebody else's has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {process} still runs")


async def test_a_hook_that_leaves_something_running_does_not_hang(repo: Path, command: Command, git: Git) -> None:
    script(repo / ".git" / "hooks" / "post-commit", f"sleep 60 & echo $! > {repo}/.git/child")
    (repo / "a.txt").write_text("x\n")
    git(repo, "add", ".")
    started = time.monotonic()
    assert (await write.commit(command, "x")).exit_code == 0
    assert time.monotonic() - started < 30
    os.kill(int((repo / ".git" / "child").read_text()), 9)


async def test_output_is_streamed_and_bounded(repo: Path, env: Env, git: Git) -> None:
    script(repo / ".git" / "hooks" / "pre-commit", "head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2")
    (repo / "a.txt").write_text("x\n")
    git(repo, "add", ".")
    seen = {"stdout": 0, "stderr": 0}

    def on_output(stream: str, data: bytes) -> None:
        seen[stream] += len(data)

    done = await write.commit(Command.of(locate(repo), env, on_output=on_output), "x")
    assert done.exit_code == 0 and "end" in done.stderr
    assert sum(seen.values()) > 3_000_000 and len(done.stdout) + len(done.stderr) <= 2 * 1024 * 1024 + 10


async def test_without_git(repo: Path) -> None:
    with pytest.raises(GitMissingError, match="PATH"):
        await write.push(Command.of(locate(repo), {"PATH": "/nowhere"}))


def test_the_environment(repo: Path, git: Git) -> None:
    given = {"HOME": "/h", "GIT_DIR": "x", "GIT_ASKPASS": "x", "VSCODE_GIT_ASKPASS_NODE": "x", "SSH_ASKPASS": "x"}
    made = environment(given)
    assert made["HOME"] == "/h" and made["GIT_ASKPASS"] == "" and made["GIT_TERMINAL_PROMPT"] == "0"
    assert made["GIT_ALLOW_PROTOCOL"] == "https:http:ssh:git:file"
    assert not {"GIT_DIR", "VSCODE_GIT_ASKPASS_NODE", "SSH_ASKPASS"} & made.keys()
    assert made["GIT_SSH_COMMAND"] == "ssh -o BatchMode=yes"
    assert environment({"GIT_SSH_COMMAND": "ssh -i k"})["GIT_SSH_COMMAND"] == "ssh -i k -o BatchMode=yes"
    assert "GIT_SSH_COMMAND" not in environment({"GIT_SSH": "/usr/bin/plink"})
    git(repo, "config", "core.sshCommand", "ssh -F mine")
    assert environment({}, locate(repo))["GIT_SSH_COMMAND"] == "ssh -F mine -o BatchMode=yes"
