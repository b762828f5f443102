"""Configuration: known and custom keys, the order of the layers, what a repository may say, older databases."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell
from client import Client

from ralph_loop.store.database import migrations

INVALID_PARAMS, NOT_FOUND, UNTRUSTED, INVALID_PROMPT = -32602, 1002, 1014, 1016


@pytest.fixture
def box(common_shared: Box) -> Iterator[Box]:
    yield common_shared
    client = common_shared.main_client()
    for key in client("config/list")["values"]:
        client("config/delete", key=key)
    client.notify("workspace/didChangeConfiguration", {"settings": {"ralphLoop": {"config": {}}}})


def explained(client: Client, repo: Path | None = None) -> dict[str, tuple[Any, str]]:
    where = {} if repo is None else {"workspace": str(repo)}
    return {v["key"]: (v.get("value"), v["source"]) for v in client("config/explain", **where)["values"]}


def committed(repo: Path, text: str) -> None:
    (repo / ".ralph").mkdir(exist_ok=True)
    (repo / ".ralph" / "config.yaml").write_text(text)


# ----------------------------------------------------------------------------------------------------------------- keys
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("maxIterations", "5"), ("maxIterations", -1), ("maxIterations", 1.5), ("planMode", "false"), ("agent", 5),
        ("agent", "nope"), ("rotation", ["no-model"]), ("rotation", ["nope:x"]), ("rotation", []),
        ("completionPromise", "  "), ("logLevel", "LOUD"), ("retentionDays", 0), ("binary.claude", "bin/claude"),
        ("command", "echo x"), ("command", []), ("no key", 1), ("../x", 1), ("", 1),
        ("binary.claud", "/bin/claude"), ("mine", "x" * 70_000),
    ],
)  # fmt: skip
def test_wrong_values_are_refused_and_change_nothing(client: Client, key: str, value: Any) -> None:
    before = client("config/list")
    error = client.refused("config/set", key=key, value=value)
    assert error.code == INVALID_PARAMS
    assert "value" in error.message or "key" in error.message
    assert client("config/list") == before


@pytest.mark.parametrize("number", ["1e400", "-1e400"])
def test_a_number_that_no_answer_could_hold_is_refused(client: Client, number: str) -> None:
    params = f'{{"key": "mine", "value": {{"any": [{number}]}}}}'
    body = f'{{"jsonrpc": "2.0", "id": "{number}", "method": "ralph/config/set", "params": {params}}}'
    client.write_body(body.encode())
    error = client.response(number)["error"]
    assert (error["code"], "value" in error["message"]) == (INVALID_PARAMS, True)
    assert "mine" not in client("config/list")["values"]


def test_set_get_delete(client: Client) -> None:
    assert client("config/get", key="maxIterations")["value"] == 50
    client("config/set", key="maxIterations", value=0)
    client("config/set", key="mine.own-key", value={"any": [1, "thing", True]})
    assert client("config/list")["values"] == {"maxIterations": 0, "mine.own-key": {"any": [1, "thing", True]}}
    assert client("config/get", key="mine.own-key")["value"] == {"any": [1, "thing", True]}
    assert explained(client)["maxIterations"] == (0, "user")
    assert explained(client)["mine.own-key"][1] == "user"
    ids = [client.send("ralph/config/delete", {"key": "maxIterations"}) for _ in range(3)]  # at once
    assert {client.response(id_).get("error", {}).get("code", 0) for id_ in ids} <= {0, 1002}
    client("config/delete", key="mine.own-key")
    assert client("config/get", key="maxIterations")["value"] == 50
    assert client.refused("config/get", key="mine.own-key").code == 1002
    assert client.refused("config/delete", key="maxIterations").code == 1002
    assert client.refused("config/explain", key="mine.own-key").code == 1002


# ---------------------------------------------------------------------------------------------------------------- order
def test_each_layer_gives_way_to_the_stronger_one(client: Client, repo: Path) -> None:
    file = repo / "task.loop.md"
    agent = shell("true")

    def limit(**config: Any) -> int:
        by_file = {"promptFile": "task.loop.md"} if file.exists() else {"prompt": "x"}
        run = client("start", workspace=str(repo), config={**agent, "planMode": False, **config}, **by_file)
        client("cancel", runId=run["runId"])
        return run["maxIterations"]

    agent["iterationDelayMs"] = 3_600_000
    assert limit() == 50
    assert explained(client, repo)["maxIterations"] == (50, "default")
    client("config/set", key="maxIterations", value=41)
    assert (limit(), explained(client, repo)["maxIterations"]) == (41, (41, "user"))
    committed(repo, "maxIterations: 42\n")
    assert (limit(), explained(client, repo)["maxIterations"]) == (41, (41, "user"))  # not trusted yet
    client("repos/trust", workspace=str(repo), trusted=True)
    assert (limit(), explained(client, repo)["maxIterations"]) == (42, (42, "repository"))
    assert explained(client)["maxIterations"] == (41, "user")
    client.notify("workspace/didChangeConfiguration", {"settings": {"ralphLoop": {"config": {"maxIterations": 43}}}})
    assert (limit(), explained(client, repo)["maxIterations"]) == (43, (43, "editor"))
    file.write_text("---\nmaxIterations: 44\n---\nfrom a file\n")
    assert limit() == 44
    assert limit(maxIterations=45) == 45


def test_editor_settings_are_of_one_connection(client: Client, box: Box) -> None:
    options = {"ralphLoop": {"config": {"model": "m", "maxFailures": 7}}}
    other = box.client(box.room, initializationOptions=options)
    assert explained(other)["model"] == ("m", "editor")
    assert explained(client)["model"] == (None, "default")
    other.notify("workspace/didChangeConfiguration", {"settings": {"config": {"maxFailures": "many"}}})
    other.until(lambda: any("maxFailures" in str(n) for n in other.notifications), what="the warning")
    assert explained(other)["maxFailures"] == (7, "editor")  # what does not fit changes nothing
    other.notify("workspace/didChangeConfiguration", {"settings": {"somebodyElse": {}}})
    assert explained(other)["maxFailures"] == (7, "editor")
    other.notify("workspace/didChangeConfiguration", {"settings": {"ralphLoop": {}}})
    assert explained(other)["maxFailures"] == (3, "default")


def test_an_agent_of_a_stronger_layer_is_not_given_the_model_of_another(client: Client, repo: Path) -> None:
    client("config/set", key="agent", value="claude")
    client("config/set", key="model", value="opus")
    run = client("start", workspace=str(repo), prompt="x", config=shell(f"echo '{DONE}'"))
    assert "model" not in client.settled(run["runId"])
    client("config/delete", key="agent")
    client("config/delete", key="model")
    client("config/set", key="rotation", value=["claude:opus", "codex:gpt"])
    run = client("start", workspace=str(repo), prompt="x", config=shell(f"echo '{DONE}'"))
    assert client.settled(run["runId"])["agent"] == "custom"
    client("config/set", key="rotation", value=["custom:a", "custom:b"])  # holds the agent: it stays
    run = client("start", workspace=str(repo), prompt="x", config=shell(f"echo '{DONE}'"))
    client.settled(run["runId"])
    assert client("history", runId=run["runId"])["iterations"][0]["model"] == "a"


# ----------------------------------------------------------------------------------------------------------- repository
def test_what_a_repository_may_set(client: Client, repo: Path) -> None:
    client("repos/trust", workspace=str(repo), trusted=True)
    for text in ("", "---\n", "\ufeff", "# said\r\n", "--- \r\n# said\n", "\n# said\n---\n"):
        text += "maxFailures: 9 # here\n"
        committed(repo, text)
        assert explained(client, repo)["maxFailures"] == (9, "repository"), text
        committed(repo, f"{text}---\n")
        assert explained(client, repo)["maxFailures"] == (9, "repository"), text
    committed(repo, "")
    assert explained(client, repo)["maxFailures"] == (3, "default")
    committed(repo, "maxFailures: 2\ncommand: [rm, -rf, x]\n")
    error = client.refused("start", workspace=str(repo), prompt="x", config={"agent": "demo"})
    assert (error.code, error.data["keys"]) == (UNTRUSTED, ["command"])
    for text, line, column in (
        ("maxFailures: 2\nmaxIteration: 3\n", 2, 1),
        ("maxFailures: many\n", 1, 14),
        ("a: [\n", 2, 1),
        ("- maxFailures: 2\n", 1, 1),
        ("null\n", 1, 1),
        ("binary.claude: /tmp/x\n", 1, 1),
        ("---\nmaxFailures: many\n", 2, 14),
        ("maxFailures: 2\n---\nmaxIterations: 3\n", 1, 1),
    ):
        committed(repo, text)
        error = client.refused("start", workspace=str(repo), prompt="x", config={"agent": "demo"})
        assert (error.code, error.data["line"], error.data["column"]) == (INVALID_PROMPT, line, column), text
        assert error.data["file"].endswith(".ralph/config.yaml") and "front matter" not in error.message
    client("repos/trust", workspace=str(repo), trusted=False)
    assert explained(client, repo)["maxFailures"] == (3, "default")  # not even read


def test_a_link_out_of_the_repository_is_not_read(client: Client, box: Box, repo: Path) -> None:
    client("repos/trust", workspace=str(repo), trusted=True)
    outside = box.room / "outside.yaml"
    outside.write_text("maxFailures: 9\n")
    (repo / ".ralph").mkdir()
    (repo / ".ralph" / "config.yaml").symlink_to(outside)
    assert client.refused("config/explain", workspace=str(repo)).code == INVALID_PROMPT
    (repo / ".ralph" / "config.yaml").unlink()
    (repo / ".ralph" / "config.yaml").symlink_to("config.yaml")
    assert client.refused("config/explain", workspace=str(repo)).code == INVALID_PROMPT
    (repo / ".ralph" / "config.yaml").rename(repo / "config.yaml")
    error = client.refused("preview", workspace=str(repo), promptFile="config.yaml", config={"agent": "demo"})
    assert error.code == NOT_FOUND
    os.mkfifo(repo / ".ralph" / "config.yaml")  # nobody will ever write to it
    assert client.refused("config/explain", workspace=str(repo)).code == INVALID_PROMPT


# ----------------------------------------------------------------------------------------------------- older databases
STATE = (
    '{"runId": "run_old", "sessionId": "ses_old", "repoId": "repo_old", "workspace": "%s", "root": "%s",'
    ' "key": "%s", "git": true, "prompt": "the ancient task", "config": {"agent": "demo"}, "status": "completed",'
    ' "stopReason": "completed", "iteration": 1, "startedAt": "2026-01-01T00:00:00.000Z",'
    ' "endedAt": "2026-01-01T00:01:00.000Z"}'
)


def test_a_helper_that_died_before_the_first_migration(solo: Box) -> None:
    solo.data.mkdir()
    with closing(sqlite3.connect(solo.data / "ralph-loop.db")) as begun:
        begun.execute("CREATE TABLE schema_version (version INTEGER NOT NULL, at TEXT NOT NULL)")
    assert solo.main_client()("repos/list") == {"repos": []}


@pytest.mark.parametrize("version", [number for number, _ in migrations()])
def test_a_database_of_each_earlier_version(solo: Box, version: int) -> None:
    solo.data.mkdir()
    repo, at = str(solo.repo()), "2026-01-01T00:00:00.000Z"
    with closing(sqlite3.connect(solo.data / "ralph-loop.db")) as old:
        old.execute("CREATE TABLE schema_version (version INTEGER NOT NULL, at TEXT NOT NULL)")
        for number, sql in migrations()[:version]:
            old.executescript(sql)
            old.execute("INSERT INTO schema_version VALUES (?, ?)", (number, at))
        rows: dict[str, tuple[Any, ...]] = {
            "repos": ("repo_old", f"{repo}/.git", repo, "repo", 1, 1, 1, None, at),
            "sessions": ("ses_old", "repo_old", repo, "an old session", at, at),
            "loops": (1, "run_old", "ses_old", "repo_old", "completed", STATE % (repo, repo, f"{repo}/.git")),
            "messages": (1, "msg_old", "ses_old", "run_old", None, "user", "prompt", "the ancient task", at),
            "output_logs": (1, "run_old", 1, 1, "stdout", at, b"ancient output\n"),
            "config": ("maxIterations", "12"),
        }
        for table, values in rows.items():
            old.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
        old.commit()
    client = solo.main_client()
    assert client("config/get", key="maxIterations")["value"] == 12
    found = client("sessions/get", sessionId="ses_old")
    assert [m["text"] for m in found["messages"]] == ["the ancient task"]
    assert client("status", runId="run_old")["status"] == "completed"
    assert [c["text"] for c in client("output", runId="run_old")["chunks"]] == ["ancient output\n"]
    assert {hit["where"] for hit in client("search", text="ancient")["hits"]} == {
        "user prompt",
        "stdout of iteration 1",
    }
    run = client("start", workspace=repo, sessionId="ses_old", prompt="again", config=shell(f"echo '{DONE}'"))
    assert client.settled(run["runId"])["stopReason"] == "completed"
    client("sessions/delete", sessionId="ses_old")
    assert client("search", text="ancient")["hits"] == []
