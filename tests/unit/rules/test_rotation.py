"""Rotation entries: what they may look like, and whose turn it is."""

import pytest

from ralph_loop.engine.rotation import RotationError, entries, entry_for, parse_rotation
from ralph_loop.protocol import LoopConfig


def test_models_may_hold_colons_and_slashes() -> None:
    rotation = ["opencode:anthropic/claude-sonnet-4", " ollama : qwen3:32b ", "claude:opus[1m]"]
    assert parse_rotation(rotation) == [
        ("opencode", "anthropic/claude-sonnet-4"),
        ("ollama", "qwen3:32b"),
        ("claude", "opus[1m]"),
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("opencode:", "Invalid rotation entry 'opencode:'. Both agent and model are required."),
        (":model", "Invalid rotation entry ':model'. Both agent and model are required."),
        (" : ", "Invalid rotation entry ' : '. Both agent and model are required."),
        ("opencode", "Invalid rotation entry 'opencode'. Expected format: agent:model"),
        ("", "Invalid rotation entry ''. Expected format: agent:model"),
    ],
)
def test_bad_entries_are_refused_with_the_reason(entry: str, message: str) -> None:
    with pytest.raises(RotationError) as raised:
        parse_rotation(["claude:opus", entry])
    assert str(raised.value) == message


def test_an_empty_rotation_is_refused() -> None:
    with pytest.raises(RotationError, match="empty"):
        parse_rotation([])


def test_entries_take_turns() -> None:
    config = LoopConfig(agent="unused", rotation=["opencode:claude-sonnet-4", "claude:claude-sonnet-4"])
    assert [entry_for(config, position)[0] for position in range(3)] == ["opencode", "claude", "opencode"]
    assert entry_for(config, 7) == ("claude", "claude-sonnet-4")
    assert entries(config) == [("config.rotation[0]", "opencode"), ("config.rotation[1]", "claude")]


def test_without_a_rotation_it_is_always_the_same() -> None:
    config = LoopConfig(agent="claude", model="opus")
    assert entry_for(config, 5) == ("claude", "opus")
    assert entry_for(LoopConfig(agent="claude"), 0) == ("claude", None)
    assert entries(config) == [("config.agent", "claude")]
