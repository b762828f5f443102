"""Reads the user's repository: status, log and branches, by libgit2 alone. Every function blocks: for threads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pygit2
from pygit2.enums import DeltaStatus, DiffOption, SortMode

from ralph_loop.git.changes import find_renames, listed, path_fields
from ralph_loop.git.indexfile import quickly_cached_tree
from ralph_loop.git.locate import Place
from ralph_loop.git.scratch import ReadError, open_user, reading, scratch
from ralph_loop.protocol import Branch, Change, Commit, GitBranches, GitLog, GitStatus

MAX_LISTED = 5000
"""More changes of one kind than this are not listed: an answer has its limits (PROTOCOL.md)."""

WORKTREE = (
    DiffOption.INCLUDE_UNTRACKED
    | DiffOption.RECURSE_UNTRACKED_DIRS
    | DiffOption.INCLUDE_TYPECHANGE
    | DiffOption.INCLUDE_UNREADABLE
)
_EMPTY = pygit2.Oid(hex="e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")  # what stands for the content of a file to come
_HEADS, _REMOTES = "refs/heads/", "refs/remotes/"
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


def status(place: Place, env: Mapping[str, str]) -> GitStatus:
    """What `git status` tells. `env` is the person's: their configuration counts. Raises ReadError."""
    with reading(place):
        at = _head(open_user(place))
        staged, unstaged, untracked, conflicts = _worktree(place, env, at.sha) if not place.bare else ([], [], [], [])
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


def head(place: Place) -> Head:
    """Where HEAD is. Raises ReadError."""
    with reading(place):
        return _head(open_user(place))


def dirty(place: Place, env: Mapping[str, str]) -> frozenset[bytes]:
    """Every path that is not as HEAD has it: staged, unstaged, untracked or in conflict. Raises ReadError."""
    with reading(place), scratch(place, env) as look:
        index = look.repo.index
        diffs = [index.diff_to_workdir(WORKTREE | DiffOption.SKIP_BINARY_CHECK)]
        diffs.append(index.diff_to_tree(look.tree(_head(open_user(place)).sha)))
        missing = {delta.new_file.raw_path for delta in diffs[0].deltas if delta.status == DeltaStatus.DELETED}
        sides = [side for diff in diffs for delta in diff.deltas for side in (delta.old_file, delta.new_file)]
        return frozenset(side.raw_path for side in sides) - (missing & look.hidden() if missing else missing)


def operation(place: Place) -> str | None:
    """What is going on in the working tree: merge, rebase, am, cherry-pick, revert, bisect."""
    assert place.git_dir is not None
    for name, told in _OPERATIONS:
        if os.path.lexists(place.git_dir / name):
            return told
    return None


def log(place: Place, limit: int = 50, before: str | None = None) -> GitLog:
    """Commits from HEAD, newest first; the next page begins after the commit `before`. Raises ReadError."""
    with reading(place):
        user = open_user(place)
        start = _head(user).sha
        if start is None:
            return GitLog(commits=[], more=False)
        walker = iter(user.walk(start, SortMode.TIME))
        last = None if before is None else _commit_id(place, user, before)
        if last is not None and not any(commit.id == last for commit in walker):
            walker = iter(user.walk(last, SortMode.TIME))  # history was rewritten since the last page
            next(walker)
        commits: list[Commit] = []
        for commit in walker:
            if len(commits) == limit:
                return GitLog(commits=commits, more=True)
            commits.append(_commit(commit))
        return GitLog(commits=commits, more=False)


def branches(place: Place) -> GitBranches:
    """Local branches, then those of remotes, by name. Raises ReadError."""
    with reading(place):
        user = open_user(place)
        current = _head(user).branch
        found: list[Branch] = []
        for raw in sorted(user.raw_listall_references()):
            name = os.fsdecode(raw)
            remote = name.startswith(_REMOTES)
            if not remote and not name.startswith(_HEADS):
                continue
            reference = user.references.get(name)
            if reference is None or isinstance(reference.target, str):  # gone just now; `origin/HEAD`
                continue
            short = name.removeprefix(_REMOTES if remote else _HEADS)
            found.append(
                Branch(
                    name=_shown(short),
                    remote=remote,
                    current=not remote and _shown(short) == current,
                    sha=str(reference.target),
                    upstream=None if remote else _short(_upstream(user, short)),
                )
            )
        return GitBranches(branches=found)


