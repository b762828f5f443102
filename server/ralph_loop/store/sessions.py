"""Sessions and their messages."""

from __future__ import annotations

from typing import Literal

import attrs

from ralph_loop.protocol import Message
from ralph_loop.store.database import Database, Row, Writer, now
from ralph_loop.store.ids import new_id

_TITLE_LENGTH = 80


@attrs.frozen
class SessionRow:
    id: str
    repo_id: str
    workspace: str
    title: str
    created_at: str
    updated_at: str


def _session(row: Row) -> SessionRow:
    return SessionRow(**dict(row))


def title_of(prompt: str) -> str:
    """A session's title: the prompt's first line that has text."""
    line = next((line.strip() for line in prompt.splitlines() if line.strip(" \t#")), "Untitled").lstrip("# ")
    return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1].rstrip() + "…"


async def insert(writer: Writer, repo_id: str, workspace: str, title: str) -> str:
    session_id, at = new_id("ses"), now()
    await writer.execute(
        "INSERT INTO sessions (id, repo_id, workspace, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
        (session_id, repo_id, workspace, title, at, at),
    )
    return session_id


async def get(database: Database, session_id: str) -> SessionRow | None:
    row = await database.row("SELECT * FROM sessions WHERE id = ?", (session_id,))
    return _session(row) if row else None


async def find(
    database: Database, *, repo_id: str | None = None, limit: int, before: str | None = None
) -> list[SessionRow]:
    """Newest first, one more than `limit` when there are more."""
    where, arguments = ["1"], list[object]()
    if repo_id is not None:
        where.append("repo_id = ?")
        arguments.append(repo_id)
    if before is not None:
        where.append("rowid < (SELECT rowid FROM sessions WHERE id = ?)")
        arguments.append(before)
    rows = await database.rows(
        f"SELECT * FROM sessions WHERE {' AND '.join(where)} ORDER BY rowid DESC LIMIT ?", (*arguments, limit + 1)
    )
    return [_session(row) for row in rows]


async def rename(writer: Writer, session_id: str, title: str) -> None:
    await writer.execute("UPDATE sessions SET title = ?, updated_at = ? WHERE id = ?", (title, now(), session_id))


async def delete(writer: Writer, session_id: str) -> None:
    """With its loops, iterations, hints, messages and output."""
    await writer.execute("DELETE FROM sessions WHERE id = ?", (session_id,))


async def add_message(
    writer: Writer,
    session_id: str,
    role: Literal["user", "agent", "system"],
    kind: str,
    text: str,
    *,
    run_id: str | None = None,
    iteration: int | None = None,
) -> None:
    at = now()
    await writer.execute(
        "INSERT INTO messages (id, session_id, run_id, iteration, role, kind, text, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (new_id("msg"), session_id, run_id, iteration, role, kind, text, at),
    )
    await writer.execute("UPDATE sessions SET updated_at = ? WHERE id = ?", (at, session_id))


async def messages(database: Database, session_id: str) -> list[Message]:
    rows = await database.rows("SELECT * FROM messages WHERE session_id = ? ORDER BY number", (session_id,))
    return [
        Message(
            message_id=row["id"],
            session_id=row["session_id"],
            run_id=row["run_id"],
            iteration=row["iteration"],
            role=row["role"],
            kind=row["kind"],
            text=row["text"],
            at=row["at"],
        )
        for row in rows
    ]
