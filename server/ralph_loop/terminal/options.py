"""The arguments that commands share, and how a wrong one is told: one line, exit code 64 (EX_USAGE of sysexits)."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ralph_loop.terminal.words import parse_duration

USAGE_ERROR = 64
Json = dict[str, Any]


class Problem(Exception):
    """A command cannot go on. `hint` says what to do next."""

    def __init__(self, message: str, hint: str = "", *, code: int = 1) -> None:
        super().__init__(message)
        self.message, self.hint, self.code = message, hint, code


def usage(message: str, hint: str = "") -> Problem:
    return Problem(message, hint, code=USAGE_ERROR)


class Parser(argparse.ArgumentParser):
    """Of one command. Options are not abbreviated: a new one must not change what an old script means."""

    def __init__(self, command: str, description: str, **more: Any) -> None:
        super().__init__(
            prog=f"ralph-loop {command}",
            description=description,
            allow_abbrev=False,
            formatter_class=_Formatter,
            **more,
        )

    def error(self, message: str) -> NoReturn:
        raise usage(f"{message[:1].lower()}{message[1:]}", f"See {self.prog} --help.")


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        default=argparse.SUPPRESS,  # it may stand before the command too
        metavar="DIR",
        help="where the helper keeps everything (default: RALPH_LOOP_DATA_DIR, else the user's data directory)",
    )
    parser.add_argument(
        "--color",
        choices=("auto", "always", "never"),
        default="auto",
        help="colours (default: on a terminal; NO_COLOR turns them off)",
    )


def place(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--repo", metavar="DIR", type=text, help="the repository or folder (default: the current directory)"
    )


def loop(parser: argparse.ArgumentParser) -> None:
    """Which loop is meant."""
    place(parser)
    parser.add_argument(
        "--run", metavar="ID", type=text, help="the loop (default: the active, else the latest one of the repository)"
    )


def json_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def text(value: str) -> str:
    """An argument that goes over the wire. Raises ArgumentTypeError."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("is not valid UTF-8") from None
    if not value.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return value


def milliseconds(value: str) -> int:
    try:
        return parse_duration(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def time_limit(value: str) -> int:
    limit = milliseconds(value)
    if limit == 0:
        raise argparse.ArgumentTypeError("must be more than nothing")
    return limit


def number(least: int) -> Any:
    """A converter for whole numbers from `least` on."""

    def convert(value: str) -> int:
        if not (value.isascii() and value.isdigit()) or len(value) > 15 or int(value) < least:
            raise argparse.ArgumentTypeError(f"{value!r} is not a whole number from {least} on")
        return int(value)

    return convert


def workspace(given: argparse.Namespace) -> str:
    """The folder a command is about, as the helper wants it named. Raises Problem."""
    return folder(given.repo).as_uri()


def folder(name: str | None) -> Path:
    try:
        path = Path(os.path.abspath(name)) if name else Path.cwd()  # noqa: PTH100 (resolve() would follow symlinks)
    except FileNotFoundError:
        raise usage("The current directory does not exist any more.", "Go to another one, or give --repo.") from None
    if not path.is_dir():
        raise usage(f"{name} is not an existing folder.", "Give a repository or folder with --repo.")
    return path


def read_input(what: str) -> str:
    """Standard input as text. Raises Problem."""
    try:
        found = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise usage(f"{what} from standard input is not UTF-8 (byte {error.start}).") from None
    if not found.strip():
        raise usage(f"{what} from standard input is empty.")
    return found


def words(given: Sequence[str], what: str) -> str:
    """Words of the command line as one text, or standard input for a single `-`. Raises Problem."""
    return read_input(what) if list(given) == ["-"] else " ".join(given)
