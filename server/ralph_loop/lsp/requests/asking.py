"""Permissions and questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ralph_loop import protocol as p
from ralph_loop.engine import reading
from ralph_loop.lsp.registry import request

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


@request("ralph/permission/list", reads=True)
async def permissions(session: Session, params: p.Target) -> p.PermissionList:
    return p.PermissionList(requests=await reading.permissions(session.engine, params))


@request("ralph/permission/reply")
async def reply(session: Session, params: p.PermissionReplyParams) -> p.Empty:
    await session.engine.desk.reply(params.request_id, params.reply, params.message, session.client.name)
    return p.Empty()


@request("ralph/question/list", reads=True)
async def questions(session: Session, params: p.Target) -> p.QuestionList:
    return p.QuestionList(questions=await reading.questions(session.engine, params))


@request("ralph/question/answer")
async def answer(session: Session, params: p.QuestionAnswerParams) -> p.Empty:
    await session.engine.answer(params, session.client.name)
    return p.Empty()
