"""The helper's side of the guard (`guard.py`): starts one per loop, and the agents through it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ralph_loop.agents.agent_process import (
    AgentProcess,
    ExitStatus,
    GuardError,
    GuardLostError,
    RepoBusyError,
    SpawnError,
    check_arguments,
)
from ralph_loop.agents.ending import KILL_PATIENCE
from ralph_loop.agents.guard_link import GuardLink
from ralph_loop.agents.pipes import PipeReader, PipeWriter, widen
from ralph_loop.waiting import outlast

__all__ = ["AgentProcess", "ExitStatus", "Guard", "GuardError", "GuardLostError", "RepoBusyError", "SpawnError"]


class Guard:
    """A running guard: the only way to start a process for a loop. Made by :meth:`start`; must be closed."""

    def __init__(self, link: GuardLink) -> None:
        self.pid = link.pid
        self._link = link
        self._kept: set[int] = set()
        self._agents: set[AgentProcess] = set()  # those not yet closed
        self._closing: asyncio.Task[list[int]] | None = None

    @classmethod
    async def start(
        cls, *, lock: Path | None, holder: Path | None, run_id: str, wait_ms: int = 0, ps: bool = False
    ) -> Guard:
        """Starts a guard that holds the lock on the directory `lock` (None: no lock) and says so in the file `holder`,
        whose folder must exist. Waits up to `wait_ms` for the lock.

        Raises RepoBusyError when another one holds it, GuardError when it cannot be taken. `ps` makes it work as on
        systems without /proc and subreapers.
        """
        if lock is not None and holder is None:
            raise ValueError("a lock needs a holder file")
        guard = cls(GuardLink(run_id, ps))
        try:
            answer = await guard._link.ask(
                "lock",
                wait_ms / 1000,
                path=lock and os.fspath(lock),
                holder=holder and os.fspath(holder),
                runId=run_id,
                pid=os.getpid(),
                waitMs=wait_ms,
            )
        except GuardLostError as error:
            raise GuardError(f"The guard process ended at once. Does {sys.executable} still work?") from error
        except BaseException:
            await guard.close(0)
            raise
        if answer["type"] == "ready":
            return guard
        await guard.close(0)
        if answer["type"] == "failed":
            raise GuardError(f"The repository could not be locked. {answer['message']}")
        row = answer["holder"]
        raise RepoBusyError(row.get("runId"), row.get("pid"), row.get("since"))

    @property
    def alive(self) -> bool:
        """False once the guard is closed or was killed."""
        return self._link.lost is None

    async def wait_closed(self) -> None:
        """Returns when the guard process is gone, closed by us or killed by somebody."""
        await self._link.wait_closed()

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        stdin: bytes | Literal["pipe"] | None,
        keep: bool = False,
    ) -> AgentProcess:
        """Starts a process in a session of its own with exactly this environment. `argv[0]` is an absolute path.

        `stdin`: bytes that are written in the background, ``"pipe"`` for a writer, None for /dev/null. `keep`: this
        process and its descendants outlive :meth:`end` (a warm server); what has lost its parents, a daemon that it
        started, counts as left over and is ended. Raises SpawnError, GuardLostError.
        """
        task = asyncio.create_task(self._spawn(argv, cwd, env, stdin, keep), name=f"spawn {argv[:1]}")
        try:
            return await outlast(task)
        except asyncio.CancelledError:
            if not task.cancelled() and task.exception() is None:
                await outlast(asyncio.create_task(self._discard(task.result())))
            raise

    async def end(self, grace_s: float = 5.0) -> list[int]:
        """Ends everything but the kept processes and their descendants: SIGTERM, after the grace SIGKILL. Returns the
        pids that could not be ended. Raises GuardLostError."""
        return await self._end_all_but([pid for pid in self._link.running if pid in self._kept], grace_s)

    async def close(self, grace_s: float = 5.0) -> list[int]:
        """Ends everything, lets the lock go and ends the guard. Returns the pids that could not be ended. Idempotent;
        never raises."""
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(grace_s), name=f"close guard {self.pid}")
        return await outlast(self._closing)

    # ---- for its agents

    async def end_agent(self, agent: AgentProcess, grace_s: float) -> list[int]:
        return await self._end_all_but([pid for pid in self._link.running if pid != agent.pid], grace_s)

    def forget(self, agent: AgentProcess) -> None:
        self._agents.discard(agent)

    # ---- talking to the guard

    async def _spawn(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        stdin: bytes | Literal["pipe"] | None,
        keep: bool,
    ) -> AgentProcess:
        check_arguments(argv, cwd, env)
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            pipes = [_pipe(reading=ours, writing=theirs), _pipe(reading=ours, writing=theirs)]
            widen(pipes[0][1])
            if stdin is None:
                source, sink = os.open(os.devnull, os.O_RDONLY), -1
                theirs.callback(os.close, source)
            else:
                source, sink = _pipe(reading=theirs, writing=ours)
            answer = await self._link.ask(
                "spawn",
                0,
                [source, pipes[0][1], pipes[1][1]],
                argv=list(argv),
                cwd=os.fspath(cwd),
                env=dict(env),
            )
            if answer["type"] == "failed":
                raise SpawnError.because(answer["stage"], answer["errno"], argv[0], cwd)
            ours.pop_all()
        pid = answer["pid"]
        agent = AgentProcess(pid, self, PipeReader(pipes[0][0]), PipeReader(pipes[1][0]), answer["ended"])
        self._agents.add(agent)
        self._kept = {old for old in self._kept if old in self._link.running and old != pid}
        if keep:
            self._kept.add(pid)
        if stdin == "pipe":
            agent.stdin = PipeWriter(sink)
        elif stdin is not None:
            agent.feed(stdin, PipeWriter(sink))
        return agent

    async def _discard(self, agent: AgentProcess) -> None:
        with contextlib.suppress(GuardLostError):
            await agent.end(0)
        await agent.close()

    async def _end_all_but(self, spare: list[int], grace_s: float) -> list[int]:
        answer = await self._link.ask("end", grace_s + KILL_PATIENCE, spare=spare, graceMs=int(grace_s * 1000))
        if not answer["left"]:
            self._link.forget_sessions_but({*spare, *self._link.running})
        return answer["left"]

    async def _close(self, grace_s: float) -> list[int]:
        try:
            answer = await self._link.ask("close", grace_s + KILL_PATIENCE, graceMs=int(grace_s * 1000))
        except GuardLostError:
            left = self._link.left
        else:
            left = answer["left"]
            if left:
                self._link.leave()
        await self.wait_closed()
        for agent in list(self._agents):
            await agent.close()
        return left


def _pipe(reading: contextlib.ExitStack, writing: contextlib.ExitStack) -> tuple[int, int]:
    source, sink = os.pipe()
    reading.callback(os.close, source)
    writing.callback(os.close, sink)
    return source, sink
