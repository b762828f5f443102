"""A scripted model on loopback: agents talk to it as to the real ones, and it does what the prompt's scenario says.

A prompt names its scenario as ``[[s:NAME]]``; the number of tool results since then is the step in it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from model_formats import FORMATS, NOTHING, Call, Request


@attrs.frozen
class Say:
    """The model says this, then wants the tool or ends its turn. `pause` in seconds between the words."""

    text: str
    call: Call | None = None
    pause: float = 0


@attrs.frozen
class Refuse:
    """An HTTP error instead of an answer."""

    status: int
    message: str = "the model said no"
    headers: Mapping[str, str] = attrs.field(factory=dict[str, str])


@attrs.frozen
class Cut:
    """The connection breaks in the middle of the answer."""

    text: str = "I was just going to"


@attrs.frozen
class Hang:
    """The request is taken and never answered."""


Step = Say | Refuse | Cut | Hang

DONE = "All done.\n<promise>COMPLETE</promise>"
NEARLY = "I will print <promise>COMPLETE</promise> when I am done."
WRITE = Call("write", {"path": "hello.txt", "content": "hello from the model\n"})


def shell(command: str, **more: object) -> Call:
    return Call("shell", {"command": command, **more})


SCENARIOS: dict[str, Sequence[Step]] = {
    "text": [Say("More work is needed.")],
    "done": [Say(DONE)],
    "near": [Say(NEARLY)],
    "work": [
        Say("Step one: write a file.", WRITE),
        Say("Step two: run a command.", shell("cat hello.txt && echo exit-ok")),
        Say("Step three: a failing command.", shell("echo oops >&2; exit 3")),
        Say(DONE),
    ],
    "write": [Say("Writing.", WRITE), Say(DONE)],
    "bash": [Say("Running.", shell("sh -c 'echo made > by-shell.txt'", outside=True)), Say(DONE)],
    "long": [Say("A long command.", shell("tail -f /dev/null  ralph-test-tool")), Say(DONE)],
    "stray": [
        Say("A stray.", shell("setsid sleep 7778 & echo started")),
        Say("Waiting.", shell("sleep 7777")),
        Say(DONE),
    ],
    "ask": [
        Say("I have a question.", Call("ask", {"question": "Which colour?", "options": ["Red", "Blue"]})),
        Say(DONE),
    ],
    "slow": [Say("one two three four five six seven eight nine ten " * 6, pause=0.2)],
    "e400": [Refuse(400, "prompt is too long: 300000 tokens > 200000 maximum")],
    "e401": [Refuse(401, "invalid api key")],
    "e402": [Refuse(402, "insufficient credits")],
    "e404": [Refuse(404, "model not found: fake-1")],
    "e429": [Refuse(429, "rate limited", {"retry-after": "1"})],
    "e500": [Refuse(500, "internal server error")],
    "e529": [Refuse(529, "overloaded")],
    "cut": [Cut()],
    "hang": [Hang()],
    "empty": [Say("")],
}

# What agents call the tools, and how these take their arguments.
_TOOLS: dict[str, Sequence[str]] = {
    "write": ("Write", "write", "write_file", "create"),
    "shell": ("Bash", "bash", "run_shell_command", "exec_command", "shell", "shell_command", "local_shell"),
    "ask": ("AskUserQuestion", "question", "ask_user"),
}


def tool_call(call: Call, request: Request, workspace: str) -> tuple[str, dict[str, Any]] | None:
    """The call in the agent's own terms; without such a tool the work is done by the shell, or not at all."""
    name = next((name for name in _TOOLS[call.kind] if name in request.tools), None)
    if name is None and call.kind == "write":
        path, content = call.arguments["path"], call.arguments["content"]
        return tool_call(shell(f"printf %s '{content}' > {path}"), request, workspace)
    if name is None:
        return None
    known: dict[str, Any] = request.tools[name].get("properties", NOTHING)
    arguments: dict[str, Any] = {}
    if call.kind == "write":
        target = f"{workspace}/{call.arguments['path']}"
        for key in ("file_path", "filePath", "path"):
            if key in known:
                arguments[key] = target
        arguments["file_text" if "file_text" in known else "content"] = call.arguments["content"]
    elif call.kind == "shell":
        command = call.arguments["command"]
        if "cmd" in known:
            arguments["cmd"] = command
        else:
            as_list = known.get("command", NOTHING).get("type") == "array"
            arguments["command"] = ["bash", "-lc", command] if as_list else command
        if call.arguments.get("outside") and "sandbox_permissions" in known:
            arguments |= {"sandbox_permissions": "require_escalated", "justification": "May I?"}
        if "description" in known:
            arguments["description"] = "Run a test command"
    elif "questions" in known:
        options = [{"label": option, "description": option} for option in call.arguments["options"]]
        question = {
            "question": call.arguments["question"],
            "header": "Colour",
            "options": options,
            "multiSelect": False,
        }
        arguments["questions"] = [question]
    else:
        arguments = {"question": call.arguments["question"], "choices": call.arguments["options"]}
    return name, arguments


