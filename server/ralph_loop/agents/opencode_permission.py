"""What OpenCode must ask for. By default it allows everything; what the user's configuration says stays as it is.

Rules given to a session do not reach the subagents below it, so a server of ours gets them by its environment: OpenCode
merges `OPENCODE_PERMISSION` into its configuration, later keys win over earlier ones (opencode.ai/docs/permissions).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Mapping
from pathlib import Path

from ralph_loop.agents.agent_process import GuardLostError
from ralph_loop.agents.guard_client import Guard
from ralph_loop.agents.pipes import PipeReader
from ralph_loop.agents.records import as_record, parse_record

VARIABLE = "OPENCODE_PERMISSION"

# More than reading and editing files in the workspace.
ASK_FIRST = ("bash", "webfetch", "websearch", "codesearch", "external_directory", "doom_loop")

# With nothing configured, all else is asked for too, such as the tools of MCP servers.
_FREELY = ("read", "edit", "glob", "grep", "list", "lsp", "todowrite", "todoread", "task", "skill", "question")
_ASK = dict.fromkeys(ASK_FIRST, "ask")
_ASK_MOST = {"*": "ask", **dict.fromkeys(_FREELY, "allow"), **_ASK}

LIMIT_S = 30.0
_LARGEST_CONFIG = 4 * 1024 * 1024  # bytes


def missing_rules(permission: object) -> Mapping[str, str]:
    """The rules to add to a configuration's `permission`: none for what it speaks of already."""
    if isinstance(permission, str):
        return {}
    said = as_record(permission).fields
    if not said:
        return _ASK_MOST
    return {} if "*" in said else {name: action for name, action in _ASK.items() if name not in said}


async def ask_environment(guard: Guard, binary: str, cwd: Path, env: Mapping[str, str]) -> Mapping[str, str]:
    """The variable for a server of ours; nothing when the user has set it. Raises SpawnError, GuardLostError."""
    if VARIABLE in env:
        return {}
    rules = missing_rules(await _configured(guard, binary, cwd, env))
    return {VARIABLE: json.dumps(rules)} if rules else {}


async def _configured(guard: Guard, binary: str, cwd: Path, env: Mapping[str, str]) -> object:
    """`permission` of the configuration as OpenCode itself merges it from its many places."""
    process = await guard.spawn([binary, "debug", "config"], cwd=cwd, env=env, stdin=None, keep=True)
    logs = asyncio.create_task(_drain(process.stderr), name="log of opencode debug config")
    try:
        async with asyncio.timeout(LIMIT_S):
            printed = await _read(process.stdout)
    except TimeoutError:
        return None  # ask for everything
    finally:
        logs.cancel()
        await asyncio.gather(logs, return_exceptions=True)
        with contextlib.suppress(GuardLostError):
            await process.end(0)
        await process.close()
    config = parse_record(printed.decode(errors="replace").strip())
    return config.fields.get("permission") if config else None


async def _read(reader: PipeReader) -> bytes:
    """All of it, or the beginning of what is no JSON: a program that does not know the command may never end."""
    printed = b""
    while data := await reader.read():
        printed = (printed + data)[:_LARGEST_CONFIG]
        if not b"{".startswith(printed.lstrip()[:1]):
            break
    return printed


async def _drain(reader: PipeReader) -> None:
    while await reader.read():
        pass
