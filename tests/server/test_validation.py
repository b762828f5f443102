"""PROTOCOL.md: "Validation is strict, before structuring": every key of every request, with all that is wrong."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union
from urllib.parse import quote

import attrs
import pytest
from box import DONE, Box, shell
from client import Client

from ralph_loop import protocol

INVALID_PARAMS, NOT_AVAILABLE = -32602, 1011
LONE = "a\ud800b"  # half of a surrogate pair: valid as JSON, no text

WRONG: dict[object, list[Any]] = {
    str: [1, True, False, None, [], {}, 1.5, ["x"], LONE],
    int: ["1", "", 1.7, 1.0, True, False, None, [], {}, [1], 2**53, -(2**53), 10**30],
    bool: ["false", "true", 0, 1, None, [], {}, 0.0, "yes"],
    float: ["1", True, None, [], {}],
}


NO_LISTS: list[Any] = ["x", 1, None, {}, True, {"0": "x"}]
NO_OBJECTS: list[Any] = ["x", 1, None, [], True]


@pytest.fixture
def box(common: Box) -> Box:
    return common


def camel(name: str) -> str:
    head, *rest = name.rstrip("_").split("_")
    return head + "".join(part.capitalize() for part in rest)


def inner(hint: Any) -> Any:
    """Without `| None`."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        (hint,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


def valid(hint: Any, name: str, workspace: str) -> Any:
    """A value that passes for a key."""
    if name in ("workspace", "directory", "path"):
        return workspace
    if attrs.has(hint):
        return {}
    origin = typing.get_origin(hint)
    if origin is Literal:
        return typing.get_args(hint)[0]
    if origin is list:
        return [valid(typing.get_args(hint)[0], "item", workspace)]
    plain: dict[Any, Any] = {int: 1, bool: True, dict: {}}
    return plain.get(origin or hint, "x")


def wrong(hint: Any) -> Iterator[tuple[str, Any]]:
    """(where below the key, a value that must be refused)."""
    origin = typing.get_origin(hint)
    if origin is Literal:
        yield from (("", value) for value in [*WRONG[str], "nonsense", "", typing.get_args(hint)[0].upper()])
    elif origin is list:
        yield from (("", value) for value in NO_LISTS)
        yield from (("[1]", ["x", value]) for value in WRONG[typing.get_args(hint)[0]])
    elif origin is dict:
        yield from (("", value) for value in NO_OBJECTS)
        yield from ((".K", {"K": value}) for value in WRONG[typing.get_args(hint)[1]])
    elif attrs.has(hint):
        yield from (("", value) for value in NO_OBJECTS)
        yield ".unknownKey", {"unknownKey": 1}
        hints = typing.get_type_hints(hint)
        for attribute in attrs.fields(hint):
            name = camel(attribute.name)
            yield from ((f".{name}{where}", {name: value}) for where, value in wrong(inner(hints[attribute.name])))
    elif hint is not Any:
        yield from (("", value) for value in WRONG[hint])


