"""The state of one loop as it is stored and told. `LoopRecord.set` is the only place where it changes.

Store first, then tell (ARCHITECTURE.md, flow): every change is in the database before a client hears of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs

from ralph_loop.agents.base import Adapter
from ralph_loop.engine.asking import Desk, Loopwise
from ralph_loop.engine.bus import Bus
from ralph_loop.engine.clock import Stopwatch
from ralph_loop.engine.iteration import Iteration
from ralph_loop.engine.mirror import Mirror
from ralph_loop.engine.output import OutputLog
from ralph_loop.engine.state import Counters, LoopState
from ralph_loop.engine.wishes import Wishes
from ralph_loop.paths import Paths
from ralph_loop.protocol import ENDED, IterationRecord, LoopError, Operation, Snapshot, Status
from ralph_loop.store import contexts, loops, operations, output
from ralph_loop.store.database import Database, DiskFullError, Writer
from ralph_loop.waiting import either

log = logging.getLogger(__name__)

Also = Callable[[Writer], Awaitable[None]]


@attrs.frozen
class Surroundings:
    """What every loop of the engine shares."""

    database: Database
    bus: Bus
    desk: Desk
    paths: Paths
    agents: Mapping[str, Adapter]
    setting: Callable[[str], object | None]
    backoff_unit_ms: Callable[[], int]  # a minute; shorter in tests


class LoopRecord:
    def __init__(self, around: Surroundings, state: LoopState, wishes: Wishes) -> None:
        self.around = around
        self.time = Stopwatch(state.active_ms)
        self.iteration: Iteration | None = None  # the one that runs
        self._state = state
        self._wishes = wishes
        self._held = False
        self._pending_context = 0
        self._staged = 0
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._disk_retry = asyncio.Event()
        self._mirror = Mirror(around.database, Path(state.root))
        self._output: OutputLog | None = None
        self._hold_if_standing(state.status)

    @property
    def state(self) -> LoopState:
        """Read only."""
        return self._state

    @property
    def output(self) -> OutputLog:
        assert self._output is not None, "open() was not called"
        return self._output

    @property
    def asking(self) -> Loopwise:
        state = self._state
        return Loopwise(state.run_id, state.repo_id, state.key, state.config.allow_all, self.set, self.note)

    def snapshot(self) -> Snapshot:
        permissions, questions = self.around.desk.count(self._state.run_id)
        return self._state.snapshot(
            elapsed_ms=self.time.ms,
            counters=Counters(
                context=self._pending_context, permissions=permissions, questions=questions, operations=self._staged
            ),
        )

    async def open(self) -> None:
        """Continues the numbering of the output that is stored."""
        run_id = self._state.run_id
        _, last = await output.bounds(self.around.database, run_id)
        told = self.around.bus.output_stored
        self._output = OutputLog(self.around.database, run_id, last, lambda: told(run_id), self._disk_full)

    async def close(self) -> None:
        if self._output is not None:
            await self._output.close()
        self._changed.set()

    # --------------------------------------------------------------------------------------------------------- change
    async def set(self, also: Also | None = None, record: IterationRecord | None = None, **changes: Any) -> None:
        """Changes the state: stored together with what `also` writes, then told, after `record` if given."""
        async with self._changing:
            self._hold_if_standing(changes.get("status", self._state.status))  # what is stored is what is told
            state = _evolved(self._state, **changes, active_ms=self.time.ms, revision=self._state.revision + 1)

            async def store(writer: Writer) -> None:
                if also is not None:
                    await also(writer)
                await loops.update(writer, state)

            while True:
                try:
                    await self.around.database.write(store)
                    break
                except DiskFullError as error:
                    await self._disk_full(error)
                    state = _evolved(state, revision=self._state.revision + 1)
            self._state = state
            self._hold_if_standing(state.status)
            await self.count()
        if record is not None:
            self.tell_iteration(record)
        self._tell()

    async def count(self) -> None:
        """Reads what waits for the loop anew; once before anybody sees it."""
        run_id = self._state.run_id
        self._pending_context = await contexts.pending(self.around.database, run_id)
        self._staged = await operations.count(self.around.database, run_id) if self._state.config.plan_mode else 0

    def force(self, **changes: Any) -> None:
        """A change that could not be stored, told all the same: the loop has ended, whatever the disk says."""
        self._state = _evolved(self._state, **changes, revision=self._state.revision + 1)
        self._hold_if_standing(self._state.status)
        self._tell()

    async def until(self, settled: Callable[[LoopState], bool]) -> None:
        """Returns when the state is as asked for."""
        while not settled(self._state):
            self._changed.clear()
            await self._changed.wait()

    async def mirror(self) -> None:
        """Writes the files in `.ralph/`."""
        await self._mirror.write(self._state, self.snapshot())

    async def note(self, iteration: int, text: str) -> None:
        """A line of ours in the loop's output."""
        await self.output.write(iteration, "system", f"{text}\n".encode())

    def _hold_if_standing(self, status: Status) -> None:
        """`elapsedMs` leaves out paused and awaiting_approval (rule 7)."""
        standing = status in ("paused", "awaiting_approval", "interrupted") or status in ENDED
        if standing and not self._held:
            self.time.hold()
        elif not standing and self._held:
            self.time.release()
        self._held = standing

    # ----------------------------------------------------------------------------------------------------------- tell
    def _tell(self) -> None:
        self._changed.set()
        snapshot = self.snapshot()
        for listener in tuple(self.around.bus.listeners):
            listener.changed(self._state.key, snapshot)

    def tell_iteration(self, record: IterationRecord) -> None:
        for listener in tuple(self.around.bus.listeners):
            listener.iterated(self._state.key, record)

    def tell_staged(self, staged: list[Operation]) -> None:
        for listener in tuple(self.around.bus.listeners):
            listener.staged(self._state.key, self._state.run_id, staged)

    def tell_event(self, iteration: int, event: dict[str, Any]) -> None:
        for listener in tuple(self.around.bus.listeners):
            listener.happened(self._state.run_id, iteration, event)

    # ------------------------------------------------------------------------------------------------------ full disk
    @property
    def disk_is_full(self) -> bool:
        error = self._state.error
        return error is not None and error.kind == "diskFull" and self._state.status == "paused"

    def retry_disk(self) -> None:
        self._disk_retry.set()

    async def _disk_full(self, error: DiskFullError) -> None:
        """Waits until somebody resumes the loop; the agent waits at its full pipe meanwhile. Nothing is dropped,
        except when the loop is to end: then nothing more can be kept, and the error is raised."""
        if self._wishes.ending:
            raise error
        log.error("loop %s: %s", self._state.run_id, error)
        before = self._state
        self._disk_retry.clear()
        hint = "Free some space, then resume the loop. Nothing was lost."
        problem = LoopError(kind="diskFull", message=str(error), hint=hint)
        hold = self.iteration.standing_still() if self.iteration is not None else nullcontext()
        with hold:
            self.force(status="paused", error=problem)
            await either(self._disk_retry, self._wishes.stop)
        if self._wishes.ending:
            raise error
        self.force(status=before.status, error=before.error)


def _evolved(state: LoopState, **changes: Any) -> LoopState:
    return attrs.evolve(state, **changes)
