"""The base protocol: framing, JSON-RPC, and no request without an answer."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from box import DONE, Box, shell
from client import Client, Gone, RpcError

from ralph_loop import protocol

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS = -32700, -32600, -32601, -32602
NOT_INITIALIZED, CANCELLED = -32002, -32800


NO_OBJECTS: list[Any] = [[], [{}], "text", 1, True, 1.5]


@pytest.fixture
def box(common: Box) -> Box:
    return common


def error_of(client: Client, id_: Any) -> Any:
    """The error that the next message with this id carries."""
    return client.response(id_)["error"]


def alive(client: Client) -> None:
    assert client("health")["status"] == "ok"


def test_initialize_names_server_and_protocol(fresh: Box) -> None:
    client = fresh.connection()
    result = client.initialize()
    assert result["serverInfo"]["name"] == "ralph-loop"
    assert result["serverInfo"]["version"]
    assert result["capabilities"]["experimental"]["ralph"] == {"protocolVersion": 1}
    commands = set(result["capabilities"]["executeCommandProvider"]["commands"])
    assert {method.replace("/", ".") for method in protocol.REQUESTS} <= commands
    health = client("health")
    assert health["protocolVersion"] == 1
    assert health["shared"] == (fresh.transport == "shared")
    assert health["pid"] == fresh.helper_pid
    assert health["database"] == str(fresh.data / "ralph-loop.db")


def test_order_of_a_session(fresh: Box) -> None:
    client = fresh.connection()
    for method in ("ralph/health", "ralph/nothing", "shutdown", "textDocument/hover"):
        assert error_of(client, client.send(method, {}))["code"] == NOT_INITIALIZED
    wrong: list[Any] = [[], "x", 5, {"capabilities": {}, "processId": "none"}]
    for params in wrong:
        assert error_of(client, client.send("initialize", params))["code"] == INVALID_PARAMS, params
    client.initialize()  # the refused one does not count
    again = client.send("initialize", {"capabilities": {}})
    assert error_of(client, again)["code"] == INVALID_REQUEST
    assert client.request("shutdown") is None
    assert error_of(client, client.send("ralph/health", {}))["code"] == INVALID_REQUEST
    assert error_of(client, client.send("shutdown"))["code"] == INVALID_REQUEST
    client.notify("exit")
    client.wait_ended()


def test_exit_without_shutdown_ends_the_connection(fresh: Box) -> None:
    client = fresh.client()
    client.notify("exit")
    client.wait_ended()


def test_bodies_that_are_no_message_do_no_harm(client: Client) -> None:
    for body in (
        b"", b"{", b"nonsense", b'{"jsonrpc": "2.0", "id": 1, "method": "ralph/health", "params": {"a": NaN}}',
        b'{"x": Infinity}', b'\xff\xfe{"id": 1}', b'{"jsonrpc":"2.0"', b"[" * 100_000, b'{"a":' * 50_000,
        b'{"x": ' + b"9" * 5000 + b"}", b'"\xc3("', b"{'id': 1}", b"null",
    ):  # fmt: skip
        client.write_body(body)
        assert error_of(client, None)["code"] == PARSE_ERROR, body[:60]
    for value in ([], [{"jsonrpc": "2.0", "id": 1, "method": "ralph/health"}], 1, "text", True, 1.5):
        client.write_message(value)
        assert error_of(client, None)["code"] == INVALID_REQUEST, value
    alive(client)


def test_requests_that_are_no_json_rpc(client: Client) -> None:
    ok: dict[str, Any] = {"jsonrpc": "2.0", "method": "ralph/health", "params": {}}
    no_ids: list[Any] = [None, True, 1.5, [], {}]
    for id_ in no_ids:
        client.write_message({**ok, "id": id_})
        assert error_of(client, None)["code"] == INVALID_REQUEST, id_
    for id_, wrong in enumerate(
        ({"jsonrpc": "1.0"}, {"jsonrpc": 2.0}, {"method": 1}, {"method": None}, {"method": ["ralph/health"]}), 1000
    ):
        client.write_message({**ok, "id": id_, **wrong})
        assert error_of(client, id_)["code"] == INVALID_REQUEST, wrong
    client.write_message({"id": 1100, "method": "ralph/health", "params": {}})
    assert error_of(client, 1100)["code"] == INVALID_REQUEST
    client.write_message({"jsonrpc": "2.0", "id": 1101})
    assert error_of(client, 1101)["code"] == INVALID_REQUEST
    ignored: list[Any] = [
        {"jsonrpc": "2.0"}, {"jsonrpc": "2.0", "method": 5}, {**ok}, {"jsonrpc": "2.0", "method": "$/unknown"},
        {"jsonrpc": "2.0", "method": "ralph/start", "params": {"workspace": 1}},
        {"jsonrpc": "2.0", "id": 4711, "result": None}, {"jsonrpc": "2.0", "id": "x", "error": {"code": 1}},
        {"jsonrpc": "2.0", "id": None, "error": 5}, {"jsonrpc": "2.0", "id": {}, "result": []},
        {"jsonrpc": "2.0", "method": "textDocument/didOpen", "params": {"nonsense": 1}},
        {"jsonrpc": "2.0", "method": "workspace/didChangeConfiguration", "params": []},
        {"jsonrpc": "2.0", "method": "workspace/didChangeWorkspaceFolders", "params": {"event": {"added": [1]}}},
        {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": [1]}},
        {"jsonrpc": "2.0", "method": "$/cancelRequest"}, {"jsonrpc": "2.0", "method": "initialized", "params": 3},
        {"jsonrpc": "2.0", "method": "$/setTrace", "params": {"value": "loud"}},
    ]  # fmt: skip
    for harmless in ignored:
        client.write_message(harmless)
    alive(client)
    assert not client.notifications


def test_ids_come_back_as_they_were(client: Client) -> None:
    ids = ["text", "", "1", 0, -5, 2**53, 10**30, "ü€😀", "x" * 10_000, '"quoted"\n']
    for id_ in ids:
        client.send("ralph/health", {}, id_=id_)
    for id_ in ids:
        response = client.response(id_)
        assert response["result"]["status"] == "ok"
        assert type(response["id"]) is type(id_)


def test_an_id_that_is_still_being_answered(client: Client, box: Box) -> None:
    gates = box.gates()
    run = client("start", workspace=str(box.repo()), prompt="x", config=shell(gates.wait))
    # cancelling takes a while: the agent has to be ended
    client.send("ralph/cancel", {"runId": run["runId"]}, id_=900)
    client.send("ralph/cancel", {"runId": run["runId"]}, id_=900)
    refused, done = client.response(900), client.response(900)
    assert refused["error"]["code"] == INVALID_REQUEST
    assert done["result"]["status"] == "cancelled"
    client.send("ralph/health", {}, id_=900)  # free again
    assert client.response(900)["result"]["status"] == "ok"


def test_unknown_methods_and_lsp_ones_we_do_not_have(client: Client) -> None:
    for method in (
        "ralph/nothing",
        "ralph/",
        "",
        "ralph.health",
        "textDocument/hover",
        "__init__",
        "ralph/start/",
        "$/x",
    ):
        assert error_of(client, client.send(method, {}))["code"] == METHOD_NOT_FOUND, method
    alive(client)


def test_params_that_are_no_object(client: Client) -> None:
    for method in protocol.REQUESTS:
        for params in NO_OBJECTS:
            error = error_of(client, client.send(method, params))
            assert (error["code"], error["data"]["key"]) == (INVALID_PARAMS, "params"), (method, params)
        client.write_message({"jsonrpc": "2.0", "id": "null", "method": method, "params": None})
        assert error_of(client, "null")["code"] == INVALID_PARAMS, method
    assert client.answer(client.send("ralph/health"))["status"] == "ok"  # absent params are none


def test_nested_jsonrpc_keys_are_data(client: Client, box: Box) -> None:
    repo = str(box.repo())
    inner = {"jsonrpc": "2.0", "id": 7, "method": "ralph/health", "params": {"jsonrpc": "2.0"}}
    client.request("ralph/health", {**inner, "deep": {"jsonrpc": "2.0", "method": 1}})
    preview = client("preview", workspace=repo, prompt="x", config=shell("true"), extra=inner)
    assert "x" in preview["prompt"]
    error = client.refused("start", workspace=repo, prompt=inner, config={})
    assert (error.code, error.data["key"]) == (INVALID_PARAMS, "prompt")
    error = client.refused("start", workspace=repo, prompt="x", config={"jsonrpc": "2.0"})
    assert (error.code, error.data["key"]) == (INVALID_PARAMS, "config.jsonrpc")
    client.notify("workspace/didChangeConfiguration", {"settings": inner})
    alive(client)


def test_headers_in_every_spelling(client: Client) -> None:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ralph/health", "params": {}}).encode()
    for header in (
        b"content-length: %d\r\n\r\n", b"CONTENT-LENGTH:%d\r\n\r\n", b"Content-Length:   %d  \r\n\r\n",
        b"Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nContent-Length: %d\r\n\r\n",
        b"Content-Length: %d\r\nX-Other: a:b:c\r\n\r\n", b"Content-Length: %d\n\n", b"\r\nContent-Length: %d\r\n\r\n",
    ):  # fmt: skip
        client.write(header % len(body) + body)
        assert client.response(1)["result"]["status"] == "ok", header
    for byte in b"Content-Length: %d\r\n\r\n" % len(body) + body:
        client.write(bytes([byte]))
    assert client.response(1)["result"]["status"] == "ok"
    client.write((b"Content-Length: %d\r\n\r\n" % len(body) + body) * 50)  # many at once
    for _ in range(50):
        client.response(1)


LYING = [
    b"Content-Length: -5\r\n\r\n{}", b"Content-Length: abc\r\n\r\n{}", b"Content-Length: 1e3\r\n\r\n{}",
    b"Content-Length: \r\n\r\n{}", b"Content-Length: 99999999999999999999\r\n\r\n{}",
    b"Content-Length: 200000000\r\n\r\n{}", b"Content-Length: \xb2\r\n\r\n{}", b"Content-Type: x\r\n\r\n{}",
    b"no header at all\r\n\r\n{}", b"X: " + b"y" * 100_000 + b"\r\n\r\n", b'{"jsonrpc": "2.0", "id": 1}\n',
    b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"Content-Length: 0x2\r\n\r\n{}", b"\x00" * 300 + b"\n",
    b"X-A: b\r\n" * 5000 + b"\r\n",
]  # fmt: skip


def test_headers_that_lie_close_the_connection_with_an_answer(common_shared: Box) -> None:
    first = common_shared.client()
    for header in LYING:
        client = common_shared.direct()
        client.write(header)
        assert error_of(client, None)["code"] == PARSE_ERROR, header[:60]
        client.wait_ended()
    alive(first)  # nobody else is disturbed


def test_a_stream_that_ends_half_way(common_shared: Box) -> None:
    first = common_shared.client()
    for rest in (b"", b"Content-Le", b"Content-Length: 100\r\n\r\n", b'Content-Length: 100\r\n\r\n{"jsonrpc"'):
        client = common_shared.direct()
        client.write(rest)
        client.close()
    alive(first)


def test_a_length_that_is_too_short_is_answered(fresh: Box) -> None:
    client = fresh.client()
    client.write(b'Content-Length: 10\r\n\r\n{"jsonrpc": "2.0", "id": 1, "method": "ralph/health"}')
    assert error_of(client, None)["code"] == PARSE_ERROR  # the first ten bytes are no JSON
    client.send("ralph/health", {})
    assert error_of(client, None)["code"] == PARSE_ERROR  # and what follows is no header
    client.wait_ended()


def test_a_cancelled_request_is_answered_and_what_it_began_is_whole(client: Client, box: Box) -> None:
    gates = box.gates()
    run = client("start", workspace=str(box.repo()), prompt="x", config=shell(gates.wait))
    client.wait("didChange", lambda s: s["phase"] == "agent")
    for id_ in (999, "none", 1):  # unknown, or answered before
        client.notify("$/cancelRequest", {"id": id_})
    for method, params in (("ralph/list", {}), ("ralph/cancel", {"runId": run["runId"]})):
        request = {"jsonrpc": "2.0", "id": method, "method": method, "params": params}
        cancel = {"jsonrpc": "2.0", "method": "$/cancelRequest", "params": {"id": method}}
        bodies = [json.dumps(message).encode() for message in (request, cancel)]
        client.write(b"".join(b"Content-Length: %d\r\n\r\n" % len(body) + body for body in bodies))
        response = client.response(method)
        assert "result" in response or response["error"]["code"] == CANCELLED
    assert client.settled(run["runId"])["status"] == "cancelled"
    assert client("status", runId=run["runId"])["status"] == "cancelled"
    starts = [{"workspace": str(box.repo(f"r{n}")), "prompt": "x", "config": shell(f"echo '{DONE}'")} for n in range(5)]
    for params in starts:
        id_ = client.send("ralph/start", params)
        client.notify("$/cancelRequest", {"id": id_})
        assert client.settled(client.answer(id_)["runId"])["stopReason"] == "completed"


def test_every_request_is_a_command(client: Client, box: Box) -> None:
    repo = str(box.repo())
    first, second = client("health"), client.command("ralph/health")
    assert first | {"uptimeMs": 0} == second | {"uptimeMs": 0}
    run = client.command("ralph/start", {"workspace": repo, "prompt": "x", "config": shell(f"echo '{DONE}'")})
    client.settled(run["runId"])
    assert client.command("ralph/status", {"runId": run["runId"]})["status"] == "completed"
    junk: dict[str, Any] = {name: {} for name in ("runId", "workspace", "limit", "all", "key", "path", "paths")}
    for method, (params, _) in protocol.REQUESTS.items():
        if attrs.fields(params):  # the same answer on both ways
            with pytest.raises(RpcError) as plain:
                client.request(method, junk)
            with pytest.raises(RpcError) as command:
                client.command(method, junk)
            assert (command.value.code, command.value.data) == (plain.value.code, plain.value.data), method
    no_commands: list[Any] = [
        {}, {"command": "ralph.nothing"}, {"command": 5}, [], "x", {"command": "ralph/health"},
        {"command": "ralph.health", "arguments": {}}, {"command": "ralph.health", "arguments": [{}, {}]},
        {"command": "ralph.health", "arguments": [5]}, {"command": "ralph.health", "arguments": [None]},
        {"command": "ralph.start", "arguments": []}, {"command": "ralph.health", "arguments": "x"},
    ]  # fmt: skip
    for wrong in no_commands:
        assert error_of(client, client.send("workspace/executeCommand", wrong))["code"] == INVALID_PARAMS, wrong


def test_work_done_progress_for_editors_without_a_plugin(common_shared: Box) -> None:
    client, other, repo = common_shared.client(), common_shared.connection(), common_shared.repo()
    other.initialize(repo.as_uri(), capabilities={"window": {"workDoneProgress": True}})
    run = client("start", workspace=str(repo), prompt="x", config=shell(f"echo '{DONE}'"))
    other.settled(run["runId"])
    other.until(lambda: any(m == "window/showMessage" for m, _ in other.notifications))
    (create,) = other.asked
    other.write_message({"jsonrpc": "2.0", "id": create["id"], "result": None})
    assert create["method"] == "window/workDoneProgress/create"
    steps = [params["value"]["kind"] for method, params in other.notifications if method == "$/progress"]
    assert (steps[0], steps[-1]) == ("begin", "end")
    alive(other)


def test_one_broken_client_of_many(common_shared: Box) -> None:
    first, second = common_shared.client(), common_shared.client()
    first.close_input()
    first.wait_ended()
    with pytest.raises((Gone, OSError, ValueError)):
        first("health")
    alive(second)
