"""The page of an exported session that people read first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from ralph_loop.terminal import words
from ralph_loop.terminal.options import Json
from ralph_loop.terminal.transcript import ending
from ralph_loop.terminal.words import count, one_line

_SPEAKERS = {"user": "You", "agent": "Agent", "system": "Ralph Loop"}


@attrs.frozen
class Told:
    """A loop that was written: its folder, snapshot, records, and what is missing of it."""

    place: Path
    loop: Json
    records: Sequence[Json]
    notes: Sequence[str]


def page(session: Json, messages: Sequence[Json], loops: Sequence[Told]) -> str:
    """Markdown."""
    return "\n".join([*_head(session), *_files(), *_loops(loops), *_messages(messages)]) + "\n"


def _head(session: Json) -> Iterable[str]:
    yield f"# {_inline(session['title'])}"
    yield ""
    yield f"Session `{session['sessionId']}` in {_code(session['workspace'])}, {session['status']}."
    yield f"Begun {session['createdAt']}, last changed {session['updatedAt']}."
    yield ""


def _files() -> Iterable[str]:
    yield "- `session.json`, `messages.json`: the session and what was said in it"
    yield "- `loops/…/snapshot.json`, `history.json`, `context.json`: the loop, its iterations, the hints it was given"
    yield "- `loops/…/prompts/`, `output/`, `changes/`: by iteration, the prompt, what was printed, and the patch"
    yield ""


def _loops(loops: Sequence[Told]) -> Iterable[str]:
    for told in loops:
        loop = told.loop
        yield f"## {told.place.name}"
        yield ""
        state = loop.get("stopReason", loop["status"])
        yield (
            f"{_inline(words.agent(loop))}: {state} after {count(loop['iteration'], 'iteration')}, "
            f"{words.duration(loop['elapsedMs'])}; {words.changed(loop['filesChanged'])}."
        )
        if "error" in loop:
            yield f"{_inline(loop['error']['message'])}"
        yield ""
        if told.records:
            yield "| # | began | took | ending | files | prompt |"
            yield "|---|---|---|---|---|---|"
            for record in told.records:
                number = record["iteration"]
                yield (
                    f"| {number} | {record['startedAt']} | {words.duration(record['durationMs'])} "
                    f"| {ending(record)[1]} | {record['filesTotal']} "
                    f"| [prompt]({told.place.as_posix()}/prompts/{number:04}.txt) |"
                )
            yield ""
        for note in told.notes:
            yield f"- {_inline(note)}"
        if told.notes:
            yield ""


def _messages(messages: Sequence[Json]) -> Iterable[str]:
    yield "## Messages"
    yield ""
    for message in messages:
        where = f", iteration {message['iteration']}" if "iteration" in message else ""
        yield f"**{_SPEAKERS[message['role']]}** ({_inline(message['kind'])}{where}, {message['at']})"
        yield ""
        longest = max((len(run) for run in re.findall(r"`+", message["text"])), default=0)
        fence = "`" * max(3, longest + 1)
        yield f"{fence}text"
        yield message["text"]
        yield fence
        yield ""


def _inline(text: str) -> str:
    """Anybody's text inside a line of Markdown."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", one_line(text))


def _code(text: str) -> str:
    text = one_line(text)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    space = " " if longest else ""
    return f"{fence}{space}{text}{space}{fence}"
