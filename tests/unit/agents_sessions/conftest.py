"""Fixtures for the agents' sessions. Tests may import the helpers of this folder, whatever pytest's import mode is."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from ralph_loop.agents.guard_client import Guard

sys.path.insert(0, str(Path(__file__).parent))


@pytest_asyncio.fixture
async def guard() -> AsyncIterator[Guard]:
    instance = await Guard.start(lock=None, holder=None, run_id="run_test")
    yield instance
    await instance.close()
