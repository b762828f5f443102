"""Repositories: one row per git common directory (or plain folder)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from ralph_loop.store.database import Database, Row, Writer, now
from ralph_loop.store.ids import new_id


@attrs.frozen
class RepoRow:
    id: str
    key: str
    path: str
    name: str
    git: bool
    trusted: bool
    listed: bool
    clone_url: str | None
    created_at: str


def _repo(row: Row) -> RepoRow:
    values: dict[str, Any] = dict(row)
    for flag in ("git", "trusted", "listed"):
        values[flag] = bool(values[flag])
    return RepoRow(**values)


async def register(writer: Writer, key: str, path: str, git: bool) -> RepoRow:
    """The repository with this key; made, or put back on the list, when needed."""
    await writer.execute(
        "INSERT INTO repos (id, key, path, name, git, created_at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (key) DO UPDATE SET listed = 1, git = excluded.git",
        (new_id("repo"), key, path, Path(path).name or path, git, now()),
    )
    rows = await writer.execute_fetchall("SELECT * FROM repos WHERE key = ?", (key,))
    return _repo(next(iter(rows)))


async def set_trusted(writer: Writer, repo_id: str, trusted: bool) -> None:
    await writer.execute("UPDATE repos SET trusted = ? WHERE id = ?", (trusted, repo_id))


async def set_listed(writer: Writer, repo_id: str, listed: bool) -> None:
    await writer.execute("UPDATE repos SET listed = ? WHERE id = ?", (listed, repo_id))


async def set_path(writer: Writer, repo_id: str, path: str) -> None:
    name = Path(path).name or path
    await writer.execute("UPDATE repos SET path = ?, name = ? WHERE id = ?", (path, name, repo_id))


async def set_clone_url(writer: Writer, repo_id: str, url: str) -> None:
    await writer.execute("UPDATE repos SET clone_url = ? WHERE id = ?", (url, repo_id))


async def by_key(database: Database, key: str) -> RepoRow | None:
    row = await database.row("SELECT * FROM repos WHERE key = ?", (key,))
    return _repo(row) if row else None


async def by_path(database: Database, path: str) -> RepoRow | None:
    """The newest of those that are listed at this path."""
    row = await database.row("SELECT * FROM repos WHERE path = ? AND listed ORDER BY created_at DESC LIMIT 1", (path,))
    return _repo(row) if row else None


async def by_id(database: Database, repo_id: str) -> RepoRow | None:
    row = await database.row("SELECT * FROM repos WHERE id = ?", (repo_id,))
    return _repo(row) if row else None


async def listed(database: Database) -> list[RepoRow]:
    return [_repo(row) for row in await database.rows("SELECT * FROM repos WHERE listed ORDER BY name, path")]


async def last_run(database: Database, repo_id: str) -> str | None:
    row = await database.row("SELECT id FROM loops WHERE repo_id = ? ORDER BY number DESC LIMIT 1", (repo_id,))
    return row["id"] if row else None
