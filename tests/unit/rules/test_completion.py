"""The promise rule, against the collected cases, a table of our own, and any way of cutting the text."""

import sys
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.engine.completion import BLANKS, MessageScanner, Verdict, check_promises

TAG = "<promise>COMPLETE</promise>"


def judge(
    text: str, completion: str = "COMPLETE", *, task: str | None = "NEXT TASK", abort: str | None = "GIVE UP"
) -> Verdict:
    scanner = MessageScanner(completion, task=task, abort=abort)
    scanner.feed(text)
    return scanner.verdict()


# From shared/cases/peer-cases.jsonl: (message, promise, does it count?)
TERMINAL_CASES = [
    ("Implemented changes.\nAll tests pass.\n<promise>EPIC_DONE_2026_02_17</promise>\n", "EPIC_DONE_2026_02_17", True),
    ("Task complete, moving on.\n<promise>READY_FOR_NEXT_TASK</promise>", "EPIC_DONE_2026_02_17", False),
    ("<promise>complete</promise>", "COMPLETE", True),
    ("\x1b[32m<promise>COMPLETE</promise>\x1b[0m", "COMPLETE", True),
    ("`<promise>COMPLETE</promise>`", "COMPLETE", False),
    ("Done: <promise>COMPLETE</promise>", "COMPLETE", False),
    ("<promise>DONE (100%) [v1.0]*</promise>", "DONE (100%) [v1.0]*", True),
    ("<promise>COMPLETE now</promise>", "COMPLETE", False),
    ("<promise>ALL  TESTS PASS</promise>", "ALL TESTS PASS", False),
    ("Do not output <promise>COMPLETE</promise> yet.\nStill working.", "COMPLETE", False),
    ("Task finished successfully.\n<promise>COMPLETE</promise>", "COMPLETE", True),
    ("Task finished successfully. Exit code 0.", "COMPLETE", False),
    ("<promise>COMPLETE", "COMPLETE", False),
    ("[promise]COMPLETE[/promise]", "COMPLETE", False),
    ("   \n\t\n   ", "COMPLETE", False),
    ("Starting work...\n<promise>COMPLE", "COMPLETE", False),
    ("The agent should output <promise>COMPLETE</promise> when done.\nI haven't finished yet.", "COMPLETE", False),
    ("LOOP_COMPLETE", "LOOP_COMPLETE", False),
    ("COMPLETE", "COMPLETE", False),
]


@pytest.mark.parametrize(("message", "promise", "counts"), TERMINAL_CASES)
def test_collected_cases(message: str, promise: str, counts: bool) -> None:
    assert (judge(message, promise, task=None, abort=None).promise == "completion") is counts


@pytest.mark.parametrize(
    "message",
    [
        TAG,
        f"text\r\n{TAG}\r\n",
        f"text\r{TAG}\r",
        f"{TAG}\n\n  \t \n\u200b\n\ufeff",
        f" \t\u00a0{TAG}\u200b ",
        "<promise> \tcomplete\u00a0</promise>",
        "<PROMISE>Complete</Promise>",
        f"10%\r50%\r{TAG}",
        f"\x1b]0;title\x07{TAG}",
        f"\x1b]8;;https://example.org\x1b\\{TAG}\x1b]8;;\x1b\\",
        f"\x1b]never closed\n{TAG}",
        f"\x1bPdevice control\x1b\\{TAG}\x1b(B\x07\x00",
        "\x1b[1;38;5;82m<promise>\x1b[mCOMP\x9b1mLETE</promise>\x1b[K\n",
        f"<promise>NEXT TASK</promise>\nIgnore `{TAG}` above.\n{TAG}",
        f"unclosed <promise>COMPLETE\n{TAG}",
    ],
)
def test_completion(message: str) -> None:
    assert judge(message).promise == "completion"


def test_other_promises() -> None:
    assert judge(f"{TAG}\n<promise>next task</promise>").promise == "task"
    assert judge("I cannot.\n<promise> Give up </promise>\n").promise == "abort"
    assert judge("<promise>next task</promise>", task=None) == Verdict("none", "<promise>next task</promise>")
    assert judge("<promise>✅</promise>", "✅").promise == "completion"
    assert judge("<promise>STRASSE</promise>", "Straße").promise == "completion"


