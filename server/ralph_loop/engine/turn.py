"""One iteration of a loop from its hints to its judgement: what is recorded when, and what it means for the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs

from ralph_loop.agents.base import AgentError, AgentSession, ErrorKind, PermissionReply, Workbench
from ralph_loop.agents.guard_client import Guard
from ralph_loop.engine import committing, judge, tasklist
from ralph_loop.engine.asking import Desk, Loopwise
from ralph_loop.engine.client import Client
from ralph_loop.engine.committing import Committer
from ralph_loop.engine.inbox import import_inbox
from ralph_loop.engine.iteration import Iteration, Result
from ralph_loop.engine.plan import ConfinedGuard, PlanError, PlanRoom, Staged, confinement_problem, protected_folders
from ralph_loop.engine.preparing import make_call, make_prompt
from ralph_loop.engine.record import Also, LoopRecord
from ralph_loop.engine.tracking import ALL_FILES, Tracked, Tracker
from ralph_loop.engine.wishes import Wishes
from ralph_loop.git.autocommit import AutoCommit
from ralph_loop.git.locate import Place
from ralph_loop.protocol import IterationRecord, Operation
from ralph_loop.store import contexts, iterations, operations, sessions
from ralph_loop.store.database import Writer, now

log = logging.getLogger(__name__)

T = TypeVar("T")

_LATE_SNAPSHOT_S = 4.0  # a cancel waits this long for the record of what the iteration changed
_NAMED = 20  # names in a sentence
_HISTORY = 10  # iterations that are looked at for struggle


@attrs.frozen
class Judgement:
    """What an iteration comes to: the loop's changes, and what is stored together with them."""

    record: IterationRecord
    changes: dict[str, Any]
    store: Also
    result: Result
    operations: Sequence[Operation] = ()  # plan mode: wait for approval before the judgement takes effect


