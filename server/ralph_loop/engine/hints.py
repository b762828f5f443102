"""Hints for the next iteration, as clients add, list and clear them (PRODUCT.md, add context)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ralph_loop.engine.starting import find_place
from ralph_loop.engine.state import LoopState
from ralph_loop.errors import InvalidParamsError, RalphError, invalid_state
from ralph_loop.protocol import ACTIVE, ENDED, AddContextParams, AddContextResult, ContextItem, Status, Target
from ralph_loop.store import contexts, loops, repos, sessions
from ralph_loop.store.database import Writer

if TYPE_CHECKING:
    from ralph_loop.engine.engine import Engine


MAX_PENDING_BYTES = 512 * 1024


class Hints:
    """A hint is for a loop; by workspace without a loop that goes on, for the next loop of its repository."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def add(self, params: AddContextParams) -> AddContextResult:
        """Raises InvalidParamsError for a text that no prompt can hold, invalidState for a loop that is over."""
        if "\0" in params.text:
            raise InvalidParamsError("text", "contains a NUL character, which no agent can be given")
        state = await self._loop(params)
        if state is None:
            assert params.workspace is not None
            place = await find_place(params.workspace)

            async def leave(writer: Writer) -> str:
                repo = await repos.register(writer, str(place.key), str(place.root), place.git)
                await self._check_room(writer, repo.id, None, params.text)
                return await contexts.add(writer, repo.id, None, params.text)

            return AddContextResult(context_id=await self._engine.database.write(leave))

        async def store(writer: Writer) -> str:
            await self._check_room(writer, state.repo_id, state.run_id, params.text)
            if (status := await loops.status(writer, state.run_id)) in ENDED:
                raise _too_late(status)
            context_id = await contexts.add(writer, state.repo_id, state.run_id, params.text)
            await sessions.add_message(writer, state.session_id, "user", "context", params.text, run_id=state.run_id)
            return context_id

        context_id = await self._engine.database.write(store)
        await self._changed(state)
        return AddContextResult(context_id=context_id)

    async def _check_room(self, writer: Writer, repo_id: str, run_id: str | None, text: str) -> None:
        """All that waits goes into one prompt, and every prompt must fit into an answer."""
        size = await contexts.pending_bytes(writer, repo_id, run_id) + len(text.encode())
        if size > MAX_PENDING_BYTES:
            limit = MAX_PENDING_BYTES // 1024
            problem = (
                f"would make {size} bytes of hints that wait; {limit} KiB are allowed. Put it into a file and name it"
            )
            raise InvalidParamsError("text", problem)

    async def listed(self, target: Target) -> list[ContextItem]:
        """A loop's hints, oldest first; by workspace also those that wait for the next loop."""
        database = self._engine.database
        waiting: list[ContextItem] = []
        if target.run_id is None and target.session_id is None and target.workspace is not None:
            place = await find_place(target.workspace)
            repo = await repos.by_key(database, str(place.key))
            if repo is None:
                return []
            waiting = await contexts.listed(database, repo.id, None)
        try:
            state = await self._engine.find(target)
        except RalphError as error:
            if error.kind == "notFound" and target.workspace is not None:
                return waiting
            raise
        return [*await contexts.listed(database, state.repo_id, state.run_id), *waiting]

    async def clear(self, target: Target) -> list[ContextItem]:
        """Pending hints become cleared; delivered ones stay as they are."""
        state = await self._loop(target, ended=True)
        database = self._engine.database
        if state is not None:
            await database.write(lambda writer: contexts.clear(writer, state.repo_id, state.run_id))
            await self._changed(state)
        if target.run_id is None and target.session_id is None and target.workspace is not None:
            place = await find_place(target.workspace)
            repo = await repos.by_key(database, str(place.key))
            if repo is not None:
                await database.write(lambda writer: contexts.clear(writer, repo.id, None))
        return await self.listed(target)

    async def _loop(self, target: Target, *, ended: bool = False) -> LoopState | None:
        """The loop that is meant; None for "the next loop of this workspace"."""
        by_workspace = target.run_id is None and target.session_id is None and target.workspace is not None
        try:
            state = await self._engine.find(target)
        except RalphError as error:
            if by_workspace and error.kind == "notFound":
                return None
            raise
        if state.status in ENDED and not ended:
            if by_workspace:
                return None
            raise _too_late(state.status)
        return state

    async def _changed(self, state: LoopState) -> None:
        loop = self._engine.loop(state.run_id)
        if loop is not None:
            await loop.context_changed()


def _too_late(status: Status) -> RalphError:
    return invalid_state(
        f"This loop is {status}: no iteration of it will start. Give the workspace instead of the loop to leave the "
        "hint for the next one.",
        status,
        [*sorted(ACTIVE), "interrupted"],
    )
