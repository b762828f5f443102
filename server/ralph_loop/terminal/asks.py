"""What agents ask a person: `permissions` lists it, `answer` answers it; `plan` is about staged changes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ralph_loop.shared.client import Client
from ralph_loop.terminal import asking, notes, options
from ralph_loop.terminal.asking import helper, print_json
from ralph_loop.terminal.options import Json, Parser, Problem, usage
from ralph_loop.terminal.screen import Screen, standard
from ralph_loop.terminal.words import count, one_line

_REPLIES = ("once", "always", "reject")


def permissions(arguments: Sequence[str]) -> int:
    parser = Parser(
        "permissions", "List the permissions and questions that wait for an answer, in all loops or in one."
    )
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        found = _open(client, given)
    if given.json:
        print_json(found)
        return 0
    screen = standard(given.color)
    for permission in found["requests"]:
        notes.permission(screen, permission)
    for question in found["questions"]:
        notes.question(screen, question)
    if not found["requests"] and not found["questions"]:
        screen.line("Nothing waits for an answer.")
    return 0


def answer(arguments: Sequence[str]) -> int:
    parser = Parser("answer", "Answer a permission (once, always or reject) or a question (any text).")
    parser.add_argument("text", nargs="+", type=options.text, help="the answer; - reads it from standard input")
    parser.add_argument(
        "--id", type=options.text, help="which one, when several wait (ralph-loop permissions lists them)"
    )
    parser.add_argument("--message", type=options.text, help="with reject: what the agent should do instead")
    options.loop(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    text = options.words(given.text, "The answer")
    with helper(given) as client:
        found = _open(client, given)
        asked = _asked(found, given.id)
        if "questionId" in asked:
            client.request("ralph/question/answer", {"questionId": asked["questionId"], "answer": text})
        else:
            if text not in _REPLIES:
                raise usage(f"{text!r} is not an answer to a permission; give {', '.join(_REPLIES)}")
            message: Json = {"message": given.message} if given.message else {}
            client.request("ralph/permission/reply", {"requestId": asked["requestId"], "reply": text, **message})
    standard(given.color).line("Answered.")
    return 0


def _open(client: Client, given: argparse.Namespace) -> Json:
    """All that is open; of one loop when one is named."""
    scope: Json = asking.target(given) if given.run or given.repo else {}
    permissions = client.request("ralph/permission/list", scope)["requests"]
    return {"requests": permissions, "questions": client.request("ralph/question/list", scope)["questions"]}


def _asked(found: Json, id_: str | None) -> Json:
    every: list[Json] = [*found["requests"], *found["questions"]]
    chosen = [one for one in every if id_ is None or id_ in (one.get("requestId"), one.get("questionId"))]
    if len(chosen) == 1:
        return chosen[0]
    if id_ is not None:
        raise Problem(f"Nothing with the id {id_} waits for an answer.", "See ralph-loop permissions.")
    if not every:
        raise Problem("Nothing waits for an answer.")
    raise usage(f"{len(every)} of them wait for an answer", "Say which with --id; ralph-loop permissions lists them.")


def plan(arguments: Sequence[str]) -> int:
    parser = Parser("plan", "Show, approve or reject the changes that wait for approval (plan mode).")
    parser.add_argument("what", choices=("show", "diff", "approve", "reject"), nargs="?", default="show")
    parser.add_argument(
        "which", nargs="*", metavar="ID or FILE", type=options.text, help="only these changes (default: all)"
    )
    parser.add_argument("--feedback", metavar="TEXT", type=options.text, help="with reject: what to do instead")
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    if given.feedback and given.what != "reject":
        raise usage("--feedback goes with reject")
    with helper(given) as client:
        loop = asking.find(client, given)
        staged: list[Json] = client.request("ralph/plan/staged", {"runId": loop["runId"]})["operations"]
        chosen = [_operation(staged, which) for which in given.which] or staged
        if given.what in ("approve", "reject"):
            return _decide(client, given, loop, chosen)
        patches: list[Json] = []
        if given.what == "diff" and chosen:
            from ralph_loop.terminal import diffs

            number = chosen[0]["iteration"]
            files = [operation["path"] for operation in chosen] if given.which else []
            patches = diffs.patches(client, loop, (number, number), files)
    if given.json:
        print_json(patches if given.what == "diff" else {"operations": chosen})
    elif not chosen:
        standard(given.color).line("No change waits for approval.")
    elif given.what == "diff":
        from ralph_loop.terminal import diffs

        diffs.show(standard(given.color), patches)
    else:
        _list(standard(given.color), chosen)
    return 0


def _operation(staged: Sequence[Json], which: str) -> Json:
    """The staged change that is meant, by its id or its file."""
    for operation in staged:
        if which in (operation["operationId"], operation["path"], operation.get("oldPath")):
            return operation
    raise Problem(f"No staged change has the id or the file {one_line(which)!r}.", "All of them: ralph-loop plan show")


def _decide(client: Client, given: argparse.Namespace, loop: Json, chosen: Sequence[Json]) -> int:
    params: Json = {"runId": loop["runId"]}
    params |= {"operationIds": [operation["operationId"] for operation in chosen]} if given.which else {}
    params |= {"feedback": given.feedback} if given.feedback else {}
    found = client.request(f"ralph/plan/{given.what}", params)
    if given.json:
        print_json(found)
        return 0
    left = len(found["operations"])
    done = "Approved and applied" if given.what == "approve" else "Rejected"
    standard(given.color).line(f"{done}. {count(left, 'change')} left." if left else f"{done}.")
    return 0


def _list(screen: Screen, operations: Sequence[Json]) -> None:
    from ralph_loop.terminal import tables

    rows = ((o["operationId"], o["kind"], f"+{o['added']} -{o['removed']}", _name(o)) for o in operations)
    tables.rows(screen, ("Id", "Change", "Lines", "File"), rows)
    screen.say("See each line: ralph-loop plan diff [FILE …]")
    screen.say("Then ralph-loop plan approve [FILE …], or ralph-loop plan reject [FILE …] --feedback …")


def _name(operation: Json) -> str:
    old = operation.get("oldPath")
    return f"{old} → {operation['path']}" if old is not None else operation["path"]
