"""The summary a person reads in the morning: what it says, and that nothing printed by an agent can break it."""

import re
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.engine.state import Counters, LoopState
from ralph_loop.engine.summary import summarize
from ralph_loop.protocol import Change, ChangeKind, IterationRecord, LoopConfig, LoopError, Struggle, Tokens

STATE = LoopState(
    run_id="run_1",
    session_id="ses_1",
    repo_id="repo_1",
    workspace="/home/me/project",
    root="/home/me/project",
    key="/home/me/project/.git",
    git=True,
    prompt="Fix the parser",
    config=LoopConfig(agent="claude", model="opus"),
    started_at="2026-01-01T22:00:00.000Z",
    ended_at="2026-01-02T01:30:59.000Z",
    status="completed",
    stop_reason="completed",
    iteration=2,
)


def change(path: str, kind: ChangeKind = "modify", added: int = 0, removed: int = 0, **more: Any) -> Change:
    values: dict[str, Any] = {"binary": False, **more}
    return Change(path=path, kind=kind, added=added, removed=removed, **values)


def record(iteration: int, **more: Any) -> IterationRecord:
    values: dict[str, Any] = {"status": "completed", "started_at": "", "duration_ms": 65_000, "agent": "claude", **more}
    return IterationRecord(run_id="run_1", iteration=iteration, **values)


def page(*records: IterationRecord, counters: Counters | None = None, **state: Any) -> str:
    loop = attrs.evolve(STATE, **state)
    return summarize(loop, loop.snapshot(elapsed_ms=5_430_000, counters=counters or Counters()), records)


def section(text: str, heading: str) -> list[str]:
    found = re.search(rf"^## {heading}\n\n(.*?)(?=\n\n## |\n\Z)", text, re.DOTALL | re.MULTILINE)
    return found[1].split("\n") if found else []


def test_a_whole_page() -> None:
    text = page(
        record(
            1,
            model="opus",
            files=[change("a.py", "create", 10), change("b.py", added=2, removed=3)],
            files_total=2,
            errors=["Error: x\n  more"],
            message="Did a.\nTests still fail.",
            promise="nearMiss",
        ),
        record(
            2,
            duration_ms=3_700_000,
            files=[change("a.py", added=1)],
            files_total=1,
            message="Done",
            promise="completion",
        ),
        title="Parser *now*",
        tokens=Tokens(input=12_345, output=678),
        cost_usd=1.234,
    )
    assert text == (
        """# Ralph Loop: Parser \\*now\\*

**Completed: in iteration 2 the agent promised that the work is done.**

- Agent: `claude, opus`
- Started: 2026-01-01 22:00 UTC
- Ended: 2026-01-02 01:30 UTC
- Time at work: 1 h 30 min
- Tokens: 12,345 in, 678 out
- Cost: 1.23 USD
- Folder: `/home/me/project`

## What needs you

Nothing but a look at the changes.

## What was asked

```text
Fix the parser
```

## What changed

- `a.py` +11 -0, new (iterations 1, 2)
- `b.py` +2 -3, changed (iteration 1)

## What the agent said last

In iteration 2:

```text
Done
```

## Iterations

- **1** completed · 1 min 5 s · `claude, opus` · 2 files +12 -3 · 1 error · a promise that did not count (near miss) · \
`Tests still fail.`
- **2** completed · 1 h 1 min · `claude` · 1 file +1 -0 · promised: all done · `Done`

## Errors

- `Error: x more` (iteration 1)
"""
    )


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        ({"status": "running", "config": LoopConfig(agent="a", max_iterations=9)}, "Running: iteration 2 of 9."),
        ({"status": "running", "config": LoopConfig(agent="a", max_iterations=0)}, "Running: iteration 2."),
        ({"status": "paused"}, "Paused after iteration 2 of 50."),
        ({"status": "waiting", "waiting_until": "2026-01-02T03:04:05.000Z"}, "Waiting until 2026-01-02 03:04 UTC"),
        ({"status": "awaiting_approval"}, "Waiting for you: iteration 2"),
        ({"stop_reason": "maxIterations"}, "Stopped at the limit, 2 iterations:"),
        ({"stop_reason": "maxDuration"}, "Stopped at the time limit:"),
        ({"stop_reason": "aborted"}, "Aborted: in iteration 2"),
        ({"status": "cancelled", "iteration": 0}, "Cancelled before the first iteration."),
        ({"status": "error", "error": LoopError(kind="x", message="No `key`")}, "Failed: No \\`key\\`"),
        ({"status": "interrupted"}, "Interrupted in iteration 2"),
    ],
)
def test_how_it_stands(state: dict[str, Any], standing: str) -> None:
    assert f"\n\n**{standing}" in page(**state)


