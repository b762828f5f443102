"""The user's and the repository's own configuration: two layers of rule 9, and settings that are no loop's."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import attrs

from ralph_loop.engine import loopfile
from ralph_loop.engine.config import fitting
from ralph_loop.engine.keys import Key, check_name
from ralph_loop.errors import InvalidParamsError, RalphError, not_found
from ralph_loop.git.locate import Place
from ralph_loop.protocol import LoopConfig, LoopConfigPatch
from ralph_loop.store.database import Database
from ralph_loop.wire import camel, structure

REPOSITORY_FILE = Path(".ralph") / "config.yaml"
_NEVER_FROM_REPOSITORY = frozenset({"command"})  # it would choose an executable
_MAX_FILE_BYTES = 256 * 1024
_MAX_VALUE = 64 * 1024  # all of them must fit into one answer
# the line with which a YAML document may begin, below comments
_DOCUMENT_START = re.compile(r"\A((?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\n|\r))*)---[ \t]*(?=[\r\n]|\Z)")


class Settings:
    """The `config` table, kept in memory; the one place that reads and writes it."""

    def __init__(self, database: Database, keys: Mapping[str, Key]) -> None:
        self._database = database
        self._values: dict[str, Any] = {}
        self.keys = keys

    async def load(self) -> None:
        rows = await self._database.rows("SELECT key, value FROM config ORDER BY key")
        self._values = {row["key"]: json.loads(row["value"]) for row in rows}

    # ----------------------------------------------------------------------------------------------------- requests
    def values(self) -> dict[str, Any]:
        """What the user set."""
        return dict(self._values)

    def get(self, key: str) -> Any | None:
        """The user's value, else the default; None when there is neither."""
        if key in self._values:
            return self._values[key]
        return self.keys[key].default if key in self.keys else None

    def read(self, key: str) -> Any:
        """As `get`; raises notFound for a custom key that nobody set."""
        if key not in self._values and key not in self.keys:
            raise not_found("configuration key", key, "See `ralph-loop config list`.")
        return self.get(key)

    async def set(self, key: str, value: Any) -> None:
        """Raises InvalidParamsError saying what is allowed; changes nothing then."""
        check_name(key)
        if key in self.keys:
            self.keys[key].check(value)
        elif key.startswith("binary."):
            agents = ", ".join(name.removeprefix("binary.") for name in self.keys if name.startswith("binary."))
            raise InvalidParamsError("key", f"{key!r} names no agent; known are {agents}")
        text = json.dumps(value)
        if len(text) > _MAX_VALUE:
            raise InvalidParamsError("value", f"must not be longer than {_MAX_VALUE} bytes, got {len(text)}")

        async def store(writer: Any) -> None:
            await writer.execute(
                "INSERT INTO config (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, text),
            )

        await self._database.write(store)
        self._values[key] = value

    async def delete(self, key: str) -> None:
        """Back to the default. Raises notFound when nobody set it."""
        if key not in self._values:
            raise not_found("configuration key", key, "It is not set.")

        async def store(writer: Any) -> None:
            await writer.execute("DELETE FROM config WHERE key = ?", (key,))

        await self._database.write(store)
        self._values.pop(key, None)  # another request may have done it meanwhile

    # ------------------------------------------------------------------------------------------------------- layers
    def user(self) -> LoopConfigPatch:
        loop = {camel(attribute.name) for attribute in attrs.fields(LoopConfigPatch)}
        return structure({key: value for key, value in self._values.items() if key in loop}, LoopConfigPatch)

    async def repository(self, place: Place, trusted: bool) -> LoopConfigPatch:
        """The repository's `.ralph/config.yaml`; nothing of it before the folder is trusted.

        Raises RalphError invalidPrompt with file, line and column, and untrusted for a key it may never set.
        """
        return await asyncio.to_thread(_read_repository, place.root) if trusted else LoopConfigPatch()

    def binaries(self) -> dict[str, str]:
        prefix = "binary."
        return {key[len(prefix) :]: value for key, value in self._values.items() if key.startswith(prefix)}

    def binary(self, agent: str) -> str | None:
        return self.binaries().get(agent)

    def backoff_unit_ms(self) -> int:
        """How long the first wait for a rate limit lasts when the agent tells no time."""
        return cast(int, self.get("rateLimitBackoffMs"))


def _read_repository(root: Path) -> LoopConfigPatch:
    path = root / REPOSITORY_FILE
    try:
        if not Path(os.path.realpath(path)).is_relative_to(root.resolve()):  # resolve() fails where links form a ring
            raise _invalid(path, 1, 1, "it is a symbolic link that leaves the repository")
        if path.exists() and not path.is_file():  # a FIFO would be waited at for ever
            raise _invalid(path, 1, 1, "it is not a file")
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES + 1).decode("utf-8-sig")
    except FileNotFoundError:
        return LoopConfigPatch()
    except UnicodeDecodeError:
        raise _invalid(path, 1, 1, "the file is not UTF-8") from None
    except OSError as error:
        raise _invalid(path, 1, 1, f"the file cannot be read: {error.strerror}") from None
    try:
        # the keys and rules of a loop file's front matter; its first line here is the file's
        body = _DOCUMENT_START.sub(r"\1", text)
        parsed = loopfile.parse(f"---\n{body}\n---\n")
    except loopfile.LoopFileError as error:
        line = min(max(1, error.line - 1), text.count("\n") + 1)
        raise _invalid(path, line, error.column, error.message) from None
    if parsed.prompt.strip("-. \t\r\n"):
        raise _invalid(path, 1, 1, "there is text below a line with ---; settings are one document")
    forbidden = sorted(set(parsed.config) & _NEVER_FROM_REPOSITORY)
    if forbidden:
        raise RalphError(
            "untrusted",
            f"{path} sets {', '.join(forbidden)}, which would choose a program to run; a repository's configuration "
            "may never do that. Give it with the start, or set it in your own configuration.",
            path=str(path),
            keys=forbidden,
        )
    return structure(parsed.config, LoopConfigPatch, "config")


def _invalid(path: Path, line: int, column: int, problem: str) -> RalphError:
    return RalphError("invalidPrompt", f"{path}:{line}:{column}: {problem}", file=str(path), line=line, column=column)


def explain(layers: list[tuple[str, LoopConfigPatch]]) -> list[tuple[str, Any, str]]:
    """(key, value, source) of every loop key; the first layer that sets it is its source."""
    defaults = LoopConfig()
    names = [name for name, _ in layers]
    layers = list(zip(names, fitting([layer for _, layer in layers]), strict=True))
    found: list[tuple[str, Any, str]] = []
    for attribute in attrs.fields(LoopConfigPatch):
        value, source = getattr(defaults, attribute.name), "default"
        for name, layer in layers:
            if getattr(layer, attribute.name) is not None:
                value, source = getattr(layer, attribute.name), name
                break
        found.append((camel(attribute.name), value, source))
    return found
