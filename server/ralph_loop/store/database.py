"""The one SQLite writer: opening, migrations, transactions. The tables' own functions are in the files beside it.

A newer database is refused and left as it was; a corrupt one is set aside under another name, never deleted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from ralph_loop.errors import RalphError

T = TypeVar("T")
Row = sqlite3.Row
Writer = aiosqlite.Connection

log = logging.getLogger(__name__)

_DISK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}


class DiskFullError(Exception):
    """The database could not grow. Nothing was written; the same call may be made again."""


def now() -> str:
    """The time as the contract writes it: RFC 3339, UTC, milliseconds."""
    return timestamp(datetime.now(UTC))


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def migrations() -> list[tuple[int, str]]:
    """Every migration as (number, SQL), in order: `migrations/0001_name.sql`, …"""
    folder = resources.files("ralph_loop.store") / "migrations"
    files = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
    return [(int(name[:4]), (folder / name).read_text()) for name in files]


class Database:
    """One database file: a connection that writes and one that only reads (WAL lets them work side by side)."""

    def __init__(
        self, path: Path, writer: aiosqlite.Connection, reader: aiosqlite.Connection, set_aside: Path | None
    ) -> None:
        self.path = path
        self.set_aside = set_aside  # where a damaged one was put when this one was opened
        self._writer = writer
        self._reader = reader
        self._lock = asyncio.Lock()
        self._pending: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Opens or makes the database and brings it up to date.

        Raises RalphError databaseTooNew; OSError or sqlite3.Error when the file cannot be used at all.
        """
        set_aside = await asyncio.to_thread(_prepare, path)
        if set_aside is not None:
            log.error("the database was damaged; it was kept as %s and a new one was begun", set_aside)
        writer = await _connect(path)
        reader = await _connect(path)
        await reader.execute("PRAGMA query_only = ON")
        return cls(path, writer, reader, set_aside)

    async def close(self) -> None:
        """Waits for what is being written, then closes."""
        if self._pending:
            await asyncio.wait(self._pending)
        await self._reader.close()
        await self._writer.close()

    async def write(self, work: Callable[[Writer], Awaitable[T]]) -> T:
        """Runs `work` in one transaction: all of it or nothing. Once begun it is finished, also when the caller is
        cancelled (cancelling an await does not cancel its statement). Raises DiskFullError."""
        task = asyncio.create_task(self._transaction(work), name="database write")
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return await asyncio.shield(task)

    async def _transaction(self, work: Callable[[Writer], Awaitable[T]]) -> T:
        async with self._lock:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                result = await work(self._writer)
                await self._writer.commit()
            except sqlite3.Error as error:
                await self._roll_back()
                if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DISK:
                    raise DiskFullError(f"{self.path} cannot grow: {error}") from error
                raise
            except BaseException:
                await self._roll_back()
                raise
            return result

    async def _roll_back(self) -> None:
        try:
            await self._writer.rollback()
        except sqlite3.Error as error:  # the failed statement may have ended the transaction already
            log.warning("rollback: %s", error)

    async def rows(self, sql: str, arguments: Iterable[Any] = ()) -> list[Row]:
        return list(await self._reader.execute_fetchall(sql, arguments))

    async def row(self, sql: str, arguments: Iterable[Any] = ()) -> Row | None:
        found = await self.rows(sql, arguments)
        return found[0] if found else None


async def _connect(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON", "busy_timeout = 10000"):
        await connection.execute(f"PRAGMA {pragma}")
    return connection


def _prepare(path: Path) -> Path | None:
    """Checks and migrates with a connection of its own. Returns where a damaged file was put, if it was."""
    set_aside = None
    if path.exists() and not _is_sound(path):
        set_aside = _set_aside(path)
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    path.chmod(0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        _migrate(connection)
    return set_aside


def _is_sound(path: Path) -> bool:
    if path.stat().st_size == 0:
        return True
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            # quick_check reads everything; the schema and the first pages tell of a file that is no database
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0] if _is_small(path) else "ok"
            return problem == "ok"
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise  # locked, unreadable: not damage
        return False


def _is_small(path: Path) -> bool:
    return path.stat().st_size < 64 * 1024 * 1024


def _set_aside(path: Path) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    target = path.with_name(f"{path.name}.damaged-{stamp}")
    count = 1
    while target.exists():
        count += 1
        target = path.with_name(f"{path.name}.damaged-{stamp}-{count}")
    path.rename(target)
    for suffix in ("-wal", "-shm"):
        side = path.with_name(path.name + suffix)
        if side.exists():
            side.rename(target.with_name(target.name + suffix))
    return target


def _migrate(connection: sqlite3.Connection) -> None:
    steps = migrations()
    supported = steps[-1][0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'schema_version'").fetchone()[0]
    # the table is empty when a helper died between making it and the first step
    found = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()[0] if tables else 0
    if found > supported:
        raise RalphError(
            "databaseTooNew",
            f"The database is of a newer Ralph Loop (schema {found}, this one knows {supported}). Update ralph-loop, "
            "or give another --data-dir. The database was not changed.",
            found=found,
            supported=supported,
        )
    if found == 0:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only takes effect before the first table
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL, at TEXT NOT NULL)")
    for number, sql in steps:
        if number > found:
            connection.executescript(
                f"BEGIN IMMEDIATE;\n{sql}\n"
                f"INSERT INTO schema_version VALUES ({number}, strftime('%Y-%m-%dT%H:%M:%fZ'));\nCOMMIT;"
            )
