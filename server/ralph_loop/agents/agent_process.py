"""A process that the guard started, as the helper sees it."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from ralph_loop.agents.pipes import PipeReader, PipeWriter


class GuardError(Exception):
    """The guard could not be started, or could not lock the repository."""


class GuardLostError(GuardError):
    """The guard was killed. What can be found of its agents has been killed too."""


class RepoBusyError(Exception):
    """Another loop holds the repository. `pid` is that of its helper, `since` in UTC (ISO 8601); None when unknown."""

    def __init__(self, run_id: str | None, pid: int | None, since: str | None) -> None:
        who = f"Loop {run_id}" if run_id else "Another program"
        where = f" (process {pid})" if pid else ""
        when = f" since {since}" if since else ""
        super().__init__(f"{who}{where} holds this repository{when}. Cancel it, or wait until it has ended.")
        self.run_id, self.pid, self.since = run_id, pid, since


class SpawnError(Exception):
    """A process could not be started, in words for a person. `errno` as the system gave it; `stage` is what failed:
    ``arguments``, ``fork``, ``setup``, ``cwd`` or ``exec``."""

    def __init__(self, stage: str, number: int, program: str, message: str) -> None:
        super().__init__(message)
        self.stage, self.errno, self.program = stage, number, program

    @property
    def lasting(self) -> bool:
        """Trying again cannot help. Room for another process may be found later, and an update of the program ends."""
        return self.stage != "fork" and self.errno != errno.ETXTBSY

    @classmethod
    def because(cls, stage: str, number: int, program: str, cwd: Path) -> SpawnError:
        """What the system said, and what to do about it."""
        reason = os.strerror(number)
        if stage == "cwd":
            message = f"The working directory {cwd} cannot be entered: {reason}. Has it been moved or removed?"
        elif stage == "fork":
            message = f"{program} could not be started: {reason}. The system has no room for another process."
        elif number == errno.ENOENT and Path(program).exists():
            message = f"{program} could not be started: the interpreter that its #! line names was not found."
        else:
            message = f"{program} could not be started: {reason}.{_ADVICE.get(number, '')}"
        return cls(stage, number, program, message)


_ADVICE = {
    errno.E2BIG: " Give the prompt on stdin or as a file.",
    errno.EACCES: " Is it a program, and executable?",
    errno.ENOEXEC: " It is neither a program for this machine nor a script with a #! line.",
}


def check_arguments(argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
    """Raises SpawnError for what no process can be given."""
    problem = ""
    texts = [*argv, os.fspath(cwd), *env, *env.values()]
    if not argv or not argv[0].startswith("/"):
        problem = "a program is named by its absolute path"
    elif any("\0" in text for text in texts):
        problem = "an argument or a variable of the environment holds a NUL character"
    elif any(not name or "=" in name for name in env):
        problem = "a variable of the environment has an empty name, or one with ="
    else:
        try:
            "".join(texts).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            problem = "an argument or a variable of the environment holds half a surrogate pair"
    if problem:
        program = argv[0] if argv else "The command"
        raise SpawnError("arguments", errno.EINVAL, program, f"{program!r} could not be started: {problem}.")


@attrs.frozen
class ExitStatus:
    """How a process ended. `code` is negative when a signal ended it, as in :mod:`subprocess`."""

    code: int

    def __str__(self) -> str:
        return f"was killed by {signal_name(-self.code)}" if self.code < 0 else f"exited with code {self.code}"


Ended = ExitStatus | GuardLostError


def signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"  # most real-time signals have no name


class Owner(Protocol):
    """What an agent's process needs of its guard."""

    async def end_agent(self, agent: AgentProcess, grace_s: float) -> list[int]: ...

    def forget(self, agent: AgentProcess) -> None: ...


class AgentProcess:
    """A running or ended process with its pipes. Close it when its output has been read.

    `stdin` is there only when it was asked for as a pipe.
    """

    def __init__(self, pid: int, owner: Owner, stdout: PipeReader, stderr: PipeReader, ended: asyncio.Future[Ended]):
        self.pid, self.stdout, self.stderr = pid, stdout, stderr
        self.stdin: PipeWriter | None = None
        self._owner, self._ended = owner, ended
        self._feeding: asyncio.Task[None] | None = None
        self._transports: list[asyncio.BaseTransport] = []

    @property
    def running(self) -> bool:
        """False once it has exited or its guard was lost."""
        return not self._ended.done()

    @property
    def status(self) -> ExitStatus | None:
        """How it ended; None while it runs."""
        ended = self._ended.result() if self._ended.done() else None
        return ended if isinstance(ended, ExitStatus) else None

    async def wait(self) -> ExitStatus:
        """Waits for the process itself, not for its descendants. Raises GuardLostError."""
        ended = await asyncio.shield(self._ended)
        if isinstance(ended, GuardLostError):
            raise ended
        return ended

    def when_ended(self, call: Callable[[], object]) -> None:
        """Calls back once when :meth:`wait` would return."""
        self._ended.add_done_callback(lambda _: call())

    async def end(self, grace_s: float = 5.0) -> list[int]:
        """Ends this process and everything of the guard's that does not descend from another agent: SIGTERM, after
        the grace SIGKILL. Returns the pids that could not be ended. Raises GuardLostError."""
        return await self._owner.end_agent(self, grace_s)

    async def streams(self, limit: int = 2**16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """stdout and stdin as asyncio streams, for libraries that want those; `stdout` and `stdin` are theirs then.
        `limit` in bytes, as for :class:`asyncio.StreamReader`."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit)
        output, source = self.stdout.release(), self.stdin and self.stdin.release()
        assert output is not None and source is not None, "the process was not started with a pipe to stdin"
        incoming, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(output, "rb", 0)
        )
        outgoing, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(source, "wb", 0)
        )
        self._transports = [incoming, outgoing]
        return reader, asyncio.StreamWriter(outgoing, protocol, None, loop)

    async def close(self) -> None:
        """Closes our ends of the pipes. Does not end the process. Idempotent."""
        if self._feeding:
            self._feeding.cancel()
            await asyncio.wait([self._feeding])
        for transport in self._transports:
            transport.close()
        if self._transports:
            await asyncio.sleep(0)  # asyncio closes the descriptors in the next round of the loop
        self.stdout.close()
        self.stderr.close()
        if self.stdin:
            self.stdin.close()
        self._owner.forget(self)

    def feed(self, data: bytes, stdin: PipeWriter) -> None:
        """Writes `data` to its stdin in the background, then closes that. An agent that does not read is no error."""

        async def write() -> None:
            try:
                await stdin.write(data)
            except BrokenPipeError:
                pass
            finally:
                stdin.close()

        self._feeding = asyncio.create_task(write(), name=f"stdin of agent {self.pid}")
