"""Which agents are installed, where, and in which version."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ralph_loop.agents.base import Adapter, AgentNotFoundError, resolve
from ralph_loop.agents.pipes import PipeReader
from ralph_loop.agents.records import one_line
from ralph_loop.protocol import Backend

PATIENCE_S = 2.5  # how long a list waits for versions that are not known yet
LIMIT_S = 20.0  # how long an agent may take to tell its version; some start a whole runtime for it
MOST_PRINTED = 64 * 1024  # bytes

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?[0-9A-Za-z.+-]*")

_File = tuple[str, int, int]  # path, time of change, size: the same file has the same version


class Backends:
    """Lists the agents. Versions are asked for once and kept until the file changes; close it at the end."""

    def __init__(self, adapters: Mapping[str, Adapter], patience_s: float = PATIENCE_S, limit_s: float = LIMIT_S):
        self._adapters, self._patience, self._limit = adapters, patience_s, limit_s
        self._versions: dict[_File, asyncio.Task[str | None]] = {}

    async def list(self, env: Mapping[str, str], binary: Callable[[str], str | None]) -> list[Backend]:
        """All agents as they are found with a client's environment. `binary`: the configured path of an agent's
        executable, by its id. Answers within a few seconds: a version that is not known by then is left out."""
        files = {id_: _find(adapter, binary(id_), env) for id_, adapter in self._adapters.items()}
        asked = {id_: self._ask(file, env) for id_, file in files.items() if file}
        if pending := {task for task in asked.values() if not task.done()}:
            await asyncio.wait(pending, timeout=self._patience)
        installed = [id_ for id_, adapter in self._adapters.items() if not adapter.binary_name or id_ in asked]
        return [
            Backend(
                id=id_,
                name=adapter.name,
                installed=id_ in installed,
                path=file[0] if (file := files[id_]) else None,
                version=task.result() if (task := asked.get(id_)) and task.done() else None,
                permissions=adapter.permissions,
                models=list(adapter.models),
                install_hint=adapter.install_hint,
                also_as=_others(id_, installed) or None,
            )
            for id_, adapter in self._adapters.items()
        ]

    async def close(self) -> None:
        tasks = list(self._versions.values())
        self._versions.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ask(self, file: _File, env: Mapping[str, str]) -> asyncio.Task[str | None]:
        if file not in self._versions:
            asking = _version(file[0], dict(env), self._limit)
            self._versions[file] = asyncio.create_task(asking, name=f"version of {file[0]}")
        return self._versions[file]


def _others(id_: str, installed: Sequence[str]) -> list[str]:
    """The other ways to run an installed agent: its command, its server, or a protocol."""
    return [other for other in installed if other != id_ and _agent(other) == _agent(id_)] if id_ in installed else []


def _agent(id_: str) -> str:
    return id_.removeprefix("acp-").removesuffix("-server")


def _find(adapter: Adapter, configured: str | None, env: Mapping[str, str]) -> _File | None:
    if not adapter.binary_name:
        return None
    try:
        path = resolve(adapter, configured, env)
        status = Path(path).stat()
    except (AgentNotFoundError, OSError):
        return None
    return path, status.st_mtime_ns, status.st_size


async def _version(path: str, env: dict[str, str], limit_s: float) -> str | None:
    """What ``--version`` prints, or None when it fails, takes too long or tells none."""
    source, sink = os.pipe()
    reader = PipeReader(source)
    try:
        process = await asyncio.create_subprocess_exec(
            path,
            "--version",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=asyncio.subprocess.DEVNULL,
            env=env,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError):
        reader.close()
        return None
    finally:
        os.close(sink)
    printed = b""
    try:
        async with asyncio.timeout(limit_s):
            while len(printed) < MOST_PRINTED and (data := await reader.read()):
                printed += data
            reader.close()
            await process.wait()
    except TimeoutError:
        return None
    finally:
        reader.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    found = _VERSION.search(printed.decode(errors="replace"))
    return one_line(found[0].rstrip(".+-"), 60) if found and process.returncode == 0 else None
