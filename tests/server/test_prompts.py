"""What an agent is given: templates, presets, loop files; the same in a preview and in the first iteration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell
from client import Client, RpcError

INVALID_PARAMS, NOT_FOUND, UNTRUSTED, INVALID_PROMPT = -32602, 1002, 1014, 1016
PRESETS = ["default", "debug", "feature", "refactor", "review", "tdd-red-green"]


@pytest.fixture
def box(common_embedded: Box) -> Box:
    return common_embedded


def trust(client: Client, repo: Path) -> None:
    client("repos/trust", workspace=str(repo), trusted=True)


def preview(client: Client, repo: Path, prompt: str = "the task", **config: Any) -> str:
    return client("preview", workspace=str(repo), prompt=prompt, config={"agent": "demo", **config})["prompt"]


def refused(client: Client, repo: Path, **params: Any) -> RpcError:
    """By start and preview alike; nothing was written."""
    first, second = (client.refused(name, workspace=str(repo), **params) for name in ("preview", "start"))
    assert (first.code, first.message, first.data) == (second.code, second.message, second.data)
    return first


def write(repo: Path, name: str, text: str) -> Path:
    path = repo / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


# -------------------------------------------------------------------------------------------------------------- preview
@pytest.mark.parametrize(
    "config",
    [
        {}, {"preset": "tdd-red-green"}, {"tasksMode": True}, {"minIterations": 3}, {"maxIterations": 0},
        {"abortPromise": "STUCK"}, {"planMode": True},
    ],
    ids=str,
)  # fmt: skip
def test_the_preview_is_what_the_first_iteration_gets(client: Client, box: Box, repo: Path, config: Any) -> None:
    agent = shell(f"cat > $BOX/given; echo '{DONE}'") | config
    write(repo, ".ralph/context.md", "a hint by hand, {{prompt}} $&\n")
    write(repo, ".ralph/ralph-tasks.md", "- [x] one\n- [ ] two {{context}}\n")
    given = {"workspace": str(repo), "prompt": "do {{iteration}} $1 \\0 <b>", "config": agent}
    before = client("preview", **given)["prompt"]
    assert client("preview", **given)["prompt"] == before  # reading uses nothing up
    assert "do {{iteration}} $1 \\0 <b>" in before
    assert "a hint by hand, {{prompt}} $&" in before
    assert ("two {{context}}" in before) == ("tasksMode" in config)
    run = client("start", **given)["runId"]
    client.wait("didIterate", lambda r: r["runId"] == run and r["status"] == "completed")
    assert client("prompt", runId=run, iteration=1)["prompt"] == before
    assert (box.folder / "given").read_text() == before
    if client("status", runId=run)["status"] not in ("completed", "error"):
        client("cancel", runId=run)


def test_preview_starts_and_makes_nothing(client: Client, repo: Path) -> None:
    loops = client("list")["loops"]
    preview(client, repo)
    assert not (repo / ".ralph").exists()
    assert client("list")["loops"] == loops
    assert client.refused("preview", workspace=str(repo)).code == INVALID_PARAMS
    assert client.refused("preview", workspace=str(repo), prompt=" \n").code == INVALID_PARAMS
    assert client.refused("preview", workspace=str(repo), prompt="a", promptFile="b").code == INVALID_PARAMS


# ------------------------------------------------------------------------------------------------------------ templates
def test_templates(client: Client, repo: Path) -> None:
    names = (
        "iteration max_iterations min_iterations prompt completion_promise abort_promise task_promise context tasks"
    ).split()
    write(repo, "all.md", "".join(f"{name}=[{{{{{name}}}}}] [{{{{ {name} }}}}]\n" for name in names))
    write(repo, ".ralph/ralph-tasks.md", "- [ ] one {{prompt}}\n")
    text = preview(
        client, repo, "the {{context}} $& task", template="all.md", abortPromise="STUCK", tasksMode=True,
        completionPromise="{{tasks}}", maxIterations=7, minIterations=2,
    )  # fmt: skip
    for line in (
        "iteration=[1] [1]", "max_iterations=[7] [7]", "min_iterations=[2] [2]", "abort_promise=[STUCK] [STUCK]",
        "prompt=[the {{context}} $& task] [the {{context}} $& task]", "completion_promise=[{{tasks}}] [{{tasks}}]",
        "task_promise=[READY_FOR_NEXT_TASK] [READY_FOR_NEXT_TASK]", "context=[] []",
    ):  # fmt: skip
        assert line in text.splitlines()
    assert "tasks=[- [ ] one {{prompt}}" in text
    write(repo, "plain.md", "no variable, {{a: 1}}, { {prompt} } {prompt} $1\r\n")
    assert (
        preview(client, repo, template="plain.md").splitlines()[0] == "no variable, {{a: 1}}, { {prompt} } {prompt} $1"
    )


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("{{nothing}}", 1, 1), ("ok\n\n  {{promtp}} {{prompt}}", 3, 3), ("a\r\nb {{Prompt}}", 2, 3),
        ("{{prompt}} {{#if}}", 1, 12), ("\ufeff{{x}}", 1, 1), ("ü{{x}}", 1, 2),
    ],
)  # fmt: skip
def test_an_unknown_variable_is_named_with_its_place(
    client: Client, repo: Path, text: str, line: int, column: int
) -> None:
    write(repo, "bad.md", text)
    error = refused(client, repo, prompt="x", config={"agent": "demo", "template": "bad.md"})
    assert error.code == INVALID_PROMPT
    assert (error.data["file"], error.data["line"], error.data["column"]) == (str(repo / "bad.md"), line, column)


def test_templates_that_cannot_be_used(client: Client, box: Box, repo: Path) -> None:
    outside = box.room / "outside.md"
    outside.write_text("from outside: {{prompt}}")
    (repo / "link.md").symlink_to(outside)
    (repo / "bytes.md").write_bytes(b"\xff\xfe")
    (repo / "folder.md").mkdir()
    for name, code in (
        ("../outside.md", INVALID_PARAMS), ("link.md", INVALID_PARAMS), ("bytes.md", INVALID_PROMPT),
        ("folder.md", NOT_FOUND), ("missing.md", NOT_FOUND), ("a\0b", INVALID_PARAMS), (str(repo / "no"), NOT_FOUND),
        ("x" * 5000, NOT_FOUND), ("file://host/x", INVALID_PARAMS),
    ):  # fmt: skip
        assert refused(client, repo, prompt="x", config={"agent": "demo", "template": name}).code == code, name
    # the client may name any file of the user's, a repository may not
    assert preview(client, repo, template=str(outside)) == "from outside: the task"
    trust(client, repo)
    write(repo, "task.loop.md", f"---\ntemplate: {outside}\n---\nbody\n")
    error = refused(client, repo, promptFile="task.loop.md", config={"agent": "demo"})
    assert error.code == INVALID_PARAMS
    assert "template" in error.message
    write(repo, "huge.md", "x" * 3_000_000)
    assert refused(client, repo, prompt="x", config={"agent": "demo", "template": "huge.md"}).code in (
        INVALID_PARAMS, INVALID_PROMPT,
    )  # fmt: skip


# -------------------------------------------------------------------------------------------------------------- presets
def test_the_built_in_presets_shape_the_prompt(client: Client, repo: Path) -> None:
    found = client("config/presets")["presets"]
    assert [preset["id"] for preset in found] == PRESETS
    assert {preset["source"] for preset in found} == {"builtin"}
    assert all(preset["title"] and preset["description"] for preset in found)
    texts = {name: preview(client, repo, preset=name) for name in PRESETS}
    assert len({*texts.values(), preview(client, repo)}) == 7
    error = refused(client, repo, prompt="x", config={"agent": "demo", "preset": "nope"})
    assert error.code == INVALID_PARAMS
    assert "tdd-red-green" in error.message
    for name in ("../default", "DEFAULT", "", "a/b"):
        assert refused(client, repo, prompt="x", config={"agent": "demo", "preset": name}).code == INVALID_PARAMS


def test_whose_preset_is_used(client: Client, box: Box, repo: Path) -> None:
    def mine(name: str) -> str:
        return f"# {name} of the repository\n\n{name}: {{{{prompt}}}} stays\n"

    def source(name: str) -> str:
        (preset,) = [p for p in client("config/presets", workspace=str(repo))["presets"] if p["id"] == name]
        return preset["source"]

    write(repo, ".ralph/presets/review.md", mine("review"))
    write(repo, ".ralph/presets/ours.md", "---\ntitle: Our way\ndescription: as we do it\n---\nOUR WAY\n")
    assert "review of the repository" not in preview(client, repo, preset="review")
    assert (source("review"), source("ours")) == ("builtin", "repository")
    assert "OUR WAY" in preview(client, repo, preset="ours")  # text and nothing else
    assert "title:" not in preview(client, repo, preset="ours")
    trust(client, repo)
    assert "review: {{prompt}} stays" in preview(client, repo, preset="review")
    assert source("review") == "repository"
    write(repo, ".ralph/presets/bad.md", "---\nagent: claude\n---\nx\n")
    error = refused(client, repo, prompt="x", config={"agent": "demo", "preset": "bad"})
    assert error.code == INVALID_PARAMS
    assert "line 2" in error.message
    assert "only title and description" in next(
        p["description"] for p in client("config/presets", workspace=str(repo))["presets"] if p["id"] == "bad"
    )


# ----------------------------------------------------------------------------------------------------------- loop files
FILE = """---
title: A shared loop
maxIterations: 7
completionPromise: ALL GREEN
---

