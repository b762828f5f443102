"""The commands about what is kept: `repos`, `sessions`, `tasks`, `config`, `search`; and about
what there is: `agents`, `presets`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from ralph_loop.terminal import options, words
from ralph_loop.terminal.asking import helper, print_json
from ralph_loop.terminal.options import Json, Parser, number, usage
from ralph_loop.terminal.screen import Screen, standard
from ralph_loop.terminal.words import one_line


def _parse(parser: Parser, arguments: Sequence[str]) -> argparse.Namespace:
    options.json_output(parser)
    options.common(parser)
    return parser.parse_args(arguments)


def _one(given: argparse.Namespace, what: str) -> str:
    if len(given.value) != 1:
        raise usage(f"{given.what} needs {what}")
    return given.value[0]


def _table(given: argparse.Namespace, headers: Sequence[str], rows: Sequence[Sequence[Any]], nothing: str) -> None:
    from ralph_loop.terminal import tables

    screen = standard(given.color)
    if rows:
        tables.rows(screen, headers, rows)
    else:
        screen.say(nothing)


def _ask(given: argparse.Namespace, method: str, params: Json) -> Any:
    with helper(given) as client:
        answer = client.request(method, params)
    if given.json:
        print_json(answer)
    return answer


def repos(arguments: Sequence[str]) -> int:
    parser = Parser("repos", "List the repositories that are known, add one, forget one, or look for some.")
    parser.add_argument("what", nargs="?", choices=("list", "add", "clone", "remove", "scan"), default="list")
    parser.add_argument(
        "value", nargs="*", type=options.text, help="add PATH · clone URL DIRECTORY · remove ID · scan FOLDER …"
    )
    given = _parse(parser, arguments)
    if given.what == "scan":
        folders = [str(options.folder(name)) for name in given.value or ["."]]
        found = _ask(given, "ralph/repos/scan", {"paths": folders})
        if not given.json:
            rows = [(r["name"], "known" if r["registered"] else "", r["path"]) for r in found["repos"]]
            _table(given, ("Name", "", "Path"), rows, "No repository was found.")
        return 0
    if given.what == "list":
        found = _ask(given, "ralph/repos/list", {})
        if not given.json:
            rows = [
                (
                    r["repoId"],
                    r["name"],
                    r.get("branch", ""),
                    "missing" if r["missing"] else "trusted" if r["trusted"] else "",
                    r["path"],
                )
                for r in found["repos"]
            ]
            _table(given, ("Id", "Name", "Branch", "", "Path"), rows, "No repository is known yet.")
        return 0
    if given.what == "clone":
        if len(given.value) != 2:
            raise usage("clone needs a URL and the directory to clone into")
        params = {"url": given.value[0], "directory": str(options.folder(given.value[1]))}
    elif given.what == "add":
        params = {"path": str(options.folder(_one(given, "a path")))}
    else:
        params = {"repoId": _one(given, "an id (ralph-loop repos lists them)")}
    answer = _ask(given, "ralph/repos/remove" if given.what == "remove" else "ralph/repos/add", params)
    if not given.json:
        done = "Forgotten; its files stay." if given.what == "remove" else f"{one_line(answer['path'])} is known now."
        standard(given.color).line(done)
    return 0


def sessions(arguments: Sequence[str]) -> int:
    parser = Parser("sessions", "List the sessions, show one, rename or delete one.")
    parser.add_argument("what", nargs="?", choices=("list", "show", "rename", "delete"), default="list")
    parser.add_argument("value", nargs="*", type=options.text, help="show ID · rename ID TITLE · delete ID")
    parser.add_argument("--limit", metavar="N", type=number(1), default=20, help="list at most so many (20)")
    options.place(parser)
    given = _parse(parser, arguments)
    if given.what == "list":
        params: Json = {"limit": given.limit, **({"workspace": options.workspace(given)} if given.repo else {})}
        found = _ask(given, "ralph/sessions/list", params)
        if not given.json:
            rows = [(s["sessionId"], s["status"], words.moment(s["updatedAt"]), s["title"]) for s in found["sessions"]]
            _table(given, ("Id", "Status", "Updated", "Title"), rows, "There is no session yet.")
        return 0
    if given.what == "show":
        found = _ask(given, "ralph/sessions/get", {"sessionId": _one(given, "an id")})
        if not given.json:
            screen = standard(given.color)
            screen.line(screen.paint(one_line(found["title"]), "bold"))
            for message in found["messages"]:
                screen.rule(f"{message['role']} · {message['kind']}", words.moment(message["at"]))
                screen.agent("message", message["text"])
                screen.end_agent()
        return 0
    if given.what == "rename":
        if len(given.value) < 2:
            raise usage("rename needs an id and a title")
        params = {"sessionId": given.value[0], "title": " ".join(given.value[1:])}
    else:
        params = {"sessionId": _one(given, "an id")}
    _ask(given, f"ralph/sessions/{given.what}", params)
    if not given.json:
        standard(given.color).line("Renamed." if given.what == "rename" else "Deleted.")
    return 0


def tasks(arguments: Sequence[str]) -> int:
    parser = Parser("tasks", "List the tasks of .ralph/ralph-tasks.md, add one, or remove one by its number.")
    parser.add_argument("what", nargs="?", choices=("list", "add", "remove"), default="list")
    parser.add_argument("value", nargs="*", type=options.text, help="add TEXT · remove NUMBER")
    options.place(parser)
    given = _parse(parser, arguments)
    params: Json = {"workspace": options.workspace(given)}
    if given.what == "add":
        if not given.value:
            raise usage("add needs the text of the task")
        params["text"] = options.words(given.value, "The task")
    elif given.what == "remove":
        index = _one(given, "the number of a task")
        if not (index.isascii() and index.isdigit()):
            raise usage(f"{index!r} is not the number of a task")
        params["index"] = int(index)
    found = _ask(given, f"ralph/tasks/{given.what}", params)
    if given.json:
        return 0
    screen = standard(given.color)
    marks = {"todo": "[ ]", "doing": "[/]", "done": "[x]"}
    for task in found["tasks"]:
        screen.line(f"{task['index']:>3}  {marks[task['status']]} {one_line(task['text'])}")
        for subtask in task["subtasks"]:
            screen.line(f"       {marks[subtask['status']]} {one_line(subtask['text'])}")
    if not found["tasks"]:
        screen.line("There are no tasks.")
    return 0


def config(arguments: Sequence[str]) -> int:
    parser = Parser("config", "List the configuration, get, set or delete a key, or explain where a value comes from.")
    parser.add_argument("what", nargs="?", choices=("list", "get", "set", "delete", "explain"), default="list")
    parser.add_argument(
        "value", nargs="*", type=options.text, help="get KEY · set KEY VALUE · delete KEY · explain [KEY]"
    )
    options.place(parser)
    given = _parse(parser, arguments)
    if given.what == "list":
        params: Json = {}
    elif given.what == "explain":
        params = {"workspace": options.workspace(given), **({"key": _one(given, "one key")} if given.value else {})}
    elif given.what == "set":
        if len(given.value) != 2:
            raise usage("set needs a key and a value")
        params = {"key": given.value[0], "value": _value(given.value[1])}
    else:
        params = {"key": _one(given, "a key")}
    found = _ask(given, f"ralph/config/{given.what}", params)
    if given.json:
        return 0
    if given.what == "list":
        _keys(standard(given.color), found["values"])
    elif given.what == "explain":
        rows = [(v["key"], json.dumps(v["value"], ensure_ascii=False), v["source"]) for v in found["values"]]
        _table(given, ("Key", "Value", "From"), rows, "There is no such key.")
    elif given.what == "get":
        value = found["value"]
        standard(given.color).line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    else:
        standard(given.color).line("Set." if given.what == "set" else "Deleted.")
    return 0


def _keys(screen: Screen, values: Json) -> None:
    """Every key there is: the user's value, else the default; what it may hold, and what it is for."""
    from ralph_loop.agents.registry import ADAPTERS
    from ralph_loop.engine.keys import known_keys

    known = known_keys(ADAPTERS)
    for name, key in known.items():
        if name.startswith("binary.") and name not in values:
            continue  # one for each agent
        default = "none" if key.default in (None, "") else _shown(key.default)
        if name not in values:
            _key(screen, name, default, "the default", f"{key.allowed} · {key.description}")
            continue
        value = "(set)" if "password" in name else _shown(values[name])
        _key(screen, name, value, f"yours; the default: {default}", f"{key.allowed} · {key.description}")
    _key(screen, "binary.AGENT", "none", "the default", "path · the executable of an agent; see ralph-loop agents")
    for name in sorted(values.keys() - known.keys()):
        _key(screen, name, _shown(values[name]), "yours", "a key of your own")


