"""Between JSON values and the attrs classes of `protocol.py`: strict in, complete out.

Strict by the contract: no coercion (``"false"`` is no boolean, ``1.7`` and ``true`` are no integers, null is no
value of an optional key), unknown keys ignored except in configuration, every problem names its key.
Own code instead of cattrs: cattrs coerces scalars and its unions take null, and both would have to be undone per type.
"""

from __future__ import annotations

import functools
import math
import types
import typing
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, TypeVar, Union, cast

import attrs

from ralph_loop.errors import InvalidParamsError
from ralph_loop.protocol import LoopConfigPatch, ResumeConfig
from ralph_loop.store.database import timestamp

T = TypeVar("T")

# Unknown keys here are a mistake that would change what a loop does, so they are refused.
CLOSED: frozenset[type] = frozenset({LoopConfigPatch, ResumeConfig})
_MAX_INTEGER = 2**53 - 1  # what every JSON client can represent, and what fits into SQLite
_MAX_DEPTH = 100


@functools.cache
def camel(name: str) -> str:
    """`run_id` → `runId`; a trailing underscore (`from_`) is dropped."""
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in rest)


@functools.cache
def _fields(cls: type) -> tuple[tuple[attrs.Attribute[Any], str, Any], ...]:
    hints = typing.get_type_hints(cls)
    return tuple((a, camel(a.name), hints[a.name]) for a in attrs.fields(cls))


def structure(value: object, cls: type[T], key: str = "params") -> T:
    """A JSON value as an instance of `cls`. Raises InvalidParamsError naming the key."""
    return cast(T, _structure(value, cls, key))


def _structure(value: Any, hint: Any, key: str) -> Any:
    origin = typing.get_origin(hint)
    if hint is Any:
        return _plain(value, key, 0)
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        return _structure(value, inner, key)
    if origin is Literal:
        allowed = typing.get_args(hint)
        if type(value) is not str or value not in allowed:
            raise InvalidParamsError(key, f"expected one of {', '.join(map(str, allowed))}, got {_shown(value)}")
        return value
    if origin is list:
        if type(value) is not list:
            raise _wrong(key, "a list", value)
        (item,) = typing.get_args(hint)
        return [_structure(v, item, f"{key}[{i}]") for i, v in enumerate(cast(list[Any], value))]
    if origin is dict:
        if type(value) is not dict:
            raise _wrong(key, "an object", value)
        _, item = typing.get_args(hint)
        mapping = cast(dict[str, Any], value)
        return {_text(k, key): _structure(v, item, f"{key}.{k}") for k, v in mapping.items()}
    if attrs.has(hint):
        return _structure_class(value, hint, key)
    return _scalar(value, hint, key)


def _scalar(value: Any, hint: Any, key: str) -> Any:
    if hint is str:
        if type(value) is not str:
            raise _wrong(key, "a string", value)
        return _text(value, key)
    if hint is bool:
        if type(value) is not bool:
            raise _wrong(key, "true or false", value)
        return value
    if hint is int:
        if type(value) is not int:
            raise _wrong(key, "an integer", value)
        if abs(value) > _MAX_INTEGER:
            raise InvalidParamsError(key, f"{value} is out of range")
        return value
    if hint is float:
        if type(value) not in (int, float):
            raise _wrong(key, "a number", value)
        return value
    raise TypeError(f"no rule for {hint!r}")


def _structure_class(value: Any, cls: type, key: str) -> Any:
    if type(value) is not dict:
        raise _wrong(key, "an object", value)
    given = cast(dict[str, Any], value)
    prefix = "" if key == "params" else f"{key}."
    arguments: dict[str, Any] = {}
    for attribute, name, hint in _fields(cls):
        if name in given:
            arguments[attribute.alias or attribute.name] = _structure(given[name], hint, prefix + name)
        elif attribute.default is attrs.NOTHING:
            raise InvalidParamsError(prefix + name, "is missing")
    if cls in CLOSED:
        known = {name for _, name, _ in _fields(cls)}
        for name in given:
            if name not in known:
                raise InvalidParamsError(prefix + name, f"is not a known key; known are {', '.join(sorted(known))}")
    try:
        return cls(**arguments)
    except ValueError as error:
        raise _out_of_range(error, cls, prefix, given) from None


def _out_of_range(error: ValueError, cls: type, prefix: str, given: dict[str, Any]) -> InvalidParamsError:
    """attrs validators name the Python attribute; say the wire's name and the value instead."""
    text = str(error)
    for attribute, name, _ in _fields(cls):
        if attribute.name in text.split("(")[0].replace("'", " ").split() and name in given:
            problem = text.split("must", 1)[-1].strip() if "must" in text else text
            return InvalidParamsError(prefix + name, f"must {problem}" if "must" in text else problem)
    return InvalidParamsError(prefix.rstrip(".") or "params", text)


def _plain(value: Any, key: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise InvalidParamsError(key, "is nested too deeply")
    if isinstance(value, str):
        return _text(value, key)
    if isinstance(value, float) and not math.isfinite(value):  # 1e400: it could be stored, but never sent
        raise InvalidParamsError(key, "is a number beyond what can be stored")
    if isinstance(value, list):
        return [_plain(v, key, depth + 1) for v in cast(list[Any], value)]
    if isinstance(value, dict):
        return {_text(k, key): _plain(v, key, depth + 1) for k, v in cast(dict[str, Any], value).items()}
    return value


def _text(value: str, key: str) -> str:
    # A lone surrogate is valid JSON but no text: it could neither be stored nor sent on.
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidParamsError(key, "contains half of a surrogate pair, which is no text") from None
    return value


def _wrong(key: str, expected: str, value: object) -> InvalidParamsError:
    return InvalidParamsError(key, f"expected {expected}, got {_shown(value)}")


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def unstructure(value: Any) -> Any:
    """An attrs instance (or a list, dict or scalar) as JSON values; optional fields that are None are left out."""
    cls: type = value.__class__
    if attrs.has(cls):
        return dict(_items(value, cls))
    if isinstance(value, list | tuple):
        return [unstructure(item) for item in cast(Iterable[Any], value)]
    if isinstance(value, dict):
        return {key: unstructure(item) for key, item in cast(dict[str, Any], value).items()}
    if isinstance(value, datetime):
        return timestamp(value)
    return value


def _items(value: Any, cls: type) -> Iterable[tuple[str, Any]]:
    for attribute, name, hint in _fields(cls):
        item = getattr(value, attribute.name)
        if item is None and type(None) in typing.get_args(hint):
            continue
        yield name, unstructure(item)
