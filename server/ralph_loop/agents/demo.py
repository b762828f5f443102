"""The agent `demo`: ships with the helper and needs no key. See `demo_agent.py` for what it does."""

from __future__ import annotations

import sys
from pathlib import Path

from ralph_loop.agents.base import Command, Invocation
from ralph_loop.agents.plain import PlainParser
from ralph_loop.agents.process import CommandAdapter

PROGRAM = Path(__file__).with_name("demo_agent.py")


class DemoAdapter(CommandAdapter):
    """Works in the folder `ralph-demo` of the workspace: a failing test first, a passing one a few iterations later."""

    id = "demo"
    name = "Demo (built in)"

    def command(self, call: Invocation) -> Command:
        argv = [sys.executable, "-I", "-S", str(PROGRAM), *call.agent_args]
        return Command(argv, stdin=call.prompt.encode(errors="replace"))

    def parser(self) -> PlainParser:
        return PlainParser("The demo agent")
