"""Several clients of one helper: who hears what, and that none disturbs another."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, Transport, shell, until
from client import Client, Gone


def start(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> str:
    return client("start", workspace=str(repo), prompt="x", config={**agent, **config})["runId"]


def runs(client: Client, method: str) -> set[str]:
    return {params["runId"] for params in client.heard(method)}


def sync(*clients: Client) -> None:
    """Everything that was sent to them before has arrived."""
    for client in clients:
        client("health")


def test_who_hears_of_a_loop(shared: Box) -> None:
    one, two = shared.repo("one"), shared.repo("two")
    (one / "sub").mkdir()
    link = shared.folder / "link"
    link.symlink_to(one)
    shared.git(one, "worktree", "add", "-q", str(shared.folder / "tree"), "-b", "other")
    clients = {
        "folder": shared.client(one), "subfolder": shared.client(one / "sub"), "link": shared.client(link),
        "worktree": shared.client(shared.folder / "tree"), "parent": shared.client(shared.folder),
        "both": shared.client(two, one), "other": shared.client(two), "none": shared.client(),
        "all": shared.client(), "virtual": shared.connection(),
        "root": shared.connection(),
    }  # fmt: skip
    clients["virtual"].initialize("vscode-vfs://github/x/y", "file:///no/such/folder")
    clients["root"].initialize(rootUri=one.as_uri(), workspaceFolders=None)
    assert clients["all"]("watch", all=True) == {"loops": []}
    run = start(clients["none"], one, shell(f"echo '{DONE}'"))
    clients["all"].settled(run)
    sync(*clients.values())
    heard = {name for name, client in clients.items() if run in runs(client, "didChange")}
    assert heard == {"folder", "subfolder", "link", "worktree", "parent", "both", "all", "root"}
    assert {name for name, client in clients.items() if run in runs(client, "didIterate")} == heard
    assert not any(client.heard("didOutput") for client in clients.values())  # only for subscribers
    assert [loop["runId"] for loop in clients["all"]("watch", all=False)["loops"]] == []
    assert [loop["runId"] for loop in clients["folder"]("watch", all=False)["loops"]] == [run]
    event = {"added": [{"uri": one.as_uri(), "name": "one"}], "removed": [{"uri": two.as_uri(), "name": "two"}]}
    clients["other"].notify("workspace/didChangeWorkspaceFolders", {"event": event})
    sync(clients["other"])
    again = start(clients["none"], one, shell("true"), iterationDelayMs=3_600_000)
    clients["none"]("subscribe", runId=again)
    clients["other"].wait("didChange", lambda s: s["runId"] == again)
    clients["none"]("cancel", runId=again)
    clients["none"].settled(again, "cancelled")  # a subscriber hears of it, too
    clients["other"].settled(again, "cancelled")
    sync(clients["all"])
    assert again not in runs(clients["all"], "didChange")


def test_two_clients_steer_one_loop(shared: Box) -> None:
    gates, repo = shared.gates(), shared.repo()
    first, second = shared.client(repo), shared.client(repo)
    run = start(first, repo, shell(f"echo one; {gates.wait}; echo two; test $1 = 1 || echo '{DONE}'"))
    for client in (first, second):
        client("subscribe", runId=run)
        client.wait_printed(run, "one")
    second("pause", runId=run)
    first.wait("didChange", lambda s: s["pauseRequested"])
    gates.open(1)
    assert first.settled(run, "paused")["revision"] == second.settled(run, "paused")["revision"]
    first.close()  # the loop and the other client go on
    second("resume", runId=run)
    gates.open(2)
    assert second.settled(run)["stopReason"] == "completed"
    second.until(lambda: second.printed(run) == f"one\ntwo\none\ntwo\n{DONE}\n")


def test_a_loop_outlives_its_client(shared: Box) -> None:
    repo, watcher = shared.repo(), shared.client(shared.folder)
    for end in ("exit", "close", "kill"):
        gate, client = shared.gate(end), shared.client(repo)
        run = start(client, repo, shell(f'read x < "$BOX/{end}"; echo "{DONE}"'), maxIterations=1)
        watcher.wait("didChange", lambda s, r=run: (s["runId"], s.get("phase")) == (r, "agent"))
        if end == "exit":
            client.request("shutdown")
            client.notify("exit")
            client.wait_ended()
        elif end == "close":
            client.close()
        else:
            shared.kill_client(client)
        gate.open()
        assert watcher.settled(run)["stopReason"] == "completed", end


def test_a_start_whose_client_is_gone_at_once(shared: Box) -> None:
    """The request is carried out whole or not at all: never a loop that is said to run and does not."""
    repos = [shared.repo(f"r{number}") for number in range(5)]
    watcher = shared.client(shared.folder)
    for repo in repos:
        client = shared.direct()
        client.initialize()
        client.send("ralph/start", {"workspace": str(repo), "prompt": "x", "config": shell(f"echo '{DONE}'")})
        client.close()
    for repo in repos:
        last = watcher("list", workspace=str(repo))["loops"]
        if not last:
            last = [watcher.wait("didChange", lambda s, r=repo: s["workspace"] == str(r))]
        assert watcher.settled(last[0]["runId"])["stopReason"] == "completed"


def test_a_helper_that_dies_ends_its_forwarders(shared: Box) -> None:
    first, second = shared.client(), shared.client()
    shared.kill_helper()
    for client in (first, second):
        client.wait_ended()
        with pytest.raises((Gone, OSError, ValueError)):
            client("health")
    again = shared.client()  # a new helper comes
    assert again("health")["status"] == "ok"
    until(lambda: shared.endpoint is not None, "it says where it listens")


def test_environment_of_an_agent(shared: Box) -> None:
    """The client's own, cleaned, with what the start request adds; nothing of the helper's."""
    shared.serve()
    noise = {
        "VSCODE_PID": "1", "VSCODE_IPC_HOOK_CLI": "x", "ELECTRON_RUN_AS_NODE": "1", "NODE_OPTIONS": "x", "GIT_DIR": "x",
        "GIT_INDEX_FILE": "x", "GIT_WORK_TREE": "x", "GIT_ASKPASS": "x",
    }  # fmt: skip
    kept = {"MINE": "yes", "ODD": "ü\n=x", "EMPTY": "", "NODE_ENV": "test", "GIT_AUTHOR_NAME": "me", "XVSCODE_": "1"}
    base = {"PATH": shared.env["PATH"], "BOX": str(shared.folder)}
    client = shared.direct(env={**base, **noise, **kept})
    client.initialize(shared.folder.as_uri())
    repo = shared.repo()
    agent = {"agent": "custom", "command": ["/usr/bin/env", "-0"], "maxIterations": 1}
    extra = {"MINE": "changed", "ADDED": "x y", "VSCODE_X": "no"}

    def environment(**params: Any) -> dict[str, str]:
        run = client("start", workspace=str(repo), prompt="x", config=agent, **params)["runId"]
        client.settled(run)
        text = "".join(chunk["text"] for chunk in client("output", runId=run)["chunks"])
        entries = (entry.partition("=") for entry in text.split("\0")[:-1])
        found = {name: value for name, _, value in entries}
        assert found.pop("RALPH_RUN_ID") == run  # by which what it starts is known to be its own
        return found

    assert environment() == {**base, **kept}
    assert environment(env=extra) == {**base, **kept, "MINE": "changed", "ADDED": "x y"}
    for env in ({"A": "x\0y"}, {"": "x"}, {"A=B": "x"}):
        assert client.refused("start", workspace=str(repo), prompt="x", config=agent, env=env).code == -32602, env
    # a pause does not take away what the start request gave
    script = 'echo "got $ADDED"; test $1 = 2 || sleep 100'
    run = client("start", workspace=str(repo), prompt="x", config=shell(script) | {"maxIterations": 1}, env=extra)[
        "runId"
    ]
    client("subscribe", runId=run)
    client.wait_printed(run, "got x y")
    client("pause", runId=run, when="now")
    other = shared.direct(env={**base, "MINE": "other"})
    other.initialize()
    other("resume", runId=run)
    client.settled(run)
    client.until(lambda: client.printed(run) == "got x y\ngot x y\n")
    assert "hush-hush" not in shared.stored_bytes()  # an environment is never written to disk


@pytest.mark.parametrize("transport", ["embedded", "shared"])
def test_a_client_that_went_without_reading_keeps_nobody_from_ending(transport: Transport) -> None:
    """Its pipe or socket stays open, held by another process, and full."""
    box = Box(transport)
    client, repo = box.client(box.folder), box.repo()
    gate = box.gate()
    flood = "head -c 4000000 /dev/zero | tr '\\0' 'x' | fold -w 99"
    run = start(client, repo, shell(f'read x < "$BOX/gate"; {flood}; touch "$BOX/printed"; echo; echo "{DONE}"'))
    client("subscribe", runId=run)
    client.stop_reading()
    gate.open()
    until((box.folder / "printed").exists, "the agent has printed all")
    helper = box.helper_pid
    client.close_input()
    if transport == "shared":
        os.kill(helper, signal.SIGTERM)
    until(lambda: not box.alive(helper), "the helper ended", 20)
    client.read_on()
    client.wait_ended()
    client.problems.clear()  # a message was cut, as nobody took it
    box.close()
