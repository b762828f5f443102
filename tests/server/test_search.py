"""Full-text search over what was said, and the bounded scan over errors and output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell
from client import Client


@pytest.fixture
def box(common_embedded: Box) -> Box:
    return common_embedded


def run(client: Client, repo: Path, prompt: str, script: str = "true") -> dict[str, Any]:
    config = shell(f"{script}; echo '{DONE}'")
    return client.settled(client("start", workspace=str(repo), prompt=prompt, config=config)["runId"])


def found(client: Client, text: str, **params: Any) -> list[tuple[str, str]]:
    return [(hit["where"], hit["sessionId"]) for hit in client("search", text=text, **params)["hits"]]


def test_where_it_is_found(client: Client, repo: Path) -> None:
    end = run(client, repo, "Polish the zeppelin", "echo 'Error: gearbox is broken'; echo; echo Rudder >&2")
    session = end["sessionId"]
    assert found(client, "zeppelin") == [("user prompt", session)]
    assert found(client, "ZEPPEL polish") == [("user prompt", session)] or found(client, "polish ZEPPEL")
    assert ("error of iteration 1", session) in found(client, "GEARBOX")
    assert ("stdout of iteration 1", session) in found(client, "gearbox")
    assert found(client, "rudder") == [("stderr of iteration 1", session)]  # small or large letters
    assert found(client, "nowhere at all") == []
    (hit,) = client("search", text="zeppelin")["hits"]
    assert (hit["runId"], "zeppelin" in hit["excerpt"]) == (end["runId"], True)
    client("sessions/delete", sessionId=session)
    assert found(client, "zeppelin") == found(client, "gearbox") == found(client, "rudder") == []


@pytest.mark.parametrize(
    "text",
    [
        '"foo OR -bar*', "*", '"', "AND", "NEAR(a b)", "text:foo", "a^2", "(", "%", "_", "\\", "'; DROP TABLE x; --",
        "foo\0bar", "ü", "日本", "🚀", "{x}", "-", "x" * 10_000, "a " * 2000, "[", "?", "\n\t x",
    ],
)  # fmt: skip
def test_nothing_is_query_syntax(client: Client, repo: Path, text: str) -> None:
    end = run(client, repo, f"before {text.replace(chr(0), ' ')} after")
    client("search", text=text)
    if any(character.isalnum() for character in text) and "\0" not in text:
        assert ("user prompt", end["sessionId"]) in found(client, text, limit=1000)
    client("sessions/delete", sessionId=end["sessionId"])


@pytest.mark.parametrize("text", ["登录", "🎉", "-> d", "c++", "请修复登录"])
def test_what_is_no_word_of_its_own_is_found_in_messages(client: Client, repo: Path, text: str) -> None:
    end = run(client, repo, "请修复登录🎉 c++ -> d")
    try:
        hits = [hit for hit in client("search", text=text)["hits"] if hit["where"] == "user prompt"]
        assert [(hit["sessionId"], text in hit["excerpt"]) for hit in hits] == [(end["sessionId"], True)]
    finally:
        client("sessions/delete", sessionId=end["sessionId"])


def test_what_holds_the_text_itself_comes_before_what_holds_its_words(client: Client, repo: Path) -> None:
    wanted = run(client, repo, "port it to c++ now")["sessionId"]
    other = run(client, repo, "clean the cache")["sessionId"]
    prompts = [session for where, session in found(client, "c++") if where == "user prompt"]
    assert prompts == [wanted, other]
    assert found(client, "c++", limit=1) == [("user prompt", wanted)]
    for session in (wanted, other):
        client("sessions/delete", sessionId=session)


def test_only_of_one_workspace(client: Client, box: Box) -> None:
    one, other = box.repo("one"), box.repo("other")
    first = run(client, one, "a submarine", "echo periscope")["sessionId"]
    second = run(client, other, "a submarine", "i=0; while [ $i -lt 300 ]; do echo line $i; i=$((i+1)); done")
    assert found(client, "submarine", workspace=str(one)) == [("user prompt", first)]
    assert found(client, "submarine") == [("user prompt", second["sessionId"]), ("user prompt", first)]
    assert found(client, "submarine", limit=1) == [("user prompt", second["sessionId"])]
    assert found(client, "periscope", workspace=str(one))[-1] == ("stdout of iteration 1", first)
    assert found(client, "periscope", workspace=str(other)) == []
    assert found(client, "submarine", workspace=str(box.folder_of("never-seen"))) == []


def test_wrong_params(client: Client, box: Box) -> None:
    for params in (
        {},
        {"text": ""},
        {"text": " "},
        {"text": 5},
        {"text": "x", "limit": 0},
        {"text": "x", "limit": "1"},
    ):
        assert client.refused("search", **params).code == -32602
    assert client.refused("search", text="x", workspace=str(box.room / "missing")).code == -32602
