"""What is said beside an agent's output: how the loop stands, what changed, what a person is asked."""

from __future__ import annotations

from ralph_loop.terminal import words
from ralph_loop.terminal.options import Json
from ralph_loop.terminal.screen import Screen
from ralph_loop.terminal.words import count, one_line

_VALUE_LENGTH = 2000
_DIFF_LINES = 40


def summary(loop: Json) -> str:
    """How a loop stands, in a few words."""
    parts = [f"iteration {words.of_limit(loop)}" if loop["iteration"] else "starting", words.agent(loop)]
    if loop["status"] != "running":
        parts.insert(0, loop["status"].replace("_", " "))
    elif loop["pauseRequested"]:
        parts.append("pauses after this iteration")
    elif loop.get("phase") == "delay":
        parts.append("next one in a moment")
    if loop["filesChanged"]:
        parts.append(count(loop["filesChanged"], "file"))
    if open_ := waiting(loop):
        parts.append(f"{open_} waiting")
    if loop["struggle"]["detected"]:
        parts.append("struggling")
    return " · ".join(parts)


_COUNTERS = (
    ("pendingContext", "hint"),
    ("pendingPermissions", "permission"),
    ("pendingQuestions", "question"),
    ("stagedOperations", "staged change"),
)


def waiting(loop: Json) -> str:
    """What waits for the next iteration, or for a person."""
    return ", ".join(count(loop[key], noun) for key, noun in _COUNTERS if loop[key])


def changes(screen: Screen, before: Json, now: Json) -> None:
    """A line for each change of a loop that people want to see."""
    run = now["runId"]
    if now["struggle"]["detected"] and not before["struggle"]["detected"]:
        screen.say("⚠ The loop struggles:", "yellow")
        for reason in now["struggle"]["reasons"]:
            screen.line(f"    {words.fit(one_line(reason), screen.width - 4)}")
    if now["pauseRequested"] and not before["pauseRequested"] and now["status"] == "running":
        screen.say(f"Pauses after iteration {now['iteration']}.", "yellow")
    if now["status"] != before["status"]:
        match now["status"]:
            case "paused":
                screen.say(f"Paused{_because(now)}", "yellow")
                screen.say(f"Go on with: ralph-loop resume --run {run}", indent="  ")
            case "waiting":
                until = f" until {words.clock(now['waitingUntil'])}" if "waitingUntil" in now else ""
                why = f": {one_line(now['error']['message'])}" if "error" in now else ""
                screen.say(f"Waits for a rate limit{until}{why}", "yellow")
            case "awaiting_approval":
                screen.say(f"Waits for approval of {count(now['stagedOperations'], 'change')}.", "yellow")
                screen.say(f"Look at them, then approve: ralph-loop plan diff --run {run}", indent="  ")
            case "running":
                screen.say("Goes on.", "cyan")
            case _:
                pass


def _because(paused: Json) -> str:
    """The end of the sentence, and what to do."""
    if "error" in paused:
        return ": " + " ".join(one_line(paused["error"][key]) for key in ("message", "hint") if key in paused["error"])
    return ", because it got nowhere." if paused.get("stopReason") == "struggle" else "."


def permission(screen: Screen, asked: Json) -> None:
    tool, title = one_line(asked["tool"]), one_line(asked["title"])
    # most titles begin with the tool's name
    screen.say(f"? The agent wants to use {title if title.startswith(f'{tool}: ') else f'{tool}: {title}'}", "yellow")
    for key, value in asked["arguments"].items():
        screen.say(f"{one_line(key)}: {_whole(str(value))}", indent="    ")
    for line in asked.get("diff", "").splitlines()[:_DIFF_LINES]:
        screen.line(f"    {words.fit(one_line(line), screen.columns - 4)}")
    screen.say(f"Answer with: ralph-loop answer --id {asked['requestId']} {'|'.join(asked['options'])}", indent="  ")


def _whole(value: str) -> str:
    """What is to be allowed must be seen: it is not cut, or it says so."""
    left = len(value) - _VALUE_LENGTH
    return one_line(value[:_VALUE_LENGTH]) + (f" … and {count(left, 'more character')}" if left > 0 else "")


def question(screen: Screen, asked: Json) -> None:
    screen.say(f"? The agent asks: {one_line(asked['text'])}", "yellow")
    for option in asked["options"]:
        screen.say(f"- {one_line(option)}", indent="    ")
    screen.say(f'Answer with: ralph-loop answer --id {asked["questionId"]} "…"', indent="  ")
