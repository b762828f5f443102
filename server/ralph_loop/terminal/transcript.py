"""A loop's output on the screen: a heading for each iteration, what the agent printed, how it ended."""

from __future__ import annotations

import base64
import sys
from typing import Protocol

from ralph_loop.shared.client import Client
from ralph_loop.terminal import words
from ralph_loop.terminal.asking import records
from ralph_loop.terminal.options import Json
from ralph_loop.terminal.screen import Screen


class Transcript(Protocol):
    """Shows what is stored, in order, from where it stopped: a broken connection leaves no gap."""

    def note(self, record: Json) -> None:
        """An iteration began or ended; all that it printed is stored when it has ended."""
        ...

    def advance(self, client: Client) -> bool:
        """Shows the next page of output. Whether there is more."""
        ...


class Readable:
    """For people. `after` is the iteration before the first one that is shown; with `iteration` only that one is, and
    without a heading."""

    def __init__(
        self, screen: Screen, loop: Json, *, after: int = 0, seq: int = 0, iteration: int | None = None
    ) -> None:
        self._screen = screen
        self._loop = loop  # a snapshot of it
        self._request: Json = {"runId": loop["runId"]}
        if iteration is not None:
            self._request["iteration"] = iteration
        self._headings = iteration is None
        self._seq = seq
        self._noted: dict[int, Json] = {}
        self._open = 0  # the iteration whose heading was shown last
        self._closed = after  # the last one whose end was shown

    def note(self, record: Json) -> None:
        if self._headings and record["iteration"] > self._closed:
            self._noted[record["iteration"]] = record

    def advance(self, client: Client) -> bool:
        page = client.request("ralph/output", {**self._request, "after": self._seq})
        for chunk in page["chunks"]:
            if self._headings and chunk["iteration"] > max(self._open, self._closed):
                self._reach(client, chunk["iteration"])
            self._screen.agent(chunk["stream"], chunk["text"])
            self._seq = chunk["seq"]
        if not page["more"]:
            for iteration in sorted(self._noted):
                self._show(client, self._noted[iteration], ended=True)
        return page["more"]

    def _reach(self, client: Client, iteration: int) -> None:
        """The iteration's heading, after the ends of those before it."""
        for record in records(client, {"runId": self._loop["runId"]}, after=self._closed):
            if record["iteration"] <= iteration:
                self._show(client, record, ended=record["iteration"] < iteration)

    def _show(self, client: Client, record: Json, *, ended: bool) -> None:
        number: int = record["iteration"]
        if number > max(self._open, self._closed):
            self._screen.end_agent()
            self._screen.line()
            left = f"iteration {words.of_limit(self._loop, number)} · {words.agent(record)}"
            self._screen.rule(left, words.clock(record["startedAt"]))
            self._open = number
        if ended and number > self._closed and record["status"] != "running":
            if "files" not in record:  # left out of notifications when there are many
                (record,) = records(client, {"runId": self._loop["runId"]}, after=number - 1)[:1]
            self._screen.end_agent()
            self._screen.say(footer(self._screen, record), indent="   ")
            self._closed = number
            self._noted.pop(number, None)


def footer(screen: Screen, record: Json) -> str:
    """How an iteration ended, on one line."""
    sign, text = ending(record)
    why = ": the promise was not the last line" if record["promise"] == "nearMiss" else ""
    parts = [screen.paint(f"{sign} {text}{why}", COLOURS[sign]), words.duration(record["durationMs"])]
    if record["filesTotal"]:
        files = words.count(record["filesTotal"], "file")
        whole = len(record["files"]) == record["filesTotal"]
        parts.append(f"{files} {words.lines(record['files'])}" if whole else files)
    elif "tracking" not in record and record["status"] != "interrupted":
        parts.append("no changes")
    if record["tools"]:
        parts.append(words.count(sum(record["tools"].values()), "tool call"))
    if record["errors"]:
        parts.append(screen.paint(words.count(len(record["errors"]), "error line"), "yellow"))
    if record.get("tokens"):
        parts.append(f"{words.tokens(record['tokens'])} tokens")
    if record.get("costUsd") is not None:
        parts.append(words.cost(record["costUsd"]))
    return " · ".join(parts)


COLOURS = {"✓": "green", "✗": "red", "⚠": "yellow", "‖": "yellow", "→": "cyan", "●": "cyan"}


def ending(record: Json) -> tuple[str, str]:
    """(sign, words) for how an iteration ended."""
    match record["status"], record["promise"]:
        case "running", _:
            return "●", "running"
        case "completed", "completion":
            return "✓", "promised done"
        case "completed", "task":
            return "✓", "one task done"
        case "completed", "abort":
            return "✗", "gave up"
        case "completed", "nearMiss":
            return "⚠", "near miss"
        case "completed", _:
            return "→", "goes on"
        case "timedOut", _:
            return "✗", "timed out"
        case "interrupted", _:
            return "‖", "interrupted"
        case _:
            code = record.get("exitCode")
            return "✗", "failed" if code in (None, 0) else f"failed (exit code {code})"


class Raw:
    """The exact bytes, as the agent printed them."""

    def __init__(self, run_id: str, streams: tuple[str, ...], *, iteration: int | None = None, seq: int = 0) -> None:
        self._request: Json = {"runId": run_id, "view": "raw", "raw": True}
        if iteration is not None:
            self._request["iteration"] = iteration
        self._streams = streams
        self._seq = seq

    def note(self, record: Json) -> None:
        """Headings are none of the agent's bytes."""

    def advance(self, client: Client) -> bool:
        page = client.request("ralph/output", {**self._request, "after": self._seq})
        for chunk in page["chunks"]:
            self._seq = chunk["seq"]
            if chunk["stream"] in self._streams:
                sys.stdout.buffer.write(base64.b64decode(chunk["bytes"]))
        sys.stdout.buffer.flush()
        return page["more"]


class Silent:
    """Nothing is shown."""

    def note(self, record: Json) -> None: ...

    def advance(self, client: Client) -> bool:
        return False
