"""Which text of a structured agent is its final message."""

from __future__ import annotations

from ralph_loop.agents.base import Text

LONGEST_MESSAGE = 1024 * 1024
"""Characters that are kept of a message: its end, where the promise stands."""


class Messages:
    """The main agent's own messages, whole or in deltas.

    The final message is the last one that is not blank. Agents follow it with empty ones at times, after a last tool
    call for instance, and these must not hide it.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []  # of the message that has not ended
        self._length = 0
        self._last = ""
        self._line_open = False  # the text so far does not end with a line break

    def delta(self, text: str) -> list[Text]:
        """The next piece of the message."""
        if not text:
            return []
        starts = not self._parts
        self._parts.append(text)
        self._length += len(text)
        if self._length > 2 * LONGEST_MESSAGE:
            self._parts = [self.current[-LONGEST_MESSAGE:]]
            self._length = LONGEST_MESSAGE
        # so that two messages do not run into one line
        shown = "\n" + text if starts and self._line_open else text
        self._line_open = not text.endswith("\n")
        return [Text(shown)]

    def whole(self, text: str) -> list[Text]:
        """A complete message. What came of it as deltas before is not told again."""
        if text.startswith(self.current):
            events = self.delta(text[self._length :])
        else:
            self.end()
            events = self.delta(text)
        self.end()
        return events

    def end(self) -> None:
        """What comes next belongs to another message."""
        if text := self.current:
            self._last = text if text.strip() else self._last
            self._parts.clear()
            self._length = 0

    def forget(self) -> None:
        """What came so far cannot be the final message."""
        self._parts.clear()
        self._length = 0
        self._last = ""

    @property
    def current(self) -> str:
        return "".join(self._parts)

    @property
    def final(self) -> str:
        text = self.current
        return (text if text.strip() else self._last)[-LONGEST_MESSAGE:]
