"""The configuration keys there are: what each may hold, its default and what it is for. One place for the terminal's
list, for validation, and for the order of rule 9."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from ralph_loop.engine.rotation import RotationError, parse_rotation
from ralph_loop.errors import InvalidParamsError
from ralph_loop.protocol import LoopConfig, LoopConfigPatch
from ralph_loop.wire import camel, structure

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")

# below INFO the log may hold prompts and output
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

_LOOP = {
    "agent": "the agent that loops run with, when a start names none",
    "model": "the agent's model",
    "rotation": "agent:model entries, one per iteration, in turn",
    "preset": "working instructions: built in, your own, or the repository's",
    "template": "a file with a prompt template",
    "minIterations": "a promise before this many iterations does not end the loop",
    "maxIterations": "the loop stops after this many iterations (0: no limit)",
    "maxFailures": "the loop stops after this many failed iterations in a row",
    "completionPromise": "what the agent promises when all is done",
    "abortPromise": "what the agent prints when it cannot be done",
    "tasksMode": "work through .ralph/ralph-tasks.md, task by task",
    "taskPromise": "what the agent promises when one task is done",
    "planMode": "changes wait for approval before they reach your files",
    "allowAll": "the agent may do everything without asking",
    "autoCommit": "commit what each iteration changed",
    "iterationTimeoutMs": "an iteration is ended after this many milliseconds",
    "inactivityTimeoutMs": "an iteration is ended when nothing is printed for this many milliseconds",
    "maxDurationMs": "the loop stops after this many milliseconds",
    "pauseOnStruggle": "pause when the loop gets nowhere",
    "iterationDelayMs": "milliseconds between two iterations",
    "agentArgs": "more arguments for the agent's command",
    "command": "the command of the agent custom, as a list",
}


@attrs.frozen
class Key:
    """A known key. `check` raises InvalidParamsError for a value it may not have."""

    name: str
    type: str
    default: Any
    description: str
    check: Callable[[Any], None]

    @property
    def allowed(self) -> str:
        """Type and range, for a person."""
        for least in (0, 1) if self.type == "integer" else ():
            try:
                self.check(least)
            except InvalidParamsError:
                continue
            return f"integer from {least} on"
        return self.type


def _loop_key(attribute: attrs.Attribute[Any], default: Any, agents: Mapping[str, object]) -> Key:
    name = camel(attribute.name)

    def check(value: Any) -> None:
        try:
            structure({name: value}, LoopConfigPatch, "config")
            named = [agent for agent, _ in parse_rotation(value)] if name == "rotation" else []
        except InvalidParamsError as error:
            raise InvalidParamsError("value", error.message.partition(": ")[2] or error.message) from None
        except RotationError as error:
            raise InvalidParamsError("value", str(error)) from None
        for agent in [value] if name == "agent" else named:
            if agent not in agents:
                raise InvalidParamsError("value", f"{agent!r} is not an agent; known are {', '.join(agents)}")

    kind = str(attribute.type).replace(" | None", "").replace("list[str]", "list of strings")
    kind = {"str": "string", "int": "integer", "bool": "true or false"}.get(kind, kind)
    return Key(name, kind, default, _LOOP[name], check)


def _typed(name: str, kind: type, default: Any, description: str, least: int | None = None) -> Key:
    def check(value: Any) -> None:
        structure(value, kind, "value")
        if least is not None and value < least:
            raise InvalidParamsError("value", f"must be at least {least}, got {value}")
        if kind is str and not value.strip():
            raise InvalidParamsError("value", "must not be blank")

    return Key(name, {str: "string", int: "integer", bool: "true or false"}[kind], default, description, check)


def _choice(name: str, options: tuple[str, ...], default: str, description: str) -> Key:
    def check(value: Any) -> None:
        if value not in options:
            raise InvalidParamsError("value", f"must be one of {', '.join(options)}, got {value!r}")

    return Key(name, " / ".join(options), default, description, check)


def _patterns(name: str, description: str) -> Key:
    def check(value: Any) -> None:
        for index, pattern in enumerate(structure(value, list[str], "value")):
            if not pattern.strip() or pattern.startswith("/") or ".." in pattern.split("/") or "\0" in pattern:
                raise InvalidParamsError(f"value[{index}]", "must be a pattern of paths below the repository's folder")

    return Key(name, "list of strings", None, description, check)


def _absolute(name: str, description: str) -> Key:
    def check(value: Any) -> None:
        path: str = structure(value, str, "value")
        if (not path.startswith(("/", "~/")) and "/" in path) or not path.strip():
            raise InvalidParamsError("value", "must be an absolute path, or the name of a program on the PATH")

    return Key(name, "path", None, description, check)


def known_keys(agents: Mapping[str, object]) -> dict[str, Key]:
    """Every known key by name, in the order in which they are shown."""
    defaults = LoopConfig()
    keys = [
        _loop_key(attribute, getattr(defaults, attribute.name) or None if attribute.name == "agent" else value, agents)
        for attribute, value in (
            (attribute, getattr(defaults, attribute.name)) for attribute in attrs.fields(LoopConfigPatch)
        )
    ]
    keys += [_absolute(f"binary.{agent}", f"the executable of the agent {agent}") for agent in agents]
    keys += [
        _typed("rateLimitBackoffMs", int, 60_000, "the first wait after a rate limit that tells no time", least=1),
        _typed("retentionDays", int, None, "output of loops that ended is kept for this many days", least=1),
        _typed("retentionBytes", int, None, "output of loops that ended is kept up to this many bytes", least=1),
        _choice("logLevel", LOG_LEVELS, "INFO", "how much the helper's log says, from its next start on"),
        _patterns("planCopyIgnored", "ignored files that plan mode copies, as patterns"),
        _typed("opencode.url", str, None, "a running OpenCode server instead of one per loop"),
        _typed("opencode.password", str, None, "that server's password"),
    ]
    return {key.name: key for key in keys}


def check_name(name: str) -> None:
    """Raises InvalidParamsError: custom keys are allowed, but they must look like keys."""
    if not _NAME.fullmatch(name) or len(name) > 200:
        raise InvalidParamsError("key", f"{name!r} is no key: letters, digits, - and _, in parts joined by dots")
