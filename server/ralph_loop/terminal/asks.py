"""What agents ask a person: `permissions` lists it, `answer` answers it; `plan` is about staged changes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from ralph_loop.shared.client import Client
from ralph_loop.terminal import asking, notes, options
from ralph_loop.terminal.asking import helper, print_json
from ralph_loop.terminal.options import Json, Parser, Problem, usage
from ralph_loop.terminal.screen import standard
from ralph_loop.terminal.words import count

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
    parser.add_argument("what", choices=("show", "approve", "reject"), nargs="?", default="show")
    parser.add_argument("ids", nargs="*", metavar="ID", type=options.text, help="only these changes (default: all)")
    parser.add_argument("--feedback", metavar="TEXT", type=options.text, help="with reject: what to do instead")
    options.loop(parser)
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    if given.feedback and given.what != "reject":
        raise usage("--feedback goes with reject")
    with helper(given) as client:
        loop = asking.find(client, given)
        params: Json = {"runId": loop["runId"]}
        if given.what != "show":
            params |= {"operationIds": given.ids} if given.ids else {}
            params |= {"feedback": given.feedback} if given.feedback else {}
        method = {"show": "staged", "approve": "approve", "reject": "reject"}[given.what]
        found = client.request(f"ralph/plan/{method}", params)
    if given.json:
        print_json(found)
        return 0
    screen = standard(given.color)
    if given.what != "show":
        left = len(found["operations"])
        done = "Approved and applied" if given.what == "approve" else "Rejected"
        screen.line(f"{done}. {count(left, 'change')} left." if left else f"{done}.")
        return 0
    if not found["operations"]:
        screen.line("No change waits for approval.")
        return 0
    from ralph_loop.terminal import tables

    tables.rows(
        screen,
        ("Id", "Change", "Lines", "File"),
        ((o["operationId"], o["kind"], f"+{o['added']} -{o['removed']}", o["path"]) for o in found["operations"]),
    )
    screen.line("Approve with: ralph-loop plan approve [ID …] · or: ralph-loop plan reject --feedback …")
    return 0
