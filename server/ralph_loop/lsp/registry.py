"""Which function answers which request of the contract, and what fits into one answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ralph_loop.protocol import MAX_ANSWER_BYTES
from ralph_loop.shared.framing import encode
from ralph_loop.wire import unstructure

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session

T = TypeVar("T")
Handler = Callable[["Session", Any], Awaitable[Any]]

HANDLERS: dict[str, Handler] = {}
READING: set[str] = set()  # what a client below one of our agents may do
STOPPABLE: set[str] = set()  # what ends when its client cancels it or goes; anything else is carried out whole
_ANSWER_ROOM = MAX_ANSWER_BYTES - 64 * 1024


def request(method: str, *, reads: bool = False, stoppable: bool = False) -> Callable[[Handler], Handler]:
    """Registers a handler: validated params in, a result of the contract out."""

    def register(handler: Handler) -> Handler:
        HANDLERS[method] = handler
        if reads:
            READING.add(method)
        if reads or stoppable:
            STOPPABLE.add(method)
        return handler

    return register


def fitting(items: Sequence[T]) -> int:
    """How many of the items, from the first, fit into one answer; at least one."""
    size = 0
    for count, item in enumerate(items):
        size += len(encode(unstructure(item)))
        if size > _ANSWER_ROOM and count:
            return count
    return len(items)
