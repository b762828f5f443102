"""Owns all loops: starts them, finds them, brings them back after a restart, and ends them with the helper."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any

import attrs

from ralph_loop.agents.backends import Backends
from ralph_loop.agents.guard_client import Guard
from ralph_loop.agents.registry import ADAPTERS
from ralph_loop.engine import config as configuration
from ralph_loop.engine import repolock
from ralph_loop.engine.asking import Desk, Loopwise
from ralph_loop.engine.bus import Bus
from ralph_loop.engine.client import Client, check_environment, clean_environment
from ralph_loop.engine.gitwork import GitWork
from ralph_loop.engine.hints import Hints
from ralph_loop.engine.housekeeping import Housekeeping
from ralph_loop.engine.keys import known_keys
from ralph_loop.engine.loop import Loop
from ralph_loop.engine.preparing import make_prompt
from ralph_loop.engine.record import Also, Surroundings
from ralph_loop.engine.recovery import Recovery
from ralph_loop.engine.repositories import Repositories
from ralph_loop.engine.resting import Resting
from ralph_loop.engine.sessions import Sessions
from ralph_loop.engine.settings import Settings
from ralph_loop.engine.starting import Plan, Starter, find_place
from ralph_loop.engine.state import Counters, LoopState
from ralph_loop.engine.tracking import Tracker
from ralph_loop.errors import InvalidParamsError, RalphError, invalid_state, not_found
from ralph_loop.git.locate import Place, locate
from ralph_loop.paths import Paths
from ralph_loop.protocol import (
    ENDED,
    Operation,
    PauseParams,
    PlanApproveParams,
    PlanRejectParams,
    Question,
    QuestionAnswerParams,
    ResumeParams,
    Snapshot,
    StartParams,
    Target,
)
from ralph_loop.store import contexts, iterations, loops, operations, repos, sessions, workspace
from ralph_loop.store.database import Database, Writer

log = logging.getLogger(__name__)

CANCEL_LIMIT_S = 10.0  # PROTOCOL.md, ralph/cancel
_PAUSE_NOW_LIMIT_S = 8.0


class Engine:
    """The loops of one data directory."""

    def __init__(self, paths: Paths, database: Database, shared: bool) -> None:
        self.paths = paths
        self.database = database
        self.shared = shared
        self.bus = Bus()
        self.settings = Settings(database, known_keys(ADAPTERS))
        self.backends = Backends(ADAPTERS)
        self._housekeeping = Housekeeping(database, self.settings)
        self.desk = Desk(database, self.bus)
        self.hints = Hints(self)
        self.repositories = Repositories(self)
        self.sessions = Sessions(self)
        self.git = GitWork(self)
        self.resting = Resting(self)
        self._recovery = Recovery(self)
        self.starter = Starter(ADAPTERS, self.settings, paths.config)
        self._around = Surroundings(
            database, self.bus, self.desk, paths, ADAPTERS, self.settings.get, self.settings.backoff_unit_ms
        )
        self._loops: dict[str, Loop] = {}  # by run id; every loop that holds a lock
        self._tasks: set[asyncio.Task[None]] = set()
        self._readers: dict[Path, Tracker] = {}
        self.starting = asyncio.Lock()  # a loop gets or loses its task only within
        self.finishing = asyncio.Lock()  # held by a request that is answered before it ends the helper
        self.quiet = asyncio.Event()  # set while there is no loop
        self.quiet.set()

    @classmethod
    async def open(cls, paths: Paths, *, shared: bool) -> Engine:
        """Opens the database and brings back what the last helper left. Raises RalphError, OSError, sqlite3.Error."""
        paths.create()
        database = await Database.open(paths.database)
        engine = cls(paths, database, shared)
        try:
            await engine.settings.load()
            await engine._recovery.run()
        except BaseException:
            await database.close()
            raise
        engine._housekeeping.start()
        return engine

    async def close(self) -> None:
        """Like pause-now for every running loop (rule 6), then ends."""
        for loop in self._loops.values():
            loop.shut_down()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self.backends.close()
        await self._housekeeping.close()
        await self.database.close()

    @property
    def active(self) -> int:
        """Loops that are running, paused, waiting or waiting for approval."""
        return len(self._loops)

    @property
    def rests(self) -> bool:
        """Whether every loop would be found as it is by another helper: none runs, or waits for a time to come."""
        states = [loop.state for loop in self._loops.values()]
        return all(state.status in ("paused", "awaiting_approval") and state.phase is None for state in states)

    def guard_pids(self) -> set[int]:
        """Everything an agent of ours starts descends from one of these."""
        return {loop.guard.pid for loop in self._loops.values()}

    # --------------------------------------------------------------------------------------------------------- start
    async def start(self, params: StartParams, client: Client) -> Snapshot:
        place, repo = await self._place(params.workspace)
        check_environment(params.env, "env")
        client = client.adding(clean_environment(params.env))
        if repo is not None:
            await self._check_settled(repo)
        planned = await self.starter.plan(params, client, place, repo is not None and repo.trusted)
        if params.session_id is not None:
            await self._check_session(params.session_id, repo)
        try:
            await asyncio.to_thread(workspace.prepare, place.root)
        except workspace.WorkspaceError as error:
            if isinstance(error, workspace.LeavesWorkspaceError):
                raise InvalidParamsError("workspace", str(error)) from None
            log.warning("%s", error)  # a folder that cannot be written to: the loop goes on without its files
        client = attrs.evolve(client, binaries=self.starter.binaries(client))
        async with self.starting:
            if params.session_id is not None:  # it is not being deleted meanwhile
                await self._check_session(params.session_id, repo)
            self._check_free(place)
            guard = await repolock.take(place.key, planned.state.run_id, 0)
            try:
                state = await self._store_start(planned, params)
            except BaseException:
                await guard.close()
                raise
            return (await self.launch(state, guard, place, client)).snapshot()

    async def preview(self, params: StartParams, client: Client) -> str:
        """The first prompt that `start` would give."""
        place, repo = await self._place(params.workspace)
        planned = await self.starter.plan(params, client, place, repo is not None and repo.trusted)
        hints: list[str] = []
        if repo is not None:
            waiting = await contexts.listed(self.database, repo.id, None)
            hints = [item.text for item in waiting if item.state == "pending"]
        inbox = await asyncio.to_thread(workspace.peek_inbox, place.root)
        return make_prompt(planned.state, 1, [*hints, inbox] if inbox else hints)

    async def _place(self, workspace_name: str) -> tuple[Place, repos.RepoRow | None]:
        place = await find_place(workspace_name)
        return place, await repos.by_key(self.database, str(place.key))

    async def _check_session(self, session_id: str, repo: repos.RepoRow | None) -> None:
        session = await sessions.get(self.database, session_id)
        if session is None:
            raise not_found("session", session_id)
        if repo is None or session.repo_id != repo.id:
            raise InvalidParamsError("sessionId", f"{session_id} belongs to another repository")

    async def _check_settled(self, repo: repos.RepoRow) -> None:
        """While operations are staged no loop in the repository runs on, whoever asks (PRODUCT.md, plan mode)."""
        run_id = await operations.waiting_in(self.database, repo.id)
        state = await loops.get(self.database, run_id) if run_id is not None else None
        if state is not None and state.run_id not in self._loops:
            raise repolock.busy(state.run_id, None, state.started_at)

    def check_quiet(self, place: Place) -> None:
        """Raises repoBusy while a loop runs, or is about to go on, in this repository."""
        for loop in self._loops.values():
            if loop.state.key == str(place.key) and loop.state.status in ("running", "waiting"):
                raise repolock.busy(loop.state.run_id, os.getpid(), loop.state.started_at)

    def _check_free(self, place: Place) -> None:
        """Two loops never share files, also when their repository came or went since the first began, or its lock was
        lost (somebody killed the guard that held it)."""
        for loop in self._loops.values():
            state = loop.state
            if state.status not in ENDED and (state.root == str(place.root) or state.key == str(place.key)):
                raise repolock.busy(state.run_id, os.getpid(), state.started_at)

    async def _store_start(self, planned: Plan, params: StartParams) -> LoopState:
        state, place = planned.state, planned.place

        async def store(writer: Writer) -> None:
            repo = await repos.register(writer, str(place.key), str(place.root), place.git)
            state.repo_id = repo.id
            state.session_id = params.session_id or await sessions.insert(
                writer, repo.id, state.workspace, state.title or sessions.title_of(state.prompt)
            )
            await loops.insert(writer, state)
            await contexts.adopt(writer, repo.id, state.run_id)
            await sessions.add_message(writer, state.session_id, "user", "prompt", state.prompt, run_id=state.run_id)

        await self.database.write(store)
        return state

    async def launch(self, state: LoopState, guard: Guard, place: Place, client: Client | None) -> Loop:
        loop = Loop(self._around, state, guard, place, client)
        try:
            await loop.count()
        except BaseException:
            await guard.close()
            raise
        self._loops[state.run_id] = loop
        self.desk.belong(loop.asking)
        self.quiet.clear()
        task = asyncio.create_task(loop.main(), name=f"loop {state.run_id}")
        self._tasks.add(task)
        task.add_done_callback(lambda _: self._forget(task, state.run_id))
        return loop

    def _forget(self, task: asyncio.Task[None], run_id: str) -> None:
        self._tasks.discard(task)
        self.desk.belong(self.resting.asking(self._loops.pop(run_id).state))
        if not self._loops:
            self.quiet.set()

    def reader(self, root: Path) -> Tracker:
        """For reading recorded trees, beside the loop's own tracker (pygit2 objects are not shared)."""
        if root not in self._readers:
            place = Place(workspace=root, root=root, git_dir=root / ".git")
            self._readers[root] = Tracker.of(self.paths.snapshots, place, {})
        return self._readers[root]

    async def forget_trees(self, states: Sequence[LoopState]) -> None:
        """Gives up the recorded trees of loops that are deleted."""
        for state in states:
            names = [
                f"{state.run_id}/{record.iteration}.{side}"
                for record in await iterations.page(self.database, state.run_id, limit=100_000)
                for side in ("before", "after")
            ]
            await self.reader(Path(state.root)).forget(names)

    # --------------------------------------------------------------------------------------------------------- steer
    async def pause(self, params: PauseParams) -> Snapshot:
        loop, state = await self._steered(params)
        if loop is None:
            raise invalid_state(f"This loop is {state.status}, not running.", state.status, ["running", "waiting"])
        if params.when == "now":
            await loop.pause_now(_PAUSE_NOW_LIMIT_S)
        else:
            await loop.pause()
        return loop.snapshot()

    async def resume(self, params: ResumeParams, client: Client) -> Snapshot:
        loop, state = await self._steered(params)
        client = attrs.evolve(client, binaries=self.starter.binaries(client))

        def amend(state: LoopState) -> dict[str, Any]:
            config = configuration.amend(state.config, params.config)
            self.starter.check_agents(config, client)
            return {"config": config} if config != state.config else {}

        if loop is None:
            if state.status != "interrupted":
                raise invalid_state(
                    f"This loop is {state.status}; there is nothing to resume.",
                    state.status,
                    ["paused", "waiting", "interrupted"],
                )
            amend(state)  # refuse before anything changes
            place = await asyncio.to_thread(locate, Path(state.workspace))
            async with self.starting:
                await self.find(params, by_workspace=False)  # its session was not deleted meanwhile
                if state.run_id in self._loops:
                    raise invalid_state("This loop was just resumed.", "running", ["interrupted"])
                guard = await repolock.take(place.key, state.run_id, 0)
                loop = await self.launch(state, guard, place, client)
        client = loop.with_added(client)
        await loop.resume(client, amend)
        return loop.snapshot()

    async def cancel(self, target: Target) -> Snapshot:
        loop, state = await self._steered(target)
        if loop is None or state.status in ENDED:
            return await self.resting.cancel(state)
        loop.cancel()
        if not await _within(loop.ended.wait(), CANCEL_LIMIT_S) or loop.processes_left:
            pids = loop.processes_left or [loop.guard.pid]
            raise RalphError(
                "processesLeft",
                f"Processes {', '.join(map(str, pids))} of this loop could not be ended yet. "
                "The loop ends when they are gone.",
                pids=pids,
            )
        return loop.snapshot()

    async def approve(self, params: PlanApproveParams, client: Client) -> list[Operation]:
        """Applies staged operations; those that are left. Raises treeChanged, invalidState, InvalidParamsError."""
        return await (await self._awaiting(params)).approve(params.operation_ids, client)

    async def reject(self, params: PlanRejectParams) -> list[Operation]:
        """Drops staged operations; those that are left."""
        return await (await self._awaiting(params)).reject(params.operation_ids, params.feedback)

    async def _awaiting(self, target: Target) -> Loop:
        loop, state = await self._steered(target)
        if loop is None:
            text = f"This loop is {state.status}; nothing waits for approval."
            raise invalid_state(text, state.status, ["awaiting_approval"])
        return loop

    async def answer(self, params: QuestionAnswerParams, by: str) -> None:
        """An answer goes to the agent that waits for it, else into the loop's next prompt."""

        async def keep(asker: Loopwise, question: Question, also: Also) -> None:
            def add(state: LoopState) -> None:
                state.answers.append([question.text, params.answer])

            if not await self.resting.change(asker.run_id, add, also):
                await self._loops[asker.run_id].add_answer(question.text, params.answer, also)

        await self.desk.answer(params.question_id, params.answer, by, keep)

    def adopt(self, client: Client) -> None:
        """A client came: its environment lets waiting loops go on after a restart (rule 6)."""
        client = attrs.evolve(client, binaries=self.starter.binaries(client))
        for loop in self._loops.values():
            loop.adopt(client)

    # ---------------------------------------------------------------------------------------------------------- find
    async def find(self, target: Target, *, by_workspace: bool = True) -> LoopState:
        """The stored state of a loop. Raises InvalidParamsError and notFound."""
        state, what, id_ = None, "loop", ""
        if target.run_id is not None:
            state, id_ = await loops.get(self.database, target.run_id), target.run_id
        elif target.session_id is not None:
            state, id_ = await loops.latest(self.database, session_id=target.session_id), target.session_id
            what = "loop of session"
        elif target.workspace is not None and by_workspace:
            _, repo = await self._place(target.workspace)
            state = await loops.latest(self.database, repo_id=repo.id) if repo else None
            what, id_ = "loop in", target.workspace
        else:
            raise InvalidParamsError("runId", "is missing")
        if state is None:
            raise not_found(what, id_)
        loop = self._loops.get(state.run_id)
        return loop.state if loop is not None else state

    def loop(self, run_id: str) -> Loop | None:
        return self._loops.get(run_id)

    async def _steered(self, target: Target) -> tuple[Loop | None, LoopState]:
        state = await self.find(target, by_workspace=False)
        if await self._recovery.try_again(state):
            state = await self.find(target, by_workspace=False)
        return self._loops.get(state.run_id), state

    async def snapshot_of(self, state: LoopState) -> Snapshot:
        loop = self._loops.get(state.run_id)
        if loop is not None:
            return loop.snapshot()
        permissions, questions = self.desk.count(state.run_id)
        pending = await contexts.pending(self.database, state.run_id)
        staged = await operations.count(self.database, state.run_id)
        counters = Counters(context=pending, permissions=permissions, questions=questions, operations=staged)
        return state.snapshot(elapsed_ms=state.active_ms, counters=counters)


async def _within(waiting: Awaitable[object], seconds: float) -> bool:
    try:
        await asyncio.wait_for(waiting, seconds)
    except TimeoutError:
        return False
    return True
