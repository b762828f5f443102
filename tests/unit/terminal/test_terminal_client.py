"""The terminal's client against a helper that the test plays."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ralph_loop.shared.client import Client, Notification, Reply, ResponseError


@pytest.fixture
def ends() -> Iterator[tuple[Client, socket.socket]]:
    ours, theirs = socket.socketpair()
    client = Client(ours)
    with theirs:
        yield client, theirs
    client.close()


def framed(*messages: dict[str, Any]) -> bytes:
    bodies = [json.dumps(message, ensure_ascii=False).encode() for message in messages]
    return b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)


def test_notifications_before_an_answer_are_kept_in_order(ends: tuple[Client, socket.socket]) -> None:
    client, helper = ends
    helper.sendall(
        framed(
            {"method": "a", "params": {"n": 1}},
            {"method": "window/x", "id": "7", "params": {}},  # a request of the helper's is left alone
            {"method": "b", "params": {"text": "日本"}},
            {"id": 1, "result": None},
            {"method": "c", "params": {}},
        )
    )
    assert client.request("ralph/status", {"runId": "x"}) is None
    assert [client.next(1), client.next(1), client.next(1)] == [
        Notification("a", {"n": 1}),
        Notification("b", {"text": "日本"}),
        Notification("c", {}),
    ]
    sent = helper.recv(1000)
    assert sent.endswith(b'{"jsonrpc":"2.0","id":1,"method":"ralph/status","params":{"runId":"x"}}')


def test_a_bell_rings_once_until_it_is_heard(ends: tuple[Client, socket.socket]) -> None:
    client, helper = ends
    client.bells = frozenset({"bell"})
    helper.sendall(framed(*[{"method": "bell", "params": n} for n in range(9)], {"id": 1, "result": 0}))
    client.request("x")
    assert client.next(1) == Notification("bell", 0)
    assert client.next(0) is None


def test_a_refusal_is_raised_with_its_data(ends: tuple[Client, socket.socket]) -> None:
    client, helper = ends
    helper.sendall(framed({"id": 1, "error": {"code": 1002, "message": "no", "data": {"kind": "notFound"}}}))
    with pytest.raises(ResponseError, match="no") as raised:
        client.request("x")
    assert raised.value.code == 1002
    assert raised.value.data == {"kind": "notFound"}


def test_a_request_may_be_answered_later(ends: tuple[Client, socket.socket]) -> None:
    client, helper = ends
    id_ = client.send("ralph/cancel")
    assert client.next(0) is None
    helper.sendall(framed({"id": id_, "result": {"status": "cancelled"}}))
    assert client.next(1) == Reply(id_, {"status": "cancelled"}, None)


def test_messages_may_come_in_any_pieces(ends: tuple[Client, socket.socket]) -> None:
    client, helper = ends
    data = framed({"method": "a", "params": "x" * 3000}, {"method": "b", "params": None})
    for at in range(0, len(data), 700):
        helper.sendall(data[at : at + 700])
        if at == 0:
            assert client.next(0) is None
    assert client.next(1) == Notification("a", "x" * 3000)
    assert client.next(1) == Notification("b", None)


def test_waiting_ends_when_somebody_wakes(ends: tuple[Client, socket.socket]) -> None:
    client, _ = ends
    wake, write = os.pipe()
    os.write(write, b"x")
    began = time.monotonic()
    assert client.next(20, wake) is None
    assert time.monotonic() - began < 10
    os.close(wake)
    os.close(write)


def test_a_helper_that_ends_is_an_error_for_both_directions(ends: tuple[Client, socket.socket]) -> None:
    client, helper = ends
    helper.close()
    with pytest.raises(ConnectionError):
        client.next(1)
    with pytest.raises(ConnectionError) as raised:
        client.send("x")
        client.send("x")
    assert not isinstance(raised.value, BrokenPipeError)  # which means that nobody reads our output
