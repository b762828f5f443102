"""Plan mode: the agent works in a private copy of the user's tree; what it changed is staged, approved, applied.

The copy and the snapshots are git's business (git/workcopy.py, git/apply.py); here is when they are made and what
their results mean for the loop (PROTOCOL.md, rule 4).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ralph_loop.agents.guard_client import Guard
from ralph_loop.engine.tracking import Tracked, store_directory
from ralph_loop.errors import InvalidParamsError, RalphError
from ralph_loop.git import apply as applying
from ralph_loop.git import confine, journal, workcopy
from ralph_loop.git.changes import path_fields
from ralph_loop.git.checkout import StoppedError
from ralph_loop.git.journal import ApplyError, Outcome, TreeChangedError
from ralph_loop.git.locate import Place
from ralph_loop.git.snapshot import SnapshotError, SnapshotStore
from ralph_loop.paths import Paths
from ralph_loop.protocol import MAX_FILES_IN_RECORD, Operation
from ralph_loop.store import operations
from ralph_loop.store.database import Database
from ralph_loop.store.ids import new_id

log = logging.getLogger(__name__)


class PlanError(Exception):
    """Plan mode cannot go on; the text says why, for a person. Nothing of the user's was changed."""


@attrs.frozen
class Staged:
    """What an iteration changed in its copy."""

    after: str | None
    operations: list[Operation]
    tracked: Tracked
    left_out: list[str]
    """What it made or changed that cannot be staged, with the reason, for people: it goes with the copy."""
    dropped: list[str]
    """What it made that git does not keep, with the reason, for people: it goes with the copy too."""


class PlanRoom:
    """The private copy of one iteration. Use: open, run the agent, close; always discard."""

    def __init__(self, paths: Paths, place: Place, run_id: str, env: Mapping[str, str]) -> None:
        # in a folder of its own, which goes with it: what the agent puts beside its copy (`../other`) does not stay
        self._room = paths.copies / run_id
        self._folder = self._room / (place.root.name or "root")
        self._place = place
        self._store = SnapshotStore(store_directory(paths.snapshots, place), place, env)
        self._copy: workcopy.WorkCopy | None = None

    @property
    def root(self) -> Path:
        """The top of the copy."""
        return self._folder

    @property
    def room(self) -> Path:
        """The copy and what lies beside it: where the agent may write."""
        return self._room

    @property
    def workspace(self) -> Path:
        """The agent's working directory: where the user's workspace is in the copy."""
        return self._folder / self._place.workspace.relative_to(self._place.root)

    async def open(self, name: str, copied: Sequence[str], stop: Callable[[], bool]) -> str | None:
        """Makes the copy of the user's tree as it is now; its tree, kept under `name`. None when `stop`, which threads
        may call, said so half-way. Raises PlanError."""
        try:
            await asyncio.to_thread(workcopy.discard, self._room)
            self._copy = await asyncio.to_thread(workcopy.create, self._store, self._folder, name, copied, stop)
            await asyncio.to_thread(self.workspace.mkdir, parents=True, exist_ok=True)
        except StoppedError:
            return None
        except (SnapshotError, OSError) as error:
            raise PlanError(f"The private copy for plan mode could not be made: {error}") from error
        return self._copy.base

    async def close(self, iteration: int, name: str) -> Staged:
        """What the agent changed, as operations; the tree is kept under `name`. Raises PlanError."""
        assert self._copy is not None, "open() was not called"
        try:
            found = await asyncio.to_thread(workcopy.collect, self._store, self._copy, name)
        except SnapshotError as error:
            raise PlanError(f"What the agent changed could not be read: {error}") from error
        staged = [
            Operation(operation_id=new_id("op"), iteration=iteration, **attrs.asdict(change, recurse=False))
            for change in found.changes.files
        ]
        tracked = Tracked(found.changes.files[:MAX_FILES_IN_RECORD], found.changes.total)
        return Staged(found.after, staged, tracked, _explained(self._store.problems), _explained(found.dropped))

    async def discard(self) -> None:
        """Removes the copy."""
        await asyncio.to_thread(workcopy.discard, self._room)


