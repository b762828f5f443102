"""The helper gives up old output by itself when the settings say so."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from box import DONE, Box, shell, until
from client import Client


def stored(box: Box, run_id: str) -> int:
    with closing(sqlite3.connect(f"file:{box.data}/ralph-loop.db?mode=ro", uri=True)) as connection:
        query = "SELECT coalesce(sum(length(data)), 0) FROM output_logs WHERE run_id = ?"
        return connection.execute(query, (run_id,)).fetchone()[0]


def finish(client: Client, repo: str, script: str) -> dict[str, Any]:
    client("watch", all=True)
    return client.settled(client("start", workspace=repo, prompt="print", config=shell(script))["runId"])


def test_off_by_default(shared: Box) -> None:
    client = shared.client()
    for key in ("retentionDays", "retentionBytes"):
        assert client("config/get", key=key)["value"] is None
        for wrong in (0, -1, "7", 1.5, True):
            assert client.refused("config/set", key=key, value=wrong).code == -32602


def test_the_next_helper_gives_up_what_is_too_much_and_keeps_the_rest(shared: Box) -> None:
    client, repo = shared.client(), str(shared.repo())
    first = finish(client, repo, f"head -c 50000 /dev/zero; echo; echo '{DONE}'")
    second = finish(client, repo, f"echo second; echo '{DONE}'")
    other = shared.repo("other")
    paused = client("start", workspace=str(other), prompt="p", config=shell("head -c 60000 /dev/zero; sleep 600"))
    client("subscribe", runId=paused["runId"], view="raw")
    client.until(lambda: len(client.printed(paused["runId"])) >= 60_000, what="its output")
    client("pause", runId=paused["runId"], when="now")
    history = client("history", runId=first["runId"])
    messages = client("sessions/get", sessionId=first["sessionId"])["messages"]
    client("config/set", key="retentionBytes", value=1000)
    shared.signal_helper(signal.SIGTERM)

    client = shared.client()
    until(lambda: stored(shared, first["runId"]) == 0, "the old output is gone")
    assert stored(shared, second["runId"]) > 0
    assert stored(shared, paused["runId"]) >= 60_000, "a loop that has not ended keeps its output"
    assert client("history", runId=first["runId"]) == history
    assert client("sessions/get", sessionId=first["sessionId"])["messages"] == messages
    assert client("prompt", runId=first["runId"], iteration=1)["prompt"]
    assert client("output", runId=first["runId"])["chunks"] == []
    assert "second" in client("output", runId=second["runId"])["chunks"][0]["text"]
    client("cancel", runId=paused["runId"])


@pytest.mark.parametrize("days", [1, 2**53 - 1])
def test_output_of_today_is_kept_whatever_the_days(shared: Box, days: int) -> None:
    client, repo = shared.client(), str(shared.repo())
    client("config/set", key="retentionDays", value=days)
    run = finish(client, repo, f"echo today; echo '{DONE}'")
    before = stored(shared, run["runId"])
    shared.signal_helper(signal.SIGTERM)
    client = shared.client()
    again = finish(client, repo, f"echo later; echo '{DONE}'")  # long after the sweep at its start
    assert again["status"] == "completed"
    assert stored(shared, run["runId"]) == before > 0
