"""The requests of one client that are being answered: each gets exactly one answer, and some can be cut short."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any

from ralph_loop.errors import CANCELLED, INTERNAL_ERROR, INVALID_REQUEST, InvalidParamsError, RalphError
from ralph_loop.lsp.outbox import Outbox
from ralph_loop.lsp.progress import RequestProgress
from ralph_loop.lsp.registry import STOPPABLE
from ralph_loop.protocol import MAX_ANSWER_BYTES
from ralph_loop.shared.framing import encode

log = logging.getLogger(__name__)

_LONGEST_ERROR = 16 * 1024  # characters


class Calls:
    """`carry_out` gives the result of a method with its params; `answered` is called after each result was sent."""

    def __init__(
        self,
        carry_out: Callable[[str, Any], Coroutine[Any, Any, Any]],
        outbox: Outbox,
        answered: Callable[[], None],
    ) -> None:
        self._carry_out = carry_out
        self._outbox = outbox
        self._after = answered
        self._answers: dict[Any, asyncio.Task[None]] = {}  # by request id
        self._stoppable: dict[Any, asyncio.Task[Any]] = {}  # the work behind those that may be cut short
        self._cancellable: dict[Any, asyncio.Task[Any]] = {}  # by progress token

    def start(self, id_: Any, method: str, params: Any) -> None:
        if id_ in self._answers:
            return self.refuse(id_, INVALID_REQUEST, f"request {id_!r} is still being answered")
        work = asyncio.create_task(self._carry_out(method, params), name=f"request {method}")
        if method in STOPPABLE:
            self._stoppable[id_] = work
        task = asyncio.create_task(self._answer(id_, method, work), name=f"answer to {method}")
        self._answers[id_] = task
        task.add_done_callback(lambda _: self._forget(id_))
        return None

    def cancel(self, id_: Any) -> None:
        """`$/cancelRequest`."""
        if isinstance(id_, str | int) and id_ in self._stoppable:
            self._stoppable[id_].cancel()

    def cancel_progress(self, token: Any) -> None:
        """`window/workDoneProgress/cancel`."""
        if isinstance(token, str | int) and token in self._cancellable:
            self._cancellable[token].cancel()

    @contextmanager
    def progress(self, token: Any, title: str) -> Generator[RequestProgress]:
        """Within one request: how far it is, for a client that gave a token for it and may cancel it by that."""
        progress = RequestProgress(self._outbox, token if isinstance(token, str | int) else None)
        task = asyncio.current_task()
        if progress.token is not None and task is not None:
            self._cancellable[progress.token] = task
        progress.begin(title)
        try:
            yield progress
        finally:
            progress.end()
            self._cancellable.pop(progress.token, None)

    def refuse(self, id_: Any, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        error: dict[str, Any] = {"code": code, "message": _shown(message)}
        if data is not None:
            error["data"] = {key: _shown(value) if isinstance(value, str) else value for key, value in data.items()}
        self._outbox.post({"jsonrpc": "2.0", "id": id_, "error": error})

    async def close(self) -> None:
        """The client is gone: what may be cut short is, the rest is carried out."""
        for work in self._stoppable.values():
            work.cancel()
        await asyncio.gather(*self._answers.values(), return_exceptions=True)

    def _forget(self, id_: Any) -> None:
        del self._answers[id_]
        self._stoppable.pop(id_, None)

    async def _answer(self, id_: Any, method: str, work: asyncio.Task[Any]) -> None:
        try:
            answer = encode({"jsonrpc": "2.0", "id": id_, "result": await work})
        except asyncio.CancelledError:
            return self.refuse(id_, CANCELLED, f"{method} was cancelled")
        except (RalphError, InvalidParamsError) as error:
            return self.refuse(id_, error.code, error.message, error.data)
        except Exception as error:
            log.exception("%s failed", method)
            text = f"{method} failed: {error}. See the helper's log."
            return self.refuse(id_, INTERNAL_ERROR, text, {"kind": "internal"})
        if len(answer) > MAX_ANSWER_BYTES:
            text = f"The answer to {method} would have {len(answer)} bytes; at most {MAX_ANSWER_BYTES} are sent."
            return self.refuse(id_, INTERNAL_ERROR, text, {"kind": "answerTooLarge"})
        self._outbox.post_encoded(answer)
        self._after()
        return None


def _shown(text: str) -> str:
    """What a client sent may be large; an error does not send all of it back."""
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}…"
