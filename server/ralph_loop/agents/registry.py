"""All agents by id, in the order in which they are offered."""

from __future__ import annotations

from collections.abc import Mapping

from ralph_loop.agents.acp import ACP_ADAPTERS
from ralph_loop.agents.amp import AmpAdapter
from ralph_loop.agents.base import Adapter
from ralph_loop.agents.claude import ClaudeAdapter
from ralph_loop.agents.codex import CodexAdapter
from ralph_loop.agents.copilot import CopilotAdapter
from ralph_loop.agents.cursor import CursorAdapter
from ralph_loop.agents.custom import CustomAdapter
from ralph_loop.agents.demo import DemoAdapter
from ralph_loop.agents.gemini import GeminiAdapter
from ralph_loop.agents.opencode import OpenCodeAdapter
from ralph_loop.agents.opencode_server import OpenCodeServerAdapter
from ralph_loop.agents.ralph_cli import RalphAdapter

ADAPTERS: Mapping[str, Adapter] = {
    adapter.id: adapter
    for adapter in (
        ClaudeAdapter(),
        CodexAdapter(),
        OpenCodeAdapter(),
        OpenCodeServerAdapter(),
        GeminiAdapter(),
        CopilotAdapter(),
        CursorAdapter(),
        AmpAdapter(),
        RalphAdapter(),
        *ACP_ADAPTERS,
        CustomAdapter(),
        DemoAdapter(),
    )
}
