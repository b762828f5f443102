"""`serve` and `lsp`: the helper itself, and the way to it for editors."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Sequence

from ralph_loop.terminal.options import Parser, usage

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
LEVEL_VARIABLE = "RALPH_LOOP_LOG_LEVEL"


def serve(arguments: Sequence[str]) -> int:
    parser = Parser(
        "serve", "Run the shared helper in the foreground. Editors and commands find it by its data directory."
    )
    _places(parser)
    parser.add_argument(
        "--idle", type=_seconds, default=60.0, metavar="SECONDS",
        help="end after so long without a client and without a loop (60; 0: never)",
    )  # fmt: skip
    parser.add_argument("--tcp", action="store_true", help="listen on a loopback port with a token, not on a socket")
    parser.add_argument(
        "--take-over", action="store_true", help="wait until no loop of another helper runs, and take its place"
    )
    parser.add_argument("--detach", action="store_true", help="leave the caller's process tree")
    parser.add_argument("--ready-fd", type=int, metavar="FD", help="write `ready`, or why not, to this descriptor")
    given = parser.parse_args(arguments)
    from ralph_loop.paths import locate

    _load()
    from ralph_loop.shared import start

    return start.run_helper(
        locate(getattr(given, "data_dir", None)),
        idle_s=given.idle,
        tcp=given.tcp,
        detach=given.detach,
        ready_fd=given.ready_fd,
        level=_level(given),
        takes_over=given.take_over,
    )


def lsp(arguments: Sequence[str]) -> int:
    parser = Parser("lsp", "Speak LSP on standard input and output, for the user's shared helper.")
    _places(parser)
    parser.add_argument("--embedded", action="store_true", help="run the helper in this process, for this client alone")
    parser.add_argument("--stdio", action="store_true", help="accepted and ignored: there is nothing else")
    given = parser.parse_args(arguments)
    from ralph_loop.paths import locate

    paths = locate(getattr(given, "data_dir", None))
    if given.embedded:
        _load()
        from ralph_loop.shared import start

        return start.run_embedded(paths, _level(given))
    from ralph_loop.shared import forward

    if given.log_level:
        os.environ[LEVEL_VARIABLE] = given.log_level  # for a helper that is started now
    return forward.run(paths.data)


def _load() -> None:
    """Imports the helper without looking for garbage meanwhile, which is a seventh of the time that it takes to start;
    what was made by then stays for good, and is not looked at again."""
    gc.disable()
    import ralph_loop.shared.start  # noqa: F401 # pyright: ignore[reportUnusedImport]

    gc.freeze()
    gc.enable()


def _places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data-dir", default=argparse.SUPPRESS, metavar="DIR", help="where everything is kept")
    parser.add_argument(
        "--log-level",
        choices=LEVELS,
        type=str.upper,
        help=f"of helper.log (default: {LEVEL_VARIABLE}, else the setting logLevel)",
    )


def _level(given: argparse.Namespace) -> str | None:
    level = given.log_level or os.environ.get(LEVEL_VARIABLE, "").upper() or None
    if level is not None and level not in LEVELS:
        raise usage(f"{LEVEL_VARIABLE} is {level!r}; it can be {', '.join(LEVELS)}")
    return level


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < 1e9:
        raise ValueError(text)
    return seconds
