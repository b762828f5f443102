"""`logs --helper`: the helper's own log, which needs no helper to be read."""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections import deque
from pathlib import Path
from typing import BinaryIO

from ralph_loop.terminal.options import Problem
from ralph_loop.terminal.safe_text import SafeText

LINES = 200
_POLL_S = 0.2
_CHUNK = 64 * 1024


def show(data: Path, *, lines: int = LINES, follow: bool = False) -> int:
    """Prints the last lines of a data directory's log, and what comes when it is to follow. Raises Problem."""
    path = data / "helper.log"
    if not follow and not path.exists():
        raise Problem(f"There is no log yet: {path}", "The helper writes it when it starts.")
    sys.stderr.write(f"{path}\n")
    printer = _Printer()
    file = _open(path)
    for line in _last(path, file, lines):
        printer.write(line)
    while follow:
        if file is None:
            file = _open(path)
        elif news := file.read(_CHUNK):
            printer.write(news)
            continue
        elif _replaced(file, path):
            file.close()
            file = None
            continue
        time.sleep(_POLL_S)
    if file is not None:
        file.close()
    return 0


def _last(path: Path, file: BinaryIO | None, lines: int) -> list[bytes]:
    """The last lines, also of the file before this one (they rotate); the file is left at its end."""
    found: deque[bytes] = deque(maxlen=lines)
    older = _open(path.with_name(f"{path.name}.1"))
    for source in (older, file):
        if source is not None:
            found.extend(source)
    if older is not None:
        older.close()
    return list(found)


def _open(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _replaced(file: BinaryIO, path: Path) -> bool:
    """Whether a new file was begun under the name."""
    try:
        return not os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return True


class _Printer:
    """To standard output, without what a terminal would act on."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._safe = SafeText(colours=False)

    def write(self, data: bytes) -> None:
        sys.stdout.write(self._safe.feed(self._decoder.decode(data)))
        sys.stdout.flush()
