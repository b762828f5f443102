"""One loop per repository: who holds its lock, and what is said to who comes second (PROTOCOL.md, rule 2)."""

from __future__ import annotations

from pathlib import Path

from ralph_loop.agents.guard_client import Guard, RepoBusyError
from ralph_loop.errors import RalphError
from ralph_loop.paths import holder_file


async def take(key: Path, run_id: str, wait_ms: int) -> Guard:
    """A new guard that holds the repository's lock; it waits at most `wait_ms` milliseconds for it. Raises RalphError
    repoBusy."""
    try:
        return await Guard.start(lock=key, holder=holder_file(key), run_id=run_id, wait_ms=wait_ms)
    except RepoBusyError as error:
        raise busy(error.run_id, error.pid, error.since) from None


def busy(run_id: str | None, pid: int | None, since: str | None) -> RalphError:
    """What is not known of the holder is empty: a program that is none of ours may hold the lock."""
    held = f"loop {run_id}" if run_id else "another program"
    by = f" (process {pid})" if pid else ""
    at = f", since {since}" if since else ""
    text = f"A loop already runs in this repository: {held}{by}{at}. Cancel it or wait for its end."
    return RalphError("repoBusy", text, runId=run_id or "", pid=pid or 0, since=since or "")
