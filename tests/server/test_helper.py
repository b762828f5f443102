"""The shared helper: found or started, greeted, kept alive and ended; and who may do what with it."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from box import DONE, PROGRAM, Box, shell, until
from client import RpcError


@pytest.fixture
def box() -> Iterator[Box]:
    """Its helper is started by whoever needs it, as on a user's machine."""
    box = Box("shared")
    try:
        yield box
    finally:
        box.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_started_by_two_editors_at_the_same_instant(box: Box) -> None:
    clients = [box.spawn("lsp"), box.spawn("lsp", "--stdio")]
    for client in clients:
        client.initialize()
    first, second = (client("health") for client in clients)
    assert first["pid"] == second["pid"] == box.helper_pid
    assert first["shared"]
    # it left the editor's process tree, with nothing of it
    helper = box.helper_pid
    assert os.getsid(helper) != os.getsid(0)
    parent = int(Path(f"/proc/{helper}/stat").read_text().rpartition(")")[2].split()[1])
    assert parent != os.getpid()
    assert Path(f"/proc/{helper}/cwd").readlink() == Path("/")
    descriptors = {name: str(Path(f"/proc/{helper}/fd/{name}").readlink()) for name in ("0", "1", "2")}
    assert set(descriptors.values()) == {"/dev/null"} or descriptors["2"].startswith(str(box.data))
    # nobody else can read what is kept
    assert {mode(path) for path in box.data.rglob("*") if path.is_dir()} | {mode(box.data)} == {0o700}
    assert {mode(path) & 0o077 for path in box.data.rglob("*") if not path.is_dir()} == {0}
    for client in clients:
        box.kill_client(client)
        client.wait_ended()
    assert box.alive(helper)


def test_one_engine_per_data_directory(box: Box) -> None:
    box.spawn("lsp").initialize()
    embedded = box.spawn("lsp", "--embedded")
    with pytest.raises(RpcError) as refused:
        embedded.initialize()
    assert (refused.value.code, refused.value.data) == (1012, {"kind": "helperRunning", "pid": box.helper_pid})
    second = subprocess.run(
        [*PROGRAM, "serve", "--data-dir", str(box.data)], env=box.env, capture_output=True, text=True, check=False
    )
    assert second.returncode != 0
    assert str(box.helper_pid) in second.stderr
    assert "Traceback" not in second.stderr


def test_greetings_that_are_refused(box: Box) -> None:
    box.serve()
    for word, theirs in (("ralph-loop/2", "2"), ("ralph-loop/0", "0"), ("GET", "GET")):
        connection, answer = box.greet(word=word)
        connection.close()
        error = json.loads(answer.removeprefix("error "))
        assert (error["code"], error["data"]) == (1010, {"kind": "protocolMismatch", "ours": 1, "theirs": theirs}), word
    for line in (b"ralph-loop/1 {\n", b"ralph-loop/1\n", b"ralph-loop/1 [1]\n", b'ralph-loop/1 {"env": 1}\n'):
        connection, answer = box.greet(line=line)
        connection.close()
        assert answer.startswith("error "), line
    for version in ("0.0.1", "9.9.9"):  # only the protocol version must match
        client = box.direct(version=version)
        client.initialize()
        assert client("health")["status"] == "ok"


def test_a_newer_helper_takes_over_only_when_no_loop_runs(box: Box) -> None:
    box.serve()
    client, repo, gate = box.client(box.folder), box.repo(), box.gate()
    old = box.helper_pid
    agent = shell(f'read x < "$BOX/gate"; echo "{DONE}"')
    run = client("start", workspace=str(repo), prompt="x", config=agent)["runId"]
    connection, answer = box.greet(version="9.9.9", replace=True)
    connection.close()
    assert answer == "ok"  # used as it is: it has a loop
    gate.open()
    client.settled(run)
    until(lambda: client("health")["activeLoops"] == 0, "no loop is left")
    connection, answer = box.greet(version="9.9.9", replace=True)
    connection.close()
    assert answer == "replaced"
    until(lambda: not box.alive(old), "the old one is gone")
    client.wait_ended()


