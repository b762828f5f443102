"""OpenCode's server: what the events of one prompt mean.

A prompt is run in a session; tools may open sessions of their own below it (subagents). Of those only the tools and
what they ask count. The prompt has ended at the first idle of the session after it was busy with this prompt.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from ralph_loop.agents.base import AgentError, ErrorKind, Event, RateLimit, Retry, Usage
from ralph_loop.agents.opencode import ABOUT, opencode_error, tokens_of, tool_error
from ralph_loop.agents.ratelimit import epoch_time
from ralph_loop.agents.reading import Reading
from ralph_loop.agents.records import Record, one_line

LONGEST_RETRY_S = 90  # OpenCode waits for hours when a provider says so; then we rather let the loop wait

_GOES_ON = {"tool-calls", "unknown", ""}


class PromptReading(Reading):
    """`session`: the id of the session that the prompt is sent to."""

    def __init__(self, session: str) -> None:
        super().__init__(ABOUT)
        self.session = session
        self.sessions = {session}  # this one and those below it
        self.ended = False
        self.gave_up = False  # it ended for us while OpenCode goes on
        self.rejected: list[str] = []  # what a person rejected without a word: that ends the turn
        self._old: frozenset[str] = frozenset()  # ids of messages from before the prompt
        self._taken = False  # our prompt has become a message
        self._busy = False  # and is being worked on
        self._own: set[str] = set()  # ids of the agent's own messages
        self._texts: dict[str, str] = {}  # of text parts by id, as far as they are known
        self._usage: dict[str, tuple[int, int, float]] = {}
        self._told: Usage | None = None
        self._finish = ""  # why the model's last answer ended

    def know(self, ids: Iterable[str]) -> None:
        """These messages are there already: a session that is continued may still tell of them."""
        self._old = frozenset(ids)

    def concerns(self, event: Record) -> bool:
        """Whether an event belongs to this prompt's sessions."""
        properties = event.record("properties")
        info = properties.record("info")
        if event.text("type") == "session.created" and info.text("parentID") in self.sessions:
            self.sessions.add(info.text("id"))
        session = properties.text("sessionID") or info.text("sessionID") or properties.record("part").text("sessionID")
        return session in self.sessions

    def read(self, event: Record) -> Iterable[Event]:
        properties = event.record("properties")
        own = properties.text("sessionID") == self.session
        match event.text("type"):
            case "message.updated":
                return self.read_message(properties.record("info"))
            case "message.part.updated":
                return self.read_part(properties.record("part"))
            case "message.part.delta" if own and properties.text("field") == "text":
                return self._delta(properties)
            case "session.status" if own:
                return self._status(properties.record("status"))
            case "session.idle" if own:
                self.ended = self.ended or self._busy
            case "session.error" if own:
                self.failure = opencode_error(properties.record("error"))
            case _:
                pass
        return ()

    def read_message(self, info: Record) -> Iterator[Event]:
        """What a message is; it comes again whenever something about it changes."""
        id_ = info.text("id")
        if id_ in self._old or info.text("sessionID") not in self.sessions:
            return
        if info.text("role") == "user":
            self._taken = True
            return
        if own := info.text("sessionID") == self.session:
            self._busy = True
        if own and (error := info.record("error")):
            self.failure = opencode_error(error)
        elif own and info.text("finish") and not info.flag("summary"):
            self._finish = info.text("finish")
            self.failure = None  # it got over it
        if own and not info.flag("summary"):
            self._own.add(id_)
        yield from self._count(id_, info)

    def read_part(self, part: Record) -> Iterable[Event]:
        if part.text("type") == "tool":
            return self._tool(part)
        if part.text("type") == "text" and part.text("messageID") in self._own:
            return self._text(part)
        return ()

    def went_idle(self) -> None:
        """The server says that the session is not busy any more; the event was missed, or never came."""
        self.ended = True

    def conclude(self) -> Iterator[Event]:
        """The prompt has ended: how?"""
        if self.rejected:
            # a person decided so: neither success nor failure of the agent
            words = f"You rejected: {', '.join(self.rejected)}. OpenCode ended its turn."
            yield AgentError(ErrorKind.PERMISSION, words)
            self.failure = None
            yield from self.finish(" ")
        elif self.failure:
            yield from self.finish(ok=False)
        elif self._finish == "length":
            self.refused("the answer was cut at the model's output limit")
            yield from self.finish(ok=False)
        elif self._finish in _GOES_ON:
            words = "OpenCode ended its turn without saying that it was finished."
            yield AgentError(ErrorKind.NO_FINAL, words, "It may have been aborted from elsewhere.")
        else:
            yield from self.finish()

    def _delta(self, properties: Record) -> Iterable[Event]:
        id_ = properties.text("partID")
        if id_ not in self._texts or properties.text("messageID") not in self._own:
            return ()  # a thought, or a part whose beginning was missed: it comes whole at its end
        self._texts[id_] += properties.text("delta")
        return self.messages.delta(properties.text("delta"))

    def _text(self, part: Record) -> Iterator[Event]:
        id_, text = part.text("id"), part.text("text")
        if part.flag("synthetic") or part.flag("ignored"):
            return
        if id_ not in self._texts:
            self.messages.end()
            self._texts[id_] = ""
        if text.startswith(known := self._texts[id_]) and text != known:
            self._texts[id_] = text
            yield from self.messages.delta(text[len(known) :])

    def _tool(self, part: Record) -> Iterator[Event]:
        state, id_ = part.record("state"), part.text("callID", "id")
        status = state.text("status")
        if status in ("running", "completed", "error"):
            yield from self.start_tool(id_, part.text("tool") or "tool", state.record("input"))
        if status in ("completed", "error"):
            yield from self.end_tool(id_, error=tool_error(state))

    def _status(self, status: Record) -> Iterator[Event]:
        if status.text("type") == "busy":
            self._busy = self._taken
        elif status.text("type") == "idle":
            self.ended = self.ended or self._busy
        elif status.text("type") == "retry":
            message = one_line(status.text("message") or "the model did not answer")
            again_at = status.integer("next")
            yield Retry(f"{message}: attempt {status.integer('attempt')}")
            if again_at / 1000 - time.time() > LONGEST_RETRY_S:
                self.failure = RateLimit(f"OpenCode: {message}", epoch_time(again_at))
                self.ended = self.gave_up = True

    def _count(self, id_: str, info: Record) -> Iterator[Event]:
        self._usage[id_] = (*tokens_of(info.record("tokens")), info.number("cost"))
        read, written, cost = (sum(numbers) for numbers in zip(*self._usage.values(), strict=True))
        usage = Usage(int(read), int(written), cost)
        if (read or written) and usage != self._told:
            self._told = usage
            yield usage
