"""Cuts a stream of bytes into lines, with bounded memory."""

from __future__ import annotations

from collections import deque

LONGEST_LINE = 8 * 1024 * 1024
"""Bytes. A longer line is no event of any agent we know; reading it as JSON would cost several times its size in
memory. It is passed over here and stays in the raw output."""


class LineReader:
    """Where the input is cut never changes the lines. Lines come without their LF, as text (invalid UTF-8: U+FFFD)."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._pieces: list[bytes] = []  # of the line that has not ended
        self._length = 0

    def feed(self, data: bytes) -> list[str]:
        *ended, rest = data.split(b"\n")
        lines: list[str] = []
        for piece in ended:
            self._add(piece)
            lines += self.close()
        self._add(rest)
        return lines

    def close(self) -> list[str]:
        """The line that has not ended, if any; it counts like the others."""
        length, line = self._length, b"".join(self._pieces)
        self._pieces, self._length = [], 0
        return [line.decode(errors="replace")] if 0 < length <= self._longest else []

    def _add(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self._longest:
            self._pieces.clear()
        elif piece:
            self._pieces.append(piece)


class Tail:
    """The last lines of a text, up to a number of characters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lines: deque[str] = deque()
        self._length = 0

    def add(self, line: str) -> None:
        line = line[-self._limit :]
        self._lines.append(line)
        self._length += len(line) + 1
        while self._length > self._limit + 1:
            self._length -= len(self._lines.popleft()) + 1

    @property
    def text(self) -> str:
        return "\n".join(self._lines)
