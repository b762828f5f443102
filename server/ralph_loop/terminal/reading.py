"""The commands that only look: `status`, `list`, `history`, `prompt`, `health`."""

from __future__ import annotations

from collections.abc import Sequence

from ralph_loop.terminal import asking, notes, options, verdict, words
from ralph_loop.terminal.asking import helper, print_json, print_prompt, records
from ralph_loop.terminal.options import Json, Parser, number
from ralph_loop.terminal.screen import Screen, standard
from ralph_loop.terminal.words import count, one_line

_ACTIVE = ("running", "paused", "waiting", "awaiting_approval")
_COLOURS = {"running": "cyan", "completed": "green", "error": "red", "interrupted": "red"}


def status(arguments: Sequence[str]) -> int:
    parser = Parser("status", "Show how the loop of this repository stands.")
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        found = asking.find(client, given) if given.run else client.request("ralph/status", asking.target(given))
        if given.json:
            print_json(found)
            return 0
        screen = standard(given.color)
        if found is not None:
            _show(screen, found)
            return 0
        screen.line("No loop was ever started here.")
        others = client.request("ralph/list", {"active": True})["loops"]
        if others:
            screen.line(f"Elsewhere {count(len(others), 'loop')} active: ralph-loop list --active")
    return 0


def _show(screen: Screen, loop: Json) -> None:
    name = loop["status"].replace("_", " ")
    reason = loop.get("stopReason")
    if reason and reason != loop["status"]:
        name += f" ({reason})"
    screen.line(
        screen.paint(f"● {name}", "bold", _COLOURS.get(loop["status"], "yellow"))
        + f"  iteration {words.of_limit(loop)} · {words.duration(loop['elapsedMs'])}"
    )
    rows = [
        ("Prompt", one_line(loop["prompt"])),
        ("Agent", words.agent(loop)),
        ("Folder", one_line(loop["workspace"])),
        ("Started", words.moment(loop["startedAt"])),
        ("Ended", words.moment(loop["endedAt"]) if "endedAt" in loop else ""),
        ("Last one", words.duration(loop["lastIterationMs"]) if "lastIterationMs" in loop else ""),
        ("Result", verdict.facts(loop)),
        ("Waiting", notes.waiting(loop)),
        ("Pause", f"after iteration {loop['iteration']}" if loop["pauseRequested"] else ""),
        ("Until", words.clock(loop["waitingUntil"]) if "waitingUntil" in loop else ""),
        ("Struggle", "; ".join(map(one_line, loop["struggle"]["reasons"])) if loop["struggle"]["detected"] else ""),
        ("Problem", one_line(loop["error"]["message"]) if "error" in loop else ""),
        ("", one_line(loop["error"].get("hint", "")) if "error" in loop else ""),
        ("Loop", loop["runId"]),
    ]  # fmt: skip
    for label, value in rows:
        if value:
            screen.line(f"  {screen.paint(f'{label:<10}', 'dim')}{words.fit(value, max(screen.columns - 13, 20))}")
    if loop["status"] in ("paused", "waiting", "interrupted"):
        screen.line(screen.paint("  Go on with: ralph-loop resume", "dim"))


def list_loops(arguments: Sequence[str]) -> int:
    parser = Parser("list", "List loops, newest first: of all repositories, or of one.")
    options.place(parser)
    parser.add_argument("--active", action="store_true", help="only those that have not ended")
    parser.add_argument("--limit", metavar="N", type=number(1), default=20, help="at most so many (20)")
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    params: Json = {"limit": given.limit}
    if given.active:
        params["active"] = True
    if given.repo:
        params["workspace"] = options.workspace(given)
    with helper(given) as client:
        found = client.request("ralph/list", params)
    if given.json:
        print_json(found)
        return 0
    from ralph_loop.terminal import tables

    screen = standard(given.color)
    tables.loops(screen, found["loops"])
    if found["more"]:
        screen.line(screen.paint(f"There are more; see them with --limit {given.limit * 5}.", "dim"))
    return 0


def history(arguments: Sequence[str]) -> int:
    parser = Parser("history", "Show the iterations of a loop: time, ending, files with lines added and removed.")
    options.loop(parser)
    parser.add_argument("--limit", metavar="N", type=number(1), help="only the last N iterations")
    parser.add_argument("--files", action="store_true", help="name every file")
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        loop = asking.find(client, given)
        after = max(0, loop["iteration"] - given.limit) if given.limit else 0
        found = records(client, {"runId": loop["runId"]}, after=after)
    if given.json:
        print_json({"iterations": found, "more": bool(found) and found[0]["iteration"] > 1})
        return 0
    from ralph_loop.terminal import tables

    screen = standard(given.color)
    tables.history(screen, found, files_shown=500 if given.files else tables.FILES_SHOWN)
    screen.line()
    if loop["status"] in _ACTIVE:
        screen.line(notes.summary(loop))
    else:
        verdict.tell(screen, loop)
    return 0


def prompt(arguments: Sequence[str]) -> int:
    parser = Parser("prompt", "Print the prompt of one iteration, exactly as the agent got it.")
    parser.add_argument("iteration", type=number(1))
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        loop = asking.find(client, given)
        answer = client.request("ralph/prompt", {"runId": loop["runId"], "iteration": given.iteration})
    print_prompt(answer, given)
    return 0


def health(arguments: Sequence[str]) -> int:
    parser = Parser("health", "Ask the helper how it is; it is started when it does not run.")
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        found = client.request("ralph/health")
    if given.json:
        print_json(found)
        return 0
    screen = standard(given.color)
    screen.line(
        screen.paint(f"● The helper {found['version']} is well", "bold", "green")
        + f" (protocol {found['protocolVersion']}, process {found['pid']}, up {words.duration(found['uptimeMs'])})"
    )
    screen.line(f"  {count(found['activeLoops'], 'active loop')} · {one_line(found['database'])}")
    return 0
