"""How a loop ended: in words, and as an exit code."""

from __future__ import annotations

from ralph_loop.terminal import words
from ralph_loop.terminal.options import Json
from ralph_loop.terminal.screen import Screen
from ralph_loop.terminal.words import count, one_line

COMPLETED, FAILED, LIMIT, CANCELLED = 0, 1, 2, 130
_LAST_LINES = 3


def exit_code(loop: Json) -> int:
    """0 completed, 1 failed, aborted or interrupted, 2 a limit was reached, 130 cancelled."""
    if loop["status"] == "cancelled":
        return CANCELLED
    reason = loop.get("stopReason")
    if reason in ("maxIterations", "maxDuration"):
        return LIMIT
    return COMPLETED if reason == "completed" else FAILED


def tell(screen: Screen, loop: Json) -> None:
    """How it ended, why, and what it came to."""
    sign, colour, ending, why = _ending(loop)
    after = f"after {count(loop['iteration'], 'iteration')}, {words.duration(loop['elapsedMs'])}"
    screen.say(f"{sign} {ending} {after}", "bold", colour)
    for text in (*why, *_problem(loop)):
        screen.say(text, indent="  ")
    screen.say(facts(loop), "dim", indent="  ")


def _ending(loop: Json) -> tuple[str, str, str, tuple[str, ...]]:
    """(sign, colour, what happened, why and what to do)"""
    match loop["status"], loop.get("stopReason"):
        case "completed", "completed":
            return "✓", "green", "Completed", ("The agent promised that the work is done.",)
        case "completed", "maxIterations":
            return "‖", "yellow", "Stopped", ("The limit of iterations was reached without the promise.",)
        case "completed", "maxDuration":
            return "‖", "yellow", "Stopped", ("The time limit was reached without the promise.",)
        case "completed", _:
            return "✗", "red", "Aborted", ("The agent gave the abort promise: it cannot go on.",)
        case "cancelled", _:
            return "✗", "yellow", "Cancelled", ("Nothing of it runs any more.",)
        case "interrupted", _:
            again = f"Go on with: ralph-loop resume --follow --run {loop['runId']}"
            return "✗", "red", "Interrupted", ("The helper ended unexpectedly. Nothing stored is lost.", again)
        case _, "agentFailed":
            return "✗", "red", "The agent failed", ()
        case _:
            return "✗", "red", "Failed", ()


def _problem(loop: Json) -> list[str]:
    if loop["status"] != "error" or "error" not in loop:
        return []
    return [one_line(loop["error"][key]) for key in ("message", "hint") if loop["error"].get(key)]


def facts(loop: Json) -> str:
    parts = [words.changed(loop["filesChanged"])]
    if "tokens" in loop:
        parts.append(f"{words.tokens(loop['tokens'])} tokens")
    if "costUsd" in loop:
        parts.append(words.cost(loop["costUsd"]))
    return " · ".join(parts)


def last_words(message: str | None) -> list[str]:
    """The end of an agent's final message, without the promise."""
    lines = [one_line(line) for line in (message or "").splitlines()]
    return [line for line in lines if line and not line.lower().startswith("<promise>")][-_LAST_LINES:]
