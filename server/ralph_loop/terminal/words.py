"""Durations, times, counts and names as people write and read them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Any

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def parse_duration(text: str) -> int:
    """`90s`, `30m`, `1h30m` in milliseconds. Raises ValueError: a bare number could mean seconds or minutes."""
    found = _DURATION.fullmatch(text.strip().lower())
    if found is None or not any(found.groups()):
        raise ValueError(f"{text!r} is not a duration; write it with its unit, like 90s, 30m or 1h30m")
    return sum(int(number) * unit for number, unit in zip(found.groups(), _UNITS_MS.values(), strict=True) if number)


def duration(ms: int) -> str:
    """`0.8s`, `42s`, `3m05s`, `2h03m`, `1d04h`."""
    if ms < 10_000:
        return f"{ms // 100 / 10:.1f}s"
    seconds = ms // 1000
    if seconds < 60:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 60:
        return f"{minutes}m{seconds:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h"


def clock(at: str) -> str:
    """A time of the contract (RFC 3339, UTC) as the local time of the day."""
    return datetime.fromisoformat(at).astimezone().strftime("%H:%M:%S")


def moment(at: str) -> str:
    """The local time; with the date unless it is today's."""
    local = datetime.fromisoformat(at).astimezone()
    return local.strftime("%H:%M" if local.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M")


def count(number: int, noun: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def changed(files: int) -> str:
    """What is known of changes; a folder without git has none that is."""
    return f"{count(files, 'file')} changed" if files else "no change recorded"


def lines(files: Sequence[dict[str, Any]]) -> str:
    """Lines added and removed by some changes."""
    return f"+{sum(file['added'] for file in files):,} -{sum(file['removed'] for file in files):,}"


def tokens(used: dict[str, int]) -> str:
    """`12.3k in, 456 out`."""
    return f"{_thousands(used['input'])} in, {_thousands(used['output'])} out"


def cost(usd: float) -> str:
    return f"${usd:.2f}" if usd >= 0.1 or usd == 0 else f"${usd:.4f}"


def _thousands(number: int) -> str:
    if number < 1000:
        return str(number)
    return f"{number / 1000:.1f}k" if number < 1_000_000 else f"{number / 1_000_000:.1f}M"


def agent(thing: dict[str, Any]) -> str:
    """`claude` or `claude:opus`, of a snapshot or a record."""
    return f"{thing['agent']}:{thing['model']}" if thing.get("model") else str(thing["agent"])


def of_limit(snapshot: dict[str, Any], iteration: int | None = None) -> str:
    """`3/50`, or `3` without a limit."""
    number = snapshot["iteration"] if iteration is None else iteration
    return f"{number}/{snapshot['maxIterations']}" if snapshot["maxIterations"] else str(number)


def one_line(text: str) -> str:
    """Text of anybody's on one line, without what a terminal would act on."""
    return _CONTROL.sub(" ", text).strip()


def cells(text: str) -> int:
    """How many columns a terminal needs for it."""
    if text.isascii():
        return len(text)
    return sum(_cell(character) for character in text)


def fit(text: str, width: int) -> str:
    """At most `width` columns of it."""
    if cells(text) <= width:
        return text
    taken, used = "", 0
    for character in text:
        used += _cell(character)
        if used > width - 1:
            break
        taken += character
    return taken + "…" if width > 0 else ""


def wrap(text: str, width: int, indent: str) -> str:
    """The text in lines of at most `width` columns, broken at blanks alone: a long word stays whole."""
    lines: list[str] = []
    for word in text.split(" "):
        if lines and cells(_COLOUR.sub("", f"{lines[-1]} {word}")) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(indent + word)
    return "\n".join(lines)


def _cell(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200b\u200c\u200d\u2060\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def also(ids: Sequence[str] | None) -> str:
    """The other ways to run an agent, for the end of a line."""
    return f"; also as {', '.join(ids)}" if ids else ""
