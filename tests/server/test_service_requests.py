"""The helper as a service: asked for by editors and by the terminal, handing over, ending itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell, until
from client import Client

FAKE = Path(__file__).parents[1] / "unit" / "service" / "fake_systemctl.py"
UNIT = ".config/systemd/user/ralph-loop.service"


@pytest.fixture
def managed(shared: Box) -> Iterator[Box]:
    """A box with a service manager of its own."""
    folder = shared.folder / "bin"
    folder.mkdir()
    (shared.folder / "systemd").mkdir()
    script = folder / "systemctl"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    script.chmod(0o755)
    shared.env |= {"PATH": f"{folder}:{shared.env['PATH']}", "FAKE_SYSTEMD": str(shared.folder / "systemd")}
    yield shared
    subprocess.run([script, "--user", "stop", "ralph-loop.service"], env=shared.env, check=True)


def terminal(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ralph_loop", *arguments, "--data-dir", str(box.data)]
    return subprocess.run(command, env=box.env, cwd=box.folder, capture_output=True, text=True, timeout=60, check=False)


def service_pid(box: Box) -> int:
    return int((box.folder / "systemd" / "pid").read_text())


def serving(box: Box, pid: int) -> bool:
    return box.endpoint is not None and box.endpoint["pid"] == pid


def test_without_a_manager_it_says_so_and_leaves_nothing(shared: Box) -> None:
    shared.env["PATH"] = "/usr/bin:/bin"
    shared.env["XDG_RUNTIME_DIR"] = str(shared.folder)  # where no session is
    shared.env.pop("DBUS_SESSION_BUS_ADDRESS", None)
    client = shared.client()
    assert client("service/status") == {"installed": False, "running": False, "manager": "none"}
    for action in ("install", "uninstall", "start", "stop"):
        error = client.refused(f"service/{action}")
        assert (error.code, error.data["kind"]) == (1011, "notAvailable")
        done = terminal(shared, "service", action)
        assert done.returncode == 1
        assert "systemd" in done.stderr and "Traceback" not in done.stderr
    assert terminal(shared, "service", "status").returncode == 3
    assert list(shared.home.rglob("*")) == []


def test_an_idle_helper_hands_over_after_its_answer(managed: Box) -> None:
    client = managed.client()
    first = client("health")["pid"]
    status = client("service/install")
    assert status == {"installed": True, "running": True, "manager": "systemd", "unitPath": str(managed.home / UNIT)}
    client.wait_ended()  # its helper made room
    until(lambda: not managed.alive(first), "the first helper is gone")
    again = managed.spawn("lsp")  # an editor's forwarder
    again.initialize()
    assert again("health")["pid"] == service_pid(managed)
    assert again("service/status")["running"] is True


def test_a_helper_with_loops_keeps_them_and_hands_over_when_they_have_ended(managed: Box) -> None:
    client = managed.client()
    repo, gate = managed.repo(), managed.gate()
    config = shell(f"read x < '{gate.path}'; echo '{DONE}'")
    run = client("start", workspace=str(repo), prompt="work", config=config)["runId"]
    first = client("health")["pid"]
    done = terminal(managed, "service", "install")
    assert done.returncode == 0, done.stderr
    assert f"process {first}" in done.stdout and "1 loop" in done.stdout
    assert client("service/status")["running"] is True
    assert client("health")["pid"] == first  # still served by whom it was
    client("watch", all=True)
    gate.open()
    assert client.settled(run)["stopReason"] == "completed"
    until(lambda: serving(managed, service_pid(managed)), "the service took over")
    again = managed.spawn("lsp")
    again.initialize()
    assert again("status", runId=run)["status"] == "completed"


def begin_service(box: Box, action: str = "install") -> None:
    """An editor that connects too early starts a helper of its own, which then hands over."""
    assert terminal(box, "service", action).returncode == 0
    until(lambda: serving(box, service_pid(box)), "the service serves")


def test_a_service_that_stops_itself_answers_first_and_pauses_its_loops(managed: Box) -> None:
    begin_service(managed)
    client = managed.spawn("lsp")
    client.initialize()
    pid = client("health")["pid"]
    assert pid == service_pid(managed)
    config = shell("sleep 600")
    run = client("start", workspace=str(managed.repo()), prompt="work", config=config)["runId"]
    client("watch", all=True)
    status = client("service/stop")
    assert (status["installed"], status["running"]) == (True, False)
    client.wait_ended()
    until(lambda: not managed.alive(pid), "the service is gone")
    assert terminal(managed, "service", "status").returncode == 3
    begin_service(managed, "start")
    again = managed.spawn("lsp")
    again.initialize()
    assert again("health")["pid"] == service_pid(managed) != pid
    assert again("status", runId=run)["status"] == "paused"
    again("cancel", runId=run)


def test_a_helper_whose_loops_are_paused_hands_them_over(managed: Box) -> None:
    client = managed.client()
    run = client("start", workspace=str(managed.repo()), prompt="work", config=shell("sleep 600"))["runId"]
    client("pause", runId=run, when="now")
    begin_service(managed)
    client.wait_ended()
    again = managed.spawn("lsp")
    again.initialize()
    assert again("status", runId=run)["status"] == "paused"
    again("cancel", runId=run)


def test_a_service_that_removes_itself_answers_first_and_leaves_nothing(managed: Box) -> None:
    begin_service(managed)
    client = managed.spawn("lsp")
    client.initialize()
    pid = client("health")["pid"]
    assert client("service/uninstall") == {"installed": False, "running": False, "manager": "systemd"}
    client.wait_ended()
    until(lambda: not managed.alive(pid), "the service is gone")
    assert [path for path in managed.home.rglob("*") if path.name != ".config"] == []


def test_two_requests_at_once_are_both_answered(managed: Box) -> None:
    client = managed.client()
    ids = [client.send("ralph/service/install", {}) for _ in range(2)]
    assert all(client.answer(id_)["installed"] for id_ in ids)


def test_the_terminal_installs_stops_starts_and_removes_without_a_helper(managed: Box) -> None:
    def status() -> dict[str, Any]:
        return json.loads(terminal(managed, "service", "status", "--json").stdout)

    assert status() == {"installed": False, "running": False, "manager": "systemd"}
    for _ in range(2):  # again is no error
        done = terminal(managed, "service", "install")
        assert done.returncode == 0, done.stderr
        assert str(managed.home / UNIT) in done.stdout
    assert status() == {"installed": True, "running": True, "manager": "systemd", "unitPath": str(managed.home / UNIT)}
    assert terminal(managed, "service", "stop").returncode == 0
    assert status()["running"] is False
    assert terminal(managed, "service", "start").returncode == 0
    assert status()["running"] is True
    assert terminal(managed, "service", "uninstall").returncode == 0
    assert status() == {"installed": False, "running": False, "manager": "systemd"}


def test_start_without_an_install_is_refused(managed: Box) -> None:
    client = managed.client()
    error = client.refused("service/start")
    assert (error.code, error.data["status"], error.data["allowed"]) == (1003, "notInstalled", ["installed"])


def test_an_agent_may_look_but_not_touch(managed: Box) -> None:
    client = managed.client()
    inside = managed.folder / "agent.py"
    inside.write_text(AGENT)
    config = {"agent": "custom", "command": [sys.executable, str(inside), str(managed.data)]}
    env = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}
    run = client("start", workspace=str(managed.repo()), prompt="x", config=config | {"maxIterations": 1}, env=env)
    client("subscribe", runId=run["runId"], view="raw")
    client.settled(run["runId"])
    client.wait_printed(run["runId"], "looked False, refused 1014")
    assert not (managed.home / UNIT).exists()


AGENT = """
import sys
from pathlib import Path
from ralph_loop.shared.client import Client, ResponseError

client = Client.connect(Path(sys.argv[1]), start=False)
looked = client.request("ralph/service/status")["installed"]
try:
    client.request("ralph/service/install")
except ResponseError as error:
    print(f"looked {looked}, refused {error.code}", flush=True)
"""


@pytest.mark.parametrize("seconds", ["0", "0.2"])
def test_idle_0_means_never(shared: Box, seconds: str) -> None:
    process = shared.start("serve", "--idle", seconds)
    until(lambda: shared.endpoint is not None or process.poll() is not None, "the helper listens")
    client: Client = shared.direct()
    client.initialize()
    client.close()
    if seconds == "0":
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(2)  # ten times as long as the other one takes
    else:
        assert process.wait(10) == 0
