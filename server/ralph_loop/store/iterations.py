"""Iterations: their records, exact prompts and the trees before and after them."""

from __future__ import annotations

import json

import attrs

from ralph_loop.protocol import IterationRecord
from ralph_loop.store.database import Database, Row, Writer
from ralph_loop.wire import structure, unstructure


@attrs.frozen
class Trees:
    """Ids in the private snapshot store; None where there is no record."""

    before: str | None
    after: str | None


def _record(row: Row) -> IterationRecord:
    return structure(json.loads(row["record"]), IterationRecord, "record")


async def insert(
    writer: Writer, record: IterationRecord, prompt: str, before_tree: str | None, structured: bool
) -> None:
    await writer.execute(
        "INSERT INTO iterations (run_id, iteration, status, structured, record, prompt, before_tree)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record.run_id,
            record.iteration,
            record.status,
            structured,
            json.dumps(unstructure(record)),
            prompt,
            before_tree,
        ),
    )


async def update(writer: Writer, record: IterationRecord, after_tree: str | None = None) -> None:
    await writer.execute(
        "UPDATE iterations SET status = ?, record = ?, after_tree = coalesce(?, after_tree)"
        " WHERE run_id = ? AND iteration = ?",
        (record.status, json.dumps(unstructure(record)), after_tree, record.run_id, record.iteration),
    )


async def page(database: Database, run_id: str, *, limit: int, before: int | None = None) -> list[IterationRecord]:
    """The last `limit` (and one more when there are more), oldest first."""
    rows = await database.rows(
        "SELECT record FROM iterations WHERE run_id = ? AND iteration < ? ORDER BY iteration DESC LIMIT ?",
        (run_id, before or 2**53, limit + 1),
    )
    return [_record(row) for row in reversed(rows)]


async def get(database: Database, run_id: str, iteration: int) -> IterationRecord | None:
    row = await database.row("SELECT record FROM iterations WHERE run_id = ? AND iteration = ?", (run_id, iteration))
    return _record(row) if row else None


async def prompt(database: Database, run_id: str, iteration: int) -> str | None:
    row = await database.row("SELECT prompt FROM iterations WHERE run_id = ? AND iteration = ?", (run_id, iteration))
    return row["prompt"] if row else None


async def trees(database: Database, run_id: str, iteration: int) -> Trees | None:
    row = await database.row(
        "SELECT before_tree, after_tree FROM iterations WHERE run_id = ? AND iteration = ?", (run_id, iteration)
    )
    return Trees(row["before_tree"], row["after_tree"]) if row else None


async def changed_paths(database: Database, run_id: str) -> set[str]:
    """Every path the records of a loop name."""
    rows = await database.rows(
        "SELECT DISTINCT json_extract(f.value, '$.path') FROM iterations i, json_each(i.record, '$.files') f"
        " WHERE i.run_id = ?",
        (run_id,),
    )
    return {row[0] for row in rows}


async def running(database: Database, run_id: str) -> list[IterationRecord]:
    """Iterations a helper left running when it died."""
    rows = await database.rows("SELECT record FROM iterations WHERE run_id = ? AND status = 'running'", (run_id,))
    return [_record(row) for row in rows]
