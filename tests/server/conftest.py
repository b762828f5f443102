"""Fixtures of the black-box tests: a box per test, and the same tests over both ways to reach a helper."""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from box import Box, Transport
from client import Client
from terminals import Terminal

# a shell in the background, or nohup, has the tests ignore them, and so would all that they start
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(params=["embedded", "shared"])
def fresh(request: pytest.FixtureRequest) -> Iterator[Box]:
    """Everything of one test, on both transports; after it nothing may be left, nor complained of in the log."""
    yield from _box(cast(Transport, request.param))


@pytest.fixture
def box(fresh: Box) -> Box:
    return fresh


@pytest.fixture
def shared() -> Iterator[Box]:
    """For what only the shared helper can do."""
    yield from _box("shared")


@pytest.fixture
def solo() -> Iterator[Box]:
    """For what does not depend on the transport: the fastest one."""
    yield from _box("embedded")


@pytest.fixture(scope="module", params=["embedded", "shared"])
def lasting(request: pytest.FixtureRequest) -> Iterator[Box]:
    """One box for all tests of a module: a helper takes a second of processor time to start."""
    yield from _box(cast(Transport, request.param))


@pytest.fixture(scope="module")
def lasting_shared() -> Iterator[Box]:
    yield from _box("shared")


@pytest.fixture(scope="module")
def lasting_embedded() -> Iterator[Box]:
    yield from _box("embedded")


@pytest.fixture
def common_embedded(lasting_embedded: Box) -> Iterator[Box]:
    """Like `common`, for rules of the engine: one transport is enough."""
    with lasting_embedded.one_test(next(_numbers)):
        yield lasting_embedded


@pytest.fixture
def common_shared(lasting_shared: Box) -> Iterator[Box]:
    """Like `common`, for what does not depend on the transport."""
    with lasting_shared.one_test(next(_numbers)):
        yield lasting_shared


@pytest.fixture
def common(lasting: Box) -> Iterator[Box]:
    """What `box` is in a module whose tests need no helper of their own."""
    with lasting.one_test(next(_numbers)):
        yield lasting


@pytest.fixture
def terminal(box: Box) -> Iterator[Terminal]:
    terminal = Terminal(box)
    yield terminal
    terminal.close()


@pytest.fixture
def client(box: Box) -> Client:
    return box.main_client()


@pytest.fixture
def repo(box: Box) -> Path:
    return box.repo()


_numbers = itertools.count(1)


def _box(transport: Transport) -> Iterator[Box]:
    box = Box(transport)
    try:
        yield box
    finally:
        box.close()
