"""`service`: the helper as a service of the user's. It acts by itself, not through the helper: one that is stopped
could not answer."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ralph_loop.errors import RalphError
from ralph_loop.protocol import ServiceStatus
from ralph_loop.shared import launchd, scheduledtask, service, systemd
from ralph_loop.shared.client import Client, ResponseError
from ralph_loop.shared.forward import HelperError
from ralph_loop.terminal import options
from ralph_loop.terminal.asking import data_directory, print_json
from ralph_loop.terminal.options import Parser, Problem
from ralph_loop.terminal.screen import Screen, standard
from ralph_loop.terminal.words import count
from ralph_loop.wire import unstructure

DESCRIPTION = """Run the helper as a service: it starts when you log in, never ends for lack of work, and is started
again when it fails. `install` starts it too; `stop` pauses its loops first. `show` prints what would be installed.

`status` exits with 0 when the service runs, else with 3."""

NOT_RUNNING = 3  # as `systemctl status` says it (Linux Standard Base, init script actions)
_ACTIONS = {
    "status": service.status,
    "install": service.install,
    "uninstall": service.uninstall,
    "start": service.start,
    "stop": service.stop,
}
_LINGER = Path("/var/lib/systemd/linger")


def run(arguments: Sequence[str]) -> int:
    parser = Parser("service", DESCRIPTION)
    parser.add_argument("what", nargs="?", choices=(*_ACTIONS, "show"), default="status")
    parser.add_argument(
        "--manager", choices=("systemd", "launchd", "windows"), help="with show: whose file (default: this machine's)"
    )
    options.json_output(parser)
    options.common(parser)
    given = parser.parse_args(arguments)
    data = data_directory(given)
    manager = service.manager(data, os.environ)
    try:
        if given.what == "show":
            _show(given.manager or manager.name, data)
            return 0
        status = _ACTIONS[given.what](manager)
    except RalphError as error:
        raise Problem(error.message) from None
    if given.json:
        print_json(unstructure(status))
    else:
        _tell(standard(given.color), given.what, status, manager, data)
    return NOT_RUNNING if given.what == "status" and not status.running else 0


def _show(manager: str, data: Path) -> None:
    command = service.serve_command(data)
    match manager:
        case "launchd":
            content = launchd.plist(command)
        case "windows":
            content = scheduledtask.task(command, os.environ.get("WSL_DISTRO_NAME")).encode()
        case _:
            content = systemd.unit(command)
    sys.stdout.buffer.write(content)


def _tell(screen: Screen, what: str, status: ServiceStatus, manager: service.Manager, data: Path) -> None:
    state = "runs" if status.running else "does not run"
    if not status.installed:
        screen.line("The service is not installed." if what != "uninstall" else "The service is removed.")
    else:
        screen.line(f"The service is installed ({status.unit_path}) and {state}.")
    if status.manager == "none":
        _tell_why(screen, manager)
    elif status.running and what in ("install", "start"):
        if manager.name == "systemd" and not (_LINGER / _user()).exists():
            screen.line("It ends when you log out, and its loops pause. To keep it running: loginctl enable-linger")
        _tell_who_serves(screen, manager, data)


def _tell_why(screen: Screen, manager: service.Manager) -> None:
    try:
        manager.pid()
    except RalphError as error:
        screen.line(error.message)


def _tell_who_serves(screen: Screen, manager: service.Manager, data: Path) -> None:
    """The service waits for another helper's loops; nothing is lost, but it should be known."""
    try:
        client = Client.connect(data, start=False)
        if client is None:
            return
        health = client.request("ralph/health")
        client.close()
    except (OSError, HelperError, ResponseError):
        return  # that helper is just making room
    if health["pid"] != manager.pid() and health["activeLoops"]:
        screen.line(
            f"A helper that was started before (process {health['pid']}) has {count(health['activeLoops'], 'loop')}. "
            "The service takes over when they have ended, or are paused."
        )


def _user() -> str:
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name
