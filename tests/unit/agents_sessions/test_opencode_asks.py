"""What OpenCode asks: permissions and questions, of this prompt alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_opencode import FakeOpenCode
from opencode_case import Case
from opencode_scripts import simple, simple_end
from session_helpers import KeepingSink, final

from ralph_loop.agents.base import (
    AgentError,
    ErrorKind,
    PermissionReply,
)
from ralph_loop.agents.guard_client import Guard


@pytest.mark.parametrize(
    ("reply", "sent"),
    [
        (PermissionReply("once"), {"reply": "once"}),
        (PermissionReply("always"), {"reply": "once"}),
        (PermissionReply("reject", "not today"), {"reply": "reject", "message": "not today"}),
    ],
)
async def test_permissions(guard: Guard, tmp_path: Path, reply: PermissionReply, sent: object) -> None:
    """`always` is ours to remember: OpenCode would for its whole life, for all sessions."""

    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        id_ = await server.ask(session, metadata={"command": "touch x", "diff": "+x"})
        await server.asked_for(f"POST /permission/{id_}/reply")
        await server.say(session, "Went on.")
        await server.idle(session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink(reply)
        assert (await case.run(sink)).finished
        assert (await server.asked_for("POST /permission"))[2] == sent
        await case.session.close()
    (asked,) = sink.asked
    assert (asked.tool, asked.title, asked.diff, asked.pattern) == ("bash", "bash: touch x", "+x", "touch *")
    assert asked.arguments["command"] == "touch x"


async def test_a_rejection_without_a_word_ends_the_turn_and_is_no_failure(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        id_ = await server.ask(session)
        await server.asked_for(f"POST /permission/{id_}/reply")
        await server.say(session, "I would say <promise>COMPLETE</promise>", finish="tool-calls")
        await server.idle(session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink(PermissionReply("reject"))
        assert (await case.run(sink)).finished
        await case.session.close()
    assert [error.kind for error in sink.only(AgentError)] == [ErrorKind.PERMISSION]
    assert "<promise>" not in (final(sink).message or "")


async def test_stale_and_foreign_permissions_are_left_alone(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        await server.ask("ses_other")
        await simple_end(server, session)

    async with FakeOpenCode(script) as server:
        server.permissions.append({"id": "per_stale", "sessionID": "ses_aborted", "permission": "bash"})
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        await case.run(sink)
        await case.session.close()
    assert sink.asked == []
    assert not [path for _, path, _ in server.requests if path.startswith("/permission/")]


async def test_a_subagent_may_ask_but_not_promise(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        child = server.id("ses")
        server.messages[child] = []
        await server.emit("session.created", sessionID=child, info={"id": child, "parentID": session})
        id_ = await server.ask(child)
        await server.asked_for(f"POST /permission/{id_}/reply")
        await server.say(child, "<promise>COMPLETE</promise>")
        await server.idle(child)
        await simple_end(server, session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        await case.run(sink)
        await case.session.close()
    assert len(sink.asked) == 1
    assert final(sink).message == "End."


async def test_an_answer_from_elsewhere_withdraws_the_question(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        id_ = await server.ask(session)
        await sink.until(lambda: sink.asked)
        server.permissions.clear()
        await server.emit("permission.replied", sessionID=session, requestID=id_, reply="once")
        await sink.until(lambda: sink.withdrawn)
        await simple_end(server, session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink(None)
        await case.run(sink)
        await case.session.close()
    assert sink.withdrawn == ["bash: touch x"]


async def test_questions(guard: Guard, tmp_path: Path) -> None:
    async def script(server: FakeOpenCode, session: str) -> None:
        await server.take(session)
        options = [{"label": "Red", "description": "r"}, {"label": "Blue", "description": "b"}]
        question = {"question": "Which colour?", "header": "Colour", "options": options}
        request = {"id": "que_1", "sessionID": session, "questions": [question, {"question": "Why?"}]}
        server.questions.append(request)
        await server.emit("question.asked", **request)
        await server.asked_for("POST /question/que_1/reply")
        await simple_end(server, session)

    async with FakeOpenCode(script) as server:
        case, sink = Case(guard, tmp_path, server), KeepingSink()
        await case.run(sink)
        assert (await server.asked_for("POST /question"))[2] == {"answers": [["Blue"], ["an answer"]]}
        await case.session.close()
    assert sink.questions == [("Which colour?", ["Red", "Blue"]), ("Why?", [])]


@pytest.mark.parametrize(
    ("permission", "allow_all", "asks"),
    [
        (None, False, {"*", "bash", "webfetch"}),
        ({"bash": {"git *": "allow"}}, False, {"webfetch", "external_directory"}),
        ("ask", False, set[str]()),
        ({"*": "allow"}, False, set[str]()),
        (None, True, set[str]()),
    ],
)
async def test_what_must_be_asked_for(
    guard: Guard, tmp_path: Path, permission: object, allow_all: bool, asks: set[str]
) -> None:
    async with FakeOpenCode(simple) as server:
        server.config = {"permission": permission} if permission else {}
        case = Case(guard, tmp_path, server)
        await case.run(KeepingSink(), allow_all=allow_all)
        await case.session.close()
    (_, _, content) = next(request for request in server.requests if request[:2] == ("POST", "/session"))
    rules = {rule["permission"]: rule["action"] for rule in content.get("permission", [])}
    assert asks <= {name for name, action in rules.items() if action == "ask"}
    assert bool(asks) == bool(rules)
    assert rules.get("edit", "allow") == "allow"
    assert "bash" not in rules or permission is None
