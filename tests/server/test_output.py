"""What agents print: every byte kept, in order, in pages and to subscribers, whatever it is."""

from __future__ import annotations

import base64
import hashlib
import runpy
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from box import AGENTS, DONE, Box, Gates, script, shell, until
from client import Client

stream_bytes = runpy.run_path(str(AGENTS / "noise.py"))["stream_bytes"]


@pytest.fixture
def box(common: Box) -> Box:
    return common


@pytest.fixture
def gates(box: Box) -> Gates:
    return box.gates()


def start(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> str:
    return client("start", workspace=str(repo), prompt="x", config={"maxIterations": 1, **agent, **config})["runId"]


def ended(client: Client, repo: Path, agent: dict[str, Any], **config: Any) -> str:
    run = start(client, repo, agent, **config)
    client.settled(run)
    return run


def pages(client: Client, run: str, **params: Any) -> Iterator[dict[str, Any]]:
    after = params.pop("after", 0)
    while True:
        page = client("output", runId=run, after=after, **params)
        yield from page["chunks"]
        if not page["more"]:
            return
        assert page["chunks"], "more, but nothing here"
        after = page["chunks"][-1]["seq"]


def joined(chunks: list[dict[str, Any]], stream: str) -> bytes:
    return b"".join(base64.b64decode(c["bytes"]) for c in chunks if c["stream"] == stream)


def test_every_byte_in_order_and_in_pages(client: Client, repo: Path) -> None:
    for seed in range(3):
        run = ended(client, repo, script("noise.py", str(seed)))
        chunks = list(pages(client, run, raw=True, view="raw"))
        assert [c["seq"] for c in chunks] == list(range(1, len(chunks) + 1))
        assert [c["at"] for c in chunks] == sorted(c["at"] for c in chunks)
        for stream in ("stdout", "stderr"):
            assert joined(chunks, stream) == stream_bytes(seed, stream), (seed, stream)
            text = "".join(c["text"] for c in chunks if c["stream"] == stream)
            # cutting never changes the text: it reads as the whole stream does
            assert text == stream_bytes(seed, stream).decode("utf-8", "replace"), (seed, stream)
        plain = [{key: value for key, value in c.items() if key != "bytes"} for c in chunks]
        for limit in (1, 7, 10**9):
            assert list(pages(client, run, view="raw", limit=limit)) == plain
        assert list(pages(client, run)) == plain  # what people read of an agent that prints plain text
        assert list(pages(client, run, after=5, limit=3)) == plain[5:]
        assert list(pages(client, run, iteration=1)) == plain
        assert list(pages(client, run, iteration=2)) == []
        last = len(chunks)
        for after in (last, last + 5, 2**50):
            assert client("output", runId=run, after=after) == {"chunks": [], "more": False, "firstSeq": 1}


def test_characters_are_whole_on_the_wire(client: Client, repo: Path, gates: Gates) -> None:
    run = start(client, repo, shell(rf"printf 'a\342'; printf '\202'; {gates.wait}; printf '\254b'; echo '{DONE}'"))
    client("subscribe", runId=run)
    client.wait_printed(run, "a")
    gates.open(1)
    client.settled(run)
    client.wait_printed(run, DONE)
    assert client.printed(run) == f"a€b{DONE}\n"
    # one that never ends is shown after a second, and stays what it was in the database
    run = start(client, repo, shell(rf"printf 'a\342\202'; {gates.wait}; printf 'b\360\237\230'"))
    client("subscribe", runId=run)
    client.wait_printed(run, "a\ufffd")
    gates.open(1)
    client.settled(run)
    client.wait_printed(run, "a\ufffdb\ufffd")
    assert joined(list(pages(client, run, raw=True)), "stdout") == b"a\xe2\x82b\xf0\x9f\x98"


def test_half_a_character_does_not_hold_up_what_follows(client: Client, repo: Path, gates: Gates) -> None:
    """Printed in pieces that end in the middle of a character, for longer than such a piece waits for its rest."""
    run = start(client, repo, script("halves.py", "1.6"))
    client("subscribe", runId=run)
    client.settled(run)
    client.wait_printed(run, "END")
    assert "\ufffd" not in client.printed(run)
    text = "".join(c["text"] for c in pages(client, run))
    assert text == client.printed(run)
    assert set(text) == set("€END\n")


def test_output_without_an_end_of_line_comes_at_once(client: Client, repo: Path, gates: Gates) -> None:
    run = start(client, repo, shell(f"printf 'no end of line'; printf 'nor here' >&2; {gates.wait}"))
    client("subscribe", runId=run)
    client.wait_printed(run, "no end of line")
    client.wait_printed(run, "nor here", "stderr")
    client("cancel", runId=run)


def test_answers_stay_small_whatever_is_printed(client: Client, repo: Path) -> None:
    run = ended(client, repo, shell("head -c 3000000 /dev/zero | tr '\\0' '\\001'; head -c 3000000 /dev/urandom"))
    chunks = list(pages(client, run, limit=10**9, raw=True))  # the client refuses an answer above 4 MiB
    assert len(joined(chunks, "stdout")) == 6_000_000
    assert joined(chunks, "stdout").startswith(b"\x01" * 3_000_000)
    assert all(len(base64.b64decode(c["bytes"])) <= 64 * 1024 for c in chunks)


def test_iterations_and_our_own_lines(client: Client, repo: Path, gates: Gates) -> None:
    run = start(client, repo, shell(f"echo out $1; echo err $1 >&2; {gates.wait}"), maxIterations=3)
    client("subscribe", runId=run)
    client.wait_printed(run, "err 1", "stderr")
    client("pause", runId=run, when="now")
    client("resume", runId=run)
    for number in (2, 3, 4):
        gates.open(number)
    client.settled(run)
    chunks = list(pages(client, run))
    assert [c["seq"] for c in chunks] == list(range(1, len(chunks) + 1))
    assert {c["iteration"] for c in chunks} == {1, 2, 3, 4}
    system = [c for c in chunks if c["stream"] == "system"]
    assert [c["iteration"] for c in system] == [1]  # it says that the agent was stopped
    for number in (1, 2, 3, 4):
        of = list(pages(client, run, iteration=number))
        assert "".join(c["text"] for c in of if c["stream"] == "stdout") == f"out {number}\n"
    raw = list(pages(client, run, view="raw"))
    assert [c for c in chunks if c["stream"] != "system"] == raw


def test_subscribing_from_any_number(client: Client, box: Box, repo: Path, gates: Gates) -> None:
    box.gate("second")
    run = start(client, repo, shell(f"seq 1 2000; {gates.wait}; seq 2001 4000; read x < $BOX/second; seq 4001 6000"))
    received = len(client.order)
    id_ = client.send("ralph/subscribe", {"runId": run})
    assert client.answer(id_)["firstSeq"] == 1
    client.wait_printed(run, "2000\n")
    client.request("ralph/health")
    order = client.order[received:]
    assert order.index(id_) < order.index("ralph/didOutput")  # the answer comes before the first chunk
    client("unsubscribe", runId=run)
    seen = len(client.notifications)
    first = client.printed(run)
    gates.open(1)
    until(lambda: any("4000\n" in c["text"] for c in pages(client, run)), "more was printed")
    assert not client.heard("didOutput", since=seen)
    last = max(c["seq"] for params in client.heard("didOutput") for c in params["chunks"])
    bounds = client("subscribe", workspace=str(repo), after=last)
    assert bounds["lastSeq"] > last
    (box.folder / "second").write_text("go\n")
    client.settled(run)
    client.wait_printed(run, "6000\n")
    assert first == "".join(f"{n}\n" for n in range(1, 2001))
    assert client.printed(run) == "".join(f"{n}\n" for n in range(1, 6001))
    seqs = [c["seq"] for params in client.heard("didOutput") for c in params["chunks"]]
    assert seqs == list(range(1, len(seqs) + 1))
    # once more, from the start, after its end; and again in place of that
    seen = len(client.notifications)
    client("subscribe", runId=run)
    client("subscribe", runId=run, after=bounds["lastSeq"])
    client.until(lambda: any("6000\n" in c["text"] for p in client.heard("didOutput", since=seen) for c in p["chunks"]))
    assert client.refused("subscribe", runId="run_none").code == 1002
    assert client("unsubscribe", runId=run) == {}
    assert client("unsubscribe", runId=run) == {}


def stored(box: Box, run: str) -> tuple[int, str]:
    """(bytes, SHA-256) of the output in the database: that is what was printed."""
    digest, size = hashlib.sha256(), 0
    with closing(sqlite3.connect(f"{(box.data / 'ralph-loop.db').as_uri()}?mode=ro", uri=True)) as database:
        for (data,) in database.execute("SELECT data FROM output_logs WHERE run_id = ? ORDER BY seq", (run,)):
            digest.update(data)
            size += len(data)
    return size, digest.hexdigest()


def flooded(mebibytes: int, line: bytes) -> tuple[int, str]:
    data = line * (65536 * mebibytes) + f"\n{DONE}\n".encode()
    return len(data), hashlib.sha256(data).hexdigest()


def peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def test_a_client_that_does_not_read_while_200_megabytes_are_printed(shared: Box) -> None:
    reader, stuck, repo = shared.client(shared.folder), shared.client(shared.folder), shared.repo()
    helper = shared.helper_pid
    before = peak_kib(helper)
    run = start(reader, repo, script("flood.py", "200", "lines", DONE))
    stuck("subscribe", runId=run)
    stuck("watch", all=True)
    stuck.stop_reading()
    reader("health")
    assert reader.settled(run, timeout=100)["stopReason"] == "completed"
    assert peak_kib(helper) < 150 * 1024, (before, peak_kib(helper))
    assert stored(shared, run) == flooded(200, b"0123456789abcde\n")
    for _ in range(20):
        stuck.send("ralph/list", {})  # it asks on, and still reads nothing
    assert reader("status", runId=run)["status"] == "completed"
    again = start(reader, shared.repo("other"), shell(f"echo '{DONE}'"))
    assert reader.settled(again)["stopReason"] == "completed"
    stuck.read_on()
    stuck.until(lambda: len(stuck.heard("didOutput")) > 20)  # nothing was skipped for it
    seqs = [c["seq"] for params in stuck.heard("didOutput") for c in params["chunks"]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert peak_kib(helper) < 150 * 1024


def test_a_line_of_100_megabytes(shared: Box) -> None:
    client, repo = shared.client(shared.folder), shared.repo()
    run = start(client, repo, script("flood.py", "100", "line", DONE))
    assert client.settled(run, timeout=100)["stopReason"] == "completed"
    assert stored(shared, run) == flooded(100, b"0123456789abcdef")
    assert peak_kib(shared.helper_pid) < 150 * 1024
    page = client("output", runId=run, after=1500, limit=10**6)
    assert page["more"]
    assert page["chunks"][0]["seq"] == 1501
