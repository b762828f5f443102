"""`run`, `preview` and `resume`: starting a loop and following it to its end."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ralph_loop.shared.client import Client
from ralph_loop.terminal import asking, options, verdict, words
from ralph_loop.terminal.asking import connected, data_directory, helper, print_json, print_prompt, records
from ralph_loop.terminal.follow import Follower
from ralph_loop.terminal.options import Json, Parser, number, text, usage
from ralph_loop.terminal.screen import Screen, standard
from ralph_loop.terminal.signals import Interrupts
from ralph_loop.terminal.starting import add_config, add_prompt, split_command, start_params
from ralph_loop.terminal.transcript import Readable, Silent, Transcript

RUN = """Start a loop in the current directory and follow it to its end.

Ctrl+C (or SIGTERM) cancels the loop, and waits until nothing of it runs any more.
Closing the terminal leaves the loop running: see it again with ralph-loop logs -f.

Exit code: 0 completed, 1 failed or aborted, 2 a limit was reached, 130 cancelled, 64 wrong usage."""

EXAMPLES = """examples:
  ralph-loop run "Make the tests pass" --agent claude --max-iterations 20
  ralph-loop run -f TASK.md --max-duration 2h --iteration-timeout 20m
  ralph-loop run "Port it to Python 3" --rotation opencode:sonnet,codex:gpt-5
  ralph-loop run "Fix the lint errors" -- my-agent --prompt {prompt}
"""


def run(arguments: Sequence[str]) -> int:
    before, command = split_command(arguments)
    parser = Parser(
        "run", RUN, usage="ralph-loop run [PROMPT | -f FILE] [options] [-- COMMAND …]", epilog=EXAMPLES
    )  # fmt: skip
    add_prompt(parser)
    options.place(parser)
    parser.add_argument("--detach", action="store_true", help="start it and return at once")
    parser.add_argument("--json", action="store_true", help="print nothing but one JSON document, at the end")
    add_config(parser)
    options.common(parser)
    given = parser.parse_args(before)
    params = start_params(given, command)
    if not given.detach:
        return run_here(data_directory(given), params, given.color, as_json=given.json)
    with helper(given) as client:
        loop = client.request("ralph/start", params)
    if given.json:
        print_json(loop)
        return 0
    screen = standard(given.color)
    screen.line(f"Started {loop['runId']} in {words.one_line(loop['workspace'])}.")
    screen.line("Watch it: ralph-loop logs -f · how it stands: ralph-loop status")
    return 0


def run_here(data: Path, params: Json, color: str, *, as_json: bool = False) -> int:
    """Starts a loop that belongs to this terminal, and follows it."""
    with connected(data) as client, Interrupts() as interrupts, Path(os.devnull).open("w") as nowhere:
        loop = client.request("ralph/start", params)
        screen = Screen(nowhere) if as_json else standard(color)
        introduce(screen, loop)
        screen.say("Ctrl+C cancels it. Closing this terminal leaves it running.", "dim")
        transcript: Transcript = Silent() if as_json else Readable(screen, loop)
        try:
            loop = Follower(client, data, loop, screen, transcript, interrupts).until_over()
        except BrokenPipeError:
            sys.stderr.write("ralph-loop: nobody reads this any more; the loop goes on (ralph-loop logs -f)\n")
            raise
        return finish(client, screen, loop, as_json=as_json)


def introduce(screen: Screen, loop: Json) -> None:
    limit = f"up to {loop['maxIterations']} iterations" if loop["maxIterations"] else "without a limit of iterations"
    screen.line(screen.paint(f"Ralph loop in {words.one_line(loop['workspace'])}", "bold"))
    screen.say(f"{words.agent(loop)} · {limit} · {loop['runId']}", "dim")


def finish(client: Client, screen: Screen, loop: Json, *, as_json: bool) -> int:
    """The history of a loop that is over, and how it ended."""
    found = records(client, {"runId": loop["runId"]})
    if as_json:
        print_json({**loop, "iterations": found})
        return verdict.exit_code(loop)
    from ralph_loop.terminal import tables

    screen.line()
    tables.history(screen, found)
    spoken = verdict.last_words(found[-1].get("message")) if found and found[-1]["status"] == "completed" else []
    if spoken:
        screen.line()
        screen.line("\n".join(screen.paint(f"  {words.fit(line, screen.width - 2)}", "dim") for line in spoken))
    screen.line()
    verdict.tell(screen, loop)
    return verdict.exit_code(loop)


def preview(arguments: Sequence[str]) -> int:
    before, command = split_command(arguments)
    parser = Parser("preview", "Print the exact first prompt that run would give to the agent. Nothing starts.")
    add_prompt(parser)
    options.place(parser)
    options.json_output(parser)
    add_config(parser)
    options.common(parser)
    given = parser.parse_args(before)
    params = start_params(given, command)
    with helper(given) as client:
        answer = client.request("ralph/preview", params)
    print_prompt(answer, given)
    return 0


def resume(arguments: Sequence[str]) -> int:
    parser = Parser("resume", "Go on with a loop that is paused, waiting or interrupted.")
    options.loop(parser)
    parser.add_argument("--follow", action="store_true", help="and follow it (Ctrl+C ends the following only)")
    options.json_output(parser)
    parser.add_argument("--max-iterations", metavar="N", type=number(0), help="from now on; 0: no limit")
    parser.add_argument("--max-duration", metavar="TIME", type=options.time_limit, help="from now on")
    parser.add_argument("--agent", metavar="NAME", type=text, help="from now on")
    parser.add_argument("--model", metavar="NAME", type=text, help="from now on")
    options.common(parser)
    given = parser.parse_args(arguments)
    if given.json and given.follow:
        raise usage("--json prints one document at once; it does not go with --follow")
    config: Json = {
        "maxIterations": given.max_iterations,
        "maxDurationMs": given.max_duration,
        "agent": given.agent,
        "model": given.model,
    }
    with helper(given) as client:
        loop = asking.find(client, given)
        last = asking.last_seq(client, loop["runId"])
        shown = loop["iteration"]
        patch = {key: value for key, value in config.items() if value is not None}
        loop = client.request("ralph/resume", {"runId": loop["runId"], "config": patch})
        if given.json:
            print_json(loop)
            return 0
        screen = standard(given.color)
        if not given.follow:
            screen.line(f"The loop goes on ({words.agent(loop)}, after iteration {loop['iteration']}).")
            return 0
        introduce(screen, loop)
        transcript = Readable(screen, loop, after=shown, seq=last)
        loop = Follower(client, data_directory(given), loop, screen, transcript).until_over()
        return finish(client, screen, loop, as_json=False)
