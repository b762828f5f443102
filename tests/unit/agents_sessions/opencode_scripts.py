"""The simplest scripts for the scripted OpenCode server. Standard library only: a program runs them, too."""

from __future__ import annotations

from fake_opencode import FakeOpenCode


async def simple(server: FakeOpenCode, session: str) -> None:
    await server.take(session, "<promise>X</promise>")
    await server.say(session, "Done.\n<promise>COMPLETE</promise>")
    await server.idle(session)


async def simple_end(server: FakeOpenCode, session: str) -> None:
    await server.say(session, "End.")
    await server.idle(session)
