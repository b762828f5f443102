"""What a command writes: lines of ours, text of agents, and on a terminal one line that shows how things stand."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TextIO

from ralph_loop.terminal.safe_text import SafeText
from ralph_loop.terminal.words import cells, fit, wrap

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_RESET = "\x1b[0m"
_ERASE = "\r\x1b[K"
_MAX_WIDTH = 100  # longer lines are hard to read
_ASCII = str.maketrans(
    {"─": "-", "✓": "+", "✗": "x", "‖": "=", "…": "~", "·": "-", "→": ">", "⚠": "!", "●": "*", "○": "o"}
    | {spin: "*" for spin in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"}
)


def wants_colour(stream: TextIO, choice: str) -> bool:
    """`choice` is the option --color; else NO_COLOR (no-color.org) and FORCE_COLOR decide, else whether it is a TTY."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


class Screen:
    """Writes to one stream, at once: whoever reads a pipe sees each line when it is written."""

    def __init__(self, stream: TextIO, *, colour: str = "auto") -> None:
        self._stream = stream
        self.colour = wants_colour(stream, colour)
        self._terminal = stream.isatty()
        self.live = self._terminal and os.environ.get("TERM") != "dumb"
        self._plain = not _can_show(stream, "─✓⠋…")
        self._at_start = True
        self._drawn = False  # the status line stands below the last line
        self._streams: dict[str, SafeText] = {}
        self._last_stream = ""

    @property
    def width(self) -> int:
        """Of our own rules and lines."""
        return max(20, min(_MAX_WIDTH, self.columns)) if self.live else 80

    @property
    def columns(self) -> int:
        """Of the terminal; wide enough for whole rows when the output goes elsewhere."""
        return shutil.get_terminal_size((80, 24)).columns if self._terminal or "COLUMNS" in os.environ else 160

    def paint(self, text: str, *styles: str) -> str:
        if not self.colour or not text or not styles:
            return text
        return f"\x1b[{';'.join(_CODES[style] for style in styles)}m{text}{_RESET}"

    def line(self, text: str = "") -> None:
        """A line (or lines) of ours, never behind what an agent left unfinished."""
        self._write(("" if self._at_start else "\n") + text + "\n")

    def say(self, text: str, *styles: str, indent: str = "") -> None:
        """A sentence of ours: on a terminal broken between words, elsewhere on one line."""
        text = wrap(text, self.columns, indent) if self._terminal else indent + text
        self.line("\n".join(self.paint(line, *styles) for line in text.split("\n")))

    def rule(self, left: str, right: str) -> None:
        """A heading across the screen: `── left ───── right ──`."""
        left = fit(left, self.width - 8)
        fill = self.width - cells(left) - cells(right) - 8
        if fill < 1:
            right, fill = "", self.width - cells(left) - 5
        end = f" {right} ──" if right else "─"
        self.line(self.paint("── ", "cyan") + self.paint(left, "bold") + self.paint(f" {'─' * fill}{end}", "cyan"))

    def agent(self, stream: str, text: str) -> None:
        """What an agent printed on one of its streams."""
        if stream not in self._streams:
            again = _ERASE if self.live else "\n"
            self._streams[stream] = SafeText(colours=self.colour, carriage_return=again)
        shown = self._streams[stream].feed(text)
        if shown:
            apart = "" if self._at_start or stream == self._last_stream else "\n"
            self._last_stream = stream
            self._write(apart + shown, exact=True)

    def end_agent(self) -> None:
        """An iteration is over: its unfinished line, escapes and colours with it."""
        self._streams.clear()
        if not self._at_start:
            self._write("\n")
        if self.colour:
            self._stream.write(_RESET)

    def status(self, text: str) -> None:
        """How things stand, in place, as long as nothing else is written; on a terminal only."""
        if self.live and self._at_start:
            shown = self._glyphs(fit(text, self.columns - 1))
            self._stream.write(_ERASE + self.paint(shown, "dim"))
            self._stream.flush()
            self._drawn = True

    def clear_status(self) -> None:
        if self._drawn:
            self._stream.write(_ERASE)
            self._stream.flush()
            self._drawn = False

    def _write(self, text: str, *, exact: bool = False) -> None:
        if self._drawn:
            text = f"{_ERASE}{text}"
            self._drawn = False
        self._stream.write(text if exact else self._glyphs(text))
        self._stream.flush()
        self._at_start = text.endswith("\n")

    def _glyphs(self, text: str) -> str:
        return text.translate(_ASCII) if self._plain else text


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")  # text in memory has no encoding
    except UnicodeEncodeError:
        return False
    return True


def forgiving(stream: TextIO) -> None:
    """What the locale cannot write becomes `?`: a strange file name must not end a command."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")


def standard(colour: str = "auto") -> Screen:
    return Screen(sys.stdout, colour=colour)
