"""The task list of a workspace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ralph_loop import protocol as p
from ralph_loop.engine import tasklist
from ralph_loop.lsp.registry import request

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


@request("ralph/tasks/list", reads=True)
async def tasks_list(session: Session, params: p.WorkspaceParams) -> p.Tasks:
    return p.Tasks(tasks=await tasklist.listed(params.workspace))


@request("ralph/tasks/add")
async def tasks_add(session: Session, params: p.TasksAddParams) -> p.Tasks:
    return p.Tasks(tasks=await tasklist.add(params.workspace, params.text))


@request("ralph/tasks/remove")
async def tasks_remove(session: Session, params: p.TasksRemoveParams) -> p.Tasks:
    return p.Tasks(tasks=await tasklist.remove(params.workspace, params.index))
