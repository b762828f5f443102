"""Old output is given up by age and by size, the oldest first, and nothing else ever is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from ralph_loop.engine.state import LoopState
from ralph_loop.protocol import IterationRecord, LoopConfig, Status
from ralph_loop.store import iterations, loops, output, repos, sessions
from ralph_loop.store.database import Database, Writer, timestamp
from ralph_loop.store.retention import Retention

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CHUNK = 1000  # bytes


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await Database.open(tmp_path / "ralph-loop.db")
    yield database
    await database.close()


async def add(
    database: Database, name: str, *, days_ago: float, chunks: int = 3, size: int = CHUNK, status: Status = "completed"
) -> str:
    """A loop that ended so long ago, and its output."""
    at = timestamp(NOW - timedelta(days=days_ago))
    run_id = f"run_{name}"

    async def store(writer: Writer) -> None:
        repo = await repos.register(writer, "/repo", "/repo", True)
        session_id = await sessions.insert(writer, repo.id, "/repo", name)
        state = LoopState(
            run_id=run_id,
            session_id=session_id,
            repo_id=repo.id,
            workspace="/repo",
            root="/repo",
            key="/repo",
            git=True,
            prompt=f"prompt of {name}",
            config=LoopConfig(agent="demo"),
            status=status,
            started_at=at,
            ended_at=None if status in ("running", "paused", "interrupted") else at,
        )
        await loops.insert(writer, state)
        await sessions.add_message(writer, session_id, "user", "prompt", state.prompt, run_id=run_id)
        record = IterationRecord(
            run_id=run_id, iteration=1, status="completed", started_at=at, duration_ms=1, agent="demo"
        )
        await iterations.insert(writer, record, state.prompt, None, False)
        pieces = [output.Piece(seq, 1, "stdout", at, os.urandom(size)) for seq in range(1, chunks + 1)]
        await output.append(writer, run_id, pieces)

    await database.write(store)
    return run_id


async def kept(database: Database) -> dict[str, list[int]]:
    """The numbers of the chunks that each loop still has."""
    found: dict[str, list[int]] = {}
    for row in await database.rows("SELECT run_id, seq FROM output_logs ORDER BY run_id, seq"):
        found.setdefault(row["run_id"], []).append(row["seq"])
    return found


async def everything_else(database: Database) -> list[Any]:
    tables = ("repos", "sessions", "loops", "iterations", "messages", "config")
    return [[tuple(row) for row in await database.rows(f"SELECT * FROM {table}")] for table in tables]


async def test_output_older_than_so_many_days_goes_and_nothing_else(database: Database) -> None:
    await add(database, "old", days_ago=31)
    await add(database, "new", days_ago=29)
    before = await everything_else(database)
    deleted = await Retention(database).sweep(before=NOW - timedelta(days=30), most_bytes=None)
    assert deleted == 3 * CHUNK
    assert await kept(database) == {"run_new": [1, 2, 3]}
    assert await everything_else(database) == before


async def test_without_a_limit_nothing_goes(database: Database) -> None:
    await add(database, "old", days_ago=10_000)
    assert await Retention(database).sweep(before=None, most_bytes=None) == 0
    assert await kept(database) == {"run_old": [1, 2, 3]}


@pytest.mark.parametrize("status", ["running", "paused", "waiting", "awaiting_approval", "interrupted"])
async def test_a_loop_that_has_not_ended_keeps_its_output(database: Database, status: Status) -> None:
    await add(database, "open", days_ago=100, status=status)
    await add(database, "ended", days_ago=100)
    await Retention(database).sweep(before=NOW, most_bytes=1)
    assert await kept(database) == {"run_open": [1, 2, 3]}


@pytest.mark.parametrize(
    ("most", "left"),
    [
        (9 * CHUNK, {"run_a": [1, 2, 3], "run_b": [1, 2, 3], "run_c": [1, 2, 3]}),
        (9 * CHUNK - 1, {"run_a": [2, 3], "run_b": [1, 2, 3], "run_c": [1, 2, 3]}),
        (5 * CHUNK, {"run_b": [2, 3], "run_c": [1, 2, 3]}),
        (CHUNK, {"run_c": [3]}),
        (CHUNK - 1, {}),
    ],
)
async def test_beyond_so_many_bytes_the_oldest_goes_first(
    database: Database, most: int, left: dict[str, list[int]]
) -> None:
    await add(database, "c", days_ago=1)
    await add(database, "a", days_ago=3)  # ended first, though it started last
    await add(database, "b", days_ago=2)
    await Retention(database).sweep(before=None, most_bytes=most)
    assert await kept(database) == left


async def test_a_second_sweep_counts_what_came_and_went_since(database: Database) -> None:
    retention = Retention(database)
    await add(database, "a", days_ago=3)
    await retention.sweep(before=None, most_bytes=2 * CHUNK)
    assert await kept(database) == {"run_a": [2, 3]}
    await add(database, "b", days_ago=2)
    await database.write(lambda writer: sessions.delete(writer, "none"))
    await retention.sweep(before=None, most_bytes=4 * CHUNK)
    assert await kept(database) == {"run_a": [3], "run_b": [1, 2, 3]}
    row = await database.row("SELECT session_id FROM loops WHERE id = 'run_b'")
    assert row is not None
    session_id = row[0]
    await database.write(lambda writer: sessions.delete(writer, session_id))
    await retention.sweep(before=None, most_bytes=4 * CHUNK)
    assert await kept(database) == {"run_a": [3]}


async def test_the_file_shrinks_and_writers_do_not_wait_for_all_of_it(database: Database, tmp_path: Path) -> None:
    await add(database, "old", days_ago=40, chunks=400, size=64 * 1024)  # 26 MB, many steps
    await add(database, "live", days_ago=0, chunks=1, status="running")
    full = await size(database, tmp_path)
    steps_seen: list[int] = []

    async def write_meanwhile() -> None:
        for seq in range(2, 12):
            piece = output.Piece(seq, 1, "stdout", timestamp(NOW), b"x")
            await database.write(lambda writer, piece=piece: output.append(writer, "run_live", [piece]))
            steps_seen.append(len((await kept(database)).get("run_old", [])))

    sweeping = asyncio.create_task(Retention(database).sweep(before=NOW - timedelta(days=30), most_bytes=None))
    await write_meanwhile()
    await sweeping
    assert len(set(steps_seen)) > 3, "the writer came between the steps"
    assert await kept(database) == {"run_live": list(range(1, 12))}
    assert await size(database, tmp_path) < full / 5
    check = await database.row("PRAGMA integrity_check")
    assert check is not None and check[0] == "ok"


async def size(database: Database, folder: Path) -> int:
    await database.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    return (folder / "ralph-loop.db").stat().st_size


async def test_a_loop_that_ended_without_saying_when_counts_from_its_start(database: Database) -> None:
    run_id = await add(database, "odd", days_ago=40)
    state = await loops.get(database, run_id)
    assert state is not None
    await database.write(lambda writer: loops.update(writer, attrs.evolve(state, ended_at=None)))
    await Retention(database).sweep(before=NOW - timedelta(days=30), most_bytes=None)
    assert await kept(database) == {}
