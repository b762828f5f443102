"""Pipes of agents in asyncio, without a buffer of their own: an agent that is not read stops at a full pipe, an agent
that does not read stops nobody."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sys
from collections.abc import Callable

CHUNK = 64 * 1024

LARGEST_PIPE = 1024 * 1024
"""Bytes that a pipe can hold, see pipe(7): no more can be left in it when its writers are dead."""


def widen(fd: int) -> None:
    """Makes a pipe as large as it can be, where the system lets us. Gemini loses what does not fit into the pipe at
    once: its echo of a prompt of 200 KB, and all that follows."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # too many pages in pipes already: then it stays as it is
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, LARGEST_PIPE)


class PipeReader:
    """The reading end of a pipe. Owns the descriptor, and closes it at the end of the stream."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd
        self._ready: Callable[[], object] | None = None

    @property
    def at_end(self) -> bool:
        return self._fd is None

    async def read(self, n: int = CHUNK) -> bytes:
        """Up to `n` bytes as soon as there are any; b"" at the end of the stream. Cancelling it loses nothing."""
        while (data := self.take(n)) is None:
            ready = asyncio.Event()
            self.when_ready(ready.set)
            await ready.wait()
        return data

    def take(self, n: int = CHUNK) -> bytes | None:
        """What is there now, up to `n` bytes: None when nothing is there yet, b"" at the end of the stream."""
        if self._fd is None:
            return b""
        try:
            data = os.read(self._fd, n)
        except BlockingIOError:
            return None
        if not data:
            self.close()
        return data

    def when_ready(self, call: Callable[[], object]) -> None:
        """Calls back once when :meth:`take` will have something. The last call given counts."""
        if self._fd is None:
            call()
            return
        if self._ready is None:
            asyncio.get_running_loop().add_reader(self._fd, self._wake)
        self._ready = call

    def _wake(self) -> None:
        call, self._ready = self._ready, None
        if self._fd is not None:
            asyncio.get_running_loop().remove_reader(self._fd)
        if call is not None:
            call()

    def release(self) -> int | None:
        """Gives the descriptor away."""
        if self._ready:
            self._wake()
        fd, self._fd = self._fd, None
        return fd

    def close(self) -> None:
        fd = self.release()
        if fd is not None:
            os.close(fd)


class PipeWriter:
    """The writing end of a pipe. Owns the descriptor."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd: int | None = fd

    async def write(self, data: bytes) -> None:
        """Writes all of it, at the reader's pace. One write at a time. Raises BrokenPipeError when nobody reads any
        more, or after close."""
        rest = memoryview(data)
        while rest:
            if self._fd is None:
                raise BrokenPipeError("the pipe is closed")
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:
                await self._writable(self._fd)

    @staticmethod
    async def _writable(fd: int) -> None:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_writer(fd, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_writer(fd)

    def release(self) -> int | None:
        """Gives the descriptor away."""
        fd, self._fd = self._fd, None
        return fd

    def close(self) -> None:
        fd = self.release()
        if fd is not None:
            asyncio.get_running_loop().remove_writer(fd)
            os.close(fd)
