"""Loops that have no task: they were interrupted or have ended. What is decided about them changes what is stored."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ralph_loop.engine.asking import Loopwise
from ralph_loop.engine.record import Also
from ralph_loop.engine.state import LoopState
from ralph_loop.errors import invalid_state
from ralph_loop.protocol import ENDED, Snapshot, Target
from ralph_loop.store import loops, operations, sessions
from ralph_loop.store.database import Writer, now

if TYPE_CHECKING:
    from ralph_loop.engine.engine import Engine

log = logging.getLogger(__name__)


class Resting:
    """The stored state of loops at rest, changed and told of."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def cancel(self, state: LoopState) -> Snapshot:
        """A loop that was interrupted has no processes; cancelling it is a decision about its state. Raises
        invalidState."""
        if state.status in ENDED:
            raise invalid_state(
                f"This loop is {state.status} already.",
                state.status,
                ["running", "paused", "waiting", "awaiting_approval", "interrupted"],
            )
        state.status, state.stop_reason, state.phase = "cancelled", "cancelled", None
        state.ended_at, state.revision, state.deferred = now(), state.revision + 1, None

        async def store(writer: Writer) -> None:
            await operations.drop(writer, state.run_id)
            await loops.update(writer, state)
            await sessions.add_message(
                writer, state.session_id, "system", "end", "Cancelled after an interruption.", run_id=state.run_id
            )

        await self._engine.database.write(store)
        await self._engine.desk.withdraw(self.asking(state))
        return await self.tell(await self._engine.find(Target(run_id=state.run_id)))

    async def change(
        self, run_id: str, change: Callable[[LoopState], None] | None = None, also: Also | None = None
    ) -> bool:
        """Changes a loop, with what `also` writes. False when it runs, and nothing was done."""
        async with self._engine.starting:  # it is not being resumed meanwhile
            if self._engine.loop(run_id) is not None:
                return False
            state = await self._engine.find(Target(run_id=run_id))
            state.revision += 1
            if change is not None:
                change(state)

            async def store(writer: Writer) -> None:
                if also is not None:
                    await also(writer)
                await loops.update(writer, state)

            await self._engine.database.write(store)
            return True

    def asking(self, state: LoopState) -> Loopwise:
        """Who asks, when a loop has nobody who could speak for it."""

        async def changed() -> None:
            if await self.change(state.run_id):
                await self.tell(await self._engine.find(Target(run_id=state.run_id)))

        async def note(_iteration: int, line: str) -> None:
            log.info("loop %s: %s", state.run_id, line)

        return Loopwise(state.run_id, state.repo_id, state.key, state.config.allow_all, changed, note)

    async def tell(self, state: LoopState) -> Snapshot:
        """Tells every client how it is now."""
        snapshot = await self._engine.snapshot_of(state)
        for listener in tuple(self._engine.bus.listeners):
            listener.changed(state.key, snapshot)
        return snapshot
