"""The task list of tasks mode: what it says, and our edits (`PRODUCT.md`, tasks mode). Pure: text in, text out.

A task is a list item with a box: ``- [ ] text`` (to do), ``[/]`` (doing), ``[x]`` (done); bullets ``-``, ``*``, ``+``
or a number. An item that is indented more than the task above it is that task's subtask. Everything else is other text
and stays as it is: fenced code, headings, notes, boxes with other marks. Lines end at LF, CR or CRLF.
"""

from __future__ import annotations

import re
from typing import Literal

import attrs

PATH = ".ralph/ralph-tasks.md"
HEADING = "# Ralph Tasks\n\n"  # of a new file

Status = Literal["todo", "doing", "done"]

_STATUSES: dict[str, Status] = {" ": "todo", "/": "doing", "x": "done", "X": "done"}
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
# "[x](address)", "[x][name]" and "[x]: address" are links
_ITEM = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])[ \t]+\[([ xX/])\](?![(\[:])[ \t]*(\S.*)")
_FENCE = re.compile(r"[ \t]*(`{3,}(?=[^`]*\Z)|~{3,})")
_MAX_SHOWN = 32 * 1024  # characters of the file in a prompt; the agent can read the rest itself


class TaskError(ValueError):
    """An edit of the task list that cannot be made, in words for a person."""


@attrs.define
class Task:
    """One task. `first` and `last`: its lines in the file (from 0), with the subtasks and notes indented below it."""

    text: str
    status: Status
    first: int
    last: int
    subtasks: list[Task] = attrs.field(factory=list["Task"])

    @property
    def finished(self) -> bool:
        return self.status == "done" and all(subtask.status == "done" for subtask in self.subtasks)

    @property
    def begun(self) -> bool:
        """Not finished, and it or one of its subtasks is marked as being worked on."""
        return not self.finished and any(task.status == "doing" for task in (self, *self.subtasks))


def parse(text: str) -> list[Task]:
    """The tasks of a file, in order; subtasks of any depth are listed flat below their task."""
    tasks: list[Task] = []
    indent: int | None = None  # of the task that the next lines may belong to
    fence = ""  # the mark that opened the code block we are in
    for number, line in enumerate(_lines(text.removeprefix("\ufeff"))):
        if not line.strip():
            continue
        column = len(line[: -len(line.lstrip())].expandtabs(4))
        if indent is not None and column <= indent:
            indent, fence = None, ""  # a code block inside a list item ends with it
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        elif mark:
            fence = mark[1]
        elif item := _ITEM.match(line):
            task = Task(item[2].rstrip(), _STATUSES[item[1]], number, number)
            if indent is None:
                tasks.append(task)
                indent = column
            else:
                tasks[-1].subtasks.append(task)
        if indent is not None:
            tasks[-1].last = number
    return tasks


def all_done(tasks: list[Task]) -> bool:
    """There is at least one task, and all of them are done with their subtasks."""
    return bool(tasks) and all(task.finished for task in tasks)


def current(tasks: list[Task]) -> Task | None:
    """The task being worked on."""
    return next((task for task in tasks if task.begun), None)


def upcoming(tasks: list[Task]) -> Task | None:
    """The first task that is neither finished nor begun."""
    return next((task for task in tasks if not task.finished and not task.begun), None)


def added(text: str, task: str) -> str:
    """The file with a new task at its end. Line breaks in `task` become blanks. Raises TaskError."""
    words = " ".join(task.split())
    if not words:
        raise TaskError("A task needs a text.")
    if not text.removeprefix("\ufeff"):
        return f"{text}{HEADING}- [ ] {words}\n"
    ends = re.findall(r"\r\n|\n|\r", text)
    end = ends[-1] if ends else "\n"
    separator = "" if text.endswith(("\n", "\r")) else end
    result = f"{text}{separator}- [ ] {words}{end}"
    if len(parse(result)) != len(parse(text)) + 1:
        raise TaskError(f"{PATH} ends inside a code block that is never closed; close it, then add the task again.")
    return result


def removed(text: str, index: int) -> str:
    """The file without task `index` (from 1), its subtasks and the notes indented below it. Raises TaskError."""
    tasks = parse(text)
    if not tasks:
        raise TaskError(f"Task index {index} is out of range: there are no tasks")
    if not 1 <= index <= len(tasks):
        raise TaskError(f"Task index {index} is out of range (1-{len(tasks)})")
    task = tasks[index - 1]
    lines = _lines(text)
    bom = "\ufeff" if task.first == 0 and text.startswith("\ufeff") else ""
    return bom + "".join(lines[: task.first] + lines[task.last + 1 :])


def section(text: str, *, completion_promise: str, task_promise: str) -> str:
    """What the prompt of an iteration says about the task list; `text` is the file's."""
    tasks = parse(text)
    shown = text.strip()
    rest = ""
    if len(shown) > _MAX_SHOWN:
        shown, rest = shown[:_MAX_SHOWN], "\n\nThe list is longer than what is shown here: read the file."
    fence = "`" * max([3, *(len(run) + 1 for run in re.findall(r"`{3,}", shown))])
    listing = f"The list in `{PATH}`:\n\n{fence}markdown\n{shown}\n{fence}{rest}\n\n" if shown else ""
    return f"""{listing}{_assignment(tasks, completion_promise, task_promise)}

Work on one task at a time:

1. Take the task marked `[/]`; if there is none, take the first one marked `[ ]` and mark it `[/]` in the file.
2. Finish it, with its subtasks, and check the result.
3. Mark it `[x]` and end your final message with <promise>{task_promise}</promise> alone on the last line: the next \
iteration takes the next task.
4. Only when every task and subtask is marked `[x]` is the whole task done."""


def _assignment(tasks: list[Task], completion_promise: str, task_promise: str) -> str:
    if not tasks:
        return f"There is no task in `{PATH}` yet. Split the work into tasks and write each there, as `- [ ] text`."
    if all_done(tasks):
        return f"ALL TASKS COMPLETE. Check the result once more; if it holds, promise {completion_promise}."
    done = f"When it is done: mark it `[x]`, promise {task_promise}."
    if task := current(tasks):
        return f'CURRENT TASK: "{task.text}"\nWork on this one. {done}'
    task = next(task for task in tasks if not task.finished)
    return f'NEXT TASK: "{task.text}"\nMark it `[/]` before you start. {done}'


def _lines(text: str) -> list[str]:
    """The lines, each with its end."""
    return _LINE.findall(text)
