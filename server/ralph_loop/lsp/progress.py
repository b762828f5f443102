"""Work-done progress of one request, when its client gave a token for it."""

from __future__ import annotations

from typing import Any

from ralph_loop.lsp.outbox import Outbox


class RequestProgress:
    """engine/repositories.py Progress, over one connection."""

    def __init__(self, outbox: Outbox, token: str | int | None) -> None:
        self._outbox = outbox
        self.token = token

    def begin(self, title: str) -> None:
        self._send({"kind": "begin", "title": title, "cancellable": True})

    def report(self, message: str, percentage: int | None = None) -> None:
        value: dict[str, Any] = {"kind": "report", "message": message}
        if percentage is not None:
            value["percentage"] = percentage
        self._send(value)

    def end(self) -> None:
        self._send({"kind": "end"})

    def _send(self, value: dict[str, Any]) -> None:
        if self.token is not None:
            params = {"token": self.token, "value": value}
            self._outbox.post({"jsonrpc": "2.0", "method": "$/progress", "params": params})
