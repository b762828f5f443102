"""JSON of unknown shape, read without ever raising: what agents print changes from version to version."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import cast

import attrs

_LARGEST = 2**53  # what a number in JSON can be without losing precision; more is nonsense


@attrs.frozen
class Record:
    """One JSON object. A key that is missing or holds another type reads as nothing: "", 0, False, {}, []."""

    fields: Mapping[str, object] = attrs.field(factory=dict[str, object])

    def text(self, *keys: str) -> str:
        """The first of these keys that holds a string with something in it."""
        for key in keys:
            value = self.fields.get(key)
            if isinstance(value, str) and value:
                return value
        return ""

    def integer(self, key: str) -> int:
        """A whole number of at least 0."""
        return int(self.number(key))

    def number(self, key: str) -> float:
        """A finite number of at least 0."""
        value = self.fields.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return 0
        if isinstance(value, float) and not math.isfinite(value):
            return 0
        return min(max(value, 0), _LARGEST)

    def flag(self, key: str) -> bool:
        return self.fields.get(key) is True

    def record(self, *path: str) -> Record:
        found = self
        for key in path:
            found = as_record(found.fields.get(key))
        return found

    def records(self, key: str) -> Sequence[Record]:
        """The objects of a list that hold something; what else is in it is left out."""
        return [record for value in self.values(key) if (record := as_record(value))]

    def texts(self, key: str) -> Sequence[str]:
        return [value for value in self.values(key) if isinstance(value, str)]

    def values(self, key: str) -> Sequence[object]:
        value = self.fields.get(key)
        return cast("list[object]", value) if isinstance(value, list) else []

    def __bool__(self) -> bool:
        return bool(self.fields)


def as_record(value: object) -> Record:
    return Record(cast("dict[str, object]", value) if isinstance(value, dict) else {})


def parse_record(text: str) -> Record | None:
    """The JSON object that the text is, or None. Control characters in its strings need not be escaped; lone surrogates
    become ``?``: nobody could store them."""
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text, strict=False)
        if "\\ud" in text or "\\uD" in text:
            value = json.loads(json.dumps(value, ensure_ascii=False).encode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return as_record(value)


def one_line(text: str, limit: int = 200) -> str:
    """The text on one line of at most `limit` characters, without control characters."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 8 * limit]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


# What says best what a tool does, in this order.
_TELLING = ("command", "cmd", "file_path", "filePath", "filepath", "path", "pattern", "query", "url", "description")


def tool_title(name: str, arguments: Mapping[str, object]) -> str:
    """One readable line such as ``Bash: npm test``."""
    for key in _TELLING:
        value = arguments.get(key)
        if isinstance(value, list):
            words = [str(word) for word in cast("list[object]", value)]
            # what runs inside an agent's own ["bash", "-lc", "…"]
            value = words[2] if len(words) == 3 and words[1] in ("-lc", "-c") else " ".join(words)
        if isinstance(value, str) and value.strip():
            return f"{one_line(name, 60)}: {one_line(value)}"
    return one_line(name, 60)
