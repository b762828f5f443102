"""The older dialect of ``codex exec --json``: ``{"id": …, "msg": {"type": …}}`` (before 0.44), told as the newer."""

from __future__ import annotations

from ralph_loop.agents.records import Record

_TOOLS = {
    "exec_command": "command_execution",
    "patch_apply": "file_change",
    "mcp_tool_call": "mcp_tool_call",
    "web_search": "web_search",
}


def newer(message: Record) -> Record:
    """The event of the newer dialect that says the same as this `msg`; an empty one when there is none."""
    type_ = message.text("type")
    for suffix in ("_begin", "_end"):
        if type_.endswith(suffix) and (name := _TOOLS.get(type_.removesuffix(suffix))):
            event = "item.started" if suffix == "_begin" else "item.completed"
            return Record({"type": event, "item": _tool(name, message)})
    match type_:
        case "agent_message":
            item = {"type": "agent_message", "text": message.text("message")}
            return Record({"type": "item.completed", "item": item})
        case "task_complete":
            return Record({"type": "turn.completed", "message": message.text("last_agent_message")})
        case "turn_aborted":
            words = f"the turn was aborted: {message.text('reason') or 'no reason given'}"
            return Record({"type": "turn.failed", "error": {"message": words}})
        case "token_count":
            usage = message.record("info", "total_token_usage") or message
            return Record({"type": "usage", "usage": usage.fields})
        case "error" | "stream_error":
            return message
        case _:
            return Record()


def _tool(name: str, message: Record) -> dict[str, object]:
    """An item of the newer dialect."""
    call = message.record("invocation")
    output = "\n".join(filter(None, (message.text("stdout").strip(), message.text("stderr").strip())))
    item: dict[str, object] = {
        "id": message.text("call_id"),
        "type": name,
        "aggregated_output": message.text("aggregated_output") or output,
        "command": message.fields.get("command"),
        "exit_code": message.integer("exit_code"),
        "query": message.text("query"),
        "changes": [{"path": path} for path in message.record("changes").fields],
        "server": call.text("server"),
        "tool": call.text("tool"),
        "arguments": call.fields.get("arguments"),
    }
    if message.fields.get("success") is False or "Err" in message.record("result").fields:
        item |= {"status": "failed", "message": message.record("result").text("Err")}
    return {key: value for key, value in item.items() if value}
