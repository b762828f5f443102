"""What the service managers share: running their tools, and writing their files."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ralph_loop.errors import RalphError

END_LIMIT_S = 60  # how long a helper may take to end: its loops pause, their agents are ended
_TOOL_LIMIT_S = 90.0
_NOT_RUN = 127

WITHOUT = "Loops work without the service too: the helper starts when it is needed."


def unavailable(problem: str, advice: str = "") -> RalphError:
    """The error for a machine, or a session, on which no service can be had."""
    return RalphError("notAvailable", " ".join(part for part in (problem, advice, WITHOUT) if part))


def run(argv: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """A manager's tool, to its end. One that cannot be run has failed, saying why."""
    try:
        return subprocess.run(
            argv,
            env={**env, "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TOOL_LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        problem = f"{argv[0]} was not found"
    except OSError as error:
        problem = f"{argv[0]} cannot be run: {error.strerror}"
    except subprocess.TimeoutExpired:
        problem = f"{' '.join(argv)} did not end within {_TOOL_LIMIT_S:.0f} s"
    return subprocess.CompletedProcess(argv, _NOT_RUN, "", problem)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The first line a tool complained with, as a sentence."""
    text = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[0].strip()
    return text if text.endswith(".") else f"{text}."


def home(env: Mapping[str, str]) -> Path:
    return Path(env.get("HOME") or Path.home())


def read(path: Path) -> bytes | None:
    """None when there is no such file. Raises RalphError notAvailable when it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unavailable(f"{path} cannot be read: {error.strerror}.") from None


def write(path: Path, content: bytes) -> None:
    """Replaces a file as a whole. Raises RalphError notAvailable when it cannot be written."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise unavailable(f"{path} cannot be written: {error.strerror}.") from None


def remove(path: Path, empty: Sequence[Path] = ()) -> None:
    """Removes a file, then those of the folders that are empty. Raises RalphError notAvailable."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise unavailable(f"{path} cannot be removed: {error.strerror}.") from None
    for folder in empty:
        with contextlib.suppress(OSError):  # somebody else's files are in it
            os.rmdir(folder)  # noqa: PTH106 (a link is not followed)
