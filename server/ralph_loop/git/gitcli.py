"""git itself as the reader of a repository that libgit2 cannot read: SHA-256 objects, the reftable format.

It runs nothing that a repository brings, writes nothing into it and fetches nothing: references and history are asked
for by commands that know no hook or filter, and files are compared in a temporary repository that only points to the
user's, as libgit2 does it (scratch.py). Every function blocks: for threads.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import attrs
import pygit2

from ralph_loop.git import config as git_config
from ralph_loop.git.clone import quoted
from ralph_loop.git.command import TIME_LIMIT
from ralph_loop.git.indexfile import copy_index
from ralph_loop.git.locate import Place
from ralph_loop.git.scratch import ReadError, prepare, reading

P = ParamSpec("P")
R = TypeVar("R")
_Reader = Callable[Concatenate[Place, Mapping[str, str], P], R]

_ENV = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    # a partial clone fetches what it needs: reading is no reason to
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "none",
}


def instead(by_git: _Reader[P, R]) -> Callable[[_Reader[P, R]], _Reader[P, R]]:
    """The way a repository is read is chosen here: by the function below it, or by this one where libgit2 cannot."""

    def choose(by_libgit2: _Reader[P, R]) -> _Reader[P, R]:
        @functools.wraps(by_libgit2)
        def read(place: Place, env: Mapping[str, str], *args: P.args, **kwargs: P.kwargs) -> R:
            with reading(place):
                chosen = by_git if is_needed(place, env) else by_libgit2
                return chosen(place, env, *args, **kwargs)

        return read

    return choose


def is_needed(place: Place, env: Mapping[str, str]) -> bool:
    """Whether libgit2 cannot read a repository. Raises pygit2.GitError when its configuration is damaged."""
    if place.git_dir is None:
        return False
    config = git_config.read_config(place.git_dir, place.common_dir, env)
    names = [name for name, _ in git_config.items(config)]
    extensions = {name.removeprefix("extensions.") for name in names if name.startswith("extensions.")}
    usual = (_extension(config, "objectformat", "sha1"), _extension(config, "refstorage", "files")) == ("sha1", "files")
    known = {*pygit2.settings.extensions, "refstorage", "partialclone", "worktreeconfig"}
    return not usual or not extensions <= known


def algorithm(place: Place, env: Mapping[str, str]) -> str:
    """How the objects of a repository are named: sha1 or sha256."""
    return _extension(git_config.read_config(place.git_dir, place.common_dir, env), "objectformat", "sha1")


@attrs.frozen
class Reader:
    """git with one git directory."""

    place: Place
    git_dir: Path
    env: Mapping[str, str]

    def run(self, *args: str, stdin: bytes = b"", may_fail: bool = False, **more: str) -> bytes:
        """What a command prints; nothing when it fails and may. Raises ReadError."""
        argv, env = self._command(args, more)
        with _told(self.place):
            done = subprocess.run(
                argv, env=env, cwd=self.place.root, input=stdin, capture_output=True, timeout=TIME_LIMIT, check=False
            )
        if done.returncode and not may_fail:
            raise _failed(self.place, done.stderr)
        return b"" if done.returncode else done.stdout

    def lines(self, *args: str) -> Iterator[bytes]:
        """What a command prints, line by line: it may be more than fits into memory. Raises ReadError."""
        argv, env = self._command(args, {})
        with tempfile.TemporaryFile() as errors, _told(self.place):
            with subprocess.Popen(
                argv, env=env, cwd=self.place.root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
            ) as process:
                assert process.stdout is not None
                yield from process.stdout
            if process.returncode:
                errors.seek(0)
                raise _failed(self.place, errors.read())

    def _command(self, args: tuple[str, ...], more: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        program = shutil.which("git", path=self.env.get("PATH", os.defpath))
        if program is None:
            raise ReadError(f"{self.place.root} can only be read by git, which was not found on your PATH. Install it.")
        env = {key: value for key, value in self.env.items() if not key.startswith("GIT_")} | _ENV
        env |= {"GIT_DIR": os.fspath(self.git_dir)} | (
            {} if self.place.bare else {"GIT_WORK_TREE": str(self.place.root)}
        )
        return [program, "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", *args], {**env, **more}


def user(place: Place, env: Mapping[str, str]) -> Reader:
    """The user's own repository, for its references and history only: such commands run and write nothing."""
    assert place.git_dir is not None
    return Reader(place, place.git_dir, env)


def empty_tree(place: Place, env: Mapping[str, str]) -> str:
    """The id of the tree without a file."""
    return hashlib.new(algorithm(place, env), b"tree 0\0").hexdigest()


@contextlib.contextmanager
def scratch(place: Place, env: Mapping[str, str]) -> Generator[Reader, None, None]:
    """A temporary repository with the user's objects and working tree, and a copy of their index: it may be changed."""
    assert place.git_dir is not None and place.common_dir is not None
    config = git_config.read_config(place.git_dir, place.common_dir, env)
    with tempfile.TemporaryDirectory(prefix="ralph-loop-") as name:
        folder = Path(name)
        prepare(folder, place, env, config)
        alternate = quoted(os.fsencode(place.common_dir / "objects")) + b"\n"
        (folder / "objects" / "info" / "alternates").write_bytes(alternate)
        with (folder / "config").open("ab") as file:
            file.write(_CONFIG % _extension(config, "objectformat", "sha1").encode())
            for key in ("sparseCheckout", "sparseCheckoutCone"):
                file.write(b"[core]\n\t%s = %d\n" % (key.encode(), git_config.get_bool(config, f"core.{key}", False)))
        (folder / "info" / "sparse-checkout").symlink_to(place.git_dir / "info" / "sparse-checkout")
        for source in (place.git_dir / "index", *place.git_dir.glob("sharedindex.*")):
            copy_index(source, folder / source.name)
        reader = Reader(place, folder, env)
        if not place.bare:
            reader.run("update-index", "-q", "--refresh", may_fail=True)  # it fails where files are changed
        yield reader


# Larger files are told as binary, as libgit2's way tells them (changes.MAX_COMPARED_BYTES).
_CONFIG = b"""[core]
	repositoryformatversion = 1
	bigFileThreshold = 32m
[diff]
	renameLimit = 1000
[extensions]
	objectFormat = %s
"""


def _extension(config: pygit2.Config, key: str, usual: str) -> str:
    return git_config.get(config, f"extensions.{key}", usual).lower()


@contextlib.contextmanager
def _told(place: Place) -> Generator[None, None, None]:
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise ReadError(f"{place.root} was not read within {TIME_LIMIT:g} s: git is too slow there.") from error


def _failed(place: Place, stderr: bytes) -> ReadError:
    return ReadError(f"{place.root} cannot be read: {stderr.decode(errors='replace').strip()}")
