"""How each real agent is made to talk to the model on loopback, in a HOME that is empty at first."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import attrs
from install import BIN

Env = dict[str, str]


def claude(home: Path, url: str) -> Env:
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": "fake",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_TELEMETRY": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
        # only in a sandbox Claude lets root skip its permissions
        **({"IS_SANDBOX": "1"} if os.getuid() == 0 else {}),
    }


def codex(home: Path, url: str) -> Env:
    folder = home / ".codex"
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(
        'model = "gpt-5-codex"\nmodel_provider = "fake"\ncheck_for_update_on_startup = false\n'
        f'[model_providers.fake]\nname = "Fake"\nbase_url = "{url}/v1"\nwire_api = "responses"\n'
        'env_key = "FAKE_API_KEY"\nrequest_max_retries = 1\nstream_max_retries = 1\n'
        "[analytics]\nenabled = false\n"
    )
    return {"FAKE_API_KEY": "fake"}


def gemini(home: Path, url: str) -> Env:
    folder = home / ".gemini"
    folder.mkdir(exist_ok=True)
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False, "maxAttempts": 2},
        "privacy": {"usageStatisticsEnabled": False},
        "telemetry": {"enabled": False},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    return {"GOOGLE_GEMINI_BASE_URL": url, "GEMINI_API_KEY": "fake"}


def copilot(home: Path, url: str) -> Env:
    return {
        "COPILOT_PROVIDER_BASE_URL": f"{url}/v1",
        "COPILOT_PROVIDER_API_KEY": "fake-key-of-the-tests",
        "COPILOT_MODEL": "fake-1",
        "COPILOT_OFFLINE": "true",
    }


def opencode(home: Path, url: str) -> Env:
    folder = home / ".config" / "opencode"
    folder.mkdir(parents=True, exist_ok=True)
    model = {"name": "Fake 1", "tool_call": True, "cost": {"input": 1, "output": 2}}
    model["limit"] = {"context": 200000, "output": 8000}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "Fake",
        "options": {"baseURL": f"{url}/v1", "apiKey": "fake"},
        "models": {"fake-1": model},
    }
    config = {
        "autoupdate": False,
        "share": "disabled",
        "model": "fake/fake-1",
        "small_model": "fake/fake-1",
        "enabled_providers": ["fake"],
        "provider": {"fake": provider},
    }
    (folder / "opencode.json").write_text(json.dumps(config))
    return {}


@attrs.frozen
class Agent:
    """`write` and `shell`: what the agent calls these tools. `failing`: whether it tells of a command that failed."""

    id: str
    prepare: Callable[[Path, str], Env]
    write: str
    shell: str
    model: str | None = None
    tokens: int = 4000  # read in the scenario `work`, as far as the agent tells
    cost: bool = False
    failing: bool = True

    def env(self, homes: Path, url: str) -> Env:
        home = homes / self.prepare.__name__
        home.mkdir(exist_ok=True)
        path = f"{BIN}:/usr/local/bin:/usr/bin:/bin"
        return {"HOME": str(home), "PATH": path, "TERM": "dumb", **self.prepare(home, url)}


COMMANDS = [
    Agent("claude", claude, "Write", "Bash", cost=True),
    Agent("codex", codex, "command_execution", "command_execution"),
    Agent("gemini", gemini, "write_file", "run_shell_command", model="gemini-2.5-pro", failing=False),
    Agent("copilot", copilot, "create", "bash", tokens=0),
    Agent("opencode", opencode, "write", "bash", cost=True),
]
# those that can ask a person
ASKING = [
    Agent("opencode-server", opencode, "write", "bash", cost=True),
    Agent("acp-opencode", opencode, "write", "bash", tokens=1000, cost=True),
    Agent("acp-claude", claude, "Write", "Bash", cost=True),
    Agent("acp-codex", codex, "execute", "execute", tokens=0),
    Agent("acp-copilot", copilot, "edit", "execute"),
    Agent("acp-gemini", gemini, "edit", "execute", model="gemini-2.5-pro", tokens=0, failing=False),
]
EVERY = COMMANDS + ASKING
