"""Reads the user's repository: status, log and branches, by libgit2, and where it cannot by git (gitcli.py).

Every function blocks: for threads.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs
import pygit2
from pygit2.enums import DeltaStatus, DiffOption, SortMode

from ralph_loop.git import cliread, shapes
from ralph_loop.git.changes import find_renames, listed, path_fields
from ralph_loop.git.gitcli import instead
from ralph_loop.git.indexfile import quickly_cached_tree
from ralph_loop.git.linecount import LineCounter
from ralph_loop.git.locate import Place
from ralph_loop.git.scratch import ReadError, open_user, scratch
from ralph_loop.git.shapes import HEADS, MAX_LISTED, REMOTES, Head, log_page, short, shown
from ralph_loop.git.submodules import unwanted
from ralph_loop.protocol import Branch, Change, Commit, GitBranches, GitLog, GitStatus

WORKTREE = (
    DiffOption.INCLUDE_UNTRACKED
    | DiffOption.RECURSE_UNTRACKED_DIRS
    | DiffOption.INCLUDE_TYPECHANGE
    | DiffOption.INCLUDE_UNREADABLE
)
_EMPTY = pygit2.Oid(hex="e69de29bb2d1d6434b8b29ae775ad8c2e48c5391")  # what stands for the content of a file to come


@instead(cliread.status)
def status(place: Place, env: Mapping[str, str]) -> GitStatus:
    """What `git status` tells. `env` is the person's: their configuration counts. Raises ReadError."""
    at = _head(open_user(place))
    staged, unstaged, untracked, conflicts = _worktree(place, env, at.sha) if not place.bare else ([], [], [], [])
    return shapes.status(place, at, staged, unstaged, untracked, conflicts)


@instead(cliread.head)
def head(place: Place, env: Mapping[str, str]) -> Head:
    """Where HEAD is. Raises ReadError."""
    return _head(open_user(place))


@instead(cliread.dirty)
def dirty(place: Place, env: Mapping[str, str]) -> frozenset[bytes]:
    """Every path that is not as HEAD has it: staged, unstaged, untracked or in conflict. Raises ReadError."""
    with scratch(place, env) as look:
        index = look.repo.index
        diffs = [index.diff_to_workdir(WORKTREE | DiffOption.SKIP_BINARY_CHECK)]
        diffs.append(index.diff_to_tree(look.tree(_head(open_user(place)).sha)))
        missing = {delta.new_file.raw_path for delta in diffs[0].deltas if delta.status == DeltaStatus.DELETED}
        sides = [side for diff in diffs for delta in diff.deltas for side in (delta.old_file, delta.new_file)]
        hidden = missing & look.hidden() if missing else missing
        return frozenset(side.raw_path for side in sides) - hidden - unwanted(place, env, diffs[0])


@instead(cliread.log)
def log(place: Place, env: Mapping[str, str], limit: int = 50, before: str | None = None) -> GitLog:
    """Commits from HEAD, newest first; the next page begins after the commit `before`. Raises ReadError."""
    user = open_user(place)
    start = _head(user).sha
    if start is None:
        return GitLog(commits=[], more=False)
    walker = iter(user.walk(start, SortMode.NONE))
    last = None if before is None else _commit_id(place, user, before)
    if last is not None and not any(commit.id == last for commit in walker):
        walker = iter(user.walk(last, SortMode.NONE))  # history was rewritten since the last page
        next(walker)
    return log_page(map(_commit, walker), limit)


@instead(cliread.branches)
def branches(place: Place, env: Mapping[str, str]) -> GitBranches:
    """Local branches, then those of remotes, by name. Raises ReadError."""
    user = open_user(place)
    current = _head(user).branch
    found: list[Branch] = []
    for raw in sorted(user.raw_listall_references()):
        name = os.fsdecode(raw)
        remote = name.startswith(REMOTES)
        if not remote and not name.startswith(HEADS):
            continue
        reference = user.references.get(name)
        if reference is None or isinstance(reference.target, str):  # gone just now; `origin/HEAD`
            continue
        branch = name.removeprefix(REMOTES if remote else HEADS)
        found.append(
            Branch(
                name=shown(branch),
                remote=remote,
                current=not remote and shown(branch) == current,
                sha=str(reference.target),
                upstream=None if remote else short(_upstream(user, branch)),
            )
        )
    return GitBranches(branches=found)


