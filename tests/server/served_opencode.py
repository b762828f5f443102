"""The scripted OpenCode server in a thread of its own, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Generator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "unit" / "agents_sessions"))

from fake_opencode import FakeOpenCode, Script


@contextlib.contextmanager
def served(*scripts: Script) -> Generator[FakeOpenCode]:
    server, ready = FakeOpenCode(*scripts), threading.Event()
    loop, stop = asyncio.new_event_loop(), asyncio.Event()

    async def run() -> None:
        async with server:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()), name="scripted OpenCode")
    thread.start()
    try:
        assert ready.wait(10), "the scripted server did not start"
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
