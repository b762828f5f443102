"""Snapshots of a working tree in a private store: what was on disk, without touching the user's repository.

The store is a bare repository in the data directory that shares nothing with the user's: every blob is a copy, so that
neither a `gc --prune=now` nor a deleted `.git` takes anything from a record. Only changed files are read again.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import functools
import hashlib
import os
import re
import secrets
import threading
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Concatenate, Literal, ParamSpec, TypeVar

import attrs
import pygit2
from pygit2.enums import FileMode

from ralph_loop.git import changes, prune, trees
from ralph_loop.git import config as git_config
from ralph_loop.git.changes import ChangeList
from ralph_loop.git.checkout import write_tree
from ralph_loop.git.indexfile import BrokenIndexError
from ralph_loop.git.locate import Place, locate
from ralph_loop.git.view import View
from ralph_loop.store.workspace import FOLDER, RUNTIME_FILES

_REFS = "refs/ralph/"
_ALWAYS = frozenset({b".ralph/ralph-tasks.md"})  # the tasks of a loop are part of its work, also when ignored

P = ParamSpec("P")
R = TypeVar("R")


class SnapshotError(Exception):
    """There is no snapshot; the message is the reason, for a person."""


@attrs.frozen
class FileState:
    """One path in one tree. `data` is None when the file is larger than was asked for."""

    exists: bool
    mode: int = 0
    kind: Literal["file", "symlink", "submodule"] = "file"
    size: int = 0
    data: bytes | None = b""


def _told(
    method: Callable[Concatenate[SnapshotStore, P], R],
) -> Callable[Concatenate[SnapshotStore, P], R]:
    """One caller at a time, also of several stores on one directory, and every failure as a SnapshotError."""

    @functools.wraps(method)
    def call(self: SnapshotStore, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:  # pyright: ignore[reportPrivateUsage]
            try:
                with self._exclusively():  # pyright: ignore[reportPrivateUsage]
                    return method(self, *args, **kwargs)
            except BrokenIndexError as error:
                raise SnapshotError(f"The repository is broken: {error}. `git status` there tells more.") from error
            except (pygit2.GitError, OSError, KeyError, ValueError) as error:
                raise SnapshotError(f"No record of changes in {self.place.root}: {error}") from error

    return call


class SnapshotStore:
    """The snapshots of one repository. Every method blocks, may be called from any thread, raises SnapshotError.

    `directory` belongs to it alone and is made when missing. `env` is the environment of the person who runs the loop:
    their git configuration and ignore file are found by it.
    """

    def __init__(self, directory: Path, place: Place, env: Mapping[str, str] | None = None) -> None:
        self.place = place
        self.problems: dict[bytes, str] = {}
        """Paths the last `take` could not read, with the reason; as they were before in its tree, or not in it."""
        self.nested: dict[bytes, Place] = {}
        """The repositories the last `take` found in the tree, by path."""
        self._directory = directory
        self._env = dict(env or {})
        self._lock = threading.RLock()
        self._views: dict[Path, View] = {}
        self._nested_trees: dict[Path, bytes] = {}  # when last seen
        self._repo: pygit2.Repository | None = None
        self._pruned = b""
        self._holding = False

    @_told
    def take(self, name: str, *, fresh: bool = False) -> str:
        """The id of the tree on disk now: every file git would see, tracked or not, and those of nested repositories.

        It is kept under `name` (any text; a name used again drops the tree it had) until `forget`. `fresh` leaves out
        files that were seen before and are ignored by now: for the tree at an iteration's start. Without it they stay
        in view, so that a changed `.gitignore` does not look like deleted files.
        """
        _check(self.place)
        return self._take(name, self.place, fresh)

    @_told
    def checkout(self, tree: str, folder: Path, stop: Callable[[], bool] = lambda: False) -> None:
        """Writes a tree into a new folder, byte by byte as it was seen. `folder` must not exist. Raises StoppedError as
        soon as `stop` says so."""
        repo = self._open()
        folder.mkdir(mode=0o700)
        written = write_tree(repo, bytes.fromhex(tree), folder, stop)
        self._view(repo, self._copy(folder)).seed(written, self._env)

    @_told
    def take_copy(self, name: str, folder: Path) -> str:
        """As `take`, of a folder made by `checkout`: what was written there stays in view, whatever git says of it."""
        return self._take(name, self._copy(folder), False)

    @_told
    def ignored_in_copy(self, folder: Path) -> frozenset[bytes]:
        """What is ignored in a folder that `take_copy` has just seen; folders as a whole, with `/` at their end."""
        return self._view(self._open(), self._copy(folder)).ignored()

    @_told
    def changes(self, before: str, after: str, limit: int = 500) -> ChangeList:
        """What differs between two trees: the first `limit` by path, and the number of all."""
        return changes.compare(self._open(), before, after, limit)

    @_told
    def read(self, tree: str, path: bytes | str, limit: int | None = None) -> FileState:
        """One path of a tree, without `data` when it is larger than `limit` bytes. Folders do not exist here."""
        repo = self._open()
        name = os.fsencode(path)
        found = self.find(tree, [name])
        if name not in found:
            return FileState(exists=False)
        mode, id_ = found[name][0], pygit2.Oid(raw=found[name][1])
        if mode == FileMode.COMMIT:
            return FileState(True, mode, "submodule", 40, str(id_).encode())
        size = repo.odb.read_header(id_)[1]
        data = None if limit is not None and size > limit else repo.odb.read(id_)[1]
        return FileState(True, mode, "symlink" if mode == FileMode.LINK else "file", size, data)

    @_told
    def find(self, tree: str, paths: Iterable[bytes]) -> dict[bytes, tuple[int, bytes]]:
        """Mode and id of what a tree has at these paths; those where it has nothing, or a folder, are left out."""
        found = trees.find(self._open(), bytes.fromhex(tree), paths)
        return {path: entry for path, entry in found.items() if entry[0] != FileMode.TREE}

    @_told
    def patch(self, before: str, after: str, path: bytes | str | None = None, *, binary: bool = False) -> bytes:
        """The difference as a git patch, of one path or everything; with the bytes of binary files when asked for."""
        chosen = None if path is None else os.fsencode(path)
        return changes.patch(self._open(), before, after, chosen, binary)

    @_told
    def forget(self, names: Iterable[str]) -> None:
        """Gives names up; unknown ones are fine. `prune` frees the space."""
        repo = self._open()
        for name in names:
            with contextlib.suppress(KeyError):
                repo.references.delete(_REFS + _ref(name))

    @_told
    def prune(self) -> None:
        """Deletes what no name needs any more. Takes time with the size of the store: not while a loop waits."""
        prune.prune(self._directory)
        (self._directory / "pruned").write_bytes(secrets.token_bytes(8))

    @property
    def objects(self) -> Path:
        """The bare repository that holds every recorded blob and tree."""
        return self._directory / "store.git"

    @_told
    def file_mode(self) -> bool:
        """Whether the executable bit counts in this repository (core.fileMode)."""
        config = git_config.read_config(self.place.git_dir, self.place.common_dir, self._env)
        return git_config.get_bool(config, "core.filemode", True)

    @contextlib.contextmanager
    def _exclusively(self) -> Generator[None, None, None]:
        """Holds the directory's lock. Methods call each other: only the outermost takes it."""
        if self._holding:
            yield
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._directory / "lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._holding = True
            try:
                yield
            finally:
                self._holding = False

    def _open(self) -> pygit2.Repository:
        """The repository; opened anew after a prune, since open packs would still show what was deleted."""
        marker = self._directory / "pruned"
        pruned = marker.read_bytes() if marker.exists() else b""
        if self._repo is None or pruned != self._pruned:
            if not (self.objects / "HEAD").exists():
                pygit2.init_repository(os.fspath(self.objects), bare=True)
            prune.sweep(self.objects)
            self._repo = pygit2.Repository(os.fspath(self.objects))
            self._views.clear()
            self._pruned = pruned
        return self._repo

    def _copy(self, folder: Path) -> Place:
        return Place(folder, folder, None, self.place.common_dir)

    def _take(self, name: str, place: Place, fresh: bool) -> str:
        self.problems, self.nested = {}, {}
        repo = self._open()
        try:
            tree = self._scan(repo, place, b"", fresh)
        except (pygit2.GitError, KeyError):  # what was saved of the last scan does not fit the store: do without
            for index in self._directory.glob("views/*/index"):
                index.unlink()
            self._views.clear()
            tree = self._scan(repo, place, b"", fresh)
        repo.references.create(_REFS + _ref(name), tree.hex(), force=True)
        return tree.hex()

    def _view(self, repo: pygit2.Repository, place: Place, prefix: bytes = b"") -> View:
        view = self._views.get(place.root)
        if view is None:
            directory = self._directory / "views" / hashlib.sha256(os.fsencode(place.root)).hexdigest()[:32]
            if prefix:
                view = View(directory, place, repo, lenient=True)
            else:
                view = View(directory, place, repo, _is_runtime, _ALWAYS)
            self._views[place.root] = view
        return view

    def _scan(self, repo: pygit2.Repository, place: Place, prefix: bytes, fresh: bool) -> bytes:
        view = self._view(repo, place, prefix)
        tree = view.scan(self._env, fresh)
        self.problems |= {prefix + path: reason for path, reason in view.problems.items()}
        for path in sorted(view.nested):
            tree = self._add_nested(repo, place, prefix, path, tree, fresh)
        return tree

    def _add_nested(
        self, repo: pygit2.Repository, place: Place, prefix: bytes, path: bytes, tree: bytes, fresh: bool
    ) -> bytes:
        """A submodule or another repository in the tree: its files are told with their full path."""
        folder = place.root / os.fsdecode(path)
        try:
            inner = locate(folder)
            if inner.root != folder or inner.bare:
                inner = Place(folder, folder)
            below = self._scan(repo, inner, prefix + path + b"/", fresh)
        except (pygit2.GitError, OSError) as error:  # as it was, when it was seen before
            self.problems[prefix + path] = str(error)
            below = self._nested_trees.get(folder)
            if below is None:
                return tree
        else:
            self.nested[prefix + path] = inner
            self._nested_trees[folder] = below
        return trees.graft(repo, tree, path.split(b"/"), below) if trees.entries(repo, below) else tree


