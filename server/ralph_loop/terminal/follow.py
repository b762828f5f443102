"""Follows a loop to its end: its output as it comes, how it stands, what it asks; over lost connections."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ralph_loop.shared.client import Client, Notification, Reply, ResponseError
from ralph_loop.terminal import notes, words
from ralph_loop.terminal.asking import NOT_AVAILABLE, last_seq, records
from ralph_loop.terminal.options import Json, Problem
from ralph_loop.terminal.screen import Screen
from ralph_loop.terminal.signals import Interrupts
from ralph_loop.terminal.transcript import Transcript

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TICK_S = 0.15
_LONG_S = 3600.0
_RETRY_S = 0.2
_GIVE_UP_S = 30.0
_OVER = ("completed", "cancelled", "error", "interrupted")
BELLS = frozenset({"ralph/didOutput"})  # the output is read from the store, page by page; this says when


class Follower:
    """One loop. With `interrupts`, Ctrl+C cancels it; without, Ctrl+C ends the following only."""

    def __init__(
        self,
        client: Client,
        data: Path,
        loop: Json,
        screen: Screen,
        transcript: Transcript,
        interrupts: Interrupts | None = None,
    ) -> None:
        self._client = client
        self._data = data
        self._loop = self._told = loop
        self._at = time.monotonic()  # when the snapshot came
        self._screen = screen
        self._transcript = transcript
        self._interrupts = interrupts
        self._handled = 0  # signals
        self._cancelling: int | None = None  # the request
        self._behind = True

    def until_over(self) -> Json:
        """The last snapshot: the loop has ended, or was interrupted. Raises Problem, forward.HelperError."""
        try:
            lost = self._try(self._attach)
            while lost or not self._over():
                lost = self._try(self._reconnect if lost else self._step)
        finally:
            self._screen.clear_status()
        return self._loop

    def _over(self) -> bool:
        return self._loop["status"] in _OVER and not self._behind and self._cancelling is None

    def _try(self, step: Callable[[], None]) -> bool:
        """Whether the connection was lost."""
        try:
            step()
        except BrokenPipeError:
            raise
        except ConnectionError:
            return True
        return False

    # ---------------------------------------------------------------------------------------------------- connection
    def _attach(self) -> None:
        run = {"runId": self._loop["runId"]}
        self._client.bells = BELLS
        self._client.request("ralph/subscribe", {**run, "after": last_seq(self._client, self._loop["runId"])})
        self._take(self._client.request("ralph/status", run) or self._loop)
        for record in records(self._client, run):
            self._transcript.note(record)
        if self._loop["pendingPermissions"] or self._loop["pendingQuestions"]:
            self._show_open(run)
        self._behind = True

    def _reconnect(self) -> None:
        self._screen.clear_status()
        deadline = time.monotonic() + _GIVE_UP_S
        while True:
            try:
                self._client.reconnect(self._data)
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    raise Problem(
                        f"The connection to the helper was lost: {error}.",
                        f"See {self._data / 'helper.log'}; then go on with ralph-loop logs -f.",
                    ) from None
                time.sleep(_RETRY_S)
        again, self._cancelling = self._cancelling is not None, None
        self._attach()
        if again and self._loop["status"] not in _OVER:
            self._cancel()

    def _show_open(self, run: Json) -> None:
        try:
            for permission in self._client.request("ralph/permission/list", run)["requests"]:
                notes.permission(self._screen, permission)
            for question in self._client.request("ralph/question/list", run)["questions"]:
                notes.question(self._screen, question)
        except ResponseError as error:
            if error.code != NOT_AVAILABLE:
                raise

    # --------------------------------------------------------------------------------------------------------- steps
    def _step(self) -> None:
        timeout = 0.0 if self._behind else _TICK_S if self._screen.live else _LONG_S
        message = self._client.next(timeout, self._interrupts.wake if self._interrupts else None)
        if self._interrupts is not None and self._interrupts.count > self._handled:
            self._handled = self._interrupts.count
            self._interrupts.drain()
            self._interrupted()
        if isinstance(message, Reply):
            self._replied(message)
        elif message is not None:
            self._notified(message)
        if self._behind:
            self._behind = self._transcript.advance(self._client)
        if not self._behind:
            notes.changes(self._screen, self._told, self._loop)
            self._told = self._loop
            self._draw()

    def _notified(self, message: Notification) -> None:
        params: Json = message.params
        if params.get("runId") != self._loop["runId"]:
            return
        match message.method:
            case "ralph/didOutput":
                self._behind = True
            case "ralph/didIterate":
                self._transcript.note(params)
                self._behind = True
            case "ralph/didChange":
                self._take(params)
                self._behind = True
            case "ralph/permissionAsked":
                notes.permission(self._screen, params)
            case "ralph/questionAsked":
                notes.question(self._screen, params)
            case _:
                pass

    def _take(self, loop: Json) -> None:
        if loop["revision"] >= self._loop["revision"]:
            self._loop = loop
            self._at = time.monotonic()

    # -------------------------------------------------------------------------------------------------------- cancel
    def _interrupted(self) -> None:
        if self._cancelling is None and self._loop["status"] not in _OVER:
            self._screen.say("Cancelling: the agent and all that it started are ended …", "yellow")
            self._cancel()
        else:
            self._screen.say(
                "Still cancelling: what does not end by SIGTERM gets SIGKILL after 5 s. Nothing is left behind.",
                "yellow",
            )

    def _cancel(self) -> None:
        self._cancelling = self._client.send("ralph/cancel", {"runId": self._loop["runId"]})

    def _replied(self, reply: Reply) -> None:
        if reply.id != self._cancelling:
            return
        self._cancelling = None
        if reply.error is None:
            self._take(reply.result)
            return
        loop = self._client.request("ralph/status", {"runId": self._loop["runId"]})
        self._take(loop or self._loop)
        if self._loop["status"] not in _OVER or reply.error.data.get("kind") == "processesLeft":
            self._screen.say(str(reply.error), "red")

    # ---------------------------------------------------------------------------------------------------------- draw
    def _draw(self) -> None:
        if not self._screen.live or self._loop["status"] in _OVER:
            return
        running = self._loop["status"] == "running"
        since = int((time.monotonic() - self._at) * 1000) if running else 0
        spin = _SPINNER[int(time.monotonic() / _TICK_S) % len(_SPINNER)] if running else "‖"
        self._screen.status(f"{spin} {notes.summary(self._loop)} · {words.duration(self._loop['elapsedMs'] + since)}")
