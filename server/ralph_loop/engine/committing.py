"""Auto-commit: exactly what an iteration changed, through the user's hooks and identity (git/autocommit.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ralph_loop.engine.state import LoopState
from ralph_loop.git import read
from ralph_loop.git.autocommit import AutoCommit, auto_commit
from ralph_loop.git.command import Git
from ralph_loop.git.locate import Place
from ralph_loop.git.scratch import ReadError
from ralph_loop.protocol import Change
from ralph_loop.store.sessions import title_of


class Committer:
    """For one iteration: made before the agent begins, so that what the user had lying around stays theirs."""

    def __init__(self, place: Place, env: Mapping[str, str], state: LoopState) -> None:
        self._place = place
        self._env = env
        self._title = state.title or title_of(state.prompt)
        self._dirty: frozenset[bytes] | None = None
        self._problem = ""

    async def note_dirty(self) -> None:
        """Remembers what is not committed now."""
        try:
            self._dirty = await asyncio.to_thread(read.dirty, self._place, self._env)
        except ReadError as error:
            self._problem = str(error)

    async def commit(self, iteration: int, changes: Sequence[Change]) -> AutoCommit:
        """Never raises: what went wrong is its `error`."""
        if self._dirty is None:
            return AutoCommit(error=f"What was not committed before could not be told. {self._problem}")
        message = f"Ralph Loop, iteration {iteration}: {self._title}\n"
        return await auto_commit(Git.of(self._place, self._env), self._place, changes, self._dirty, message)


def told(result: AutoCommit) -> str:
    """What became of a commit, as a line for people; '' when there is nothing to say."""
    lines: list[str] = []
    if result.sha is not None:
        lines.append(f"committed {len(result.committed)} files as {result.sha[:10]}")
    elif result.skipped is not None:
        lines.append(f"nothing was committed: {result.skipped}")
    if result.left:
        lines.append(f"left alone, since they had changes of yours before: {', '.join(result.left[:20])}")
    return f"[ralph] Auto-commit: {'; '.join(lines)}." if lines else ""


def problem(result: AutoCommit) -> str | None:
    return None if result.error is None else f"The auto-commit failed: {result.error}"
