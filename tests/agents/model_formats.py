"""The four stream formats in which models answer: OpenAI chat, OpenAI Responses, Anthropic, Gemini.

Each format knows how to read a request (what was said last, which tools there are, how many results came back) and how
to write an answer as server-sent events.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any, cast

import attrs

INPUT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS = 1000, 200, 50

Json = dict[str, Any]
NOTHING: Json = {}

_ids = itertools.count(1)


@attrs.frozen
class Call:
    """The model wants a tool: `kind` is ``write``, ``shell`` or ``ask``; its name is what the agent calls it."""

    kind: str
    arguments: Json


@attrs.frozen
class Request:
    scenario: str  # named in the prompt as [[s:NAME]]; "" when none is
    tools: dict[str, Json]  # schemas by name
    results: list[Any]  # what the tools gave back so far

    @property
    def step(self) -> int:
        return len(self.results)


def _scenario(texts: list[str]) -> str:
    names = [name for text in texts for name in re.findall(r"\[\[s:([\w-]+)\]\]", text)]
    return names[-1] if names else ""


def listed(body: Json, key: str) -> list[Any]:
    """The list under a key; anything else counts as none."""
    return cast("list[Any]", body[key]) if isinstance(body.get(key), list) else []


def _flat(content: object) -> str:
    """All text of a message, whichever way it is nested."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(_flat(part) for part in cast("list[Any]", content))
    if isinstance(content, dict):
        block = cast("Json", content)
        return _flat(block.get("text") or block.get("content") or block.get("parts") or "")
    return ""


# ------------------------------------------------------------------------------------------------------- OpenAI chat


