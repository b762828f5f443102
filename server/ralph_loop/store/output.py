"""What agents print: every byte, in order, in chunks that are never cut inside a UTF-8 character."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import attrs

from ralph_loop.protocol import Chunk, Output, View
from ralph_loop.store.database import Database, Row, Writer

_PAGE_BYTES = 1024 * 1024
_ANSWER_BYTES = 3 * 1024 * 1024 + 512 * 1024  # leaves room for the frame around the chunks

# What was printed; or what people read: for an agent that prints a format for machines, `display` in place of `stdout`.
_VIEW: dict[View, str] = {
    "raw": "stream IN ('stdout', 'stderr')",
    "readable": "(stream <> 'stdout' OR iteration NOT IN"
    " (SELECT i.iteration FROM iterations i WHERE i.run_id = output_logs.run_id AND i.structured))",
}


@attrs.frozen
class Piece:
    """One chunk before it is stored."""

    seq: int
    iteration: int
    stream: str
    at: str
    data: bytes


async def append(writer: Writer, run_id: str, pieces: Sequence[Piece]) -> None:
    await writer.executemany(
        "INSERT INTO output_logs (run_id, seq, iteration, stream, at, data) VALUES (?, ?, ?, ?, ?, ?)",
        [(run_id, p.seq, p.iteration, p.stream, p.at, p.data) for p in pieces],
    )


async def bounds(database: Database, run_id: str) -> tuple[int, int]:
    """(first, last) sequence number; (1, 0) when nothing was printed."""
    row = await database.row("SELECT min(seq), max(seq) FROM output_logs WHERE run_id = ?", (run_id,))
    return (1, 0) if row is None or row[0] is None else (row[0], row[1])


async def last_time(database: Database, run_id: str, iteration: int) -> str | None:
    """When an iteration printed last."""
    row = await database.row(
        "SELECT at FROM output_logs WHERE run_id = ? AND iteration = ? ORDER BY seq DESC LIMIT 1", (run_id, iteration)
    )
    return row["at"] if row else None


async def page(
    database: Database,
    run_id: str,
    *,
    after: int,
    limit: int,
    view: View,
    iteration: int | None = None,
    raw: bool = False,
    upto: int | None = None,
    budget: int = _ANSWER_BYTES,
) -> Output:
    """Chunks with `seq` > `after`, as many as fit into `limit` and an answer."""
    where = f"run_id = ? AND seq > ? AND {_VIEW[view]}"
    arguments: list[object] = [run_id, after]
    if iteration is not None:
        where += " AND iteration = ?"
        arguments.append(iteration)
    if upto is not None:
        where += " AND seq <= ?"
        arguments.append(upto)
    chunks: list[Chunk] = []
    size = 0
    more = False
    while len(chunks) < limit and not more:
        # a page of rows is bounded by bytes, not by count: 1,000 chunks may be 64 MB
        wanted = min(limit - len(chunks) + 1, max(2, _PAGE_BYTES // 4096))
        rows = await database.rows(
            f"SELECT seq, iteration, stream, at, data FROM output_logs WHERE {where} ORDER BY seq LIMIT ?",
            (*arguments, min(wanted, 64)),
        )
        for row in rows:
            chunk = _chunk(row, raw)
            size += _wire_size(chunk)
            if len(chunks) == limit or (chunks and size > budget):
                more = True
                break
            chunks.append(chunk)
            arguments[1] = chunk.seq
        if len(rows) < min(wanted, 64):
            break
    else:
        if not more and chunks:
            more = bool(await database.rows(f"SELECT 1 FROM output_logs WHERE {where} LIMIT 1", arguments))
    first, _ = await bounds(database, run_id)
    return Output(chunks=chunks, more=more, first_seq=first)


def _chunk(row: Row, raw: bool) -> Chunk:
    data: bytes = row["data"]
    return Chunk(
        seq=row["seq"],
        iteration=row["iteration"],
        stream=row["stream"],
        text=data.decode("utf-8", "replace"),
        at=row["at"],
        bytes=base64.b64encode(data).decode() if raw else None,
    )


def _wire_size(chunk: Chunk) -> int:
    text = len(json.dumps(chunk.text, ensure_ascii=False).encode("utf-8", "replace"))
    return text + len(chunk.bytes or "") + 200