def _key(screen: Screen, name: str, value: str, source: str, about: str) -> None:
    screen.line(f"{screen.paint(name, 'bold')} = {value}  {screen.paint(f'({source})', 'dim')}")
    screen.say(about, indent="    ")


def _shown(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _value(text: str) -> Any:
    """`true`, `5`, `["a"]` as JSON; everything else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def search(arguments: Sequence[str]) -> int:
    parser = Parser("search", "Search prompts, messages, errors and output.")
    parser.add_argument("text", nargs="+", type=options.text)
    parser.add_argument("--limit", metavar="N", type=number(1), default=50, help="at most so many hits (50)")
    options.place(parser)
    given = _parse(parser, arguments)
    params: Json = {"text": " ".join(given.text), "limit": given.limit}
    if given.repo:
        params["workspace"] = options.workspace(given)
    found = _ask(given, "ralph/search", params)
    if not given.json:
        rows = [
            (words.moment(h["at"]), h.get("runId", h["sessionId"]), h["where"], h["excerpt"]) for h in found["hits"]
        ]
        _table(given, ("When", "Loop", "Where", "Text"), rows, "Nothing was found.")
    return 0


def agents(arguments: Sequence[str]) -> int:
    given = _parse(Parser("agents", "List the agents: which are installed, and how to get the others."), arguments)
    found = _ask(given, "ralph/config/backends", {})
    if not given.json:
        rows = [
            (
                b["id"],
                b["name"],
                b.get("version", "installed") if b["installed"] else "-",
                f"{b['path']}{words.also(b.get('alsoAs'))}" if "path" in b else b["installHint"],
            )
            for b in found["backends"]
        ]
        _table(given, ("Id", "Name", "Version", "Where, or how to get it"), rows, "There are no agents.")
    return 0


def presets(arguments: Sequence[str]) -> int:
    parser = Parser("presets", "List the presets for --preset: ours, yours and the repository's.")
    options.place(parser)
    given = _parse(parser, arguments)
    found = _ask(given, "ralph/config/presets", {"workspace": options.workspace(given)})
    if not given.json:
        rows = [(p["id"], p["title"], p["source"], p["description"]) for p in found["presets"]]
        _table(given, ("Id", "Title", "From", "What it is for"), rows, "There are no presets.")
    return 0
