"""The journal of one apply: what is done to the user's tree, so that it can be ended or taken back after a crash.

A folder in the data directory with `plan.json` and marks: `commit` (from here on everything is carried through),
`abort` (everything is taken back), `done` (either is complete). Without a mark nothing was done yet. What remains when
it is complete are the marks: they tell whoever asked for it how it ended, until it is forgotten.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pygit2
from pygit2.enums import FileMode

from ralph_loop.git.changes import path_fields
from ralph_loop.git.folder import Folder, Rights, State

Side = tuple[int, bytes]  # mode and id of a file in a tree


class ApplyError(Exception):
    """The changes could not be applied. Nothing was, or the message says what is left."""


class TreeChangedError(Exception):
    """Files are not as the agent found them. Nothing was applied. `paths` are for people."""

    def __init__(self, paths: list[bytes]) -> None:
        self.paths = [path_fields(path)[0] for path in sorted(set(paths))]
        super().__init__(f"Changed meanwhile, so nothing was applied: {', '.join(self.paths)}.")


@attrs.frozen
class Step:
    """One path: what is there before and after, and whose rights a new file gets."""

    path: bytes
    old: Side | None
    new: Side | None
    old_rights: Rights | None = None
    new_rights: Rights | None = None


@attrs.frozen
class Outcome:
    """How an apply ended: whether it was carried through, and the paths that were left, as others had changed them
    between a crash and its recovery."""

    applied: bool
    left: list[str]


@attrs.frozen
class Journal:
    directory: Path
    root: Path
    store: Path
    staging: bytes
    """A folder in the tree for files that wait for their place: a rename works within one file system only."""
    makes_folder: bool
    file_mode: bool
    steps: list[Step]

    @classmethod
    def create(
        cls, directory: Path, root: Path, store: Path, folder: Folder, steps: list[Step], file_mode: bool
    ) -> Journal:
        """Writes a plan down in a new directory. Raises OSError, ApplyError."""
        if is_open(directory):
            raise ApplyError(f"What was approved before is half applied in {root}.")
        forget(directory)
        token = directory.name
        above = folder.state(b".ralph")
        inside = above is None or above.mode == FileMode.TREE
        staging = f".ralph/.{token}.tmp" if inside else f".ralph-{token}.tmp"
        journal = cls(directory, root, store, staging.encode(), above is None, file_mode, steps)
        journal.directory.mkdir(mode=0o700, parents=True)
        partial = journal.directory / "plan.tmp"
        with partial.open("wb") as file:
            file.write(json.dumps(journal._fields()).encode())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(journal.directory / "plan.json")
        return journal

    @classmethod
    def load(cls, directory: Path) -> Journal | None:
        """None when the crash came before the plan was written down. Raises OSError, ValueError, KeyError."""
        try:
            fields: dict[str, Any] = json.loads((directory / "plan.json").read_bytes())
        except FileNotFoundError:
            return None
        return cls(
            directory,
            Path(os.fsdecode(_bytes(fields["root"]))),
            Path(os.fsdecode(_bytes(fields["store"]))),
            _bytes(fields["staging"]),
            fields["makesFolder"],
            fields["fileMode"],
            [_step(step) for step in fields["steps"]],
        )

    def _fields(self) -> dict[str, Any]:
        return {
            "root": _text(os.fsencode(self.root)),
            "store": _text(os.fsencode(self.store)),
            "staging": _text(self.staging),
            "makesFolder": self.makes_folder,
            "fileMode": self.file_mode,
            "steps": [
                {
                    "path": _text(step.path),
                    "old": step.old and (step.old[0], step.old[1].hex()),
                    "new": step.new and (step.new[0], step.new[1].hex()),
                    "oldRights": step.old_rights,
                    "newRights": step.new_rights,
                }
                for step in self.steps
            ],
        }

    def carry_out(self, folder: Folder) -> None:
        """All or nothing. Raises TreeChangedError, ApplyError."""
        try:
            self._stage(folder)
        except OSError as error:
            self._finish(folder)
            raise ApplyError(f"Nothing was applied in {self.root}: {why(error)}") from error
        try:
            self._mark("commit")
            different = self._settle(folder, forward=True)
            if different:
                raise TreeChangedError(different)
        except OSError as error:
            self._take_back(folder, error)
            raise ApplyError(f"Nothing was applied in {self.root}: {why(error)}") from error
        except TreeChangedError as error:
            self._take_back(folder, error)
            raise
        self._finish(folder)

    def recover(self) -> None:
        """Ends what a crash interrupted. Raises OSError, ApplyError."""
        with Folder(self.root) as folder:
            committed, aborted, done = ((self.directory / name).exists() for name in ("commit", "abort", "done"))
            if done or not committed:
                self._finish(folder)
            elif aborted:
                self._take_back(folder)
            else:
                try:
                    left = self._settle(folder, forward=True, partly=True)
                except OSError as error:
                    self._take_back(folder, error)
                else:
                    self._finish(folder, left)

    def _take_back(self, folder: Folder, cause: Exception | None = None) -> None:
        try:
            self._mark("abort")
            left = self._settle(folder, forward=False, partly=True)
        except OSError as error:
            back = f"taking it back failed: {why(error)}"
            because = f"{why(cause)}, and {back}" if cause else back
            raise ApplyError(
                f"{self.root} is half changed: {because}. It is tried again when you approve or reject, and when the "
                "helper starts."
            ) from error
        self._finish(folder, left)

    def _settle(self, folder: Folder, forward: bool, partly: bool = False) -> list[bytes]:
        """Brings every path to one side; what is there already is left alone, so that it can be done again.

        The answer is the paths that are on neither side: changed by somebody else. Unless `partly`, nothing at all is
        done when there are any. Raises OSError.
        """
        left: list[bytes] = []
        pending: list[tuple[int, Step, Side | None]] = []
        for number, step in enumerate(self.steps):
            wanted, other = (step.new, step.old) if forward else (step.old, step.new)
            state = folder.state(step.path)
            if state is not None and state.mode == FileMode.TREE:
                state = None  # a folder in the place of a file: there is no file
            if is_side(state, wanted, self.file_mode):
                continue
            if is_side(state, other, self.file_mode):
                pending.append((number, step, wanted))
            else:
                left.append(step.path)
        if left and not partly:
            return left
        for _, step, wanted in pending:
            if wanted is None:
                with _naming(step):
                    folder.remove(step.path)
        for number, step, wanted in pending:
            if wanted is not None:
                with _naming(step):
                    self._put(folder, number, step, wanted, forward)
        for _, step, wanted in pending:
            if wanted is None:
                folder.clear_parents(step.path)
        return left

    def _put(self, folder: Folder, number: int, step: Step, side: Side, forward: bool) -> None:
        found = folder.state(step.path)
        if found is not None and found.mode == FileMode.TREE:
            folder.clear(step.path)
        name = self.staging + b"/%d" % number
        if not forward or not is_side(folder.state(name), side, True):
            self._write(folder, number, side, step.new_rights if forward else step.old_rights)
        folder.move(name, step.path)

    def _stage(self, folder: Folder) -> None:
        for number, step in enumerate(self.steps):
            if step.new is not None:
                with _naming(step):
                    self._write(folder, number, step.new, step.new_rights)

    def _write(self, folder: Folder, number: int, side: Side, rights: Rights | None) -> None:
        """A file that waits for its place. Raises OSError, also when the store does not have its content."""
        if b"/" in self.staging:
            folder.make(self.staging.rpartition(b"/")[0], 0o777)
        folder.make(self.staging, 0o700)
        name = self.staging + b"/%d" % number
        if folder.state(name) is not None:
            folder.remove(name)
        try:
            data = pygit2.Repository(os.fspath(self.store)).odb.read(pygit2.Oid(raw=side[1]))[1]
        except (KeyError, pygit2.GitError) as error:
            raise OSError(f"the content of {path_fields(self.steps[number].path)[0]} is lost: {error}") from error
        folder.write(name, side[0], data, rights, self.file_mode)

    def _mark(self, name: str, text: str = "") -> None:
        with (self.directory / name).open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _finish(self, folder: Folder, left: Sequence[bytes] = ()) -> None:
        """Removes the staging folder and the plan. What fails is left for `recover`: the tree is as it should be."""
        with contextlib.suppress(OSError):
            if not (self.directory / "done").exists():
                self._mark("done", json.dumps([path_fields(path)[0] for path in left]))
        with contextlib.suppress(OSError):
            state = folder.state(self.staging)
            if state is not None and state.mode == FileMode.TREE:
                for path in folder.names(self.staging):
                    folder.remove(path)
                folder.clear(self.staging)
            if self.makes_folder:
                folder.clear_parents(self.staging)
            (self.directory / "plan.json").unlink()


def outcome(directory: Path) -> Outcome:
    """How the apply of a journal ended; one that never began was not applied. Raises OSError, ValueError."""
    applied = (directory / "commit").exists() and not (directory / "abort").exists()
    try:
        return Outcome(applied, json.loads((directory / "done").read_text() or "[]"))
    except FileNotFoundError:
        return Outcome(applied, [])


def is_open(directory: Path) -> bool:
    """Whether an apply is not ended: the next `recover` does it."""
    return (directory / "plan.json").exists()


def forget(directory: Path) -> None:
    """Removes what tells the outcome, and nothing that is still needed to end an apply. Raises OSError."""
    if directory.exists() and not is_open(directory):
        shutil.rmtree(directory)


def why(error: Exception) -> str:
    """The reason, for people."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {os.fsdecode(error.filename)}" if error.filename else error.strerror
    return str(error)


@contextlib.contextmanager
def _naming(step: Step) -> Generator[None, None, None]:
    """An error is told with the file of the user's, not with the name it has in between."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        raise OSError(error.errno, error.strerror, path_fields(step.path)[0]) from error


def is_side(state: State | None, side: Side | None, file_mode: bool) -> bool:
    """Whether what is on disk is what a tree has; without `file_mode` the executable bit does not count."""
    if state is None or side is None:
        return state is side
    if state.id != side[1]:
        return False
    return state.mode == side[0] or (not file_mode and FileMode.LINK not in (state.mode, side[0]) and state.mode != 0)


def _step(fields: dict[str, Any]) -> Step:
    old, new = (fields[key] and (fields[key][0], bytes.fromhex(fields[key][1])) for key in ("old", "new"))
    rights = [fields[key] and (fields[key][0], fields[key][1], fields[key][2]) for key in ("oldRights", "newRights")]
    return Step(_bytes(fields["path"]), old, new, rights[0], rights[1])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
