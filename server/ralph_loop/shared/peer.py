"""Who is at the other end of a local socket, and whether one of our own agents started it."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Collection
from pathlib import Path

_SOL_LOCAL, _LOCAL_PEERPID = 0, 2  # macOS
_MAX_ANCESTORS = 10_000


def peer(connection: socket.socket) -> tuple[int | None, int | None]:
    """(pid, uid) of the process that connected; None where the system does not tell."""
    if connection.family != socket.AF_UNIX:
        return None, None
    if sys.platform == "darwin":
        return connection.getsockopt(_SOL_LOCAL, _LOCAL_PEERPID), None
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", credentials)
    return pid, uid


def is_below(pid: int, ancestors: Collection[int]) -> bool:
    """Whether a process descends from one of `ancestors` (our guards: subreapers, so that nothing escapes them).

    A process that is gone, or whose parents cannot be read, counts as below: it cannot be told from an agent's.
    """
    if not ancestors or pid == os.getpid():
        return False
    for _ in range(_MAX_ANCESTORS):
        if pid in ancestors:
            return True
        if pid <= 1:
            return False
        parent = _parent(pid)
        if parent is None:
            return True
        pid = parent
    return True


def _parent(pid: int) -> int | None:
    if sys.platform == "darwin":
        import subprocess

        found = subprocess.run(["/bin/ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return int(found.stdout) if found.stdout.strip().isdigit() else None
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    return int(stat.rpartition(")")[2].split()[1])  # the name in parentheses may hold anything
