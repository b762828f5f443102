"""Status, log and branches as git itself tells them, in the shapes of read.py (see gitcli.py)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ralph_loop.git import gitcli, shapes
from ralph_loop.git.changes import path_fields
from ralph_loop.git.gitcli import Reader
from ralph_loop.git.indexfile import read_index
from ralph_loop.git.locate import Place, locate
from ralph_loop.git.scratch import ReadError
from ralph_loop.git.shapes import HEADS, MAX_LISTED, REMOTES, Head, short, shown
from ralph_loop.git.submodules import ignore_settings
from ralph_loop.protocol import Branch, Change, ChangeKind, Commit, GitBranches, GitLog, GitStatus

_KINDS: dict[bytes, ChangeKind] = {b"A": "create", b"D": "delete", b"R": "rename", b"T": "typeChange"}
_COMMIT = "%H%x00%P%x00%an%x00%ae%x00%at%x00%e%x00%B"
_SUBMODULE = b"160000"
_INTENDED = "--ita-invisible-in-index"  # as for `git diff` and `git status`


class Delta(NamedTuple):
    """One changed path, as `--raw` and `--numstat` tell it; `added` is None for a binary file."""

    status: bytes
    mode: bytes
    old: bytes
    path: bytes
    added: int | None
    removed: int


def status(place: Place, env: Mapping[str, str]) -> GitStatus:
    """As `read.status`. Raises ReadError."""
    at = head(place, env)
    staged, unstaged, untracked, conflicts = ([], [], [], []) if place.bare else _worktree(place, env, at.sha)
    return shapes.status(place, at, staged, unstaged, untracked, conflicts)


def head(place: Place, env: Mapping[str, str]) -> Head:
    """As `read.head`. Raises ReadError."""
    git = gitcli.user(place, env)
    target = git.run("symbolic-ref", "--quiet", "HEAD", may_fail=True).rstrip(b"\n")
    if not target:
        return Head(None, git.run("rev-parse", "--verify", "HEAD").decode().strip())
    name = os.fsdecode(target)
    branch = shown(name.removeprefix(HEADS))
    listed = git.run("for-each-ref", "--format=%(objectname)%00%(upstream)%00%(upstream:track,nobracket)", name)
    if not listed:
        return Head(branch, None)
    sha, upstream, track = listed.rstrip(b"\n").split(b"\0")
    counts = dict(part.split() for part in track.decode().split(", ") if " " in part)  # or "gone", or nothing
    ahead, behind = int(counts.get("ahead", 0)), int(counts.get("behind", 0))
    return Head(branch, sha.decode(), short(os.fsdecode(upstream) or None), ahead, behind)


def dirty(place: Place, env: Mapping[str, str]) -> frozenset[bytes]:
    """As `read.dirty`. Raises ReadError."""
    tree = head(place, env).sha or gitcli.empty_tree(place, env)
    with gitcli.scratch(place, env) as git:
        return frozenset(
            {one.path for one in deltas(git, "diff-index", "--cached", _INTENDED, "--no-renames", tree)}
            | {one.path for one in _unstaged(git)}
            | set(_untracked(git))
        )


def log(place: Place, env: Mapping[str, str], limit: int = 50, before: str | None = None) -> GitLog:
    """As `read.log`. Raises ReadError."""
    git = gitcli.user(place, env)
    start = head(place, env).sha
    if start is None:
        return GitLog(commits=[], more=False)
    if before is None:
        ids = git.run("rev-list", f"--max-count={limit + 1}", start).split()
    else:
        last = _commit_id(git, before)
        ids = git.run("rev-list", start).split()
        ids = ids if last in ids else git.run("rev-list", last.decode()).split()  # rewritten since the last page
        ids = ids[ids.index(last) + 1 :][: limit + 1]
    return shapes.log_page(_commits(git, ids), limit)


def branches(place: Place, env: Mapping[str, str]) -> GitBranches:
    """As `read.branches`. Raises ReadError."""
    git = gitcli.user(place, env)
    current = head(place, env).branch
    found: list[Branch] = []
    form = "--format=%(refname)%00%(symref)%00%(objectname)%00%(upstream)"
    for line in git.run("for-each-ref", form, HEADS, REMOTES).splitlines():
        name, symbolic, sha, upstream = line.split(b"\0")
        if symbolic:
            continue
        remote = name.startswith(REMOTES.encode())
        told = shown(os.fsdecode(name).removeprefix(REMOTES if remote else HEADS))
        found.append(
            Branch(
                name=told,
                remote=remote,
                current=not remote and told == current,
                sha=sha.decode(),
                upstream=None if remote else short(os.fsdecode(upstream) or None),
            )
        )
    return GitBranches(branches=found)


def deltas(git: Reader, *command: str) -> list[Delta]:
    """What a command of the `git diff` family finds. Raises ReadError."""
    options = ("--raw", "--numstat", "-z", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty")
    fields = iter(git.run(command[0], *options, *command[1:]).split(b"\0"))
    raw: list[tuple[bytes, bytes, bytes, bytes]] = []
    lines: dict[bytes, tuple[int | None, int]] = {}
    for field in fields:
        if field.startswith(b":"):
            _, mode, _, _, kind = field.split(b" ")
            old = next(fields)
            raw.append((kind[:1], mode, old, next(fields) if kind[:1] == b"R" else old))
        elif field:
            added, removed, path = field.split(b"\t", 2)
            if not path:
                _, path = next(fields), next(fields)
            lines[path] = (None, 0) if added == b"-" else (int(added), int(removed))
    return [Delta(*one, *lines.get(one[3], (0, 0))) for one in raw]


def change(delta: Delta) -> Change:
    """A change as the wire contract tells it."""
    path, path_bytes = path_fields(delta.path)
    old_path, old_path_bytes = path_fields(delta.old) if delta.status == b"R" else (None, None)
    return Change(
        path=path,
        old_path=old_path,
        kind=_KINDS.get(delta.status, "modify"),
        added=delta.added or 0,
        removed=delta.removed,
        binary=delta.added is None,
        path_bytes=path_bytes,
        old_path_bytes=old_path_bytes,
    )


def _worktree(
    place: Place, env: Mapping[str, str], commit: str | None
) -> tuple[list[Change], list[Change], list[str], list[str]]:
    with gitcli.scratch(place, env) as git:
        unstaged = _unstaged(git)
        conflicts = {one.path for one in unstaged if one.status == b"U"}
        staged = deltas(git, "diff-index", "--cached", _INTENDED, "-M", commit or gitcli.empty_tree(place, env))
        changed = [
            [change(one) for one in sorted(found, key=lambda one: one.path) if one.path not in conflicts][:MAX_LISTED]
            for found in (staged, unstaged)
        ]
        untracked, both = ([path_fields(path)[0] for path in sorted(p)] for p in (_untracked(git), conflicts))
        return changed[0], changed[1], untracked[:MAX_LISTED], both[:MAX_LISTED]


def _unstaged(git: Reader) -> list[Delta]:
    found = deltas(git, "diff-files", _INTENDED, "--no-renames")
    return [*found, *submodules(git, {one.path for one in found})]


def submodules(git: Reader, known: set[bytes]) -> Iterator[Delta]:
    """The submodules in which something is changed. git would look into them with the commands that they configure."""
    ignore = ignore_settings(git.place, git.env)
    for entry in read_index(git.git_dir / "index", gitcli.algorithm(git.place, git.env)):
        folder = git.place.root / os.fsdecode(entry.path)
        if entry.mode != int(_SUBMODULE, 8) or entry.path in known or not (folder / ".git").exists():
            continue
        inner, setting = locate(folder), ignore.get(entry.path)
        if inner.root == folder and inner.git and setting not in ("all", "dirty"):
            if _is_changed(inner, git.env, untracked=setting != "untracked"):
                yield Delta(b"M", _SUBMODULE, entry.path, entry.path, 0, 0)


def _is_changed(place: Place, env: Mapping[str, str], untracked: bool) -> bool:
    tree = head(place, env).sha or gitcli.empty_tree(place, env)
    with gitcli.scratch(place, env) as git:
        staged = deltas(git, "diff-index", "--cached", _INTENDED, "--no-renames", tree)
        return bool(staged or _unstaged(git) or (untracked and _untracked(git)))


def _untracked(git: Reader) -> list[bytes]:
    return git.run("ls-files", "--others", "--exclude-standard", "-z").split(b"\0")[:-1]


def _commit_id(git: Reader, revision: str) -> bytes:
    found = b""
    if not revision.startswith("-"):
        found = git.run("rev-parse", "--quiet", "--verify", revision + "^{commit}", may_fail=True).strip()
    if not found:
        raise ReadError(f"There is no commit {revision} in {git.place.root}.")
    return found


def _commits(git: Reader, ids: list[bytes]) -> list[Commit]:
    if not ids:
        return []
    options = ("-z", "--no-patch", "--no-show-signature", "--no-walk=unsorted", "--encoding=", "--stdin")
    fields = git.run("log", *options, f"--format={_COMMIT}", stdin=b"\n".join(ids)).split(b"\0")
    found: list[Commit] = []
    for n in range(0, len(ids) * 7, 7):
        sha, parents, name, email, seconds, encoding, text = fields[n : n + 7]
        at = int(seconds or b"0")
        known = encoding.decode(errors="replace") or None
        found.append(shapes.commit(sha.decode(), parents.decode().split(), name, email, at, text, known))
    return found
