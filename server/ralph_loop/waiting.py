"""Ways of waiting that asyncio does not have."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TypeVar

T = TypeVar("T")


async def outlast(task: asyncio.Task[T]) -> T:
    """Waits until the task has ended, also when we are cancelled meanwhile; only then the cancellation is raised."""
    cancelled = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled:
        raise cancelled
    return task.result()


async def complete(task: asyncio.Task[T]) -> T:
    """Waits for what cannot be taken back: when we are cancelled meanwhile, that comes too late and is dropped."""
    with contextlib.suppress(asyncio.CancelledError):
        await outlast(task)
    return task.result()


async def either(*events: asyncio.Event) -> None:
    """Returns when one of them is set."""
    tasks = [asyncio.create_task(event.wait(), name="one of several events") for event in events]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
