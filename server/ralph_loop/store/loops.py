"""Loops: their whole state as JSON, with the columns that are searched for."""

from __future__ import annotations

from ralph_loop.engine.state import LoopState
from ralph_loop.protocol import ACTIVE, Status
from ralph_loop.store.database import Database, Writer

_ACTIVE = ", ".join(f"'{status}'" for status in sorted(ACTIVE))


async def insert(writer: Writer, state: LoopState) -> None:
    await writer.execute(
        "INSERT INTO loops (id, session_id, repo_id, status, state) VALUES (?, ?, ?, ?, ?)",
        (state.run_id, state.session_id, state.repo_id, state.status, state.to_json()),
    )


async def update(writer: Writer, state: LoopState) -> None:
    await writer.execute(
        "UPDATE loops SET status = ?, state = ? WHERE id = ?", (state.status, state.to_json(), state.run_id)
    )


async def get(database: Database, run_id: str) -> LoopState | None:
    row = await database.row("SELECT state FROM loops WHERE id = ?", (run_id,))
    return LoopState.from_json(row["state"]) if row else None


async def status(writer: Writer, run_id: str) -> Status:
    """As it is inside the writer's transaction."""
    rows = await writer.execute_fetchall("SELECT status FROM loops WHERE id = ?", (run_id,))
    return next(iter(rows))["status"]


async def unfinished(database: Database) -> list[LoopState]:
    """Loops that a helper left active when it ended."""
    rows = await database.rows(f"SELECT state FROM loops WHERE status IN ({_ACTIVE}) ORDER BY number")
    return [LoopState.from_json(row["state"]) for row in rows]


async def find(
    database: Database,
    *,
    repo_id: str | None = None,
    session_id: str | None = None,
    active: bool | None = None,
    limit: int,
    before: str | None = None,
) -> list[LoopState]:
    """Newest first, one more than `limit` when there are more. `before` is a run's id."""
    where, arguments = ["1"], list[object]()
    for column, value in (("repo_id", repo_id), ("session_id", session_id)):
        if value is not None:
            where.append(f"{column} = ?")
            arguments.append(value)
    if active is not None:
        where.append(f"status {'IN' if active else 'NOT IN'} ({_ACTIVE})")
    if before is not None:
        where.append("number < (SELECT number FROM loops WHERE id = ?)")
        arguments.append(before)
    rows = await database.rows(
        f"SELECT state FROM loops WHERE {' AND '.join(where)} ORDER BY number DESC LIMIT ?", (*arguments, limit + 1)
    )
    return [LoopState.from_json(row["state"]) for row in rows]


async def latest(database: Database, *, repo_id: str | None = None, session_id: str | None = None) -> LoopState | None:
    """The active loop of a repository or session, else its latest."""
    for active in (True, None):
        found = await find(database, repo_id=repo_id, session_id=session_id, active=active, limit=1)
        if found:
            return found[0]
    return None
