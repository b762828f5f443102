"""An agent's CLI as the helper finds it on the PATH: plays one scene per call and keeps what it was called with."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from box import Box

_PROGRAM = """#!/bin/sh
[ "$1" = --version ] && {{ echo "1.2.3 (fake)"; exit; }}
cd {folder}
n=$(($(cat count 2>/dev/null || echo 0) + 1)); echo $n > count
for argument; do printf '%s\\0' "$argument"; done > $n.argv
cat > $n.stdin
[ -e $n.sh ] || n=last
. ./$n.sh
"""


class FakeCli:
    """`name` is what it is called on the PATH."""

    def __init__(self, box: Box, name: str) -> None:
        self._scenes = box.room / f"{name}-scenes"
        self._scenes.mkdir(parents=True)
        self.path = box.room / "bin" / name
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(_PROGRAM.format(folder=shlex.quote(str(self._scenes))))
        self.path.chmod(0o755)
        self.env = {"PATH": f"{self.path.parent}:{box.env['PATH']}"}
        self._count = 0

    def plays(self, *records: object, err: str = "", code: int = 0, then: str = "") -> FakeCli:
        """The next scene; the last one is played for all calls after it. Records are printed as lines of JSON, texts as
        lines, bytes as they are; `then` is shell after that."""
        self._count += 1
        stem = self._scenes / str(self._count)
        stem.with_suffix(".out").write_bytes(b"".join(map(_line, records)))
        stem.with_suffix(".err").write_text(err)
        scene = f"cat {self._count}.out; cat {self._count}.err >&2\n{then}\nexit {code}\n"
        stem.with_suffix(".sh").write_text(scene)
        (self._scenes / "last.sh").write_text(scene)
        return self

    @property
    def calls(self) -> int:
        return len(list(self._scenes.glob("*.argv")))

    def argv(self, call: int = 1) -> list[str]:
        return (self._scenes / f"{call}.argv").read_text().split("\0")[:-1]

    def stdin(self, call: int = 1) -> str:
        return (self._scenes / f"{call}.stdin").read_text()


def _line(record: object) -> bytes:
    if isinstance(record, bytes):
        return record
    return (record if isinstance(record, str) else json.dumps(record)).encode() + b"\n"


# ------------------------------------------------------------------------------------------ what the agents print
Lines = list[Any]


def claude(text: str, **result: Any) -> Lines:
    said = {"type": "assistant", "message": {"content": [{"type": "text", "text": text}]}}
    return [said, {"type": "result", "subtype": "success", "is_error": False, "result": text, **result}]


def codex(text: str) -> Lines:
    return [
        {"type": "thread.started", "thread_id": "t"},
        {"type": "item.completed", "item": {"id": "i", "type": "agent_message", "text": text}},
        {"type": "turn.completed", "usage": {"input_tokens": 10, "cached_input_tokens": 1, "output_tokens": 2}},
    ]


def opencode(text: str) -> Lines:
    def part(type_: str, **more: Any) -> Mapping[str, Any]:
        return {"type": type_, "part": {"messageID": "m", "type": type_.replace("_", "-"), **more}}

    return [part("text", text=text), part("step_finish", reason="stop", cost=0.5, tokens={"input": 10, "output": 2})]


def gemini(text: str) -> Lines:
    half = len(text) // 2
    pieces = [
        {"type": "message", "role": "assistant", "content": piece, "delta": True}
        for piece in (text[:half], text[half:])
    ]
    return [
        {"type": "init", "model": "g"},
        {"type": "message", "role": "user", "content": "<promise>COMPLETE</promise>"},
        *pieces,
        {"type": "result", "status": "success", "stats": {"input_tokens": 10, "output_tokens": 2}},
    ]


def copilot(text: str) -> Lines:
    return [
        {"type": "user.message", "data": {"content": "<promise>COMPLETE</promise>"}},
        {"type": "assistant.message", "data": {"messageId": "m", "content": text}},
        {"type": "result", "exitCode": 0},
    ]


def cursor(text: str) -> Lines:
    said = {"type": "assistant", "message": {"role": "assistant", "content": [{"type": "text", "text": text}]}}
    return [{"type": "system", "subtype": "init"}, said, {"type": "result", "is_error": False, "result": text}]


SAYING = {
    "claude": claude,
    "codex": codex,
    "opencode": opencode,
    "gemini": gemini,
    "copilot": copilot,
    "cursor": cursor,
    "amp": claude,
}
PROGRAMS = {"cursor": "cursor-agent"}
