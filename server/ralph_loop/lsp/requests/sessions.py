"""Sessions, and search over what was said in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ralph_loop import protocol as p
from ralph_loop.engine import reading
from ralph_loop.lsp.registry import fitting, request

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


@request("ralph/sessions/list", reads=True)
async def sessions_list(session: Session, params: p.SessionsListParams) -> p.SessionsList:
    found = await session.engine.sessions.listed(params)
    count = min(fitting(found), params.limit)
    return p.SessionsList(sessions=found[:count], more=len(found) > count)


@request("ralph/sessions/create")
async def sessions_create(session: Session, params: p.SessionsCreateParams) -> p.Session:
    return await session.engine.sessions.create(params)


@request("ralph/sessions/get", reads=True)
async def sessions_get(session: Session, params: p.SessionsGetParams) -> p.SessionDetail:
    found = await session.engine.sessions.get(params.session_id, before=params.before)
    newest = [*found.loops[:1], *found.messages[::-1], *found.loops[1:]]  # what is left out first when it is too much
    count = fitting(newest)
    messages = max(0, min(count - 1, len(found.messages)))
    return attrs.evolve(
        found,
        messages=found.messages[len(found.messages) - messages :],
        loops=found.loops[: max(1, count - len(found.messages))],
    )


@request("ralph/sessions/rename")
async def sessions_rename(session: Session, params: p.SessionsRenameParams) -> p.Session:
    return await session.engine.sessions.rename(params.session_id, params.title)


@request("ralph/sessions/delete")
async def sessions_delete(session: Session, params: p.SessionParams) -> p.Empty:
    await session.engine.sessions.delete(params.session_id)
    return p.Empty()


@request("ralph/search", reads=True)
async def search(session: Session, params: p.SearchParams) -> p.SearchResult:
    hits = await reading.search(session.engine, params)
    return p.SearchResult(hits=hits[: fitting(hits)])
