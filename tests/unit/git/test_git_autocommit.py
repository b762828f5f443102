"""Auto-commit: exactly what the iteration changed, over trees with anything lying around."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from ralph_loop.git import read
from ralph_loop.git.autocommit import AutoCommit, auto_commit
from ralph_loop.git.command import Git as Command
from ralph_loop.git.locate import locate
from ralph_loop.git.snapshot import SnapshotStore

Git = Callable[..., bytes]
Env = dict[str, str]
Iterate = Callable[[Callable[[], object]], AutoCommit]


@pytest.fixture
def iterate(tmp_path: Path, repo: Path, env: Env) -> Iterate:
    """An iteration of a loop: work by an agent, then the auto-commit. (It runs its own event loop.)"""
    place = locate(repo)
    store = SnapshotStore(tmp_path / "store", place, env)

    def run(work: Callable[[], object]) -> AutoCommit:
        dirty = read.dirty(place, env)
        before = store.take("before", fresh=True)
        work()
        changes = store.changes(before, store.take("after"), limit=1_000_000).files
        return asyncio.run(auto_commit(Command.of(place, env), place, changes, dirty, "work of the agent"))

    return run


def names(git: Git, repo: Path, commit: str = "HEAD") -> dict[str, str]:
    fields = git(repo, "show", "--format=", "--name-status", "-z", "--no-renames", commit).decode().split("\0")
    return {path: kind for kind, path in zip(fields[::2], fields[1::2], strict=False)}


def test_everything_an_iteration_can_change(repo: Path, iterate: Iterate, git: Git) -> None:
    (repo / "old.txt").write_text("".join(f"{n}\n" for n in range(20)))
    (repo / "file").write_text("x\n")
    (repo / "folder").mkdir()
    (repo / "folder" / "f").write_text("x\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "second")

    def work() -> None:
        (repo / "a.txt").write_text("changed\n")
        (repo / "new").mkdir()
        (repo / "new" / "-f *\n").write_text("x\n")
        (repo / "old.txt").rename(repo / "moved.txt")
        git(repo, "rm", "-q", "dir/b.txt")
        (repo / "run.sh").chmod(0o755)
        (repo / "file").unlink()
        (repo / "file").mkdir()
        (repo / "file" / "inner").write_text("x\n")
        (repo / "folder" / "f").unlink()
        (repo / "folder").rmdir()
        (repo / "folder").symlink_to("a.txt")

    done = iterate(work)
    assert names(git, repo) == {
        "a.txt": "M", "new/-f *\n": "A", "old.txt": "D", "moved.txt": "A", "dir/b.txt": "D", "run.sh": "M",
        "file": "D", "file/inner": "A", "folder/f": "D", "folder": "A",
    }  # fmt: skip
    assert done.sha == git(repo, "rev-parse", "HEAD").decode().strip()
    assert (done.error, done.skipped, list(done.left), len(done.committed)) == (None, None, [], 10)
    assert git(repo, "status", "--porcelain") == b""
    assert git(repo, "log", "-1", "--format=%B %an").decode() == "work of the agent\n A U Thor\n"


def test_what_the_user_had_lying_around_stays(repo: Path, iterate: Iterate, git: Git) -> None:
    for name in ("staged", "half", "untracked"):
        (repo / name).write_text("1\n")
    git(repo, "add", "half")
    git(repo, "commit", "-qm", "half")
    (repo / "staged").write_text("staged\n")
    (repo / "half").write_text("staged\n")
    git(repo, "add", "staged", "half")
    (repo / "half").write_text("staged and not\n")
    (repo / "dir" / "b.txt").write_text("dirty\n")
    (repo / "intended").write_text("x\n")
    git(repo, "add", "-N", "intended")

    def index() -> bytes:
        return git(repo, "ls-files", "-s", "staged", "half", "untracked", "intended", "dir")

    known = index()

    def work() -> None:
        (repo / "a.txt").write_text("agent\n")
        (repo / "untracked").write_text("agent\n")
        (repo / "dir" / "b.txt").write_text("agent too\n")
        (repo / "new").write_text("agent\n")

    done = iterate(work)
    assert names(git, repo) == {"a.txt": "M", "new": "A"}
    assert list(done.left) == ["dir/b.txt", "untracked"]
    assert index() == known
    assert git(repo, "status", "--porcelain").decode().splitlines() == [
        " M dir/b.txt", "MM half", " A intended", "A  staged", "?? untracked",
    ]  # fmt: skip


def test_a_failing_hook_is_an_error_and_leaves_the_index(repo: Path, iterate: Iterate, git: Git) -> None:
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\necho lint failed >&2\nexit 1\n")
    hook.chmod(0o755)
    (repo / "file").write_text("x\n")
    git(repo, "add", "file")
    git(repo, "commit", "-qnm", "second")
    head, index = git(repo, "rev-parse", "HEAD"), git(repo, "ls-files", "-s")

    def work() -> None:
        (repo / "new").write_text("x\n")
        (repo / "a.txt").write_text("x\n")
        (repo / "file").unlink()
        (repo / "file").mkdir()
        (repo / "file" / "inner").write_text("x\n")

    done = iterate(work)
    assert done.sha is None and done.error is not None and "lint failed" in done.error
    assert (git(repo, "rev-parse", "HEAD"), git(repo, "ls-files", "-s")) == (head, index)
    assert (repo / "new").exists() and (repo / "a.txt").read_text() == "x\n"


def test_a_hook_may_change_the_files(repo: Path, iterate: Iterate, git: Git) -> None:
    """As formatters do. The hook sees the environment it is used to."""
    hook = repo / ".git" / "hooks" / "pre-commit"
    hook.write_text(
        "#!/bin/sh\nfor f in $(git diff --cached --name-only -- '*.txt'); do echo formatted >> $f; git add $f; done\n"
    )
    hook.chmod(0o755)
    iterate(lambda: (repo / "a.txt").write_text("x\n"))
    assert git(repo, "show", "HEAD:a.txt") == b"x\nformatted\n"
    assert git(repo, "status", "--porcelain") == b""


def test_what_the_agent_committed_itself(repo: Path, iterate: Iterate, git: Git) -> None:
    def work() -> None:
        (repo / "a.txt").write_text("agent\n")
        git(repo, "commit", "-qam", "by the agent")

    done = iterate(work)
    assert (done.sha, done.skipped) == (None, "nothing is left to commit")
    assert git(repo, "log", "-1", "--format=%s") == b"by the agent\n"

    def more() -> None:
        work()
        (repo / "a.txt").write_text("and more\n")

    (repo / "a.txt").write_text("x\n")
    git(repo, "commit", "-qam", "by the user")
    assert iterate(more).sha
    assert names(git, repo) == {"a.txt": "M"}


def test_the_first_commit(tmp_path: Path, git: Git, env: Env) -> None:
    git(tmp_path, "init", "-q", "repo2")
    repo = tmp_path / "repo2"
    for name in ("lying", "staged"):
        (repo / name).write_text("x\n")
    git(repo, "add", "staged")
    place = locate(repo)
    store = SnapshotStore(tmp_path / "store", place, env)
    dirty, before = read.dirty(place, env), store.take("before")
    (repo / "new").write_text("x\n")
    changes = store.changes(before, store.take("after")).files
    done = asyncio.run(auto_commit(Command.of(place, env), place, changes, dirty, "m"))
    assert done.sha and names(git, repo) == {"new": "A"}
    assert git(repo, "status", "--porcelain") == b"A  staged\n?? lying\n"


def test_not_in_a_merge_a_rebase_or_on_no_branch(repo: Path, iterate: Iterate, git: Git) -> None:
    git(repo, "checkout", "-q", "-b", "other")
    (repo / "a.txt").write_text("other\n")
    git(repo, "commit", "-qam", "other")
    git(repo, "checkout", "-q", "main")
    (repo / "a.txt").write_text("main\n")
    git(repo, "commit", "-qam", "main")
    for command, word in (("merge", "merge"), ("rebase", "rebase")):
        git(repo, command, "other", check=False)
        done = iterate(lambda: (repo / "new").write_text("x\n"))
        assert done.sha is None and done.skipped == f"a {word} is in progress"
        git(repo, command, "--abort")
        (repo / "new").unlink()
    git(repo, "checkout", "-q", "--detach")
    assert "detached" in (iterate(lambda: (repo / "new").write_text("x\n")).skipped or "")


def test_nested_repositories_and_ignored_files_are_left(repo: Path, iterate: Iterate, git: Git) -> None:
    (repo / ".gitignore").write_text(".ralph/\n")
    git(repo, "add", ".")
    git(repo, "commit", "-qm", "ignore")
    git(repo, "init", "-q", "nested")
    (repo / ".ralph").mkdir()
    (repo / ".ralph" / "ralph-tasks.md").write_text("- [ ] x\n")

    def work() -> None:
        (repo / "nested" / "f").write_text("x\n")
        (repo / ".ralph" / "ralph-tasks.md").write_text("- [x] x\n")
        (repo / "a.txt").write_text("x\n")

    assert list(iterate(work).committed) == ["a.txt"]
    assert names(git, repo) == {"a.txt": "M"}


def test_a_locked_index_is_an_error(repo: Path, iterate: Iterate) -> None:
    def work() -> None:
        (repo / "new").write_text("x\n")
        (repo / ".git" / "index.lock").write_bytes(b"")

    done = iterate(work)
    assert done.sha is None and done.error is not None and "index.lock" in done.error
