"""Tables, drawn with rich. Imported only when one is drawn."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ralph_loop.terminal import words
from ralph_loop.terminal.options import Json
from ralph_loop.terminal.screen import Screen
from ralph_loop.terminal.transcript import COLOURS, ending

FILES_SHOWN = 4
_FILES_WIDTH, _PROMPT_WIDTH = 28, 16  # what they need at least, before other columns are left out
_LAST_WIDTH = 16  # of the last column of a plain table, likewise
_STATUS_COLOURS = {"running": "cyan", "completed": "green", "error": "red", "cancelled": "yellow", "interrupted": "red"}
_LETTERS = {"create": "A", "modify": "M", "delete": "D", "rename": "R", "typeChange": "T"}  # as git shows them
_FILE_COLOURS = {"create": "green", "delete": "red"}
_RIGHT = ("#", "Time", "Iteration", "Cost")


def history(screen: Screen, records: Sequence[Json], *, files_shown: int = FILES_SHOWN) -> None:
    """A row for each iteration, with its files and their lines."""
    if not records:
        screen.line("There was no iteration.")
        return
    rows = [_history_row(record, files_shown) for record in records]
    empty = [name for name in ("Tools", "Tokens", "Cost") if not any(row[name].plain for row in rows)]
    same = [] if len({row["Agent"].plain for row in rows}) > 1 else ["Agent"]
    _draw(screen, rows, [*empty, "Tools", *same, "Tokens", "Began", "Agent", "Cost"], len(empty), "Files", _FILES_WIDTH)


def _history_row(record: Json, files_shown: int) -> dict[str, Text]:
    sign, text = ending(record)
    return {
        "#": Text(str(record["iteration"])),
        "Began": Text(words.moment(record["startedAt"])),
        "Time": Text(words.duration(record["durationMs"])),
        "Agent": _plain(words.fit(words.agent(record), 24)),
        "Ending": Text(f"{sign} {text}", COLOURS[sign]),
        "Tools": _plain(", ".join(f"{name} {times}" for name, times in record["tools"].items())),
        "Files": _files(record, files_shown),
        "Tokens": Text(words.tokens(record["tokens"]) if record.get("tokens") else ""),
        "Cost": Text(words.cost(record["costUsd"]) if record.get("costUsd") is not None else ""),
    }


def _files(record: Json, most: int) -> Text:
    """`M +9 -0 src/roman.py`, a line each."""
    if not record["filesTotal"]:
        unknown = "?" if record["status"] == "interrupted" else "no changes"
        return Text(words.one_line(record.get("tracking", unknown)), "dim")
    found = Text(overflow="fold")
    for file in record["files"][:most]:
        lines = "binary" if file["binary"] else f"+{file['added']:,} -{file['removed']:,}"
        name = words.one_line(file["path"])
        if file["kind"] == "rename":
            name = f"{words.one_line(file['oldPath'])} → {name}"
        found.append(f"{_LETTERS[file['kind']]} {lines} ", _FILE_COLOURS.get(file["kind"])).append(f"{name}\n")
    left = record["filesTotal"] - min(most, len(record["files"]))
    if left:
        found.append(f"and {words.count(left, 'more file')}", "dim")
    found.rstrip()
    return found


def loops(screen: Screen, found: Sequence[Json]) -> None:
    if not found:
        screen.say('There is no loop yet. Start one with ralph-loop run "…".')
        return
    drop = ["Folder", "Files", "Started", "Agent", "Time", "Iteration", "Prompt"]
    _draw(screen, [_loop_row(loop) for loop in found], drop, 0, "Prompt", _PROMPT_WIDTH, folds=False)


def _loop_row(loop: Json) -> dict[str, Text]:
    ended = loop["status"] in ("completed", "cancelled", "error")
    status = loop.get("stopReason", "") if ended else loop["status"].replace("_", " ")
    return {
        "Loop": Text(loop["runId"]),
        "Status": Text(status, _STATUS_COLOURS.get(loop["status"], "yellow")),
        "Iteration": Text(words.of_limit(loop)),
        "Agent": _plain(words.fit(words.agent(loop), 24)),
        "Time": Text(words.duration(loop["elapsedMs"])),
        "Started": Text(words.moment(loop["startedAt"])),
        "Files": Text(str(loop["filesChanged"])),
        "Folder": Text(_tail(words.one_line(loop["workspace"]), 30)),
        "Prompt": _plain(loop["prompt"][:500]),
    }


def _tail(path: str, width: int) -> str:
    """The end of a path says more than its beginning."""
    return path if words.cells(path) <= width else "…" + words.fit(path[::-1], width - 1).rstrip("…")[::-1]


def rows(screen: Screen, headers: Sequence[str], found: Iterable[Sequence[Any]]) -> None:
    """A plain table of text; where the terminal is too narrow for it, each row as a few lines."""
    cells = [[_plain(str(cell)) for cell in row] for row in found]
    widths = [max(map(_width, column), default=0) for column in zip(*cells, strict=True)]
    if sum(widths[:-1]) + 3 * (len(headers) - 1) + min(widths[-1], _LAST_WIDTH) > screen.columns:
        for first, *others in cells:
            screen.say(first.plain, "bold")
            for header, cell in zip(headers[1:], others, strict=True):
                screen.say(f"{header}: {cell.plain}", indent="    ")
        return
    table = _table(headers)
    for row in cells:
        table.add_row(*row)
    _print(screen, table)


def _draw(
    screen: Screen,
    rows: Sequence[dict[str, Text]],
    drop: Sequence[str],
    always: int,
    elastic: str,
    least: int,
    *,
    folds: bool = True,
) -> None:
    """Draws the columns that fit: the first `always` names of `drop` are left out anyway, the others one by one until
    the rest has room. The column `elastic` gets what is left, at least `least`; its text folds, or is cut."""
    widths = {name: max(len(name), *(_width(row[name]) for row in rows)) for name in rows[0]}
    wanted = {**widths, elastic: min(widths[elastic], least)}
    for number, name in enumerate(drop):
        if number >= always and sum(wanted.values()) + 3 * (len(wanted) - 1) <= screen.columns:
            break
        wanted.pop(name, None)
    table = _table(list(wanted), whole={name for name in wanted if name != elastic or not folds})
    room = screen.columns - sum(width + 3 for name, width in wanted.items() if name != elastic)
    for row in rows:
        if not folds and elastic in wanted:
            row[elastic] = Text(words.fit(row[elastic].plain, max(room, least)))
        table.add_row(*(row[name] for name in wanted))
    _print(screen, table)


def _width(cell: Text) -> int:
    return max((words.cells(line) for line in cell.plain.split("\n")), default=0)


def _table(headers: Sequence[str], *, whole: Collection[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, justify="right" if header in _RIGHT else "left", no_wrap=header in whole)
    return table


def _plain(text: str) -> Text:
    return Text(words.one_line(text[:2000]), overflow="fold")


def _print(screen: Screen, table: Table) -> None:
    output = io.StringIO()
    console = Console(
        file=output,
        width=screen.columns,
        color_system="standard" if screen.colour else None,
        force_terminal=screen.colour,
        legacy_windows=False,
        highlight=False,
        emoji=False,
        markup=False,
    )
    console.print(table)
    screen.line("\n".join(line.rstrip() for line in output.getvalue().rstrip("\n").split("\n")))
