"""Amp: ``amp --execute --stream-json``, which speaks Claude Code's dialect (ampcode.com/manual/appendix)."""

from __future__ import annotations

from collections.abc import Sequence

from ralph_loop.agents.base import Command, Invocation, find_binary
from ralph_loop.agents.claude import ClaudeParser
from ralph_loop.agents.commandline import option, prompt_bytes
from ralph_loop.agents.modelerrors import About
from ralph_loop.agents.process import CommandAdapter


class AmpParser(ClaudeParser):
    about = About("Amp", "Set AMP_API_KEY, or run `amp login` once in a terminal.")
    allow_hint = "To allow single tools, see `amp permissions`."


class AmpAdapter(CommandAdapter):
    """Off means Amp's own permission rules, with no person to ask: `amp permissions list --builtin` shows them. It has
    modes where others have models."""

    id = "amp"
    name = "Amp"
    install_hint = "Install it with `npm install -g @ampcode/cli`."
    binary_name = "amp"
    binary_env: str | None = "RALPH_AMP_BINARY"
    structured = True
    models: Sequence[str] = ("low", "medium", "high", "ultra")

    def command(self, call: Invocation) -> Command:
        mode = ["--dangerously-allow-all"] if call.allow_all else []
        return Command(
            [
                *(find_binary(self, call), "--execute", "--stream-json"),
                *(*mode, *option("--mode", call.model), *call.agent_args),
            ],
            stdin=prompt_bytes(call),
        )

    def parser(self) -> AmpParser:
        return AmpParser()
