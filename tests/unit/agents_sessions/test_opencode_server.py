"""The OpenCode server's session against a scripted server: whose idle ends what, and what was missed."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import pytest
from fake_opencode import FakeOpenCode
from opencode_case import Case
from opencode_scripts import simple
from session_helpers import KeepingSink, bench, call, final, is_gone, said

from ralph_loop.agents import opencode_turn
from ralph_loop.agents.base import (
    AgentError,
    ErrorKind,
    Final,
    Outcome,
    RateLimit,
    Retry,
    ToolEnd,
    ToolStart,
    Usage,
)
from ralph_loop.agents.guard_client import Guard
from ralph_loop.agents.opencode_server import OpenCodeServerAdapter


async def test_one_prompt(guard: Guard, tmp_path: Path) -> None:
    async with FakeOpenCode(simple) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        outcome = await case.run(sink, model="fake/some/model")
        await case.session.close()

    assert outcome == Outcome(None, finished=True)
    assert final(sink).message == "Done.\n<promise>COMPLETE</promise>"
    assert sink.only(Usage)[-1] == Usage(15, 3, 0.5)
    assert sink.streams["display"] == b"Done.\n<promise>COMPLETE</promise>"
    events = [json.loads(line)["type"] for line in sink.streams["stdout"].splitlines()]
    assert events[0] == "message.updated"
    assert "server.connected" not in events
    (_, _, prompt) = next(request for request in server.requests if request[1].endswith("prompt_async"))
    assert prompt == {
        "parts": [{"type": "text", "text": "Do it."}],
        "model": {"providerID": "fake", "modelID": "some/model"},
    }


async def test_deltas_are_joined_and_told_once(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        message = await server.message(session, "assistant")
        await server.part(session, message, id="prt_think", type="reasoning", text="")
        await server.delta(session, message, "prt_think", "<promise>COMPLETE</promise>")
        await server.part(session, message, id="prt_text", type="text", text="")
        await server.delta(session, message, "prt_text", "Not ")
        await server.delta(session, message, "prt_text", "yet.")
        await server.part(session, message, id="prt_text", type="text", text="Not yet.")
        await server.part(session, message, type="text", text="<promise>COMPLETE</promise>", synthetic=True)
        await server.message(session, "assistant", id=message, finish="stop")
        await server.idle(session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        await case.run(sink)
        await case.session.close()
    assert said(sink) == "Not yet."
    assert final(sink).message == "Not yet."


async def test_each_iteration_has_a_fresh_session(guard: Guard, tmp_path: Path) -> None:
    async with FakeOpenCode(simple, simple) as server:
        case = Case(guard, tmp_path, server)
        for _ in range(2):
            await case.run(KeepingSink())
        await case.session.close()
    prompts = [path for _, path, _ in server.requests if path.endswith("prompt_async")]
    assert len(set(prompts)) == 2


async def test_a_late_second_idle_does_not_end_the_next_prompt(guard: Guard, tmp_path: Path) -> None:
    """In a session that is continued: after an error OpenCode says idle twice (pitfall 2)."""

    async def fails(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        error = {"name": "APIError", "data": {"message": "boom", "statusCode": 500}}
        message = await server.message(session, "assistant")
        await server.emit("session.error", sessionID=session, error=error)
        await server.idle(session)
        await server.message(session, "assistant", id=message, error=error)

    async def works(server: FakeOpenCode, session: str) -> None:
        await server.idle(session)  # the second one of the prompt before
        await server.message(session, "user")
        await server.idle(session)
        await server.busy(session)
        await server.say(session, "Second.")
        await server.idle(session)

    async with FakeOpenCode(fails, works) as server:
        case = Case(guard, tmp_path, server, opencode_continue=True)
        first, second = KeepingSink(), KeepingSink()
        assert not (await case.run(first)).finished
        assert (await case.run(second)).finished
        await case.session.close()
    assert [error.kind for error in first.only(AgentError)] == [ErrorKind.SERVER]
    assert final(second).message == "Second."
    assert second.only(AgentError) == []
    assert len({path for _, path, _ in server.requests if path.endswith("prompt_async")}) == 1


async def test_an_error_that_is_compacted_away_is_none(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        error = {"name": "ContextOverflowError", "data": {"message": "prompt is too long"}}
        await server.emit("session.error", sessionID=session, error=error)
        await server.say(session, "Summary: <promise>COMPLETE</promise>", summary=True)
        message = await server.message(session, "user")
        await server.part(session, message, type="text", text="Continue", synthetic=True)
        await server.say(session, "Going on.")
        await server.idle(session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        assert (await case.run(sink)).finished
        await case.session.close()
    assert said(sink) == final(sink).message == "Going on."
    assert sink.only(AgentError) == []


async def test_what_was_missed_while_the_connection_was_broken(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        message = await server.message(session, "assistant")
        await server.part(session, message, id="prt_1", type="text", text="")
        await server.delta(session, message, "prt_1", "Half ")
        await sink.until(lambda: said(sink) == "Half ")
        server.drop()
        state = {"status": "running", "input": {"command": "ls"}}
        await server.part(session, message, told=False, id="prt_1", type="text", text="Half a message.")
        await server.part(session, message, told=False, id="prt_2", type="tool", tool="bash", callID="1", state=state)
        await server.ask(session)
        await sink.until(lambda: sink.asked)  # found in the list when it listens again
        ended = {"status": "completed", "output": "", "metadata": {"exit": 0}}
        await server.part(session, message, id="prt_2", type="tool", tool="bash", callID="1", state=ended)
        await server.message(session, "assistant", id=message, finish="tool-calls")
        await server.say(session, "Whole.")
        await server.idle(session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        assert (await case.run(sink)).finished
        await case.session.close()
    assert said(sink) == "Half a message.\nWhole."
    assert [tool.title for tool in sink.only(ToolStart)] == ["bash: ls"]
    assert len(sink.only(ToolEnd)) == 1


async def test_an_end_that_was_never_told_is_found_out(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opencode_turn, "CHECK_S", 0.05)

    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        await server.say(session, "Quietly done.")
        server.status.clear()

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        assert (await case.run(sink)).finished
        await case.session.close()
    assert final(sink).message == "Quietly done."


async def test_a_server_that_is_too_busy_to_say_so(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opencode_turn, "CHECK_S", 0.05)

    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        await server.asked_for("GET /session/status")
        await server.say(session, "It took its time.")
        await server.idle(session)

    async with FakeOpenCode(script) as server:
        server.failing = {"/session/status"}
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        assert (await case.run(sink)).finished
        await case.session.close()
    assert final(sink).message == "It took its time."


async def test_a_cancelled_iteration_is_aborted(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        await server.ask(session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink(None)
        running = asyncio.create_task(case.run(sink))
        await sink.until(lambda: sink.asked)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await server.asked_for("POST /session/.*/abort")
        await case.session.close()
    assert sink.withdrawn == ["bash: touch x"]
    assert sink.only(Final) == []


async def test_a_retry_in_hours_is_a_rate_limit(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        for wait in (1, 3600):
            status = {"type": "retry", "attempt": 1, "message": "slow down", "next": (time.time() + wait) * 1000}
            await server.emit("session.status", sessionID=session, status=status)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        assert not (await case.run(sink)).finished
        await server.asked_for("POST /session/.*/abort")
        await case.session.close()
    assert len(sink.only(Retry)) == 2
    (limit,) = sink.only(RateLimit)
    assert limit.reset_at is not None
    assert abs(limit.reset_at.timestamp() - time.time() - 3600) < 60


async def test_a_turn_that_was_aborted_elsewhere_is_no_success(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        await server.say(session, "On my way.", finish="tool-calls")
        await server.idle(session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        assert not (await case.run(sink)).finished
        await case.session.close()
    assert [error.kind for error in sink.only(AgentError)] == [ErrorKind.NO_FINAL]


# ------------------------------------------------------------------------------------------------ when it cannot work


async def failing(guard: Guard, workspace: Path, **settings: object) -> AgentError:
    session = OpenCodeServerAdapter().session(bench(guard, **settings))
    sink = KeepingSink()
    assert not (await asyncio.wait_for(session.run(call(workspace), sink), 30)).finished
    await session.close()
    (error,) = sink.only(AgentError)
    return error


async def test_a_password(guard: Guard, tmp_path: Path) -> None:
    async with FakeOpenCode(simple, password="secret") as server:
        case, sink = Case(guard, tmp_path, server, opencode_password="secret"), KeepingSink()
        assert (await case.run(sink)).finished
        await case.session.close()
        error = await failing(guard, tmp_path, opencode_url=server.url, opencode_password="wrong")
    assert (error.kind, error.fatal) == (ErrorKind.AUTH, True)
    assert "secret" not in error.message


@pytest.mark.parametrize(
    "url", ["http://example.org:4096", "https://127.0.0.1", "127.0.0.1:4096", "http://[::2]:1", "x"]
)
async def test_only_servers_on_this_machine(guard: Guard, tmp_path: Path, url: str) -> None:
    error = await failing(guard, tmp_path, opencode_url=url)
    assert (error.kind, error.fatal) == (ErrorKind.USAGE, True)


async def test_a_server_that_is_not_there(guard: Guard, tmp_path: Path) -> None:
    async with FakeOpenCode() as server:
        url = server.url
    error = await failing(guard, tmp_path, opencode_url=url)
    assert error.kind is ErrorKind.SERVER
    assert url in error.message


@pytest.mark.parametrize(
    ("script", "words"), [("echo broken config >&2; exit 3", "exited with code 3"), ("exit 0", "exited with code 0")]
)
async def test_a_server_that_does_not_start(guard: Guard, tmp_path: Path, script: str, words: str) -> None:
    program = tmp_path / "opencode"
    program.write_text(f"#!/bin/sh\n[ $1 = debug ] && {{ echo '{{}}'; exit; }}\n{script}\n")
    program.chmod(0o755)
    error = await failing(guard, tmp_path)
    assert error.kind is ErrorKind.EXIT
    assert words in error.message


# --------------------------------------------------------------------------------------------------- a server of ours
def program(folder: Path) -> Path:
    """`opencode` on the PATH of `call`."""
    path = folder / "opencode"
    fake = Path(__file__).parent / "fake_opencode_program.py"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {fake} "$@"\n')
    path.chmod(0o755)
    return path


async def test_a_server_of_ours_is_warm_and_leaves_nothing(guard: Guard, tmp_path: Path) -> None:
    """Its own password, asked only when it listens, with what the user's configuration does not speak of."""
    program(tmp_path)
    session, sinks = OpenCodeServerAdapter().session(bench(guard)), [KeepingSink(), KeepingSink()]
    for sink in sinks:
        assert (await asyncio.wait_for(session.run(call(tmp_path), sink), 20)).finished
        assert final(sink).message == "Done.\n<promise>COMPLETE</promise>"
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert not any(is_gone(pid) for pid in pids)  # one server for both
    rules = json.loads((tmp_path / "permission").read_text())
    assert rules["webfetch"] == "ask"
    assert "bash" not in rules
    await session.close()
    assert all(is_gone(pid) for pid in pids)


