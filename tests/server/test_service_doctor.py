"""`ralph-loop doctor` finds what is wrong and says what to do."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell


def doctor(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(box, "doctor", *arguments)


def run(box: Box, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ralph_loop", *arguments, "--data-dir", str(box.data)]
    return subprocess.run(command, env=box.env, cwd=box.folder, capture_output=True, text=True, check=False)


def checks(box: Box) -> tuple[int, dict[str, dict[str, Any]]]:
    done = doctor(box, "--json")
    assert "Traceback" not in done.stderr, done.stderr
    document = json.loads(done.stdout)
    assert document["healthy"] is (done.returncode == 0)
    return done.returncode, {check["name"]: check for check in document["checks"]}


def use_programs(box: Box, *names: str) -> Path:
    """A PATH with nothing but these programs."""
    folder = box.folder / "bin"
    folder.mkdir()
    for name in names:
        found = shutil.which(name)
        if found is not None:
            (folder / name).symlink_to(found)
    box.env["PATH"] = str(folder)
    return folder


def test_a_healthy_machine(shared: Box) -> None:
    code, found = checks(shared)
    assert code == 0
    for name in ("python", "git", "data directory", "disk", "database", "socket", "log", "helper", "service"):
        assert found[name]["status"] == "ok", found[name]
    assert "process" in found["helper"]["message"]
    assert found["plan mode"]["status"] in ("ok", "warn")
    code, found = checks(shared)  # now there is a database, and a helper
    assert code == 0
    assert "sound" in found["database"]["message"]


def test_it_is_one_line_for_each_with_what_to_do(shared: Box) -> None:
    done = doctor(shared)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert all(line[:2] in ("✓ ", "⚠ ", "✗ ", "  ") for line in lines), lines
    assert any(line.startswith("✓ git") for line in lines)


def test_installed_agents_and_their_versions(shared: Box) -> None:
    folder = use_programs(shared, "git", "sh", "env")
    agent = folder / "claude"
    agent.write_text("#!/bin/sh\necho '2.1.0 (Claude Code)'\n")
    agent.chmod(0o755)
    _, found = checks(shared)
    assert found["agent claude"] == {"name": "agent claude", "status": "ok", "message": f"2.1.0 ({agent})"}
    assert found["agent codex"]["message"] == "not installed" and "install" in found["agent codex"]["hint"].lower()
    assert "agents" not in found

    bridge = folder / "claude-agent-acp"
    bridge.symlink_to(agent)
    _, found = checks(shared)
    assert found["agent claude"]["message"] == f"2.1.0 ({agent}); also as acp-claude"
    assert found["agent acp-claude"]["message"] == f"2.1.0 ({bridge}); also as claude"
    (line,) = (line for line in run(shared, "agents").stdout.splitlines() if line.startswith("claude "))
    assert line.endswith("; also as acp-claude")


def test_no_agent_at_all_is_a_warning(shared: Box) -> None:
    use_programs(shared, "git")
    code, found = checks(shared)
    assert code == 0
    assert found["agents"]["status"] == "warn"


def test_no_git_is_a_warning_and_a_broken_one_a_failure(shared: Box) -> None:
    folder = use_programs(shared)
    code, found = checks(shared)
    assert (code, found["git"]["status"]) == (0, "warn")
    git = folder / "git"
    git.write_text("#!/bin/sh\necho 'cannot find libz' >&2\nexit 127\n")
    git.chmod(0o755)
    code, found = checks(shared)
    assert (code, found["git"]["status"]) == (1, "fail")
    assert "libz" in found["git"]["message"]


def test_rights_that_are_too_wide(shared: Box) -> None:
    client = shared.client()
    client("config/set", key="model", value="m")
    (shared.data / "ralph-loop.db").chmod(0o644)
    code, found = checks(shared)
    assert code == 0
    assert found["data directory"]["status"] == "warn"
    assert "chmod go-rwx" in found["data directory"]["hint"]
    shared.data.chmod(0o755)
    assert str(shared.data) in checks(shared)[1]["data directory"]["message"]


def test_a_file_in_place_of_the_data_directory(shared: Box) -> None:
    shared.data.write_text("not a folder")
    code, found = checks(shared)
    assert (code, found["data directory"]["status"], found["helper"]["status"]) == (1, "fail", "fail")
    command = [sys.executable, "-m", "ralph_loop", "list", "--data-dir", str(shared.data)]
    told = subprocess.run(command, env=shared.env, cwd=shared.folder, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr.startswith(f"ralph-loop: {shared.data}: data cannot be kept here (File exists). Choose another")
    shared.data.unlink()
    (shared.data / "start.lock").mkdir(parents=True)  # as a file system that is read-only
    told = subprocess.run(command, env=shared.env, cwd=shared.folder, capture_output=True, text=True, check=False)
    assert told.returncode == 1 and "data cannot be kept here (Is a directory). Choose another" in told.stderr


@pytest.mark.parametrize("damage", ["garbage", "torn"])
def test_a_damaged_database_is_told_and_left_alone(shared: Box, damage: str) -> None:
    client, repo = shared.client(), shared.repo()
    config = shell(f"head -c 300000 /dev/urandom | base64; echo '{DONE}'")
    client("watch", all=True)
    client.settled(client("start", workspace=str(repo), prompt="p", config=config)["runId"])
    client.close()
    shared.signal_helper(signal.SIGTERM)
    path = shared.data / "ralph-loop.db"
    content = path.read_bytes()
    assert len(content) > 300_000
    broken = b"garbage" * 1000 if damage == "garbage" else content[:120_000] + b"\xff" * 60_000 + content[180_000:]
    path.write_bytes(broken)
    code, found = checks(shared)
    assert (code, found["database"]["status"]) == (1, "fail")
    assert "damaged" in found["database"]["message"] and "mv " in found["database"]["hint"]
    assert found["helper"]["status"] == "warn"
    assert path.read_bytes() == broken
    assert shared.endpoint is None
    shared.expected_log.append("the database was damaged")
    again = shared.client()
    again.until(lambda: any(name == "window/showMessage" for name, _ in again.notifications), what="a warning")
    told = next(params["message"] for name, params in again.notifications if name == "window/showMessage")
    (kept,) = shared.data.glob("ralph-loop.db.damaged-*")
    assert str(kept) in told and kept.read_bytes() == broken
    assert again("list") == {"loops": [], "more": False}
    command = [sys.executable, "-m", "ralph_loop", "list", "--data-dir", str(shared.data)]
    listed = subprocess.run(command, env=shared.env, cwd=repo, capture_output=True, text=True, check=False)
    assert (listed.returncode, str(kept) in listed.stderr, "damaged" in listed.stdout) == (0, True, False)


def test_a_newer_database(shared: Box) -> None:
    shared.client().close()
    shared.signal_helper(signal.SIGTERM)
    with closing(sqlite3.connect(shared.data / "ralph-loop.db")) as connection:
        connection.execute("INSERT INTO schema_version VALUES (9999, '2030-01-01T00:00:00.000Z')")
        connection.commit()
    code, found = checks(shared)
    assert code == 1
    assert "9999" in found["database"]["message"] and "Update" in found["database"]["hint"]


def test_a_database_of_somebody_else(shared: Box) -> None:
    shared.data.mkdir(mode=0o700)
    with closing(sqlite3.connect(shared.data / "ralph-loop.db")) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    code, found = checks(shared)
    assert (code, found["database"]["status"]) == (1, "fail")


def test_errors_in_the_log_are_counted_and_shown(shared: Box) -> None:
    shared.client()
    shared.expected_log.append("the roof is on fire")
    with (shared.data / "helper.log").open("a") as log:
        log.write("2001-01-01 00:00:00,000 ERROR old: long forgotten\n")
        log.write("2999-01-01 00:00:00,000 ERROR ralph_loop.engine: the roof is on fire\n")
    shared.expected_log.append("long forgotten")
    code, found = checks(shared)
    assert (code, found["log"]["status"]) == (0, "warn")
    assert found["log"]["message"].startswith("1 error ") and "the roof is on fire" in found["log"]["message"]
