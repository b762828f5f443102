"""What an editor says of itself: its folders and its settings."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

from ralph_loop.engine.places import workspace_path
from ralph_loop.errors import InvalidParamsError
from ralph_loop.git.locate import locate
from ralph_loop.protocol import LoopConfigPatch
from ralph_loop.wire import structure


class Folders:
    """The client's workspace folders, as the keys of the repositories they lie in."""

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}  # by the URI or path the client gave

    def contain(self, key: str) -> bool:
        """Whether a loop with this key is in one of the folders: in its repository, or in a folder below."""
        return any(key == own or Path(key).is_relative_to(own) for own in self._keys.values())

    async def begin(self, params: dict[str, Any]) -> None:
        """From the params of `initialize`."""
        folders: Any = params.get("workspaceFolders")
        if isinstance(folders, list) and folders:
            await self._add(cast(list[Any], folders))
        else:
            for name in ("rootUri", "rootPath"):
                if isinstance(params.get(name), str):
                    await self._add([{"uri": params[name]}])
                    return

    async def change(self, params: Any) -> None:
        """From the params of `workspace/didChangeWorkspaceFolders`."""
        event: Any = cast(dict[str, Any], params).get("event") if isinstance(params, dict) else None
        if not isinstance(event, dict):
            return
        for uri in _uris(cast(dict[str, Any], event).get("removed")):
            self._keys.pop(uri, None)
        await self._add(cast(dict[str, Any], event).get("added"))

    async def _add(self, folders: Any) -> None:
        for uri in _uris(folders):
            try:
                place = await asyncio.to_thread(locate, workspace_path(uri))
            except (InvalidParamsError, OSError):
                continue  # a virtual folder, or one that is gone: no loop can be in it
            self._keys[uri] = str(place.key)


def _uris(folders: Any) -> list[str]:
    if not isinstance(folders, list):
        return []
    found = (cast(dict[str, Any], f).get("uri") for f in cast(list[Any], folders) if isinstance(f, dict))
    return [uri for uri in found if isinstance(uri, str)]


def editor_settings(settings: Any) -> tuple[LoopConfigPatch, dict[str, str]] | None:
    """`{config?, binaries?}` (also inside `ralphLoop`); None when the editor says nothing of us.

    Raises InvalidParamsError naming the key.
    """
    if not isinstance(settings, dict):
        return None
    given = cast(dict[str, Any], settings)
    inner = given.get("ralphLoop", given)
    if not isinstance(inner, dict) or ("ralphLoop" not in given and not {"config", "binaries"} & set(given)):
        return None
    own = cast(dict[str, Any], inner)
    config = structure(own.get("config", {}), LoopConfigPatch, "config")
    binaries = structure(own.get("binaries", {}), dict[str, str], "binaries")
    return config, binaries
