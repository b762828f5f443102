"""Plan mode: what is staged, approved and rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ralph_loop import protocol as p
from ralph_loop.engine import reading
from ralph_loop.lsp.registry import fitting, request

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


@request("ralph/plan/staged", reads=True)
async def plan_staged(session: Session, params: p.Target) -> p.Operations:
    found = await reading.staged(session.engine, params)
    return p.Operations(operations=found[: fitting(found)])


@request("ralph/plan/approve")
async def plan_approve(session: Session, params: p.PlanApproveParams) -> p.Operations:
    left = await session.engine.approve(params, session.client)
    return p.Operations(operations=left[: fitting(left)])


@request("ralph/plan/reject")
async def plan_reject(session: Session, params: p.PlanRejectParams) -> p.Operations:
    left = await session.engine.reject(params)
    return p.Operations(operations=left[: fitting(left)])
