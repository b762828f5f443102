"""The commands that look at loops and steer them, as clients of a real helper that they start themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from box import DONE, Box
from terminals import Terminal, agent


@pytest.fixture
def box(common_shared: Box) -> Box:
    return common_shared


PROMISE = f"echo '{DONE}'"


def test_the_configuration_there_is(terminal: Terminal, repo: Path) -> None:
    assert terminal("config", "set", "maxFailures", "7").code == 0
    assert terminal("config", "set", "opencode.password", "hush").code == 0
    assert terminal("config", "set", "my.key", '{"a": 1}').code == 0
    listed = terminal("config", "list", cwd=repo).out
    assert "maxIterations = 50  (the default)\n    integer from 0 on · the loop stops after this many" in listed
    assert "maxFailures = 7  (yours; the default: 3)\n    integer from 1 on · " in listed
    assert 'my.key = {"a": 1}  (yours)' in listed and "hush" not in listed
    assert terminal("config", "list", "--json").json["values"]["maxFailures"] == 7
    for key in ("maxFailures", "opencode.password", "my.key"):
        assert terminal("config", "delete", key).code == 0


def test_a_folder_without_git_is_not_told_as_unchanged(terminal: Terminal, box: Box) -> None:
    plain = box.folder_of("plain")
    ended = terminal("run", "x", *agent(f"echo made > f; {PROMISE}"), cwd=plain)
    assert ended.code == 0 and (plain / "f").exists()
    assert "not a git repository" in ended.out and "no change recorded" in ended.out
    assert "Result    no change recorded\n" in terminal("status", cwd=plain).out
    refused = terminal("diff", cwd=plain)
    assert refused.code == 1 and "No change is recorded: not a git repository." in refused.err


def test_the_whole_output_and_parts_of_it(terminal: Terminal, repo: Path) -> None:
    script = (
        f"printf 'out %s\\377\\000no newline' $1; printf 'err\\n' >&2; sleep 0.1; [ $1 = 1 ] || printf '\\n{DONE}\\n'"
    )
    terminal("run", "x", "--json", *agent(script), cwd=repo)
    out = [b"out 1\xff\0no newline", b"out 2\xff\0no newline\n" + DONE.encode() + b"\n"]
    raw = terminal("logs", "--raw", "--stream", "stdout", cwd=repo).raw
    assert raw == b"".join(out)
    assert terminal("logs", "--raw", "--stream", "stderr", cwd=repo).raw == b"err\nerr\n"
    both = terminal("logs", "--raw", cwd=repo).raw
    assert sorted(both) == sorted(raw + b"err\nerr\n")
    assert terminal("logs", "--raw", "--iteration", "2", "--stream", "stdout", cwd=repo).raw == out[1]
    assert terminal("logs", "--raw", "-f", "--stream", "stdout", cwd=repo).raw == raw

    text = terminal("logs", cwd=repo).out
    assert [line[:16] for line in text.splitlines() if line.startswith("──")] == [
        "── iteration 1/5",
        "── iteration 2/5",
    ]
    assert "out 1\ufffdno newline\n" in text
    last = terminal("logs", "--last", "1", cwd=repo).out
    assert "out 1" not in last and "out 2" in last and "iteration 2/50" in last
    second = terminal("logs", "--iteration", "2", cwd=repo).out
    assert "out 2" in second and "out 1" not in second and "──" not in second
    document = terminal("logs", "--json", "--iteration", "1", cwd=repo).json
    assert {chunk["iteration"] for chunk in document["chunks"]} == {1}
    beyond = terminal("logs", "--iteration", "3", cwd=repo)
    assert (beyond.code, beyond.err) == (1, "ralph-loop: There is no iteration 3; the last one is 2.\n")


def test_hints_are_added_listed_delivered_and_cleared(terminal: Terminal, box: Box, repo: Path) -> None:
    assert terminal("add-context", "before", "any", "loop", cwd=repo).out == "Added: the next loop here gets it.\n"
    gate = box.gate()
    terminal("run", "x", "--detach", *agent(f'read x < "$BOX/gate"; [ $1 = 1 ] || {PROMISE}'), cwd=repo)
    assert terminal("add-context", "-", cwd=repo, given="zwei\nZeilen ü\n".encode()).code == 0
    added = terminal("add-context", "--json", "third", cwd=repo).json
    assert added["state"] == "pending"
    items = terminal("context", "--json", cwd=repo).json["items"]
    assert [item["text"] for item in items] == ["before any loop", "zwei\nZeilen ü\n", "third"]
    assert terminal("status", "--json", cwd=repo).json["pendingContext"] >= 2
    gate.open()
    terminal.status(repo, lambda loop: loop["iteration"] == 2 and loop["phase"] == "agent", "the second iteration")
    assert "zwei\nZeilen ü" in terminal("prompt", "2", cwd=repo).out
    terminal("add-context", "never given", cwd=repo)
    listed = terminal("context", "clear", cwd=repo).out
    assert "delivered in 1" in listed and "delivered in 2" in listed
    assert "cleared" in listed and "zwei Zeilen ü" in listed
    assert terminal("cancel", cwd=repo).out == "Cancelled after 2 iterations. Nothing of it runs any more.\n"
    again = terminal("cancel", cwd=repo)
    assert (again.code, again.out) == (1, "")
    assert "cancelled already" in again.err


def test_json_of_the_steering_commands(terminal: Terminal, box: Box, repo: Path) -> None:
    terminal("run", "x", "--detach", *agent("exec sleep 97"), cwd=repo)
    assert terminal("pause", "--now", "--json", cwd=repo).json["status"] == "paused"
    paused = terminal("status", cwd=repo).out
    assert paused.startswith("● paused") and "Go on with: ralph-loop resume" in paused
    assert terminal("resume", "--json", "--max-iterations", "7", cwd=repo).json["maxIterations"] == 7
    assert terminal("cancel", "--json", cwd=repo).json["status"] == "cancelled"
    elsewhere = terminal("resume", "--repo", str(repo))
    assert elsewhere.code == 1
    assert "cancelled" in elsewhere.err


def test_a_loop_file_needs_trust_for_its_command(terminal: Terminal, repo: Path) -> None:
    (repo / "LOOP.md").write_text(
        f"---\nagent: custom\ncommand: [/bin/sh, -c, \"echo '{DONE}'\"]\nmaxIterations: 3\n---\nDo it\n"
    )
    refused = terminal("run", "-f", "LOOP.md", cwd=repo)
    assert (refused.code, refused.out) == (1, "")
    assert "ralph-loop trust" in refused.err
    assert terminal("trust", cwd=repo).out == f"{repo} is trusted now.\n"
    assert terminal("run", "-f", "LOOP.md", cwd=repo).code == 0
    assert terminal("trust", "--no", "--json", cwd=repo).json["trusted"] is False
    assert terminal("run", "-f", "LOOP.md", cwd=repo).code == 1
    (repo / "LOOP.md").write_text("---\nmaxIterations: many\n---\nDo it\n")
    broken = terminal("run", "-f", "LOOP.md", cwd=repo)
    assert broken.code == 1
    assert f"{repo}/LOOP.md:2:" in broken.err


def test_what_the_helper_refuses_as_wrong_is_wrong_usage(terminal: Terminal, repo: Path) -> None:
    for options, told in (
        (["--rotation", "opencode:"], "ralph-loop: --rotation: Invalid rotation entry 'opencode:'."),
        (["--agent", "nobody"], "ralph-loop: --agent: 'nobody' is not an agent"),
        (["--preset", "none", "--agent", "demo"], "ralph-loop: --preset: "),
        (["--agent", "custom"], "ralph-loop: the command after --: "),
    ):
        refused = terminal("run", "x", *options, cwd=repo)
        assert (refused.code, refused.out) == (64, "")
        assert told in refused.err


def test_an_agent_that_is_not_installed(terminal: Terminal, repo: Path) -> None:
    refused = terminal("run", "x", "--agent", "claude", cwd=repo, PATH="/usr/bin:/bin")
    assert (refused.code, refused.out) == (1, "")
    assert "npm install -g @anthropic-ai/claude-code" in refused.err


def test_strange_bytes_on_the_command_line(terminal: Terminal, repo: Path) -> None:
    refused = terminal("run", b"\xff".decode(errors="surrogateescape"), cwd=repo)
    assert refused.code == 64
    assert "not valid UTF-8" in refused.err
    folder = repo / b"na\xffme".decode(errors="surrogateescape")
    folder.mkdir()
    refused = terminal("run", "x", "--agent", "demo", cwd=folder)
    assert refused.code == 64
    assert "--repo" in refused.err and "UTF-8" in refused.err


def test_head_is_no_traceback(terminal: Terminal, repo: Path) -> None:
    script = f"i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo line; done; {PROMISE}"
    terminal("run", "x", "--json", *agent(script), cwd=repo)
    for command in (["logs"], ["history", "--json"], ["logs", "--raw"], ["list"], ["--help"]):
        shell = subprocess.run(
            ["/bin/bash", "-c", 'set -o pipefail; "$@" | true', "bash", sys.executable, "-m", "ralph_loop", *command],
            capture_output=True, text=True, cwd=repo, env=terminal.env, timeout=60, check=False,
        )  # fmt: skip
        assert shell.returncode in (0, 141)
        assert shell.stderr == ""


def test_a_locale_that_cannot_say_everything(terminal: Terminal, repo: Path) -> None:
    done = terminal("run", "x", *agent(f"touch 日本; echo 日本; {PROMISE}"), cwd=repo, PYTHONIOENCODING="latin-1")
    assert done.code == 0
    text = done.raw.decode("latin-1")
    assert "-- iteration 1/50" in text
    assert "A +0 -0 ??" in text
    assert "+ Completed" in text


def test_a_question_costs_only_what_it_needs(terminal: Terminal, repo: Path) -> None:
    """`status --json` is asked by prompts and scripts: what takes long to import is not imported."""
    terminal("health")
    code = (
        "import sys; from ralph_loop.cli import main; code = main(['status', '--json']);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=repo, env=terminal.env, check=False
    )
    assert done.returncode == 0
    assert json.loads(done.stdout) is None
    loaded = set(done.stderr.split())
    assert "ralph_loop.shared.client" in loaded
    assert not loaded & {"asyncio", "rich", "cattrs", "lsprotocol", "pygls", "pygit2", "sqlite3", "ralph_loop.protocol"}