def _explained(paths: Mapping[bytes, str]) -> list[str]:
    return [f"{path_fields(path)[0]} ({why})" for path, why in sorted(paths.items())]


class ConfinedGuard:
    """A guard whose processes cannot write to the user's folder and git directory (git/confine.py), but for the copy,
    which may lie below them."""

    def __init__(self, guard: Guard, protected: Sequence[Path], copy: Path) -> None:
        self._guard = guard
        self._protected = protected
        self._copy = copy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._guard, name)

    async def spawn(self, argv: Sequence[str], **options: Any) -> Any:
        program = Path(confine.__file__)
        flags = [part for path in self._protected for part in ("--ro", str(path))]
        if any(self._copy.is_relative_to(path) for path in self._protected):
            flags += ["--rw", str(self._copy)]
        return await self._guard.spawn([sys.executable, "-I", "-S", str(program), *flags, "--", *argv], **options)


def confinement_problem(place: Place, env: Mapping[str, str]) -> str | None:
    """Why the user's folder cannot be made read-only for agents here; None when it can. Blocks."""
    if _holds_home(place.root, env):
        return f"{place.root} holds your home directory, which agents need for their own files."
    return confine.confinement_available()


def protected_folders(place: Place, env: Mapping[str, str]) -> list[Path]:
    """The user's folder, its git directory and, for a linked working tree, the main one."""
    found = [place.root]
    if place.common_dir is not None:
        found.append(place.common_dir)
        main = place.common_dir.parent
        if place.common_dir.name == ".git" and main != place.root and not _holds_home(main, env):
            found.append(main)
    return found


def _holds_home(folder: Path, env: Mapping[str, str]) -> bool:
    home = env.get("HOME")
    return bool(home) and Path(home or "").resolve().is_relative_to(folder)


class Approver:
    """Applies operations of one loop to the user's tree: all or none. What became of it is known, also after a crash,
    until it is forgotten."""

    def __init__(self, paths: Paths, place: Place, run_id: str, env: Mapping[str, str]) -> None:
        self._journal = paths.journals / run_id
        self._store = SnapshotStore(store_directory(paths.snapshots, place), place, env)

    async def apply(self, before: str, after: str, staged: Sequence[Operation], chosen: Sequence[Operation]) -> None:
        """Raises RalphError treeChanged or gitFailed, InvalidParamsError for a partial choice that leaves a half."""
        try:
            await asyncio.to_thread(applying.apply, self._store, before, after, staged, chosen, self._journal)
        except applying.IncompleteError as error:
            raise InvalidParamsError("operationIds", str(error)) from None
        except TreeChangedError as error:
            raise RalphError("treeChanged", str(error), paths=error.paths) from None
        except (ApplyError, SnapshotError) as error:
            raise RalphError("gitFailed", str(error), exitCode=-1, stderr=str(error)) from None

    @property
    def is_half_done(self) -> bool:
        """Whether the tree is half changed, until `finish` can end that (a full disk)."""
        return journal.is_open(self._journal)

    async def finish(self) -> None:
        """Ends what was left half done. Raises RalphError gitFailed."""
        try:
            await asyncio.to_thread(applying.recover, self._journal)
        except ApplyError as error:
            raise RalphError("gitFailed", str(error), exitCode=-1, stderr=str(error)) from None

    def outcome(self) -> Outcome:
        """How the last one ended. Raises OSError, ValueError."""
        return journal.outcome(self._journal)

    def forget(self) -> None:
        """The outcome is stored elsewhere. Raises OSError."""
        journal.forget(self._journal)


async def recover(paths: Paths, database: Database) -> None:
    """After a crash: what was being applied is ended or taken back, and no copy is left. Raises OSError."""
    for directory in await asyncio.to_thread(lambda: list(paths.journals.iterdir())):
        try:
            await asyncio.to_thread(applying.recover, directory)
        except ApplyError as error:  # its folder is away, for example: its loop tries again, and the next start
            log.error("loop %s: %s", directory.name, error)
        if not await operations.applying(database, directory.name):  # else the loop asks for the outcome
            await asyncio.to_thread(journal.forget, directory)
    for folder in await asyncio.to_thread(lambda: list(paths.copies.iterdir())):
        await asyncio.to_thread(workcopy.discard, folder)
