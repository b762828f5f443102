"""Applies approved changes to the user's tree: all of them or none, also when the helper is killed half-way.

First every file is compared with what the agent started from; one that differs refuses the whole. Then a journal says
what will be done, the new files are written beside, and a mark commits. From the mark on a crash is rolled forward, and
an error rolled back: the old content is in the snapshot store.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path

import attrs
import pygit2
from pygit2.enums import FileMode

from ralph_loop.git.folder import Folder, Rights
from ralph_loop.git.journal import ApplyError, Journal, Step, TreeChangedError, is_side, why
from ralph_loop.git.snapshot import SnapshotStore
from ralph_loop.protocol import Change


class IncompleteError(Exception):
    """What was approved needs other changes too. Nothing was applied."""

    def __init__(self, missing: list[Change]) -> None:
        self.missing = missing
        names = ", ".join(change.path for change in missing)
        super().__init__(f"These belong to what was approved and must be approved with it: {names}.")


def apply(
    store: SnapshotStore, before: str, after: str, staged: Sequence[Change], chosen: Sequence[Change], journal: Path
) -> None:
    """Makes the chosen ones of the staged changes between two trees in the working tree of `store`.

    `journal` is a new folder in the data directory's folder of journals, see `recover`; it tells the outcome until it
    is forgotten. Raises IncompleteError, TreeChangedError, ApplyError: the tree is then as it was, unless the last one
    says otherwise; SnapshotError when a tree is not in the store.
    """
    wanted = set(chosen)
    missing = [change for change in belonging(staged, chosen) if change not in wanted]
    if missing:
        raise IncompleteError(missing)
    steps = _steps(store, before, after, chosen)
    root = store.place.root
    try:
        with Folder(root) as folder:
            file_mode = store.file_mode()
            checked = _check(folder, steps, chosen, file_mode)
            Journal.create(journal, root, store.objects, folder, checked, file_mode).carry_out(folder)
    except (OSError, ValueError) as error:
        raise ApplyError(f"Nothing was applied in {root}: {why(error)}") from error


def recover(directory: Path) -> None:
    """Ends what a crash interrupted: carried through when it was committed, else taken back. The journal tells which.
    Raises ApplyError."""
    try:
        journal = Journal.load(directory)
        if journal is not None:
            journal.recover()
    except (OSError, ValueError, KeyError, pygit2.GitError) as error:
        raise ApplyError(f"What was approved before is half applied, and ending that failed: {why(error)}") from error


def belonging(staged: Sequence[Change], chosen: Sequence[Change]) -> list[Change]:
    """The chosen changes with all that belong to them: a file in the place of a folder, or a folder in that of a file.

    (The two halves of a rename are one change.)
    """
    paths = {id(change): paths_of(change) for change in staged}
    owners = {path: change for change in staged for path in paths[id(change)]}
    neighbours: dict[int, list[Change]] = {id(change): [] for change in staged}
    for path, change in owners.items():
        above = path
        while above := above.rpartition(b"/")[0]:
            other = owners.get(above)
            if other is not None:
                neighbours[id(change)].append(other)
                neighbours[id(other)].append(change)
    wanted = set(chosen)
    pending = [change for change in staged if change in wanted]
    seen = {id(change) for change in pending}
    for change in pending:
        for other in neighbours[id(change)]:
            if id(other) not in seen:
                seen.add(id(other))
                pending.append(other)
    return [change for change in staged if id(change) in seen]


def paths_of(change: Change) -> list[bytes]:
    paths = [base64.b64decode(change.path_bytes) if change.path_bytes else change.path.encode()]
    if change.old_path is not None:
        old = change.old_path_bytes
        paths.append(base64.b64decode(old) if old else change.old_path.encode())
    return paths


def _steps(store: SnapshotStore, before: str, after: str, chosen: Sequence[Change]) -> dict[bytes, Step]:
    paths = [path for change in chosen for path in paths_of(change)]
    old, new = store.find(before, paths), store.find(after, paths)
    return {path: Step(path, old.get(path), new.get(path)) for path in paths}


def _check(folder: Folder, steps: dict[bytes, Step], chosen: Sequence[Change], file_mode: bool) -> list[Step]:
    """The steps with the rights of the files on disk. Raises TreeChangedError when these are not as they were."""
    changed: list[bytes] = []
    rights: dict[bytes, Rights] = {}
    for path, step in steps.items():
        state = folder.state(path)
        if state is not None and state.mode == FileMode.TREE and step.old is None:
            changed += _others(folder, path, steps)
        elif not is_side(state, step.old, file_mode):
            changed.append(path)
        elif state is not None and state.mode != FileMode.LINK:
            rights[path] = state.rights
        above = path
        while step.new and (above := above.rpartition(b"/")[0]):
            found = folder.state(above)
            if found is not None and found.mode != FileMode.TREE and not _gives_way(steps, above):
                changed.append(above)
    if changed:
        raise TreeChangedError(changed)
    origins = {path: old for path, *olds in map(paths_of, chosen) for old in olds}
    return [
        attrs.evolve(step, old_rights=rights.get(path), new_rights=rights.get(origins.get(path, path)))
        for path, step in steps.items()
    ]


def _gives_way(steps: dict[bytes, Step], path: bytes) -> bool:
    return path in steps and steps[path].new is None


def _others(folder: Folder, path: bytes, steps: dict[bytes, Step]) -> list[bytes]:
    """The files in a folder that are not removed: it cannot give way to a file."""
    found: list[bytes] = []
    for inside in folder.names(path):
        state = folder.state(inside)
        if state is not None and state.mode == FileMode.TREE:
            found += _others(folder, inside, steps)
        elif not _gives_way(steps, inside):
            found.append(inside)
    return found
