"""The commands that steer a loop: `pause`, `cancel`, `add-context`, `context`, `trust`. (`resume` is in running.py.)"""

from __future__ import annotations

from collections.abc import Sequence

from ralph_loop.terminal import asking, options, words
from ralph_loop.terminal.asking import helper, print_json
from ralph_loop.terminal.options import Json, Parser
from ralph_loop.terminal.screen import standard
from ralph_loop.terminal.words import count, one_line

_SIGNS = {"pending": ("○", "yellow"), "delivered": ("✓", "green"), "cleared": ("✗", "dim")}


def pause(arguments: Sequence[str]) -> int:
    parser = Parser("pause", "Pause the loop after its current iteration.")
    options.loop(parser)
    parser.add_argument("--now", action="store_true", help="stop the agent at once; resume runs the iteration again")
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        loop = asking.find(client, given)
        when = "now" if given.now else "afterIteration"
        loop = client.request("ralph/pause", {"runId": loop["runId"], "when": when})
    if given.json:
        print_json(loop)
        return 0
    screen = standard(given.color)
    if loop["status"] == "paused":
        screen.line("Paused. Go on with: ralph-loop resume")
    else:
        screen.line(f"Pauses after iteration {loop['iteration']}. Go on with: ralph-loop resume")
    return 0


def cancel(arguments: Sequence[str]) -> int:
    parser = Parser("cancel", "Cancel the loop: its agent and all that it started are ended.")
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        loop = asking.find(client, given)
        loop = client.request("ralph/cancel", {"runId": loop["runId"]})
    if given.json:
        print_json(loop)
        return 0
    done = count(loop["iteration"], "iteration")
    standard(given.color).line(f"Cancelled after {done}. Nothing of it runs any more.")
    return 0


def add_context(arguments: Sequence[str]) -> int:
    parser = Parser(
        "add-context",
        "Give the loop a hint for its next iteration. Where no loop runs, the next one gets it.",
    )
    parser.add_argument("text", nargs="+", type=options.text, help="the hint; - reads it from standard input")
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    hint = options.words(given.text, "The hint")
    with helper(given) as client:
        answer = client.request("ralph/addContext", {**asking.target(given), "text": hint})
        loop: Json | None = client.request("ralph/status", asking.target(given))
    if given.json:
        print_json(answer)
        return 0
    goes_on = loop is not None and loop["status"] not in ("completed", "cancelled", "error")
    to = "the next iteration" if goes_on else "the next loop here"
    standard(given.color).line(f"Added: {to} gets it.")
    return 0


def context(arguments: Sequence[str]) -> int:
    parser = Parser("context", "List the hints of the loop and what became of them, or clear those that wait.")
    parser.add_argument("what", nargs="?", choices=("list", "clear"), default="list")
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    method = "ralph/clearContext" if given.what == "clear" else "ralph/listContext"
    with helper(given) as client:
        found = client.request(method, asking.target(given))
    if given.json:
        print_json(found)
        return 0
    screen = standard(given.color)
    if not found["items"]:
        screen.line('There are no hints. Add one with ralph-loop add-context "…".')
    for item in found["items"]:
        sign, colour = _SIGNS[item["state"]]
        state = f"delivered in {item['iteration']}" if "iteration" in item else item["state"]
        text = words.fit(one_line(item["text"]), max(screen.columns - 30, 20))
        screen.line(f"{screen.paint(sign, colour)} {words.moment(item['addedAt'])}  {state:<14} {text}")
    return 0


def trust(arguments: Sequence[str]) -> int:
    parser = Parser(
        "trust",
        "Trust this repository: its loop files, presets and configuration may then name commands, arguments of agents "
        "and permissions.",
    )
    options.place(parser)
    parser.add_argument("--no", action="store_true", help="do not trust it any more")
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        repo = client.request("ralph/repos/trust", {"workspace": options.workspace(given), "trusted": not given.no})
    if given.json:
        print_json(repo)
        return 0
    state = "is trusted now" if repo["trusted"] else "is not trusted any more"
    standard(given.color).line(f"{one_line(repo['path'])} {state}.")
    return 0