Make it {{prompt}} green.

--- not the end ---
"""


def test_a_loop_file_gives_prompt_title_and_limits(client: Client, repo: Path) -> None:
    file = write(repo, "work/green.loop.md", FILE)
    for name in ("work/green.loop.md", str(file), file.as_uri()):
        run = client("start", workspace=str(repo), promptFile=name, config=shell("echo '<promise>all green</promise>'"))
        end = client.settled(run["runId"])
        assert (end["stopReason"], end["maxIterations"]) == ("completed", 7)
        assert end["prompt"] == "Make it {{prompt}} green.\n\n--- not the end ---"
        assert client("sessions/get", sessionId=end["sessionId"])["title"] == "A shared loop"
    write(repo, "PROMPT.md", "Just text\n---\nmore")
    run = client("start", workspace=str(repo), promptFile="PROMPT.md", config=shell(f"echo '{DONE}'"))
    assert client.settled(run["runId"])["prompt"] == "Just text\n---\nmore"


@pytest.mark.parametrize(
    ("matter", "line", "column"),
    [
        ("maxIteration: 3", 2, 1), ("title: x\nmaxIterations: many", 3, 16), ("maxIterations: -1", 2, 16),
        ("planMode: yes", 2, 11), ("rotation: [claude]", 2, 12), ("rotation:\n  - claude:x\n  - 5", 4, 5),
        ("title: [", 3, 1), ("title:", 2, 7), ("agent: &a x", 2, 8), ("agent: !!str x", 2, 8),
        ("agent: a\nagent: b", 3, 1), ("- a", 2, 1), ("minIterations: 5\nmaxIterations: 2", 2, 16),
        ("minIterations: 60", 2, 16), ("agentArgs: [a, 1]", 2, 16), ("command: echo", 2, 10),
        ("abortPromise: x\ncompletionPromise: X", 3, 20),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_line_and_column(
    client: Client, repo: Path, matter: str, line: int, column: int
) -> None:
    file = write(repo, "bad.loop.md", f"---\n{matter}\n---\nbody\n")
    error = refused(client, repo, promptFile="bad.loop.md", config={"agent": "demo"})
    assert error.code == INVALID_PROMPT, error.message
    assert (error.data["file"], error.data["line"], error.data["column"]) == (str(file), line, column), error.message
    assert f":{line}:{column}: " in error.message


def test_what_an_untrusted_loop_file_may_not_say(client: Client, box: Box, repo: Path) -> None:
    write(repo, "x.loop.md", "---\nallowAll: true\nagent: custom\ncommand: [echo]\nmaxFailures: 2\n---\nbody\n")
    error = refused(client, repo, promptFile="x.loop.md", config={"agent": "demo"})
    assert error.code == UNTRUSTED
    assert (error.data["path"], error.data["keys"]) == (str(repo / "x.loop.md"), ["agent", "allowAll", "command"])
    write(repo, "empty.loop.md", "---\nmaxFailures: 2\n---\n\n")
    assert refused(client, repo, promptFile="empty.loop.md").code in (INVALID_PARAMS, INVALID_PROMPT)
    write(repo, "open.loop.md", "---\nmaxFailures: 2\n")
    assert refused(client, repo, promptFile="open.loop.md").data["line"] == 1
    trust(client, repo)
    program = write(repo, "agent.sh", f"#!/bin/sh\necho '{DONE}'\n")
    program.chmod(0o755)
    write(repo, "y.loop.md", f"---\nagent: custom\ncommand: [{program}]\nmodel: a:b/c\n---\nbody\n")
    run = client("start", workspace=str(repo), promptFile="y.loop.md")
    end = client.settled(run["runId"])
    assert (end["stopReason"], end["agent"], end["model"]) == ("completed", "custom", "a:b/c")
    outside = box.room / "far.loop.md"
    outside.write_text("body")
    (repo / "far.loop.md").symlink_to(outside)
    for name in ("../far.loop.md", "far.loop.md"):
        assert refused(client, repo, promptFile=name).code == INVALID_PARAMS
    assert refused(client, repo, promptFile="missing.loop.md").code == NOT_FOUND
    (repo / "big.loop.md").write_bytes(b"x" * 50_000_000)
    assert refused(client, repo, promptFile="big.loop.md").code in (INVALID_PARAMS, INVALID_PROMPT)
