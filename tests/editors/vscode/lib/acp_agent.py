"""An agent that speaks ACP on stdio and asks: for permission to run a command, then which colour to take.

It says what it was answered, repeats the hints of its prompt, and promises to be done when it was given a colour.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

OPTIONS = [
    {"optionId": "always", "name": "Always", "kind": "allow_always"},
    {"optionId": "once", "name": "Once", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]
CALL = {
    "toolCallId": "t1",
    "title": "Clean up",
    "kind": "execute",
    "rawInput": {"command": "rm -rf build [x](command:workbench.action.quit)"},
    "content": [{"type": "diff", "path": "notes.txt", "oldText": "one\n", "newText": "two\n"}],
}
COLOURS = {"type": "string", "enum": ["Red", "Blue"], "title": "Colour"}
FORM = {"type": "object", "properties": {"colour": COLOURS}, "required": ["colour"]}

asked = 0


def send(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def receive() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def say(text: str) -> None:
    content = {"type": "text", "text": f"{text}\n"}
    update = {"sessionUpdate": "agent_message_chunk", "content": content}
    send(method="session/update", params={"sessionId": "s", "update": update})


def ask(method: str, **params: Any) -> Any:
    """What a person answered; None when the prompt was cancelled meanwhile."""
    global asked
    asked += 1
    send(id=f"ask-{asked}", method=method, params={"sessionId": "s", **params})
    while True:
        message = receive()
        if message.get("id") == f"ask-{asked}" and "method" not in message:
            return message.get("result")
        if message.get("method") == "session/cancel":
            return None


def work(prompt: str) -> None:
    for hint in sorted(set(re.findall(r"HINT-\w+", prompt))):
        say(f"saw {hint}")
    may = ask("session/request_permission", toolCall=CALL, options=OPTIONS)
    say(f"may: {may and may['outcome'].get('optionId', 'nothing')}")
    form: dict[str, Any] | None = ask(
        "elicitation/create", mode="form", message="Which colour shall the button have?", requestedSchema=FORM
    )
    content: dict[str, Any] = form.get("content") or {} if form else {}
    colour: str | None = content.get("colour")
    say(f"colour: {colour}")
    if colour:
        say("<promise>COMPLETE</promise>")


while True:
    message = receive()
    method, number = message.get("method"), message.get("id")
    if method == "initialize":
        send(id=number, result={"protocolVersion": 1, "agentCapabilities": {}})
    elif method == "session/new":
        send(id=number, result={"sessionId": "s"})
    elif method == "session/prompt":
        work(json.dumps(message["params"]["prompt"]))
        send(id=number, result={"stopReason": "end_turn"})
    elif number is not None:
        send(id=number, result={})
