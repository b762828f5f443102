"""The list of repositories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ralph_loop import protocol as p
from ralph_loop.lsp.registry import fitting, request

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


@request("ralph/repos/list", reads=True)
async def repos_list(session: Session, params: p.NoParams) -> p.ReposList:
    found = await session.engine.repositories.listed()
    return p.ReposList(repos=found[: fitting(found)])


@request("ralph/repos/add", stoppable=True)
async def repos_add(session: Session, params: p.ReposAddParams) -> p.Repo:
    with session.progress(params.work_done_token, "Cloning" if params.url else "Adding") as progress:
        return await session.engine.repositories.add(params, session.client.env, progress)


@request("ralph/repos/remove")
async def repos_remove(session: Session, params: p.RepoParams) -> p.Empty:
    await session.engine.repositories.remove(params.repo_id)
    return p.Empty()


@request("ralph/repos/scan", reads=True)
async def repos_scan(session: Session, params: p.ReposScanParams) -> p.ReposScanResult:
    with session.progress(params.work_done_token, "Looking for repositories") as progress:
        found = await session.engine.repositories.scan(params, progress)
    return p.ReposScanResult(repos=found[: fitting(found)])


@request("ralph/repos/trust")
async def trust(session: Session, params: p.ReposTrustParams) -> p.Repo:
    return await session.engine.repositories.trust(params)
