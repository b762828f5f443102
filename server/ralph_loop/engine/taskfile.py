"""The task list as a file that people, agents and we edit at the same time: an edit of ours loses nothing of theirs.

Adding appends, so that what others write at that moment stays. Removing writes a new file and puts it in the place of
the old one, unless that changed meanwhile. Bytes outside the edit stay as they are, UTF-8 or not. All functions block.
"""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from ralph_loop.engine import tasks
from ralph_loop.engine.tasks import PATH, TaskError

_MAX_SIZE = 4 * 1024 * 1024  # bytes; more is no list of tasks
_ATTEMPTS = 20
_editing = threading.Lock()  # among ourselves


def read(workspace: Path) -> str:
    """The text of the list, '' when there is none; what is not UTF-8 becomes U+FFFD. Raises TaskError."""
    with _explained("read"):
        try:
            with _opened(_locate(workspace), os.O_RDONLY) as descriptor:
                return _content(descriptor).decode("utf-8", "replace")
        except FileNotFoundError:
            return ""


def add(workspace: Path, task: str) -> None:
    """Adds a task at the end; makes the file when there is none. Raises TaskError."""
    task = task.encode("utf-8", "replace").decode()  # a lone surrogate cannot be written
    with _editing, _explained("changed"):
        path = _locate(workspace)
        path.parent.mkdir(exist_ok=True)
        for _ in range(_ATTEMPTS):
            with _opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT) as descriptor:
                before = _content(descriptor).decode("utf-8", "surrogateescape")
                after = tasks.added(before, task)
                _check_size(len(after.encode("utf-8", "surrogateescape")))
                _write(descriptor, after.removeprefix(before))
                if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                    return  # else another file was put in its place meanwhile, without the new task
        raise TaskError(_BUSY)


def remove(workspace: Path, index: int) -> None:
    """Removes task `index` (from 1) with its subtasks. Raises TaskError."""
    wanted: list[str] = []

    def edit(content: bytes) -> str:
        text = content.decode("utf-8", "surrogateescape")
        output = tasks.removed(text, index)
        wanted.append(tasks.parse(text)[index - 1].text)
        if wanted[-1] != wanted[0]:
            raise TaskError("The task list was changed at this moment; list it again to see the new numbers.")
        return output

    with _editing, _explained("changed"):
        path = _locate(workspace)
        if path.exists():
            _replace(path, edit)
        else:
            edit(b"")


def _replace(path: Path, edit: Callable[[bytes], str]) -> None:
    late: bytes | None = None
    for _ in range(_ATTEMPTS):
        with _opened(path, os.O_RDONLY) as descriptor:
            before = _content(descriptor)
            temporary = _write_beside(path, os.fstat(descriptor), edit(before if late is None else late))
            try:
                if path.read_bytes() != before:
                    continue
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            # somebody may have written into the old file after it was compared: then edit what they wrote
            late = _content(descriptor)
            if late == before:
                return
    raise TaskError(_BUSY)


def _write_beside(path: Path, like: os.stat_result, text: str) -> Path:
    """A file in the same folder, with the mode (and for root, the owner) of `like`."""
    descriptor, name = tempfile.mkstemp(prefix=".ralph-tasks-", dir=path.parent)
    try:
        if os.geteuid() == 0:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
        _write(descriptor, text)
        os.fsync(descriptor)
    except BaseException:
        Path(name).unlink()
        raise
    finally:
        os.close(descriptor)
    return Path(name)


def _locate(workspace: Path) -> Path:
    """The file with links resolved; a link out of the workspace is refused."""
    try:
        path = (workspace / PATH).resolve()
    except RuntimeError as error:  # Python 3.11 and 3.12: a loop of links
        raise TaskError(f"{PATH} is a symbolic link that leads to itself.") from error
    if not path.is_relative_to(workspace.resolve()):
        raise TaskError(f"{PATH} is a symbolic link out of the workspace, to {path}; it is left alone.")
    return path


@contextmanager
def _opened(path: Path, flags: int) -> Generator[int, None, None]:
    # O_NONBLOCK: a named pipe in this place must not hold us up
    descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise TaskError(f"{PATH} is not a file.")
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb", closefd=False) as file:
        file.seek(0)
        content = file.read(_MAX_SIZE + 1)
    _check_size(len(content))
    return content


def _check_size(size: int) -> None:
    if size > _MAX_SIZE:
        raise TaskError(f"{PATH} is larger than {_MAX_SIZE // 1024**2} MiB; that is no task list.")


def _write(descriptor: int, text: str) -> None:
    content = text.encode("utf-8", "surrogateescape")
    while content:
        content = content[os.write(descriptor, content) :]


@contextmanager
def _explained(done: str) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise TaskError(f"{PATH} cannot be {done}: {error.strerror or error}") from error


_BUSY = f"{PATH} is being changed all the time by another program; try again."
