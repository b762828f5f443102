"""An exported session holds everything the database has of it, byte by byte."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell
from client import Client

# NUL, not UTF-8, half a character at a chunk's end, no newline at the end
STRANGE = b"\x00\xff\xfe half \xc3" + b"\xe2\x82" + b"\r\n\x1b[31mred"


def export(box: Box, *arguments: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ralph_loop", "export", *arguments, "--data-dir", str(box.data)]
    return subprocess.run(
        command, env=box.env, cwd=box.room, capture_output=True, text=True, timeout=100, check=False, preexec_fn=before
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rows(box: Box, sql: str, *arguments: object) -> list[Any]:
    with closing(sqlite3.connect(box.data / "ralph-loop.db")) as connection:
        connection.row_factory = sqlite3.Row
        return connection.execute(sql, arguments).fetchall()


def load(path: Path) -> Any:
    return json.loads(path.read_text())


def run_loop(client: Client, repo: Path, script: str, **params: Any) -> dict[str, Any]:
    client("watch", all=True)
    run = client("start", workspace=str(repo), **params, config=shell(script))
    return client.settled(run["runId"])


@pytest.fixture
def box(common_shared: Box) -> Box:
    return common_shared


@pytest.fixture
def finished(box: Box) -> tuple[Client, dict[str, Any], dict[str, Any]]:
    """A session with two loops: one of two iterations that changed files and took a hint, and one that failed."""
    client, repo = box.main_client(), box.repo()
    (box.room / "strange").write_bytes(STRANGE)
    script = (
        f"cat '{box.room}/strange'; cat '{box.room}/strange' >&2; echo change $1 >> README; "
        f"echo new > file-$1; [ $1 = 1 ] || printf '\\n{DONE}'"
    )
    repo.joinpath(".ralph").mkdir()
    repo.joinpath(".ralph/context.md").write_text("mind the gap")
    first = run_loop(client, repo, script, prompt="Fix `it`\n\n```\ncode\n```\n$& ${x} ü 🎉")
    second = run_loop(client, repo, "echo broken >&2; exit 3", prompt="again", sessionId=first["sessionId"])
    assert (first["stopReason"], second["stopReason"]) == ("completed", "agentFailed")
    return client, first, second


def test_everything_of_the_database_is_there(box: Box, finished: tuple[Client, Any, Any]) -> None:
    _, first, second = finished
    done = export(box, first["sessionId"], "out")
    assert done.returncode == 0, done.stderr
    out = box.room / "out"

    session = rows(box, "SELECT * FROM sessions WHERE id = ?", first["sessionId"])[0]
    assert load(out / "session.json")["title"] == session["title"]
    messages = rows(box, "SELECT * FROM messages WHERE session_id = ? ORDER BY number", first["sessionId"])
    assert [m["text"] for m in load(out / "messages.json")] == [m["text"] for m in messages]
    assert [m["messageId"] for m in load(out / "messages.json")] == [m["id"] for m in messages]

    folders = sorted((out / "loops").iterdir())
    assert [folder.name for folder in folders] == [f"001-{first['runId']}", f"002-{second['runId']}"]
    for folder, loop in zip(folders, (first, second), strict=True):
        assert load(folder / "snapshot.json")["runId"] == loop["runId"]
        iterations = rows(box, "SELECT * FROM iterations WHERE run_id = ? ORDER BY iteration", loop["runId"])
        assert load(folder / "history.json") == [json.loads(row["record"]) for row in iterations]
        for row in iterations:
            assert (folder / "prompts" / f"{row['iteration']:04}.txt").read_bytes() == row["prompt"].encode()
        contexts = rows(box, "SELECT * FROM contexts WHERE run_id = ? ORDER BY number", loop["runId"])
        assert [item["text"] for item in load(folder / "context.json")] == [row["text"] for row in contexts]
        stored: dict[str, bytes] = {}
        for row in rows(box, "SELECT * FROM output_logs WHERE run_id = ? ORDER BY seq", loop["runId"]):
            name = f"{row['iteration']:04}.{row['stream']}"
            stored[name] = stored.get(name, b"") + row["data"]
        assert {path.name: path.read_bytes() for path in (folder / "output").iterdir()} == stored
    assert (folders[0] / "output" / "0001.stdout").read_bytes() == STRANGE
    assert load(folders[0] / "context.json")[0]["text"] == "mind the gap"


def applied(box: Box, folder: Path, *iterations: int) -> Path:
    """A clone of the repository's first commit with the patches of these iterations."""
    again = box.room / "again"
    box.git(box.room, "clone", "-q", str(box.room / "repo"), str(again))
    for number in iterations:
        box.git(again, "apply", str(folder / "changes" / f"{number:04}.patch"))
    return again


