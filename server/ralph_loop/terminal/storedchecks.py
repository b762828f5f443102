"""What `doctor` looks at on the disk: the data directory, its rights and room, the database, the socket's place."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ralph_loop.paths import Paths, socket_path
from ralph_loop.terminal.checks import Check, Status

_PATIENCE_S = 20.0  # for reading a whole database
_LITTLE, _TOO_LITTLE = 1024**3, 64 * 1024**2  # bytes of free disk


def look(paths: Paths) -> Iterator[Check]:
    if not paths.data.exists():
        yield _rights_of_parent(paths.data)
    else:
        yield _rights(paths)
    yield _room(paths.data)
    yield _database(paths.database)
    yield _socket(paths.data)


def _rights_of_parent(data: Path) -> Check:
    parent = next(folder for folder in data.parents if folder.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return Check("data directory", "ok", f"{data} (made when it is needed)")
    return Check("data directory", "fail", f"{data} cannot be made: {parent} is not writable", "Give --data-dir.")


def _rights(paths: Paths) -> Check:
    """The user alone may look in. Others' files there would be a way in."""
    data = paths.data
    try:
        own = data.stat()
        if not stat.S_ISDIR(own.st_mode):
            return Check("data directory", "fail", f"{data} is not a folder", "Move it away, or give --data-dir.")
        if own.st_uid != os.getuid():
            return Check("data directory", "fail", f"{data} belongs to another user", f"sudo chown -R $USER {data}")
        if not os.access(data, os.R_OK | os.W_OK | os.X_OK):
            return Check("data directory", "fail", f"{data} cannot be written", f"chmod 700 {data}")
        open_ = [data] if stat.S_IMODE(own.st_mode) & 0o077 else []
        for path in (paths.database, paths.log, paths.endpoint, paths.engine_lock):
            if not path.exists():
                continue
            if path.stat().st_uid != os.getuid():
                return Check("data directory", "fail", f"{path} belongs to another user", f"sudo chown $USER {path}")
            if not os.access(path, os.R_OK | os.W_OK):
                return Check("data directory", "fail", f"{path} cannot be written", f"chmod 600 {path}")
            if stat.S_IMODE(path.stat().st_mode) & 0o077:
                open_.append(path)
    except OSError as error:
        return Check("data directory", "fail", f"{error.filename or data}: {error.strerror}", "Give --data-dir.")
    if open_:
        names = " ".join(map(str, open_))
        return Check("data directory", "warn", f"other users may look into {names}", f"chmod go-rwx {names}")
    return Check("data directory", "ok", str(data))


def _room(data: Path) -> Check:
    folder = next(folder for folder in (data, *data.parents) if folder.exists())
    free = shutil.disk_usage(folder).free
    status: Status = "fail" if free < _TOO_LITTLE else "warn" if free < _LITTLE else "ok"
    hint = "Free some space, or let old output go: ralph-loop config set retentionDays 30" if status != "ok" else ""
    return Check("disk", status, f"{size(free)} free for {folder}", hint)


def _database(path: Path) -> Check:
    if not path.exists():
        return Check("database", "ok", "none yet: it is made with the first loop")
    from ralph_loop.store.database import migrations

    aside = f"Move it away (mv {path} {path}.damaged); the helper then begins a new one."
    large = size(path.stat().st_size)
    try:
        # a mode of its own, so that nothing is made when the file is not there any more
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=5)) as connection:
            connection.execute("PRAGMA query_only = ON")
            until = time.monotonic() + _PATIENCE_S
            connection.set_progress_handler(lambda: int(time.monotonic() > until), 100_000)
            supported = migrations()[-1][0]
            found = connection.execute("SELECT max(version) FROM schema_version").fetchone()[0]
            if found is not None and found > supported:
                text = f"{path} is of a newer Ralph Loop (schema {found}, this one knows {supported})"
                return Check("database", "fail", text, "Update ralph-loop, or give another --data-dir.")
            problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return Check("database", "ok", f"{path}, {large}; too large to be read whole now")
        if "no such table" in str(error):
            return Check("database", "fail", f"{path} is not a database of ours", aside)
        return Check("database", "fail", f"{path} cannot be read: {error}", "See its rights, and the disk's state.")
    except sqlite3.DatabaseError as error:
        return Check("database", "fail", f"{path} is damaged: {error}", aside)
    if problem != "ok":
        return Check("database", "fail", f"{path} is damaged: {problem}", aside)
    return Check("database", "ok", f"{path}, {large}, sound")


def _socket(data: Path) -> Check:
    try:
        path = socket_path(data)
    except OSError as error:
        return Check("socket", "fail", str(error), "The helper's socket cannot be made there.")
    if path.exists() and path.lstat().st_uid != os.getuid():
        return Check("socket", "fail", f"{path} belongs to another user", f"sudo rm {path}")
    return Check("socket", "ok", str(path))


def size(number: float) -> str:
    """`1.5 GB`, for people."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TB"
