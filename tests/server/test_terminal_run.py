"""`ralph-loop run` and the other ways to follow a loop, with a real helper and real agents."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from box import DONE, Box
from terminals import Terminal, agent, screen_of


@pytest.fixture
def box(common_shared: Box) -> Box:
    return common_shared


DONE_SCRIPT = f"echo '{DONE}'"


def test_the_demo_runs_to_its_end(terminal: Terminal, repo: Path) -> None:
    done = terminal("run", "Roman numerals", "--agent", "demo", cwd=repo)
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    headings = [line for line in lines if line.startswith("── iteration")]
    assert [line.split()[2] for line in headings] == ["1/50", "2/50", "3/50", "4/50"]
    tests = [line.strip() for line in lines if line.strip().startswith(("FAILED", "OK"))]
    assert [*dict.fromkeys(tests)] == ["FAILED (errors=3)", "FAILED (errors=2)", "FAILED (failures=1)", "OK"]
    assert "A +19 -0 ralph-demo/test_roman.py" in done.out
    assert "✓ Completed after 4 iterations" in done.out
    assert "\x1b" not in done.out
    assert (repo / "ralph-demo/roman.py").exists()


def test_one_json_document_and_nothing_else(terminal: Terminal, repo: Path) -> None:
    done = terminal("run", "x", "--json", *agent(f"echo noise; {DONE_SCRIPT}"), cwd=repo)
    assert done.code == 0
    assert done.json["status"] == "completed"
    assert [record["promise"] for record in done.json["iterations"]] == ["completion"]


@pytest.mark.parametrize(
    ("options", "script", "code", "said"),
    [
        (["--max-iterations", "2"], "echo more", 2, "limit of iterations"),
        (["--max-duration", "300ms"], "sleep 20", 2, "time limit"),
        (["--abort-promise", "STUCK"], "echo '<promise>STUCK</promise>'", 1, "abort promise"),
        (["--max-failures", "1"], "echo broken >&2; exit 3", 1, "The agent failed"),
    ],
)
def test_the_exit_code_says_how_it_ended(
    terminal: Terminal, repo: Path, options: list[str], script: str, code: int, said: str
) -> None:
    done = terminal("run", "x", *options, *agent(script), cwd=repo)
    assert done.code == code
    assert said in done.out
    assert terminal("logs", "-f", cwd=repo).code == code


def test_a_loop_goes_on_by_itself_and_can_be_followed_later(terminal: Terminal, box: Box, repo: Path) -> None:
    gate = box.gate()
    started = terminal(
        "run", "x", "--detach", "--json", *agent(f'echo one; read x < "$BOX/gate"; {DONE_SCRIPT}'), cwd=repo
    )
    assert started.json["status"] == "running"
    following = terminal.start("logs", "-f", cwd=repo)
    following.printed("one")
    gate.open()
    done = following.done()
    assert done.code == 0
    assert done.out.count("one\n") == 1
    assert "Completed after 1 iteration" in done.out
    assert terminal("run", "x", "--detach", *agent(DONE_SCRIPT), cwd=repo).out.startswith("Started run_")
    assert terminal("logs", "-f", cwd=repo).code == 0


def test_ctrl_c_ends_what_ignores_everything(terminal: Terminal, box: Box, repo: Path) -> None:
    stubborn = "trap '' TERM INT HUP; (trap '' TERM; setsid sleep 97) & echo ready; while :; do sleep 97; done"
    command = terminal.on_tty("run", "x", *agent(stubborn), cwd=repo)
    command.printed("ready")
    command.press(b"\x03")
    command.printed("Cancelling")
    command.press(b"\x03")
    command.printed("Still cancelling")
    done = command.done()
    assert done.code == 130
    assert "Cancelled after 1 iteration" in done.out
    assert "Nothing of it runs any more" in done.out
    assert not [pid for pid, line in box.processes().items() if "sleep 97" in line]


def test_sigterm_cancels_too(terminal: Terminal, repo: Path) -> None:
    command = terminal.start("run", "x", *agent("echo ready; exec sleep 97"), cwd=repo)
    command.printed("ready")
    command.signal(signal.SIGTERM)
    done = command.done()
    assert done.code == 130
    assert terminal("status", "--json", cwd=repo).json["status"] == "cancelled"


def test_ctrl_c_while_the_loop_waits_between_iterations(terminal: Terminal, repo: Path) -> None:
    command = terminal.start("run", "x", "--delay", "1h", *agent("echo one"), cwd=repo)
    command.printed("goes on")
    command.signal(signal.SIGINT)
    assert command.done().code == 130


def test_closing_the_terminal_leaves_the_loop_running(terminal: Terminal, repo: Path) -> None:
    command = terminal.on_tty("run", "x", *agent("echo ready; exec sleep 97"), cwd=repo)
    command.printed("ready")
    command.signal(signal.SIGHUP)
    assert command.done().code == -signal.SIGHUP
    assert terminal("status", "--json", cwd=repo).json["status"] == "running"
    assert "Nothing of it runs any more" in terminal("cancel", cwd=repo).out


def test_ctrl_c_ends_following_only(terminal: Terminal, repo: Path) -> None:
    terminal("run", "x", "--detach", *agent("echo ready; exec sleep 97"), cwd=repo)
    command = terminal.on_tty("logs", "-f", cwd=repo)
    command.printed("ready")
    command.press(b"\x03")
    done = command.done()
    assert done.code == 130
    assert terminal("status", "--json", cwd=repo).json["status"] == "running"
    terminal("cancel", cwd=repo)


def test_cancelled_elsewhere(terminal: Terminal, repo: Path) -> None:
    command = terminal.start("run", "x", *agent("echo ready; exec sleep 97"), cwd=repo)
    command.printed("ready")
    terminal("cancel", cwd=repo)
    assert command.done().code == 130


def test_a_second_loop_is_refused_with_who_holds_it(terminal: Terminal, repo: Path) -> None:
    first = terminal("run", "x", "--detach", "--json", *agent("exec sleep 97"), cwd=repo).json
    refused = terminal("run", "x", *agent("true"), cwd=repo)
    assert refused.code == 1
    assert refused.out == ""
    assert refused.err.startswith("ralph-loop: A loop already runs in this repository")
    assert f"ralph-loop logs -f --run {first['runId']}" in refused.err
    terminal("cancel", "--run", first["runId"])


def test_nobody_reads_any_more(terminal: Terminal, box: Box, repo: Path) -> None:
    command = terminal.start(
        "run", "x", *agent('read x < "$BOX/gate"; echo late; exec sleep 97'), cwd=repo, reads=False
    )
    gate = box.gate()
    terminal.status(repo, lambda loop: loop.get("phase") == "agent", "the agent runs")
    terminal.stop_reading()
    gate.open()
    done = command.done()
    assert done.code == 141
    assert "nobody reads this any more; the loop goes on" in done.err
    assert terminal("status", "--json", cwd=repo).json["status"] == "running"
    terminal("cancel", cwd=repo)


def test_a_reader_that_is_slow_costs_no_memory(terminal: Terminal, repo: Path) -> None:
    flood = "head -c 40000000 /dev/zero | tr '\\0' 'x' | fold -w 99"
    command = terminal.start("run", "x", *agent(f"{flood}; echo; {DONE_SCRIPT}"), cwd=repo, reads=False)
    terminal.status(repo, lambda loop: loop["status"] == "completed", "the flood is stored")
    status = Path(f"/proc/{command.process.pid}/status").read_text()
    (peak,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")]
    assert peak < 40_000  # KiB
    terminal.stop_reading()
    assert command.done().code == 141


def test_pause_and_resume_are_seen_by_who_follows(terminal: Terminal, box: Box, repo: Path) -> None:
    gate = box.gate()
    script = f'echo "begun $1."; read x < "$BOX/gate"; [ $1 = 1 ] || {DONE_SCRIPT}'
    command = terminal.start("run", "x", *agent(script), cwd=repo)
    command.printed("begun 1.")
    assert terminal("pause", cwd=repo).out == "Pauses after iteration 1. Go on with: ralph-loop resume\n"
    command.printed("Pauses after iteration 1.")
    gate.open()
    command.printed("Paused.\n  Go on with")
    assert terminal("resume", cwd=repo).code == 0
    command.printed("begun 2.")
    assert terminal("pause", "--now", cwd=repo).out == "Paused. Go on with: ralph-loop resume\n"
    command.printed("Paused.\n  Go on with", times=2)
    assert terminal("resume", "--json", cwd=repo).json["status"] == "running"
    command.printed("begun 3.")
    gate.open()
    done = command.done()
    assert done.code == 0
    assert "‖ interrupted" in done.out


def test_a_terminal_shows_colours_and_nothing_dangerous(terminal: Terminal, repo: Path) -> None:
    printed = r"\033[31mred\033[0m \033]0;title\007\033[2J\033[5;5H日本 \033]52;c;Zm9v\007end\n10%%\r20%%\nno newline"
    command = terminal.on_tty("run", "x", *agent(f"printf '{printed}'; echo; {DONE_SCRIPT}"), cwd=repo, columns=60)
    done = command.done()
    assert done.code == 0
    assert "\x1b[31mred\x1b[0m 日本 end" in done.out
    for bad in ("title", "\x1b[2J", "\x1b[5;5H", "\x1b]"):
        assert bad not in done.out
    assert "iteration 1/50 · custom · " in done.out  # the line that shows how things stand
    shown = screen_of(done.out, 60)
    assert "20%" in shown and "10%" not in shown  # a progress bar draws itself over and over
    assert not [line for line in shown if "custom · 0." in line]  # and the line is gone at the end


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_without_colours(terminal: Terminal, repo: Path, env: dict[str, str]) -> None:
    script = f"printf '\\033[31mred\\033[0m\\n'; {DONE_SCRIPT}"
    done = terminal.on_tty("run", "x", *agent(script), cwd=repo, env=env).done()
    assert done.code == 0
    assert "\x1b[31m" not in done.out
    assert "\x1b[1m" not in done.out
    assert ("\x1b" in done.out) == ("NO_COLOR" in env)  # a dumb terminal cannot erase a line either


def test_nothing_waits_for_an_answer(terminal: Terminal, repo: Path) -> None:
    assert terminal("permissions", cwd=repo).out == "Nothing waits for an answer.\n"
    refused = terminal("answer", "once", cwd=repo)
    assert (refused.code, refused.err) == (1, "ralph-loop: Nothing waits for an answer.\n")


ASKS = r"""#!/bin/sh
[ "$1" = --version ] && { echo "2.0.0 (Claude Code)"; exit; }
prompt=$(cat)
say() { printf '{"type":"assistant","message":{"role":"assistant","content":[%s]}}\n' "$1"; }
case $prompt in
*Blue*)
    say '{"type":"text","text":"Blue it is.\\n<promise>COMPLETE</promise>"}'
    printf '{"type":"result","subtype":"success","is_error":false,"result":"Blue it is.\\n<promise>COMPLETE</promise>"}\n'
    exit ;;
