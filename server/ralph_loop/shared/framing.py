"""The base protocol's framing: `Content-Length` headers around JSON bodies, over asyncio streams.

Own code instead of pygls': pygls leaves a request without an answer when a body is not JSON, when a header lies, and
when the params do not fit; and it structures every nested object that has a `jsonrpc` key.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_HEADER_BYTES = 8 * 1024
_HEADER_NAME = re.compile(rb"[A-Za-z0-9-]+")


class FrameError(Exception):
    """The stream cannot be read any further: nobody can tell where the next message begins."""


class BodyError(Exception):
    """This body is no message; the stream goes on after it."""


async def read_message(reader: asyncio.StreamReader) -> Any | None:
    """The next JSON value, or None at the end of the stream.

    Raises BodyError for a body that is not JSON (the stream stays usable) and FrameError for headers that lie.
    """
    length = await _read_headers(reader)
    if length is None:
        return None
    if length > MAX_BODY_BYTES:
        raise FrameError(f"a message of {length} bytes is more than the {MAX_BODY_BYTES} that are accepted")
    try:
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise FrameError(f"the stream ended after {len(error.partial)} of {length} bytes") from None
    try:
        message = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BodyError(f"the body is not JSON: {error}") from None
    if message is None:
        raise BodyError("null is no message")
    return message


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


async def _read_headers(reader: asyncio.StreamReader) -> int | None:
    length: int | None = None
    total = 0
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            if not error.partial and length is None:
                return None
            raise FrameError("the stream ended inside the headers") from None
        except asyncio.LimitOverrunError:
            raise FrameError("a header line is too long") from None
        total += len(line)
        if total > MAX_HEADER_BYTES:
            raise FrameError("the headers are too long")
        line = line.strip()
        if not line:
            if length is None:
                if total <= 2:
                    total = 0  # blank lines between messages do no harm
                    continue
                raise FrameError("the headers have no Content-Length")
            return length
        name, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(name):
            raise FrameError(f"{line[:40]!r} is no header line")
        if name.lower() == b"content-length":
            digits = value.strip()
            if not digits.isdigit() or len(digits) > 15:
                raise FrameError(f"{digits[:40]!r} is no Content-Length")
            if length not in (None, int(digits)):
                raise FrameError("the headers have two Content-Lengths")
            length = int(digits)


def encode(message: Any) -> bytes:
    """A JSON value as one framed message. Text is UTF-8, not escaped: an answer's size is what a client reads."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode(errors="replace")
    return b"Content-Length: %d\r\n\r\n" % len(body) + body
