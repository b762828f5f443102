"""Git: status, log, branches, differences; and writing, which runs the repository's hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from ralph_loop import protocol as p
from ralph_loop.lsp.registry import fitting, request

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


@request("ralph/git/status", reads=True)
async def git_status(session: Session, params: p.WorkspaceParams) -> p.GitStatus:
    found = await session.engine.git.status(params.workspace, session.client.env)
    room = fitting([*found.conflicts, *found.staged, *found.unstaged, *found.untracked])
    lists: dict[str, list[Any]] = {}
    for name in ("conflicts", "staged", "unstaged", "untracked"):  # what is left out first when it is too much
        lists[name] = getattr(found, name)[:room]
        room -= len(lists[name])
    return attrs.evolve(found, **lists)


@request("ralph/git/log", reads=True)
async def git_log(session: Session, params: p.GitLogParams) -> p.GitLog:
    found = await session.engine.git.log(params, session.client.env)
    count = fitting(found.commits)
    return p.GitLog(commits=found.commits[:count], more=found.more or count < len(found.commits))


@request("ralph/git/branches", reads=True)
async def git_branches(session: Session, params: p.WorkspaceParams) -> p.GitBranches:
    found = await session.engine.git.branches(params.workspace, session.client.env)
    return p.GitBranches(branches=found.branches[: fitting(found.branches)])


@request("ralph/git/diff", reads=True)
async def git_diff(session: Session, params: p.GitDiffParams) -> p.GitDiff:
    return await session.engine.git.diff(params, session.client.env)


@request("ralph/git/add", stoppable=True)
async def git_add(session: Session, params: p.GitAddParams) -> p.GitOutput:
    with session.progress(params.work_done_token, "git add") as progress:
        return await session.engine.git.add(params, session.client.env, progress)


@request("ralph/git/commit", stoppable=True)
async def git_commit(session: Session, params: p.GitCommitParams) -> p.GitOutput:
    with session.progress(params.work_done_token, "git commit") as progress:
        return await session.engine.git.commit(params, session.client.env, progress)


@request("ralph/git/pull", stoppable=True)
async def git_pull(session: Session, params: p.GitWriteParams) -> p.GitOutput:
    with session.progress(params.work_done_token, "git pull") as progress:
        return await session.engine.git.pull(params, session.client.env, progress)


@request("ralph/git/push", stoppable=True)
async def git_push(session: Session, params: p.GitWriteParams) -> p.GitOutput:
    with session.progress(params.work_done_token, "git push") as progress:
        return await session.engine.git.push(params, session.client.env, progress)


@request("ralph/git/checkout", stoppable=True)
async def git_checkout(session: Session, params: p.GitCheckoutParams) -> p.GitOutput:
    with session.progress(params.work_done_token, "git checkout") as progress:
        return await session.engine.git.checkout(params, session.client.env, progress)


@request("ralph/git/branch", stoppable=True)
async def git_branch(session: Session, params: p.GitBranchParams) -> p.GitOutput:
    with session.progress(params.work_done_token, "git branch") as progress:
        return await session.engine.git.branch(params, session.client.env, progress)


@request("ralph/git/reset", stoppable=True)
async def git_reset(session: Session, params: p.GitResetParams) -> p.GitOutput:
    with session.progress(params.work_done_token, "git reset") as progress:
        return await session.engine.git.reset(params, session.client.env, progress)
