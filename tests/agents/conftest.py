"""Real agents against a model on loopback: `make test-agents` installs them and runs these tests."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "server"))
sys.path.insert(0, str(Path(__file__).parent))

from box import Box
from model_thread import ModelThread
from real_place import Place

HERE = Path(__file__).parent
WANTED = "RALPH_TEST_AGENTS" in os.environ


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.timeout(400))
            if not WANTED:
                item.add_marker(pytest.mark.skip("needs the real agents: run `make test-agents`"))


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The agents' HOMEs, empty at the beginning of the session: a first start takes some of them long."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(scope="session")
def lasting() -> Iterator[Box]:
    """One helper for all tests: what is tried here are the agents."""
    box = Box("shared")
    try:
        yield box
    finally:
        box.close()


@pytest.fixture
def place(lasting: Box, homes: Path) -> Iterator[Place]:
    with lasting.one_test(next(_numbers)):
        repo = lasting.repo()
        with ModelThread(str(repo)) as model:
            yield Place(lasting, homes, model, repo)


_numbers = itertools.count(1)
