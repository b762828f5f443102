"""The errors of the contract as exceptions, and the JSON-RPC ones we raise ourselves."""

from __future__ import annotations

from typing import Any

from ralph_loop.protocol import CODES

# JSON-RPC 2.0 and the base protocol of LSP
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
NOT_INITIALIZED, CANCELLED = -32002, -32800


class RalphError(Exception):
    """An error a client gets: a JSON-RPC error object with a code of the contract and typed data.

    `message` is for a person: what happened, to what, and what to do next.
    """

    def __init__(self, kind: str, message: str, **data: Any) -> None:
        super().__init__(message)
        self.code = CODES[kind]
        self.kind = kind
        self.message = message
        self.data: dict[str, Any] = {"kind": kind, **data}


class InvalidParamsError(Exception):
    """Params that do not fit the contract: -32602, naming the key."""

    code = INVALID_PARAMS

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(f"{key}: {problem}")
        self.key = key
        self.message = f"{key}: {problem}"
        self.data: dict[str, Any] = {"kind": "invalidParams", "key": key}


def not_found(what: str, id_: str, hint: str = "") -> RalphError:
    return RalphError("notFound", f"There is no {what} {id_!r}.{' ' + hint if hint else ''}", what=what, id=id_)


def invalid_state(message: str, status: str, allowed: list[str]) -> RalphError:
    return RalphError("invalidState", message, status=status, allowed=allowed)


def not_available(method: str) -> RalphError:
    return RalphError("notAvailable", f"{method} is not available in this version of the helper. Update ralph-loop.")