def _head(user: pygit2.Repository) -> Head:
    reference = user.references.get("HEAD")
    target = None if reference is None else reference.target
    if not isinstance(target, str):
        return Head(None, None if target is None else str(target))
    branch = target.removeprefix(HEADS)
    tip = user.references.get(target)
    if tip is None:
        return Head(shown(branch), None)
    sha = tip.resolve().target
    upstream = _upstream(user, branch)
    there = user.references.get(upstream) if upstream else None
    ahead, behind = user.ahead_behind(sha, there.resolve().target) if there else (0, 0)
    return Head(shown(branch), str(sha), short(upstream), ahead, behind)


def _upstream(user: pygit2.Repository, branch: str) -> str | None:
    """The reference that is configured as upstream, whether or not it is there: where fetching puts that branch."""
    try:
        remote, merge = user.config[f"branch.{branch}.remote"], user.config[f"branch.{branch}.merge"]
    except (KeyError, UnicodeError):  # not set; pygit2 has the settings of branches whose names are UTF-8
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


def _worktree(
    place: Place, env: Mapping[str, str], head: str | None
) -> tuple[list[Change], list[Change], list[str], list[str]]:
    with scratch(place, env) as look:
        repo, index, tree = look.repo, look.repo.index, look.tree(head)
        staged, intended = list[Change](), frozenset[bytes]()
        unstaged = index.diff_to_workdir(WORKTREE, 0)
        untracked, conflicts, missing = set[bytes](), set[bytes](), False
        for delta in unstaged.deltas:
            kind = delta.status
            if kind == DeltaStatus.UNTRACKED:
                untracked.add(delta.new_file.raw_path)
            elif kind == DeltaStatus.CONFLICTED:
                conflicts.add(delta.new_file.raw_path)
            missing = missing or kind == DeltaStatus.DELETED
        hidden = look.hidden() if missing else frozenset[bytes]()
        if quickly_cached_tree(Path(repo.path, "index")) != tree.id.raw:
            diff = find_renames(repo, index.diff_to_tree(tree, DiffOption.INCLUDE_TYPECHANGE, 0))
            if any(delta.new_file.id == _EMPTY for delta in diff.deltas):
                intended = look.intended()
            counter = LineCounter(repo, on_disk=False)
            staged = listed(repo, diff, MAX_LISTED, without=conflicts | intended, counter=counter).files
        hidden |= unwanted(place, env, unstaged)
        counter = LineCounter(repo, on_disk=True)
        files = listed(repo, unstaged, MAX_LISTED, without=untracked | conflicts | hidden, counter=counter).files
        files = [attrs.evolve(one, kind="create") if one.path.encode() in intended else one for one in files]
        return (
            staged,
            _with_empty(place, files, intended),
            [path_fields(path)[0] for path in sorted(untracked)][:MAX_LISTED],
            [path_fields(path)[0] for path in sorted(conflicts)][:MAX_LISTED],
        )


def _with_empty(place: Place, files: list[Change], intended: frozenset[bytes]) -> list[Change]:
    """Also the empty files that are in the index by name only, which libgit2 takes as unchanged."""
    root = os.fsencode(place.root) + b"/"
    known = {one.path for one in files}
    for path in intended:
        told, raw = path_fields(path)
        if told not in known and os.path.lexists(root + path):
            files.append(Change(path=told, kind="create", added=0, removed=0, binary=False, path_bytes=raw))
    return sorted(files, key=lambda one: os.fsencode(one.path)) if intended else files


def _commit_id(place: Place, user: pygit2.Repository, revision: str) -> pygit2.Oid:
    try:
        return user.revparse_single(revision).peel(pygit2.Commit).id
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise ReadError(f"There is no commit {revision} in {place.root}.") from error


def _commit(commit: pygit2.Commit) -> Commit:
    author = commit.author
    parents = [str(parent) for parent in commit.parent_ids]
    name, email, text = author.raw_name, author.raw_email, commit.raw_message
    return shapes.commit(str(commit.id), parents, name, email, author.time, text, commit.message_encoding)
