"""Which agent and model an iteration runs with: the rotation's entries in turn, or always the same."""

from __future__ import annotations

from collections.abc import Sequence

from ralph_loop.protocol import LoopConfig


class RotationError(ValueError):
    """An entry of the rotation that cannot be used, in words for a person."""


def parse_rotation(rotation: Sequence[str]) -> list[tuple[str, str]]:
    """(agent, model) of each ``agent:model`` entry; models may contain ``:`` and ``/``. Raises RotationError."""
    if not rotation:
        raise RotationError("The rotation is empty. Give at least one agent:model entry, or leave it out.")
    return [_parse(entry) for entry in rotation]


def entry_for(config: LoopConfig, position: int) -> tuple[str, str | None]:
    """(agent, model) at a position of the rotation, which wraps around. Raises RotationError."""
    if not config.rotation:
        return config.agent, config.model
    return _parse(config.rotation[position % len(config.rotation)])


def entries(config: LoopConfig) -> list[tuple[str, str]]:
    """(key in the start request, agent) of every agent the loop will use. Raises RotationError."""
    if not config.rotation:
        return [("config.agent", config.agent)]
    return [(f"config.rotation[{index}]", _parse(entry)[0]) for index, entry in enumerate(config.rotation)]


def _parse(entry: str) -> tuple[str, str]:
    agent, colon, model = entry.partition(":")
    if not colon:
        raise RotationError(f"Invalid rotation entry '{entry}'. Expected format: agent:model")
    if not agent.strip() or not model.strip():
        raise RotationError(f"Invalid rotation entry '{entry}'. Both agent and model are required.")
    return agent.strip(), model.strip()
