"""The signs that a loop is stuck, and the errors found in what an agent prints."""

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.engine.struggle import ErrorScanner, Past, normalise, reasons


def past(files: int | None = 1, ms: int = 60_000, errors: tuple[str, ...] = (), tree: str | None = None) -> Past:
    return Past(duration_ms=ms, files_changed=files, errors=errors, tree=tree)


IDLE, SHORT = "No file was changed", "ended in less than 10 seconds"
SAME, BACK = "The same error came up", "back and forth"


@pytest.mark.parametrize(
    ("history", "signs"),
    [
        ([], []),
        ([past(0)] * 2, []),
        ([past(0)] * 3, [IDLE]),
        ([past(1), past(0), past(0), past(0)], [IDLE]),
        ([past(0), past(0), past(0), past(1)], []),
        ([past(0), past(0), past(1), past(0)], []),
        ([past(None)] * 5, []),
        ([past(0, 5000), past(0, 6000), past(0, 7000)], [IDLE, SHORT]),
        ([past(0, 5000), past(0, 10_000), past(0, 7000)], [IDLE]),
        ([past(1, 5)] * 5, []),
        ([past(errors=("E1",))] * 2, [SAME]),
        ([past(errors=("E1",)), past(errors=("E1",)), past()], []),
        ([past(errors=("E1",)), past(), past(errors=("E1",))], []),
        ([past(errors=("A: x", "B")), past(errors=("C", "B"))], [SAME]),
        ([past(errors=("A: x",)), past(errors=("A: y",))], []),
        ([past(errors=("pytest: 0 tests failed",))] * 3, []),
        ([past(tree=tree) for tree in "ABA"], [BACK]),
        ([past(tree=tree) for tree in "XABBA"], [BACK]),
        ([past(tree=tree) for tree in "ABC"], []),
        ([past(tree=tree) for tree in "ABAC"], []),
        ([past(0, tree="A")] * 2, []),
        ([past(tree="A"), past(tree=None), past(tree="A")], []),
        ([past(0, 1, ("E",), "A"), past(0, 1, ("E",), "A"), past(0, 1, ("E",), "A")], [IDLE, SHORT, SAME]),
    ],
)
def test_signs(history: list[Past], signs: list[str]) -> None:
    found = reasons(history)
    assert len(found) == len(signs), found
    assert all(sign in reason for sign, reason in zip(signs, found, strict=True))


def test_reasons_say_how_often_and_what() -> None:
    history = [past(0, 5000, ("boom\n at 12:00",)), *[past(0, 5000, ("boom\n at 12:01",))] * 3]
    assert reasons(history) == [
        "No file was changed in the last 4 iterations.",
        "The last 4 iterations ended in less than 10 seconds each, without a change.",
        "The same error came up in the last 4 iterations: boom at 12:01",
    ]
    assert len(reasons([past(errors=tuple("abcdef"))] * 2)) == 3
    assert max(map(len, reasons([past(errors=("x" * 10_000,))] * 2))) < 300


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Error: line 12", "error:  line 345"),
        ("E1 at 12:00:01", "E2 at 9:59"),
        ("took 999ms", "took 1.2 s"),
        ("2026-01-01T10:00:00.123Z boom", "2025-12-31 23:59 boom"),
        ("cannot open /tmp/tmp.AbCd/x", "cannot open /var/tmp/other-file"),
        ("in '~/a/b.py', line 3", "in '~/c/d.py', line 4"),
        (r"C:\Users\a\x.py: boom", r"D:\b: boom"),
        ("segfault at 0x7fff12", "segfault at 0xdeadBEEF"),
        ("commit 1f2e3d4c5b6a failed", "commit 9a8b7c6d5e4f3a2b1c0d failed"),
        ("id 123e4567-e89b-12d3-a456-426614174000", "id 00000000-0000-0000-0000-000000000000"),
    ],
)
def test_the_same_error_printed_twice(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("FAILED tests/test_a.py::one", "FAILED tests/test_b.py::one"),
        ("NameError: name 'a' is not defined", "NameError: name 'b' is not defined"),
        ("cannot add a and b", "cannot add a and c"),
    ],
)
def test_different_errors(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


def scan(*pieces: str) -> list[str]:
    scanner = ErrorScanner()
    for piece in pieces:
        scanner.feed(piece)
    return scanner.errors()


def test_errors_of_the_collected_case() -> None:
    assert scan("Error: a\n0 tests failed\nok\nTypeError x\nError: a") == ["Error: a", "TypeError x"]


@pytest.mark.parametrize(
    "line",
    [
        "error: cannot find value `x`",
        "error[E0308]: mismatched types",
        "src/a.ts(3,5): error TS2322: Type 'x' is wrong",
        "fatal: not a git repository",
        "FAILED tests/test_a.py::test_one - assert 1 == 2",
        "1 test failed, 0 errors",
        "Tests: 2 failed, 10 passed",
        "10 tests failed",
        "npm ERR! code ELIFECYCLE",
        "not ok 3 - adds",
        "bash: foo: command not found",
        "thread 'main' panicked at src/main.rs:3:5",
        "Traceback (most recent call last):",
        "ModuleNotFoundError: No module named 'x'",
        "java.io.IOException: gone",
        "Error: exit 0x80004005",
        "Execution failed: 0.5s",
    ],
)
def test_what_is_an_error(line: str) -> None:
    assert scan(f"  \x1b[31m{line}\x1b[0m\r\n") == [line]


@pytest.mark.parametrize(
    "line",
    [
        "0 tests failed",
        "All tests pass, no failures.",
        "Tests run: 5, Failures: 0, Errors: 0, Skipped: 1",
        "10 passed, 0 failed, no test failures",
        "Finished without any errors: done",
        "# fail 0",
        "I added error handling to the parser.",
        "Build succeeded with 0 error(s): ok",
        "terror: none",
        "It never fails.",
        "",
    ],
)
def test_what_is_no_error(line: str) -> None:
    assert scan(line + "\n") == []


def test_the_latest_ten_each_once_and_short() -> None:
    text = "".join(f"Error: {number}\n" for number in [1, *range(15), 14])
    assert scan(text) == [f"Error: {number}" for number in range(5, 15)]
    assert scan("Error: " + "x" * 5000) == ["Error: " + "x" * 193]


LINES = st.sampled_from(["Error: a", "0 tests failed", "TypeError x", "ok", "\n", "\r", "\r\n", "x" * 1500, "\x1b[1m"])


@given(st.lists(LINES, max_size=12).map("".join), st.data())
def test_where_the_text_is_cut_changes_nothing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert scan(*pieces) == scan(text)


@pytest.mark.parametrize(
    "text", ["x" * 65536, "tests error " * 5000, "Error: " * 9000, ("test " * 200 + "fail\n") * 60]
)
def test_floods_are_bounded_in_memory_and_time(text: str) -> None:
    scanner = ErrorScanner()
    scanner.feed(text)
    tracemalloc.start()
    scanner.feed(text)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 50_000
    began = time.process_time()
    scanner.feed(text)
    assert time.process_time() - began < 0.5
