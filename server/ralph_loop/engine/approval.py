"""Approving and rejecting staged operations, and what the loop does once all are settled (PROTOCOL.md, rule 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from ralph_loop.engine import committing
from ralph_loop.engine.client import Client
from ralph_loop.engine.committing import Committer
from ralph_loop.engine.plan import Approver
from ralph_loop.engine.record import Also, LoopRecord
from ralph_loop.engine.wishes import Wishes
from ralph_loop.errors import RalphError, invalid_state, not_found
from ralph_loop.git.journal import Outcome
from ralph_loop.git.locate import Place
from ralph_loop.protocol import Operation
from ralph_loop.store import iterations, operations, sessions
from ralph_loop.store.database import Writer

_NAMED = 20  # paths in a sentence


class Approval:
    """The staged operations of one loop. One approval at a time."""

    def __init__(self, loop: LoopRecord, wishes: Wishes, place: Place) -> None:
        self._loop = loop
        self._wishes = wishes
        self._database = loop.around.database
        self._place = place
        self.lock = asyncio.Lock()  # held while something is decided: what is being applied is carried through

    async def staged(self) -> list[Operation]:
        return await operations.staged(self._database, self._loop.state.run_id)

    async def approve(self, ids: Sequence[str] | None, client: Client) -> list[Operation]:
        """Applies the chosen operations (None: all) to the user's tree, all or none, and commits them if auto-commit is
        on; those that are left."""
        async with self.lock:
            staged, chosen = await self._chosen(ids)
            before, after = await self._trees(chosen)
            committer = await self._committer(client) if chosen else None
            await self._database.write(lambda writer: operations.mark(writer, chosen, "applying"))
            approver = self._approver(client.env)
            try:
                await approver.apply(before, after, staged, chosen)
            except Exception:
                if not approver.is_half_done:  # else `_finish` knows what became of it
                    await self._database.write(lambda writer: operations.mark(writer, chosen, "staged"))
                raise
            changes: dict[str, Any] = {}
            if committer is not None:
                changes["leftovers"] = await self._commit(committer, chosen)
            left = len(staged) - len(chosen)
            await self._settle(lambda writer: operations.mark(writer, chosen, "approved"), left, **changes)
            await asyncio.to_thread(approver.forget)
        return await self.staged()

    async def reject(self, ids: Sequence[str] | None, feedback: str | None) -> list[Operation]:
        """Drops the chosen operations (None: all); the feedback goes into the next prompt. Those that are left."""
        async with self.lock:
            staged, chosen = await self._chosen(ids)
            state = self._loop.state
            said = feedback.strip() if feedback else ""
            if not chosen and not said:
                return staged

            async def store(writer: Writer) -> None:
                await operations.mark(writer, chosen, "rejected")
                if said:
                    await sessions.add_message(writer, state.session_id, "user", "feedback", said, run_id=state.run_id)

            told = "\n\n".join(filter(None, [state.feedback, _rejection(chosen, said)]))
            await self._settle(store, len(staged) - len(chosen), feedback=told)
        return await self.staged()

    async def recover(self) -> None:
        """After a crash: what was being applied is ended, if it was not when the helper started."""
        async with self.lock:
            try:
                await self._finish()
            except RalphError as error:  # the next one who approves or rejects tries again
                await self._loop.note(self._loop.state.iteration, f"[ralph] {error.message}")
                await self._loop.output.end_iteration()

    async def _finish(self) -> None:
        """Ends what was left half applied; its operations are approved or staged then, as the journal says. Raises
        RalphError."""
        approver = self._approver({})
        await approver.finish()
        unsure = await operations.applying(self._database, self._loop.state.run_id)
        if not unsure:
            return
        done = await asyncio.to_thread(approver.outcome)
        left = len(await self.staged()) - (len(unsure) if done.applied else 0)
        await self._loop.note(unsure[0].iteration, _recovered(done, len(unsure), self._loop.state.config.auto_commit))
        await self._loop.output.end_iteration()
        state = "approved" if done.applied else "staged"
        await self._settle(lambda writer: operations.mark(writer, unsure, state), left)
        await asyncio.to_thread(approver.forget)

    def _approver(self, env: Mapping[str, str]) -> Approver:
        return Approver(self._loop.around.paths, self._place, self._loop.state.run_id, env)

    async def _committer(self, client: Client) -> Committer | None:
        if not self._loop.state.config.auto_commit:
            return None
        committer = Committer(self._place, client.env, self._loop.state, self._wishes)
        await committer.note_dirty()
        return committer

    async def _commit(self, committer: Committer, chosen: Sequence[Operation]) -> dict[str, str]:
        """What could not be committed."""
        number = chosen[0].iteration
        done = await committer.commit(number, chosen)
        if line := committing.told(done):
            await self._loop.note(number, line)
            await self._loop.output.end_iteration()
        problem = committing.problem(done)
        record = await iterations.get(self._database, self._loop.state.run_id, number)
        if problem is not None and record is not None:
            failed = attrs.evolve(record, errors=[*record.errors, problem])
            await self._loop.set(lambda writer: iterations.update(writer, failed), failed)
        return await committer.leftovers(chosen, done)

    async def _chosen(self, ids: Sequence[str] | None) -> tuple[list[Operation], list[Operation]]:
        await self._finish()
        state = self._loop.state
        if state.status != "awaiting_approval":
            text = f"This loop is {state.status}; nothing waits for approval."
            raise invalid_state(text, state.status, ["awaiting_approval"])
        staged = await self.staged()
        if ids is None:
            return staged, staged
        known = {operation.operation_id for operation in staged}
        for id_ in ids:
            if id_ not in known:
                raise not_found("staged operation", id_)
        return staged, [operation for operation in staged if operation.operation_id in set(ids)]

    async def _trees(self, chosen: Sequence[Operation]) -> tuple[str, str]:
        if not chosen:
            return "", ""
        trees = await iterations.trees(self._database, self._loop.state.run_id, chosen[0].iteration)
        assert trees is not None and trees.before is not None and trees.after is not None
        return trees.before, trees.after

    async def _settle(self, store: Also, left: int, **changes: Any) -> None:
        """Stores what was decided; with nothing left, the iteration's judgement takes effect."""
        deferred = self._loop.state.deferred
        if left == 0 and deferred is not None:
            changes |= {"status": "running", "phase": "ending"}
        await self._loop.set(store, **changes)
        await self._loop.mirror()


