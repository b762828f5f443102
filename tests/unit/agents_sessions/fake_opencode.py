"""OpenCode's server as far as we use it, scripted: a script is run for each prompt and emits the events."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

Script = Callable[["FakeOpenCode", str], Awaitable[None]]


class FakeOpenCode:
    """`deaf`: connections are taken and never answered."""

    def __init__(self, *scripts: Script, password: str = "", deaf: bool = False) -> None:
        self.deaf = deaf
        self.scripts = list(scripts)
        self.requests: list[tuple[str, str, Any]] = []
        self.config: dict[str, Any] = {}
        self.messages: dict[str, list[dict[str, Any]]] = {}
        self.status: dict[str, dict[str, Any]] = {}
        self.permissions: list[dict[str, Any]] = []
        self.questions: list[dict[str, Any]] = []
        self.unknown: set[str] = set()  # ends of paths that this version does not have
        self.failing: set[str] = set()  # paths that cannot be answered for now
        self.url = ""
        self.changed = asyncio.Condition()
        self._auth = "Basic " + base64.b64encode(f"opencode:{password}".encode()).decode() if password else ""
        self._listeners: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._count = 0

    async def __aenter__(self) -> FakeOpenCode:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    # ------------------------------------------------------------------------------------------------- for scripts
    def id(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}_{self._count:04}"

    async def emit(self, type_: str, **properties: Any) -> None:
        event = json.dumps({"id": self.id("evt"), "type": type_, "properties": properties})
        data = f"data: {event}\n\n".encode()
        for writer in self._listeners:
            writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await asyncio.gather(*(writer.drain() for writer in self._listeners), return_exceptions=True)

    async def message(self, session: str, role: str, **info: Any) -> str:
        """A message is there; an assistant's is to be told of again with the same id when it has changed."""
        id_ = info.pop("id", None) or self.id("msg")
        content = {"id": id_, "sessionID": session, "role": role, **info}
        known = next((entry for entry in self.messages[session] if entry["info"]["id"] == id_), None)
        if known:
            known["info"] = content
        else:
            self.messages[session].append({"info": content, "parts": []})
        await self.emit("message.updated", sessionID=session, info=content)
        return id_

    async def part(self, session: str, message: str, told: bool = True, **part: Any) -> None:
        content = {"id": self.id("prt"), "messageID": message, "sessionID": session, **part}
        entry = next(entry for entry in self.messages[session] if entry["info"]["id"] == message)
        entry["parts"] = [old for old in entry["parts"] if old["id"] != content["id"]] + [content]
        if told:
            await self.emit("message.part.updated", sessionID=session, part=content)

    async def delta(self, session: str, message: str, part: str, text: str) -> None:
        await self.emit(
            "message.part.delta", sessionID=session, messageID=message, partID=part, field="text", delta=text
        )

    async def busy(self, session: str) -> None:
        self.status[session] = {"type": "busy"}
        await self.emit("session.status", sessionID=session, status={"type": "busy"})

    async def idle(self, session: str) -> None:
        self.status.pop(session, None)
        await self.emit("session.status", sessionID=session, status={"type": "idle"})
        await self.emit("session.idle", sessionID=session)

    async def say(self, session: str, text: str, finish: str = "stop", **info: Any) -> None:
        """A whole answer of the model."""
        id_ = await self.message(session, "assistant", **info)
        await self.part(session, id_, type="text", text=text)
        tokens = {"input": 10, "output": 2, "reasoning": 1, "cache": {"read": 5, "write": 0}}
        await self.message(session, "assistant", id=id_, finish=finish, tokens=tokens, cost=0.5, **info)

    async def take(self, session: str, prompt: str = "Do it.") -> None:
        """The prompt has become a message and is being worked on."""
        id_ = await self.message(session, "user")
        await self.part(session, id_, type="text", text=prompt)
        await self.busy(session)

    async def ask(self, session: str, listed: bool = True, **more: Any) -> str:
        id_ = self.id("per")
        request: dict[str, Any] = {"id": id_, "sessionID": session, "permission": "bash", "patterns": ["touch x"]}
        request |= {"metadata": {"command": "touch x"}, "always": ["touch *"], **more}
        if listed:
            self.permissions.append(request)
        await self.emit("permission.asked", **request)
        return id_

    async def asked_for(self, pattern: str) -> tuple[str, str, Any]:
        """Waits for a request whose method and path match, and gives it back."""
        found: list[tuple[str, str, Any]] = []

        def look() -> bool:
            found[:] = [request for request in self.requests if re.search(pattern, f"{request[0]} {request[1]}")]
            return bool(found)

        async with self.changed:
            await asyncio.wait_for(self.changed.wait_for(look), 20)
        return found[-1]

    def drop(self) -> None:
        """The connections of all listeners break."""
        for writer in self._listeners:
            writer.transport.abort()
        self._listeners.clear()

    # -------------------------------------------------------------------------------------------------- inner workings
    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        deaf = self.deaf
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                start, *lines = head.split("\r\n")
                method, target, _ = start.split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                path = target.partition("?")[0]
                if deaf:
                    await reader.read()
                    return
                if self._auth and headers.get("authorization") != self._auth:
                    await self._send(writer, 401, {"name": "Unauthorized"})
                elif path == "/event":
                    await self._listen(writer)
                    await reader.read()
                    return
                else:
                    content = json.loads(body) if body else None
                    status, answer = self._answer(method, path, content)
                    await self._send(writer, status, answer)
                    async with self.changed:
                        self.requests.append((method, path, content))
                        self.changed.notify_all()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._listeners.discard(writer)
            writer.close()

    async def _listen(self, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        self._listeners.add(writer)
        await self.emit("server.connected")

    def _answer(self, method: str, path: str, content: Any) -> tuple[int, Any]:
        if any(path.endswith(end) for end in self.unknown):
            return 404, {"name": "NotFound"}
        if path in self.failing:
            return 500, {"name": "UnknownError"}
        if (method, path) == ("POST", "/session"):
            session = self.id("ses")
            self.messages[session] = []
            return 200, {"id": session}
        if match := re.fullmatch(r"/session/(\w+)/prompt_async", path):
            task = asyncio.ensure_future(self.scripts.pop(0)(self, match[1]))
            self._tasks.add(task)
            return 204, None
        if match := re.fullmatch(r"/session/(\w+)/message", path):
            return 200, self.messages[match[1]]
        if match := re.fullmatch(r"/(permission|question)/(\w+)/(reply|reject)", path):
            pending = self.permissions if match[1] == "permission" else self.questions
            found = [request for request in pending if request["id"] == match[2]]
            for request in found:
                pending.remove(request)
            return (200, True) if found else (404, {"name": "NotFound"})
        known = {
            "/config": self.config,
            "/session/status": self.status,
            "/permission": self.permissions,
            "/question": self.questions,
        }
        if path in known:
            return 200, known[path]
        return (200, True) if path.endswith("/abort") else (404, {"name": "NotFound"})

    async def _send(self, writer: asyncio.StreamWriter, status: int, content: Any) -> None:
        body = b"" if status == 204 else json.dumps(content).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
