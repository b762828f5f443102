"""A repository with a helper, and the model that its agents talk to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from box import Box
from client import Client
from model_thread import ModelThread
from real_agents import Agent


class Place:
    def __init__(self, box: Box, homes: Path, model: ModelThread, repo: Path) -> None:
        self.box, self.model, self.repo, self.homes = box, model, repo, homes
        self.client = self.connect()

    def connect(self) -> Client:
        return self.box.client(self.repo)

    def start(self, agent: Agent, scenario: str, *, prompt: str = "", **config: Any) -> str:
        """Starts a loop whose model does what the scenario says. Returns its id."""
        given = {"agent": agent.id, "maxIterations": 1, **config}
        if agent.model:
            given.setdefault("model", agent.model)
        env = agent.env(self.homes, self.model.url)
        task = f"[[s:{scenario}]] {prompt}"
        return self.client("start", workspace=str(self.repo), prompt=task, config=given, env=env)["runId"]

    def end(self, run: str, *statuses: str) -> dict[str, Any]:
        return self.client.settled(run, *statuses, timeout=300)

    def records(self, run: str) -> list[dict[str, Any]]:
        return self.client("history", runId=run)["iterations"]
