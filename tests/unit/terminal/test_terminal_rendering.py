"""Headings, footers, tables and last words from records and snapshots."""

from __future__ import annotations

import io
from typing import Any

import pytest

from ralph_loop.terminal import notes, tables, verdict, words
from ralph_loop.terminal.screen import Screen
from ralph_loop.terminal.transcript import footer

GO_ON = "  Go on with: ralph-loop resume --run run_1"


def change(path: str, added: int = 1, removed: int = 0, kind: str = "modify", **more: Any) -> dict[str, Any]:
    return {"path": path, "kind": kind, "added": added, "removed": removed, "binary": False, **more}


def record(iteration: int = 1, **more: Any) -> dict[str, Any]:
    files: list[dict[str, Any]] = more.pop("files", [])
    return {
        "runId": "run_1", "iteration": iteration, "status": "completed", "startedAt": "2026-01-01T10:00:00.000Z",
        "durationMs": 65_000, "agent": "demo", "tools": {}, "files": files, "filesTotal": len(files), "errors": [],
        "promise": "none", "contextIds": [], **more,
    }  # fmt: skip


def loop(**more: Any) -> dict[str, Any]:
    return {
        "runId": "run_1", "workspace": "/w", "status": "running", "pauseRequested": False, "iteration": 3,
        "maxIterations": 50, "prompt": "Do it", "agent": "demo", "startedAt": "2026-01-01T10:00:00.000Z",
        "elapsedMs": 1000, "filesChanged": 0, "struggle": {"detected": False, "reasons": []}, "pendingContext": 0,
        "pendingPermissions": 0, "pendingQuestions": 0, "stagedOperations": 0, "revision": 1, **more,
    }  # fmt: skip


def drawn(draw: Any, *arguments: Any, **more: Any) -> list[str]:
    stream = io.StringIO()
    draw(Screen(stream), *arguments, **more)
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (record(), "→ goes on · 1m05s · no changes"),
        (record(promise="completion", files=[change("a", 5, 2)]), "✓ promised done · 1m05s · 1 file +5 -2"),
        (record(promise="nearMiss"), "⚠ near miss: the promise was not the last line · 1m05s · no changes"),
        (record(promise="abort"), "✗ gave up · 1m05s · no changes"),
        (
            record(status="failed", exitCode=3, errors=["a", "b"]),
            "✗ failed (exit code 3) · 1m05s · no changes · 2 error lines",
        ),
        (record(status="timedOut", tracking="why not"), "✗ timed out · 1m05s"),
        (record(status="interrupted"), "‖ interrupted · 1m05s"),
        (record(files=[change("a")], filesTotal=900), "→ goes on · 1m05s · 900 files"),
        (
            record(tools={"edit": 2, "bash": 1}, tokens={"input": 1500, "output": 20}, costUsd=0.5),
            "→ goes on · 1m05s · no changes · 3 tool calls · 1.5k in, 20 out tokens · $0.50",
        ),
    ],
)
def test_a_footer(of: dict[str, Any], text: str) -> None:
    assert footer(Screen(io.StringIO()), of) == text


def test_the_history_names_files_with_their_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    files = [
        change("new file.py", 9, 0, "create"),
        change("old.py", 0, 3, "delete"),
        change("to.py", 1, 1, "rename", oldPath="from.py"),
        change("picture.png", 0, 0, "modify", binary=True),
        change("fifth", 1, 1),
        change("sixth", 1, 1),
    ]
    lines = drawn(tables.history, [record(files=files, costUsd=0.25, tools={"edit": 4}), record(2)])
    text = "\n".join(lines)
    for expected in ("A +9 -0 new file.py", "D +0 -3 old.py", "R +1 -1 from.py → to.py", "M binary picture.png"):
        assert expected in text
    assert "and 2 more files" in text
    assert "sixth" not in text
    assert "$0.25" in text
    assert "edit 4" in text
    assert "no changes" in lines[-1]
    assert "sixth" in "\n".join(drawn(tables.history, [record(files=files)], files_shown=500))


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 200])
def test_tables_fit_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    files = [change("a/very/long/path/" * 8 + "日本語.py", 12345, 678)]
    records = [record(n, files=files, tokens={"input": 1, "output": 2}, model="opus" * 9) for n in (1, 10)]
    snapshots = [loop(runId=f"run_{n:020}", prompt="日本 long " * 40, workspace="/a/b" * 30) for n in (1, 2)]
    for lines in (drawn(tables.history, records), drawn(tables.loops, snapshots)):
        assert max(words.cells(line) for line in lines) <= columns


def test_a_loop_can_be_named_from_the_list_of_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    name = "run_0123456789abcdef0123"
    lines = drawn(tables.loops, [loop(runId=name, status="paused", stopReason="struggle", prompt="Do it now, " * 9)])
    assert lines[-1].startswith(f"{name}   paused")