async def test_a_server_of_ours_that_dies_in_the_middle_is_started_anew(guard: Guard, tmp_path: Path) -> None:
    program(tmp_path)
    session, sink = OpenCodeServerAdapter().session(bench(guard)), KeepingSink()
    env = call(tmp_path).env
    assert not (await asyncio.wait_for(session.run(call(tmp_path, env={**env, "DIES": "1"}), sink), 20)).finished
    (error,) = sink.only(AgentError)
    assert (error.kind, error.fatal) == (ErrorKind.EXIT, False)
    assert "opencode serve exited with code 9" in error.message
    assert all(is_gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())
    assert (await asyncio.wait_for(session.run(call(tmp_path), KeepingSink()), 20)).finished
    await session.close()


async def test_a_program_that_knows_no_debug_config_is_asked_for_everything(guard: Guard, tmp_path: Path) -> None:
    program(tmp_path)
    session, sink = OpenCodeServerAdapter().session(bench(guard)), KeepingSink()
    env = {**call(tmp_path).env, "NO_DEBUG": "1"}
    assert (await asyncio.wait_for(session.run(call(tmp_path, env=env), sink), 20)).finished
    assert json.loads((tmp_path / "permission").read_text())["*"] == "ask"
    await session.close()


async def test_an_older_server_that_cannot_be_asked_everything(guard: Guard, tmp_path: Path) -> None:
    async with FakeOpenCode(simple) as server:
        server.unknown = {"/config", "/question", "/permission", "/session/status", "/message"}
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        assert (await case.run(sink)).finished
        await case.session.close()
    assert final(sink).message == "Done.\n<promise>COMPLETE</promise>"