class Chat:
    path = re.compile(r"/v1/chat/completions$")

    def read(self, body: Json) -> Request:
        messages: list[Any] = body.get("messages", [])
        texts = [_flat(message.get("content")) for message in messages if message["role"] in ("user", "system")]
        results = [message.get("content") for message in messages if message["role"] == "tool"]
        tools: dict[str, Json] = {
            tool["function"]["name"]: tool["function"].get("parameters", NOTHING) for tool in listed(body, "tools")
        }
        return Request(_scenario(texts), tools, results)

    def write(self, pieces: list[str], call: tuple[str, Json] | None, model: str) -> Iterator[str]:
        head = {"id": f"chatcmpl-{next(_ids)}", "object": "chat.completion.chunk", "created": 1, "model": model}

        def chunk(delta: Json, finish: str | None = None) -> str:
            return json.dumps({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

        yield chunk({"role": "assistant", "content": ""})
        for piece in pieces:
            yield chunk({"content": piece})
        if call:
            name, arguments = call
            function = {"name": name, "arguments": json.dumps(arguments)}
            yield chunk(
                {"tool_calls": [{"index": 0, "id": f"call_{next(_ids)}", "type": "function", "function": function}]}
            )
        yield chunk(NOTHING, "tool_calls" if call else "stop")
        usage = {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        }
        yield json.dumps({**head, "choices": [], "usage": usage})
        yield "[DONE]"

    def error(self, status: int, message: str) -> Json:
        return {"error": {"message": message, "type": _TYPES.get(status, "error"), "code": _TYPES.get(status)}}


# -------------------------------------------------------------------------------------------------- OpenAI Responses


class Responses:
    path = re.compile(r"/v1/responses$")

    def read(self, body: Json) -> Request:
        items = listed(body, "input") or [{"role": "user", "content": body.get("input")}]
        texts = [_flat(item.get("content")) for item in items if item.get("role") in ("user", "developer", "system")]
        results = [item.get("output") for item in items if str(item.get("type", "")).endswith("_call_output")]
        tools: dict[str, Json] = {
            tool.get("name", tool["type"]): tool.get("parameters", NOTHING) for tool in listed(body, "tools")
        }
        return Request(_scenario(texts), tools, results)

    def write(self, pieces: list[str], call: tuple[str, Json] | None, model: str) -> Iterator[str]:
        response: Json = {"id": f"resp_{next(_ids)}", "object": "response", "model": model, "output": []}
        yield json.dumps({"type": "response.created", "response": response})
        output: list[Json] = []
        if pieces:
            id_ = f"msg_{next(_ids)}"
            item: Json = {"id": id_, "type": "message", "role": "assistant", "status": "in_progress", "content": []}
            yield json.dumps({"type": "response.output_item.added", "output_index": 0, "item": item})
            for piece in pieces:
                delta = {"item_id": id_, "output_index": 0, "content_index": 0, "delta": piece}
                yield json.dumps({"type": "response.output_text.delta", **delta})
            content = [{"type": "output_text", "text": "".join(pieces), "annotations": [""][:0]}]
            output.append({**item, "status": "completed", "content": content})
            yield json.dumps({"type": "response.output_item.done", "output_index": 0, "item": output[-1]})
        if call:
            item = {
                "id": f"fc_{next(_ids)}",
                "type": "function_call",
                "call_id": f"call_{next(_ids)}",
                "name": call[0],
                "arguments": json.dumps(call[1]),
                "status": "completed",
            }
            index = len(output)
            output.append(item)
            yield json.dumps({"type": "response.output_item.added", "output_index": index, "item": item})
            yield json.dumps({"type": "response.output_item.done", "output_index": index, "item": item})
        usage = {
            "input_tokens": INPUT_TOKENS,
            "input_tokens_details": {"cached_tokens": CACHED_TOKENS},
            "output_tokens": OUTPUT_TOKENS,
            "output_tokens_details": {"reasoning_tokens": 10},
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
        }
        completed = {**response, "status": "completed", "output": output, "usage": usage}
        yield json.dumps({"type": "response.completed", "response": completed})

    def error(self, status: int, message: str) -> Json:
        return {"error": {"message": message, "type": _TYPES.get(status, "error"), "code": _TYPES.get(status)}}


# --------------------------------------------------------------------------------------------------------- Anthropic


class Anthropic:
    path = re.compile(r"/v1/messages$")

    def read(self, body: Json) -> Request:
        messages: list[Any] = body.get("messages", [])
        texts = [_flat(message.get("content")) for message in messages if message["role"] == "user"]
        blocks = [cast("Json", block) for message in messages for block in listed(message, "content")]
        results = [block.get("content") for block in blocks if block.get("type") == "tool_result"]
        tools: dict[str, Json] = {tool["name"]: tool.get("input_schema", NOTHING) for tool in listed(body, "tools")}
        return Request(_scenario(texts), tools, results)

    def write(self, pieces: list[str], call: tuple[str, Json] | None, model: str) -> Iterator[str]:
        usage = {
            "input_tokens": INPUT_TOKENS - CACHED_TOKENS,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": CACHED_TOKENS,
            "output_tokens": 1,
        }
        message: Json = {
            "id": f"msg_{next(_ids)}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage,
        }
        yield json.dumps({"type": "message_start", "message": message})
        index = 0
        if pieces:
            yield json.dumps({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
            for piece in pieces:
                delta = {"type": "text_delta", "text": piece}
                yield json.dumps({"type": "content_block_delta", "index": 0, "delta": delta})
            yield json.dumps({"type": "content_block_stop", "index": 0})
            index = 1
        if call:
            block: Json = {"type": "tool_use", "id": f"toolu_{next(_ids)}", "name": call[0], "input": NOTHING}
            yield json.dumps({"type": "content_block_start", "index": index, "content_block": block})
            delta = {"type": "input_json_delta", "partial_json": json.dumps(call[1])}
            yield json.dumps({"type": "content_block_delta", "index": index, "delta": delta})
            yield json.dumps({"type": "content_block_stop", "index": index})
        stop = {"stop_reason": "tool_use" if call else "end_turn", "stop_sequence": None}
        yield json.dumps({"type": "message_delta", "delta": stop, "usage": {**usage, "output_tokens": OUTPUT_TOKENS}})
        yield json.dumps({"type": "message_stop"})

    def error(self, status: int, message: str) -> Json:
        return {"type": "error", "error": {"type": _TYPES.get(status, "api_error"), "message": message}}


# ------------------------------------------------------------------------------------------------------------ Gemini


class Gemini:
    path = re.compile(r"/v1beta/models/[^/]+:(streamGenerateContent|generateContent)$")

    def read(self, body: Json) -> Request:
        contents = listed(body, "contents")
        parts = [part for content in contents for part in listed(content, "parts")]
        texts = [
            part["text"]
            for content in contents
            if content.get("role") == "user"
            for part in content["parts"]
            if "text" in part
        ]
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        tools: dict[str, Json] = {
            function["name"]: function.get("parametersJsonSchema") or function.get("parameters") or NOTHING
            for tool in listed(body, "tools")
            for function in listed(tool, "functionDeclarations")
        }
        return Request(_scenario(texts), tools, results)

    def write(self, pieces: list[str], call: tuple[str, Json] | None, model: str) -> Iterator[str]:
        def chunk(parts: list[Json], **more: Any) -> str:
            candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **more}
            return json.dumps({"candidates": [candidate], "modelVersion": model, "usageMetadata": usage})

        usage = {
            "promptTokenCount": INPUT_TOKENS,
            "cachedContentTokenCount": CACHED_TOKENS,
            "candidatesTokenCount": OUTPUT_TOKENS,
            "totalTokenCount": INPUT_TOKENS + OUTPUT_TOKENS,
        }
        for piece in pieces:
            yield chunk([{"text": piece}])
        last = [{"functionCall": {"name": call[0], "args": call[1]}}] if call else [{"text": ""}]
        yield chunk(last, finishReason="STOP")

    def error(self, status: int, message: str) -> Json:
        return {"error": {"code": status, "message": message, "status": _GOOGLE.get(status, "INTERNAL")}}


_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
_GOOGLE = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}

FORMATS = (Chat(), Responses(), Anthropic(), Gemini())
