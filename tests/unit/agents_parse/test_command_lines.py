"""How each agent is called, after its own ``--help``."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from ralph_loop.agents.base import AgentNotFoundError, Command, Invocation
from ralph_loop.agents.process import CommandAdapter
from ralph_loop.agents.registry import ADAPTERS

AGENTS = ["claude", "codex", "opencode", "gemini", "copilot", "cursor", "amp", "ralph"]
ON_STDIN = ["claude", "codex", "opencode", "gemini", "copilot", "amp"]


@pytest.fixture
def call(tmp_path: Path) -> Invocation:
    for name in ("claude", "codex", "opencode", "gemini", "copilot", "cursor-agent", "amp", "ralph", "other"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    return Invocation(
        prompt="Do it.\n--now",
        prompt_file=tmp_path / "prompt.md",
        workspace=tmp_path,
        env={"PATH": str(tmp_path)},
        iteration=1,
    )


def command(agent: str, call: Invocation) -> Command:
    adapter = ADAPTERS[agent]
    assert isinstance(adapter, CommandAdapter)
    return adapter.command(call)


EDITS_ONLY = {
    "claude": ["-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "acceptEdits"],
    "codex": ["exec", "--json", "--skip-git-repo-check", "--sandbox", "workspace-write", "-"],
    "opencode": ["run", "--format", "json", "--print-logs", "--log-level", "ERROR"],
    "gemini": ["--output-format", "stream-json", "--skip-trust", "--approval-mode", "auto_edit"],
    "copilot": ["--output-format", "json", "--no-ask-user", "--no-auto-update", "--allow-tool=write"],
    "cursor": ["-p", "--output-format", "stream-json", "--trust", "Do it.\n--now"],
    "amp": ["--execute", "--stream-json"],
    "ralph": ["run", "--autonomous", "--prompt", "Do it.\n--now"],
}
EVERYTHING = {
    "claude": "--dangerously-skip-permissions",
    "codex": "--dangerously-bypass-approvals-and-sandbox",
    "opencode": "--auto",
    "gemini": "yolo",
    "copilot": "--allow-all",
    "cursor": "--force",
    "amp": "--dangerously-allow-all",
}


@pytest.mark.parametrize("agent", AGENTS)
def test_by_default_only_edits_are_allowed(agent: str, call: Invocation) -> None:
    made = command(agent, call)
    assert made.argv == [str(call.workspace / ADAPTERS[agent].binary_name), *EDITS_ONLY[agent]]
    assert made.stdin == (b"Do it.\n--now" if agent in ON_STDIN else None)
    assert EVERYTHING.get(agent) not in made.argv


@pytest.mark.parametrize("agent", EVERYTHING)
def test_allow_all_is_the_agents_own_flag(agent: str, call: Invocation) -> None:
    made = command(agent, attrs.evolve(call, allow_all=True))
    assert EVERYTHING[agent] in made.argv
    assert not {"acceptEdits", "workspace-write", "auto_edit", "--allow-tool=write"} & set(made.argv)
    assert made.env == {}


def test_opencode_must_ask_unless_the_user_says_otherwise(call: Invocation) -> None:
    permission = json.loads(command("opencode", call).env["OPENCODE_PERMISSION"])
    assert permission["bash"] == "ask"
    assert "edit" not in permission
    own = attrs.evolve(call, env={**call.env, "OPENCODE_PERMISSION": '{"bash": "allow"}'})
    assert command("opencode", own).env == {}


@pytest.mark.parametrize("agent", AGENTS)
def test_model_and_arguments_pass_through(agent: str, call: Invocation) -> None:
    made = command(agent, attrs.evolve(call, model="provider/model-1", agent_args=["--extra", "a b"]))
    at = made.argv.index("--extra")
    assert made.argv[at : at + 2] == ["--extra", "a b"]
    if agent != "ralph":  # its model stands in its own configuration
        at = made.argv.index("provider/model-1")
        assert made.argv[at - 1] == ("--mode" if agent == "amp" else "--model")


@pytest.mark.parametrize("agent", AGENTS)
def test_a_long_prompt_never_goes_into_the_arguments(agent: str, call: Invocation) -> None:
    prompt = "é" * 100_000
    made = command(agent, attrs.evolve(call, prompt=prompt))
    assert max(len(argument.encode()) for argument in made.argv) < 10_000
    assert made.stdin == prompt.encode() or made.argv[-2:] == ["--prompt-file", str(call.prompt_file)]


@pytest.mark.parametrize("agent", AGENTS)
def test_odd_prompts_can_be_given(agent: str, call: Invocation) -> None:
    for prompt in ("a\0b", "half a pair: \ud800", "--help"):
        made = command(agent, attrs.evolve(call, prompt=prompt))
        assert all("\0" not in argument and argument.encode() for argument in made.argv)
        assert "--help" not in made.argv


@pytest.mark.parametrize("agent", AGENTS)
def test_the_executable_can_be_chosen(agent: str, call: Invocation) -> None:
    other = str(call.workspace / "other")
    variable = ADAPTERS[agent].binary_env
    assert variable is not None
    assert command(agent, attrs.evolve(call, env={**call.env, variable: other})).argv[0] == other
    assert command(agent, attrs.evolve(call, binary=other)).argv[0] == other


@pytest.mark.parametrize("agent", AGENTS)
def test_a_missing_agent_is_told(agent: str, call: Invocation) -> None:
    with pytest.raises(AgentNotFoundError, match="Install it"):
        command(agent, attrs.evolve(call, env={"PATH": "/nothing"}))


def test_the_variables_are_those_of_the_reference() -> None:
    assert {agent: ADAPTERS[agent].binary_env for agent in ("claude", "codex", "opencode", "copilot")} == {
        "claude": "RALPH_CLAUDE_BINARY",
        "codex": "RALPH_CODEX_BINARY",
        "opencode": "RALPH_OPENCODE_BINARY",
        "copilot": "RALPH_COPILOT_BINARY",
    }


def test_the_registry_names_each_agent_once() -> None:
    assert list(ADAPTERS) == [adapter.id for adapter in ADAPTERS.values()]
    for adapter in ADAPTERS.values():
        assert adapter.name
        assert adapter.install_hint or not adapter.binary_name
