"""The lock on a repository, and the file that tells others who holds it. Standard library only: the guard uses it."""

# pathlib would double the guard's time to start
# ruff: noqa: PTH105, PTH108, PTH116, PTH123

from __future__ import annotations

import errno
import fcntl
import json
import os
import time

NO_DIRECTORY_LOCK = {errno.EACCES, errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class RepoLock:
    """An flock on the descriptor of `path`, a directory (any file in it could be replaced).

    `holder` is the path of a private JSON file ``{runId, pid, guardPid, since}``, there while the lock is held: `pid`
    is the helper's, `since` is in UTC (ISO 8601).
    """

    def __init__(self, path: str, holder: str) -> None:
        self.path, self.holder = path, holder
        self._flags = DIRECTORY
        self.fd: int | None = None
        self.written = b""

    def take(self) -> None:
        """Takes the lock without waiting. Raises BlockingIOError when another process holds it, OSError when the path
        cannot be locked."""
        try:
            self._flock()
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in NO_DIRECTORY_LOCK or self._flags != DIRECTORY:
                raise
            # a file system, NFS for one, that cannot lock a directory
            self.path, self._flags = self.holder + ".lock", os.O_RDWR | os.O_CREAT
            self._flock()

    def _flock(self) -> None:
        fd = os.open(self.path, self._flags | os.O_CLOEXEC, 0o600)  # a child that inherited it would keep the lock
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        self.fd = fd

    def tell(self, run: str, helper: int) -> None:
        """Writes the holder file, atomically."""
        seconds, milliseconds = divmod(time.time_ns() // 1_000_000, 1000)
        since = time.strftime(f"%Y-%m-%dT%H:%M:%S.{milliseconds:03}Z", time.gmtime(seconds))
        row = {"runId": run, "pid": helper, "guardPid": os.getpid(), "since": since}
        temporary = f"{self.holder}.{os.getpid()}"
        self.written = json.dumps(row).encode()
        try:
            with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
                file.write(self.written)
            os.replace(temporary, self.holder)
        except OSError:
            self._remove(temporary)
            raise

    def release(self) -> None:
        """Removes the holder file if it is still ours, then lets go."""
        if self.fd is None:
            return
        if self.written and self._read() == self.written:
            self._remove(self.holder)
        os.close(self.fd)
        self.fd = None

    def who(self) -> tuple[dict[str, object], bool]:
        """The holder's row, and whether it is certain: a new holder writes its file just after it took the lock, and a
        killed one leaves its file. Uncertain rows have the `pid` that the system tells, or None."""
        pid = self._locker()
        try:
            row: dict[str, object] = json.loads(self._read())
        except ValueError:
            row = {}
        if row and pid in (None, row["guardPid"]):
            return row, True
        return {"pid": pid}, False

    def _locker(self) -> int | None:
        """The pid that locked the path, on Linux: see proc_locks(5). None when it is not to be seen."""
        try:
            status = os.stat(self.path)
            with open("/proc/locks", encoding="ascii") as file:
                rows = [line.split() for line in file]
        except FileNotFoundError:
            return None
        inode = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
        pids = [int(row[4]) for row in rows if row[1] == "FLOCK" and row[5] == inode]
        return pids[0] if pids and pids[0] > 0 else None

    def _read(self) -> bytes:
        try:
            with open(self.holder, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return b""

    @staticmethod
    def _remove(path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
