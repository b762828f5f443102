from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ralph_loop.agents.base import Invocation, Workbench
from ralph_loop.agents.guard_client import Guard


@pytest.fixture(params=[False, True], ids=["linux", "ps"])
async def guard(request: pytest.FixtureRequest) -> AsyncIterator[Guard]:
    """A guard without a lock, as it works on Linux and as it works elsewhere."""
    async for guard in _guard(ps=request.param):
        yield guard


@pytest.fixture
async def linux_guard() -> AsyncIterator[Guard]:
    async for guard in _guard(ps=False):
        yield guard


async def _guard(*, ps: bool) -> AsyncIterator[Guard]:
    guard = await Guard.start(lock=None, holder=None, run_id="run", ps=ps)
    yield guard
    assert await guard.close(0) == []


@pytest.fixture
def bench(linux_guard: Guard) -> Workbench:
    return Workbench(guard=linux_guard, settings=lambda key: None, log=print)


@pytest.fixture
def invocation(tmp_path: Path) -> Callable[..., Invocation]:
    def make(prompt: str = "do it", command: Sequence[str] = (), **rest: Any) -> Invocation:
        prompt_file = tmp_path / "prompt.md"
        prompt_file.write_bytes(prompt.encode(errors="replace"))
        env = {"PATH": os.environ["PATH"], **rest.pop("env", {})}
        return Invocation(
            prompt=prompt,
            prompt_file=prompt_file,
            workspace=tmp_path,
            env=env,
            iteration=rest.pop("iteration", 1),
            command=command,
            **rest,
        )

    return make
