"""After a start of the helper: every loop the last one left is as rule 6 of PROTOCOL.md wants it."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from ralph_loop.agents.agent_process import GuardError
from ralph_loop.engine import cloning, plan, repolock
from ralph_loop.engine.state import LoopState
from ralph_loop.errors import RalphError
from ralph_loop.git.locate import locate
from ralph_loop.protocol import IterationRecord
from ralph_loop.store import asks, iterations, loops, output
from ralph_loop.store.database import Database, Writer

if TYPE_CHECKING:
    from ralph_loop.engine.engine import Engine

log = logging.getLogger(__name__)

_WAIT_MS = 15_000  # for guards of a helper that died to end what it left


class Recovery:
    """Running becomes interrupted; paused, waiting and awaiting_approval stay and take their lock again. A loop whose
    lock somebody else has is left as it is until somebody asks for it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._left: set[str] = set()

    async def run(self) -> None:
        """Once, before the helper can be reached."""
        await self._finish_applying()
        await self._clear_clones()
        unfinished = await loops.unfinished(self._engine.database)
        await asyncio.gather(*(self._take_up(state, _WAIT_MS) for state in unfinished))

    async def try_again(self, state: LoopState) -> bool:
        """For a loop that somebody asks for. False when it was taken up before, and `state` still holds."""
        if state.run_id not in self._left:
            return False
        async with self._engine.starting:
            if state.run_id in self._left:
                await self._take_up(state, 0)
        return True

    async def _finish_applying(self) -> None:
        try:
            await plan.recover(self._engine.paths, self._engine.database)
        except OSError as error:
            log.error("what plan mode left could not be removed: %s", error)

    async def _clear_clones(self) -> None:
        try:
            await asyncio.to_thread(cloning.clear, self._engine.paths.clones)
        except OSError as error:
            log.error("half a clone could not be removed: %s", error)

    async def _take_up(self, state: LoopState, wait_ms: int) -> None:
        database = self._engine.database
        guard = place = None
        try:
            place = await asyncio.to_thread(locate, Path(state.workspace))
            guard = await repolock.take(Path(state.key), state.run_id, wait_ms)
        except (RalphError, GuardError) as error:
            log.warning("loop %s was not taken up: %s", state.run_id, error)
            self._left.add(state.run_id)
            return
        except OSError as error:  # the folder is gone: nothing can run there, and nothing to lock
            log.warning("loop %s: %s", state.run_id, error)
        self._left.discard(state.run_id)
        state.revision += 100  # what was told last may not have been stored
        broken = await iterations.running(database, state.run_id)
        ended = [await _ended(database, record) for record in broken]
        if ended:
            state.replaces = ended[-1].iteration
            state.last_iteration_ms = ended[-1].duration_ms
            state.active_ms += ended[-1].duration_ms  # what was told of it had not been stored
        if state.status == "running" or guard is None:
            state.status, state.phase, state.pause_requested = "interrupted", None, False

        async def store(writer: Writer) -> None:
            for record in ended:
                await iterations.update(writer, record)
            await asks.withdraw_all(writer, state.run_id, "restart")
            await loops.update(writer, state)

        await database.write(store)
        await self._engine.desk.recover(self._engine.resting.asking(state))
        if guard is None or place is None or state.status == "interrupted":
            if guard is not None:
                await guard.close()
            await self._engine.resting.tell(state)
        else:
            await self._engine.launch(state, guard, place, None)


async def _ended(database: Database, record: IterationRecord) -> IterationRecord:
    """The record of an iteration that a helper left running: it ended with its last output, as far as is known."""
    last = await output.last_time(database, record.run_id, record.iteration) or record.started_at
    passed = datetime.fromisoformat(last) - datetime.fromisoformat(record.started_at)
    return attrs.evolve(
        record,
        status="interrupted",
        ended_at=last,
        duration_ms=max(0, int(passed.total_seconds() * 1000)),
        tracking="the helper ended before the record was made",
    )
