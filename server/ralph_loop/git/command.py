"""Runs the git command line: streaming, never waiting for a person, ended as a whole."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncGenerator, Callable, Mapping
from pathlib import Path
from typing import BinaryIO, Literal

import attrs
import pygit2

from ralph_loop.git import config as git_config
from ralph_loop.git.locate import Place

OnOutput = Callable[[Literal["stdout", "stderr"], bytes], None]

TIME_LIMIT = 600.0
"""Seconds; hooks and networks take their time."""
TIMED_OUT = 124
"""The exit code of a command that was stopped because of its time limit, as `timeout(1)` has it."""
MAX_KEPT = 1024 * 1024
"""Of each stream, the last so many bytes are kept for the answer."""

GRACE = 5.0  # seconds between SIGTERM and SIGKILL
_LINGER = 1.0  # seconds for output of what a hook left running
_CHUNK = 64 * 1024
# What the environment of an editor or of a hook can hold that points git to somewhere else, or asks a person.
_DROPPED = frozenset(
    "GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_COMMON_DIR "
    "GIT_NAMESPACE GIT_PREFIX GIT_QUARANTINE_PATH GIT_EXTERNAL_DIFF GIT_LITERAL_PATHSPECS GIT_GLOB_PATHSPECS "
    "GIT_NOGLOB_PATHSPECS GIT_ICASE_PATHSPECS GIT_CONFIG_PARAMETERS SSH_ASKPASS".split()
)
# An empty GIT_ASKPASS also turns off core.askPass and SSH_ASKPASS (git's prompt.c).
_SET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_ALLOW_PROTOCOL": "https:http:ssh:git:file",
    "GIT_EDITOR": ":",
    "GIT_SEQUENCE_EDITOR": ":",
    "GIT_MERGE_AUTOEDIT": "no",
    "GIT_PAGER": "cat",
}
_NO_HOOKS = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


class GitMissingError(Exception):
    """There is no git on the person's PATH."""


@attrs.frozen
class Result:
    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output without the newline at its end."""
        return os.fsdecode(self.stdout.rstrip(b"\n"))


@attrs.frozen
class Git:
    """git for one repository and one person."""

    folder: Path
    env: Mapping[str, str]
    time_limit: float = TIME_LIMIT
    on_output: OnOutput | None = None

    @classmethod
    def of(
        cls, place: Place, env: Mapping[str, str], time_limit: float = TIME_LIMIT, on_output: OnOutput | None = None
    ) -> Git:
        """`env` is the environment of the person: their PATH, HOME, keys and helpers."""
        return cls(place.root, environment(env, place), time_limit, on_output)

    async def run(
        self, *args: str, stdin: bytes = b"", hooks: bool = False, keep: int = MAX_KEPT, **more: str
    ) -> Result:
        """One command in an own process group; `more` are environment variables, `hooks` lets the user's run.

        Of each stream the last `keep` bytes are in the result. Cancelling it ends the group.
        Raises GitMissingError, and OSError when the folder is gone.
        """
        program = shutil.which("git", path=self.env.get("PATH", os.defpath))
        if program is None:
            raise GitMissingError("git was not found on your PATH. Install git, or start the editor where it is found.")
        async with _pipe() as (out, out_end), _pipe() as (err, err_end):
            starting = asyncio.create_subprocess_exec(
                program,
                *(() if hooks else _NO_HOOKS),
                *args,
                cwd=self.folder,
                env={**self.env, **more},
                stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
                stdout=out_end,
                stderr=err_end,
                start_new_session=True,
            )
            process = await _started(asyncio.create_task(starting, name="git start"))
            out_end.close()
            err_end.close()
            kept = bytearray(), bytearray()
            streams = [
                asyncio.create_task(self._read(out, "stdout", kept[0], keep), name="git stdout"),
                asyncio.create_task(self._read(err, "stderr", kept[1], keep), name="git stderr"),
                asyncio.create_task(_feed(process.stdin, stdin), name="git stdin"),
            ]
            try:
                code = await self._wait(process)
                await asyncio.wait(streams, timeout=_LINGER)
            finally:
                for task in streams:
                    task.cancel()
                await asyncio.gather(*streams, return_exceptions=True)
        if code is None:
            kept[1].extend(f"git {args[0]} did not finish within {self.time_limit:g} s and was stopped.\n".encode())
        return Result(TIMED_OUT if code is None else code, bytes(kept[0]), bytes(kept[1]))

    async def _wait(self, process: asyncio.subprocess.Process) -> int | None:
        """The exit code; None when it was stopped because of the time limit."""
        try:
            async with asyncio.timeout(self.time_limit):
                return await process.wait()
        except TimeoutError:
            await _end(process)
            return None
        except asyncio.CancelledError:
            await asyncio.shield(_end(process))
            raise

    async def _read(
        self, stream: asyncio.StreamReader, name: Literal["stdout", "stderr"], kept: bytearray, keep: int
    ) -> None:
        while chunk := await stream.read(_CHUNK):
            kept += chunk
            del kept[:-keep]
            if self.on_output:
                self.on_output(name, chunk)


@contextlib.asynccontextmanager
async def _pipe() -> AsyncGenerator[tuple[asyncio.StreamReader, BinaryIO], None]:
    """A pipe of our own: with one of asyncio's, waiting for a process waits for all it left running (gh-119710)."""
    read, write = os.pipe()
    with open(read, "rb", 0) as source, open(write, "wb", 0) as end:  # noqa: ASYNC230, PTH123 - descriptors
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
        try:
            yield reader, end
        finally:
            transport.close()


def environment(env: Mapping[str, str], place: Place | None = None) -> dict[str, str]:
    """A person's environment for git commands that nobody watches: none of them can wait for an answer."""
    clean = {key: value for key, value in env.items() if key not in _DROPPED and not key.startswith("VSCODE_")}
    return {**clean, **_SET, **_ssh(env, place)}


def _ssh(env: Mapping[str, str], place: Place | None) -> dict[str, str]:
    """ssh with BatchMode, in the way the person has chosen it; not for other programs (GIT_SSH, plink)."""
    command = env.get("GIT_SSH_COMMAND", "")
    if not command and place is not None:
        with contextlib.suppress(pygit2.GitError):  # broken: git itself says so
            command = git_config.get(git_config.read_config(place.git_dir, place.common_dir, env), "core.sshcommand")
    if not command and "GIT_SSH" in env:
        return {}
    if env.get("GIT_SSH_VARIANT", "ssh") not in ("ssh", "auto"):
        return {}
    return {"GIT_SSH_COMMAND": f"{command or 'ssh'} -o BatchMode=yes"}


async def _started(starting: asyncio.Task[asyncio.subprocess.Process]) -> asyncio.subprocess.Process:
    """The process. Cancelled meanwhile, asyncio would kill git alone: its hooks may run by then."""
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.shield(_end(await starting))
        raise


async def _feed(stream: asyncio.StreamWriter | None, data: bytes) -> None:
    if stream is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it ended without reading all
        stream.write(data)
        await stream.drain()
    stream.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ends the process and its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await process.wait()
                break
    with contextlib.suppress(ProcessLookupError):  # what ignored SIGTERM below it
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