def test_names_cannot_draw_on_the_terminal() -> None:
    files = [change("evil\x1b[2J\nname", 1, 0, "create")]
    text = "\n".join(drawn(tables.history, [record(files=files, model="\x1b]0;x\x07")]))
    assert "\x1b" not in text
    assert "evil [2J name" in text
    assert "\x1b" not in "\n".join(drawn(tables.loops, [loop(prompt="\x1b[2J", workspace="/\x1b[2J")]))


def test_tables_of_nothing_say_so() -> None:
    assert drawn(tables.history, []) == ["There was no iteration."]
    assert "There is no loop yet." in drawn(tables.loops, [])[0]


@pytest.mark.parametrize(
    ("status", "reason", "code", "word"),
    [
        ("completed", "completed", 0, "Completed"),
        ("completed", "maxIterations", 2, "limit of iterations"),
        ("completed", "maxDuration", 2, "time limit"),
        ("completed", "aborted", 1, "Aborted"),
        ("cancelled", "cancelled", 130, "Nothing of it runs"),
        ("error", "agentFailed", 1, "The agent failed"),
        ("error", "error", 1, "Failed"),
        ("interrupted", None, 1, "ralph-loop resume --follow --run run_1"),
    ],
)
def test_how_a_loop_ended(status: str, reason: str | None, code: int, word: str) -> None:
    ended = loop(status=status, **({"stopReason": reason} if reason else {}))
    ended["error"] = {"kind": "x", "message": "what went wrong", "hint": "what to do"}
    text = "\n".join(drawn(verdict.tell, ended))
    assert verdict.exit_code(ended) == code
    assert word in text
    assert "after 3 iterations, 1.0s" in text
    assert ("what went wrong\n  what to do" in text) == (status == "error")


def test_last_words_leave_the_promise_out() -> None:
    message = "1\n2\n\n3\n  4  \n<promise>COMPLETE</promise>\n"
    assert verdict.last_words(message) == ["2", "3", "4"]
    assert verdict.last_words(None) == []


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (loop(), []),
        (loop(pauseRequested=True), ["Pauses after iteration 3."]),
        (loop(status="paused"), ["Paused.", GO_ON]),
        (
            loop(status="paused", stopReason="struggle"),
            ["Paused, because it got nowhere.", GO_ON],
        ),
        (
            loop(status="paused", error={"kind": "x", "message": "The disk is full.", "hint": "Free some space."}),
            ["Paused: The disk is full. Free some space.", GO_ON],
        ),
        (loop(status="completed"), []),
        (
            loop(struggle={"detected": True, "reasons": ["nothing\nchanged", "the same error"]}),
            ["⚠ The loop struggles:", "    nothing changed", "    the same error"],
        ),
    ],
)
def test_changes_are_told_once(now: dict[str, Any], said: list[str]) -> None:
    assert drawn(notes.changes, loop(), now) == said
    assert drawn(notes.changes, now, now) == []


def test_going_on_is_told() -> None:
    assert drawn(notes.changes, loop(status="paused"), loop()) == ["Goes on."]


def test_what_an_agent_asks_is_shown_with_how_to_answer() -> None:
    permission = {
        "requestId": "per_1", "runId": "run_1", "iteration": 1, "tool": "bash", "title": "rm -rf\x1b[2J build",
        "arguments": {"command": "rm -rf build\nls", "long": "x" * 2001}, "diff": "-a\n+b",
        "options": ["once", "always", "reject"], "askedAt": "",
    }  # fmt: skip
    assert drawn(notes.permission, permission) == [
        "? The agent wants to use bash: rm -rf [2J build",
        "    command: rm -rf build ls",
        f"    long: {'x' * 2000} … and 1 more character",
        "    -a",
        "    +b",
        "  Answer with: ralph-loop answer --id per_1 once|always|reject",
    ]
    question = {"questionId": "que_1", "text": "Which\none?", "options": ["a", "b"]}
    assert drawn(notes.question, question) == [
        "? The agent asks: Which one?",
        "    - a",
        "    - b",
        '  Answer with: ralph-loop answer --id que_1 "…"',
    ]


def test_a_plain_table_that_does_not_fit_is_told_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [("default", "builtin", "One useful step per iteration, checked before it is left")]
    for columns, expected in ((30, "default\n    From: builtin\n"), (120, "Id        From      What it is for\n")):
        monkeypatch.setenv("COLUMNS", str(columns))
        stream = io.StringIO()
        tables.rows(Screen(stream, colour="never"), ("Id", "From", "What it is for"), found)
        assert stream.getvalue().startswith(expected), columns
