"""Removes terminal escapes and control characters from text that arrives in pieces."""

from __future__ import annotations

import re

_CONTROL = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 without tab, LF and CR; DEL; C1
_IN_CSI = r"[ -?]*"
_IN_STRING = r"[^\x07\x18\x1a\x1b\x9b\r\n]*"
_AFTER_ESC = r"[ -/]*"

# The leading character class keeps the search fast on text without escapes.
_SEQUENCE = re.compile(
    rf"[{_CONTROL}](?:"
    rf"(?<=\x1b)(?:\[{_IN_CSI}[@-~]?|[\]PX^_]{_IN_STRING}[\x07\x18\x1a]?|{_AFTER_ESC}[0-~]?)"
    rf"|(?<=\x9b){_IN_CSI}[@-~]?)?"
)
_UNFINISHED = re.compile(rf"(\x1b\[|\x9b){_IN_CSI}|(\x1b[\]PX^_]){_IN_STRING}|(\x1b[ -/]?){_AFTER_ESC}")


class EscapeRemover:
    """Feeds on text, gives it back as a terminal would show it, without cursor movement.

    Removed (ECMA-48): CSI sequences (``ESC [`` and U+009B), command strings (OSC, DCS, SOS, PM, APC), other escape
    sequences, and control characters except tab, LF and CR. A command string also ends at a line break: one that was
    never closed must not swallow the rest of a message. Where the text is cut changes nothing; at most two characters
    are held back.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        self._held = ""
        start = max(text.rfind("\x1b"), text.rfind("\x9b"))
        if start >= 0 and (unfinished := _UNFINISHED.fullmatch(text, start)):
            # the shortest beginning of the same kind of sequence: what was skipped inside it needs no keeping
            self._held = unfinished[unfinished.lastindex or 0]
            text = text[:start]
        return _SEQUENCE.sub("", text)
