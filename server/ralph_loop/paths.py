"""Where things are kept. `--data-dir` (or RALPH_LOOP_DATA_DIR) replaces every location but the lock holders'."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from pathlib import Path

import attrs

APP = "ralph-loop"
DATA_DIR_VARIABLE = "RALPH_LOOP_DATA_DIR"


@attrs.frozen
class Paths:
    """Every location of one helper."""

    data: Path
    config: Path  # the user's presets and configuration files

    @property
    def database(self) -> Path:
        return self.data / "ralph-loop.db"

    @property
    def engine_lock(self) -> Path:
        """Held by the one engine of this data directory."""
        return self.data / "engine.lock"

    @property
    def endpoint(self) -> Path:
        """What the running helper says of itself: pid, version, address."""
        return self.data / "helper.json"

    @property
    def snapshots(self) -> Path:
        return self.data / "snapshots"

    @property
    def prompts(self) -> Path:
        return self.data / "prompts"

    @property
    def journals(self) -> Path:
        """Of approved changes while they are applied."""
        return self.data / "journals"

    @property
    def copies(self) -> Path:
        """The private trees of plan mode."""
        return self.data / "copies"

    @property
    def clones(self) -> Path:
        """Notes of clones while they are made."""
        return self.data / "clones"

    @property
    def log(self) -> Path:
        return self.data / "helper.log"

    def create(self) -> None:
        """Makes the directories, readable by the user alone. Raises OSError."""
        for directory in (self.data, self.snapshots, self.prompts, self.journals, self.copies, self.clones):
            make_private(directory)


def locate(data_dir: str | None = None) -> Paths:
    """The locations for a data directory given on the command line, else by the environment, else the platform's."""
    import platformdirs

    usual = Path(platformdirs.user_data_dir(APP, appauthor=False))
    chosen = data_dir or os.environ.get(DATA_DIR_VARIABLE)
    data = Path(chosen).expanduser().absolute() if chosen else usual
    if data == usual:  # also when a forwarder hands it on to the helper it starts
        return Paths(data=usual, config=Path(platformdirs.user_config_dir(APP, appauthor=False)))
    return Paths(data=data, config=data / "config")


def make_private(directory: Path) -> None:
    """Makes the data directory, or one in it. Raises OSError with what to do."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
    except OSError as error:
        raise cannot_keep(directory, error) from error


def cannot_keep(directory: Path, error: OSError) -> OSError:
    """What a person is told when the data directory, or one in it, cannot be written to: with what to do."""
    told = f"data cannot be kept here ({error.strerror}). Choose another place: --data-dir or {DATA_DIR_VARIABLE}"
    return OSError(error.errno, told, str(directory))


def runtime_dir() -> Path:
    """A directory of this user that no environment variable changes: lock holders and long socket names lie there.

    Raises PermissionError when somebody else owns it.
    """
    uid = os.getuid()
    session = Path(f"/run/user/{uid}")
    if sys.platform == "darwin":
        base = Path(os.confstr("CS_DARWIN_USER_TEMP_DIR") or "/tmp") / APP
    elif session.is_dir() and session.stat().st_uid == uid and os.access(session, os.W_OK):
        base = session / APP
    else:
        base = Path(f"/tmp/{APP}-{uid}")
    base.mkdir(mode=0o700, exist_ok=True)
    own = base.lstat()
    if not stat.S_ISDIR(own.st_mode) or own.st_uid != uid:
        raise PermissionError(f"{base} belongs to somebody else. Remove it, or ask its owner to.")
    if stat.S_IMODE(own.st_mode) != 0o700:
        base.chmod(0o700)
    return base


def holder_file(key: Path) -> Path:
    """The small file that tells who holds the loop lock of a repository (by the real path its lock is on)."""
    return runtime_dir() / f"{_digest(os.fsencode(key))}.json"


def socket_path(data: Path) -> Path:
    """The shared helper's socket: in the data directory, or under a hashed name where that path is too long for
    `sun_path` (104 bytes on macOS, 108 on Linux)."""
    direct = data / "helper.sock"
    if len(os.fsencode(direct)) < 100:
        return direct
    return runtime_dir() / f"{_digest(os.fsencode(data.resolve()))}.sock"


def _digest(name: bytes) -> str:
    return hashlib.sha256(name).hexdigest()[:32]


def reason(error: Exception) -> str:
    """What went wrong, to what, for a person: `/some/path: File exists`."""
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, str):
        return f"{error.filename}: {error.strerror}"
    return str(error)
