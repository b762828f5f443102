"""`ralph-loop`: the command line. Imports only what the command needs; `lsp` starts in a few milliseconds."""

from __future__ import annotations

import sys
from collections.abc import Sequence

INTERRUPTED = 130
_WINDOWS = """ralph-loop runs on Linux and macOS, and on Windows inside WSL: Windows itself has no means \
to end an agent with all that it started.
  Install WSL (wsl --install), install ralph-loop in it, and open the folder there (VS Code: "Reopen Folder in WSL").
"""


def main(arguments: Sequence[str] | None = None) -> int:
    if sys.platform == "win32":
        sys.stderr.write(_WINDOWS)
        return 1
    try:
        return _run(sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] == "lsp":
        data_dir, rest = _data_dir(arguments[1:])
        if not rest:
            return _forward(data_dir)
    from ralph_loop.terminal.commands import run

    return run(arguments)


def _data_dir(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """The data directory, and the arguments that need a real parser."""
    data_dir: str | None = None
    left: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if argument == "--data-dir" and rest:
            data_dir = rest.pop(0)
        elif argument.startswith("--data-dir="):
            data_dir = argument.partition("=")[2]
        elif argument != "--stdio":
            left.append(argument)
    return data_dir, left


def _forward(data_dir: str | None) -> int:
    from ralph_loop.paths import locate
    from ralph_loop.shared import forward

    return forward.run(locate(data_dir).data)
