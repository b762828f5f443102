"""`ralph/git/*`: reading the repository in threads, writing through the git command line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ralph_loop.engine.places import workspace_path
from ralph_loop.engine.repositories import Progress
from ralph_loop.engine.starting import refuse_bare
from ralph_loop.engine.tracking import store_directory
from ralph_loop.errors import InvalidParamsError, RalphError, not_found
from ralph_loop.git import diffs, read, write
from ralph_loop.git.command import Git, GitMissingError
from ralph_loop.git.locate import Place, locate
from ralph_loop.git.scratch import ReadError
from ralph_loop.git.shapes import Recorded, Side
from ralph_loop.git.snapshot import SnapshotError, SnapshotStore
from ralph_loop.protocol import (
    GitAddParams,
    GitBranches,
    GitBranchParams,
    GitCheckoutParams,
    GitCommitParams,
    GitDiff,
    GitDiffParams,
    GitLog,
    GitLogParams,
    GitOutput,
    GitResetParams,
    GitStatus,
    GitWriteParams,
)
from ralph_loop.store import iterations, loops

if TYPE_CHECKING:
    from ralph_loop.engine.engine import Engine

T = TypeVar("T")
_SIDE = re.compile(r"(run_\w+)#(\d{1,15})\.(before|after)")
_MAX_LOG = 1000


class GitWork:
    """Requests about the git repository of a workspace. Bare repositories can be read."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def status(self, workspace: str, env: Mapping[str, str]) -> GitStatus:
        place = await self._place(workspace)
        return await _read(lambda: read.status(place, env))

    async def log(self, params: GitLogParams, env: Mapping[str, str]) -> GitLog:
        place = await self._place(params.workspace)
        return await _read(lambda: read.log(place, env, min(params.limit, _MAX_LOG), params.before))

    async def branches(self, workspace: str, env: Mapping[str, str]) -> GitBranches:
        place = await self._place(workspace)
        return await _read(lambda: read.branches(place, env))

    async def diff(self, params: GitDiffParams, env: Mapping[str, str]) -> GitDiff:
        """Between any two of: working tree, index, HEAD, a revision, the tree before or after an iteration."""
        place = await self._place(params.workspace)
        old, new = await self._side(place, params.from_), await self._side(place, params.to)
        return await _read(lambda: diffs.diff(place, env, old, new, params.path, params.patch))

    # --------------------------------------------------------------------------------------------------------- writes
    async def add(self, params: GitAddParams, env: Mapping[str, str], progress: Progress) -> GitOutput:
        return await self._write(params, env, progress, lambda git, _: write.add(git, params.paths))

    async def commit(self, params: GitCommitParams, env: Mapping[str, str], progress: Progress) -> GitOutput:
        return await self._write(params, env, progress, lambda git, _: write.commit(git, params.message))

    async def pull(self, params: GitWriteParams, env: Mapping[str, str], progress: Progress) -> GitOutput:
        return await self._write(params, env, progress, lambda git, _: write.pull(git))

    async def push(self, params: GitWriteParams, env: Mapping[str, str], progress: Progress) -> GitOutput:
        return await self._write(params, env, progress, lambda git, _: write.push(git))

    async def checkout(self, params: GitCheckoutParams, env: Mapping[str, str], progress: Progress) -> GitOutput:
        return await self._write(params, env, progress, lambda git, _: write.checkout(git, params.branch))

    async def branch(self, params: GitBranchParams, env: Mapping[str, str], progress: Progress) -> GitOutput:
        return await self._write(params, env, progress, lambda git, _: write.branch(git, params.name, params.from_))

    async def reset(self, params: GitResetParams, env: Mapping[str, str], progress: Progress) -> GitOutput:
        await self._place(params.workspace)  # a wrong one is told first
        if not params.confirm:
            text = f"Resetting to {params.to} changes files that are not committed. Send confirm: true if that is meant"
            raise RalphError("confirmationRequired", f"{text}.")
        return await self._write(params, env, progress, lambda git, place: write.reset(git, place, params.to))

    async def _write(
        self,
        params: GitWriteParams,
        env: Mapping[str, str],
        progress: Progress,
        work: Callable[[Git, Place], Awaitable[GitOutput]],
    ) -> GitOutput:
        """Refused in an untrusted folder (git runs its hooks), and while a loop runs there unless forced: it would
        pull the tree from under the agent. Cancelling ends the command."""
        place = await self._place(params.workspace)
        refuse_bare(place, place.root)
        await self._engine.repositories.require_trust(place)
        if not params.force:
            self._engine.check_quiet(place)

        def tell(_: str, data: bytes) -> None:
            lines = data.decode(errors="replace").strip().splitlines()
            if lines:
                progress.report(write.without_passwords(lines[-1])[:200])

        try:
            return await work(Git.of(place, env, on_output=tell), place)
        except write.BadNameError as error:
            raise InvalidParamsError(error.key, str(error)) from None
        except (GitMissingError, OSError) as error:
            raise RalphError("gitFailed", str(error), exitCode=-1, stderr=str(error)) from None

    async def _place(self, workspace: str) -> Place:
        path = workspace_path(workspace)
        place = await asyncio.to_thread(locate, path)
        if not place.git:
            text = f"{path} is not in a git repository."
            raise RalphError("notARepository", f"{text} {place.reason}" if place.reason else text, path=str(path))
        return place

    async def _side(self, place: Place, side: str) -> Side:
        match = _SIDE.fullmatch(side)
        if match is None:
            return side
        run_id, number, when = match[1], int(match[2]), match[3]
        state = await loops.get(self._engine.database, run_id)
        trees = await iterations.trees(self._engine.database, run_id, number)
        tree = None if trees is None else trees.before if when == "before" else trees.after
        if state is None or tree is None:
            raise not_found("recorded tree", side, "It was not recorded, or its session was deleted.")
        there = await asyncio.to_thread(_recorded_place, Path(state.root), place)
        store = SnapshotStore(store_directory(self._engine.paths.snapshots, there), there, {})
        return Recorded(store, tree)


def _recorded_place(root: Path, place: Place) -> Place:
    """Where a loop ran: its working tree may be another one of the same repository, or gone."""
    try:
        return locate(root)
    except OSError:
        return Place(workspace=root, root=root, git_dir=place.git_dir, common_dir=place.common_dir)


async def _read(work: Callable[[], T]) -> T:
    try:
        return await asyncio.to_thread(work)
    except (ReadError, SnapshotError) as error:
        raise RalphError("gitFailed", str(error), exitCode=-1, stderr=str(error)) from None
