"""Agents that speak ACP: a real process on stdio that does what a test wants."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from session_helpers import KeepingSink, bench, call, final, is_gone, said

from ralph_loop.agents.acp_events import COPILOT_NOTICES, AcpReading, call_pattern
from ralph_loop.agents.acp_forms import fill_in, questions_of
from ralph_loop.agents.base import (
    AgentError,
    AgentSession,
    ErrorKind,
    Final,
    Note,
    Outcome,
    PermissionReply,
    RateLimit,
    ToolEnd,
    ToolStart,
    Usage,
)
from ralph_loop.agents.guard_client import Guard
from ralph_loop.agents.modelerrors import About
from ralph_loop.agents.records import Record
from ralph_loop.agents.registry import ADAPTERS

FAKE = Path(__file__).with_name("fake_acp.py")

Run = Callable[..., Awaitable[Outcome]]


@pytest_asyncio.fixture
async def session(guard: Guard) -> AsyncIterator[AgentSession]:
    instance = ADAPTERS["acp"].session(bench(guard))
    yield instance
    await instance.close()


@pytest.fixture
def run(session: AgentSession, tmp_path: Path) -> Run:
    def start(sink: KeepingSink, scenario: str, **more: Any) -> Awaitable[Outcome]:
        command = [sys.executable, str(FAKE), scenario]
        return asyncio.wait_for(session.run(call(tmp_path, command=command, **more), sink), 30)

    return start


async def test_what_a_prompt_comes_to(run: Run, tmp_path: Path) -> None:
    sink = KeepingSink()
    assert await run(sink, "work") == Outcome(None, finished=True)

    assert [note.text for note in sink.only(Note)] == ["[/] Do it"]
    assert [tool.title for tool in sink.only(ToolStart)] == ["bash: ls"]
    assert [tool.error for tool in sink.only(ToolEnd)] == ["exit code 3: oops"]
    assert sink.only(Usage) == [Usage(8, 2, 0.25)]
    message = final(sink).message
    assert message is not None
    assert message.endswith(f"in {tmp_path}.\n<promise>COMPLETE</promise>")
    assert said(sink).startswith("Step one.")
    assert sink.streams["display"].startswith(
        b"[/] Do it\nStep one.\n\xe2\x86\x92 bash: ls\n\xe2\x9c\x97 bash: exit code 3"
    )
    raw = [json.loads(line) for line in sink.streams["stdout"].splitlines()]
    assert [line["params"]["update"]["sessionUpdate"] for line in raw if "params" in line][-1] == "agent_message_chunk"


async def test_one_process_and_a_fresh_session_for_each_iteration(run: Run) -> None:
    sinks = [KeepingSink(), KeepingSink()]
    for sink in sinks:
        await run(sink, "work")
    found = [re.search(r"Session (\w+) of process (\d+)", said(sink)) for sink in sinks]
    assert found[0] and found[1]
    assert found[0][1] != found[1][1]
    assert found[0][2] == found[1][2]
    await sinks[1].until(lambda: b"closed" in sinks[1].streams.get("stderr", b"") + sinks[0].streams.get("stderr", b""))


@pytest.mark.parametrize(
    ("reply", "option", "promised"),
    [("once", "yes", False), ("always", "yes", False), ("reject", None, False)],
)
async def test_permissions_have_the_agents_own_options(
    run: Run, reply: Any, option: str | None, promised: bool
) -> None:
    sink = KeepingSink(PermissionReply(reply))
    assert (await run(sink, "permission")).finished
    (asked,) = sink.asked
    assert (asked.tool, asked.title, asked.pattern) == ("execute", "execute: touch x", "touch x")
    assert asked.diff == "--- /w/a.txt\n+++ /w/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
    assert sink.only(ToolStart)[0].arguments == {"command": "touch x"}
    assert len(sink.only(AgentError)) == (reply == "reject")
    message = final(sink).message or ""
    assert ("<promise>" in message) is promised
    assert (json.loads(message) if message else None) == (
        {"outcome": "selected", "optionId": option} if option else None
    )


async def test_a_permission_that_the_agent_takes_back(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    sink = KeepingSink(None)
    assert (await run(sink, "withdrawn")).finished
    assert json.loads(final(sink).message or "") == {"outcome": "cancelled"}
    assert not caplog.records


async def test_questions_are_forms(run: Run) -> None:
    sink = KeepingSink()
    await run(sink, "form")
    assert sink.questions == [("Which colour?", ["Red", "Blue"])]
    assert json.loads(final(sink).message or "") == {"action": "accept", "content": {"colour": "b"}}


async def test_a_form_that_is_none_is_refused(run: Run) -> None:
    """What was asked wrongly must not wait for an answer for ever."""
    sink = KeepingSink()
    assert (await run(sink, "badform")).finished
    assert (sink.questions, said(sink)) == ([], "refused")


async def test_noise_does_no_harm(run: Run) -> None:
    sink = KeepingSink()
    assert (await run(sink, "noise")).finished
    assert final(sink).message == "Heard."
    await sink.until(lambda: b"a warning" in sink.streams.get("stderr", b""))


async def test_model_and_mode_are_chosen(run: Run) -> None:
    sink = KeepingSink()
    await run(sink, "chosen", model="large")
    assert said(sink) == "acceptEdits large"

    sink = KeepingSink()
    assert not (await run(sink, "chosen", model="huge")).finished
    (error,) = sink.only(AgentError)
    assert (error.kind, error.fatal) == (ErrorKind.MODEL_NOT_FOUND, True)
    assert error.hint == "It knows small, large."


@pytest.mark.parametrize(
    ("scenario", "kind", "words"),
    [
        ("stopped", ErrorKind.OTHER, "output limit"),
        ("future", ErrorKind.USAGE, "speaks version 2 of ACP"),
        ("login", ErrorKind.AUTH, "Authentication required"),
        ("crash", ErrorKind.EXIT, "exited with code 7: out of luck"),
        ("orphan", ErrorKind.EXIT, "exited with code 8"),
        ("mute", ErrorKind.EXIT, "exited with code 1: I do not speak ACP"),
    ],
)
async def test_failures(run: Run, scenario: str, kind: ErrorKind, words: str) -> None:
    sink = KeepingSink()
    assert not (await run(sink, scenario)).finished
    (error,) = sink.only(AgentError)
    assert error.kind is kind
    assert words in error.message
    assert not [event for event in sink.only(Final) if event.ok]
    if scenario == "login":
        assert "Run `fake login`" in (error.hint or "")


async def test_a_rate_limit(run: Run) -> None:
    sink = KeepingSink()
    assert not (await run(sink, "limit")).finished
    assert len(sink.only(RateLimit)) == 1


async def test_after_a_crash_the_next_iteration_has_a_new_process(run: Run) -> None:
    await run(KeepingSink(), "crash")
    sink = KeepingSink()
    assert (await run(sink, "work")).finished


async def test_cancelling_leaves_nothing(run: Run) -> None:
    sink = KeepingSink()
    running = asyncio.ensure_future(run(sink, "hang"))
    await sink.until(lambda: "Child" in said(sink))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    found = re.match(r"Child (\d+)\.", said(sink))
    assert found
    assert is_gone(int(found[1]))
    assert "Cancelled." in said(sink)  # it was told, and had the time to end the prompt itself
    assert sink.only(Final) == []


async def test_an_open_permission_is_withdrawn_when_the_iteration_is_cancelled(run: Run) -> None:
    sink = KeepingSink(None)
    running = asyncio.ensure_future(run(sink, "permission"))
    await sink.until(lambda: sink.asked)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await sink.until(lambda: sink.withdrawn)


async def test_what_is_asked_after_a_cancel_is_asked_of_nobody(run: Run) -> None:
    sink = KeepingSink(None)
    running = asyncio.ensure_future(run(sink, "late"))
    await sink.until(lambda: "Working." in said(sink))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sink.asked == []
    assert '{"outcome": "cancelled"}' in said(sink)


async def test_a_message_may_begin_like_a_notice_of_another_agents_program(run: Run) -> None:
    sink = KeepingSink()
    assert (await run(sink, "whole")).finished
    assert (final(sink).message or "").startswith("Error: handling is done.")


def test_what_copilots_program_says_itself_is_no_message() -> None:
    reading = AcpReading(About("Copilot", "Log in."), COPILOT_NOTICES)
    words = {"type": "text", "text": "Error: Authentication failed with provider (HTTP 401)."}
    list(reading.read(Record({"sessionUpdate": "agent_message_chunk", "content": words})))
    end, error = reading.ended(Record({"stopReason": "end_turn"}))
    assert end == Final(None, ok=False)
    assert isinstance(error, AgentError)
    assert (error.kind, "Authentication failed" in error.message) == (ErrorKind.AUTH, True)


def test_an_always_is_for_a_program_with_its_arguments() -> None:
    call = Record({"rawInput": {"command": "npm", "args": ["run", "a b"]}, "title": "npm"})
    assert call_pattern(call, Path("/w")) == "npm run 'a b'"


async def test_a_command_that_cannot_be_started_is_tried_once(guard: Guard, tmp_path: Path) -> None:
    (tmp_path / "agent").write_text("no #! line\n")
    (tmp_path / "agent").chmod(0o755)
    session, sink = ADAPTERS["acp"].session(bench(guard)), KeepingSink()
    assert not (await session.run(call(tmp_path, command=[str(tmp_path / "agent")]), sink)).finished
    (error,) = sink.only(AgentError)
    assert error.fatal
    assert "#! line" in error.message


async def test_a_command_is_needed(guard: Guard, tmp_path: Path) -> None:
    session, sink = ADAPTERS["acp"].session(bench(guard)), KeepingSink()
    assert not (await session.run(call(tmp_path), sink)).finished
    (error,) = sink.only(AgentError)
    assert (error.kind, error.fatal) == (ErrorKind.USAGE, True)


async def test_forms_of_all_kinds() -> None:
    properties = {
        "name": {"type": "string", "description": "Your name"},
        "age": {"type": "integer"},
        "sure": {"type": "boolean", "title": "Sure?"},
        "tags": {"type": "array", "items": {"anyOf": [{"const": "a", "title": "Tag A"}, {"const": "b"}]}},
        "size": {"type": "string", "enum": ["S", "L"]},
        "size_custom": {"type": "string"},
    }
    questions = questions_of("Please.", Record({"properties": properties, "required": ["name"]}))
    assert [question.text for question in questions] == [
        "Please.\nYour name",
        "Please.\nage",
        "Please.\nSure?",
        "Please.\ntags",
        "Please.\nsize",
    ]
    answers = iter(["Ann", "41", "yes", "tag a, b", "medium"])

    async def ask(_text: str, _options: object) -> str:
        return next(answers)

    assert await fill_in(questions, ask) == {
        "name": "Ann",
        "age": 41,
        "sure": True,
        "tags": ["a", "b"],
        "size_custom": "medium",
    }

    async def nonsense(_text: str, _options: object) -> str:
        return "forty"

    assert await fill_in([questions[1]], nonsense) is None