@pytest.mark.parametrize(
    ("state", "counters", "need"),
    [
        (
            {"status": "awaiting_approval"},
            Counters(operations=2),
            "2 changes to approve or reject: `ralph-loop plan diff`.",
        ),
        ({"status": "running"}, Counters(permissions=1), "1 permission to grant or refuse."),
        ({"status": "running"}, Counters(questions=1), "1 question of the agent to answer."),
        ({"status": "paused"}, Counters(), "Go on with `ralph-loop resume`"),
        (
            {"status": "running", "struggle": Struggle(detected=True, reasons=["The same error: *x*"])},
            Counters(),
            "- `The same error: *x*`\n- The loop seems to be stuck",
        ),
        ({"status": "error", "error": LoopError(kind="x", message="m", hint="Log *in*")}, Counters(), "- Log \\*in\\*"),
        ({"stop_reason": "maxIterations"}, Counters(), "start again with a higher limit"),
        ({"stop_reason": "aborted"}, Counters(), "why the agent gave up"),
        ({"status": "cancelled"}, Counters(context=1), "1 hint came too late"),
    ],
)
def test_what_needs_a_person(state: dict[str, Any], counters: Counters, need: str) -> None:
    assert need in page(record(1), counters=counters, **state)


def test_nothing_is_needed_while_it_runs() -> None:
    assert section(page(status="running", counters=Counters(context=2)), "What needs you") == ["Nothing now."]


def test_untracked_changes_are_told() -> None:
    text = page(record(1, tracking="the index is locked"), record(2, tracking="the index is locked"))
    assert "- Changes are unknown, last in iteration 2: `the index is locked`" in text
    assert "changes unknown" in section(text, "Iterations")[0]
    assert section(text, "What changed") == []


def test_files_are_followed_over_iterations() -> None:
    text = page(
        record(
            1,
            files=[change("a", "create", 5), change("gone", "create", 1), change("back", "delete", 0, 3)],
            files_total=3,
        ),
        record(
            2,
            files=[
                change("b", "rename", 1, 0, old_path="a"),
                change("gone", "delete", 0, 1),
                change("back", "create", 3),
                change("new name", "rename", old_path="old name"),
                change("i.png", binary=True),
            ],
            files_total=7,
        ),
    )
    assert section(text, "What changed") == [
        "- `b` +6 -0, new, was `a` (iterations 1, 2)",
        "- `back` +3 -3, changed (iterations 1, 2)",
        "- `gone` +1 -1, made and deleted again (iterations 1, 2)",
        "- `i.png` binary, changed (iteration 2)",
        "- `new name` +0 -0, renamed, was `old name` (iteration 2)",
        "- and 2 more",
    ]


def test_long_things_are_cut() -> None:
    files = [change(f"f{number:03}") for number in range(300)]
    errors = [f"E{number}" for number in range(30)]
    text = page(
        record(7, files=files, files_total=1000, errors=errors, message="x" * 100_000 + "the end"),
        prompt="p" * 1_000_000,
    )
    assert len(text) < 40_000
    assert "- and 800 more" in section(text, "What changed")
    assert "- and 10 more" in section(text, "Errors")
    assert "characters left out" in text
    assert "the end\n```" in text
    assert section(text, "Iterations")[0] == "The latest 1; what came before is in the history (`ralph-loop history`)."


HEADINGS = re.findall(r"^## .*$", page(record(1, message="m", errors=["e"], files=[change("p")], files_total=1)), re.M)
EVIL = st.one_of(
    st.text(min_size=1),
    st.sampled_from(
        [
            "```\n## What needs you\n",
            "`",
            "``\n`",
            "<!-- ",
            "\n\n## Errors\n\n",
            "\x1b[2J",
            "![x](http://y)",
            "\u202e",
            "|",
        ]
    ),
).filter(str.strip)


@given(EVIL, EVIL, EVIL, EVIL)
def test_nothing_printed_can_break_the_page(prompt: str, message: str, error: str, path: str) -> None:
    text = page(
        record(1, message=message, errors=[error], files=[change(path)], files_total=1),
        prompt=prompt,
        title=path,
        struggle=Struggle(detected=True, reasons=[error]),
    )
    text.encode()
    outside = without_code(text)
    assert [line for line in outside.splitlines() if line.startswith("## ")] == HEADINGS
    assert not re.search(r"(?<!\\)[<`]|!(?<!\\)\[|\x1b|\u202e", outside.replace("\\`", ""))


def without_code(text: str) -> str:
    """The page without its code blocks and code spans, as CommonMark sees them."""
    text = re.sub(r"^(`{3,})text\n(.*?)^\1$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(?<![`\\])(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", text)