def _check(place: Place) -> None:
    """Raises SnapshotError for what has no snapshots: no git, no working tree, a repository git would not open."""
    if place.git_dir is None or place.common_dir is None:
        raise SnapshotError(place.reason or f"{place.root} is not in a git repository: changes are not recorded.")
    if place.bare:
        raise SnapshotError(f"{place.root} is a bare repository: it has no files to record changes of.")
    broken = "The repository is broken: {}. `git status` there tells more."
    try:
        head = (place.git_dir / "HEAD").read_bytes()
    except OSError as error:
        raise SnapshotError(broken.format(f"{place.git_dir / 'HEAD'} cannot be read ({error.strerror})")) from error
    if not re.match(rb"ref:\s*refs/|[0-9a-f]{40}", head):
        raise SnapshotError(broken.format(f"{place.git_dir / 'HEAD'} holds neither a branch nor a commit"))
    for name in ("objects", "refs"):
        if not (place.common_dir / name).is_dir():
            raise SnapshotError(broken.format(f"{place.common_dir / name} is missing"))


def _ref(name: str) -> str:
    """A name as a reference name: what git does not allow there is written as %XX."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), name)


def _is_runtime(path: bytes) -> bool:
    """Whether the helper itself writes this file while a loop runs: it never counts as a change."""
    folder, _, name = os.fsdecode(path).rpartition("/")
    return folder == FOLDER and any(fnmatch.fnmatchcase(name, pattern) for pattern in RUNTIME_FILES)
