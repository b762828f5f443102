"""Auto-commit: exactly what an iteration changed, through the user's hooks and identity (git/autocommit.py)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from urllib.parse import quote_from_bytes, unquote_to_bytes

from ralph_loop.agents.proctable import MARK
from ralph_loop.engine.state import LoopState
from ralph_loop.engine.wishes import Wishes
from ralph_loop.git import read
from ralph_loop.git.apply import paths_of
from ralph_loop.git.autocommit import AutoCommit, auto_commit
from ralph_loop.git.changes import path_fields
from ralph_loop.git.command import Git
from ralph_loop.git.folder import Folder
from ralph_loop.git.locate import Place
from ralph_loop.git.scratch import ReadError
from ralph_loop.protocol import Change
from ralph_loop.store.sessions import title_of

_LATE_COMMIT_S = 3.0  # a hook that runs on holds up the end of the loop this long


_MOST_LEFTOVERS = 1000  # the loop's state is stored with every change of it


class Committer:
    """For one iteration: made before the agent begins, so that what the user had lying around stays theirs.

    What an iteration changed and could not commit (a failing hook, an interruption, a merge) goes into the next commit,
    unless somebody else has changed it since.
    """

    def __init__(self, place: Place, env: Mapping[str, str], state: LoopState, wishes: Wishes) -> None:
        self._wishes = wishes
        self._place = place
        self._env = {**env, MARK: state.run_id}  # what a hook leaves behind is found by it when all of us were killed
        self._title = state.title or title_of(state.prompt)
        self._leftovers = state.leftovers
        self._own: list[bytes] = []
        self._dirty: frozenset[bytes] | None = None
        self._problem = ""

    async def note_dirty(self) -> None:
        """Remembers what is not committed now."""
        try:
            dirty = await asyncio.to_thread(read.dirty, self._place, self._env)
            known = [unquote_to_bytes(key) for key in self._leftovers]
            now = await asyncio.to_thread(self._as_they_are, known)
        except (ReadError, OSError) as error:
            self._problem = str(error)
            return
        self._own = [unquote_to_bytes(key) for key, state in now.items() if self._leftovers.get(key) == state]
        self._dirty = dirty.difference(self._own)

    @property
    def has_own(self) -> bool:
        """Whether something of earlier iterations waits to be committed."""
        return bool(self._own)

    @property
    def others(self) -> list[str]:
        """What is not committed and not ours, for people."""
        return [path_fields(path)[0] for path in sorted(self._dirty or ())]

    async def leftovers(self, changes: Sequence[Change], done: AutoCommit | None) -> dict[str, str]:
        """What is not committed of these changes and earlier ones; `done` is None when no commit was tried."""
        if self._dirty is None or (done is not None and done.sha is not None):
            return {}
        paths = dict.fromkeys([*self._own, *(path for change in changes for path in paths_of(change))])
        mine = [path for path in paths if path not in self._dirty]
        try:
            return await asyncio.to_thread(self._as_they_are, mine[:_MOST_LEFTOVERS])
        except OSError:  # then they are left alone
            return {}

    def _as_they_are(self, paths: Sequence[bytes]) -> dict[str, str]:
        """By path, quoted as in a URL: it is stored as text, which not every path is."""
        with Folder(self._place.root) as folder:
            states = {quote_from_bytes(path): folder.state(path) for path in paths}
        return {path: f"{state.mode:o} {state.id.hex()}" if state else "" for path, state in states.items()}

    async def commit(self, iteration: int, changes: Sequence[Change]) -> AutoCommit:
        """Never raises: what went wrong is its `error`."""
        if self._dirty is None:
            return AutoCommit(error=f"What was not committed before could not be told. {self._problem}")
        message = f"Ralph Loop, iteration {iteration}: {self._title}\n"
        git = Git.of(self._place, self._env)
        work = auto_commit(git, self._place, changes, self._dirty, message, self._own)
        done = await self._wishes.unless_ending(work, _LATE_COMMIT_S)
        return done or AutoCommit(error="It was stopped, as the loop was ended.")


def told(result: AutoCommit) -> str:
    """What became of a commit, as a line for people; '' when there is nothing to say."""
    lines: list[str] = []
    if result.sha is not None:
        number = len(result.committed)
        lines.append(f"committed {number} file{'' if number == 1 else 's'} as {result.sha[:10]}")
    elif result.skipped is not None:
        lines.append(f"nothing was committed: {result.skipped}")
    if result.left:
        lines.append(f"left alone, since they had changes of yours before: {', '.join(result.left[:20])}")
    if result.inner:
        lines.append(f"not committed, as these are repositories of their own: {', '.join(result.inner[:20])}")
    return f"[ralph] Auto-commit: {'; '.join(lines)}." if lines else ""


def problem(result: AutoCommit) -> str | None:
    return None if result.error is None else f"The auto-commit failed: {result.error}"
