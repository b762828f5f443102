"""What differs between two sides as git itself tells it, in the shapes of diffs.py: for what libgit2 cannot read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping

import pygit2
from pygit2.enums import FileMode

from ralph_loop.git import gitcli
from ralph_loop.git.checkout import write_tree
from ralph_loop.git.cliread import Delta, change, deltas, submodules
from ralph_loop.git.gitcli import Reader
from ralph_loop.git.indexfile import Entry, copy_index, read_index
from ralph_loop.git.locate import Place
from ralph_loop.git.scratch import ReadError
from ralph_loop.git.shapes import Recorded, Side, limited_patch
from ralph_loop.protocol import MAX_FILES_IN_RECORD, GitDiff

_FILES = ("worktree", "index")


def compared(place: Place, env: Mapping[str, str], old: Side, new: Side, at: bytes | None, patch: bool) -> GitDiff:
    """As `diffs.diff`, but for sides that are both recorded; `at` is a path in the tree. Raises ReadError."""
    if place.bare and (old in _FILES or new in _FILES):
        raise ReadError(f"{place.root} is a bare repository: it has no working tree and no index.")
    if old == new and old in _FILES:
        return GitDiff(files=[], files_total=0, patch="" if patch else None)
    with gitcli.scratch(place, env) as git:
        _settle(git, files="worktree" in (old, new))
        command = ("diff", "-M", *_sides(git, old, new))
        found = deltas(git, *command)
        inner = list(submodules(git, {one.path for one in found})) if "worktree" in (old, new) else []
        chosen = sorted((one for one in (*found, *inner) if _is_at(one, at)), key=lambda one: one.path)
        text = limited_patch(_patches(git, command, found, at)) if patch else None
        files = [change(one) for one in chosen[:MAX_FILES_IN_RECORD]]
        return GitDiff(files=files, files_total=len(chosen), patch=text)


def _sides(git: Reader, old: Side, new: Side) -> list[str]:
    """The arguments of `git diff`."""
    if old in _FILES and new in _FILES:
        return [] if old == "index" else ["-R"]
    files, tree = (old, new) if old in _FILES else (new, old)
    if files not in _FILES:
        return [_tree(git, old), _tree(git, new)]
    return [*(["--cached"] if files == "index" else []), *(["-R"] if files == old else []), _tree(git, tree)]


def _tree(git: Reader, side: Side) -> str:
    if isinstance(side, Recorded):
        return _imported(git, side)
    user = gitcli.user(git.place, git.env)
    found = (
        b"" if side.startswith("-") or not side else user.run("rev-parse", "--quiet", "--verify", side, may_fail=True)
    )
    if not found:
        if side == "HEAD":  # no commit yet
            return gitcli.empty_tree(git.place, git.env)
        raise ReadError(f"There is no revision {side} in {git.place.root}.")
    tree = user.run("rev-parse", "--quiet", "--verify", found.decode().strip() + "^{tree}", may_fail=True)
    if not tree:
        raise ReadError(f"{side} in {git.place.root} is neither a commit nor a tree.")
    return tree.decode().strip()


def _imported(git: Reader, side: Recorded) -> str:
    """A recorded tree as git would store it here: our records name objects in another way (SHA-1)."""
    folder, index = git.git_dir / side.tree, git.git_dir / f"{side.tree}.index"
    folder.mkdir(exist_ok=True)
    write_tree(pygit2.Repository(os.fspath(side.store.objects)), bytes.fromhex(side.tree), folder)
    for entry in _entries(git):
        below = folder / os.fsdecode(entry.path)
        if entry.mode == FileMode.COMMIT and below.is_dir():  # recorded are the files in submodules
            shutil.rmtree(below)
            below.mkdir()
    copy_index(git.git_dir / "index", index)
    git.run(f"--work-tree={folder}", "add", "--all", "--force", ":/", GIT_INDEX_FILE=os.fspath(index))
    return git.run("write-tree", GIT_INDEX_FILE=os.fspath(index)).decode().strip()


def _settle(git: Reader, files: bool) -> None:
    """As `Scratch.settle`: takes every path in conflict as ours has it."""
    stages: dict[bytes, dict[int, Entry]] = {}
    for entry in _entries(git):
        if entry.stage:
            stages.setdefault(entry.path, {})[entry.stage] = entry
    lines = bytearray()
    for path, entries in stages.items():
        chosen = entries.get(2) or ((entries.get(3) or entries.get(1)) if files else None)
        lines += b"0 %s\t%s\0" % (b"0" * len(next(iter(entries.values())).id.hex()), path)
        if chosen:
            lines += b"%o %s\t%s\0" % (chosen.mode, chosen.id.hex().encode(), path)
    if lines:
        git.run("update-index", "-z", "--index-info", stdin=bytes(lines))


def _entries(git: Reader) -> list[Entry]:
    return read_index(git.git_dir / "index", gitcli.algorithm(git.place, git.env))


def _patches(git: Reader, command: tuple[str, ...], found: list[Delta], at: bytes | None) -> Iterator[bytes]:
    """The patch of each file. A changed type has two: what was deleted, and what was created."""
    options = ("--patch", "--no-color", "--no-ext-diff", "--no-textconv", "--abbrev=7", "--ignore-submodules=dirty")
    wanted = iter([_is_at(one, at) for one in found for _ in range(2 if one.status == b"T" else 1)])
    part, is_wanted = bytearray(), False
    for line in git.lines(command[0], *options, *command[1:]):
        if line.startswith(b"diff --git "):  # lines of files begin with a sign
            if is_wanted:
                yield bytes(part)
            part, is_wanted = bytearray(), next(wanted, False)
        if is_wanted:
            part += line
    if is_wanted:
        yield bytes(part)


def _is_at(delta: Delta, path: bytes | None) -> bool:
    return path is None or any(name == path or name.startswith(path + b"/") for name in (delta.old, delta.path))