class ModelServer:
    """Listens on loopback from `async with` on. `requests` are those that named a scenario, in order."""

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.scenarios = dict(SCENARIOS)
        self.requests: list[Request] = []
        self.url = ""
        self._changed = asyncio.Condition()
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> ModelServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**26)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def asked(self, scenario: str, step: int) -> None:
        """Waits until the model was asked for this step of a scenario."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: any(request.scenario == scenario and request.step >= step for request in self.requests)
            )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            start, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = start.split(" ", 2)
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            await self._answer(method, target.partition("?")[0], body, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, method: str, path: str, body: bytes, writer: asyncio.StreamWriter) -> None:
        format_ = next((format_ for format_ in FORMATS if format_.path.search(path)), None)
        if format_ is None or method != "POST":
            await _send_json(writer, *_other(path))
            return
        content = json.loads(body)
        request = format_.read(content)
        step = await self._choose(request)
        if isinstance(step, Hang):
            await asyncio.sleep(3600)
        elif isinstance(step, Refuse):
            await _send_json(writer, step.status, format_.error(step.status, step.message), step.headers)
        else:
            call = tool_call(step.call, request, self.workspace) if isinstance(step, Say) and step.call else None
            pieces = [word + " " for word in step.text.split(" ")] if step.text else []
            if pieces:
                pieces[-1] = pieces[-1][:-1]
            events = list(format_.write(pieces, call, content.get("model", "fake-1")))
            if not content.get("stream", True) and path.endswith("/messages"):
                await _send_json(writer, 200, _whole_message(events))
            elif path.endswith(":generateContent"):
                await _send_json(writer, 200, json.loads(events[-1]))
            else:
                await _stream(writer, events, step)

    async def _choose(self, request: Request) -> Step:
        steps = self.scenarios.get(request.scenario)
        if steps is None or not request.tools:
            return Say("A title")  # what agents ask for on the side
        async with self._changed:
            self.requests.append(request)
            self._changed.notify_all()
        return steps[min(request.step, len(steps) - 1)]


def _other(path: str) -> tuple[int, dict[str, Any]]:
    if path.endswith("/models"):
        return 200, {"object": "list", "data": [{"id": "fake-1", "object": "model", "owned_by": "test"}]}
    if path.endswith(("/count_tokens", ":countTokens")):
        return 200, {"input_tokens": 100, "totalTokens": 100}
    return 404, {"error": {"message": f"no such path: {path}", "type": "not_found_error"}}


def _whole_message(events: Sequence[str]) -> dict[str, Any]:
    records = [json.loads(event) for event in events]
    text = "".join(record["delta"].get("text", "") for record in records if record["type"] == "content_block_delta")
    return {**records[0]["message"], "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}


async def _send_json(
    writer: asyncio.StreamWriter, status: int, content: object, headers: Mapping[str, str] | None = None
) -> None:
    body = json.dumps(content).encode()
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    writer.write(
        f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}"
        "Connection: close\r\n\r\n".encode()
        + body
    )
    await writer.drain()


async def _stream(writer: asyncio.StreamWriter, events: Sequence[str], step: Say | Cut) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    for event in events:
        name = "" if event == "[DONE]" else json.loads(event).get("type", "")
        data = (f"event: {name}\n" if name else "") + f"data: {event}\n\n"
        writer.write(f"{len(data.encode()):x}\r\n{data}\r\n".encode())
        await writer.drain()
        if isinstance(step, Say) and step.pause:
            await asyncio.sleep(step.pause)
        if isinstance(step, Cut) and step.text.split()[1] in event:
            writer.transport.abort()
            return
    writer.write(b"0\r\n\r\n")
    await writer.drain()


if __name__ == "__main__":
    import sys

    async def main() -> None:
        async with ModelServer(sys.argv[1] if len(sys.argv) > 1 else "/tmp") as server:
            print(server.url, flush=True)
            await asyncio.Event().wait()

    asyncio.run(main())
