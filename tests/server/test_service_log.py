"""The helper's log: what people may send in a report, so nothing of prompts and output is in it; and how it is read."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import pytest
from box import DONE, Box, shell

SECRET = "s3cr3t-marker"


def terminal(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ralph_loop", *arguments, "--data-dir", str(box.data)]
    return subprocess.run(command, env=box.env, cwd=box.folder, capture_output=True, text=True, check=False)


def helper_log(box: Box) -> str:
    return "".join(path.read_text(errors="replace") for path in sorted(box.data.glob("helper.log*")))


LOOPS: list[dict[str, Any]] = [
    shell(f"echo {SECRET}; echo {SECRET} >&2; echo '{DONE}'"),
    shell(f"echo {SECRET} >&2; exit 1") | {"maxFailures": 1},
    shell(f"echo {SECRET}; kill -9 $$") | {"maxFailures": 1},
    shell(f"echo {SECRET}; sleep 60") | {"iterationTimeoutMs": 300, "maxFailures": 1},
    {"agent": "custom", "command": ["/bin/sh", "-c", f"echo {SECRET}; exit 3", SECRET], "maxFailures": 1},
    shell(f"echo '<promise>{SECRET}</promise>'") | {"abortPromise": SECRET},
]


@pytest.mark.parametrize("transport", ["shared", "embedded"])
def test_no_prompt_and_no_output_is_in_the_log(shared: Box, transport: Any) -> None:
    shared.transport = transport
    client, repo = shared.client(), shared.repo()
    client("watch", all=True)
    for config in LOOPS:
        started = client("start", workspace=str(repo), prompt=f"do {SECRET}", config=config)
        client("addContext", runId=started["runId"], text=f"hint {SECRET}")
        client.settled(started["runId"])
    run = client("start", workspace=str(repo), prompt=SECRET, config=shell(f"echo {SECRET}; sleep 600"))["runId"]
    client("subscribe", runId=run)
    client.wait_printed(run, SECRET)
    client("cancel", runId=run)
    # what is refused, at every level
    client.refused("start", workspace=str(repo), prompt=SECRET, config={"agent": SECRET})
    client.refused("start", workspace=str(repo), prompt=[SECRET])
    client.refused("search", text=SECRET, limit=SECRET)
    client.refused("config/set", key="maxIterations", value=SECRET)
    client.response(client.send("workspace/executeCommand", {"command": SECRET}))
    client.response(client.send("textDocument/hover", {"textDocument": SECRET}))
    client.response(client.send("initialize", {"processId": SECRET}))
    client.notify("textDocument/didOpen", {"textDocument": {"uri": 1, "text": SECRET}})
    client.write_body(f"{SECRET}".encode())
    assert client("search", text=SECRET)["hits"]
    client.close()
    if transport == "shared":
        shared.signal_helper(signal.SIGTERM)
    log = helper_log(shared)
    assert SECRET not in log
    assert transport == "embedded" or "listens" in log


def test_a_helper_that_was_killed_says_nothing_of_it_either(shared: Box) -> None:
    client, repo = shared.client(), shared.repo()
    run = client("start", workspace=str(repo), prompt=SECRET, config=shell(f"echo {SECRET}; sleep 600"))["runId"]
    client("subscribe", runId=run)
    client.wait_printed(run, SECRET)
    shared.kill_helper()
    client = shared.client()
    assert client("status", runId=run)["status"] == "interrupted"
    assert SECRET not in helper_log(shared)


@pytest.mark.parametrize(("level", "lines"), [("ERROR", False), ("INFO", True), ("debug", True)])
def test_the_level_can_be_given(shared: Box, level: str, lines: bool) -> None:
    shared.arguments = ["--log-level", level]
    shared.client()
    assert ("INFO" in helper_log(shared)) is lines
    assert ("DEBUG" in helper_log(shared)) is (level == "debug")


def test_the_level_can_be_set_for_the_next_start(shared: Box) -> None:
    client = shared.client()
    error = client.refused("config/set", key="logLevel", value="loud")
    assert "DEBUG" in error.message and "ERROR" in error.message
    client("config/set", key="logLevel", value="DEBUG")
    assert "DEBUG" not in helper_log(shared)
    shared.signal_helper(signal.SIGTERM)
    shared.client()
    assert "DEBUG" in helper_log(shared)


def test_only_its_person_may_read_the_log(shared: Box) -> None:
    shared.client()
    assert (shared.data / "helper.log").stat().st_mode & 0o777 == 0o600


# ------------------------------------------------------------------------------------------------------- logs --helper
def test_it_is_printed_without_a_helper(shared: Box) -> None:
    done = terminal(shared, "logs", "--helper")
    assert done.returncode == 1 and "no log yet" in done.stderr
    shared.data.mkdir()
    path = shared.data / "helper.log"
    path.write_bytes(b"one\ntwo \xff\x1b]0;title\x07\n" + b"last without an end")
    done = terminal(shared, "logs", "--helper")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["one", "two \ufffd", "last without an end"]
    assert str(path) in done.stderr
    assert shared.endpoint is None


def test_the_last_lines_reach_into_the_file_before(shared: Box) -> None:
    shared.data.mkdir()
    (shared.data / "helper.log.1").write_text("".join(f"old {number}\n" for number in range(300)))
    (shared.data / "helper.log").write_text("new 0\nnew 1\n")
    assert terminal(shared, "logs", "--helper", "--lines", "3").stdout.splitlines() == ["old 299", "new 0", "new 1"]
    assert len(terminal(shared, "logs", "--helper").stdout.splitlines()) == 200


@pytest.mark.parametrize("arguments", [["--lines", "5"], ["--helper", "--raw"], ["--helper", "--lines", "0"]])
def test_what_does_not_go_together_is_told(shared: Box, arguments: list[str]) -> None:
    done = terminal(shared, "logs", *arguments)
    assert done.returncode == 64
    assert len(done.stderr.splitlines()) <= 2


def test_it_follows_over_a_rotation(shared: Box) -> None:
    shared.data.mkdir()
    path = shared.data / "helper.log"
    path.write_text("first\n")
    command = [sys.executable, "-m", "ralph_loop", "logs", "--helper", "-f", "--data-dir", str(shared.data)]
    process = subprocess.Popen(
        command, env=shared.env, cwd=shared.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"first\n"
        with path.open("ab") as file:
            file.write("zw\u00f6lf\n".encode()[:3])
            file.flush()
            file.write("zw\u00f6lf\n".encode()[3:])
        assert process.stdout.readline() == "zw\u00f6lf\n".encode()
        path.rename(shared.data / "helper.log.1")
        path.write_text("after\n")
        assert process.stdout.readline() == b"after\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
