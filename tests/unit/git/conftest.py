"""Real repositories, made by the real git."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "A U Thor",
    "GIT_AUTHOR_EMAIL": "author@example.com",
    "GIT_COMMITTER_NAME": "A U Thor",
    "GIT_COMMITTER_EMAIL": "author@example.com",
    "GIT_CONFIG_COUNT": "2",
    "GIT_CONFIG_KEY_0": "init.defaultBranch",
    "GIT_CONFIG_VALUE_0": "main",
    "GIT_CONFIG_KEY_1": "protocol.file.allow",
    "GIT_CONFIG_VALUE_1": "always",
}

Git = Callable[..., bytes]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def env(home: Path) -> dict[str, str]:
    """The environment of a person with an empty home."""
    return {**ENV, "HOME": str(home)}


@pytest.fixture
def git(env: dict[str, str]) -> Git:
    """Runs git in a folder: `git(repo, "add", ".")` gives its output."""

    def run(folder: Path, *args: str | bytes, check: bool = True, **more: str) -> bytes:
        return subprocess.run(
            ["git", *args], cwd=folder, env={**env, **more}, check=check, stdout=subprocess.PIPE
        ).stdout

    return run


@pytest.fixture
def repo(tmp_path: Path, git: Git) -> Path:
    """A repository with one commit: `a.txt` of ten lines, `dir/b.txt`, `run.sh`."""
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("".join(f"line {n}\n" for n in range(10)))
    (folder / "dir").mkdir()
    (folder / "dir" / "b.txt").write_text("b\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder
