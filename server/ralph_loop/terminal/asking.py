"""Asking the helper: connecting to it, finding the loop that is meant, saying in words what it refused."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from ralph_loop.shared.client import Client, ResponseError
from ralph_loop.shared.forward import HelperError
from ralph_loop.terminal.options import USAGE_ERROR, Json, Problem, workspace
from ralph_loop.terminal.screen import standard
from ralph_loop.terminal.words import one_line

INVALID_PARAMS = -32602
_PAGE = 200
_FAR = 2**53 - 1  # a subscription from here on sends nothing
REPO_BUSY, AGENT_NOT_FOUND, NOT_AVAILABLE = 1001, 1004, 1011


def data_directory(given: argparse.Namespace) -> Path:
    from ralph_loop.paths import locate

    return locate(getattr(given, "data_dir", None)).data


@contextmanager
def connected(data: Path) -> Generator[Client, None, None]:
    """A connection to the helper of a data directory, which is started when there is none."""
    client = Client.connect(data)
    assert client is not None
    for warning in client.warnings:
        sys.stderr.write(f"ralph-loop: {one_line(warning)}\n")
    try:
        yield client
    finally:
        client.close()


def helper(given: argparse.Namespace) -> AbstractContextManager[Client]:
    return connected(data_directory(given))


def target(given: argparse.Namespace) -> Json:
    """The loop that is meant, for requests that take a workspace too."""
    return {"runId": given.run} if given.run else {"workspace": workspace(given)}


def find(client: Client, given: argparse.Namespace) -> Json:
    """The snapshot of the loop that is meant. Raises Problem."""
    found = client.request("ralph/status", target(given))
    if found is not None:
        return found
    if given.run:
        raise Problem(f"There is no loop {one_line(given.run)!r}.", "All loops: ralph-loop list")
    raise no_loop(given.repo)


def no_loop(repo: str | None) -> Problem:
    where = one_line(repo) if repo else "this folder"
    return Problem(
        f"No loop was ever started in {where}.",
        'Start one with ralph-loop run "…", or name one with --run ID (ralph-loop list shows all).',
    )


def records(client: Client, loop: Json, *, after: int = 0) -> list[Json]:
    """The iterations of a loop with a number above `after`, oldest first."""
    pages: list[list[Json]] = []
    before: Json = {}
    while True:
        answer = client.request("ralph/history", {**loop, "limit": _PAGE, **before})
        page: list[Json] = answer["iterations"]
        pages.append([record for record in page if record["iteration"] > after])
        if not answer["more"] or not page or page[0]["iteration"] <= after + 1:
            return [record for page in reversed(pages) for record in page]
        before = {"before": page[0]["iteration"]}


def last_seq(client: Client, run_id: str) -> int:
    """The number of a loop's last stored chunk; 0 when there is none."""
    return client.request("ralph/subscribe", {"runId": run_id, "after": _FAR})["lastSeq"]


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def print_prompt(answer: Json, given: argparse.Namespace) -> None:
    if given.json:
        print_json(answer)
        return
    screen = standard(given.color)
    if screen.live:
        screen.agent("prompt", answer["prompt"])
        screen.end_agent()
    else:
        sys.stdout.write(answer["prompt"])


_OPTIONS: Mapping[str, str] = {
    "prompt": "the prompt",
    "promptFile": "--file",
    "workspace": "--repo",
    "sessionId": "--session",
    "runId": "--run",
    "config.completionPromise": "--promise",
    "config.tasksMode": "--tasks",
    "config.planMode": "--plan",
    "config.iterationTimeoutMs": "--iteration-timeout",
    "config.inactivityTimeoutMs": "--inactivity-timeout",
    "config.maxDurationMs": "--max-duration",
    "config.iterationDelayMs": "--delay",
    "config.agentArgs": "--arg",
    "config.command": "the command after --",
}


def refused(error: ResponseError | HelperError) -> Problem:
    """What the helper answered, as a problem to print. What is wrong with the request is wrong with the usage."""
    message = str(error)
    if error.code == INVALID_PARAMS:
        key = str(error.data.get("key", ""))
        if key:
            message = f"{_option(key)}: {message.removeprefix(f'{key}: ')}"
        return Problem(message, code=USAGE_ERROR)
    return Problem(message, _hint(error))


def _option(key: str) -> str:
    """The option for a key of the wire: `config.minIterations` → `--min-iterations`."""
    base = key.split("[")[0]
    if base in _OPTIONS:
        return _OPTIONS[base]
    if not base.startswith("config."):
        return key
    return "--" + "".join(f"-{c.lower()}" if c.isupper() else c for c in base.removeprefix("config."))


def _hint(error: ResponseError | HelperError) -> str:
    data = error.data
    if error.code == REPO_BUSY and data.get("runId"):
        run = data["runId"]
        return f"Watch it: ralph-loop logs -f --run {run} · end it: ralph-loop cancel --run {run}"
    if error.code == AGENT_NOT_FOUND:
        hint = str(data.get("installHint") or "")
        return "" if not hint or hint in str(error) else f"Install it: {hint}"
    return ""
