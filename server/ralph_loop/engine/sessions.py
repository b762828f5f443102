"""Sessions: lines of work in a repository, with their messages and loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ralph_loop.engine import repositories
from ralph_loop.engine.starting import find_place
from ralph_loop.errors import invalid_state, not_found
from ralph_loop.protocol import ACTIVE, IDLE, Session, SessionDetail, SessionsCreateParams, SessionsListParams
from ralph_loop.store import loops, repos, sessions
from ralph_loop.store.database import Writer

if TYPE_CHECKING:
    from ralph_loop.engine.engine import Engine

_MAX_LOOPS = 1000


class Sessions:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def listed(self, params: SessionsListParams) -> list[Session]:
        """Newest first; one more than `limit` when there are more."""
        repo_id = None
        if params.workspace is not None:
            repo = await repositories.known(self._engine.database, params.workspace)
            if repo is None:
                return []
            repo_id = repo.id
        if params.before is not None:
            await self._row(params.before)
        rows = await sessions.find(
            self._engine.database, repo_id=repo_id, limit=min(params.limit, 10_000), before=params.before
        )
        return [await self._shape(row) for row in rows]

    async def create(self, params: SessionsCreateParams) -> Session:
        place = await find_place(params.workspace)

        async def store(writer: Writer) -> str:
            repo = await repos.register(writer, str(place.key), str(place.root), place.git)
            return await sessions.insert(writer, repo.id, str(place.workspace), params.title or "Untitled")

        return await self._shape(await self._row(await self._engine.database.write(store)))

    async def get(self, session_id: str, *, before: str | None = None) -> SessionDetail:
        """With its messages; only those before one of them when its id is given."""
        row = await self._row(session_id)
        messages = await sessions.messages(self._engine.database, session_id)
        if before is not None:
            ids = [message.message_id for message in messages]
            if before not in ids:
                raise not_found("message", before)
            messages = messages[: ids.index(before)]
        states = await loops.find(self._engine.database, session_id=session_id, limit=_MAX_LOOPS)
        shape = await self._shape(row)
        return SessionDetail(
            session_id=shape.session_id,
            repo_id=shape.repo_id,
            workspace=shape.workspace,
            title=shape.title,
            status=shape.status,
            created_at=shape.created_at,
            updated_at=shape.updated_at,
            messages=messages,
            loops=[await self._engine.snapshot_of(state) for state in states[:_MAX_LOOPS]],
        )

    async def rename(self, session_id: str, title: str) -> Session:
        await self._row(session_id)
        await self._engine.database.write(lambda writer: sessions.rename(writer, session_id, title))
        return await self._shape(await self._row(session_id))

    async def delete(self, session_id: str) -> None:
        """With its loops, their output and their checkpoints. Refused while one of them is active."""
        async with self._engine.starting:  # no loop of it is being started or resumed meanwhile
            await self._row(session_id)
            states = await loops.find(self._engine.database, session_id=session_id, limit=_MAX_LOOPS)
            for state in states:
                resumes = state.status == "interrupted" and self._engine.loop(state.run_id) is not None
                if state.status in ACTIVE or resumes:
                    text = "A loop of this session is under way. Cancel it first."
                    raise invalid_state(text, state.status, [*IDLE])
            await self._engine.forget_trees(states)
            await self._engine.database.write(lambda writer: sessions.delete(writer, session_id))

    async def _row(self, session_id: str) -> sessions.SessionRow:
        row = await sessions.get(self._engine.database, session_id)
        if row is None:
            raise not_found("session", session_id)
        return row

    async def _shape(self, row: sessions.SessionRow) -> Session:
        latest = await loops.latest(self._engine.database, session_id=row.id)
        status = (await self._engine.snapshot_of(latest)).status if latest is not None else "idle"
        return Session(
            session_id=row.id,
            repo_id=row.repo_id,
            workspace=row.workspace,
            title=row.title,
            status=status,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
