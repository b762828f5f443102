"""`logs`: what the agents of a loop printed."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ralph_loop.shared.client import Client
from ralph_loop.terminal import asking, helperlog, options, verdict
from ralph_loop.terminal.asking import data_directory, helper, print_json
from ralph_loop.terminal.follow import Follower
from ralph_loop.terminal.options import Json, Parser, Problem, number, usage
from ralph_loop.terminal.screen import Screen, standard
from ralph_loop.terminal.transcript import Raw, Readable, Transcript

DESCRIPTION = """Print what the agents of a loop printed, with a heading for each iteration.

With -f the exit code is the loop's: 0 completed, 1 failed or aborted, 2 a limit was reached, 130 cancelled.
Ctrl+C ends the following; the loop goes on."""


def logs(arguments: Sequence[str]) -> int:
    parser = Parser("logs", DESCRIPTION)
    options.loop(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the loop has ended")
    parser.add_argument("-n", "--last", metavar="N", type=number(1), help="only the last N iterations")
    parser.add_argument("--iteration", metavar="N", type=number(1), help="only this iteration")
    parser.add_argument("--raw", action="store_true", help="the exact bytes as they were printed")
    parser.add_argument("--helper", action="store_true", help="the log of the helper instead; -f goes on with it")
    parser.add_argument("--lines", metavar="N", type=number(1), help="with --helper: only the last N lines (200)")
    parser.add_argument("--stream", choices=("stdout", "stderr"), help="with --raw: only this one")
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    _check(given)
    if given.helper:
        return helperlog.show(data_directory(given), lines=given.lines or helperlog.LINES, follow=given.follow)
    with helper(given) as client:
        loop = asking.find(client, given)
        if given.json:
            print_json(_document(client, loop, given))
            return 0
        screen = standard(given.color)
        transcript = _transcript(client, loop, given, screen)
        if given.follow:
            loop = Follower(client, data_directory(given), loop, screen, transcript).until_over()
            if not given.raw:
                screen.line()
                verdict.tell(screen, loop)
            return verdict.exit_code(loop)
        for record in asking.records(client, {"runId": loop["runId"]}):
            transcript.note(record)
        while transcript.advance(client):
            pass
        if not given.raw:
            screen.end_agent()
    return 0


def _check(given: argparse.Namespace) -> None:
    if given.helper and (given.run or given.last or given.iteration or given.raw or given.json):
        raise usage("--helper goes with --follow and --lines only")
    if given.lines and not given.helper:
        raise usage("--lines goes with --helper; for the last iterations of a loop there is --last")
    if given.stream and not given.raw:
        raise usage("--stream goes with --raw")
    if given.iteration and (given.follow or given.last):
        raise usage("--iteration shows one iteration; it goes neither with --follow nor with --last")
    if given.json and (given.follow or given.raw):
        raise usage("--json prints one document; it goes neither with --follow nor with --raw")


def _transcript(client: Client, loop: Json, given: argparse.Namespace, screen: Screen) -> Transcript:
    if given.iteration and given.iteration > loop["iteration"]:
        raise Problem(f"There is no iteration {given.iteration}; the last one is {loop['iteration']}.")
    after = max(0, loop["iteration"] - given.last) if given.last else 0
    seq = _seq_before(client, loop, after) if after else 0
    if given.raw:
        streams = (given.stream,) if given.stream else ("stdout", "stderr")
        return Raw(loop["runId"], streams, iteration=given.iteration, seq=seq)
    return Readable(screen, loop, after=after, seq=seq, iteration=given.iteration)


def _seq_before(client: Client, loop: Json, iteration: int) -> int:
    """The number of the last chunk before the first one of the iterations after `iteration`."""
    for number_ in range(iteration + 1, loop["iteration"] + 1):
        page = {"runId": loop["runId"], "iteration": number_, "limit": 1}
        for chunk in client.request("ralph/output", page)["chunks"]:
            return chunk["seq"] - 1
    return asking.last_seq(client, loop["runId"])


def _document(client: Client, loop: Json, given: argparse.Namespace) -> Json:
    request: Json = {"runId": loop["runId"]}
    if given.iteration:
        request["iteration"] = given.iteration
    after = max(0, loop["iteration"] - given.last) if given.last else 0
    seq = _seq_before(client, loop, after) if after else 0
    chunks: list[Json] = []
    while True:
        page = client.request("ralph/output", {**request, "after": seq})
        chunks += page["chunks"]
        if not page["more"]:
            return {"runId": loop["runId"], "chunks": chunks}
        seq = chunks[-1]["seq"]