def test_the_changes_are_patches(box: Box, finished: tuple[Client, Any, Any]) -> None:
    _, first, _ = finished
    assert export(box, first["sessionId"], "out").returncode == 0
    again = applied(box, box.room / "out" / "loops" / f"001-{first['runId']}", 1, 2)
    for name in ("README", "file-1", "file-2"):
        assert (again / name).read_bytes() == (box.room / "repo" / name).read_bytes()


def test_changes_larger_than_an_answer_are_whole(box: Box) -> None:
    client, repo = box.main_client(), box.repo()
    script = f"for n in 1 2 3 4 5; do seq $n 150000 > \"big $n\"; done; git mv README big; echo '{DONE}'"
    run = run_loop(client, repo, script, prompt="write")
    assert export(box, run["sessionId"], "out").returncode == 0
    again = applied(box, box.room / "out" / "loops" / f"001-{run['runId']}", 1)
    assert names(again) == names(repo) or set(names(repo)) - set(names(again)) == {".ralph"}
    for number in range(1, 6):
        assert (again / f"big {number}").read_bytes() == (repo / f"big {number}").read_bytes()
    assert "too long" not in (box.room / "out" / "README.md").read_text()


def test_what_is_not_whole_is_told(box: Box) -> None:
    client, repo = box.main_client(), box.repo()
    script = f"printf '\\344\\n' > latin; seq 1 500000 > huge; touch \"$(printf 'f\\344')\"; echo '{DONE}'"
    run = run_loop(client, repo, script, prompt="write")
    assert export(box, run["sessionId"], "out").returncode == 0
    page = (box.room / "out" / "README.md").read_text()
    assert "The patch of huge in iteration 1 is too long" in page
    assert "not UTF-8" in page and "f� in iteration 1 is missing" in page


def test_the_page_is_for_people(box: Box, finished: tuple[Client, Any, Any]) -> None:
    _, first, _ = finished
    assert export(box, first["sessionId"], "out").returncode == 0
    page = (box.room / "out" / "README.md").read_text()
    assert page.startswith("# Fix \\`it\\`\n")
    assert str(box.room / "repo") in page
    assert "completed after 2 iterations" in page and "agentFailed" in page
    for link in re.findall(r"\]\(([^)]+)\)", page):
        assert (box.room / "out" / link).is_file(), link
    # what was said stays inside its fence, whatever it holds
    fence = re.search(r"(`{4,})text\nFix `it`\n\n```\ncode\n```\n\$& \$\{x\} ü 🎉\n\1\n", page)
    assert fence is not None


def test_it_never_overwrites(box: Box, finished: tuple[Client, Any, Any]) -> None:
    _, first, _ = finished
    target = box.room / "out"
    target.mkdir()
    (target / "mine").write_text("precious")
    link = box.room / "link"
    link.symlink_to("nowhere")
    before = names(box.room)
    for name in ("out", "link"):
        done = export(box, first["sessionId"], name)
        assert done.returncode == 1
        assert "exists already" in done.stderr and "Traceback" not in done.stderr
    assert names(box.room) == before
    assert [path.name for path in target.iterdir()] == ["mine"]
    assert export(box, first["sessionId"]).returncode == 0
    assert (box.room / first["sessionId"] / "README.md").is_file()


