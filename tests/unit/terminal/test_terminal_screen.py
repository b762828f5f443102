"""What the screen writes, on a terminal and elsewhere."""

from __future__ import annotations

import io

import pytest

from ralph_loop.terminal import words
from ralph_loop.terminal.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("terminal", "env", "choice", "colour"),
    [
        (True, {}, "auto", True),
        (False, {}, "auto", False),
        (True, {"NO_COLOR": "1"}, "auto", False),
        (True, {"NO_COLOR": ""}, "auto", True),  # no-color.org: when present and not empty
        (True, {"TERM": "dumb"}, "auto", False),
        (False, {"FORCE_COLOR": "1"}, "auto", True),
        (True, {"NO_COLOR": "1", "FORCE_COLOR": "1"}, "auto", False),
        (True, {"NO_COLOR": "1"}, "always", True),
        (True, {}, "never", False),
    ],
)
def test_colour(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, env: dict[str, str], choice: str, colour: bool
) -> None:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    stream = Terminal() if terminal else io.StringIO()
    screen = Screen(stream, colour=choice)
    screen.line(screen.paint("x", "bold", "red"))
    assert stream.getvalue() == ("\x1b[1;31mx\x1b[0m\n" if colour else "x\n")


def test_our_lines_never_stand_behind_what_an_agent_left_unfinished() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.agent("stdout", "half a li")
    screen.agent("stdout", "ne")
    screen.agent("stderr", "an error")
    screen.line("ours")
    screen.agent("stdout", "more\n")
    screen.end_agent()
    screen.line("end")
    assert stream.getvalue() == "half a line\nan error\nours\nmore\nend\n"


def test_an_unfinished_escape_of_one_iteration_does_not_swallow_the_next() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.agent("stdout", "one\x1b]0;ti")
    screen.end_agent()
    screen.agent("stdout", "two\n")
    assert stream.getvalue() == "one\ntwo\n"


def test_colours_of_an_agent_end_with_its_iteration() -> None:
    stream = Terminal()
    screen = Screen(stream)
    screen.agent("stdout", "\x1b[31mred")
    screen.end_agent()
    assert stream.getvalue() == "\x1b[31mred\n\x1b[0m"


def test_the_status_is_replaced_and_fits() -> None:
    stream = Terminal()
    screen = Screen(stream, colour="never")
    screen.status("日" * 50)
    screen.line("line")
    screen.status("two")
    screen.clear_status()
    first, _, rest = stream.getvalue().removeprefix("\r\x1b[K").partition("\r\x1b[K")
    assert words.cells(first) < 40
    assert rest == "line\n\r\x1b[Ktwo\r\x1b[K"


def test_no_status_within_a_line_of_the_agent_nor_without_a_terminal() -> None:
    stream = Terminal()
    screen = Screen(stream, colour="never")
    screen.agent("stdout", "half")
    screen.status("status")
    assert stream.getvalue() == "half"
    pipe = io.StringIO()
    Screen(pipe).status("status")
    assert pipe.getvalue() == ""


@pytest.mark.parametrize("columns", [20, 21, 30, 79, 200])
@pytest.mark.parametrize("left", ["short", "a heading that is longer than a narrow terminal", "日本語" * 20])
def test_a_rule_fits(monkeypatch: pytest.MonkeyPatch, columns: int, left: str) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    Screen(stream, colour="never").rule(left, "10:11:12")
    assert words.cells(stream.getvalue().rstrip("\n")) <= columns


def test_a_locale_without_our_signs_gets_others() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="latin-1", errors="replace")
    screen = Screen(stream)
    screen.rule("iteration 1", "10:11:12")
    screen.line("✓ done · 日本")
    assert raw.getvalue().decode("latin-1").splitlines()[1] == "+ done - ??"
    assert "?" not in raw.getvalue().decode("latin-1").splitlines()[0]
