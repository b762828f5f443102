"""The state machine of one loop, one task.

running --pause--> paused --resume--> running      any --cancel--> cancelled
running --rate limit--> waiting --time, resume--> running
running --promise, limit, failures--> completed, error
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from ralph_loop.agents.guard_client import Guard
from ralph_loop.engine import judge
from ralph_loop.engine.approval import Approval, verdict
from ralph_loop.engine.asking import Loopwise
from ralph_loop.engine.client import Client
from ralph_loop.engine.ending import Ending
from ralph_loop.engine.record import Also, LoopRecord, Surroundings
from ralph_loop.engine.state import Deferred, LoopState
from ralph_loop.engine.turn import Judgement, Turns
from ralph_loop.engine.wishes import Wishes
from ralph_loop.errors import invalid_state
from ralph_loop.git.locate import Place
from ralph_loop.protocol import ENDED, Operation, Snapshot, Status
from ralph_loop.store import operations
from ralph_loop.store.database import Writer

log = logging.getLogger(__name__)

PAUSABLE: tuple[Status, ...] = ("running", "waiting")
RESUMABLE: tuple[Status, ...] = ("paused", "waiting", "interrupted")


class Loop:
    """One loop. `main` is its task; everything else may be called from request handlers."""

    def __init__(
        self, around: Surroundings, state: LoopState, guard: Guard, place: Place, client: Client | None
    ) -> None:
        self._wishes = Wishes()
        self._record = LoopRecord(around, state, self._wishes)
        self._turns = Turns(self._record, self._wishes, guard, place)
        self._ending = Ending(self._record, self._wishes, self._turns, guard)
        self.approval = Approval(self._record, self._wishes, place)
        self._client = client  # None after a restart, until one comes
        self._told_variables = False
        self.guard = guard
        self.ended = asyncio.Event()

    # ------------------------------------------------------------------------------------------- what others may see
    @property
    def state(self) -> LoopState:
        """Read only."""
        return self._record.state

    def snapshot(self) -> Snapshot:
        return self._record.snapshot()

    @property
    def processes_left(self) -> list[int]:
        """Pids that could not be ended when the loop was."""
        return self._ending.processes_left

    async def count(self) -> None:
        """To be awaited once, before the loop can be seen: its snapshot tells what waits for it."""
        await self._record.count()

    # ------------------------------------------------------------------------------------------------------ requests
    async def pause(self) -> None:
        """After the current iteration."""
        self._check_pausable()
        if not self.state.pause_requested:
            await self._record.set(pause_requested=True)
            self._wishes.signal.set()

    async def pause_now(self, limit_s: float) -> None:
        """Stops the agent; the iteration is recorded as interrupted and run again on resume. Returns when the loop is
        paused, or after `limit_s` seconds."""
        self._check_pausable()
        await self._record.set(pause_requested=True)
        self._wishes.pause()
        try:
            await asyncio.wait_for(self._record.until(lambda state: not state.pause_requested), limit_s)
        except TimeoutError:
            log.info("loop %s: its agent takes long to end", self.state.run_id)

    def _check_pausable(self) -> None:
        status = self.state.status
        if status not in PAUSABLE:
            raise invalid_state(f"This loop is {status}, not running.", status, list(PAUSABLE))

    async def resume(self, client: Client, amend: Callable[[LoopState], dict[str, Any]]) -> None:
        """Goes on. `amend` gives the changes of state that the request asks for, or refuses."""
        state = self.state
        if self._record.disk_is_full:
            self._record.retry_disk()
            return
        if state.status == "running" and state.pause_requested and not self._wishes.pause_now:
            await self._record.set(pause_requested=False, **amend(state))
            return
        if state.status not in RESUMABLE:
            text = f"This loop is {state.status}; there is nothing to resume."
            raise invalid_state(text, state.status, list(RESUMABLE))
        changes = amend(state)
        self._client = client
        async with self.approval.lock:
            waits = state.deferred is not None and bool(await self.approval.staged())
            await self._record.set(
                status="awaiting_approval" if waits else "running",
                phase=None if waits else "starting",
                stop_reason=None,
                waiting_until=None,
                pause_requested=False,
                error=None,
                **changes,
            )
        self._wishes.signal.set()

    def with_added(self, client: Client) -> Client:
        """This client's environment, and what the start request added to that of its own."""
        return client if self._client is None else client.adding(self._client.added)

    def cancel(self) -> None:
        """Asks for the end; wait for `ended`."""
        self._wishes.cancel()

    def shut_down(self) -> None:
        """The helper ends: like pause-now (rule 6), and the task ends."""
        self._wishes.close()

    def adopt(self, client: Client) -> None:
        """A client's environment came: a loop that waited for one goes on (rule 6)."""
        if self._client is None:
            self._client = client
            self._wishes.signal.set()

    async def approve(self, ids: Sequence[str] | None, client: Client) -> list[Operation]:
        left = await self.approval.approve(ids, client)
        self._wishes.signal.set()
        return left

    async def reject(self, ids: Sequence[str] | None, feedback: str | None) -> list[Operation]:
        left = await self.approval.reject(ids, feedback)
        self._wishes.signal.set()
        return left

    async def context_changed(self) -> None:
        await self._record.set()

    @property
    def asking(self) -> Loopwise:
        return self._record.asking

    async def add_answer(self, question: str, answer: str, also: Also) -> None:
        """An answer to a question the agent did not wait for: it goes into the next prompt."""
        await self._record.set(also, answers=[*self.state.answers, [question, answer]])

    # ------------------------------------------------------------------------------------------------------ the task
    async def main(self) -> None:
        """Runs until the loop has ended or the helper shuts down. Never raises."""
        try:
            await self._record.open()
            await self.approval.recover()
            await self._go()
        except Exception as error:
            await self._ending.broken(error)
        finally:
            await self._ending.stop_processes()
            await self._record.close()
            self.ended.set()
        await self._ending.store_later()

    async def _go(self) -> None:
        await self._record.set()
        while self.state.status not in ENDED:
            state = self.state
            if self._wishes.ending:
                return await self._leave()
            if state.status in ("running", "waiting") and (reached := judge.limit_reached(state, self._record.time.ms)):
                await self._ending.end("completed", reached)
            elif state.status != "running":
                await self._rest()
            elif state.pause_requested:
                await self._record.set(status="paused", phase=None, pause_requested=False)
                self._wishes.paused()
            else:
                await self._iterate()

    async def _leave(self) -> None:
        """Cancelled, or the helper ends; not while changes are being applied."""
        async with self.approval.lock:
            if self._wishes.cancelled:
                await self._ending.end("cancelled", "cancelled")
            elif self.state.status == "running":
                await self._record.set(status="paused", phase=None, pause_requested=False)

    async def _iterate(self) -> None:
        await self._record.set(phase="starting")
        if self.state.deferred is not None:
            return await self._conclude_plan()
        assert self._client is not None, "a loop runs with a client's environment"
        await self._tell_variables(self._client)
        judgement = await self._turns.run(self._client)
        if judgement is None:
            return
        await self._carry_out(judgement)
        if self.state.status == "running" and self.state.config.iteration_delay_ms:
            await self._delay()

    async def _tell_variables(self, client: Client) -> None:
        """After a restart what the start request gave is gone: values may be secrets, and are not written to disk."""
        lost = [name for name in self.state.variables if name not in client.added]
        if not lost or self._told_variables:
            return
        self._told_variables = True
        unset = [name for name in lost if name not in client.env]
        await self._record.note(
            self.state.iteration + 1,
            "[ralph] The helper was restarted and keeps no values of environment variables. The loop was started with "
            f"{', '.join(lost)}; from now on it has what {client.name} has"
            + (f", and there {', '.join(unset)} {'is' if len(unset) == 1 else 'are'} not set" if unset else "")
            + ". To change that, pause the loop and resume it from a terminal or editor where they are set.",
        )

    async def _carry_out(self, judgement: Judgement) -> None:
        changes = dict(judgement.changes)
        if judgement.result.end == "stopped" and not self._wishes.cancelled:
            changes |= {"status": "paused", "phase": None, "pause_requested": False}
        if judgement.operations:
            await self._stage(judgement, changes)
            return await self._post_questions(judgement)
        status: Any = changes.get("status")
        if status in ENDED:
            reason: Any = changes.pop("stop_reason")
            del changes["status"]
            if self._wishes.cancelled:  # who cancels is told "cancelled"; the record keeps what the agent promised
                status = reason = "cancelled"
                changes.pop("error", None)
            await self._ending.end(status, reason, also=judgement.store, record=judgement.record, **changes)
            return
        await self._record.set(judgement.store, judgement.record, **changes)
        await self._record.mirror()
        await self._post_questions(judgement)
        if status == "paused":
            self._wishes.paused()

    async def _post_questions(self, judgement: Judgement) -> None:
        """What the agent asked and did not wait for."""
        for question in judgement.result.questions:
            desk = self._record.around.desk
            await desk.post_question(self._record.asking, judgement.record.iteration, question.text, question.options)

    async def _stage(self, judgement: Judgement, changes: dict[str, Any]) -> None:
        """Plan mode: the judgement waits until a person has settled the operations."""
        staged = list(judgement.operations)
        deferred = Deferred(
            iteration=judgement.record.iteration,
            status=changes.pop("status", "running"),
            stop_reason=changes.pop("stop_reason", None),
            error=changes.pop("error", None),
            needs_all=judgement.record.promise in ("completion", "abort"),
        )
        changes.pop("phase", None)

        async def store(writer: Writer) -> None:
            await judgement.store(writer)
            await operations.insert(writer, self.state.run_id, staged)

        waiting = {"status": "awaiting_approval", "phase": None, "deferred": deferred, "pause_requested": False}
        await self._record.set(store, judgement.record, **{**changes, **waiting})
        self._record.tell_staged(staged)
        await self._record.mirror()

    async def _conclude_plan(self) -> None:
        """Every operation is settled: the iteration's judgement takes effect."""
        changes = await verdict(self._record)
        status: Any = changes.pop("status", "running")
        reason: Any = changes.pop("stop_reason", None)
        if status in ENDED:
            await self._ending.end(status, reason, **changes)
        elif status == "paused":
            await self._record.set(status="paused", stop_reason=reason, phase=None, **changes)
        else:
            await self._record.set(**changes)

    async def _rest(self) -> None:
        """Paused, waiting for a rate limit, or for approval: until something is asked for, or the time has come."""
        self._wishes.signal.clear()
        state = self.state
        if self._wishes.ending:
            return
        seconds = None
        if state.status == "waiting":
            if state.pause_requested:
                return await self._record.set(status="paused", waiting_until=None, pause_requested=False)
            seconds = self._left(state.config.max_duration_ms)
            if self._client is not None and state.waiting_until is not None:
                left = (datetime.fromisoformat(state.waiting_until) - datetime.now(UTC)).total_seconds()
                if left <= 0:
                    return await self._record.set(status="running", phase="starting", waiting_until=None, error=None)
                seconds = left if seconds is None else min(left, seconds)
        await self._wait(seconds)

    async def _delay(self) -> None:
        await self._record.set(phase="delay")
        self._wishes.signal.clear()
        if self._wishes.ending or self.state.pause_requested:
            return
        seconds = self.state.config.iteration_delay_ms / 1000
        left = self._left(self.state.config.max_duration_ms)
        await self._wait(seconds if left is None else min(seconds, left))

    def _left(self, max_duration_ms: int | None) -> float | None:
        """Seconds until the loop's own time limit."""
        return None if max_duration_ms is None else max(0, max_duration_ms - self._record.time.ms) / 1000

    async def _wait(self, seconds: float | None) -> None:
        try:
            await asyncio.wait_for(self._wishes.signal.wait(), seconds)
        except TimeoutError:
            return
