"""How the layers of configuration become one (rule 9), and what must fit together in the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from ralph_loop.engine.completion import check_promises
from ralph_loop.engine.rotation import RotationError, parse_rotation
from ralph_loop.errors import InvalidParamsError
from ralph_loop.protocol import LoopConfig, LoopConfigPatch, ResumeConfig
from ralph_loop.wire import camel

# What a repository may say before its folder is trusted (rule 8): promises and limits.
UNTRUSTED_KEYS = frozenset(
    {
        "completionPromise",
        "abortPromise",
        "taskPromise",
        "minIterations",
        "maxIterations",
        "maxFailures",
        "iterationTimeoutMs",
        "inactivityTimeoutMs",
        "maxDurationMs",
        "iterationDelayMs",
    }
)


def given(patch: LoopConfigPatch | ResumeConfig) -> dict[str, Any]:
    """The attributes somebody set."""
    values = attrs.asdict(patch, recurse=False)
    return {name: value for name, value in values.items() if value is not None}


def fitting(layers: Sequence[LoopConfigPatch]) -> list[LoopConfigPatch]:
    """The layers, strongest first, without what belongs to another agent than a stronger layer names: the model that
    a weaker layer gives to its own agent, and a rotation that does not hold the agent."""
    agent: str | None = None
    found: list[LoopConfigPatch] = []
    for layer in layers:
        fit = layer
        if agent is not None:
            if layer.agent not in (None, agent):
                fit = attrs.evolve(fit, model=None)
            if layer.rotation is not None and all(entry.partition(":")[0] != agent for entry in layer.rotation):
                fit = attrs.evolve(fit, rotation=None)
        found.append(fit)
        agent = agent or layer.agent
    return found


def merge(*layers: LoopConfigPatch) -> LoopConfig:
    """The layers, strongest first, over the defaults. Raises InvalidParamsError when the result does not fit."""
    values: dict[str, Any] = {}
    for layer in reversed(fitting(layers)):
        values.update(given(layer))
    config = LoopConfig(**values)
    check(config)
    return config


def amend(config: LoopConfig, patch: ResumeConfig) -> LoopConfig:
    """The configuration with what a resume changes. Raises InvalidParamsError."""
    values = given(patch)
    if ("agent" in values or "model" in values) and config.rotation:
        raise InvalidParamsError(
            "config.agent" if "agent" in values else "config.model",
            "this loop rotates its agents; cancel and start anew",
        )
    if "agent" in values and "model" not in values and values["agent"] != config.agent:
        values["model"] = None  # another agent's model name means nothing here
    amended = attrs.evolve(config, **values)
    check(amended)
    return amended


def check(config: LoopConfig) -> None:
    """Raises InvalidParamsError naming the key that does not fit the others."""
    if config.max_iterations and config.min_iterations > config.max_iterations:
        raise _problem(
            "min_iterations",
            f"minIterations ({config.min_iterations}) cannot be greater than maxIterations ({config.max_iterations})",
        )
    problem = check_promises(
        config.completion_promise,
        task=config.task_promise if config.tasks_mode else None,
        abort=config.abort_promise,
    )
    if problem is not None:
        raise _problem("completion_promise", problem)
    if config.rotation is not None:
        try:
            parse_rotation(config.rotation)
        except RotationError as error:
            raise _problem("rotation", str(error)) from None
    if config.agent == "custom" and not config.command and not config.rotation:
        raise _problem("command", "is needed for the agent custom: the program and its arguments, as a list")


def _problem(name: str, text: str) -> InvalidParamsError:
    return InvalidParamsError(f"config.{camel(name)}", text)
