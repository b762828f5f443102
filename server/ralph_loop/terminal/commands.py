"""The commands and where they are. Only the one that is asked for is imported."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
from collections.abc import Sequence

from ralph_loop import __version__
from ralph_loop.paths import reason
from ralph_loop.shared.client import ResponseError
from ralph_loop.shared.forward import PROTOCOL, HelperError
from ralph_loop.terminal.asking import refused
from ralph_loop.terminal.options import USAGE_ERROR, Problem, usage
from ralph_loop.terminal.screen import forgiving, wants_colour

BROKEN_PIPE = 141  # as if SIGPIPE had ended us

# command: (module, function, summary); an empty summary hides it
GROUPS: dict[str, dict[str, tuple[str, str, str]]] = {
    "Run": {
        "run": ("running", "run", "start a loop and follow it"),
        "preview": ("running", "preview", "print the first prompt; nothing starts"),
        "status": ("reading", "status", "how the loop of this repository stands"),
        "list": ("reading", "list_loops", "all loops"),
        "logs": ("logs", "logs", "what the agents printed; -f follows"),
        "history": ("reading", "history", "the iterations and what they changed"),
        "diff": ("diffs", "diff", "what a loop or an iteration changed, as a patch"),
        "prompt": ("reading", "prompt", "the prompt of one iteration"),
    },
    "Steer": {
        "pause": ("steering", "pause", "pause after this iteration, or --now"),
        "resume": ("running", "resume", "go on with a paused, waiting or interrupted loop"),
        "cancel": ("steering", "cancel", "end the loop and all that it started"),
        "add-context": ("steering", "add_context", "a hint for the next iteration"),
        "context": ("steering", "context", "list or clear the hints"),
        "permissions": ("asks", "permissions", "what agents ask"),
        "answer": ("asks", "answer", "answer what an agent asks"),
        "plan": ("asks", "plan", "see, approve or reject staged changes"),
        "tasks": ("stored", "tasks", "the task list of this repository"),
    },
    "Set up": {
        "trust": ("steering", "trust", "let this repository's own files name commands"),
        "repos": ("stored", "repos", "known repositories"),
        "sessions": ("stored", "sessions", "sessions and their messages"),
        "search": ("stored", "search", "search prompts, messages and output"),
        "export": ("export", "export", "write a session as plain files"),
        "config": ("stored", "config", "your defaults"),
        "agents": ("stored", "agents", "the agents, which are installed, and how to get the others"),
        "presets": ("stored", "presets", "the presets for --preset"),
    },
    "Helper": {
        "doctor": ("doctor", "doctor", "find what is wrong with this machine, and what to do"),
        "health": ("reading", "health", "ask the helper how it is"),
        "service": ("service", "run", "install, start, stop the helper as a service"),
        "serve": ("serving", "serve", "run the helper in the foreground"),
        "lsp": ("serving", "lsp", "speak LSP on standard input and output"),
        "demo": ("demo", "demo", ""),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def run(arguments: Sequence[str]) -> int:
    """Carries out one command line; the exit code."""
    forgiving(sys.stdout)
    forgiving(sys.stderr)
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except Problem as problem:
        return _tell(problem)
    except (ResponseError, HelperError) as error:
        return _tell(refused(error))
    except BrokenPipeError:
        # nobody reads any more (`| head`): end quietly, also when Python flushes at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        return _tell(Problem(reason(error)))


def _dispatch(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="ralph-loop", add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-h", "--help", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--data-dir")
    cut = _command_at(arguments)
    try:
        given, unknown = parser.parse_known_args(list(arguments[:cut]))
    except argparse.ArgumentError as error:
        raise usage(str(error), "See ralph-loop --help.") from None
    if unknown:
        raise usage(f"unknown option {unknown[0]}", "See ralph-loop --help.")
    if given.version:
        sys.stdout.write(f"ralph-loop {__version__} (protocol {PROTOCOL})\n")
        return 0
    if given.help:
        sys.stdout.write(overview())
        return 0
    if cut == len(arguments):
        sys.stderr.write(overview())
        return USAGE_ERROR
    name, rest = arguments[cut], list(arguments[cut + 1 :])
    if name == "help":
        return _dispatch([*rest[:1], "--help"])
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"Did you mean {close[0]}?" if close else "See ralph-loop --help."
        raise usage(f"there is no command {name!r}", hint)
    if given.data_dir is not None:
        rest = ["--data-dir", given.data_dir, *rest]
    module, function, _ = COMMANDS[name]
    return getattr(importlib.import_module(f"ralph_loop.terminal.{module}"), function)(rest)


def _command_at(arguments: Sequence[str]) -> int:
    """Where the command stands: behind the options that every command has."""
    index = 0
    while index < len(arguments) and arguments[index].startswith("-"):
        index += 2 if arguments[index] == "--data-dir" else 1
    return min(index, len(arguments))


def overview() -> str:
    lines = ["Runs a coding agent again and again with the same prompt until the work is really done.", ""]
    lines += ["usage: ralph-loop [--data-dir DIR] COMMAND [options]", ""]
    for group, commands in GROUPS.items():
        lines.append(f"{group}:")
        lines += [f"  {name:<13}{summary}" for name, (_, _, summary) in commands.items() if summary]
        lines.append("")
    lines += ["ralph-loop COMMAND --help tells more; --version prints the version.", ""]
    return "\n".join(lines)


def _tell(problem: Problem) -> int:
    sys.stdout.flush()
    text = f"ralph-loop: {problem.message}"
    if wants_colour(sys.stderr, "auto"):
        text = f"\x1b[31mralph-loop:\x1b[0m {problem.message}"
    sys.stderr.write(text + (f"\n  {problem.hint}" if problem.hint else "") + "\n")
    return problem.code
