"""Staged operations: changes of an iteration under plan mode that wait for approval.

`applying` stands for a moment only: after a crash it tells which ones the journal was about.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from ralph_loop.protocol import Operation
from ralph_loop.store.database import Database, Row, Writer
from ralph_loop.wire import structure, unstructure

State = Literal["staged", "applying", "approved", "rejected", "dropped"]
_OPEN = "('staged', 'applying')"


def _operation(row: Row) -> Operation:
    return structure(json.loads(row["operation"]), Operation, "operation")


async def insert(writer: Writer, run_id: str, operations: Sequence[Operation]) -> None:
    await writer.executemany(
        "INSERT INTO operations (id, run_id, iteration, operation, state) VALUES (?, ?, ?, ?, 'staged')",
        [(o.operation_id, run_id, o.iteration, json.dumps(unstructure(o))) for o in operations],
    )


async def mark(writer: Writer, operations: Sequence[Operation], state: State) -> None:
    await writer.executemany(
        "UPDATE operations SET state = ? WHERE id = ?", [(state, operation.operation_id) for operation in operations]
    )


async def drop(writer: Writer, run_id: str) -> None:
    """The loop was cancelled; the recorded trees keep what they were."""
    await writer.execute(f"UPDATE operations SET state = 'dropped' WHERE run_id = ? AND state IN {_OPEN}", (run_id,))


async def staged(database: Database, run_id: str) -> list[Operation]:
    rows = await database.rows(
        f"SELECT operation FROM operations WHERE run_id = ? AND state IN {_OPEN} ORDER BY number", (run_id,)
    )
    return [_operation(row) for row in rows]


async def applying(database: Database, run_id: str) -> list[Operation]:
    rows = await database.rows(
        "SELECT operation FROM operations WHERE run_id = ? AND state = 'applying' ORDER BY number", (run_id,)
    )
    return [_operation(row) for row in rows]


async def approved(database: Database, run_id: str, iteration: int) -> list[Operation]:
    rows = await database.rows(
        "SELECT operation FROM operations WHERE run_id = ? AND iteration = ? AND state = 'approved' ORDER BY number",
        (run_id, iteration),
    )
    return [_operation(row) for row in rows]


async def all_approved(database: Database, run_id: str, iteration: int) -> bool:
    row = await database.row(
        "SELECT count(*) FROM operations WHERE run_id = ? AND iteration = ? AND state <> 'approved'",
        (run_id, iteration),
    )
    return row is not None and row[0] == 0


async def not_applied(database: Database, run_id: str) -> dict[tuple[int, str], State]:
    """The changes that are not in the user's tree, by iteration and path, and why."""
    rows = await database.rows(
        "SELECT iteration, operation, state FROM operations WHERE run_id = ? AND state <> 'approved'", (run_id,)
    )
    return {(row["iteration"], _operation(row).path): row["state"] for row in rows}


async def count(database: Database, run_id: str) -> int:
    row = await database.row(f"SELECT count(*) FROM operations WHERE run_id = ? AND state IN {_OPEN}", (run_id,))
    return row[0] if row else 0


async def find(database: Database, run_id: str, operation_id: str) -> Operation | None:
    row = await database.row("SELECT operation FROM operations WHERE run_id = ? AND id = ?", (run_id, operation_id))
    return _operation(row) if row else None


async def waiting_in(database: Database, repo_id: str) -> str | None:
    """The loop of a repository that has staged operations, if any."""
    row = await database.row(
        f"SELECT o.run_id FROM operations o JOIN loops l ON l.id = o.run_id WHERE l.repo_id = ? AND o.state IN {_OPEN}",
        (repo_id,),
    )
    return row["run_id"] if row else None
