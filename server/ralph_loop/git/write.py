"""Changes the user's repository on their demand: the git command line, with their credentials and hooks.

Names and messages go as arguments or on standard input, never through a shell; one that begins with `-` is never an
option. Hooks run for the user's own commit, pull and push, for nothing else.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import attrs

from ralph_loop.git.command import Git, Result, environment
from ralph_loop.git.locate import Place
from ralph_loop.git.undo import SaveError, save
from ralph_loop.protocol import GitOutput
from ralph_loop.waiting import complete

OnProgress = Callable[[str, int | None], None]
"""What git is doing, and how much of it is done in percent where it says so."""

CLONE_TIME_LIMIT = 4 * 3600.0
"""Seconds."""


class BadNameError(Exception):
    """A name that git would take for something else; the message says which, `key` which parameter it was."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


async def add(git: Git, paths: Sequence[str]) -> GitOutput:
    """Stages paths as they are on disk, also deleted ones: taken literally, from the top of the working tree."""
    return _output(
        await git.run("add", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=pathspecs(map(os.fsencode, paths)))
    )


async def commit(git: Git, message: str) -> GitOutput:
    """Commits what is staged."""
    return _output(await git.run("commit", "--file=-", stdin=message.encode(), hooks=True))


async def pull(git: Git) -> GitOutput:
    return _output(await git.run("pull", hooks=True))


async def push(git: Git) -> GitOutput:
    return _output(await git.run("push", hooks=True))


async def checkout(git: Git, branch: str) -> GitOutput:
    """Switches to a branch; to a new one that follows it, when it is a remote's. Raises BadNameError.

    Git alone would leave every branch for `origin/topic`, and overwrite an ignored file that is in the way.
    """
    name, quiet = _name(branch, "branch"), attrs.evolve(git, on_output=None)
    found = await quiet.run("for-each-ref", "--format=%(refname)", "--", f"refs/heads/{name}", f"refs/remotes/{name}")
    follow = ["--track"] if found.text.splitlines() == [f"refs/remotes/{name}"] else []
    return _output(await git.run("checkout", "--no-overwrite-ignore", *follow, name, "--"))


async def branch(git: Git, name: str, start: str | None = None) -> GitOutput:
    """Makes a branch, at HEAD or at `start`, and does not switch to it. Raises BadNameError."""
    return _output(await git.run("branch", "--", _name(name, "name"), *([_name(start, "from")] if start else [])))


async def reset(git: Git, place: Place, to: str = "HEAD") -> GitOutput:
    """`git reset --hard`, after everything it destroys was saved; the output tells how to undo it.

    What is changed inside submodules is left alone, also with submodule.recurse: nothing would save it.
    The caller has asked the person. Raises BadNameError.
    """
    quiet = attrs.evolve(git, on_output=None)
    found = await quiet.run("rev-parse", "--verify", _name(to, "to") + "^{commit}")
    if found.exit_code:
        return GitOutput(exit_code=found.exit_code, stdout="", stderr=f"There is no commit {to} in {place.root}.\n")
    try:
        saved = await save(quiet, place, found.text)
    except (SaveError, OSError) as error:
        return GitOutput(exit_code=128, stdout="", stderr=f"Nothing was reset: the tree could not be saved: {error}\n")
    result = await git.run("reset", "--hard", "--no-recurse-submodules", found.text)
    told = saved.kept if result.exit_code else saved.how
    return _output(attrs.evolve(result, stdout=result.stdout + told.encode()))


async def clone(
    url: str,
    parent: Path,
    partial: Path,
    env: Mapping[str, str],
    on_progress: OnProgress | None = None,
    time_limit: float = CLONE_TIME_LIMIT,
) -> tuple[Path, GitOutput]:
    """Clones into a new folder of `parent`, named as `git clone` would; it appears when it is complete, and is
    `partial`, a new folder of `parent` too, until then.

    When git fails or this is cancelled nothing of it is left; for one that is complete a cancel comes too late.
    Raises BadNameError when there is no name or it is taken, OSError when `parent` cannot be written to.
    """
    folder = parent / clone_name(url)
    await asyncio.to_thread(_check_free, folder)
    progress = _Progress(on_progress)
    git = Git(parent, environment(env), time_limit, progress.feed)
    try:
        result = await git.run("clone", "--progress", "--", url, os.fspath(partial))
        if result.exit_code == 0:
            await complete(asyncio.create_task(asyncio.to_thread(_move, partial, folder)))
    finally:
        await complete(asyncio.create_task(asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)))
    return folder, _output(result)


def _move(partial: Path, folder: Path) -> None:
    _check_free(folder)  # another clone may have been faster
    partial.rename(folder)


def _check_free(folder: Path) -> None:
    if os.path.lexists(folder):
        raise BadNameError("url", f"{folder} exists already. Choose another directory, or add it as it is.")


def clone_name(url: str) -> str:
    """The folder name of a clone: the last part of the URL, without `.git`. Raises BadNameError."""
    path = re.sub(r"(/|/\.git|\.git|\.bundle)+/*$", "", re.sub(r"^[a-z+]+://[^/]*", "", url.strip()))
    name = unquote(re.split(r"[/:]", path)[-1]).strip(". ")
    if not name or any(character in "/\0" or not character.isprintable() for character in name):
        raise BadNameError(
            "url", f"{without_passwords(url)} does not say how to name its folder. Give the URL of a repository."
        )
    return name


def without_passwords(text: str) -> str:
    """Text without what stands before the host in URLs: git repeats them when it fails.

    A password may hold `@` and quotes. The length of a scheme is bounded, so that a long word costs no minutes.
    """
    return re.sub(r"\b([A-Za-z][A-Za-z0-9+.-]{0,31}://)([^/\s]*)@", _hide, text)


def _hide(match: re.Match[str]) -> str:
    user = match[2].partition(":")[0]
    # over ssh the user is part of the address; elsewhere what stands before @ may be a token
    return f"{match[1]}{user}@" if match[1].lower() == "ssh://" and user else match[1]


def pathspecs(paths: Iterable[bytes]) -> bytes:
    """Paths for `--pathspec-from-file`, so that `*` and `:` in them mean nothing (gitglossary(7), "pathspec")."""
    return b"\0".join(b":(top,literal)" + path for path in paths)


def _name(name: str, key: str) -> str:
    if name.startswith("-") or "\0" in name:
        raise BadNameError(key, f"{name!r} is not a name of a branch or a commit.")
    return name


def _output(result: Result) -> GitOutput:
    return GitOutput(
        exit_code=result.exit_code,
        stdout=without_passwords(result.stdout.decode(errors="replace")),
        stderr=without_passwords(result.stderr.decode(errors="replace")),
    )


class _Progress:
    """Reads the lines git overwrites: `Receiving objects:  42% (…)`."""

    def __init__(self, tell: OnProgress | None) -> None:
        self._tell = tell
        self._rest = b""

    def feed(self, stream: str, data: bytes) -> None:
        if self._tell is None or stream != "stderr":
            return
        *lines, self._rest = re.split(rb"[\r\n]+", self._rest + data)
        for line in lines:
            text = without_passwords(line.decode(errors="replace").strip())
            percent = re.search(r"(\d{1,3})%", text)
            if text:
                self._tell(text, min(int(percent[1]), 100) if percent else None)
