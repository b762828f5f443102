"""A private look at a user's repository for libgit2: its objects and index, with the configuration of the person.

libgit2 takes the person's configuration from the environment of this process, may write into the repository it opens,
and cannot read a split or sparse index. So it opens a temporary repository that only points to the user's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import struct
import tempfile
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path

import attrs
import pygit2
from pygit2.enums import FileMode

from ralph_loop.git import config as git_config
from ralph_loop.git.indexfile import SPARSE_DIRECTORY, BrokenIndexError, Entry, read_index
from ralph_loop.git.locate import Place

_COPIED = (
    *("core.autocrlf", "core.eol", "core.filemode", "core.ignorecase", "core.symlinks", "core.precomposeunicode"),
    *("core.trustctime", "core.checkstat"),
)


class ReadError(Exception):
    """The repository cannot be read; the message says why, for a person."""


@contextlib.contextmanager
def reading(place: Place) -> Generator[None, None, None]:
    """Every failure of libgit2 as a ReadError."""
    try:
        yield
    except BrokenIndexError as error:
        raise ReadError(f"{place.root} cannot be read: {error}. `git status` there tells more.") from error
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise ReadError(f"{place.root} cannot be read: {error}") from error


def open_user(place: Place) -> pygit2.Repository:
    """The user's own repository, for its references and history only: nothing of it is written by these."""
    git_dir, _, _ = _readable(place, {})
    return pygit2.Repository(os.fspath(git_dir))


@attrs.frozen
class Scratch:
    """A temporary repository with the user's working tree, index and objects."""

    repo: pygit2.Repository
    """For reading only: an object written here that the user has too would be touched there."""
    writer: pygit2.Repository
    """What is written here can be read in `repo`."""

    def tree(self, id_: str | None) -> pygit2.Tree:
        """The tree of a commit, or a tree itself; the empty one for None."""
        found = self.repo[id_ or self.writer.TreeBuilder().write()].peel(pygit2.Tree)
        assert isinstance(found, pygit2.Tree)
        return found

    def hidden(self) -> frozenset[bytes]:
        """Tracked files that git does not look at on disk: outside a sparse checkout and not there, or assumed
        unchanged."""
        root = os.fsencode(self.repo.workdir)
        return frozenset(
            entry.path
            for entry in self._entries()
            if entry.assume_valid or (entry.skip_worktree and not os.path.lexists(root + entry.path))
        )

    def intended(self) -> frozenset[bytes]:
        """Files that are in the index by name only (`git add -N`): nothing of them is staged."""
        return frozenset(entry.path for entry in self._entries() if entry.intent_to_add)

    def settle(self, files: bool) -> None:
        """Takes every path in conflict as ours has it, which is what can be compared. With `files`, one that we deleted
        as theirs, so that what lies on disk is seen."""
        index = self.repo.index
        for ancestor, ours, theirs in list(index.conflicts or ()):
            path = next(side.path for side in (ours, theirs, ancestor) if side is not None)
            chosen = ours or ((theirs or ancestor) if files else None)
            assert index.conflicts is not None
            del index.conflicts[path]
            if chosen is not None:
                index.add(pygit2.IndexEntry(path, chosen.id, chosen.mode))

    def _entries(self) -> list[Entry]:
        return read_index(Path(self.repo.path, "index"))


@contextlib.contextmanager
def scratch(place: Place, env: Mapping[str, str], also: Path | None = None) -> Generator[Scratch, None, None]:
    """A temporary look at the user's repository. `also` is another repository whose objects can be read.

    Raises what libgit2 raises, see `reading`.
    """
    git_dir, common_dir, config = _readable(place, env)
    with tempfile.TemporaryDirectory(prefix="ralph-loop-") as name:
        folder = Path(name)
        prepare(folder, place, env, config)
        writer = pygit2.init_repository(os.fspath(folder / "writer"), bare=True)
        sources = [folder / "writer" / "objects", common_dir / "objects", *([also / "objects"] if also else [])]
        alternates = b"".join(os.fsencode(source) + b"\n" for source in sources)
        (folder / "objects" / "info" / "alternates").write_bytes(alternates)
        (folder / "index").symlink_to(git_dir / "index")
        repo = pygit2.Repository(name)
        try:
            _ = repo.index
        except pygit2.GitError:  # split or sparse, or broken: then reading it ourselves tells
            (folder / "index").unlink()
            entries = read_index(git_dir / "index", folders=True)
            _write_plain(list(_unfolded(repo, entries)), folder / "index")
            repo = pygit2.Repository(name)
        if git_config.get_bool(config, "core.sparsecheckout", False):
            _show_present(repo)
        yield Scratch(repo, writer)


