"""Durations, widths and names as the terminal reads and writes them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.terminal import words


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("90s", 90_000),
        ("30m", 1_800_000),  # peer case cli.duration
        ("1h30m", 5_400_000),
        ("1d2h", 93_600_000),
        ("250ms", 250),
        ("1m500ms", 60_500),
        ("0s", 0),
        (" 5M ", 300_000),
    ],
)
def test_a_duration_is_read(text: str, ms: int) -> None:
    assert words.parse_duration(text) == ms


@pytest.mark.parametrize("text", ["90", "", "  ", "m", "1.5h", "-5s", "30m1h", "5 s", "1h30", "٣s", "5sm", "s5"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        words.parse_duration(text)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0.0s"),
        (999, "0.9s"),
        (9_999, "9.9s"),
        (10_000, "10s"),
        (59_999, "59s"),
        (60_000, "1m00s"),
        (185_000, "3m05s"),
        (3_599_999, "59m59s"),
        (3_600_000, "1h00m"),
        (86_400_000, "1d00h"),
    ],
)
def test_a_duration_is_written(ms: int, text: str) -> None:
    assert words.duration(ms) == text


@pytest.fixture
def tokyo() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    yield
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def test_times_are_local(tokyo: None) -> None:
    assert words.clock("2026-01-01T20:00:05.123Z") == "05:00:05"
    assert words.moment("2001-01-01T20:00:05.123Z") == "2001-01-02 05:00"


def test_small_words() -> None:
    assert words.count(1, "file") == "1 file"
    assert words.count(1200, "file") == "1,200 files"
    assert words.tokens({"input": 12_345, "output": 6}) == "12.3k in, 6 out"
    assert words.tokens({"input": 2_500_000, "output": 999}) == "2.5M in, 999 out"
    assert [words.cost(usd) for usd in (0, 0.0123, 1.234)] == ["$0.00", "$0.0123", "$1.23"]
    assert words.lines([{"added": 1000, "removed": 1}, {"added": 1, "removed": 0}]) == "+1,001 -1"
    assert words.agent({"agent": "claude", "model": "opus"}) == "claude:opus"
    assert words.of_limit({"iteration": 3, "maxIterations": 0}) == "3"
    assert words.of_limit({"iteration": 3, "maxIterations": 50}) == "3/50"


def test_one_line_holds_nothing_that_a_terminal_acts_on() -> None:
    assert words.one_line("a\n\tb\x1b[31mc\x9b2Jd\x00\r") == "a b [31mc 2Jd"


def test_wide_characters_take_two_columns() -> None:
    assert words.cells("日本") == 4
    assert words.cells("e\u0301") == 1
    assert words.fit("日本語", 6) == "日本語"
    assert words.fit("日本語", 5) == "日本…"
    assert words.fit("日本語", 4) == "日…"


def test_sentences_are_broken_between_words() -> None:
    assert words.wrap("one two three", 9, "") == "one two\nthree"
    assert words.wrap("one two three", 9, "  ") == "  one two\n  three"
    assert words.wrap("\x1b[31mone\x1b[0m two", 7, "") == "\x1b[31mone\x1b[0m two"
    assert words.wrap("日本 日本", 8, "") == "日本\n日本"
    assert words.wrap("a run_0123456789 b", 5, "") == "a\nrun_0123456789\nb"


@given(st.text(max_size=30), st.integers(0, 20))
def test_what_fits_never_takes_more_columns(text: str, width: int) -> None:
    fitted = words.fit(text, width)
    assert words.cells(fitted) <= width
    assert fitted == text or fitted == "" or fitted.endswith("…")
