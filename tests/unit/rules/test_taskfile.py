"""The task list on disk: real files, links, and others who edit at the same time."""

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ralph_loop.engine import taskfile, tasks
from ralph_loop.engine.tasks import TaskError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / ".ralph").mkdir()
    return tmp_path / tasks.PATH


def test_list_add_remove(tmp_path: Path) -> None:
    assert taskfile.read(tmp_path) == ""
    taskfile.add(tmp_path, "A")
    taskfile.add(tmp_path, "B \ud800")
    assert taskfile.read(tmp_path) == "# Ralph Tasks\n\n- [ ] A\n- [ ] B ?\n"
    taskfile.remove(tmp_path, 1)
    assert (tmp_path / tasks.PATH).read_bytes() == b"# Ralph Tasks\n\n- [ ] B ?\n"
    assert [entry.name for entry in (tmp_path / ".ralph").iterdir()] == ["ralph-tasks.md"]


def test_odd_bytes_and_the_mode_stay(tmp_path: Path, path: Path) -> None:
    path.write_bytes(b"\xff\xfe - x\r\n- [ ] caf\xe9\r- [ ] B")
    path.chmod(0o640)
    taskfile.add(tmp_path, "C")
    taskfile.remove(tmp_path, 2)
    assert path.read_bytes() == b"\xff\xfe - x\r\n- [ ] caf\xe9\r- [ ] C\r"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert "caf\ufffd" in taskfile.read(tmp_path)


def test_remove_without_a_file(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="Task index 1 is out of range: there are no tasks"):
        taskfile.remove(tmp_path, 1)
    assert not (tmp_path / ".ralph").exists()


def test_a_link_inside_is_followed_and_one_out_of_the_workspace_is_refused(tmp_path: Path) -> None:
    outside, workspace = tmp_path / "TASKS.md", tmp_path / "work"
    (workspace / ".ralph").mkdir(parents=True)
    outside.write_text("- [ ] A\n")
    path = workspace / tasks.PATH
    path.symlink_to(outside)
    for call in (
        lambda: taskfile.add(workspace, "B"),
        lambda: taskfile.remove(workspace, 1),
        lambda: taskfile.read(workspace),
    ):
        with pytest.raises(TaskError, match="out of the workspace"):
            call()
    assert outside.read_text() == "- [ ] A\n"
    path.unlink()
    path.symlink_to("../TODO.md")
    taskfile.add(workspace, "B")
    taskfile.add(workspace, "C")
    taskfile.remove(workspace, 1)
    assert path.is_symlink()
    assert (workspace / "TODO.md").read_text() == "# Ralph Tasks\n\n- [ ] C\n"


def test_what_is_no_file_is_refused(tmp_path: Path, path: Path) -> None:
    path.symlink_to(path.name)
    with pytest.raises(TaskError, match="itself"):
        taskfile.add(tmp_path, "A")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(TaskError, match="not a file"):
        taskfile.read(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(TaskError, match="not a file"):
        taskfile.read(tmp_path)
    with pytest.raises(TaskError, match="cannot be changed"):
        taskfile.add(tmp_path, "A")
    path.rmdir()
    path.write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    with pytest.raises(TaskError, match="larger than 4 MiB"):
        taskfile.read(tmp_path)


def test_a_task_that_is_too_long_is_not_added(tmp_path: Path) -> None:
    taskfile.add(tmp_path, "A")
    with pytest.raises(TaskError, match="larger than 4 MiB"):
        taskfile.add(tmp_path, "x" * 4 * 1024 * 1024)
    assert taskfile.read(tmp_path) == "# Ralph Tasks\n\n- [ ] A\n"


def test_many_of_us_at_once_lose_nothing(tmp_path: Path) -> None:
    threads = [threading.Thread(target=taskfile.add, args=(tmp_path, f"task {number}")) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {task.text for task in tasks.parse(taskfile.read(tmp_path))} == {f"task {number}" for number in range(40)}


def interrupt(monkeypatch: pytest.MonkeyPatch, function: str, edit: Callable[[], object], times: int = 1) -> None:
    """Has somebody else edit the file between our reading it and our writing it, a number of times."""
    ours, edits = getattr(tasks, function), iter(range(times))

    def interrupted(text: str, argument: object) -> str:
        for _ in edits:
            edit()
            break
        return ours(text, argument)

    monkeypatch.setattr(tasks, function, interrupted)


def append(path: Path) -> None:
    with path.open("a") as file:
        file.write("- [ ] theirs\n")


def put(path: Path, text: str) -> None:
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def test_text_appended_meanwhile_stays(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("- [ ] A\n- [ ] B\n")
    interrupt(monkeypatch, "added", lambda: append(path))
    taskfile.add(tmp_path, "C")
    assert path.read_text() == "- [ ] A\n- [ ] B\n- [ ] theirs\n- [ ] C\n"
    interrupt(monkeypatch, "removed", lambda: append(path), times=3)
    taskfile.remove(tmp_path, 2)
    assert path.read_text() == "- [ ] A\n- [ ] theirs\n- [ ] C\n" + 3 * "- [ ] theirs\n"


def test_a_file_put_in_its_place_meanwhile_stays(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("- [ ] A\n")
    interrupt(monkeypatch, "added", lambda: put(path, "- [x] A\n- [ ] theirs\n"))
    taskfile.add(tmp_path, "B")
    assert path.read_text() == "- [x] A\n- [ ] theirs\n- [ ] B\n"
    interrupt(monkeypatch, "removed", lambda: put(path, "- [x] A\n- [x] theirs\n- [ ] B\n"))
    taskfile.remove(tmp_path, 1)
    assert path.read_text() == "- [x] theirs\n- [ ] B\n"


def test_text_written_into_the_old_file_at_the_last_moment_stays(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("- [ ] A\n- [ ] B\n")
    rename, edits = Path.replace, iter([append])

    def late(self: Path, target: Path) -> Path:
        for edit in edits:
            edit(path)
            break
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", late)
    taskfile.remove(tmp_path, 1)
    assert path.read_text() == "- [ ] B\n- [ ] theirs\n"


def test_another_task_under_the_number_is_not_removed(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("- [ ] A\n")
    interrupt(monkeypatch, "removed", lambda: put(path, "- [ ] new\n- [ ] A\n"))
    with pytest.raises(TaskError, match="changed at this moment"):
        taskfile.remove(tmp_path, 1)
    assert path.read_text() == "- [ ] new\n- [ ] A\n"


def test_it_gives_up_when_the_file_never_rests(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("- [ ] A\n")
    interrupt(monkeypatch, "removed", lambda: append(path), times=1000)
    with pytest.raises(TaskError, match="all the time"):
        taskfile.remove(tmp_path, 1)
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name]
