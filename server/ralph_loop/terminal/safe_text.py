"""What agents print, made safe to show: no terminal escapes but colours."""

from __future__ import annotations

import re

from ralph_loop.engine.escapes import EscapeRemover

_COLOUR = re.compile(r"(\x1b\[[0-9;:]{0,64}m)")  # SGR, ECMA-48 8.3.117
_CUT = re.compile(r"\x1b(?:\[[0-9;:]{0,64})?\Z")


class SafeText:
    """Feeds on the text of one stream in pieces. Cursor movement, titles, clipboard writes and other escapes are
    removed, colours kept or removed; a carriage return becomes `carriage_return` (a progress bar draws itself over and
    over)."""

    def __init__(self, *, colours: bool, carriage_return: str = "\n") -> None:
        self._colours = colours
        self._carriage_return = carriage_return
        self._remover = EscapeRemover()
        self._held = ""
        self._returned = False  # a carriage return that may be the first half of a line end

    def feed(self, text: str) -> str:
        if self._colours:
            text = self._held + text
            cut = _CUT.search(text, max(0, len(text) - 80))
            self._held = cut[0] if cut else ""
            parts = _COLOUR.split(text[: cut.start()] if cut else text)
            text = "".join(part if n % 2 else self._remover.feed(part) for n, part in enumerate(parts))
        else:
            text = self._remover.feed(text)
        if not text:
            return ""
        text = ("\r" if self._returned else "") + text
        self._returned = text.endswith("\r")
        text = text[:-1] if self._returned else text
        return text.replace("\r\n", "\n").replace("\r", self._carriage_return)
