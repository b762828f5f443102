"""`ralph/tasks/*`: the task list of a workspace, as clients list and edit it; and when it lets a loop end."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ralph_loop.engine import taskfile, tasks
from ralph_loop.engine.starting import find_place
from ralph_loop.errors import InvalidParamsError
from ralph_loop.protocol import Subtask, Task


async def listed(workspace: str) -> list[Task]:
    return await _read((await find_place(workspace)).root, "workspace")


async def add(workspace: str, text: str) -> list[Task]:
    root = (await find_place(workspace)).root
    try:
        await asyncio.to_thread(taskfile.add, root, text)
    except tasks.TaskError as error:
        raise InvalidParamsError("text", str(error)) from None
    return await _read(root, "workspace")


async def remove(workspace: str, index: int) -> list[Task]:
    """The task and its subtasks; `index` counts from 1."""
    root = (await find_place(workspace)).root
    try:
        await asyncio.to_thread(taskfile.remove, root, index)
    except tasks.TaskError as error:
        raise InvalidParamsError("index", str(error)) from None
    return await _read(root, "workspace")


async def unfinished(root: Path) -> str | None:
    """Why tasks mode does not let the loop complete yet; None when every task is done."""
    try:
        found = tasks.parse(await asyncio.to_thread(taskfile.read, root))
    except tasks.TaskError as error:
        return f"The task list cannot be read: {error}"
    if not found:
        return f"There is no task in {tasks.PATH}: add at least one and finish it."
    left = [task.text for task in found if not task.finished]
    return f"Tasks are left in {tasks.PATH}: {'; '.join(left[:5])}" if left else None


async def _read(root: Path, key: str) -> list[Task]:
    try:
        found = tasks.parse(await asyncio.to_thread(taskfile.read, root))
    except tasks.TaskError as error:
        raise InvalidParamsError(key, str(error)) from None
    return [
        Task(
            index=index,
            text=task.text,
            status=task.status,
            subtasks=[Subtask(text=subtask.text, status=subtask.status) for subtask in task.subtasks],
        )
        for index, task in enumerate(found, start=1)
    ]