async def verdict(loop: LoopRecord) -> dict[str, Any]:
    """What the settled iteration comes to: the changes of the loop's state."""
    deferred = loop.state.deferred
    assert deferred is not None
    approved = await operations.all_approved(loop.around.database, loop.state.run_id, deferred.iteration)
    if deferred.status == "running" or (deferred.needs_all and not approved):
        return {"deferred": None}
    return {
        "deferred": None,
        "status": deferred.status,
        "stop_reason": deferred.stop_reason,
        "error": deferred.error,
    }


def _rejection(chosen: Sequence[Operation], said: str) -> str:
    """What the agent is told of a rejection."""
    names = ", ".join(operation.path for operation in chosen[:_NAMED])
    more = f" and {len(chosen) - _NAMED} more" if len(chosen) > _NAMED else ""
    comment = f"They said:\n\n{said}" if said else "They gave no reason."
    return f"Rejected: {names}{more}\n\n{comment}" if chosen else comment


def _recovered(outcome: Outcome, number: int, auto_commit: bool) -> str:
    """What a person is told of an approval that a crash cut short."""
    files = f"{number} change{'' if number == 1 else 's'}"
    if not outcome.applied:
        return f"[ralph] The approval of {files} was cut short and taken back: they wait for approval again."
    lines = [f"[ralph] The approval of {files} was cut short; the rest was applied later."]
    if outcome.left:
        lines.append(f"Changed by somebody else meanwhile and left as it is: {', '.join(outcome.left[:_NAMED])}.")
    if auto_commit:
        lines.append("Nothing was committed of it.")
    return " ".join(lines)
