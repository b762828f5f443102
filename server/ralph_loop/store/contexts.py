"""Hints for the next iteration. Each is delivered once, in the transaction that records its iteration (rule 2)."""

from __future__ import annotations

from ralph_loop.protocol import ContextItem
from ralph_loop.store.database import Database, Row, Writer, now
from ralph_loop.store.ids import new_id


def _item(row: Row) -> ContextItem:
    return ContextItem(
        context_id=row["id"], text=row["text"], state=row["state"], iteration=row["iteration"], added_at=row["added_at"]
    )


async def add(writer: Writer, repo_id: str, run_id: str | None, text: str) -> str:
    """`run_id` None: for the next loop that starts in the repository."""
    context_id = new_id("ctx")
    await writer.execute(
        "INSERT INTO contexts (id, repo_id, run_id, text, state, added_at) VALUES (?, ?, ?, ?, 'pending', ?)",
        (context_id, repo_id, run_id, text, now()),
    )
    return context_id


async def add_taken(writer: Writer, repo_id: str, run_id: str, name: str, text: str) -> bool:
    """A hint from a file; False when the file of this name was imported before."""
    cursor = await writer.execute(
        "INSERT OR IGNORE INTO contexts (id, repo_id, run_id, text, state, added_at) VALUES (?, ?, ?, ?, 'pending', ?)",
        (f"ctx_{name.split('.')[1]}", repo_id, run_id, text, now()),
    )
    return cursor.rowcount == 1


async def adopt(writer: Writer, repo_id: str, run_id: str) -> None:
    """Hints left for the repository before the loop began become the loop's."""
    await writer.execute(
        "UPDATE contexts SET run_id = ? WHERE repo_id = ? AND run_id IS NULL AND state = 'pending'", (run_id, repo_id)
    )


async def deliver(writer: Writer, run_id: str, iteration: int, replaces: int | None) -> list[ContextItem]:
    """Marks what is pending as delivered in `iteration`, and again what the iteration it replaces had been given."""
    due = "run_id = ? AND (state = 'pending' OR (state = 'delivered' AND iteration = ?))"
    rows = await writer.execute_fetchall(
        f"SELECT * FROM contexts WHERE {due} ORDER BY number", (run_id, replaces if replaces is not None else -1)
    )
    items = [_item(row) for row in rows]
    await writer.executemany(
        "UPDATE contexts SET state = 'delivered', iteration = ? WHERE id = ?",
        [(iteration, item.context_id) for item in items],
    )
    return items


async def clear(writer: Writer, repo_id: str, run_id: str | None) -> None:
    await writer.execute(
        "UPDATE contexts SET state = 'cleared' WHERE state = 'pending' AND repo_id = ? AND run_id IS ?",
        (repo_id, run_id),
    )


async def listed(database: Database, repo_id: str, run_id: str | None) -> list[ContextItem]:
    rows = await database.rows(
        "SELECT * FROM contexts WHERE repo_id = ? AND run_id IS ? ORDER BY number", (repo_id, run_id)
    )
    return [_item(row) for row in rows]


async def pending(database: Database, run_id: str) -> int:
    row = await database.row("SELECT count(*) FROM contexts WHERE run_id = ? AND state = 'pending'", (run_id,))
    return row[0] if row else 0


async def pending_bytes(writer: Writer, repo_id: str, run_id: str | None) -> int:
    """The size of all that waits for the next iteration, as UTF-8."""
    rows = await writer.execute_fetchall(
        "SELECT coalesce(sum(length(CAST(text AS BLOB))), 0) FROM contexts"
        " WHERE state = 'pending' AND repo_id = ? AND run_id IS ?",
        (repo_id, run_id),
    )
    return next(iter(rows))[0]
