"""What is known of an iteration of a structured agent while it is read, whatever the form of its events."""

from __future__ import annotations

from collections.abc import Iterator

from ralph_loop.agents.base import AgentError, Event, Final, RateLimit, ToolEnd, ToolStart
from ralph_loop.agents.messages import Messages
from ralph_loop.agents.modelerrors import About, model_error
from ralph_loop.agents.records import Record, tool_title

LONGEST_TOOL_ERROR = 2000  # characters


class Reading:
    """A refusal of the model is held back (`failure`): agents retry, compact and go on. It is told when the agent has
    ended, or says itself that it failed."""

    def __init__(self, about: About) -> None:
        self.about = about
        self.messages = Messages()
        self.final: Final | None = None
        self.failure: RateLimit | AgentError | None = None
        self.denied: list[str] = []  # tools that were denied, each in a few words
        self.running: dict[str, str] = {}  # tools: id → name
        self._started: set[str] = set()  # ids of all tools so far

    def start_tool(self, id_: str, name: str, arguments: Record, title: str = "") -> Iterator[Event]:
        """A tool begins, once: agents repeat themselves."""
        id_ = id_ or f"{name}#{len(self._started)}"
        if id_ not in self._started:
            self.messages.end()
            self._started.add(id_)
            self.running[id_] = name
            yield ToolStart(id_, name, title or tool_title(name, arguments.fields), arguments.fields)

    def end_tool(self, id_: str, name: str = "", error: str = "") -> Iterator[Event]:
        """A tool ended. Without an id it is the one that started last under this name."""
        if not id_:
            id_ = next((key for key, running in reversed(self.running.items()) if name in ("", running)), "")
        if known := self.running.pop(id_, ""):
            yield ToolEnd(id_, known, error[:LONGEST_TOOL_ERROR] or None)

    def finish(self, message: str = "", *, ok: bool = True) -> Iterator[Event]:
        """The agent's own final event, the first one: see the agents for those that have several."""
        if self.final is None:
            self.final = Final((message or self.messages.final) if ok else None, ok)
            yield self.final
            if ok:
                self.failure = None  # it got over it
            elif self.failure:
                yield self.failure

    def refused(self, message: str, *, status: int = 0, code: str = "") -> None:
        self.failure = model_error(self.about, message, status=status, code=code)