def test_it_ends_when_nobody_needs_it(box: Box) -> None:
    box.arguments = ["--idle", "1"]
    box.serve()
    client = box.direct()
    client.initialize(box.folder.as_uri())
    repo, gate, helper = box.repo(), box.gate(), box.helper_pid
    agent = shell(f'read x < "$BOX/gate"; echo "{DONE}"')
    run = client("start", workspace=str(repo), prompt="x", config=agent)["runId"]
    client.wait("didChange", lambda s: s.get("phase") == "agent")
    client.close()
    with pytest.raises(AssertionError, match="not within"):
        until(lambda: not box.alive(helper), "it waits for its loop", timeout=1.5)
    gate.open()
    until(lambda: not box.alive(helper), "it ended after the last client and the last loop")
    assert box.endpoint is None
    box.arguments = []
    found = box.client()("status", runId=run)
    assert found["stopReason"] == "completed"


def test_over_a_port_with_a_token(box: Box) -> None:
    box.transport = "tcp"
    box.serve()
    endpoint = box.endpoint
    assert endpoint is not None
    assert mode(box.data / "helper.json") == 0o600
    assert len(endpoint["token"]) >= 32
    for token in (None, "", "wrong", endpoint["token"][:-1]):
        connection, answer = box.greet(token=token)
        connection.close()
        assert answer.startswith("error "), token
    client, forwarded = box.client(box.folder), box.spawn("lsp")
    forwarded.initialize(box.folder.as_uri())
    repo = box.repo()
    run = client("start", workspace=str(repo), prompt="x", config=shell(f"echo '{DONE}'"))["runId"]
    assert forwarded.settled(run)["stopReason"] == "completed"


def test_a_client_that_an_agent_started_may_only_read(box: Box) -> None:
    """Also when it left its parents: it must not approve, answer, trust, start or cancel."""
    box.serve()
    client, repo = box.client(box.folder), box.repo()
    command = " ".join([*PROGRAM, "--data-dir", str(box.data)])
    ways = {
        "directly": '{} > "$BOX/$1" 2>&1; echo "exit $?" >> "$BOX/$1"',
        "detached": '(setsid sh -c \'{} > "$BOX/$1" 2>&1; echo "exit $?" >> "$BOX/$1"\' sh "$1" &) ; '
        'while ! grep -q "^exit" "$BOX/$1" 2>/dev/null; do sleep 0.05; done',
    }
    script = ""
    for way, frame in ways.items():
        for order in ("list", "cancel", "trust"):
            name = f"{way}-{order}"
            line = f"{command} {order}"
            script += f"set -- {name}; {frame.format(line)}\n"
    run = client("start", workspace=str(repo), prompt="x", config=shell(script + f"echo '{DONE}'"))["runId"]
    assert client.settled(run)["stopReason"] == "completed"
    for way in ways:
        read = (box.folder / f"{way}-list").read_text()
        assert read.endswith("exit 0\n"), read
        for order in ("cancel", "trust"):
            said = (box.folder / f"{way}-{order}").read_text()
            assert "may read and nothing else" in said, said
            assert not said.endswith("exit 0\n"), said
    assert not client("repos/list")["repos"][0]["trusted"]


def test_its_log_is_bounded_and_tells_no_prompt(box: Box) -> None:
    box.serve()
    client, repo = box.client(box.folder), box.repo()
    run = client("start", workspace=str(repo), prompt="a secret task", config=shell("echo private words"))["runId"]
    client("cancel", runId=run)
    box.signal_helper(signal.SIGTERM)
    assert "a secret task" not in box.log()
    assert "private words" not in box.log()
    with (box.data / "helper.log").open("ab") as log:
        log.truncate(50_000_000)
    box.client()("health")
    sizes = [path.stat().st_size for path in box.data.glob("helper.log")]
    assert sizes
    assert max(sizes) < 50_000_000
