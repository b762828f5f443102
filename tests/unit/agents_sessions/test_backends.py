"""The list of agents: found by path, version asked once and in time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from session_helpers import is_gone

from ralph_loop.agents.backends import Backends
from ralph_loop.agents.registry import ADAPTERS
from ralph_loop.protocol import Backend


@pytest_asyncio.fixture
async def backends() -> AsyncIterator[Backends]:
    instance = Backends(ADAPTERS, patience_s=10, limit_s=20)
    yield instance
    await instance.close()


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def find(backends: Backends, agent: str, path: Path, binary: Path | None = None) -> Backend:
    env = {"PATH": f"{path}:/usr/bin:/bin", "HOME": str(path)}
    listed = await backends.list(env, lambda id_: str(binary) if binary and id_ == agent else None)
    assert [backend.id for backend in listed] == list(ADAPTERS)
    return next(backend for backend in listed if backend.id == agent)


async def test_an_installed_agent_has_a_path_and_a_version(backends: Backends, tmp_path: Path) -> None:
    claude = program(tmp_path / "claude", 'echo "2.1.329 (Claude Code)"')
    found = await find(backends, "claude", tmp_path)
    assert (found.installed, found.path, found.version) == (True, str(claude), "2.1.329")
    assert "npm install" in found.install_hint


async def test_a_missing_agent_says_what_to_install(backends: Backends, tmp_path: Path) -> None:
    found = await find(backends, "copilot", tmp_path)
    assert (found.installed, found.path, found.version) == (False, None, None)
    assert "@github/copilot" in found.install_hint


async def test_an_agent_that_speaks_more_than_one_way_says_so(backends: Backends, tmp_path: Path) -> None:
    for name in ("opencode", "codex", "claude-agent-acp"):
        program(tmp_path / name, "echo 1.2.3")
    ways = {
        "opencode": ["opencode-server", "acp-opencode"],
        "acp-opencode": ["opencode", "opencode-server"],
        "codex": None,  # its bridge is not installed
        "acp-claude": None,
        "claude": None,
        "acp": None,
    }
    assert {id_: (await find(backends, id_, tmp_path)).also_as for id_ in ways} == ways
    program(tmp_path / "codex-acp", "echo 1.2.3")
    assert (await find(backends, "codex", tmp_path)).also_as == ["acp-codex"]


async def test_what_ships_with_us_is_installed(backends: Backends, tmp_path: Path) -> None:
    assert (await find(backends, "demo", tmp_path)).installed
    assert (await find(backends, "custom", tmp_path)).installed


async def test_a_configured_path_counts(backends: Backends, tmp_path: Path) -> None:
    mine = program(tmp_path / "elsewhere" / "my codex", "echo 'codex-cli 0.169.0-alpha.2.'")
    found = await find(backends, "codex", tmp_path / "nothing", mine)
    assert (found.path, found.version) == (str(mine), "0.169.0-alpha.2")


async def test_the_version_is_asked_once_until_the_file_changes(backends: Backends, tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    gemini = program(tmp_path / "gemini", f"echo x >> '{asked}'; echo 0.61.0")
    for _ in range(3):
        assert (await find(backends, "gemini", tmp_path)).version == "0.61.0"
    assert asked.read_text() == "x\n"

    program(gemini, f"echo x >> '{asked}'; echo 0.62.0 # longer")
    assert (await find(backends, "gemini", tmp_path)).version == "0.62.0"
    assert asked.read_text() == "x\nx\n"


@pytest.mark.parametrize(
    "script", ["exit 1", "echo 1.2.3; exit 1", "echo no version", "kill -9 $$", "head -c 5000000 /dev/zero"]
)
async def test_a_version_that_cannot_be_told_is_left_out(backends: Backends, tmp_path: Path, script: str) -> None:
    program(tmp_path / "opencode", script)
    found = await find(backends, "opencode", tmp_path)
    assert (found.installed, found.version) == (True, None)


async def test_a_slow_agent_does_not_hold_up_the_list_and_is_known_later(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    program(tmp_path / "amp", f"read line < '{gate}'; echo 7.8.9")
    backends = Backends(ADAPTERS, patience_s=0.3, limit_s=20)
    began = time.monotonic()
    assert (await find(backends, "amp", tmp_path)).version is None
    assert time.monotonic() - began < 5

    with gate.open("w") as opened:
        opened.write("go\n")
    await next(iter(backends._versions.values()))  # pyright: ignore[reportPrivateUsage]
    assert (await find(backends, "amp", tmp_path)).version == "7.8.9"
    await backends.close()


async def test_an_agent_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program(
        tmp_path / "cursor-agent", f"sleep 1000 & echo $! > '{pid_file}.new'; mv '{pid_file}.new' '{pid_file}'; wait"
    )
    backends = Backends(ADAPTERS, patience_s=10, limit_s=0.5)
    assert (await find(backends, "cursor", tmp_path)).version is None
    pid = int(pid_file.read_text())
    for _ in range(1000):  # killed, but not yet dead
        if is_gone(pid):
            break
        await asyncio.sleep(0.001)
    assert is_gone(pid)
    await backends.close()
