"""Patches in the terminal: `diff` of a loop or of one iteration, and of what waits for approval."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ralph_loop.shared.client import Client
from ralph_loop.terminal import asking, options
from ralph_loop.terminal.asking import helper, print_json, records
from ralph_loop.terminal.options import Json, Parser, Problem, number
from ralph_loop.terminal.screen import Screen, standard
from ralph_loop.terminal.words import one_line

_COLOURS = {"+": "green", "-": "red", "@": "cyan", "d": "bold"}  # of a line, by how it begins


def diff(arguments: Sequence[str]) -> int:
    parser = Parser(
        "diff",
        "Print what changed while a loop ran (in plan mode: what it proposed, too), or in one of its iterations, as a "
        "patch that git apply understands.",
    )
    parser.add_argument("files", nargs="*", metavar="FILE", type=options.text, help="only these (default: all)")
    parser.add_argument("--iteration", type=number(1), metavar="N", help="only what this one changed")
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        loop = asking.find(client, given)
        first = last = given.iteration
        if first is None:
            first, last = _recorded(records(client, {"runId": loop["runId"]}))
        found = patches(client, loop, (first, last), given.files)
    if given.json:
        print_json(found)
    else:
        show(standard(given.color), found)
    return 0


def _recorded(told: Sequence[Json]) -> tuple[int, int]:
    """The first and the last iteration whose changes are known: one that runs has none yet. Raises Problem."""
    ended = [record for record in told if record["status"] != "running"]
    known = [record["iteration"] for record in ended if "tracking" not in record]
    if known:
        return known[0], known[-1]
    raise Problem(f"No change is recorded: {one_line(ended[-1]['tracking'])}." if ended else "No iteration has ended.")


def patches(client: Client, loop: Json, iterations: tuple[int, int], files: Sequence[str]) -> list[Json]:
    """What changed from before the first to after the last of these iterations, in these files or all: an answer of
    `ralph/git/diff` for each."""
    first, last = iterations
    params: Json = {
        "workspace": loop["workspace"],
        "from": f"{loop['runId']}#{first}.before",
        "to": f"{loop['runId']}#{last}.after",
        "patch": True,
    }
    every = [{"path": file} for file in files] or [{}]
    return [client.request("ralph/git/diff", {**params, **one}) for one in every]


def show(screen: Screen, found: Sequence[Json]) -> None:
    """On a terminal in colours and without what it would act on; else the patch as it is."""
    text = "".join(answer["patch"] for answer in found)
    if not screen.live:
        sys.stdout.write(text)
        return
    if not text:
        screen.line("Nothing was changed.")
    for line in text.splitlines(keepends=True):
        colour = _COLOURS.get(line[:1])
        screen.agent("patch", screen.paint(line, colour) if colour else line)
    screen.end_agent()