def prepare(folder: Path, place: Place, env: Mapping[str, str], config: pygit2.Config) -> None:
    """Makes `folder` a git directory that has what the person configured of files, and no object, index or command."""
    for below in ("objects/info", "refs", "info"):
        (folder / below).mkdir(parents=True)
    (folder / "HEAD").write_bytes(b"ref: refs/heads/none\n")
    (folder / "config").write_bytes(_config(config, place, env))
    (folder / "info" / "exclude").write_bytes(git_config.ignore_rules(config, place.common_dir, env))
    if place.common_dir:
        with contextlib.suppress(FileNotFoundError):
            (folder / "info" / "attributes").write_bytes((place.common_dir / "info" / "attributes").read_bytes())


def _readable(place: Place, env: Mapping[str, str]) -> tuple[Path, Path, pygit2.Config]:
    if place.git_dir is None or place.common_dir is None:
        raise ReadError(place.reason or f"{place.root} is not in a git repository.")
    return place.git_dir, place.common_dir, git_config.read_config(place.git_dir, place.common_dir, env)


def _config(config: pygit2.Config, place: Place, env: Mapping[str, str]) -> bytes:
    lines = [b"[core]\nrepositoryformatversion = 0\nbare = false\nsafecrlf = false\nexcludesfile = /dev/null\n"]
    attributes = git_config.attributes_file(config, env)
    values = {key: git_config.get(config, key) for key in _COPIED}
    values |= {"core.worktree": os.fspath(place.root), "core.attributesfile": os.fspath(attributes or "/dev/null")}
    settings = git_config.items(config)
    values |= {name: value or "" for name, value in settings if re.fullmatch(r"submodule\..*\.ignore", name)}
    for key, value in values.items():
        if value:
            section, _, name = key.rpartition(".")
            group, _, sub = section.partition(".")
            title = f'[{group} "{_escaped(sub)}"]' if sub else f"[{group}]"
            lines.append(f'{title}\n{name} = "{_escaped(value)}"\n'.encode(errors="surrogateescape"))
    return b"".join(lines)


def _escaped(text: str) -> str:
    return re.sub(r'[\\"]', r"\\\g<0>", text).replace("\n", "\\n").replace("\t", "\\t")


def _unfolded(repo: pygit2.Repository, entries: list[Entry]) -> Iterator[Entry]:
    """The files in the folders of a sparse index, which keeps only their trees."""
    for entry in entries:
        if entry.mode != SPARSE_DIRECTORY:
            yield entry
            continue
        for found in _below(repo, entry.id):
            path = entry.path + b"/".join(one.raw_name or b"" for one in found)
            yield Entry(path, found[-1].filemode, found[-1].id.raw, 0, True, False, False)


def _show_present(repo: pygit2.Repository) -> None:
    """Takes files outside a sparse checkout that are there all the same as any other, in memory, as git does."""
    root = os.fsencode(repo.workdir)
    for entry in read_index(Path(repo.path, "index")):
        if entry.skip_worktree and os.path.lexists(root + entry.path):
            repo.index.add(pygit2.IndexEntry(os.fsdecode(entry.path), pygit2.Oid(raw=entry.id), FileMode(entry.mode)))


def _below(repo: pygit2.Repository, tree: bytes) -> Iterator[tuple[pygit2.Object, ...]]:
    """Everything in a tree that is not a folder, each with the folders it lies in."""
    for one in repo[pygit2.Oid(raw=tree)].peel(pygit2.Tree):
        if one.filemode == SPARSE_DIRECTORY:
            yield from ((one, *rest) for rest in _below(repo, one.id.raw))
        else:
            yield (one,)


def _write_plain(entries: list[Entry], target: Path) -> None:
    """An index of version 3 without extensions or file status, so that every file is compared by its content."""
    parts = [struct.pack(">4sII", b"DIRC", 3, len(entries))]
    for entry in entries:
        extended = (0x4000 if entry.skip_worktree else 0) | (0x2000 if entry.intent_to_add else 0)
        flags = entry.stage << 12 | min(len(entry.path), 0xFFF)
        flags |= (0x4000 if extended else 0) | (0x8000 if entry.assume_valid else 0)
        head = struct.pack(">24xI12x20sH", entry.mode, entry.id, flags) + (
            struct.pack(">H", extended) if extended else b""
        )
        size = len(head) + len(entry.path)
        parts.append(head + entry.path + b"\0" * (8 - size % 8))
    data = b"".join(parts)
    target.write_bytes(data + hashlib.sha1(data, usedforsecurity=False).digest())
