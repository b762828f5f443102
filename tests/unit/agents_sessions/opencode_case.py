"""One loop against a scripted OpenCode server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from fake_opencode import FakeOpenCode
from session_helpers import KeepingSink, bench, call

from ralph_loop.agents.base import Outcome
from ralph_loop.agents.guard_client import Guard
from ralph_loop.agents.opencode_server import OpenCodeServerAdapter


class Case:
    def __init__(self, guard: Guard, workspace: Path, server: FakeOpenCode, **settings: object) -> None:
        self.workspace, self.server = workspace, server
        settings = {"opencode_url": server.url, **settings}
        self.session = OpenCodeServerAdapter().session(bench(guard, **settings))

    async def run(self, sink: KeepingSink, **more: Any) -> Outcome:
        return await asyncio.wait_for(self.session.run(call(self.workspace, **more), sink), 30)
