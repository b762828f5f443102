"""Permissions and questions, and what was granted for always.

A question is `posted` when no agent waits for its answer, which goes into the next prompt: it outlives the helper. One
that is `open` has an agent that waits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal

from ralph_loop.protocol import Permission, Question
from ralph_loop.store.database import Database, Writer, now
from ralph_loop.wire import structure, unstructure


async def insert_permission(writer: Writer, request: Permission) -> None:
    await writer.execute(
        "INSERT INTO permissions (id, run_id, request, state) VALUES (?, ?, ?, 'open')",
        (request.request_id, request.run_id, json.dumps(unstructure(request))),
    )


async def resolve_permission(writer: Writer, request_id: str, state: str, answer: str | None, by: str) -> bool:
    """False when it was not open any more."""
    cursor = await writer.execute(
        "UPDATE permissions SET state = ?, answer = ?, answered_by = ? WHERE id = ? AND state = 'open'",
        (state, answer, by, request_id),
    )
    return cursor.rowcount == 1


async def insert_question(writer: Writer, request: Question, state: Literal["open", "posted"]) -> None:
    await writer.execute(
        "INSERT INTO questions (id, run_id, request, state) VALUES (?, ?, ?, ?)",
        (request.question_id, request.run_id, json.dumps(unstructure(request)), state),
    )


async def resolve_question(writer: Writer, question_id: str, state: str, answer: str | None, by: str) -> bool:
    """False when it was not open any more."""
    cursor = await writer.execute(
        "UPDATE questions SET state = ?, answer = ?, answered_by = ? WHERE id = ? AND state IN ('open', 'posted')",
        (state, answer, by, question_id),
    )
    return cursor.rowcount == 1


async def withdraw_all(writer: Writer, run_id: str, by: str) -> None:
    """What an agent that is gone waited for can be answered no more."""
    for table in ("permissions", "questions"):
        await writer.execute(
            f"UPDATE {table} SET state = 'withdrawn', answered_by = ? WHERE run_id = ? AND state = 'open'", (by, run_id)
        )


async def open_permissions(database: Database, run_id: str | None = None) -> list[Permission]:
    rows = await database.rows(
        "SELECT request FROM permissions WHERE state = 'open' AND (? IS NULL OR run_id = ?) ORDER BY number",
        (run_id, run_id),
    )
    return [structure(json.loads(row["request"]), Permission) for row in rows]


async def open_questions(
    database: Database, run_id: str | None = None, states: Sequence[str] = ("open", "posted")
) -> list[Question]:
    marks = ", ".join("?" for _ in states)
    rows = await database.rows(
        f"SELECT request FROM questions WHERE state IN ({marks}) AND (? IS NULL OR run_id = ?) ORDER BY number",
        (*states, run_id, run_id),
    )
    return [structure(json.loads(row["request"]), Question) for row in rows]


async def permission_state(database: Database, request_id: str) -> str | None:
    row = await database.row("SELECT state FROM permissions WHERE id = ?", (request_id,))
    return row["state"] if row else None


async def question_state(database: Database, question_id: str) -> str | None:
    row = await database.row("SELECT state FROM questions WHERE id = ?", (question_id,))
    return row["state"] if row else None


async def grant(writer: Writer, repo_id: str, tool: str, pattern: str) -> None:
    await writer.execute("INSERT OR IGNORE INTO grants VALUES (?, ?, ?, ?)", (repo_id, tool, pattern, now()))


async def is_granted(database: Database, repo_id: str, tool: str, pattern: str) -> bool:
    return (
        await database.row(
            "SELECT 1 FROM grants WHERE repo_id = ? AND tool = ? AND pattern = ?", (repo_id, tool, pattern)
        )
        is not None
    )
