"""What a person reads of an agent with structured output: its text, a line per tool, its errors."""

from __future__ import annotations

from ralph_loop.agents.base import (
    AgentError,
    Event,
    Final,
    Note,
    PermissionNote,
    QuestionNote,
    RateLimit,
    Retry,
    Text,
    ToolEnd,
    ToolStart,
)


class Display:
    """Renders events one after the other; a line of ours always starts a new line."""

    def __init__(self) -> None:
        self._at_start = True
        self._spoke = False

    def render(self, event: Event) -> bytes:
        """The bytes for the `display` stream; empty when the event has nothing to show."""
        match event:
            case Text():
                self._spoke = self._spoke or bool(event.text.strip())
                return self._add(event.text)
            case ToolStart():
                return self._line(f"→ {event.title or event.name}")
            case ToolEnd():
                return self._line(f"✗ {event.name}: {event.error}") if event.error else b""
            case RateLimit():
                return self._line(f"✗ rate limit: {event.message}")
            case Retry():
                return self._line(f"… {event.message}")
            case PermissionNote():
                return self._line(f"✗ {event.tool} was not allowed: {event.message}")
            case QuestionNote():
                return self._line(f"? {event.text}" + "".join(f"\n  - {option}" for option in event.options))
            case Note():
                return self._line(event.text)
            case AgentError():
                return self._line(f"✗ {event.message}" + (f" {event.hint}" if event.hint else ""))
            case Final():
                # most agents have printed their final message as text already
                return b"" if self._spoke or not event.message else self._line(event.message)
            case _:
                return b""

    def _line(self, line: str) -> bytes:
        return self._add(("" if self._at_start else "\n") + line.rstrip() + "\n")

    def _add(self, text: str) -> bytes:
        if text:
            self._at_start = text.endswith("\n")
        return text.encode(errors="replace")  # JSON can hold half a surrogate pair