def cases(workspace: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """(method, params with one mistake, the key that must be named)."""
    for method, (params, _) in protocol.REQUESTS.items():
        hints = typing.get_type_hints(params)
        fields = {camel(a.name): a for a in attrs.fields(params)}
        given = {
            name: valid(inner(hints[a.name]), name, workspace)
            for name, a in fields.items()
            if a.default is attrs.NOTHING
        }
        for name, attribute in fields.items():
            if attribute.default is attrs.NOTHING:
                yield method, {key: value for key, value in given.items() if key != name}, name
            for where, value in wrong(inner(hints[attribute.name])):
                yield method, {**given, name: value}, name + where


def test_every_key_of_every_request(client: Client, repo: Path) -> None:
    sent = [(client.send(method, params), method, params, key) for method, params, key in cases(str(repo))]
    assert len(sent) > 1500
    for id_, method, params, key in sent:
        error = client.response(id_).get("error")
        assert error is not None, (method, params)
        assert (error["code"], error["data"]["key"]) == (INVALID_PARAMS, key), (method, params, error)
        assert error["message"].startswith(f"{key}: "), error
    assert client("list", workspace=str(repo))["loops"] == []
    assert not (repo / ".ralph").exists()


RANGES: list[tuple[str, Any]] = [
    ("agent", ""), ("agent", " \t\n"), ("agent", "no-such-agent"), ("model", ""), ("preset", " "),
    ("preset", "no-such-preset"), ("template", ""),
    ("minIterations", 0), ("minIterations", -1), ("maxIterations", -1), ("maxFailures", 0), ("maxFailures", -3),
    ("completionPromise", ""), ("completionPromise", " "), ("completionPromise", "a\nb"), ("completionPromise", "a\rb"),
    ("completionPromise", "<promise>"), ("abortPromise", ""), ("abortPromise", "a\u2028b"),
    ("taskPromise", ""), ("taskPromise", "a>b"),
    ("iterationTimeoutMs", 0), ("iterationTimeoutMs", -1), ("inactivityTimeoutMs", 0), ("maxDurationMs", 0),
    ("iterationDelayMs", -1), ("command", []), ("command", [""]), ("command", ["  ", "x"]), ("command", ["a", "b\0c"]),
    ("agentArgs", ["a\0b"]), ("rotation", []), ("rotation", [""]), ("rotation", ["no-such-agent"]),
    ("rotation", ["demo:"]), ("rotation", [":model"]), ("rotation", ["demo", ""]), ("rotation", ["demo:m", "nope:m"]),
]  # fmt: skip


def test_values_out_of_range(client: Client, repo: Path) -> None:
    config = shell("true")
    for name, value in RANGES:
        for request in ("start", "preview"):
            error = client.refused(request, workspace=str(repo), prompt="x", config={**config, name: value})
            assert error.code == INVALID_PARAMS, (name, value, error.message)
            assert error.data["key"].split("[")[0] == f"config.{name}", (name, value, error.message)
    pairs: list[dict[str, Any]] = [
        {"minIterations": 5, "maxIterations": 4}, {"minIterations": 51}, {"agent": "custom", "command": None},
        {"abortPromise": "COMPLETE"}, {"abortPromise": "complete "}, {"tasksMode": True, "taskPromise": "complete"},
        {"abortPromise": "X", "completionPromise": "x"},
    ]  # fmt: skip
    for pair in pairs:
        merged = {key: value for key, value in {**config, **pair}.items() if value is not None}
        assert client.refused("start", workspace=str(repo), prompt="x", config=merged).code == INVALID_PARAMS, pair
    for key, value in [("limit", 0), ("limit", -1), ("before", 5)]:
        assert client.refused("list", **{key: value}).data["key"] == key
    for name, key, value in [
        ("history", "limit", 0), ("history", "before", 0), ("output", "limit", 0), ("output", "after", -1),
        ("output", "iteration", 0), ("subscribe", "after", -1), ("prompt", "iteration", 0), ("addContext", "text", " "),
    ]:  # fmt: skip
        assert client.refused(name, **{"runId": "run_x", "iteration": 1, "text": "x", key: value}).data["key"] == key
    assert client("list", workspace=str(repo))["loops"] == []


def test_prompts(client: Client, repo: Path) -> None:
    def refused(**params: Any) -> str:
        error = client.refused("start", workspace=str(repo), config=shell("true"), **params)
        assert error.code == INVALID_PARAMS, error
        return error.data["key"]

    assert refused() == "prompt"
    assert refused(prompt="x", promptFile="y") == "prompt"
    for prompt in ("", " ", "\n\t ", "a\0b", LONE, "x" * (2 * 1024 * 1024)):
        assert refused(prompt=prompt) == "prompt"
    for odd in ("$& $1 \\1 %s {0} {prompt} {{prompt}}", "\x01\x1b[31m", "ü€😀\u2028", "-rf", "--help", "x" * 500_000):
        assert odd in client("preview", workspace=str(repo), prompt=odd, config=shell("true"))["prompt"]


def test_answers_never_exceed_four_mebibytes(client: Client, repo: Path) -> None:
    # the client refuses an answer that is larger; every snapshot carries the prompt
    for prompt in ("😀" * 1_048_500, "😀" * 500_000, "\x01" * 300_000, '"' * 900_000, "x" * 1_000_000):
        id_ = client.send("ralph/start", {"workspace": str(repo), "prompt": prompt, "config": shell(f"echo '{DONE}'")})
        response = client.response(id_)
        if "error" in response:
            assert (response["error"]["code"], response["error"]["data"]["key"]) == (INVALID_PARAMS, "prompt")
        else:
            run = response["result"]["runId"]
            client.settled(run)
            client("prompt", runId=run, iteration=1)
            client("sessions/get", sessionId=response["result"]["sessionId"])
            client("search", text="x")
    loops = client("list", workspace=str(repo), limit=10**9)["loops"]
    assert loops
    assert all(loop["status"] == "completed" for loop in loops)


def test_errors_do_not_send_back_what_was_too_much(client: Client) -> None:
    long = "x" * 5_000_000
    assert client.refused("cancel", runId=long).code == 1002
    assert client.refused("start", workspace=f"/{long}", prompt="x").code == INVALID_PARAMS
    assert client.refused("start", workspace="/", prompt="x", config={long: 1}).code == INVALID_PARAMS
    assert client.refused(long).code == -32601


def test_unknown_keys(client: Client, repo: Path) -> None:
    assert client("health", nonsense=1, runId=5)["status"] == "ok"
    start = {"workspace": str(repo), "prompt": "x", "config": shell("true")}
    assert client("preview", **start, also={"x": 1})["prompt"]
    for key in ("Agent", "max_iterations", "maxiterations", "", "agent ", "jsonrpc", "__class__"):
        error = client.refused("preview", **{**start, "config": {**shell("true"), key: 1}})
        assert (error.code, error.data["key"]) == (INVALID_PARAMS, f"config.{key}")
        error = client.refused("resume", runId="run_x", config={key: 1})
        assert (error.code, error.data["key"]) == (INVALID_PARAMS, f"config.{key}")
    # what only a start may say
    assert client.refused("resume", runId="run_x", config={"completionPromise": "X"}).code == INVALID_PARAMS


def test_a_loop_must_be_named(client: Client) -> None:
    targets = [method for method, (params, _) in protocol.REQUESTS.items() if issubclass(params, protocol.Target)]
    assert len(targets) >= 10
    optional = {"ralph/permission/list", "ralph/question/list"}
    more = {"text": "x", "iteration": 1, "path": "x", "side": "before"}
    for method in targets:
        name = method.removeprefix("ralph/")
        if method not in optional:
            assert client.refused(name, **more).data["key"] == "runId", method
        for target in ({"runId": "run_nothing"}, {"sessionId": "ses_nothing"}, {"runId": "../../etc"}, {"runId": "%"}):
            if method == "ralph/status":
                assert client(name, **target) is None
                continue
            error = client.refused(name, **target, **more)
            assert error.code == 1002, (method, error)
            assert error.data["id"] == next(iter(target.values()))


def not_workspaces(box: Box) -> Iterator[str]:
    file = box.folder / "file"
    file.write_text("x")
    yield from ("", " ", "relative", "./x", "~", "$HOME", "file", "/no/such/folder", str(file), f"{box.folder}\0")
    yield from (f"file://{quote(str(file))}", "file:///no/such", "file:", "file:relative", f"file://host{box.folder}")
    yield from (f"file://localhost{box.folder}", f"file://user@host:80{box.folder}", f"file://{box.folder}%00")
    yield from (f"vscode-remote://ssh{box.folder}", "vscode-vfs://github/a/b", "untitled:Untitled-1", "http://x/y")
    yield from (f"file://{box.folder}?query", f"file://{box.folder}#part", "/" + "x" * 5000, "file:///" + "y/" * 3000)
    yield from (
        f"{box.folder}\n",
        f"file://{box.folder}\n",
        f" {box.folder}",
        "C:\\Users",
        "\\\\server\\share",
        "file://[",
    )


def test_workspaces_that_are_none(client: Client, box: Box) -> None:
    methods = [
        m for m, (params, _) in protocol.REQUESTS.items() if "workspace" in {a.name for a in attrs.fields(params)}
    ]
    steer = {"ralph/pause", "ralph/resume", "ralph/cancel", "ralph/plan/approve", "ralph/plan/reject"}  # by id only
    more: dict[str, Any] = {
        "prompt": "x", "text": "x", "iteration": 1, "path": "x", "side": "before", "trusted": True, "index": 1,
        "paths": ["x"], "message": "x", "branch": "x", "name": "x", "confirm": True,
    }  # fmt: skip
    for value in not_workspaces(box):
        for method in methods:
            error = client.refused(method.removeprefix("ralph/"), workspace=value, **more)
            if error.code == NOT_AVAILABLE:
                continue
            assert error.code == INVALID_PARAMS, (method, value, error)
            wanted = {"workspace", "runId"} if method in steer else {"workspace"}
            assert error.data["key"] in wanted, (method, value, error)


def test_workspaces_with_odd_names(common_embedded: Box) -> None:
    client = common_embedded.main_client()

    def check(workspace: str, repo: Path) -> None:
        run = client("start", workspace=workspace, prompt="x", config=shell(f"pwd; cat README; echo '{DONE}'"))
        assert run["workspace"] == str(repo)
        client.settled(run["runId"])
        text = "".join(chunk["text"] for chunk in client("output", runId=run["runId"])["chunks"])
        assert text == f"{repo}\nhello\n{DONE}\n"

    for name in ("with space", "ü€😀", "a#b?c%20d", "new\nline", "-dash", "q'uo\"te;b&c"):
        repo = common_embedded.repo(name)
        check(str(repo), repo)
        check("file://" + quote(str(repo)), repo)
    plain = common_embedded.repo("plain")
    for odd in (f"{plain}/", f"{plain}/.", f"{plain}//", f"/{plain}", f"{plain}/../plain", f"FILE://{plain}/"):
        check(odd, plain)
    assert len(client("list", workspace=plain.as_uri())["loops"]) == 6


def test_a_symlinked_workspace_is_resolved_once(common_embedded: Box) -> None:
    client = common_embedded.main_client()
    repo = common_embedded.repo()
    link = common_embedded.room / "link"
    link.symlink_to(repo)
    run = client("start", workspace=str(link), prompt="x", config=shell(f"pwd -P; echo '{DONE}'"))
    assert run["workspace"] == str(repo)
    client.settled(run["runId"])
    assert client("status", workspace=link.as_uri())["runId"] == run["runId"]
    assert (repo / ".ralph" / "state.json").is_file()
