"""Is the loop getting anywhere? The signs that it is not (`PRODUCT.md`, struggle), and the errors agents print.

Signs: nothing changed in 3 iterations; the same error in 2 in a row; 3 short iterations without a change; the files go
back and forth. They are shown and told to the agent; they never stand against a completion.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby, takewhile

import attrs

from ralph_loop.engine.escapes import EscapeRemover

_STREAK = 3
_SHORT_MS = 10_000
_MAX_ERRORS = 10
_MAX_ERROR_LENGTH = 200  # characters
_MAX_LINE = 1000  # characters of a line that are looked at

# Every error line holds one of these, in lower case: a quick look before the thorough ones.
_HINT = re.compile("err|fail|exception|panic|fatal|traceback|not ok|not found")
_ERROR = re.compile(
    r"""(?i:\b(?:error|failed|failure|exception|fatal|panicked)\b[^:]{0,40}:   # error: x, error[E1]: x, fatal error: x
    | ^(?:npm\ err!|not\ ok\b|failed\s) | :\ (?:command\ )?not\ found$ | \bpanicked\ at\b)
    | ^Traceback\ \( | \b[A-Z]\w*(?:Error|Exception)\b                      # TypeError, java.io.IOException
    """,
    re.VERBOSE | re.ASCII,
)
_TEST = re.compile(r"\btests?\b", re.IGNORECASE | re.ASCII)
_FAIL = re.compile(r"\bfail", re.IGNORECASE | re.ASCII)
_NONE = re.compile(
    r"""(?i)\b(?:0|no|zero|without(?:\ any)?)\s+(?:\w+\s+){0,2}(?:errors?|fail(?:ed|ures?|ing)?|exceptions?)\b
    | \b(?:errors?|fail(?:ed|ures?|ing)?|exceptions?)[\s:=]*\b0(?![\w.])
    """,
    re.VERBOSE,
)
# What differs between two prints of the same error. Relative paths stay: they name files of the project.
_VARYING = re.compile(
    r"""(?<![\w.])(?:[A-Za-z]:\\|~?/)[^\s'"`:,()<>|]+                       # absolute paths
    | \b\d{4}-\d\d-\d\d(?:[T\ ]\d\d:\d\d(?::\d\d)?(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?)?
    | \b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b
    | \b0[xX][0-9a-fA-F]+\b | \b(?=\w*\d)[0-9a-fA-F]{7,}\b
    | \d+(?:[.,:]\d+)*(?:\s?(?:[nuµm]?s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b)?
    """,
    re.VERBOSE,
)


@attrs.frozen
class Past:
    """What is known of an iteration that ended. `files_changed`: None where changes are not tracked."""

    duration_ms: int
    files_changed: int | None
    errors: Sequence[str]
    tree: str | None  # id of the tree after it


def reasons(history: Sequence[Past]) -> list[str]:
    """Why the loop seems to be stuck, as sentences; empty when it does not. `history` in order, latest last."""
    found: list[str] = []
    idle = _streak(history, lambda past: past.files_changed == 0)
    if idle >= _STREAK:
        found.append(f"No file was changed in the last {idle} iterations.")
    short = _streak(history, lambda past: past.files_changed == 0 and past.duration_ms < _SHORT_MS)
    if short >= _STREAK:
        found.append(
            f"The last {short} iterations ended in less than {_SHORT_MS // 1000} seconds each, without a change."
        )
    found += _same_errors(history)
    if _back_and_forth([past.tree for past in history]):
        found.append("The changes go back and forth: the last one undid the one before it, file for file.")
    return found


def _streak(history: Sequence[Past], sign: Callable[[Past], bool]) -> int:
    return sum(1 for _ in takewhile(sign, reversed(history)))


def _same_errors(history: Sequence[Past]) -> list[str]:
    errors = history[-1].errors if history else ()
    # "0 tests failed" is no error, whoever reported it
    latest = {normalise(error): error for error in errors if not _looks_bad(error) or _is_error(error)}
    found: list[str] = []
    for same, error in latest.items():
        times = _streak(history, lambda past, same=same: same in map(normalise, past.errors))
        if times >= 2:
            found.append(f"The same error came up in the last {times} iterations: {_one_line(error)}")
    return found[:3]


def _back_and_forth(trees: Sequence[str | None]) -> bool:
    changes = [tree for tree, _ in groupby(trees)][-3:]  # an iteration that changed nothing is no step
    return len(changes) == 3 and None not in changes and changes[0] == changes[2]


def normalise(error: str) -> str:
    """An error without what differs each time it is printed: case, blanks, numbers, times, hex, absolute paths."""
    return " ".join(_VARYING.sub("#", error[:_MAX_LINE]).casefold().split())


def _is_error(line: str) -> bool:
    return _looks_bad(line) and _looks_bad(_NONE.sub("", line))


def _looks_bad(line: str) -> bool:
    return bool(_ERROR.search(line) or (_TEST.search(line) and _FAIL.search(line)))


def _one_line(error: str) -> str:
    line = " ".join(error.split())
    return line if len(line) <= _MAX_ERROR_LENGTH else line[: _MAX_ERROR_LENGTH - 1] + "…"


class ErrorScanner:
    """Collects error lines from what a plain-text agent prints: the latest ten, each once.

    Fed in pieces of any size; where the text is cut never changes the result. Memory is bounded.
    """

    def __init__(self) -> None:
        self._escapes = EscapeRemover()
        self._line = ""  # the beginning of the line that has not ended
        self._errors: dict[str, None] = {}

    def feed(self, text: str) -> None:
        text = self._escapes.feed(text)
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        if end:
            _collect(self._errors, self._line + text[:end])
            self._line = ""
        self._line += text[end : end + _MAX_LINE - len(self._line)]

    def errors(self) -> list[str]:
        """The errors so far, in the order in which they came up."""
        return list(_collect(dict(self._errors), self._line))


def _collect(errors: dict[str, None], text: str) -> dict[str, None]:
    """Adds the error lines of `text`; a dict as an ordered set."""
    if _HINT.search(text.lower()):
        for line in re.split(r"[\r\n]+", text):
            error = line[:_MAX_LINE].strip()
            if _HINT.search(error.lower()) and _is_error(error):
                errors[error[:_MAX_ERROR_LENGTH]] = None
                if len(errors) > _MAX_ERRORS:
                    del errors[next(iter(errors))]
    return errors
