"""Rate limits in what an agent says in plain words.

Only for text that is an error already: the output of an agent that failed, or the message of its own error event.
Never for ordinary output: agents read and write files that speak of rate limits.
The forms are those that Claude Code, Codex, Gemini and Copilot print (see the tests).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import parsedate_to_datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ralph_loop.agents.base import RateLimit
from ralph_loop.engine.escapes import EscapeRemover

LONGEST_TEXT = 64 * 1024  # characters looked at, from the end
LONGEST_MESSAGE = 300

_LIMITED = re.compile(
    r"""
      \b429\W{1,3}too\ many\ requests | too\ many\ requests\W{1,3}429\b
    | \b(?:https?(?:/[\d.]+)?|status(?:[ _]?code)?|code|rejected)[\s"':=(]{1,4}429\b
    | \berror[\s"':=(]{1,4}429\b(?=\s*(?:$|[^\s\w]))                   # "Error: 429 {…}", not "error: 429 tests failed"
    | \brate[ _-]?limit(?:ed\b|[ _]error | (?:\ (?:was|has\ been))?[ _](?:exceeded|reached|hit)\b)
    | \bexceed\w*\ (?:\w+\W{1,2}){0,4}rate\ limit
    | \b(?:hit|reached|exceeded)\ your\ (?:[\w-]+\ ){0,3}limit\b
    | \b(?:usage|session|weekly|daily|hourly|\d+-hour|opus|sonnet|quota)[ _]limit
      (?:\ (?:was|has\ been))?[ _](?:reached|exceeded|hit)\b
    | \bquota\ (?:was\ |has\ been\ )?exceeded\b | \bexceeded\ your\ (?:\w+\ )?quota\b | \bRESOURCE_EXHAUSTED\b
    | \bexhausted\ your\ (?:\w+\ )?(?:capacity|quota)\b | \bout\ of\ extra\ usage\b
    | \boverloaded_error\b | \b(?:server|model|service|api|engine)s?\ (?:is|are)\ (?:\w+\ )?overloaded\b
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)"
_AMOUNT = rf"\d{{1,9}}(?:\.\d{{1,9}})?(?:\s*{_UNIT})?(?![a-z])"
_WAIT = re.compile(
    r"(?:(?:retry|try again|resets?|available)[-_ ]?(?:after|in)|retryDelay)[-_ ]?(?P<unit>seconds|ms)?[\"':=\s]{0,4}"
    rf"(?P<amounts>{_AMOUNT}(?:(?:,|\ and)?\s*{_AMOUNT}){{0,4}})(?!\s*[ap]\.?m\b|[:/-]\d|\d)",
    re.IGNORECASE,
)
_ONE_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|mil|[smhd])?", re.IGNORECASE)
_EPOCH = re.compile(r"(?:limit reached\||resets?[_ ]?(?:at|time)?[\"':=\s]{1,4})(\d{10}|\d{13})\b", re.IGNORECASE)
_ISO = re.compile(
    r"(?:resets?|again|retry)\D{0,20}(\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*(?:Z|[+-]\d\d:?\d\d)?)", re.IGNORECASE
)
_HTTP_DATE = re.compile(
    r"(?:resets?|again|retry-after)\W{0,5}((?:mon|tue|wed|thu|fri|sat|sun), \d{1,2} [a-z]{3} \d{4} \d\d:\d\d:\d\d GMT)",
    re.IGNORECASE,
)
_CLOCK = re.compile(
    r"(?:resets?|again)(?:\ at|\ on)?\s+"
    r"(?:(?P<month>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\ (?P<day>\d{1,2})(?:st|nd|rd|th)?"
    r"(?:,?\ (?P<year>\d{4}))?(?:,|\ at)*\s+)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap])?(?:\.?m\b\.?)?"
    r"(?:\s*\((?P<zone>[A-Za-z0-9_+/-]{1,40})\)|\s+(?P<bare>(?-i:UTC|GMT|[A-Z]{1,4}T|[A-Z][a-z]+/[A-Z]\w+)(?:[+-]\d+)?)\b)?",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def rate_limit_from_text(text: str, now: datetime) -> RateLimit | None:
    """The rate limit that an error text tells of, or None. `now` must be aware; `reset_at` is in UTC.

    A clock time without a zone is taken in the zone of `now`: agents print their local time.
    """
    text = EscapeRemover().feed(text[-LONGEST_TEXT:])
    found = _LIMITED.search(text)
    if found is None:
        return None
    start = text.rfind("\n", 0, found.start()) + 1
    line = text[start:].partition("\n")[0].strip()
    return RateLimit(line[:LONGEST_MESSAGE], reset_time(text[start:], now))


def reset_time(text: str, now: datetime) -> datetime | None:
    """When the limit that a text tells of ends, if it says so: after a wait, at a time, or ``retry-after: …``."""
    try:
        return _epoch(text) or _iso(text, now) or _http_date(text) or _clock(text, now) or _wait(text, now)
    except (ValueError, OverflowError):  # the 31st of June, the year 9999: no time is better than a wrong one
        return None


def epoch_time(number: int) -> datetime | None:
    """A time given in seconds since 1970, or in milliseconds."""
    try:
        return datetime.fromtimestamp(number / 1000 if number > 10**11 else number, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def moment(value: object) -> datetime | None:
    """A time as a field of its own: seconds or milliseconds since 1970, also as text, or ISO 8601 (in UTC when without
    a zone)."""
    if isinstance(value, str) and not value.strip().replace(".", "", 1).isdecimal():
        try:
            found = datetime.fromisoformat(value.strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = int(float(value))
    except (ValueError, OverflowError):
        return None
    return epoch_time(number) if number > 0 else None


def _epoch(text: str) -> datetime | None:
    found = _EPOCH.search(text)
    return epoch_time(int(found[1])) if found else None


def _iso(text: str, now: datetime) -> datetime | None:
    found = _ISO.search(text)
    if found is None:
        return None
    moment = datetime.fromisoformat(found[1])
    return (moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)).astimezone(UTC)


def _http_date(text: str) -> datetime | None:
    found = _HTTP_DATE.search(text)
    return parsedate_to_datetime(found[1]) if found else None


def _wait(text: str, now: datetime) -> datetime | None:
    found = _WAIT.search(text)
    if found is None:
        return None
    bare = "ms" if (found["unit"] or "").lower() == "ms" else "s"
    seconds = 0.0
    for amount, unit in _ONE_AMOUNT.findall(found["amounts"]):
        unit = "ms" if unit.lower() in ("ms", "mil") else unit.lower() or bare
        seconds += float(amount) * _UNITS[unit]
    return (now + timedelta(seconds=seconds)).astimezone(UTC)


def _clock(text: str, now: datetime) -> datetime | None:
    """The next moment at which a clock shows what the text says, such as ``5pm (Europe/Vilnius)``."""
    for found in _CLOCK.finditer(text):
        if not (found["half"] or found["minute"]):
            continue  # "try again 3 times"
        zone = _zone(found["zone"] or found["bare"], now)
        if zone is None:
            return None
        hour = int(found["hour"])
        if found["half"]:
            hour = hour % 12 + (12 if found["half"].lower() == "p" else 0)
        today = now.astimezone(zone)
        moment = today.replace(hour=hour, minute=int(found["minute"] or 0), second=0, microsecond=0)
        if not found["month"]:
            return (moment if moment > today else moment + timedelta(days=1)).astimezone(UTC)
        month = _MONTHS.index(found["month"].lower()) + 1
        moment = moment.replace(year=int(found["year"] or today.year), month=month, day=int(found["day"]))
        if not found["year"] and moment < today - timedelta(days=30):
            moment = moment.replace(year=today.year + 1)
        return moment.astimezone(UTC)
    return None


def _zone(name: str | None, now: datetime) -> tzinfo | None:
    if name is None:
        return now.tzinfo
    try:
        return UTC if name.upper() in ("UTC", "GMT") else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
