"""`.ralph/context.md`, edited by hand: its text becomes a hint, once, also over a crash (rule 2)."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from ralph_loop.engine.state import LoopState
from ralph_loop.store import contexts, sessions, workspace
from ralph_loop.store.database import Database, Writer

log = logging.getLogger(__name__)


async def import_inbox(database: Database, state: LoopState, root: Path) -> None:
    """Takes what is in the inbox. What cannot be taken stays where it is, and is logged."""
    try:
        found = await asyncio.to_thread(workspace.take_inbox, root)
        for taken in found:
            await _import(database, state, taken)
            await asyncio.to_thread(workspace.forget_taken, root, taken.name)
    except workspace.WorkspaceError as error:
        log.warning("%s", error)


async def _import(database: Database, state: LoopState, taken: workspace.Taken) -> None:
    async def store(writer: Writer) -> None:
        # the file's name is the hint's identity: a crash between storing and forgetting imports nothing twice
        if await contexts.add_taken(writer, state.repo_id, state.run_id, taken.name, taken.text):
            await sessions.add_message(writer, state.session_id, "user", "context", taken.text, run_id=state.run_id)

    if taken.text:
        await database.write(store)