esac
say '{"type":"tool_use","id":"q","name":"AskUserQuestion","input":{"questions":[{"question":"Which colour?","options":[{"label":"Red"},{"label":"Blue"}]}]}}'
printf '{"type":"result","subtype":"success","is_error":false,"result":"I asked."}\n'
"""  # noqa: E501


def test_a_question_is_shown_answered_and_its_answer_used(terminal: Terminal, box: Box, repo: Path) -> None:
    claude = box.folder_of("bin") / "claude"
    claude.write_text(ASKS)
    claude.chmod(0o755)
    terminal.env["PATH"] = f"{claude.parent}:{terminal.env['PATH']}"
    command = terminal.start("run", "Paint it", "--agent", "claude", "--delay", "1h", cwd=repo)
    command.printed("? The agent asks: Which colour?\n    - Red\n    - Blue\n  Answer with: ralph-loop answer --id ")
    assert "Which colour?" in terminal("permissions", cwd=repo).out
    assert [question["text"] for question in terminal("permissions", "--json").json["questions"]] == ["Which colour?"]
    assert terminal("status", "--json", cwd=repo).json["pendingQuestions"] == 1
    assert terminal("answer", "Blue", cwd=repo).out == "Answered.\n"
    assert terminal("permissions", cwd=repo).out == "Nothing waits for an answer.\n"
    terminal("pause", "--now", cwd=repo)
    terminal("resume", cwd=repo)
    done = command.done()
    assert done.code == 0
    assert "Blue it is." in done.out
