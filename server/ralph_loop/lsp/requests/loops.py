"""Loops: start and steer them, read what they are and were."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ralph_loop import __version__
from ralph_loop import protocol as p
from ralph_loop.engine import reading
from ralph_loop.lsp.registry import fitting, request

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session


_STARTED = time.monotonic()


@request("ralph/health", reads=True)
async def health(session: Session, params: p.NoParams) -> p.Health:
    return reading.health(session.engine, __version__, int((time.monotonic() - _STARTED) * 1000))


@request("ralph/start")
async def start(session: Session, params: p.StartParams) -> p.Snapshot:
    return await session.engine.start(params, session.client)


@request("ralph/preview", reads=True)
async def preview(session: Session, params: p.StartParams) -> p.PromptResult:
    return p.PromptResult(prompt=await session.engine.preview(params, session.client))


@request("ralph/pause")
async def pause(session: Session, params: p.PauseParams) -> p.Snapshot:
    return await session.engine.pause(params)


@request("ralph/resume")
async def resume(session: Session, params: p.ResumeParams) -> p.Snapshot:
    return await session.engine.resume(params, session.client)


@request("ralph/cancel")
async def cancel(session: Session, params: p.Target) -> p.Snapshot:
    return await session.engine.cancel(params)


@request("ralph/status", reads=True)
async def status(session: Session, params: p.Target) -> p.Snapshot | None:
    return await reading.status(session.engine, params)


@request("ralph/list", reads=True)
async def list_loops(session: Session, params: p.ListParams) -> p.LoopList:
    found = await reading.list_loops(session.engine, params)
    count = min(fitting(found), params.limit)
    return p.LoopList(loops=found[:count], more=len(found) > count)


@request("ralph/history", reads=True)
async def history(session: Session, params: p.HistoryParams) -> p.History:
    found = await reading.history(session.engine, params)
    count = min(fitting(found[::-1]), params.limit)
    return p.History(iterations=found[len(found) - count :], more=len(found) > count)


@request("ralph/addContext")
async def add_context(session: Session, params: p.AddContextParams) -> p.AddContextResult:
    async with session.in_order:  # hints reach the agent in the order in which they were given
        return await session.engine.hints.add(params)


@request("ralph/listContext", reads=True)
async def list_context(session: Session, params: p.Target) -> p.ContextList:
    items = await session.engine.hints.listed(params)
    return p.ContextList(items=items[len(items) - fitting(items[::-1]) :])


@request("ralph/clearContext")
async def clear_context(session: Session, params: p.Target) -> p.ContextList:
    async with session.in_order:
        return p.ContextList(items=await session.engine.hints.clear(params))


@request("ralph/prompt", reads=True)
async def prompt(session: Session, params: p.PromptParams) -> p.PromptResult:
    return await reading.prompt(session.engine, params)


@request("ralph/subscribe", reads=True)
async def subscribe(session: Session, params: p.SubscribeParams) -> p.SubscribeResult:
    state = await session.engine.find(params)
    first, last = await reading.output_bounds(session.engine, state.run_id)
    session.follow_after_answer(state.run_id, params.after, params.view)
    return p.SubscribeResult(first_seq=first, last_seq=last)


@request("ralph/unsubscribe", reads=True)
async def unsubscribe(session: Session, params: p.Target) -> p.Empty:
    state = await session.engine.find(params)
    await session.unfollow(state.run_id)
    return p.Empty()


@request("ralph/watch", reads=True)
async def watch(session: Session, params: p.WatchParams) -> p.WatchResult:
    session.watch_all = params.all
    found = await reading.watched(session.engine, session.sees)
    return p.WatchResult(loops=found[: fitting(found)])


@request("ralph/output", reads=True)
async def output(session: Session, params: p.OutputParams) -> p.Output:
    return await reading.output(session.engine, params)


@request("ralph/file", reads=True)
async def file(session: Session, params: p.FileParams) -> p.FileContent:
    return await reading.file(session.engine, params)