@pytest.mark.parametrize(
    "message",
    [
        f"Done: {TAG}",
        f"**{TAG}**",
        f"> {TAG}",
        f'"{TAG}"',
        f"{TAG}\nThat is all.",
        f"{TAG}.",
        f"{TAG}{TAG}",
        f"```\n{TAG}\n```",
        "<promise>\nCOMPLETE\n</promise>",
        "<promise>COMP\nLETE</promise>",
        "<promise>**COMPLETE**</promise>",
        "<promise>next  task</promise>",
        "<promise>NEXT_TASK</promise>",
        f"{TAG}\n<promise>OTHER</promise>",
        "Only <promise>give up</promise> if you must.",
        f"<promise><promise>other {TAG}",
    ],
)
def test_near_miss(message: str) -> None:
    verdict = judge(message)
    assert verdict.promise == "nearMiss"
    assert verdict.tag is not None
    assert verdict.tag in message


@pytest.mark.parametrize(
    "message",
    ["", "\n\n", "Say <promise>OTHER</promise> then.", "<promise></promise> and more", "&lt;promise>COMPLETE"],
)
def test_nothing(message: str) -> None:
    assert judge(message) == Verdict("none", None)


def test_a_foreign_tag_in_the_place_of_a_promise_is_told_but_is_no_near_miss() -> None:
    assert judge("All done.\n <promise>DONE</promise> \n") == Verdict("none", "<promise>DONE</promise>")
    assert judge("<promise>✅</promise>", "🎉") == Verdict("none", "<promise>✅</promise>")


def test_only_the_message_since_the_reset_counts() -> None:
    scanner = MessageScanner("COMPLETE", task=None, abort=None)
    scanner.feed(f"{TAG}\n")
    assert scanner.verdict().promise == "completion"
    scanner.reset()
    assert scanner.verdict() == Verdict("none", None)
    scanner.feed("Working on the new task")
    assert scanner.verdict().promise == "none"


PIECES = st.sampled_from(
    [
        *("<promise>", "</promise>", "COMPLETE", "next task", "give", "up", "com", "plete", TAG, TAG.lower(), "<", "`"),
        *("\n", "\r\n", "\r", " ", "\t", "\u200b", " " * 70, "x" * 300, "text", "\u2028"),
        *("\x1b[32m", "\x1b[", "\x1b]0;t", "\x07", "\x1b\\", "\x1b", "\x9b", "0m", "\x00", "\x1bP", "["),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join), st.data())
def test_where_the_text_is_cut_changes_nothing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    scanner = MessageScanner("COMPLETE", task="NEXT TASK", abort="GIVE UP")
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        scanner.feed(text[start:end])
        scanner.verdict()
    assert scanner.verdict() == judge(text)


@given(st.text(), st.text(max_size=40), st.sampled_from(["\n", "\r", "\r\n"]))
def test_a_tag_on_its_own_last_line_always_counts(before: str, word: str, end: str) -> None:
    if check_promises(word, task=None, abort=None) is None:
        text = f"{before}\n<promise> {word.strip(BLANKS)}\t</promise>{end} {end}"
        assert judge(text, word, task=None, abort=None).promise == "completion"


@given(st.text().filter(lambda text: text.strip(BLANKS) == text != "" and text.isprintable()))
def test_text_behind_the_tag_makes_a_near_miss(after: str) -> None:
    assert judge(TAG + after).promise == "nearMiss"


@pytest.mark.parametrize("filler", ["x", " ", "<promise>", "\x1b]", "\x1b[1", "`", "\n"])
def test_memory_is_bounded(filler: str) -> None:
    scanner = MessageScanner("COMPLETE", task=None, abort=None)
    chunk = filler * (65536 // len(filler))
    scanner.feed(chunk)
    tracemalloc.start()
    for _ in range(12):
        scanner.feed(chunk)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 20_000
    assert peak < 2_000_000
    scanner.feed("\n" + TAG)
    assert scanner.verdict().promise == "completion"


def test_every_white_space_is_blank_or_removed() -> None:
    spaces = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]
    assert judge("".join(spaces) + TAG + "".join(spaces)).promise == "completion"


@pytest.mark.parametrize(
    ("completion", "task", "abort", "problem"),
    [
        ("X", " x ", None, "completion and task promises must be different in tasks mode."),
        ("X", None, "x", "The abort promise must be different"),
        ("X", "Y", "y", "The abort promise must be different"),
        ("  ", None, None, "The completion promise is empty."),
        ("X", None, "", "The abort promise is empty."),
        ("A\nB", None, None, "line break"),
        ("A\x1b[mB", None, None, "control character"),
        ("X" * 501, None, None, "longer than 500"),
        (TAG, None, None, "inside the tag"),
    ],
)
def test_promises_that_cannot_work_are_refused(
    completion: str, task: str | None, abort: str | None, problem: str
) -> None:
    message = check_promises(completion, task=task, abort=abort)
    assert message is not None
    assert problem in message


def test_good_promises_pass() -> None:
    assert check_promises("ALL TESTS PASS", task="NEXT", abort="STOP") is None
