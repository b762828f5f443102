"""The helper as a service of the user's: it starts at login, never idles, and is started again when it fails.

Blocking: the terminal calls it as it is, a session in a thread. It never goes through the helper, so that stopping the
service does not saw off the branch it sits on.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from ralph_loop.errors import RalphError, invalid_state
from ralph_loop.protocol import ServiceStatus
from ralph_loop.shared.launchd import Launchd
from ralph_loop.shared.systemd import Systemd


class Manager(Protocol):
    """What starts and stops services here. Everything raises RalphError notAvailable when it cannot be done."""

    @property
    def name(self) -> str: ...

    @property
    def unit_path(self) -> Path: ...

    def pid(self) -> int:
        """Of the running service, 0 when it does not run."""
        ...

    def install(self) -> None:
        """Writes the unit, enables and starts it; all of it or nothing. Again is no error."""
        ...

    def uninstall(self) -> None:
        """Ends the service and leaves nothing; the process that asks, when it is the service's, it leaves running."""
        ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


Action = Callable[[Manager], ServiceStatus]


def serve_command(data: Path) -> list[str]:
    """The command line of the service for a data directory."""
    return [sys.executable, "-m", "ralph_loop", "serve", "--idle", "0", "--take-over", "--data-dir", str(data)]


def manager(data: Path, env: Mapping[str, str]) -> Manager:
    """This machine's, for a user with this environment."""
    command = serve_command(data)
    return Launchd(command, env) if sys.platform == "darwin" else Systemd(command, env)


def status(of: Manager) -> ServiceStatus:
    """Never raises: where no manager can be reached its name is `none`."""
    installed = of.unit_path.exists()
    path = str(of.unit_path) if installed else None
    try:
        return ServiceStatus(installed=installed, running=of.pid() != 0, manager=of.name, unit_path=path)
    except RalphError:
        return ServiceStatus(installed=installed, running=False, manager="none", unit_path=path)


def install(by: Manager) -> ServiceStatus:
    by.install()
    return status(by)


def start(by: Manager) -> ServiceStatus:
    by.pid()  # without a manager, that is what is to be said
    if not by.unit_path.exists():
        raise invalid_state(
            "The service is not installed. Install it first: ralph-loop service install", "notInstalled", ["installed"]
        )
    by.start()
    return status(by)


def stop(by: Manager) -> ServiceStatus:
    running = by.pid()
    if running == os.getpid():
        return _end_ourselves(by)
    if running or by.unit_path.exists():
        by.stop()
    return status(by)


def uninstall(by: Manager) -> ServiceStatus:
    ours = status(by).running and by.pid() == os.getpid()
    by.uninstall()
    return _end_ourselves(by) if ours else status(by)


def _end_ourselves(by: Manager) -> ServiceStatus:
    """We are the service: a tool that waits for our end would wait for itself. An end with exit code 0 is no failure,
    so nothing starts us again."""
    os.kill(os.getpid(), signal.SIGTERM)
    installed = by.unit_path.exists()
    return ServiceStatus(
        installed=installed, running=False, manager=by.name, unit_path=str(by.unit_path) if installed else None
    )
