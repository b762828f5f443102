"""An agent that speaks ACP on stdio, as far as we use it. Its first argument names what it does with a prompt."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

scenario = sys.argv[1]
ids = itertools.count(1)
session = ""


def send(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def update(what: str, **content: Any) -> None:
    send(method="session/update", params={"sessionId": session, "update": {"sessionUpdate": what, **content}})


def say(text: str, **more: Any) -> None:
    update("agent_message_chunk", content={"type": "text", "text": text}, **more)


def receive() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    return json.loads(line)


def ask(method: str, **params: Any) -> dict[str, Any]:
    """A request of ours; its answer's result."""
    id_ = f"ask-{next(ids)}"
    send(id=id_, method=method, params={"sessionId": session, **params})
    while True:
        message = receive()
        if message.get("id") == id_ and "method" not in message:
            return message["result"]


OPTIONS = [
    {"optionId": "yes-always", "name": "Always", "kind": "allow_always"},
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


def permission(command: str = "touch x") -> str:
    call = {
        "toolCallId": "t1",
        "title": "Run a test command",
        "kind": "execute",
        "rawInput": {"command": command},
        "content": [{"type": "diff", "path": "/w/a.txt", "oldText": "one\n", "newText": "two\n"}],
    }
    update("tool_call", toolCallId="t1", title="Run a test command", kind="execute", status="pending", rawInput={})
    return json.dumps(ask("session/request_permission", toolCall=call, options=OPTIONS)["outcome"])


def work() -> None:
    update("plan", entries=[{"content": "Do it", "priority": "high", "status": "in_progress"}])
    update("agent_thought_chunk", content={"type": "text", "text": "<promise>COMPLETE</promise>"})
    say("Step ", messageId="m1")
    say("one.", messageId="m1")
    update("tool_call", toolCallId="t1", title="bash", kind="execute", status="pending", rawInput={})
    update("tool_call_update", toolCallId="t1", status="in_progress", rawInput={"command": "ls"})
    failed = {"output": "oops\n", "metadata": {"exit": 3}}
    update("tool_call_update", toolCallId="t1", status="completed", rawOutput=failed)
    update("something_new", anything=[1, None])
    update("usage_update", used=10, size=100, cost={"amount": 0.25, "currency": "USD"})
    say(f"Session {session} of process {os.getpid()} in {Path.cwd()}.\n<promise>COMPLETE</promise>", messageId="m2")


def prompt(id_: object) -> None:
    usage = {"inputTokens": 8, "outputTokens": 2, "totalTokens": 10}
    result: dict[str, Any] = {"stopReason": "end_turn", "usage": usage}
    if scenario == "work":
        work()
    elif scenario == "permission":
        say("<promise>COMPLETE</promise>")
        outcome = permission()
        if "no" not in outcome:
            say(outcome)
    elif scenario == "huge-permission":
        say(permission("touch " + "x" * 6_000_000))
    elif scenario == "other-permission":
        permission("touch y")
    elif scenario == "withdrawn":
        call = {"toolCallId": "t1", "title": "Look", "kind": "read"}
        params = {"sessionId": session, "toolCall": call, "options": OPTIONS}
        send(id="p1", method="session/request_permission", params=params)
        send(method="$/cancel_request", params={"requestId": "p1"})
        say(json.dumps(receive()["result"]["outcome"]))
    elif scenario == "form":
        colour = {
            "type": "string",
            "title": "Colour",
            "oneOf": [{"const": "r", "title": "Red"}, {"const": "b", "title": "Blue"}],
        }
        other = {"type": "string", "title": "Other"}
        schema = {"type": "object", "properties": {"colour": colour, "colour_custom": other}}
        say(json.dumps(ask("elicitation/create", mode="form", message="Which colour?", requestedSchema=schema)))
    elif scenario == "badform":
        schema = {"type": "object", "properties": {"colour": 5}}
        params = {"sessionId": session, "mode": "form", "message": "Which colour?", "requestedSchema": schema}
        send(id="f1", method="elicitation/create", params=params)
        say("refused" if "error" in receive() else "answered")
    elif scenario == "noise":
        print("this is no JSON", flush=True)
        print("[1, 2]", flush=True)
        sys.stdout.buffer.write(b"\xff\xfe{}\n" + b"x" * 1_000_000 + b"\n")
        sys.stdout.flush()
        print("a warning", file=sys.stderr, flush=True)
        send(method="_vendor/notice", params={"a": 1})
        say("Heard.")
    elif scenario == "limit":
        send(id=id_, error={"code": 429, "message": "slow down"})
        return
    elif scenario == "stopped":
        say("<promise>COMPLETE</promise>")
        result = {"stopReason": "max_tokens"}
    elif scenario == "whole":
        say("Error: handling is done.\n<promise>COMPLETE</promise>")
    elif scenario == "crash":
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(7)
    elif scenario == "orphan":
        subprocess.Popen(["setsid", "sleep", "7780"])  # holds our pipes
        os._exit(8)
    elif scenario == "late":
        say("Working.")
        while receive().get("method") != "session/cancel":
            pass
        say(permission())
        result = {"stopReason": "cancelled"}
    elif scenario == "hang":
        child = subprocess.Popen(["setsid", "sleep", "7779"])
        say(f"Child {child.pid}.")
        while receive().get("method") != "session/cancel":
            pass
        say("Cancelled.")
        result = {"stopReason": "cancelled"}
    send(id=id_, result=result)


MODES = {
    "currentModeId": "default",
    "availableModes": [{"id": "default", "name": "a"}, {"id": "acceptEdits", "name": "b"}],
}
MODEL = {
    "id": "model",
    "name": "Model",
    "category": "model",
    "type": "select",
    "currentValue": "small",
    "options": [{"value": "small", "name": "Small"}, {"value": "large", "name": "Large"}],
}
chosen: list[str] = []

if scenario == "mute":
    sys.exit("I do not speak ACP")

while True:
    message = receive()
    method, id_, params = message.get("method"), message.get("id"), message.get("params", {})
    if method == "initialize":
        capabilities: dict[str, Any] = {"sessionCapabilities": {"close": {}}}
        login = [{"id": "login", "name": "Log in", "description": "Run `fake login`"}]
        version = 2 if scenario == "future" else 1
        send(id=id_, result={"protocolVersion": version, "agentCapabilities": capabilities, "authMethods": login})
    elif method == "session/new" and scenario == "login":
        send(id=id_, error={"code": -32000, "message": "Authentication required"})
    elif method == "session/new":
        session = f"s{next(ids)}"
        update("available_commands_update", availableCommands=[])
        send(id=id_, result={"sessionId": session, "modes": MODES, "configOptions": [MODEL]})
    elif method == "session/set_mode":
        chosen.append(params["modeId"])
        send(id=id_, result={})
    elif method == "session/set_config_option" and params["value"] not in ("small", "large"):
        send(id=id_, error={"code": -32602, "message": f"no such model: {params['value']}"})
    elif method == "session/set_config_option":
        chosen.append(params["value"])
        send(id=id_, result={"configOptions": [MODEL]})
    elif method == "session/prompt" and scenario == "chosen":
        say(" ".join(chosen))
        send(id=id_, result={"stopReason": "end_turn"})
    elif method == "session/prompt":
        prompt(id_)
    elif method == "session/close":
        print(f"closed {params['sessionId']}", file=sys.stderr, flush=True)
        send(id=id_, result={})
