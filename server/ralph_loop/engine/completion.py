"""The promise rule: does the agent's own message say that the work is done? (`PRODUCT.md`, "Prompt and completion".)

1. Terminal escapes and control characters are removed; lines end at LF, CR or CRLF.
2. The last line that is not blank decides. It counts when, blanks around it trimmed, it is exactly
   ``<promise>TEXT</promise>`` and TEXT, blanks at its ends trimmed, is one of the loop's promises. Case does not matter
   (Unicode case folding), blanks inside TEXT do.
3. Otherwise, a tag with one of the loop's promises anywhere in the message is a *near miss*: quoted, in a sentence,
   followed by other text, spread over lines, or with TEXT differing in blanks and punctuation only
   (``<promise>**COMPLETE**</promise>``).
4. A tag with any other word is nothing: it may be code that the agent talks about.

Blanks are white space and the invisible format characters (zero-width spaces, byte order mark, direction marks).
"""

from __future__ import annotations

import re

import attrs

from ralph_loop.engine.escapes import EscapeRemover
from ralph_loop.protocol import Promise

MAX_PROMISE_LENGTH = 500  # characters, as configured

# White space as `str.isspace` knows it, without the control characters, which escapes.py removes; format characters.
_SPACES = (*range(0x2000, 0x2010), *range(0x2028, 0x2030), *range(0x205F, 0x2070))
BLANKS = "".join(map(chr, (*map(ord, " \t\n\r\xa0\xad"), 0x61C, 0x1680, 0x180E, *_SPACES, 0x3000, 0xFEFF)))
_OPEN = re.compile(r"<promise>", re.IGNORECASE)
_TAG = re.compile(r"<promise>((?:(?!</?promise>).)*)</promise>", re.IGNORECASE | re.DOTALL)
_TAG_LENGTH = len("<promise></promise>")


@attrs.frozen
class Verdict:
    """`tag`: the tag as it was printed that led to the verdict. With ``none`` it is a tag that stands where a promise
    should, but holds no word of this loop: not a near miss, yet worth telling the agent."""

    promise: Promise = "none"
    tag: str | None = None


def check_promises(completion: str, *, task: str | None, abort: str | None) -> str | None:
    """What is wrong with a loop's promises, as a sentence, or None. `task`: None unless in tasks mode."""
    for name, text in (("completion", completion), ("task", task), ("abort", abort)):
        if text is not None and (problem := _problem(text)):
            return f"The {name} promise {problem}."
    if task is not None and _fold(completion) == _fold(task):
        return "completion and task promises must be different in tasks mode."
    if abort is not None and _fold(abort) in {_fold(completion), _fold(task or completion)}:
        return "The abort promise must be different from the other promises."
    return None


def _problem(text: str) -> str | None:
    if not text.strip(BLANKS):
        return "is empty"
    if len(text) > MAX_PROMISE_LENGTH:
        return f"is longer than {MAX_PROMISE_LENGTH} characters"
    if EscapeRemover().feed(text) != text or "\n" in text.strip(BLANKS) or "\r" in text.strip(BLANKS):
        return "holds a line break or a control character, so that no agent could print it on one line"
    if _OPEN.search(text) or "</promise>" in text.casefold():
        return "must be the text inside the tag, without <promise> and </promise>"
    return None


class MessageScanner:
    """Judges one message, fed in pieces of any size; where it is cut never changes the verdict.

    Memory is bounded by the length of the promises, whatever the length of the message or of one line.
    """

    def __init__(self, completion: str, *, task: str | None, abort: str | None) -> None:
        self._words: dict[str, Promise] = {_fold(completion): "completion"}
        if task is not None:
            self._words.setdefault(_fold(task), "task")
        if abort is not None:
            self._words.setdefault(_fold(abort), "abort")
        self._letters = {letters for word in self._words if (letters := _letters(word))}
        # A longer run of blanks cannot be inside a promise, only around it: it is kept at this length.
        # The room on top is for quotes and emphasis around the word.
        self._longest = max(map(len, self._words)) + 40
        self._runs = re.compile(rf"([{BLANKS}]{{{self._longest}}})[{BLANKS}]+")
        # a tag: blanks, word, blanks; a line: the same and blanks behind it
        self._tag_limit = 3 * self._longest + _TAG_LENGTH
        self._line_limit = self._tag_limit + self._longest + 1
        self.reset()

    def reset(self) -> None:
        """A new message starts: of a structured agent only the last one counts."""
        self._escapes = EscapeRemover()
        self._last = ""  # the last line that ended and was not blank
        self._line = ""  # the beginning of the line that has not ended
        self._window = ""  # the end of the text, where a tag may have begun
        self._near: str | None = None

    def feed(self, text: str) -> None:
        text = self._escapes.feed(text)
        self._follow_lines(text)
        self._look_for_tags(text)

    def verdict(self) -> Verdict:
        """The verdict on the message as fed so far."""
        line = self._line.rstrip(BLANKS) or self._last
        tag = line if (match := _TAG.fullmatch(line)) else None
        if match and (promise := self._words.get(_fold(match[1]))):
            return Verdict(promise, tag)
        if self._near is not None:
            return Verdict("nearMiss", self._near)
        return Verdict("none", tag)

    def _follow_lines(self, text: str) -> None:
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        if end:
            ended = (self._line + text[:end]).strip(BLANKS)
            if ended:
                start = max(ended.rfind("\n"), ended.rfind("\r")) + 1
                self._last = self._shorten(ended[start:]).rstrip(BLANKS)
            self._line = ""
        if len(self._line) < self._line_limit:
            self._line = self._shorten(self._line + text[end:])

    def _shorten(self, line: str) -> str:
        """A line without blanks before it, cut where it can no longer be a promise."""
        return self._runs.sub(r"\1", line.lstrip(BLANKS))[: self._line_limit]

    def _look_for_tags(self, text: str) -> None:
        window = self._window + text
        if not _OPEN.search(window):
            self._window = window[1 - len("<promise>") :]
            return
        window = self._runs.sub(r"\1", window)
        for match in _TAG.finditer(window):
            ours = _fold(match[1]) in self._words or _letters(match[1]) in self._letters
            if ours and len(match[0]) <= self._tag_limit:
                self._near = match[0]
        self._window = window[-self._tag_limit :]


def _fold(word: str) -> str:
    return word.strip(BLANKS).casefold()


def _letters(word: str) -> str:
    return "".join(filter(str.isalnum, word.casefold()))
