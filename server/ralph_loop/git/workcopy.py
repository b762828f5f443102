"""The private working copy of plan mode: the user's current tree in a folder of ours, to be changed at will.

The agent works there, in a private clone; what it changed becomes operations on the user's tree (`apply.py`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import attrs
import pygit2

from ralph_loop.git.changes import ChangeList
from ralph_loop.git.checkout import StoppedError
from ralph_loop.git.clone import clone
from ralph_loop.git.snapshot import SnapshotError, SnapshotStore

_ALL = 1_000_000_000


@attrs.frozen
class WorkCopy:
    """A working copy of a tree."""

    folder: Path
    """The top of the copy; the agent's working directory is below, where the workspace is below the root."""
    base: str
    """The tree it was made from: the user's, when the copy was made."""
    ignored: frozenset[bytes]
    """What was ignored in it then: what was asked for to be copied."""


@attrs.frozen
class Collected:
    """What the agent left in a copy."""

    after: str
    """The tree."""
    changes: ChangeList
    dropped: dict[bytes, str]
    """What it made that is in no tree and goes with the copy, with the reason (a folder with `/` at its end)."""


def create(
    store: SnapshotStore,
    folder: Path,
    name: str,
    copied: Iterable[str] = (),
    stop: Callable[[], bool] = lambda: False,
) -> WorkCopy:
    """Copies the user's current tree, dirty and untracked files included, into a new folder.

    The tree is kept in the store under `name`. `copied` are patterns, from the root, of ignored files to copy as well
    (`.env`, `node_modules`); a symbolic link in them is copied as a link, and nothing is ever linked to the user's.
    Raises SnapshotError, and StoppedError as soon as `stop` says so; what was written by then is for `discard`.
    """
    base = store.take(name, fresh=True)
    places = {b"": store.place, **store.nested}
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    store.checkout(base, folder, stop)
    try:
        for path, place in places.items():
            inner = folder / os.fsdecode(path)
            if place.git and inner.is_dir():
                clone(place, inner)
        for pattern in copied:
            _copy_ignored(store.place.root, folder, pattern, stop)
    except (OSError, ValueError, NotImplementedError, pygit2.GitError) as error:
        raise SnapshotError(f"No working copy of {store.place.root}: {error}") from error
    seen = store.take_copy(f"{name} copy", folder)
    if seen != base:
        wrong = ", ".join(change.path for change in store.changes(base, seen, 3).files)
        raise SnapshotError(f"No working copy of {store.place.root}: {wrong} cannot be copied exactly to {folder}.")
    return WorkCopy(folder, base, store.ignored_in_copy(folder))


def collect(store: SnapshotStore, copy: WorkCopy, name: str) -> Collected:
    """The tree as the agent left it, kept under `name`, and every change since the copy was made. Raises SnapshotError.

    Commits, branches and the like stay in the copy; ignored files do too.
    """
    after = store.take_copy(name, copy.folder)
    ignored = store.ignored_in_copy(copy.folder)
    dropped = dict.fromkeys(ignored - copy.ignored, "ignored by git")
    dropped |= dict.fromkeys(_special_files(copy.folder, ignored), "not a regular file")
    return Collected(after, store.changes(copy.base, after, _ALL), dropped)


def discard(folder: Path) -> None:
    """Removes a copy, or what is left of one. Raises OSError when something cannot be removed."""
    if folder.is_symlink() or not folder.is_dir():
        return folder.unlink(missing_ok=True)
    try:
        shutil.rmtree(folder)
    except PermissionError:
        _unlock(folder)
        shutil.rmtree(folder)


def _unlock(folder: Path) -> None:
    """Takes back the right to enter folders and to delete in them, which the agent may have taken away."""
    folder.chmod(0o700)
    for _, names, _, handle in os.fwalk(folder):
        for name in names:
            if stat.S_ISDIR(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
                os.chmod(name, 0o700, dir_fd=handle)


def _copy_ignored(root: Path, folder: Path, pattern: str, stop: Callable[[], bool]) -> None:
    def left_out(source: str, names: list[str]) -> list[str]:
        """Sockets, FIFOs and devices; and git directories, which may point back to the user's."""
        if stop():
            raise StoppedError
        return [name for name in names if name == ".git" or _is_special(Path(source, name).lstat().st_mode)]

    for source in root.glob(pattern):
        below = source.relative_to(root)
        target = folder / below
        if ".git" in below.parts or ".." in below.parts or os.path.lexists(target) or _through_link(root, below):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target, symlinks=True, ignore=left_out)
        elif source.is_file() or source.is_symlink():
            shutil.copy2(source, target, follow_symlinks=False)


def _through_link(root: Path, below: Path) -> bool:
    return any((root / parent).is_symlink() for parent in below.parents)


def _special_files(folder: Path, ignored: Collection[bytes]) -> Iterator[bytes]:
    """Where the agent made FIFOs, sockets and devices, for which git has no place."""
    root = os.fsencode(folder) + b"/"
    for directory, folders, files in os.walk(root):
        below = directory.removeprefix(root) + b"/" if directory != root else b""
        folders[:] = [name for name in folders if name != b".git" and below + name + b"/" not in ignored]
        for name in files:
            with contextlib.suppress(OSError):  # in a folder that the agent closed: the snapshot tells of that
                if _is_special(os.lstat(os.path.join(directory, name)).st_mode):  # noqa: PTH118
                    yield below + name


def _is_special(mode: int) -> bool:
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode))
