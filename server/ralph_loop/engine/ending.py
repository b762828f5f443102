"""How a loop ends: what it started first, then its state, also when that cannot be stored."""

from __future__ import annotations

import logging
from typing import Any

import attrs

from ralph_loop.agents.agent_process import GuardLostError
from ralph_loop.agents.guard_client import Guard
from ralph_loop.engine import judge
from ralph_loop.engine.record import Also, LoopRecord
from ralph_loop.engine.turn import Turns
from ralph_loop.engine.wishes import Wishes
from ralph_loop.protocol import IterationRecord, LoopError, Status, StopReason
from ralph_loop.store import iterations, operations, sessions
from ralph_loop.store.database import DiskFullError, Writer, now

log = logging.getLogger(__name__)

_DISK_RETRY_S = 5.0


class Ending:
    """The end of one loop."""

    def __init__(self, record: LoopRecord, wishes: Wishes, turns: Turns, guard: Guard) -> None:
        self._record = record
        self._wishes = wishes
        self._turns = turns
        self._guard = guard
        self._unsaved: dict[str, Any] | None = None  # what `end` was to store with a cancellation
        self.processes_left: list[int] = []

    async def end(
        self,
        status: Status,
        reason: StopReason,
        *,
        also: Also | None = None,
        record: IterationRecord | None = None,
        **changes: Any,
    ) -> None:
        """The loop is over. What ran is ended first, so that whoever hears of it may start the next one."""
        await self.stop_processes()
        state = self._record.state
        text = judge.ending(status, reason, {**attrs.asdict(state, recurse=False), **changes})

        async def store(writer: Writer) -> None:
            if also is not None:
                await also(writer)
            await operations.drop(writer, state.run_id)
            await sessions.add_message(writer, state.session_id, "system", "end", text, run_id=state.run_id)

        await self._record.around.desk.withdraw(self._record.asking)
        changes.setdefault("deferred", None)
        if state.status == "waiting":
            changes.setdefault("error", None)  # that it goes on by itself is no longer true
        ending = {"status": status, "stop_reason": reason, "phase": None, "ended_at": state.ended_at or now()}
        cleared = {"pause_requested": False, "waiting_until": None}
        await self._record.set(store, record, **changes, **ending, **cleared)
        await self._record.mirror()

    async def broken(self, error: Exception) -> None:
        """A failure of ours, or of the machine: that loop's end, never the helper's. A lost guard leaves the loop
        interrupted, so that one action resumes it."""
        run_id = self._record.state.run_id
        log.error("loop %s failed", run_id, exc_info=error)
        lost = isinstance(error, GuardLostError)
        kind = "diskFull" if isinstance(error, DiskFullError) else "guardLost" if lost else "internal"
        text = f"The loop stopped: {error}" if str(error) else f"The loop stopped: {type(error).__name__}"
        problem = LoopError(
            kind=kind, message=text, hint="See the helper's log (ralph-loop logs --helper) for details."
        )
        try:
            unfinished = await iterations.running(self._record.around.database, run_id)
            changes: dict[str, Any] = {"also": _interrupting(unfinished), "error": problem}
            if unfinished:
                changes["replaces"] = unfinished[-1].iteration
            if self._wishes.cancelled:
                self._unsaved = changes
                await self.end("cancelled", "cancelled", **changes)
                self._unsaved = None
            elif lost:
                await self._record.set(status="interrupted", phase=None, **changes)
            else:
                await self.end("error", "error", **changes)
        except Exception:
            log.exception("loop %s: its end could not be stored", run_id)
            status = "cancelled" if self._wishes.cancelled else "error"
            self._record.force(status=status, stop_reason=status, phase=None, error=problem, ended_at=now())

    async def store_later(self) -> None:
        """A cancelled loop for whose end the disk had no room has ended all the same; what it printed last and its end
        are stored when there is room. A helper that ends before finds it interrupted."""
        while self._unsaved is not None and not self._wishes.closing:
            try:
                await self._record.output.end_iteration()
                await self.end("cancelled", "cancelled", **self._unsaved)
                self._unsaved = None
            except DiskFullError:
                await self._wishes.closed_within(_DISK_RETRY_S)
            except Exception:
                log.exception("loop %s: its end could not be stored", self._record.state.run_id)
                return

    async def stop_processes(self) -> None:
        await self._turns.close()
        self.processes_left = await self._guard.close()
        if self.processes_left:
            run_id = self._record.state.run_id
            log.error("loop %s: processes %s could not be ended", run_id, self.processes_left)


def _interrupting(unfinished: list[IterationRecord]) -> Also:
    async def store(writer: Writer) -> None:
        for record in unfinished:
            await iterations.update(writer, attrs.evolve(record, status="interrupted", ended_at=now()))

    return store