class Turns:
    """Runs the iterations of one loop, one after the other; keeps the agents' sessions between them."""

    def __init__(self, loop: LoopRecord, wishes: Wishes, guard: Guard, place: Place) -> None:
        self._loop = loop
        self._around = loop.around
        self._wishes = wishes
        self._guard = guard
        self._place = place
        self._sessions: dict[str, AgentSession] = {}
        self._answers_given = 0  # how many of the answers are in the running iteration's prompt

    async def run(self, client: Client) -> Judgement | None:
        """One iteration; None when the loop was stopped before the agent began. Raises PlanError."""
        await import_inbox(self._around.database, self._loop.state, Path(self._loop.state.root))
        run = self._run_planned if self._loop.state.config.plan_mode else self._run_directly
        try:
            return await run(client, self._loop.state.iteration + 1)
        finally:
            self._loop.iteration = None

    async def _run_directly(self, client: Client, number: int) -> Judgement | None:
        loop, name = self._loop, f"{self._loop.state.run_id}/{number}"
        tracker = Tracker.of(self._around.paths.snapshots, self._place, client.env)
        before = await self._unless_stopped(tracker.take(f"{name}.before", fresh=True), 0)
        if self._wishes.stop.is_set():
            return None
        committer = await self._committer(client)
        record, prompt = await self._begin(number, before, tracker.reason)
        result = await self._run_agent(number, prompt, client, self._guard, self._place.workspace)
        await loop.set(phase="ending")
        after = await self._unless_stopped(tracker.take(f"{name}.after", fresh=False), _LATE_SNAPSHOT_S)
        tracked = await self._unless_stopped(tracker.changes(before, after), _LATE_SNAPSHOT_S)
        tracked = tracked or Tracked(reason="the loop was ended before the record was made")
        leftovers: dict[str, str] = {}
        if committer is not None:
            changes = tracker.changes(before, after, ALL_FILES)
            changed = await self._unless_stopped(changes, _LATE_SNAPSHOT_S) or Tracked()
            done = await self._commit(committer, number, result, changed)
            leftovers = await committer.leftovers(changed.files, done)
        judgement = await self._judge(record, result, tracked, after, self._place.root)
        judgement.changes["leftovers"] = leftovers
        return judgement

    async def _run_planned(self, client: Client, number: int) -> Judgement | None:
        """In a private copy (engine/plan.py): nothing in the user's tree changes, what changed is staged."""
        loop, name = self._loop, f"{self._loop.state.run_id}/{number}"
        room = PlanRoom(self._around.paths, self._place, loop.state.run_id, client.env)
        try:
            before = await room.open(f"{name}.before", self._copied(), self._wishes.stop.is_set)
            if before is None or self._wishes.stop.is_set():
                return None
            record, prompt = await self._begin(number, before, None)
            guard = await self._confined(number, client, room)
            result = await self._run_agent(number, prompt, client, guard, room.workspace)
            await self.close()  # what an agent keeps warm knows this copy only
            await loop.set(phase="ending")
            staged = await self._collect(room, number, f"{name}.after", result)
            if staged.left_out:
                result.errors.append(f"These cannot be staged and were dropped: {_some(staged.left_out)}.")
            if staged.dropped:
                await loop.note(number, f"[ralph] Not staged: {_some(staged.dropped)}.")
            judgement = await self._judge(record, result, staged.tracked, staged.after, room.root)
        finally:
            try:
                await self.close()
                await self._guard.end()
            finally:  # also when the guard was killed
                await room.discard()
        if judgement.record.status == "interrupted" and result.end != "maxDuration":  # it is run again
            return attrs.evolve(judgement, store=self._dropping(judgement.store, staged.operations))
        return attrs.evolve(judgement, operations=staged.operations)

    async def _collect(self, room: PlanRoom, number: int, name: str, result: Result) -> Staged:
        """What the agent changed. A copy that it left unreadable is a failure of its iteration, not the loop's end."""
        try:
            return await room.close(number, name)
        except PlanError as error:
            result.add_error(str(error))
            if result.end == "finished":
                result.fail(AgentError(ErrorKind.OTHER, str(error)))
            return Staged(None, [], Tracked(reason=str(error)), [], [])

    def _dropping(self, also: Also, dropped: Sequence[Operation]) -> Also:
        """What an iteration changed that was cut short is gone with its copy; the record tells."""

        async def store(writer: Writer) -> None:
            await also(writer)
            await operations.insert(writer, self._loop.state.run_id, dropped)
            await operations.mark(writer, dropped, "dropped")

        return store

    async def _committer(self, client: Client) -> Committer | None:
        if not self._loop.state.config.auto_commit or not self._place.git:
            return None
        committer = Committer(self._place, client.env, self._loop.state, self._wishes)
        await committer.note_dirty()
        await self._tell_unrecorded(committer)
        return committer

    async def _tell_unrecorded(self, committer: Committer) -> None:
        """The helper was killed in the middle of an iteration: nobody knows which of the changes were its own."""
        state = self._loop.state
        if state.replaces is None or not committer.others:
            return
        trees = await iterations.trees(self._around.database, state.run_id, state.replaces)
        if trees is not None and trees.after is None:
            text = (
                f"what iteration {state.replaces} changed before it was cut short cannot be told from your changes. "
                f"Not committed yet, and left to you: {_some(committer.others)}."
            )
            await self._loop.note(state.iteration + 1, f"[ralph] Auto-commit: {text}")

    async def _commit(self, committer: Committer, number: int, result: Result, changed: Tracked) -> AutoCommit | None:
        """A failing hook is an error of the iteration, not the end. None when there is nothing to commit yet."""
        if judge.iteration_status(result) == "interrupted" or not (changed.total or committer.has_own):
            return None
        done = await committer.commit(number, changed.files)
        problem = committing.problem(done)
        if problem is not None:
            result.errors.append(problem)
        if line := committing.told(done):
            await self._loop.note(number, line)
        return done

    def _copied(self) -> Sequence[str]:
        patterns = self._around.setting("planCopyIgnored")
        return cast(list[str], patterns) if isinstance(patterns, list) else ()

    async def _confined(self, number: int, client: Client, room: PlanRoom) -> Guard:
        """A guard whose agents cannot write to the user's tree, where the system can do that; else it is said."""
        problem = await asyncio.to_thread(confinement_problem, self._place, client.env)
        await self._loop.set(confined=problem is None)
        if problem is not None:
            await self._loop.note(
                number, f"[ralph] Plan mode without write protection: {problem} The agent works in a copy all the same."
            )
            return self._guard
        return cast(Guard, ConfinedGuard(self._guard, protected_folders(self._place, client.env), room.room))

    async def close(self) -> None:
        """Ends what the agents keep warm."""
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _unless_stopped(self, work: Awaitable[T], patience_s: float) -> T | None:
        """The result of `work`; None when the loop is stopped and it takes longer than `patience_s` from then on.
        A thread cannot be stopped: it ends by itself, and what it finds is not used."""
        task = asyncio.ensure_future(work)
        stop = asyncio.create_task(self._wishes.stop.wait(), name="stop of a snapshot")
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                await asyncio.wait({task}, timeout=patience_s)
            return task.result() if task.done() else None
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()

    # ------------------------------------------------------------------------------------------------------- before
    async def _begin(self, number: int, before: str | None, reason: str | None) -> tuple[IterationRecord, str]:
        """Records the iteration and delivers the hints, in one transaction (rule 2)."""
        state = self._loop.state
        agent, model = state.entry
        made: list[tuple[IterationRecord, str]] = []
        self._answers_given = len(state.answers)

        async def record_it(writer: Writer) -> None:
            hints = await contexts.deliver(writer, state.run_id, number, state.replaces)
            prompt = make_prompt(state, number, [hint.text for hint in hints])
            record = IterationRecord(
                run_id=state.run_id,
                iteration=number,
                status="running",
                started_at=now(),
                duration_ms=0,
                agent=agent,
                model=model,
                context_ids=[hint.context_id for hint in hints],
                tracking=reason,
            )
            await iterations.insert(writer, record, prompt, before, self._around.agents[agent].structured)
            made.append((record, prompt))

        await self._loop.set(record_it, iteration=number, phase="agent")
        record, prompt = made[-1]
        self._loop.tell_iteration(record)
        await self._loop.mirror()
        return record, prompt

    # -------------------------------------------------------------------------------------------------------- agent
    async def _run_agent(self, number: int, prompt: str, client: Client, guard: Guard, workspace: Path) -> Result:
        loop, state = self._loop, self._loop.state
        agent, _ = state.entry
        adapter = self._around.agents[agent]
        asker = _Asker(self._around.desk, loop.asking)
        iteration = Iteration(number, state.config, loop.output, asker, loop.tell_event, adapter.structured)
        loop.iteration = iteration
        session = self._sessions.get(agent)
        if session is None:
            bench = Workbench(guard=guard, settings=self._around.setting, log=log.info)
            session = self._sessions[agent] = adapter.session(bench)
        call = make_call(state, prompt, self._around.paths.prompts, client, workspace)
        try:
            return await iteration.run(session, call, stop=self._wishes.stop, loop_time=loop.time)
        finally:
            call.prompt_file.unlink(missing_ok=True)

    # -------------------------------------------------------------------------------------------------------- after
    async def _judge(
        self, record: IterationRecord, result: Result, tracked: Tracked, after: str | None, root: Path
    ) -> Judgement:
        """`root`: the tree the agent worked in."""
        state = self._loop.state
        if result.silent and not tracked.total:
            result.fail(judge.EMPTY_ANSWER)
        if result.verdict.promise == "completion" and state.config.tasks_mode:
            unfinished = await tasklist.unfinished(root)
            if unfinished is not None:  # said and not done is a near miss
                result.verdict = attrs.evolve(result.verdict, promise="nearMiss", tag=None)
                result.errors.append(unfinished)
        record = _completed(record, result, tracked)
        history = await iterations.page(self._around.database, state.run_id, limit=_HISTORY, before=record.iteration)
        changes = judge.after_iteration(
            state,
            record,
            result,
            [*history, record],
            [*await self._trees(history), after],
            self._around.backoff_unit_ms(),
        )
        if record.status != "interrupted":
            changes["answers"] = state.answers[self._answers_given :]
        paths = await iterations.changed_paths(self._around.database, state.run_id)
        paths.update(change.path for change in record.files or [])
        changes["files_changed"] = max(len(paths), record.files_total, state.files_changed)
        for line in judge.system_lines(result, self._wishes.cancelled):
            await self._loop.note(record.iteration, line)
        await self._loop.output.end_iteration()

        async def store(writer: Writer) -> None:
            await iterations.update(writer, record, after)
            if record.message:
                await sessions.add_message(
                    writer, state.session_id, "agent", "final", record.message,
                    run_id=state.run_id, iteration=record.iteration,
                )  # fmt: skip

        return Judgement(record, changes, store, result)

    async def _trees(self, history: Sequence[IterationRecord]) -> list[str | None]:
        found: list[str | None] = []
        for record in history:
            trees = await iterations.trees(self._around.database, record.run_id, record.iteration)
            found.append(trees.after if trees else None)
        return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _completed(record: IterationRecord, result: Result, tracked: Tracked) -> IterationRecord:
    status = judge.iteration_status(result)
    return attrs.evolve(
        record,
        status=status,
        ended_at=now(),
        duration_ms=result.duration_ms,
        exit_code=result.exit_code,
        tools=result.tools,
        files=tracked.files,
        files_total=tracked.total,
        errors=result.errors,
        promise=result.verdict.promise if status == "completed" else "none",
        tokens=result.tokens,
        cost_usd=result.cost_usd,
        message=result.message,
        tracking=tracked.reason,
    )


class _Asker:
    """The loop's side of engine/iteration.py Asking."""

    def __init__(self, desk: Desk, loop: Loopwise) -> None:
        self._desk = desk
        self._loop = loop

    async def permission(
        self, iteration: int, tool: str, title: str, arguments: Mapping[str, object], diff: str | None, pattern: str
    ) -> PermissionReply:
        return await self._desk.permission(self._loop, iteration, tool, title, arguments, diff, pattern)

    async def question(self, iteration: int, text: str, options: Sequence[str]) -> str:
        return await self._desk.question(self._loop, iteration, text, options)
