"""What is told of a repository, whichever way it is read: by libgit2 (read.py, diffs.py) or by git (cliread.py)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta

import attrs

from ralph_loop.git.locate import Place
from ralph_loop.git.snapshot import SnapshotStore
from ralph_loop.protocol import Change, Commit, GitLog, GitStatus

MAX_LISTED = 5000
"""More changes of one kind than this are not listed: an answer has its limits (PROTOCOL.md)."""

MAX_PATCH = 2 * 1024 * 1024
"""Files whose patch would make all of it longer are left out, and a last line says how many: bytes."""

MAX_MESSAGE = 64 * 1024
"""Longer subjects and bodies of commits are cut: characters."""
MAX_LOG = 512 * 1024
"""A page of the log ends before its messages are longer: characters."""

HEADS, REMOTES = "refs/heads/", "refs/remotes/"
# What a git directory holds while something is going on (gitrepository-layout(5), and git's own wt-status.c).
_OPERATIONS = (
    ("rebase-merge", "rebase"),
    ("rebase-apply/applying", "am"),
    ("rebase-apply", "rebase"),
    ("MERGE_HEAD", "merge"),
    ("CHERRY_PICK_HEAD", "cherry-pick"),
    ("REVERT_HEAD", "revert"),
    ("BISECT_LOG", "bisect"),
)


@attrs.frozen
class Head:
    """Where HEAD is."""

    branch: str | None
    sha: str | None
    upstream: str | None = None
    ahead: int = 0
    behind: int = 0


@attrs.frozen
class Recorded:
    """A side of a diff: a tree of a snapshot store."""

    store: SnapshotStore
    tree: str


Side = str | Recorded
"""`worktree`, `index`, `HEAD`, a revision as git writes them, or a recorded tree."""


def status(
    place: Place,
    at: Head,
    staged: list[Change],
    unstaged: list[Change],
    untracked: list[str],
    conflicts: list[str],
) -> GitStatus:
    """What `git status` tells of a repository whose HEAD is there."""
    return GitStatus(
        branch=at.branch,
        detached=at.branch is None,
        unborn=at.sha is None,
        head=at.sha,
        upstream=at.upstream,
        ahead=at.ahead,
        behind=at.behind,
        operation=operation(place),
        staged=staged,
        unstaged=unstaged,
        untracked=untracked,
        conflicts=conflicts,
    )


def operation(place: Place) -> str | None:
    """What is going on in the working tree: merge, rebase, am, cherry-pick, revert, bisect."""
    assert place.git_dir is not None
    for name, told in _OPERATIONS:
        if os.path.lexists(place.git_dir / name):
            return told
    return None


def commit(
    sha: str, parents: list[str], name: bytes, email: bytes, seconds: int, text: bytes, encoding: str | None
) -> Commit:
    """A commit from what it holds. `seconds` are those since 1970, of its author."""
    message = _decoded(text, encoding).strip("\n")
    subject, _, body = message.partition("\n\n")
    return Commit(
        sha=sha,
        parents=parents,
        author=_cut(_decoded(name, encoding)),
        email=_cut(_decoded(email, encoding)),
        at=_time(seconds),
        subject=_cut(" ".join(subject.split("\n"))),
        body=_cut(body.strip("\n")),
    )


def _cut(text: str) -> str:
    return text if len(text) <= MAX_MESSAGE else f"{text[:MAX_MESSAGE]}…"


def log_page(commits: Iterable[Commit], limit: int) -> GitLog:
    """At most `limit` commits and what an answer can hold, one at least; the next page begins after the last."""
    page: list[Commit] = []
    size = 0
    for commit in commits:
        size += len(commit.subject) + len(commit.body)
        if len(page) == limit or (page and size > MAX_LOG):
            return GitLog(commits=page, more=True)
        page.append(commit)
    return GitLog(commits=page, more=False)


def short(reference: str | None) -> str | None:
    """A reference as people write it: `origin/main`."""
    return None if reference is None else shown(reference.removeprefix(HEADS).removeprefix(REMOTES))


def shown(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")


def limited_patch(files: Iterator[bytes]) -> str:
    """The patches of files as one text of at most MAX_PATCH bytes."""
    parts: list[str] = []
    size = left_out = 0
    for data in files:
        if size + len(data) > MAX_PATCH:
            left_out += 1
            continue
        size += len(data)
        parts.append(data.decode(errors="replace"))
    if left_out:
        parts.append(f"# {left_out} more files: their patches are too long to be shown here.\n")
    return "".join(parts)


def _decoded(data: bytes, encoding: str | None) -> str:
    try:
        return data.decode(encoding or "utf-8", "replace")
    except LookupError:  # an encoding nobody knows
        return data.decode("utf-8", "replace")


def _time(seconds: int) -> str:
    """RFC 3339; a time that has no year of four digits (anything can stand in a commit) as the nearest that has."""
    start = datetime(1970, 1, 1, tzinfo=UTC)
    low, high = datetime(1, 1, 1, tzinfo=UTC) - start, datetime(9999, 12, 31, tzinfo=UTC) - start
    at = start + min(max(timedelta(seconds=max(min(seconds, 2**40), -(2**40))), low), high)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
