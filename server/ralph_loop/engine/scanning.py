"""Looking for repositories in folders: breadth first, bounded, without following links; nothing is run or written."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs

from ralph_loop.git.locate import locate

SKIPPED = frozenset({"node_modules", "__pycache__"})
MAX_FOLDERS = 200_000
_REPORT_EVERY = 500


@attrs.frozen
class Found:
    path: Path
    key: str


def scan(
    roots: Sequence[Path], max_depth: int, stop: threading.Event, report: Callable[[int, int], None]
) -> list[Found]:
    """Working trees below `roots` (depth 0 is a root itself), nested ones and linked worktrees too, by path.

    Hidden folders and `node_modules` are skipped, as is a folder that was seen before (bind mounts, overlapping roots).
    Ends early when `stop` is set or MAX_FOLDERS were seen. `report` gets (folders, repositories) now and then.
    """
    found: dict[Path, Found] = {}
    seen: set[tuple[int, int]] = set()
    queue = deque((root, 0) for root in roots)
    count = 0
    while queue and count < MAX_FOLDERS and not stop.is_set():
        folder, depth = queue.popleft()
        names = _enter(folder, seen)
        if names is None:
            continue
        count += 1
        if count % _REPORT_EVERY == 0:
            report(count, len(found))
        if ".git" in names and (here := _repository(folder)) is not None:
            found[folder] = here
        if depth < max_depth:
            queue.extend((folder / name, depth + 1) for name in sorted(names) if _is_worth(name))
    return [found[path] for path in sorted(found)]


def _enter(folder: Path, seen: set[tuple[int, int]]) -> set[str] | None:
    """The names in a folder; None for one that was seen or cannot be read."""
    try:
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            return None
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.name == ".git" or entry.is_dir(follow_symlinks=False)}
    except OSError:
        return None


def _is_worth(name: str) -> bool:
    return not name.startswith(".") and name not in SKIPPED


def _repository(folder: Path) -> Found | None:
    try:
        place = locate(folder)
    except OSError:
        return None
    return Found(folder, str(place.key)) if place.git and place.root == folder.resolve() else None
