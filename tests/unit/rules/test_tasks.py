"""The task list: what counts as a task, and edits that touch nothing else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.engine import tasks
from ralph_loop.engine.tasks import Task, TaskError, added, all_done, parse, removed, section


def outline(text: str) -> list[tuple[str, str, list[tuple[str, str]]]]:
    return [(task.text, task.status, [(sub.text, sub.status) for sub in task.subtasks]) for task in parse(text)]


def count(text: str) -> tuple[int, int]:
    flat = [task for top in parse(text) for task in (top, *top.subtasks)]
    return sum(task.status == "done" for task in flat), sum(task.status == "todo" for task in flat)


def test_the_format_of_the_reference() -> None:
    text = "# Ralph Tasks\n\n- [ ] Set up\n- [x] Init\n- [/] Auth\n  - [ ] Login\n  - [ ] JWT\n- [ ] UI"
    assert outline(text) == [
        ("Set up", "todo", []),
        ("Init", "done", []),
        ("Auth", "doing", [("Login", "todo"), ("JWT", "todo")]),
        ("UI", "todo", []),
    ]


@pytest.mark.parametrize(
    ("text", "done", "todo"),
    [
        ("# Fix Plan\n- [2026-01-29] Initial version\n- [ ] Task 1\n", 0, 1),
        ("- [x] a\n- [X] b\n- [x] c\n", 3, 0),
        ("- [ ] one\n- [  ] double space\n- [x] c\n", 1, 1),
        ("- [#141] bug\n- [PR#155] x\n- [ ] Fix\n", 0, 1),
        ("- [ ] Pending\n- [x] Done\n- [X] Done\n- [~] Other\n- [!] Blocked\n", 2, 1),
        ("-\t[ ] a\n- [ ]\tb\n-\t[ ]\tc\n- [ ] d\n", 0, 4),
        ("- [ ] a\r- [x] b\r", 1, 1),
        ("- [ ] a\r\n- [x] b\r\n", 1, 1),
        ("* [ ] a\n+ [x] b\n1. [ ] c\n2) [x] d\n", 2, 2),
        ("\ufeff- [ ] a\n", 0, 1),
        ("- [ ]no blank\n- [x](link)\n- [x][link]\n- [x]: link\n- [ ]\n- [ ] \n-[ ] a\n> - [ ] b\n", 0, 1),
        ("- [ ] a" + " " * 100_000 + "b\n", 0, 1),
    ],
)
def test_what_is_a_task(text: str, done: int, todo: int) -> None:
    assert count(text) == (done, todo)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Ralph Tasks\n\nNo tasks yet.", False),
        ("", False),
        ("# Ralph Tasks\n- [x] Task 1\n- [X] Task 2\n  - [x] Subtask 2.1", True),
        ("- [x] a\n* [ ] b", False),
        ("- [x] a\n```\n- [ ] example\n```", True),
        ("- [x] a\n````\n```\n- [ ] example\n````\n- [x] b", True),
        ("- [x] a\n~~~ text\n- [ ] example\n```\n~~~~\n- [ ] b", False),
        ("- [x] a\n```not `a` fence\n- [ ] b", False),
        ("- [x] a\n  - [ ] sub", False),
        ("- [/] a", False),
        # a code block that is never closed ends with the item it stands in
        ("- [x] a\n  ```\n  - [ ] example\n- [ ] b", False),
        ("- [x] a\n  ```\n  - [ ] example\n- [x] b", True),
    ],
)
def test_all_done(text: str, expected: bool) -> None:
    assert all_done(parse(text)) is expected


def test_subtasks_go_by_indentation() -> None:
    assert outline("- [ ] a\n\t- [x] b\n\n\t\t- [ ] c\n    note\n - [ ] d\n- [ ] e") == [
        ("a", "todo", [("b", "done"), ("c", "todo"), ("d", "todo")]),
        ("e", "todo", []),
    ]
    assert outline("  - [ ] a\n  - [ ] b\n- [ ] c\n  - [ ] d") == [
        ("a", "todo", []),
        ("b", "todo", []),
        ("c", "todo", [("d", "todo")]),
    ]
    # other text at the margin ends the task
    assert outline("- [x] a\n## More\n  - [ ] b") == [("a", "done", []), ("b", "todo", [])]


def texts(*found: Task | None) -> list[str | None]:
    return [task and task.text for task in found]


@pytest.mark.parametrize(
    ("text", "current", "upcoming"),
    [
        ("- [x] A\n- [/] B\n- [ ] C", "B", "C"),
        ("- [ ] A\n- [ ] B", None, "A"),
        ("- [x] A", None, None),
        ("- [ ] A\n- [ ] B\n  - [/] sub", "B", "A"),
        ("- [x] A\n  - [ ] sub\n- [ ] B", None, "A"),
        ("", None, None),
    ],
)
def test_current_and_upcoming(text: str, current: str | None, upcoming: str | None) -> None:
    assert texts(tasks.current(parse(text)), tasks.upcoming(parse(text))) == [current, upcoming]


@pytest.mark.parametrize(
    ("text", "task", "expected"),
    [
        ("# Ralph Tasks\n\n- [ ] A\n", "B", "# Ralph Tasks\n\n- [ ] A\n- [ ] B\n"),
        ("", "A", "# Ralph Tasks\n\n- [ ] A\n"),
        ("- [ ] A", " two\n lines ", "- [ ] A\n- [ ] two lines\n"),
        ("- [ ] A\r\n", "B", "- [ ] A\r\n- [ ] B\r\n"),
        ("- [ ] A\r", "B", "- [ ] A\r- [ ] B\r"),
        ("# Notes", "B", "# Notes\n- [ ] B\n"),
        ("- [ ] A\n\n## Notes\n", "B", "- [ ] A\n\n## Notes\n- [ ] B\n"),
        ("  - [ ] A\n", "B", "  - [ ] A\n- [ ] B\n"),
    ],
)
def test_add(text: str, task: str, expected: str) -> None:
    assert added(text, task) == expected


def test_add_refuses_what_would_not_be_a_task() -> None:
    with pytest.raises(TaskError, match="needs a text"):
        added("", " \n ")
    with pytest.raises(TaskError, match="code block that is never closed"):
        added("- [ ] A\n\n```\ncode\n", "B")


@pytest.mark.parametrize(
    ("text", "index", "expected"),
    [
        ("- [ ] A\n- [ ] B\n", 1, "- [ ] B\n"),
        ("- [ ] A\n- [ ] B", 2, "- [ ] A\n"),
        ("# T\n\n- [ ] A\n  - [ ] sub\n\n  note\n\n- [ ] B\r\ntext\r", 1, "# T\n\n\n- [ ] B\r\ntext\r"),
        ("- [ ] A\n  ```\n  - [ ] no\n  ```\nText\n- [x] B\n", 1, "Text\n- [x] B\n"),
        ("\ufeff- [ ] A\n- [ ] B\n", 1, "\ufeff- [ ] B\n"),
    ],
)
def test_remove(text: str, index: int, expected: str) -> None:
    assert removed(text, index) == expected


@pytest.mark.parametrize("index", [2, 0, -1])
def test_remove_out_of_range(index: int) -> None:
    with pytest.raises(TaskError, match=rf"^Task index {index} is out of range \(1-1\)$"):
        removed("- [ ] A\n", index)
    with pytest.raises(TaskError, match="there are no tasks"):
        removed("# Nothing\n", index)


LINES = st.sampled_from(
    ["- [ ] a", "* [x] b", "  - [/] c", "\t+ [X] d", "text", "  note", "", " ", "```", "  ~~~", "# H", "- [", "\udcff"]
)
FILES = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"])), max_size=12).map(
    lambda lines: "".join(line + end for line, end in lines)
)


@given(FILES, st.booleans())
def test_every_edit_keeps_all_other_bytes(text: str, cut: bool) -> None:
    text = text.rstrip("\r\n") if cut else text
    before = outline(text)
    for index in range(1, len(before) + 1):
        after = removed(text, index)
        task = parse(text)[index - 1]
        lines: list[str] = re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", text)
        assert after == "".join(lines[: task.first] + lines[task.last + 1 :])
        assert len(lines) - len(re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", after)) > len(task.subtasks)
    try:
        after = added(text, "new")
    except TaskError:
        return
    assert after.startswith(text)
    assert outline(after) == [*before, ("new", "todo", [])]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- [x] A\n- [/] B\n- [ ] C", 'CURRENT TASK: "B"'),
        ("- [x] A\n- [ ] C", 'NEXT TASK: "C"'),
        ("- [x] A", "ALL TASKS COMPLETE."),
        ("", "There is no task"),
        ("- [ ] A\n````\n", "`````markdown\n- [ ] A\n````\n`````\n"),
        ("- [ ] A\n" + "x" * 40_000, "The list is longer"),
    ],
)
def test_the_section_of_the_prompt(text: str, says: str) -> None:
    prompt = section(text, completion_promise="ALL DONE", task_promise="NEXT")
    assert says in prompt
    assert len(prompt) < 35_000
    assert "<promise>NEXT</promise>" in prompt
    assert "<promise>ALL DONE</promise>" not in prompt  # that is told once, at the end of the prompt
