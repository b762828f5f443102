"""Sessions: made, listed, renamed and deleted with all that belongs to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell
from client import Client

INVALID_PARAMS, NOT_FOUND, INVALID_STATE = -32602, 1002, 1003
HOUR_MS = 3_600_000


@pytest.fixture
def box(common_embedded: Box) -> Box:
    return common_embedded


def run(client: Client, repo: Path, prompt: str = "do it", script: str = "true", **params: Any) -> dict[str, Any]:
    config = shell(f"{script}; echo '{DONE}'")
    return client.settled(client("start", workspace=str(repo), prompt=prompt, config=config, **params)["runId"])


def titles(client: Client, **params: Any) -> list[str]:
    return [session["title"] for session in client("sessions/list", **params)["sessions"]]


def test_create_list_rename(client: Client, box: Box, repo: Path) -> None:
    assert titles(client, workspace=str(repo)) == []
    made = client("sessions/create", workspace=str(repo), title="Mine")
    assert (made["title"], made["status"], made["workspace"]) == ("Mine", "idle", str(repo))
    assert client("sessions/create", workspace=str(repo))["title"]
    (repo / "below").mkdir()
    client("sessions/create", workspace=str(repo / "below"), title="Below")
    client("sessions/create", workspace=str(box.repo("other")), title="Other")
    assert titles(client, workspace=str(repo)) == ["Below", "Untitled", "Mine"]
    page = client("sessions/list", workspace=str(repo), limit=2)
    assert ([s["title"] for s in page["sessions"]], page["more"]) == (["Below", "Untitled"], True)
    page = client("sessions/list", workspace=str(repo), limit=2, before=page["sessions"][-1]["sessionId"])
    assert ([s["title"] for s in page["sessions"]], page["more"]) == (["Mine"], False)
    renamed = client("sessions/rename", sessionId=made["sessionId"], title="Yours")
    assert (renamed["title"], renamed["updatedAt"] >= made["updatedAt"]) == ("Yours", True)
    assert "Yours" in titles(client, workspace=str(repo))
    long = "x" * 1001  # a long one would leave no room in the list for the others
    assert client.refused("sessions/create", workspace=str(repo), title=long).code == INVALID_PARAMS
    for name, params in (
        ("rename", {"title": " "}),
        ("rename", {}),
        ("rename", {"title": 5}),
        ("rename", {"title": long}),
    ):
        assert client.refused(f"sessions/{name}", sessionId=made["sessionId"], **params).code == INVALID_PARAMS
    for name, params in (("get", {}), ("delete", {}), ("rename", {"title": "x"})):
        assert client.refused(f"sessions/{name}", sessionId="ses_none", **params).code == NOT_FOUND
    assert client.refused("sessions/list", before="ses_none").code == NOT_FOUND


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Fix it\nand more", "Fix it"), ("\n\n  # Big *plan*\n", "Big *plan*"), ("x" * 200, "x" * 79 + "…"),
        ("##\nReal", "Real"), ("a\u2028b", "a"),
    ],
)  # fmt: skip
def test_the_title_is_the_first_line_of_the_prompt(client: Client, repo: Path, prompt: str, title: str) -> None:
    end = run(client, repo, prompt)
    assert client("sessions/get", sessionId=end["sessionId"])["title"] == title


def test_messages_and_loops(client: Client, repo: Path) -> None:
    first = run(client, repo, "the first task", "echo working")
    session = first["sessionId"]
    config = shell(f"test $1 -gt 1 && echo '{DONE}'")
    second = client("start", workspace=str(repo), prompt="the second", sessionId=session, config=config)["runId"]
    client("addContext", runId=second, text="a hint of mine")
    client.settled(second)
    found = client("sessions/get", sessionId=session)
    assert found["status"] == "completed"
    assert [loop["runId"] for loop in found["loops"]] == [second, first["runId"]]
    said = [(m["role"], m["kind"], m["text"].splitlines()[0]) for m in found["messages"]]
    assert said[:3] == [
        ("user", "prompt", "the first task"), ("agent", "final", "working"),
        ("system", "end", "Completed after 1 iteration: the agent gave its promise."),
    ]  # fmt: skip
    assert ("user", "prompt", "the second") in said
    assert [text for role, _, text in said if role == "user"].count("a hint of mine") == 1
    ids = [m["messageId"] for m in found["messages"]]
    assert [m["messageId"] for m in client("sessions/get", sessionId=session, before=ids[2])["messages"]] == ids[:2]
    assert client.refused("sessions/get", sessionId=session, before="msg_none").code == NOT_FOUND


def test_a_start_in_a_session_that_is_being_deleted(client: Client, repo: Path) -> None:
    """One comes first: no loop without a session, and no failure inside."""
    for passing in range(12):
        session = client("sessions/create", workspace=str(repo))["sessionId"]
        start = {"workspace": str(repo), "sessionId": session, "prompt": "x", "config": shell("sleep 30")}
        started = client.send("ralph/start", start)
        for _ in range(passing):  # what passes time
            client("health")
        deleted = client.send("ralph/sessions/delete", {"sessionId": session})
        start, delete = client.response(started), client.response(deleted)
        if "result" in start:
            assert delete["error"]["code"] == INVALID_STATE
            assert client("cancel", runId=start["result"]["runId"])["status"] == "cancelled"
        else:
            assert (start["error"]["code"], delete["result"]) == (NOT_FOUND, {})


def test_deleting_takes_everything_along(client: Client, box: Box, repo: Path) -> None:
    end = run(client, repo, "to be deleted", "echo 'Error: to be deleted'; echo new > new.txt")
    kept = run(client, repo, "to be kept")
    run_id, session = end["runId"], end["sessionId"]
    assert client("file", runId=run_id, iteration=1, path="new.txt", side="after")["text"] == "new\n"
    assert client("sessions/delete", sessionId=session) == {}
    assert client.refused("sessions/get", sessionId=session).code == NOT_FOUND
    assert client("status", runId=run_id) is None
    for name, params in (("output", {}), ("history", {}), ("prompt", {"iteration": 1})):
        assert client.refused(name, runId=run_id, **params).code == NOT_FOUND
    assert client("search", text="deleted")["hits"] == []
    refs = [str(p) for p in (box.data / "snapshots").rglob("*") if run_id in str(p)]
    packed = [p for p in (box.data / "snapshots").rglob("packed-refs") if run_id in p.read_text()]
    assert (refs, packed) == ([], [])
    assert client("status", runId=kept["runId"])["status"] == "completed"
    assert (repo / "new.txt").exists()


def test_not_while_a_loop_is_active(client: Client, repo: Path) -> None:
    config = {**shell("true"), "iterationDelayMs": HOUR_MS}
    started = client("start", workspace=str(repo), prompt="x", config=config)
    client.wait("didChange", lambda s: s["runId"] == started["runId"] and s.get("phase") == "delay")
    assert client.refused("sessions/delete", sessionId=started["sessionId"]).code == INVALID_STATE
    client("pause", runId=started["runId"])
    assert client.refused("sessions/delete", sessionId=started["sessionId"]).code == INVALID_STATE
    client("cancel", runId=started["runId"])
    client("sessions/delete", sessionId=started["sessionId"])


def test_a_session_is_of_its_repository(client: Client, box: Box, repo: Path) -> None:
    session = client("sessions/create", workspace=str(repo))["sessionId"]
    other = box.repo("other")
    config = shell("true")
    assert client.refused("start", workspace=str(other), prompt="x", sessionId=session, config=config).code < 0
    assert client.refused("start", workspace=str(repo), prompt="x", sessionId="ses_no", config=config).code == NOT_FOUND
