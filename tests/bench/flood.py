"""Benchmark: how fast the helper stores and gives back a flood of output, and how much memory it needs.

Told as ratios to plain SQLite in the same run, since machines are noisy:  .venv/bin/python tests/bench/flood.py [MB]
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

from box import Box, shell
from client import Client

CHUNK = 64 * 1024


def plain_sqlite(megabytes: int) -> float:
    """Seconds to write the same bytes into one table in transactions of 1 MB."""
    with tempfile.TemporaryDirectory() as folder:
        database = sqlite3.connect(Path(folder, "plain.db"), isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("CREATE TABLE output (number INTEGER PRIMARY KEY, data BLOB)")
        data = b"x" * CHUNK
        began = time.monotonic()
        for _ in range(megabytes):
            database.execute("BEGIN")
            database.executemany("INSERT INTO output (data) VALUES (?)", [(data,)] * 16)
            database.execute("COMMIT")
        seconds = time.monotonic() - began
        database.close()
    return seconds


def memory_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 1e6


def chunks(client: Client, run: str) -> Iterator[dict[str, Any]]:
    """All that was printed, in pages as large as an answer may be."""
    after, more = 0, True
    while more:
        page = client("output", runId=run, after=after, limit=100_000, view="raw")
        yield from page["chunks"]
        after, more = page["chunks"][-1]["seq"], page["more"]


def main(megabytes: int) -> None:
    box = Box("embedded")
    try:
        repo = box.repo()
        client = box.client(repo)
        flood = f"head -c {megabytes}M /dev/zero | tr '\\0' x | fold -w 99; echo; echo '<promise>COMPLETE</promise>'"
        pid = client("health")["pid"]
        began, peak = time.monotonic(), 0.0
        run = client("start", workspace=str(repo), prompt="flood", config=shell(flood))["runId"]
        while client("status", runId=run)["status"] == "running":
            peak = max(peak, memory_mb(pid))
            time.sleep(0.1)
        stored = time.monotonic() - began
        began = time.monotonic()
        size = sum(len(chunk["text"]) for chunk in chunks(client, run))
        assert size > megabytes * 1024 * 1024, size
        read = time.monotonic() - began
        base = plain_sqlite(megabytes)
        print(f"stored {megabytes} MB at {megabytes / stored:.0f} MB/s, {stored / base:.1f} times plain SQLite")
        print(f"given back at {megabytes / read:.0f} MB/s; helper at most {peak:.0f} MB")
    finally:
        box.close()


if __name__ == "__main__":
    subprocess.run(["sync"], check=True)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
