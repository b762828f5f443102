"""`doctor`: everything that could be wrong with this machine, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from ralph_loop.paths import Paths, locate
from ralph_loop.terminal import checks, options, storedchecks
from ralph_loop.terminal.asking import print_json
from ralph_loop.terminal.checks import Check, Status
from ralph_loop.terminal.options import Parser
from ralph_loop.terminal.screen import Screen, standard
from ralph_loop.terminal.words import one_line

DESCRIPTION = """Look at everything Ralph Loop needs: Python, git, its files and their rights, the database, the helper,
the agents. The exit code is 1 when something fails."""

_SIGNS: dict[Status, tuple[str, str]] = {"ok": ("✓", "green"), "warn": ("⚠", "yellow"), "fail": ("✗", "red")}


def doctor(arguments: Sequence[str]) -> int:
    parser = Parser("doctor", DESCRIPTION)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    found = list(_look(locate(getattr(given, "data_dir", None))))
    healthy = all(check.status != "fail" for check in found)
    if given.json:
        print_json({"healthy": healthy, "checks": [check.to_json() for check in found]})
    else:
        _tell(standard(given.color), found)
    return 0 if healthy else 1


def _look(paths: Paths) -> Iterator[Check]:
    """The files come first: a helper that is started may change them."""
    yield checks.python()
    yield checks.git(os.environ)
    stored = list(storedchecks.look(paths))
    yield from stored
    yield checks.log(paths.log)
    if any(check.name == "database" and check.status == "fail" for check in stored):
        yield Check("helper", "warn", "not asked: it cannot work with this database")
    else:
        yield from checks.helper_and_agents(paths)
    yield checks.service(paths, os.environ)
    yield checks.plan_mode()


def _tell(screen: Screen, found: Sequence[Check]) -> None:
    width = max(len(check.name) for check in found) + 2
    for check in found:
        sign, colour = _SIGNS[check.status]
        screen.line(f"{screen.paint(sign, colour)} {check.name:<{width}}{one_line(check.message)}")
        if check.hint:
            screen.line(f"  {'':<{width}}{screen.paint(one_line(check.hint), 'dim')}")
