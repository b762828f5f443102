"""The scripted model in a thread of its own, for tests that are not asynchronous."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

from model_server import ModelServer


class ModelThread:
    def __init__(self, workspace: str) -> None:
        self._workspace = workspace
        self._started: Future[None] = Future()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="model on loopback")

    def __enter__(self) -> ModelThread:
        self._thread.start()
        self._started.result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return self._server.url

    def asked(self, scenario: str, step: int = 0, timeout: float = 120) -> None:
        """Waits until the model was asked for this step."""
        waiting = self._server.asked(scenario, step)
        asyncio.run_coroutine_threadsafe(waiting, self._loop).result(timeout)

    def steps(self, scenario: str) -> list[int]:
        """The steps that the model was asked for, in order."""
        return [request.step for request in list(self._server.requests) if request.scenario == scenario]

    def last_results(self, scenario: str) -> list[object]:
        """What the tools had given back when the model was asked last."""
        return [request.results for request in list(self._server.requests) if request.scenario == scenario][-1]

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with ModelServer(self._workspace) as self._server:
                self._started.set_result(None)
                await self._stop.wait()
        except OSError as error:
            self._started.set_exception(error)
