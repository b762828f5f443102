"""Whether a message of the helper is what PROTOCOL.md says: every key without `?` there, no null, no wrong type."""

from __future__ import annotations

import re
import types
import typing
from datetime import datetime
from typing import Any, Literal, Union, cast

import attrs

from ralph_loop import protocol

# PROTOCOL.md: "Times are RFC 3339 in UTC with milliseconds"
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_TIME_NAMES = {"at", "started_at", "ended_at", "waiting_until", "created_at", "updated_at", "added_at", "asked_at"}
_IDS = {"run_id": "run_", "last_run_id": "run_", "session_id": "ses_"}
_MAY_BE_NULL = {"ralph/status"}


class ContractError(AssertionError):
    """The helper sent something that PROTOCOL.md does not allow."""


def check_result(method: str, result: Any) -> None:
    if result is None and method in _MAY_BE_NULL:
        return
    _, shape = protocol.REQUESTS[method]
    check(result, shape, method)


def check_notification(method: str, params: Any) -> None:
    if method in protocol.NOTIFICATIONS:
        check(params, protocol.NOTIFICATIONS[method], method)


def check_error(error: Any) -> None:
    """A JSON-RPC error object; with a code of ours, `data` holds its kind and keys."""
    if type(error) is not dict:
        raise ContractError(f"an error is an object, not {error!r}")
    given = cast(dict[str, Any], error)
    if type(given.get("code")) is not int or type(given.get("message")) is not str or not given["message"]:
        raise ContractError(f"an error has a code and a message: {given!r}")
    if given["code"] in protocol.ERRORS:
        kind, keys = protocol.ERRORS[given["code"]]
        data = given.get("data")
        if type(data) is not dict or cast(dict[str, Any], data).get("kind") != kind:
            raise ContractError(f"error {given['code']} has data of kind {kind}: {given!r}")
        for key in keys:
            if key not in data or data[key] is None:
                raise ContractError(f"error {kind} lacks {key}: {given!r}")
        since: Any = cast(dict[str, Any], data).get("since")
        if kind == "repoBusy" and data["runId"] and not _TIME.fullmatch(since):
            raise ContractError(f"since is no time of the contract: {given!r}")
    elif given["code"] >= 0:
        raise ContractError(f"no such error code in the contract: {given!r}")


def check(value: Any, hint: Any, where: str) -> None:
    origin = typing.get_origin(hint)
    if hint is Any:
        return
    if origin in (Union, types.UnionType):
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        check(value, inner, where)
    elif origin is Literal:
        _expect(type(value) is str and value in typing.get_args(hint), where, hint, value)
    elif origin is list:
        _expect(type(value) is list, where, "a list", value)
        (item,) = typing.get_args(hint)
        for number, each in enumerate(cast(list[Any], value)):
            check(each, item, f"{where}[{number}]")
    elif origin is dict:
        _expect(type(value) is dict, where, "an object", value)
        for key, each in cast(dict[str, Any], value).items():
            check(each, typing.get_args(hint)[1], f"{where}.{key}")
    elif attrs.has(hint):
        _check_object(value, hint, where)
    else:
        wanted = (int, float) if hint is float else (hint,)
        _expect(type(value) in wanted, where, hint, value)


def _check_object(value: Any, shape: type, where: str) -> None:
    _expect(type(value) is dict, where, "an object", value)
    given = dict(cast(dict[str, Any], value))
    hints = typing.get_type_hints(shape)
    for attribute in attrs.fields(shape):
        name = _camel(attribute.name)
        optional = type(None) in typing.get_args(hints[attribute.name])
        if name not in given:
            _expect(optional, f"{where}.{name}", "this key", None)
            continue
        item = given.pop(name)
        check(item, hints[attribute.name], f"{where}.{name}")
        _check_meaning(attribute.name, item, f"{where}.{name}")
    _expect(not given, where, "no other keys", sorted(given))
    if shape is protocol.Chunk:
        _expect(len(value["text"].encode()) <= protocol.MAX_CHUNK_BYTES, where, "at most 64 KiB", len(value["text"]))


def _check_meaning(name: str, value: Any, where: str) -> None:
    if name in _TIME_NAMES:
        _expect(bool(_TIME.fullmatch(value)), where, "RFC 3339 in UTC with milliseconds", value)
        datetime.fromisoformat(value)
    if name.endswith("_ms") or name in ("revision", "seq", "added", "removed", "iteration", "files_total"):
        _expect(value >= 0, where, "no negative number", value)
    if name in _IDS:
        _expect(value.startswith(_IDS[name]), where, f"an id {_IDS[name]}…", value)


def _camel(name: str) -> str:
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in rest)


def _expect(holds: bool, where: str, wanted: object, value: object) -> None:
    if not holds:
        raise ContractError(f"{where}: expected {wanted}, got {str(value)[:200]!r}")
