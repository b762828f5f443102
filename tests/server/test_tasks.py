"""Tasks mode: the list as clients and agents edit it, in the prompt, and when it lets a loop end."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from box import DONE, Box, shell
from client import Client

INVALID_PARAMS = -32602
TASK = "<promise>READY_FOR_NEXT_TASK</promise>"
LIST = """# Our plan

- [x] first
  - [/] a part of it
- [/] second
* [ ] third `code`

```
- [ ] no task
```
[x]: link
"""


@pytest.fixture
def box(common_embedded: Box) -> Box:
    return common_embedded


def write(repo: Path, text: str) -> Path:
    path = repo / ".ralph" / "ralph-tasks.md"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return path


def texts(client: Client, repo: Path) -> list[str]:
    return [task["text"] for task in client("tasks/list", workspace=str(repo))["tasks"]]


def run(client: Client, repo: Path, script: str, **config: Any) -> dict[str, Any]:
    config = {**shell(script), "tasksMode": True, "maxIterations": 4, **config}
    return client.settled(client("start", workspace=str(repo), prompt="all of it", config=config)["runId"])


def promises(client: Client, end: dict[str, Any]) -> list[str]:
    return [r["promise"] for r in client("history", runId=end["runId"])["iterations"]]


def test_listing_and_editing(client: Client, box: Box, repo: Path) -> None:
    assert client("tasks/list", workspace=str(repo)) == {"tasks": []}
    assert not (repo / ".ralph").exists()
    path = write(repo, LIST)
    assert client("tasks/list", workspace=str(repo))["tasks"] == [
        {"index": 1, "text": "first", "status": "done", "subtasks": [{"text": "a part of it", "status": "doing"}]},
        {"index": 2, "text": "second", "status": "doing", "subtasks": []},
        {"index": 3, "text": "third `code`", "status": "todo", "subtasks": []},
    ]
    assert client("tasks/add", workspace=str(repo), text=" a\nnew  one ")["tasks"][3]["text"] == "a new one"
    assert path.read_text() == LIST + "- [ ] a new one\n"
    left = client("tasks/remove", workspace=str(repo), index=1)["tasks"]
    assert [task["index"] for task in left] == [1, 2, 3]
    assert path.read_text() == LIST.replace("- [x] first\n  - [/] a part of it\n", "") + "- [ ] a new one\n"
    for index in (0, 4, -1, "1", 10**18):
        assert client.refused("tasks/remove", workspace=str(repo), index=index).code == INVALID_PARAMS
    for text in ("", " \n", 5, None):
        assert client.refused("tasks/add", workspace=str(repo), text=text).code == INVALID_PARAMS
    (repo / "below").mkdir()
    assert texts(client, repo / "below") == ["second", "third `code`", "a new one"]  # of the working tree
    plain = box.folder_of()
    assert len(client("tasks/add", workspace=str(plain), text="works without git")["tasks"]) == 1


def test_edits_at_the_same_time_lose_nothing(client: Client, repo: Path) -> None:
    path = write(repo, "- [ ] to go\n")

    def by_hand() -> None:
        for number in range(40):
            with path.open("a") as file:
                file.write(f"- [ ] by hand {number}\n")

    ids = [client.send("ralph/tasks/add", {"workspace": str(repo), "text": f"added {n}"}) for n in range(20)]
    hand = threading.Thread(target=by_hand)
    hand.start()
    for id_ in ids:
        client.answer(id_)
    hand.join()
    assert sorted(texts(client, repo)) == sorted(
        ["to go", *(f"added {n}" for n in range(20)), *(f"by hand {n}" for n in range(40))]
    )


def test_files_that_are_no_list(client: Client, box: Box, repo: Path) -> None:
    path = write(repo, "")
    path.write_bytes(b"- [ ] caf\xe9\r\n")
    client("tasks/add", workspace=str(repo), text="more")
    assert path.read_bytes() == b"- [ ] caf\xe9\r\n- [ ] more\r\n"
    path.unlink()
    outside = box.room / "outside.md"
    outside.write_text("- [ ] theirs\n")
    path.symlink_to(outside)
    for name, params in (("list", {}), ("add", {"text": "x"}), ("remove", {"index": 1})):
        assert client.refused(f"tasks/{name}", workspace=str(repo), **params).code == INVALID_PARAMS
    assert outside.read_text() == "- [ ] theirs\n"


def test_a_loop_ends_only_when_all_is_done(client: Client, repo: Path) -> None:
    path = write(repo, "- [ ] one\n- [ ] two\n")
    end = run(client, repo, f"sed -i '0,/\\[ \\]/s//[x]/' .ralph/ralph-tasks.md; echo '{DONE}'")
    assert (end["stopReason"], end["iteration"]) == ("completed", 2)
    assert promises(client, end) == ["nearMiss", "completion"]
    first = client("prompt", runId=end["runId"], iteration=1)["prompt"]
    assert 'NEXT TASK: "one"' in first
    assert TASK in first
    second = client("prompt", runId=end["runId"], iteration=2)["prompt"]
    assert 'NEXT TASK: "two"' in second
    assert "Tasks are left" in second
    assert path.read_text() == "- [x] one\n- [x] two\n"


def test_without_a_task_nothing_is_done(client: Client, repo: Path) -> None:
    end = run(client, repo, f"echo '{DONE}'", maxIterations=2)
    assert (end["stopReason"], promises(client, end)) == ("maxIterations", ["nearMiss", "nearMiss"])
    write(repo, "- [x] done\n  - [ ] but for this\n")
    end = run(client, repo, f"echo '{DONE}'", maxIterations=1)
    assert end["stopReason"] == "maxIterations"
    end = run(client, repo, f"echo '{DONE}'", tasksMode=False)
    assert end["stopReason"] == "completed"


def test_the_task_promise_moves_on(client: Client, repo: Path) -> None:
    write(repo, "- [x] one\n")
    end = run(client, repo, f"test $1 = 1 && echo '{TASK}' || echo '{DONE}'")
    assert (end["stopReason"], promises(client, end)) == ("completed", ["task", "completion"])
    end = run(client, repo, "echo '<promise>next</promise>'", taskPromise="NEXT", maxIterations=1)
    assert promises(client, end) == ["task"]
    end = run(client, repo, f"echo '{TASK}'", tasksMode=False, maxIterations=1)
    assert promises(client, end) != ["task"]
    same = {**shell("true"), "tasksMode": True, "taskPromise": "complete"}
    assert client.refused("start", workspace=str(repo), prompt="x", config=same).code == INVALID_PARAMS
