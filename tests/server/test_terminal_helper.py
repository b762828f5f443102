"""Commands and the helper behind them: none yet, one that cannot start, is cut off, killed, stopped or replaced."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from box import DONE, Box, until
from terminals import Proxy, Terminal, agent

PROMISE = f"echo '{DONE}'"


@pytest.fixture
def box(shared: Box) -> Box:
    """One for each test: what it does to its helper, or finds in a list, is nothing for the others."""
    return shared


def test_nothing_yet(terminal: Terminal, repo: Path) -> None:
    status = terminal("status", cwd=repo)
    assert (status.code, status.out) == (0, "No loop was ever started here.\n")
    assert terminal("status", "--json", cwd=repo).json is None
    assert terminal("list", "--json").json == {"loops": [], "more": False}
    assert terminal("context", "--json", cwd=repo).json == {"items": []}
    for command in (["history"], ["logs"], ["logs", "-f"], ["cancel"], ["pause"], ["resume"], ["prompt", "1"]):
        refused = terminal(*command, cwd=repo)
        assert (refused.code, refused.out) == (1, "")
        assert "ralph-loop: No loop was ever started in this folder." in refused.err
        assert "ralph-loop run" in refused.err
    unknown = terminal("status", "--run", "run_none")
    assert (unknown.code, unknown.out) == (1, "")
    assert "'run_none'" in unknown.err


def test_looking_at_a_loop_that_ended(terminal: Terminal, box: Box, repo: Path) -> None:
    script = f'echo "hello $1"; echo problem >&2; touch file$1; [ $1 = 1 ] || {PROMISE}'
    run = terminal("run", "Make files", "--json", *agent(script), cwd=repo).json["runId"]

    text = terminal("status", cwd=repo).out
    assert text.startswith("● completed  iteration 2/50")
    assert "Prompt    Make files\n" in text
    assert "Result    2 files changed\n" in text
    assert f"Loop      {run}\n" in text
    snapshot = terminal("status", "--json", "--run", run).json
    assert (snapshot["status"], snapshot["iteration"]) == ("completed", 2)

    (repo / "below").mkdir()
    assert terminal("status", "--json", cwd=repo / "below").json["runId"] == run
    assert terminal("status", "--json", "--repo", "repo/below").json["runId"] == run

    found = terminal("list", "--json").json
    assert [loop["runId"] for loop in found["loops"]] == [run]
    assert terminal("list", "--active", "--json").json["loops"] == []
    other = box.repo("other")
    assert terminal("list", "--repo", str(other), "--json").json["loops"] == []
    row = terminal("list").out.splitlines()[-1]
    assert row.startswith(run) and row.endswith("Make files")

    history = terminal("history", "--json", cwd=repo).json
    assert [record["iteration"] for record in history["iterations"]] == [1, 2]
    assert not history["more"]
    assert terminal("history", "--limit", "1", "--json", cwd=repo).json["more"] is True
    table = terminal("history", cwd=repo).out
    assert "A +0 -0 file1" in table
    assert "A +0 -0 file2" in table
    assert "✓ Completed after 2 iterations" in table

    assert "Make files" in terminal("prompt", "2", cwd=repo).out
    prompt = terminal("prompt", "1", "--json", cwd=repo).json["prompt"]
    assert terminal("prompt", "1", cwd=repo).out == prompt
    assert terminal("preview", "Make files", *agent(script), cwd=repo).out == prompt
    missing = terminal("prompt", "3", cwd=repo)
    assert missing.code == 1
    assert "iteration" in missing.err

    health = terminal("health", "--json").json
    assert health["status"] == "ok" and health["shared"] is True
    assert "is well" in terminal("health").out


def test_a_helper_that_cannot_start_is_told(terminal: Terminal, box: Box, repo: Path) -> None:
    box.data.mkdir()
    (box.data / "ralph-loop.db").mkdir()
    refused = terminal("status", cwd=repo)
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("ralph-loop: ")
    assert str(box.data) in refused.err
    box.expected_log.append("ralph-loop.db|database")


def test_the_data_directory_may_stand_before_the_command(terminal: Terminal, box: Box, repo: Path) -> None:
    elsewhere = box.folder / "elsewhere"
    first = terminal("--data-dir", str(elsewhere), "health", "--json", cwd=repo).json
    assert first["database"].startswith(str(elsewhere))
    second = terminal("health", "--json", f"--data-dir={elsewhere}", cwd=repo).json
    assert second["pid"] == first["pid"]
    os.kill(first["pid"], signal.SIGTERM)


COUNT = (
    'i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo "line $i."; sleep 0.02; '
    f'case $i in 10|20|30) read x < "$BOX/gate" ;; esac; done; {PROMISE}'
)


def counted(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("line ")]


def test_a_lost_connection_leaves_no_gap(terminal: Terminal, box: Box, repo: Path) -> None:
    box.serve()
    proxy, gate = Proxy(box), box.gate()
    try:
        command = terminal.start("run", "x", *agent(COUNT), cwd=repo)
        for at in (5, 15, 25):
            command.printed(f"line {at}.")
            proxy.cut()
            gate.open()
        done = command.done()
        assert proxy.accepted >= 4
    finally:
        proxy.close()
    assert done.code == 0
    assert counted(done.out) == [f"line {n}." for n in range(1, 41)]
    assert len([line for line in done.out.splitlines() if line.startswith("── iteration")]) == 1
    box.signal_helper(signal.SIGTERM)


def test_a_helper_that_is_killed_is_replaced_and_the_loop_resumed(terminal: Terminal, box: Box, repo: Path) -> None:
    gate = box.gate()
    script = f'echo "begun $1."; [ $1 = 2 ] || read x < "$BOX/gate"; {PROMISE}'
    command = terminal.start("run", "x", *agent(script), cwd=repo)
    command.printed("begun 1.")
    box.kill_helper()
    began = time.monotonic()
    done = command.done()
    assert time.monotonic() - began < 10
    assert done.code == 1
    assert "Interrupted after 1 iteration" in done.out
    assert "ralph-loop resume --follow" in done.out
    resumed = terminal("resume", "--follow", cwd=repo)
    assert resumed.code == 0
    assert "begun 2." in resumed.out
    assert "begun 1." not in resumed.out
    assert "interrupted" in resumed.out  # in the history
    del gate


def test_a_helper_that_is_stopped_pauses_and_the_terminal_stays(terminal: Terminal, box: Box, repo: Path) -> None:
    box.gate()
    script = f'echo "begun $1."; [ $1 = 2 ] || read x < "$BOX/gate"; {PROMISE}'
    command = terminal.start("run", "x", *agent(script), cwd=repo)
    command.printed("begun 1.")
    box.signal_helper(signal.SIGTERM)
    command.printed("Paused.\n  Go on with: ralph-loop resume")
    assert terminal("resume", cwd=repo).code == 0
    done = command.done()
    assert done.code == 0
    assert "Goes on.\n" in done.out
    assert done.out.partition("Goes on.")[2].partition("\n#")[0].count("begun 2.") == 1


def test_the_demonstration_leaves_nothing(terminal: Terminal, box: Box) -> None:
    folder = box.folder / "demos"
    done = terminal("demo", "--in", str(folder), "--repo=", "--agent=", "--prompt=")
    assert done.code == 0
    assert "✓ Completed after 4 iterations" in done.out
    (home,) = folder.iterdir()
    assert f"The repository: {home}/repository" in done.out
    assert box.git(home / "repository", "log", "--format=%s").split() == ["Begin"]
    assert not [line for line in box.processes().values() if str(home) in line]
    place = ["--data-dir", str(home / "data"), "--repo", str(home / "repository")]
    assert [record["iteration"] for record in terminal("history", "--json", *place).json["iterations"]] == [1, 2, 3, 4]
    os.kill(json.loads((home / "data/helper.json").read_text())["pid"], signal.SIGTERM)


def test_ctrl_c_in_the_demonstration_leaves_nothing(terminal: Terminal, box: Box) -> None:
    folder = box.folder / "demos"
    command = terminal.on_tty(
        "demo", "--in", str(folder), "--repo", str(box.repo()), "--prompt", "x", *agent("echo ready; exec sleep 97")
    )
    command.printed("ready")
    command.press(b"\x03")
    assert command.done().code == 130
    assert until(lambda: not [p for p in box.processes().values() if "ralph" in p], "nothing of it runs")
