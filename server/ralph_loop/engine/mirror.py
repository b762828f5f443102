"""`.ralph/`: what a loop is and was, as files for people and scripts (the Tandem seed's `state.json` and others)."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path

from ralph_loop.engine.state import LoopState
from ralph_loop.engine.summary import summarize
from ralph_loop.protocol import IterationRecord, Snapshot
from ralph_loop.store import iterations, operations, workspace
from ralph_loop.store.database import Database
from ralph_loop.wire import unstructure

log = logging.getLogger(__name__)


class Mirror:
    """Writes the files of one loop. A folder that cannot be written to is logged once; the loop goes on."""

    def __init__(self, database: Database, root: Path) -> None:
        self._database = database
        self._root = root
        self._failed = False

    async def write(self, state: LoopState, snapshot: Snapshot) -> None:
        records = (await iterations.page(self._database, state.run_id, limit=workspace.HISTORY_LENGTH))[
            -workspace.HISTORY_LENGTH :
        ]
        planned = await operations.not_applied(self._database, state.run_id) if state.config.plan_mode else {}
        page = summarize(state, snapshot, records, planned)
        try:
            await asyncio.to_thread(_write, self._root, snapshot, records, page)
            self._failed = False
        except workspace.WorkspaceError as error:
            if not self._failed:
                log.warning("loop %s: %s", state.run_id, error)
            self._failed = True


def _write(root: Path, snapshot: Snapshot, records: list[IterationRecord], summary: str) -> None:
    workspace.prepare(root)
    files = {
        "state.json": _json(unstructure(snapshot)),
        "history.json": _json(unstructure(records)),
        "summary.md": summary,
    }
    workspace.write(root, files)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