def test_what_cannot_be_exported_leaves_nothing(box: Box, finished: tuple[Client, Any, Any]) -> None:
    _, first, _ = finished
    before = names(box.room)
    for arguments in (("ses_none", "out"), (first["sessionId"], "no/such/folder"), ("-", "out")):
        done = export(box, *arguments)
        assert done.returncode != 0
        assert done.stderr.startswith("ralph-loop: ") and "Traceback" not in done.stderr
    assert names(box.room) == before


def test_a_full_disk_is_told_and_leaves_nothing(box: Box, finished: tuple[Client, Any, Any]) -> None:
    def limit() -> None:  # as a full disk: what is written beyond it fails
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    there = names(box.room)
    done = export(box, finished[1]["sessionId"], "full", before=limit)
    assert (done.returncode, names(box.room)) == (1, there)
    assert f"{box.room / 'full'} could not be written: File too large." in done.stderr
    assert "Make room, or name a folder elsewhere." in done.stderr


def test_a_session_larger_than_an_answer_is_whole(box: Box) -> None:
    client, repo = box.main_client(), box.repo()
    texts = [f"{number} " + "x" * 1_000_000 for number in range(5)]
    session = client("sessions/create", workspace=str(repo), title="large")["sessionId"]
    for text in texts:
        assert run_loop(client, repo, f"echo '{DONE}'", prompt=text, sessionId=session)["status"] == "completed"
    answered = client("sessions/get", sessionId=session)["messages"]
    assert len([m for m in answered if m["role"] == "user"]) < len(texts)
    assert export(box, session, "out").returncode == 0
    messages = load(box.room / "out" / "messages.json")
    assert [m["text"] for m in messages if m["role"] == "user"] == texts
    snapshots = [load(path / "snapshot.json") for path in sorted((box.room / "out" / "loops").iterdir())]
    assert [loop["prompt"] for loop in snapshots] == texts


def test_output_larger_than_an_answer_is_whole(box: Box) -> None:
    client, repo = box.main_client(), box.repo()
    data = os.urandom(6_000_000)
    (box.room / "bytes").write_bytes(data)
    run = run_loop(client, repo, f"cat '{box.room}/bytes'; echo; echo '{DONE}'", prompt="print")
    assert export(box, run["sessionId"], "out").returncode == 0
    written = (box.room / "out" / "loops" / f"001-{run['runId']}" / "output" / "0001.stdout").read_bytes()
    assert written == data + f"\n{DONE}\n".encode()


def test_a_session_without_loops(box: Box) -> None:
    client, repo = box.main_client(), box.repo()
    session = client("sessions/create", workspace=str(repo), title="  # empty * ")["sessionId"]
    assert export(box, session, "out").returncode == 0
    assert load(box.room / "out" / "messages.json") == []
    assert "empty" in (box.room / "out" / "README.md").read_text()


def test_messages_can_be_paged(box: Box) -> None:
    client, repo = box.main_client(), box.repo()
    run = run_loop(client, repo, f"echo '{DONE}'", prompt="one")
    messages = client("sessions/get", sessionId=run["sessionId"])["messages"]
    assert len(messages) >= 2
    older = client("sessions/get", sessionId=run["sessionId"], before=messages[1]["messageId"])
    assert older["messages"] == messages[:1]
    assert client("sessions/get", sessionId=run["sessionId"], before=messages[0]["messageId"])["messages"] == []
    assert client.refused("sessions/get", sessionId=run["sessionId"], before="msg_none").code == 1002


def test_output_that_was_given_up_is_told(box: Box) -> None:
    run = run_loop(box.main_client(), box.repo(), f"echo '{DONE}'", prompt="print")
    with closing(sqlite3.connect(box.data / "ralph-loop.db")) as connection, connection:
        connection.execute("DELETE FROM output_logs WHERE run_id = ?", (run["runId"],))
    assert export(box, run["sessionId"], "out").returncode == 0
    assert "No output is stored" in (box.room / "out" / "README.md").read_text()
