"""Hints: each goes to the next iteration that starts, exactly once, whoever gave it and whatever happens meanwhile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, Gates, shell, until
from client import Client


@pytest.fixture
def box(common: Box) -> Box:
    return common


@pytest.fixture
def gates(box: Box) -> Gates:
    return box.gates()


def start(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> str:
    return client("start", workspace=str(repo), prompt="do it", config={**agent, **config})["runId"]


def at_agent(client: Client, run: str, iteration: int) -> None:
    client.wait("didChange", lambda s: (s["runId"], s.get("phase"), s["iteration"]) == (run, "agent", iteration))


def prompts(client: Client, run: str) -> list[str]:
    count = client("status", runId=run)["iteration"]
    return [client("prompt", runId=run, iteration=number)["prompt"] for number in range(1, count + 1)]


def where(client: Client, run: str, text: str) -> list[int]:
    """The iterations whose prompt holds a hint."""
    return [number for number, prompt in enumerate(prompts(client, run), 1) if text in prompt]


def states(client: Client, **target: str) -> list[tuple[Any, ...]]:
    return [(i["text"], i["state"], i.get("iteration")) for i in client("listContext", **target)["items"]]


def test_hints_during_an_iteration_go_to_the_next_one(client: Client, repo: Path, gates: Gates) -> None:
    run = start(client, repo, shell(f"{gates.wait}; test $1 -lt 3 || echo '{DONE}'"))
    at_agent(client, run, 1)
    texts = ["first hint", "second\nwith two lines", "ü€ $& {{prompt}} <promise>COMPLETE</promise>"]
    ids = [client("addContext", runId=run, text=text)["contextId"] for text in texts]
    assert len(set(ids)) == 3
    assert client("status", runId=run)["pendingContext"] == 3
    assert client.wait("didChange", lambda s: s["pendingContext"] == 3)
    assert states(client, runId=run) == [(text, "pending", None) for text in texts]
    gates.open(1)
    at_agent(client, run, 2)
    assert client("status", runId=run)["pendingContext"] == 0
    assert states(client, runId=run) == [(text, "delivered", 2) for text in texts]
    gates.open(2)
    gates.open(3)
    assert client.settled(run)["stopReason"] == "completed"
    for text in texts:
        assert where(client, run, text) == [2], text
    second = prompts(client, run)[1]
    assert second.index(texts[0]) < second.index(texts[1]) < second.index(texts[2])
    records = client("history", runId=run)["iterations"]
    assert [r["contextIds"] for r in records] == [[], ids, []]
    roles = [(m["role"], m["kind"], m["text"]) for m in client("sessions/get", sessionId=client(
        "status", runId=run)["sessionId"])["messages"]]  # fmt: skip
    assert ("user", "context", "first hint") in roles


def test_hints_before_a_loop_exists(client: Client, box: Box, repo: Path) -> None:
    for text in ("early one", "early two"):
        assert client("addContext", workspace=repo.as_uri(), text=text)["state"] == "pending"
    assert [s[:2] for s in states(client, workspace=str(repo))] == [("early one", "pending"), ("early two", "pending")]
    config = shell(f"echo '{DONE}'")
    other = start(client, box.repo("other"), config)
    client.settled(other)
    config["minIterations"] = 2
    preview = client("preview", workspace=str(repo), prompt="do it", config=config)["prompt"]
    assert "early one" in preview
    run = start(client, repo, config)
    client.settled(run)
    assert prompts(client, run)[0] == preview
    for text in ("early one", "early two"):
        assert (where(client, run, text), where(client, other, text)) == ([1], [])
    # the loop is over: by workspace a hint is for the next one again
    client("addContext", workspace=str(repo), text="for the next")
    again = start(client, repo, config)
    client.settled(again)
    assert (where(client, run, "for the next"), where(client, again, "for the next")) == ([], [1])


def test_clearing_hints(client: Client, repo: Path, gates: Gates) -> None:
    client("addContext", workspace=str(repo), text="unheard-of")
    assert [i["state"] for i in client("clearContext", workspace=str(repo))["items"]] == ["cleared"]
    run = start(client, repo, shell(f"{gates.wait}; test $1 -lt 2 || echo '{DONE}'"))
    at_agent(client, run, 1)
    client("addContext", runId=run, text="cleared hint")
    items = client("clearContext", runId=run)["items"]
    assert [(i["text"], i["state"]) for i in items] == [("cleared hint", "cleared")]
    assert client("status", runId=run)["pendingContext"] == 0
    client("addContext", sessionId=client("status", runId=run)["sessionId"], text="kept hint")
    gates.open(1)
    gates.open(2)
    client.settled(run)
    assert (where(client, run, "cleared hint"), where(client, run, "unheard-of")) == ([], [])
    assert where(client, run, "kept hint") == [2]
    assert client("clearContext", runId=run)["items"][-1]["state"] == "delivered"  # what was delivered stays so


def test_a_replaced_iteration_has_its_hints_again(client: Client, repo: Path, gates: Gates) -> None:
    client("addContext", workspace=str(repo), text="hint one")
    run = start(client, repo, shell(f"{gates.wait}; test $1 -lt 4 || echo '{DONE}'"))
    at_agent(client, run, 1)
    client("addContext", runId=run, text="hint two")
    client("pause", runId=run, when="now")
    client("addContext", runId=run, text="hint three")
    client("resume", runId=run)
    at_agent(client, run, 2)
    assert [s[1:] for s in states(client, runId=run)] == [("delivered", 2)] * 3
    client("pause", runId=run, when="now")
    client("resume", runId=run)
    at_agent(client, run, 3)
    gates.open(3)
    gates.open(4)
    client.settled(run)
    assert where(client, run, "hint one") == [1, 2, 3]
    assert where(client, run, "hint two") == [2, 3]
    assert where(client, run, "hint three") == [2, 3]
    assert [r["status"] for r in client("history", runId=run)["iterations"]][2:] == ["completed", "completed"]


def test_context_md_is_taken_whole(client: Client, repo: Path, gates: Gates) -> None:
    ralph = repo / ".ralph"
    ralph.mkdir()
    (ralph / "context.md").write_text("from a file\n\nwith lines\n")
    agent = shell(f"{gates.wait}; test $1 -lt 5 || echo '{DONE}'")
    preview = client("preview", workspace=str(repo), prompt="do it", config=agent)["prompt"]
    assert (ralph / "context.md").exists()  # a preview takes nothing
    run = start(client, repo, agent)
    at_agent(client, run, 1)
    assert not (ralph / "context.md").exists()
    assert prompts(client, run)[0] == preview
    temporary = ralph / "editor.tmp"
    temporary.write_bytes("mit Umlaut ä".encode("cp1252"))  # an editor that replaces the file, in its own encoding
    temporary.rename(ralph / "context.md")
    gates.open(1)
    at_agent(client, run, 2)
    (ralph / "context.md").write_bytes(b"\xef\xbb\xbf  with a BOM \r\n")
    gates.open(2)
    at_agent(client, run, 3)
    (ralph / "context.md").write_text(" \n\t\n")
    gates.open(3)
    at_agent(client, run, 4)
    gates.open(4)
    gates.open(5)
    assert client.settled(run)["stopReason"] == "completed"
    assert where(client, run, "from a file\n\nwith lines") == [1]
    assert where(client, run, "mit Umlaut ä") == [2]
    assert where(client, run, "with a BOM") == [3]
    assert [s[1:] for s in states(client, runId=run)] == [("delivered", n) for n in (1, 2, 3)]
    assert not list(ralph.glob("context*"))


def test_an_inbox_that_is_no_file_harms_nobody(solo: Box) -> None:
    client, repo = solo.client(solo.folder), solo.repo()
    secret = solo.folder / "secret"
    secret.write_text("secret of somebody else")
    ralph = repo / ".ralph"
    ralph.mkdir()
    inbox = ralph / "context.md"
    makers: list[Any] = [
        inbox.mkdir, lambda: os.mkfifo(inbox), lambda: inbox.symlink_to(secret), lambda: inbox.symlink_to("/dev/zero"),
        lambda: inbox.write_bytes(b"x" * 3_000_000), lambda: inbox.write_bytes(b"a\0b\xff\xfe"),
    ]  # fmt: skip
    solo.expected_log = ["context"]
    for make in makers:
        make()
        run = start(client, repo, shell(f"echo '{DONE}'"))
        assert client.settled(run)["stopReason"] == "completed"
        assert "secret" not in prompts(client, run)[0]
        if inbox.is_dir() and not inbox.is_symlink():
            inbox.rmdir()
        inbox.unlink(missing_ok=True)
    assert secret.read_text() == "secret of somebody else"


def test_many_hints_at_once_from_two_clients(shared: Box) -> None:
    gates, repo = shared.gates(), shared.repo()
    first, second = shared.client(shared.folder), shared.client(shared.folder)
    run = start(first, repo, shell(f"{gates.wait}; test $1 -lt 2 || echo '{DONE}'"))
    at_agent(first, run, 1)
    sent = [
        (client, client.send("ralph/addContext", {"runId": run, "text": f"<{name}{number:03}>"}))
        for number in range(100)
        for name, client in (("a", first), ("b", second))
    ]
    for client, id_ in sent:
        client.answer(id_)
    gates.open(1)
    gates.open(2)
    first.settled(run)
    prompt = prompts(first, run)[1]
    for name in "ab":
        found = [prompt.index(f"<{name}{number:03}>") for number in range(100)]
        assert found == sorted(found)  # each client's hints in its order
        assert all(prompt.count(f"<{name}{number:03}>") == 1 for number in range(100))


def test_hints_are_bounded_like_prompts(client: Client, repo: Path) -> None:
    """`ralph/prompt` and `ralph/listContext` must be able to answer with at most 4 MiB."""
    refused = 0
    for _ in range(6):
        id_ = client.send("ralph/addContext", {"workspace": str(repo), "text": "😀" * 50_000})
        refused += "error" in client.response(id_)
    for text in ("x" * 5_000_000, "a\0b"):
        assert client.refused("addContext", workspace=str(repo), text=text).data["key"] == "text"
    run = start(client, repo, shell(f"echo '{DONE}'"))
    client.settled(run)
    assert "😀" in client("prompt", runId=run, iteration=1)["prompt"]
    assert client("listContext", runId=run)["items"]
    assert refused


def test_each_hint_once_over_kills(shared: Box) -> None:
    """kill -9 right after a hint was acknowledged, or while its iteration starts: never lost, never given twice to
    iterations that ran to their end."""
    gates, repo = shared.gates(), shared.repo()
    agent = shell(f'{gates.wait}; test "$x" != end || echo "{DONE}"')
    client = shared.client(shared.folder)
    run = start(client, repo, agent)
    for number in range(1, 4):
        at_agent(client, run, number)
        client("addContext", runId=run, text=f"hint {number}.")
        (repo / ".ralph" / "context.md").write_text(f"file {number}.")
        if number == 2:
            gates.open(number)  # this one ends by itself; the helper dies about when the next one starts
        shared.kill_helper()
        client = shared.client(shared.folder)
        until(lambda c=client: c("status", runId=run)["status"] != "running", "the loop is interrupted")
        client("resume", runId=run)
        number = client("status", runId=run)["iteration"]
    client.wait("didChange", lambda s: s.get("phase") == "agent")
    gates.open(client("status", runId=run)["iteration"], "end")
    assert client.settled(run)["stopReason"] == "completed"
    ended = [r["iteration"] for r in client("history", runId=run)["iterations"] if r["status"] == "completed"]
    for number in range(1, 4):
        for text in (f"hint {number}.", f"file {number}."):
            got = [iteration for iteration in where(client, run, text) if iteration in ended]
            assert len(got) == 1, (text, where(client, run, text), ended)
