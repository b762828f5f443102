"""What an agent prints is made safe for a terminal: only colours are left of its escapes."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.terminal.safe_text import SafeText

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
PIECES = st.lists(
    st.sampled_from(
        [
            "\x1b[31m", "\x1b[0m", "\x1b[2J", "\x1b[10;10H", "\x1b]0;title\x07", "\x1b]52;c;Zm9v\x1b\\",
            "\x1bP+q\x1b\\",
            "\x1b", "\x1b[", "[31m", "3", "1", "m", ";", "\x9b31m", "\x9d0;x\x07", "\r", "\n", "\r\n", "\x07", "\x08",
            "\x00", "text", "日本", "\x1bc", "\x1b(0", "\x7f", "\x0e",
        ]
    ),
    max_size=12,
)  # fmt: skip


def shown(text: str, *, colours: bool = True) -> str:
    return SafeText(colours=colours).feed(text)


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b[31mred\x1b[0m", "\x1b[31mred\x1b[0m"),
        ("\x1b[38;2;1;2;3mrgb\x1b[38:5:1mx", "\x1b[38;2;1;2;3mrgb\x1b[38:5:1mx"),
        ("\x1b[2J\x1b[10;10Hclear", "clear"),
        ("\x1b]0;title\x07a\x1b]52;c;Zm9v\x1b\\b", "ab"),
        ("\x1b[?1049h\x1b[>c\x1bcx\x1b(0y", "xy"),
        ("\x9b2Ja\x9d0;t\x07z", "a0;tz"),  # a C1 introducer goes; what it introduced is harmless text
        ("bell\x07 back\x08 nul\x00", "bell back nul"),
        ("a\r\nb", "a\nb"),
        ("10%\r20%\n", "10%\n20%\n"),
        ("\x1b[>4;1m\x1b[?25lx", "x"),  # ends with m, but is no colour
    ],
)
def test_colours_stay_and_the_rest_goes(text: str, safe: str) -> None:
    assert shown(text) == safe


def test_without_colours_they_go_too() -> None:
    assert shown("\x1b[31mred\x1b[0m\r\n", colours=False) == "red\n"


@given(PIECES, st.booleans())
def test_nothing_but_colours_is_left(pieces: list[str], colours: bool) -> None:
    text = SafeText(colours=colours)
    out = "".join(text.feed(piece) for piece in pieces)
    if colours:
        out = COLOUR.sub("", out)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", out)


@given(PIECES, st.lists(st.integers(0, 60), max_size=6))
def test_where_the_text_is_cut_changes_nothing(pieces: list[str], cuts: list[int]) -> None:
    text = "".join(pieces) + "end"
    whole = SafeText(colours=True).feed(text)
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    parts = SafeText(colours=True)
    assert "".join(parts.feed(text[a:b]) for a, b in itertools.pairwise(places)) == whole
