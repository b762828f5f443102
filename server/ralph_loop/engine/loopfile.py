"""Loop files: Markdown with YAML front matter, ``*.loop.md`` or ``PROMPT.md``. The body is the prompt.

Keys are those of `LoopConfig`, and `title`. Values are read as YAML 1.2 and JSON agree: only ``true`` and ``false``
are booleans, integers are decimal; ``yes``, ``on``, ``1:30`` and ``010`` are text, refused where text does not fit.
Anchors, aliases and tags are refused.
"""

from __future__ import annotations

import difflib
import re
from typing import Any, cast

import attrs
import yaml

from ralph_loop.engine.rotation import RotationError, parse_rotation
from ralph_loop.errors import InvalidParamsError
from ralph_loop.protocol import LoopConfigPatch
from ralph_loop.wire import camel, structure

_MAX_FRONT_MATTER = 64 * 1024  # characters
_MAX_DEPTH = 8
_FRONT_MATTER = re.compile(
    r"---[ \t]*(\r\n|\n|\r)(.*?)(?:^|(?<=\r))---[ \t]*(?:\r\n|\n|\r|\Z)", re.DOTALL | re.MULTILINE
)
_BLANK_LINES = re.compile(r"(?:[ \t]*(?:\r\n|\n|\r))+")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
KEYS = ("title", *(camel(attribute.name) for attribute in attrs.fields(LoopConfigPatch)))


class LoopFileError(Exception):
    """What is wrong with a file, and where; `line` and `column` count from 1."""

    def __init__(self, line: int, column: int, message: str) -> None:
        super().__init__(f"line {line}, column {column}: {message}")
        self.line, self.column, self.message = line, column, message


@attrs.frozen
class Entry:
    """A key of the front matter: where it stands, its value, and where that and its items stand."""

    position: tuple[int, int]
    value: object
    value_position: tuple[int, int]
    item_positions: tuple[tuple[int, int], ...] = ()


@attrs.frozen
class LoopFile:
    """`config` holds the keys of `LoopConfig` that the file sets, `positions` where the value of each stands."""

    title: str | None
    config: dict[str, object]
    prompt: str
    positions: dict[str, tuple[int, int]]


def parse(text: str) -> LoopFile:
    """A loop file; text without front matter is just a prompt. Raises LoopFileError for the first problem."""
    found, body = front_matter(text)
    problems = _problems(found)
    if problems:
        raise problems[0]
    title = found.pop("title", None)
    return LoopFile(
        title=cast(str, title.value) if title else None,
        config={key: entry.value for key, entry in found.items()},
        prompt=body,
        positions={key: entry.value_position for key, entry in found.items()},
    )


def check(text: str) -> list[LoopFileError]:
    """Every problem of a loop file that can be found, in the order of the text."""
    try:
        return _problems(front_matter(text)[0])
    except LoopFileError as error:
        return [error]


def front_matter(text: str) -> tuple[dict[str, Entry], str]:
    """The entries of the front matter and the text below it, without blank lines around. Raises LoopFileError."""
    text = text.removeprefix("\ufeff")
    found: dict[str, Entry] = {}
    if text.startswith("---") and re.match(r"---[ \t]*(?:\r|\n|\Z)", text):
        match = _FRONT_MATTER.match(text)
        if match is None:
            raise LoopFileError(1, 1, "the front matter that begins here has no end: a line with --- is missing")
        found = _entries(match[2])
        text = text[match.end() :]
    blank = _BLANK_LINES.match(text)
    return found, text[blank.end() if blank else 0 :].rstrip()


def _problems(found: dict[str, Entry]) -> list[LoopFileError]:
    problems = [problem for key, entry in found.items() if (problem := _problem(key, entry))]
    if not problems and "minIterations" in found and "maxIterations" in found:
        entry, limit = found["minIterations"], cast(int, found["maxIterations"].value)
        if 0 < limit < cast(int, entry.value):
            message = f"minIterations ({entry.value}) cannot be greater than maxIterations ({limit})"
            problems.append(LoopFileError(*entry.value_position, message))
    return problems


