"""What the engine knows of a connection."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ralph_loop.errors import InvalidParamsError
from ralph_loop.protocol import LoopConfigPatch

_PREFIXES = ("VSCODE_", "ELECTRON_")
_NAMES = frozenset(
    {"NODE_OPTIONS", "GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_ASKPASS"}
)  # an editor's own, which would change what agents and git do


def clean_environment(env: Mapping[str, str]) -> dict[str, str]:
    """A client's environment as loops get it (PROTOCOL.md, greeting). Never written to disk."""
    return {
        name: value
        for name, value in env.items()
        if name not in _NAMES
        and not name.startswith(_PREFIXES)
        and name
        and "=" not in name
        and "\0" not in name + value
    }


@attrs.frozen(kw_only=True)
class Client:
    """`env` is cleaned already; `config` and `binaries` are the editor's settings."""

    env: Mapping[str, str]
    added: Mapping[str, str] = attrs.field(factory=dict[str, str])  # the part of `env` that a start request gave
    name: str = "a client"
    config: LoopConfigPatch = attrs.field(factory=LoopConfigPatch)
    binaries: Mapping[str, str] = attrs.field(factory=dict[str, str])

    def adding(self, env: Mapping[str, str]) -> Client:
        """With what a start request adds to the environment."""
        return attrs.evolve(self, env={**self.env, **env}, added=env) if env else self


def check_environment(env: Mapping[str, str], key: str) -> None:
    """Raises InvalidParamsError for what no process can be given."""
    for name, value in env.items():
        if not name or "=" in name or "\0" in name + value:
            raise InvalidParamsError(f"{key}.{name}", "is no variable of an environment")