def _head(user: pygit2.Repository) -> Head:
    reference = user.references.get("HEAD")
    target = None if reference is None else reference.target
    if not isinstance(target, str):
        return Head(None, None if target is None else str(target))
    branch = target.removeprefix(_HEADS)
    tip = user.references.get(target)
    if tip is None:
        return Head(_shown(branch), None)
    sha = tip.resolve().target
    upstream = _upstream(user, branch)
    there = user.references.get(upstream) if upstream else None
    ahead, behind = user.ahead_behind(sha, there.resolve().target) if there else (0, 0)
    return Head(_shown(branch), str(sha), _short(upstream), ahead, behind)


def _upstream(user: pygit2.Repository, branch: str) -> str | None:
    """The reference that is configured as upstream, whether or not it is there: where fetching puts that branch."""
    try:
        remote, merge = user.config[f"branch.{branch}.remote"], user.config[f"branch.{branch}.merge"]
    except KeyError:
        return None
    if not remote or not merge:
        return None
    if remote == ".":
        return merge
    for spec in user.config.get_multivar(f"remote.{remote}.fetch"):
        source, _, target = (spec or "").removeprefix("+").partition(":")
        if source == merge and target:
            return target
        before, star, after = source.partition("*")
        fits = len(merge) >= len(before) + len(after) and merge.startswith(before) and merge.endswith(after)
        if star and target and fits:
            return target.replace("*", merge[len(before) : len(merge) - len(after)], 1)
    return None


def _short(reference: str | None) -> str | None:
    """A reference as people write it: `origin/main`."""
    return None if reference is None else _shown(reference.removeprefix(_HEADS).removeprefix(_REMOTES))


def _worktree(
    place: Place, env: Mapping[str, str], head: str | None
) -> tuple[list[Change], list[Change], list[str], list[str]]:
    with scratch(place, env) as look:
        repo, index, tree = look.repo, look.repo.index, look.tree(head)
        staged, intended = list[Change](), frozenset[bytes]()
        unstaged = index.diff_to_workdir(WORKTREE, 0)
        untracked, conflicts, missing = set[bytes](), set[bytes](), False
        for delta in unstaged.deltas:
            if delta.status == DeltaStatus.UNTRACKED:
                untracked.add(delta.new_file.raw_path)
            elif delta.status == DeltaStatus.CONFLICTED:
                conflicts.add(delta.new_file.raw_path)
            missing = missing or delta.status == DeltaStatus.DELETED
        hidden = look.hidden() if missing else frozenset[bytes]()
        if quickly_cached_tree(Path(repo.path, "index")) != tree.id.raw:
            diff = find_renames(repo, index.diff_to_tree(tree, DiffOption.INCLUDE_TYPECHANGE, 0))
            if any(delta.new_file.id == _EMPTY for delta in diff.deltas):
                intended = look.intended()
            staged = listed(repo, diff, MAX_LISTED, without=conflicts | intended).files
        files = listed(repo, unstaged, MAX_LISTED, without=untracked | conflicts | hidden).files
        return (
            staged,
            [attrs.evolve(one, kind="create") if one.path.encode() in intended else one for one in files],
            [path_fields(path)[0] for path in sorted(untracked)][:MAX_LISTED],
            [path_fields(path)[0] for path in sorted(conflicts)][:MAX_LISTED],
        )


def _commit_id(place: Place, user: pygit2.Repository, revision: str) -> pygit2.Oid:
    try:
        return user.revparse_single(revision).peel(pygit2.Commit).id
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise ReadError(f"There is no commit {revision} in {place.root}.") from error


def _commit(commit: pygit2.Commit) -> Commit:
    message = _decoded(commit.raw_message, commit.message_encoding).strip("\n")
    subject, _, body = message.partition("\n\n")
    return Commit(
        sha=str(commit.id),
        parents=[str(parent) for parent in commit.parent_ids],
        author=_decoded(commit.author.raw_name, commit.message_encoding),
        email=_decoded(commit.author.raw_email, commit.message_encoding),
        at=_time(commit.author.time),
        subject=" ".join(subject.split("\n")),
        body=body.strip("\n"),
    )


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


def _shown(name: str) -> str:
    return os.fsencode(name).decode(errors="replace")