def _problem(key: str, entry: Entry) -> LoopFileError | None:
    if key not in KEYS:
        return LoopFileError(*entry.position, f"{key!r} is not a known key; {_advice(key)}")
    if entry.value is None:
        return LoopFileError(*entry.value_position, f"{key} has no value")
    if key == "title":
        if isinstance(entry.value, str) and entry.value.strip():
            return None
        return LoopFileError(*entry.value_position, f"title: expected text, got {entry.value!r}")
    try:
        structure({key: entry.value}, LoopConfigPatch, "config")
    except InvalidParamsError as error:
        where = entry.value_position
        if item := re.match(r"config\.\w+\[(\d+)\]", error.key):
            where = entry.item_positions[int(item[1])]
        quotes = "; put text into quotes" if "expected a string" in error.message else ""
        return LoopFileError(*where, error.message.removeprefix("config.") + quotes)
    if key == "rotation":
        return _rotation_problem(entry)
    return None


def _rotation_problem(entry: Entry) -> LoopFileError | None:
    positions = entry.item_positions or (entry.value_position,)
    for position, item in zip(positions, cast(list[str], entry.value) or [None], strict=True):
        try:
            parse_rotation([] if item is None else [item])
        except RotationError as error:
            return LoopFileError(*position, str(error))
    return None


def _advice(key: str) -> str:
    plain = {re.sub(r"[-_]", "", known).lower(): known for known in KEYS}
    close = difflib.get_close_matches(re.sub(r"[-_ ]", "", key).lower(), plain, n=1, cutoff=0.75)
    return f"did you mean {plain[close[0]]}?" if close else f"known are {', '.join(KEYS)}"


# ---------------------------------------------------------------------------------------------------------------- YAML
class _Loader(yaml.SafeLoader):
    """Composes nodes; refuses what could make a small text a huge or a surprising value."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = cast(yaml.NodeEvent, cast(Any, self).peek_event())
        if event.anchor is not None:
            raise _at(event.start_mark, "anchors and aliases (& and *) cannot be used here; put text into quotes")
        if getattr(event, "tag", None) is not None:
            raise _at(event.start_mark, "tags (!) cannot be used here; put text into quotes")
        if self.depth > _MAX_DEPTH:
            raise _at(event.start_mark, "this is nested too deeply")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _entries(source: str) -> dict[str, Entry]:
    if len(source) > _MAX_FRONT_MATTER:
        raise LoopFileError(1, 1, f"this is longer than {_MAX_FRONT_MATTER // 1024} KiB")
    try:
        root: yaml.Node | None = cast(Any, yaml).compose(source, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        assert mark is not None
        raise _at(mark, f"this is not YAML: {error.problem or error.context}") from None
    except yaml.reader.ReaderError as error:
        before = source[: error.position].replace("\r\n", "\n").replace("\r", "\n").split("\n")
        problem = f"the character U+{ord(source[error.position]):04X} cannot stand here"
        raise LoopFileError(len(before) + 1, len(before[-1]) + 1, problem) from None
    if root is None:
        return {}
    if not isinstance(root, yaml.MappingNode):
        raise _at(root.start_mark, "this must be lines of the form key: value")
    found: dict[str, Entry] = {}
    for key, value in cast(list[tuple[yaml.Node, yaml.Node]], root.value):
        name = _key(key, found)
        items = cast(list[yaml.Node], value.value) if isinstance(value, yaml.SequenceNode) else []
        found[name] = Entry(
            _position(key.start_mark),
            _value(value),
            _position(value.start_mark),
            tuple(_position(item.start_mark) for item in items),
        )
    return found


def _value(node: yaml.Node) -> Any:
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in cast(list[yaml.Node], node.value)]
    if isinstance(node, yaml.MappingNode):
        inner: dict[str, Any] = {}
        for key, value in cast(list[tuple[yaml.Node, yaml.Node]], node.value):
            inner[_key(key, inner)] = _value(value)
        return inner
    assert isinstance(node, yaml.ScalarNode)
    text = cast(str, node.value)
    if node.style is not None:  # quoted, or a block of text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) < 100:
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _key(node: yaml.Node, found: dict[str, Any]) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise _at(node.start_mark, "a key must be a word")
    name = cast(str, node.value)
    if name in found:
        raise _at(node.start_mark, f"{name} is given twice")
    return name


def _position(mark: yaml.Mark) -> tuple[int, int]:
    """Line and column in the file: the front matter begins on its second line."""
    return mark.line + 2, mark.column + 1


def _at(mark: yaml.Mark, message: str) -> LoopFileError:
    return LoopFileError(*_position(mark), message)
