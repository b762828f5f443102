"""The files in a working tree's `.ralph/`: a mirror for people and scripts, and the inbox `context.md`.

Every write is atomic. All access goes through descriptors of the folder, so that a symlink put there by an agent never
leads out of the working tree.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import attrs

FOLDER = ".ralph"
HISTORY_LENGTH = 50
RUNTIME_FILES = (".gitignore", "state.json", "history.json", "context.md", "context.*.taken", "summary.md", ".*.tmp")
MAX_INBOX_BYTES = 512 * 1024
_TAKEN = ".taken"


class WorkspaceError(Exception):
    """`.ralph/` cannot be used; the text says why, for a person."""


class LeavesWorkspaceError(WorkspaceError):
    """`.ralph` is a symbolic link to somewhere else: nothing of ours is written there."""


@attrs.frozen
class Taken:
    """A hint found in `context.md`: `name` identifies it over crashes, so that it is imported once."""

    name: str
    text: str


@contextmanager
def _folder(root: Path, create: bool) -> Generator[int | None]:
    """A descriptor of `.ralph`, None when it is not there and `create` is false. Raises WorkspaceError."""
    path = root / FOLDER
    try:
        if create:
            path.mkdir(exist_ok=True)
        target = Path(os.path.realpath(path))  # resolve() fails where links form a ring
        if path.is_symlink() and not target.is_relative_to(root.resolve()):
            raise LeavesWorkspaceError(
                f"{path} is a symbolic link that leaves the workspace (to {target}). "
                "Remove it or make it a folder; Ralph Loop keeps its files there."
            )
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        if create:
            raise WorkspaceError(f"{path} could not be made") from None
        yield None
        return
    except (FileExistsError, NotADirectoryError):
        raise WorkspaceError(f"{path} is not a folder. Move it away; Ralph Loop keeps its files there.") from None
    except OSError as error:
        raise WorkspaceError(f"{path} cannot be used: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def prepare(root: Path) -> None:
    """Makes `.ralph/` and its `.gitignore`. Raises WorkspaceError, also for a symlink that leaves the workspace."""
    with _folder(root, create=True) as folder:
        assert folder is not None
        ignored = [f"/{name}" for name in RUNTIME_FILES]
        current = _read(folder, ".gitignore")
        lines = current.decode("utf-8", "replace").splitlines() if current is not None else []
        missing = [line for line in ignored if line not in lines]
        if not missing:
            return
        head = current if current is not None else b"# Ralph Loop's runtime files\n"
        if not head.endswith(b"\n"):
            head += b"\n"
        _write(folder, ".gitignore", head + "".join(f"{line}\n" for line in missing).encode())


def write(root: Path, files: dict[str, str]) -> None:
    """Replaces files of `.ralph/`, each atomically. Raises WorkspaceError."""
    with _folder(root, create=True) as folder:
        assert folder is not None
        try:
            for name, text in files.items():
                _write(folder, name, text.encode("utf-8", "replace"))
        except OSError as error:
            raise WorkspaceError(f"{root / FOLDER} cannot be written: {error.strerror}") from error


def take_inbox(root: Path) -> list[Taken]:
    """Takes `context.md` by a rename (never read and delete: an editor may be writing to it) and returns what was
    taken and not yet confirmed by :func:`forget_taken`, oldest first. Raises WorkspaceError."""
    with _folder(root, create=False) as folder:
        if folder is None:
            return []
        try:
            _check_inbox(root, os.stat("context.md", dir_fd=folder, follow_symlinks=False))
            os.rename("context.md", f"context.{secrets.token_hex(8)}{_TAKEN}", src_dir_fd=folder, dst_dir_fd=folder)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise WorkspaceError(f"{root / FOLDER / 'context.md'} cannot be taken: {error.strerror}") from error
        found: list[tuple[int, Taken]] = []
        for name in os.listdir(folder):  # noqa: PTH208 (pathlib cannot list a descriptor)
            if name.startswith("context.") and name.endswith(_TAKEN):
                data = _read(folder, name)
                if data is not None:
                    text = _decode(data).strip()
                    age = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns
                    found.append((age, Taken(name, text)))
        return [taken for _, taken in sorted(found, key=lambda item: (item[0], item[1].name))]


def _check_inbox(root: Path, found: os.stat_result) -> None:
    path = root / FOLDER / "context.md"
    if not stat.S_ISREG(found.st_mode):
        raise WorkspaceError(f"{path} is not a plain file, so it is no hint. Remove it.")
    if found.st_size > MAX_INBOX_BYTES:
        raise WorkspaceError(f"{path} is too large for a hint: {found.st_size} of {MAX_INBOX_BYTES} bytes.")


def peek_inbox(root: Path) -> str:
    """What `context.md` holds now, without taking it. Raises WorkspaceError."""
    with _folder(root, create=False) as folder:
        data = None if folder is None else _read(folder, "context.md")
        return "" if data is None else _decode(data).strip()


def forget_taken(root: Path, name: str) -> None:
    """Removes a file that :func:`take_inbox` returned, once its text is stored. Raises WorkspaceError."""
    with _folder(root, create=False) as folder:
        if folder is not None:
            _unlink(folder, name)


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")  # what a hand-edited file that is not UTF-8 most likely is
    return text.replace("\0", "")  # no agent can be given one


def _read(folder: int, name: str) -> bytes | None:
    """The content of a regular file, None for anything else. Never follows a link, never waits at a FIFO."""
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    with os.fdopen(fd, "rb") as file:
        try:
            return file.read(MAX_INBOX_BYTES)
        except OSError:
            return None


def _write(folder: int, name: str, data: bytes) -> None:
    temporary = f".{name}.{secrets.token_hex(4)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _unlink(folder, temporary)
        raise


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        pass
