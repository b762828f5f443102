"""One working tree seen through a private index: finds what changed since the last look, at the speed of `git status`.

libgit2 compares the working tree with an index of our own, by file status first. The user's index is only read, for
the names of tracked files. Blobs are stored raw; attributes and line endings are switched off, so that a file is the
same exactly when its bytes are.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pygit2
from pygit2.enums import DeltaStatus, DiffOption, FileMode

from ralph_loop.git import config as git_config
from ralph_loop.git import private
from ralph_loop.git.blobs import MANY, Blob, BlobWriter, NotAFileError
from ralph_loop.git.indexfile import BrokenIndexError, read_index
from ralph_loop.git.locate import Place
from ralph_loop.git.private import StatEntry, is_racy, signature_of

_FLAGS = (
    DiffOption.INCLUDE_UNTRACKED
    | DiffOption.RECURSE_UNTRACKED_DIRS
    | DiffOption.INCLUDE_TYPECHANGE
    | DiffOption.INCLUDE_TYPECHANGE_TREES
    | DiffOption.INCLUDE_UNREADABLE
    | DiffOption.SKIP_BINARY_CHECK
)
_BATCH = 10_000  # files whose status is in memory at a time


class View:
    """The private index of one working tree, kept in `directory`; blobs and trees go to `store`.

    `skip` tells paths that never count, `always` those that do though they be ignored. A `lenient` view does without
    the user's index when it is damaged.
    """

    def __init__(
        self,
        directory: Path,
        place: Place,
        store: pygit2.Repository,
        skip: Callable[[bytes], bool] = lambda _: False,
        always: frozenset[bytes] = frozenset(),
        lenient: bool = False,
    ) -> None:
        self.problems: dict[bytes, str] = {}
        self.nested: set[bytes] = set()
        self._directory = directory
        self._place = place
        self._root = os.fsencode(place.root) + b"/"
        self._store = store
        self._skip = skip
        self._always = always
        self._lenient = lenient
        self._tracked: set[bytes] = set(always)
        self._submodules: set[bytes] = set()
        self._signature: object = None
        self._written: object = None
        self._racy: list[bytes] = []
        self._missing: set[bytes] = set()
        self._missing_known = False
        self._rules: bytes | None = None
        self._rules_changed = True
        self._file_mode = True
        private.prepare(directory, Path(store.path, "objects"))

    def scan(self, env: Mapping[str, str], fresh: bool) -> bytes:
        """The id of the tree as it is now, written to the store; nested repositories are in `nested`, not in it.

        `fresh` forgets files seen before that are ignored by now. Raises BrokenIndexError, pygit2.GitError, OSError.
        """
        self.problems, self.nested = {}, set()
        self._configure(env)
        self._read_tracked(env)
        repo, index = self._open()
        changed, gone = self._compare(index)
        changed |= self._missing_again(changed)
        changed |= self._racy_before(changed)
        if fresh and self._rules_changed:
            gone |= self._ignored_by_now(repo)
            self._rules_changed = False
        changed -= gone
        if changed or gone:
            self._update(index, changed, gone)
        tree = index.write_tree(self._store).raw
        if changed or gone or self.problems:
            index.write()  # after the tree, whose id it holds: `prune` keeps that one
        if changed or gone:
            (self._directory / "racy").write_bytes(b"\0".join(self._racy))
        self._written = signature_of(self._directory / "index")
        return tree

    def seed(self, blobs: Mapping[bytes, Blob], env: Mapping[str, str]) -> None:
        """Takes files as seen that were just written: none of them is read again."""
        self._configure(env)
        _, index = self._open()
        for path, blob in blobs.items():
            index.add(StatEntry(path, blob, blob.mode))
        index.write()

    def ignored(self) -> frozenset[bytes]:
        """What is ignored in the working tree, as of the last `scan`; a folder as a whole, with `/` at its end."""
        deltas = self._open()[1].diff_to_workdir(DiffOption.INCLUDE_IGNORED).deltas
        return frozenset(one.new_file.raw_path for one in deltas if one.status == DeltaStatus.IGNORED)

    # ------------------------------------------------------------------------------------------- what git is told
    def _configure(self, env: Mapping[str, str]) -> None:
        place = self._place
        config = git_config.read_config(place.git_dir, place.common_dir, env)
        file_mode = git_config.get_bool(config, "core.filemode", True)
        rules = git_config.ignore_rules(config, place.common_dir, env)
        if (rules, file_mode) == (self._rules, self._file_mode):
            return
        self._rules, self._file_mode, self._rules_changed = rules, file_mode, True
        private.configure(self._directory, self._root[:-1], rules, file_mode)

    def _read_tracked(self, env: Mapping[str, str]) -> None:
        """The names in the user's index: tracked files are seen even when ignored."""
        if not self._place.git_dir:
            return
        file = self._place.git_dir / "index"
        signature = signature_of(file)
        if signature == self._signature:
            return
        config = git_config.read_config(self._place.git_dir, self._place.common_dir, env)
        try:
            entries = read_index(file, git_config.get(config, "extensions.objectformat", "sha1").lower())
        except BrokenIndexError as error:
            if not self._lenient:
                raise
            self.problems[b".git/index"] = str(error)
            return
        self._tracked = {entry.path for entry in entries if entry.mode != FileMode.COMMIT} | self._always
        self._submodules = {entry.path for entry in entries if entry.mode == FileMode.COMMIT}
        self._signature, self._missing_known, self._rules_changed = signature, False, True

    def _open(self) -> tuple[pygit2.Repository, pygit2.Index]:
        """Opened anew for each scan: libgit2 keeps what it once read of ignore files."""
        repo = pygit2.Repository(os.fspath(self._directory))
        if signature_of(self._directory / "index") != self._written:  # by another store on this directory
            self._missing_known = False
        try:
            return repo, repo.index
        except pygit2.GitError:  # damaged, by a full disk for example: it only saves time
            (self._directory / "index").unlink()
            self._missing_known = False
            return repo, pygit2.Repository(os.fspath(self._directory)).index

    # --------------------------------------------------------------------------------------------- what is different
    def _compare(self, index: pygit2.Index) -> tuple[set[bytes], set[bytes]]:
        changed: set[bytes] = set()
        gone: set[bytes] = set()
        try:
            diff = index.diff_to_workdir(_FLAGS)
        except pygit2.GitError:  # a file that looks changed and cannot be opened fails the whole comparison
            self._freeze_unreadable(index)
            diff = index.diff_to_workdir(_FLAGS)
        for delta in diff.deltas:
            path = delta.new_file.raw_path
            if path.rpartition(b"/")[2] == b".gitignore":
                self._rules_changed = True
            if path.endswith(b"/") or delta.new_file.mode in (FileMode.TREE, FileMode.COMMIT):
                self.nested.add(path.rstrip(b"/"))
                if delta.old_file.mode:
                    gone.add(path.rstrip(b"/"))
            elif delta.status == DeltaStatus.DELETED:
                if self._is_hidden(path):
                    self.problems[path] = "permission denied"
                else:
                    gone.add(path)
            elif delta.status == DeltaStatus.UNREADABLE:
                self.problems[path] = "cannot be read"
            else:
                changed.add(path)
        for path in self._submodules:
            if os.path.lexists(self._root + path + b"/.git"):
                self.nested.add(path)
        return {path for path in changed if not self._skip(path)}, gone

    def _freeze_unreadable(self, index: pygit2.Index) -> None:
        """Takes files that cannot be opened as unchanged, until their status changes again."""
        for entry in read_index(self._directory / "index"):
            try:
                status = os.lstat(self._root + entry.path)
                if stat.S_ISREG(status.st_mode):
                    os.close(os.open(self._root + entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                self.problems[entry.path] = error.strerror or str(error)
                if not self._is_hidden(entry.path):
                    status = os.lstat(self._root + entry.path)
                    index.add(StatEntry(entry.path, Blob(entry.id, entry.mode, status), entry.mode))

    def _is_hidden(self, path: bytes) -> bool:
        """Whether a file may still be there, in a folder that cannot be entered."""
        try:
            os.lstat(self._root + path)
        except PermissionError:
            return True
        except OSError:
            return False
        return False

    def _missing_again(self, changed: set[bytes]) -> set[bytes]:
        """Tracked files that are not in our index and are on disk: ignored ones, which libgit2 does not tell."""
        if not self._missing_known:
            self._missing = self._tracked - {entry.path for entry in read_index(self._directory / "index")}
            self._missing_known = True
        return {path for path in self._missing - changed if self._is_ours(path) and not self._skip(path)}

    def _is_ours(self, path: bytes) -> bool:
        """Whether something is at a path without following a link or entering a nested repository."""
        if not os.path.lexists(self._root + path):
            return False
        parent = path.rpartition(b"/")[0]
        while parent:
            if parent in self.nested or os.path.islink(self._root + parent):  # noqa: PTH114
                return False
            parent = parent.rpartition(b"/")[0]
        return True

    def _ignored_by_now(self, repo: pygit2.Repository) -> set[bytes]:
        seen = {entry.path for entry in read_index(self._directory / "index")} - self._tracked
        strange = {path for path in seen if not _is_text(path)}
        found = {path for path in seen - strange if repo.path_is_ignored(path.decode())}
        return found | (_ignored_among(strange, repo) if strange else set())

    # ------------------------------------------------------------------------------------------------- what is kept
    def _update(self, index: pygit2.Index, changed: set[bytes], gone: set[bytes]) -> None:
        for path in gone:
            self._remove(index, path)
        paths, racy = sorted(changed), list[bytes]()
        for start in range(0, len(paths), _BATCH):
            racy += self._update_some(index, paths[start : start + _BATCH])
        kept = self._directory / "racy"
        with kept.open("ab") as file:  # the old ones too, until the index is written
            file.write(b"\0".join([b"", *racy]))
        self._racy = racy

    def _update_some(self, index: pygit2.Index, paths: list[bytes]) -> list[bytes]:
        """Stores files and puts them into the index; the answer is those that may change unnoticed."""
        writer = BlobWriter(self._store, many=len(paths) > MANY)
        blobs: dict[bytes, Blob | None] = {}
        started = time.time_ns()
        try:
            for path in paths:
                self._store_blob(writer, path, blobs)
            writer.finish()
        except BaseException:
            writer.abandon()
            raise
        for path, blob in blobs.items():
            self._set_entry(index, path, blob)
        return [path for path, blob in blobs.items() if blob and is_racy(blob.status, started)]

    def _store_blob(self, writer: BlobWriter, path: bytes, blobs: dict[bytes, Blob | None]) -> None:
        try:
            blobs[path] = writer.add(self._root + path)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotAFileError):
            blobs[path] = None
        except OSError as error:  # costs only itself: it stays as it was
            self.problems[path] = error.strerror or str(error)

    def _set_entry(self, index: pygit2.Index, path: bytes, blob: Blob | None) -> None:
        if blob is None:
            self._remove(index, path)
            return
        mode, name = blob.mode, os.fsdecode(path)
        if not self._file_mode and mode != FileMode.LINK:
            known = index[name].mode if name in index else FileMode.BLOB
            mode = known if known != FileMode.LINK else FileMode.BLOB
        try:
            index.add(StatEntry(path, blob, mode))
            self._missing.discard(path)
        except (pygit2.GitError, ValueError, OSError) as error:  # names git itself refuses, such as `git~1`
            self.problems[path] = str(error)

    def _remove(self, index: pygit2.Index, path: bytes) -> None:
        if os.fsdecode(path) in index:
            index.remove(os.fsdecode(path))
        if path in self._tracked:
            self._missing.add(path)

    def _racy_before(self, changed: set[bytes]) -> set[bytes]:
        file = self._directory / "racy"
        if not file.exists():
            return set()
        return {path for path in {*file.read_bytes().split(b"\0")} - changed if path and self._is_ours(path)}


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _ignored_among(paths: set[bytes], repo: pygit2.Repository) -> set[bytes]:
    """As `path_is_ignored`, which pygit2 has for names that are UTF-8 only: by a look at the whole working tree."""
    nothing = repo[repo.TreeBuilder().write()]
    assert isinstance(nothing, pygit2.Tree)
    flags = DiffOption.INCLUDE_IGNORED | DiffOption.INCLUDE_UNTRACKED | DiffOption.RECURSE_UNTRACKED_DIRS
    deltas = nothing.diff_to_workdir(flags).deltas
    ignored = {one.new_file.raw_path for one in deltas if one.status == DeltaStatus.IGNORED}  # folders end in /
    return {path for path in paths if any(path[:end] in ignored for end in _ends(path))}


def _ends(path: bytes) -> list[int]:
    """Where the names of the folders above a path end, with their `/`, and its own."""
    return [*(at + 1 for at, byte in enumerate(path) if byte == ord("/")), len(path)]
