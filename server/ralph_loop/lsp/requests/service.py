"""The helper as a service of the user's."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ralph_loop import protocol as p
from ralph_loop.lsp.registry import request
from ralph_loop.shared import service

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


@request("ralph/service/status", reads=True)
async def status(session: Session, params: p.NoParams) -> p.ServiceStatus:
    return await asyncio.to_thread(service.status, _manager(session))


@request("ralph/service/install")
async def install(session: Session, params: p.NoParams) -> p.ServiceStatus:
    return await _act(session, service.install)


@request("ralph/service/uninstall")
async def uninstall(session: Session, params: p.NoParams) -> p.ServiceStatus:
    return await _act(session, service.uninstall)


@request("ralph/service/start")
async def start(session: Session, params: p.NoParams) -> p.ServiceStatus:
    return await _act(session, service.start)


@request("ralph/service/stop")
async def stop(session: Session, params: p.NoParams) -> p.ServiceStatus:
    return await _act(session, service.stop)


async def _act(session: Session, action: service.Action) -> p.ServiceStatus:
    """One at a time. Each may end this helper: by stopping it, or by starting one that takes over from it."""
    async with session.engine.finishing:
        return await asyncio.to_thread(action, _manager(session))


def _manager(session: Session) -> service.Manager:
    return service.manager(session.engine.paths.data, session.client.env)
