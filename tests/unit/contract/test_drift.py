"""`extension/src/protocol.ts` mirrors `protocol.py`: names of methods, codes, shapes, and which keys are optional."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import attrs
import pytest

from ralph_loop import protocol
from ralph_loop.wire import camel

TEXT = (Path(__file__).parents[3] / "extension" / "src" / "protocol.ts").read_text()
INTERFACES = {
    name: (base, body)
    for name, base, body in re.findall(r"export interface (\w+)(?: extends (\w+))? \{\n(.*?)\n\}", TEXT, re.DOTALL)
}


def strings(constant: str) -> list[str]:
    found = re.search(rf"export const {constant} = \[(.*?)\] as const;", TEXT, re.DOTALL)
    assert found is not None
    return re.findall(r'"([^"]+)"', found[1])


def mirrored(name: str) -> dict[str, bool]:
    """The keys of an interface, and whether each is optional."""
    base, body = INTERFACES[name]
    own = {key: bool(mark) for key, mark in re.findall(r"^  (\w+)(\??):", body, re.MULTILINE)}
    return {**(mirrored(base) if base else {}), **own}


def ours(cls: type) -> dict[str, bool]:
    hints = typing.get_type_hints(cls)
    return {camel(a.name): type(None) in typing.get_args(hints[a.name]) for a in attrs.fields(cls)}


def test_methods_and_notifications() -> None:
    assert sorted(strings("METHODS")) == sorted(protocol.REQUESTS)
    assert sorted(strings("NOTIFICATIONS")) == sorted(protocol.NOTIFICATIONS)


def test_codes_and_version() -> None:
    codes = re.search(r"export const ERRORS = \{(.*?)\} as const;", TEXT, re.DOTALL)
    assert codes is not None
    assert {kind: int(code) for kind, code in re.findall(r"(\w+): (\d+)", codes[1])} == protocol.CODES
    assert f"export const PROTOCOL_VERSION = {protocol.PROTOCOL_VERSION};" in TEXT


@pytest.mark.parametrize("name", sorted(name for name in INTERFACES if attrs.has(getattr(protocol, name, object))))
def test_shape(name: str) -> None:
    wanted = ours(getattr(protocol, name))
    found = mirrored(name)
    if name == "LoopConfig":  # lists with a default are written without one by clients
        found["agentArgs"] = False
    assert found == wanted


def test_the_shapes_of_the_contract_are_mirrored() -> None:
    shapes = "Snapshot IterationRecord Change Operation Chunk Repo Session Message Permission Question LoopConfig"
    assert set(shapes.split()) <= set(INTERFACES)
