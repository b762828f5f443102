"""What is done with a service manager: in order, all of it or nothing."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ralph_loop.errors import RalphError
from ralph_loop.shared import service
from ralph_loop.shared.launchd import Launchd
from ralph_loop.shared.systemd import Systemd, unit

FAKE = Path(__file__).with_name("fake_systemctl.py")
COMMAND = [sys.executable, "-c", "import time; time.sleep(600)"]


def tool(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(script)
    path.chmod(0o755)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "state").mkdir()
    (tmp_path / "home").mkdir()
    tool(tmp_path / "bin", "systemctl", f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    return {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "HOME": str(tmp_path / "home"),
        "FAKE_SYSTEMD": str(tmp_path / "state"),
    }


@pytest.fixture
def systemd(env: dict[str, str]) -> Iterator[Systemd]:
    manager = Systemd(COMMAND, env)
    yield manager
    if manager.unit_path.exists():
        service.uninstall(manager)


def calls(env: dict[str, str]) -> list[list[str]]:
    return [json.loads(line) for line in (Path(env["FAKE_SYSTEMD"]) / "calls").read_text().splitlines()]


def home(env: dict[str, str]) -> list[str]:
    """Everything below the home, but the configuration folder that most homes have."""
    root = Path(env["HOME"])
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path != root / ".config")


def test_install_writes_enables_and_starts(systemd: Systemd, env: dict[str, str]) -> None:
    status = service.install(systemd)
    assert (status.installed, status.running, status.manager) == (True, True, "systemd")
    assert status.unit_path == str(Path(env["HOME"]) / ".config/systemd/user/ralph-loop.service")
    assert systemd.unit_path.read_bytes() == unit(COMMAND)
    verbs = [call[0] for call in calls(env)]
    assert verbs.index("daemon-reload") < verbs.index("enable") < verbs.index("start")


def test_install_twice_is_no_error_and_leaves_the_running_one(systemd: Systemd) -> None:
    service.install(systemd)
    first = systemd.pid()
    assert service.install(systemd).running
    assert systemd.pid() == first


def test_uninstall_leaves_nothing(systemd: Systemd, env: dict[str, str]) -> None:
    service.install(systemd)
    status = service.uninstall(systemd)
    assert (status.installed, status.running, status.unit_path) == (False, False, None)
    assert home(env) == []
    assert systemd.pid() == 0
    assert not service.uninstall(systemd).installed  # again is no error


def test_uninstall_leaves_the_units_of_others(systemd: Systemd, env: dict[str, str]) -> None:
    other = systemd.unit_path.with_name("other.service")
    other.parent.mkdir(parents=True)
    other.write_text("[Service]\n")
    service.install(systemd)
    service.uninstall(systemd)
    assert home(env) == [".config/systemd", ".config/systemd/user", ".config/systemd/user/other.service"]


def test_stop_and_start(systemd: Systemd) -> None:
    service.install(systemd)
    status = service.stop(systemd)
    assert (status.installed, status.running) == (True, False)
    assert not service.stop(systemd).running
    assert service.start(systemd).running


def test_start_without_an_install_is_refused(systemd: Systemd) -> None:
    with pytest.raises(RalphError, match="ralph-loop service install") as caught:
        service.start(systemd)
    assert caught.value.kind == "invalidState"


def test_stop_without_an_install_is_no_error(systemd: Systemd) -> None:
    assert not service.stop(systemd).running


@pytest.mark.parametrize("verb", ["daemon-reload", "enable", "start"])
def test_a_failed_install_leaves_nothing(systemd: Systemd, env: dict[str, str], verb: str) -> None:
    (Path(env["FAKE_SYSTEMD"]) / "broken").write_text(verb)
    with pytest.raises(RalphError, match="somebody broke it") as caught:
        service.install(systemd)
    assert caught.value.kind == "notAvailable"
    assert home(env) == []
    assert systemd.pid() == 0


def test_a_failed_second_install_leaves_the_first(systemd: Systemd, env: dict[str, str]) -> None:
    service.install(systemd)
    (Path(env["FAKE_SYSTEMD"]) / "broken").write_text("enable")
    with pytest.raises(RalphError):
        service.install(Systemd([*COMMAND, "more"], env))
    assert systemd.unit_path.read_bytes() == unit(COMMAND)
    assert systemd.pid()


def test_the_configuration_folder_of_the_environment_is_used(env: dict[str, str], tmp_path: Path) -> None:
    assert Systemd(COMMAND, {**env, "XDG_CONFIG_HOME": "/conf"}).unit_path.is_relative_to("/conf")
    relative = Systemd(COMMAND, {**env, "XDG_CONFIG_HOME": "conf"}).unit_path
    assert relative.is_relative_to(Path(env["HOME"]) / ".config")  # to be ignored, says the specification


@pytest.mark.parametrize("action", [service.install, service.uninstall, service.start, service.stop])
@pytest.mark.parametrize("session", ["without systemctl", "without a session"])
def test_without_a_manager_it_says_so(
    env: dict[str, str], tmp_path: Path, action: service.Action, session: str
) -> None:
    if session == "without systemctl":
        env["PATH"] = str(tmp_path / "home")
    else:
        tool(tmp_path / "bin", "systemctl", "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n")
    manager = Systemd(COMMAND, env)
    with pytest.raises(RalphError, match=r"systemctl was not found|No medium found") as caught:
        action(manager)
    assert caught.value.code == 1011
    assert home(env) == []
    status = service.status(manager)
    assert (status.installed, status.running, status.manager) == (False, False, "none")


def test_what_was_installed_can_be_removed_without_a_manager(systemd: Systemd, env: dict[str, str]) -> None:
    service.install(systemd)
    service.stop(systemd)
    gone = Systemd(COMMAND, {**env, "PATH": env["HOME"]})
    assert service.status(gone).installed
    assert not service.uninstall(gone).installed
    assert home(env) == []


# ------------------------------------------------------------------------------------------------------------ launchd
LAUNCHCTL = """#!/bin/sh
echo "$@" >> "$STATE/calls"
case "$1 $2" in
    "print gui/{uid}") ;;
    "print gui/"*) test -e "$STATE/loaded" || exit 113; test -e "$STATE/pid" && echo "	pid = $(cat "$STATE/pid")" ;;
    "bootstrap "*) touch "$STATE/loaded" ;;
    "kickstart "*) echo 4242 > "$STATE/pid" ;;
    "kill "*) rm -f "$STATE/pid" ;;
    "bootout "*) rm -f "$STATE/loaded" "$STATE/pid" ;;
esac
exit 0
"""


@pytest.fixture
def launchd(tmp_path: Path) -> Launchd:
    (tmp_path / "state").mkdir()
    tool(tmp_path / "bin", "launchctl", LAUNCHCTL.format(uid=os.getuid()))
    env = {
        "PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "STATE": str(tmp_path / "state"),
    }
    return Launchd(COMMAND, env)


def test_a_launch_agent_comes_runs_rests_and_goes(launchd: Launchd) -> None:
    status = service.install(launchd)
    assert (status.installed, status.running, status.manager) == (True, True, "launchd")
    assert status.unit_path is not None and status.unit_path.endswith(
        "Library/LaunchAgents/com.ralph-loop.helper.plist"
    )
    assert service.install(launchd).running
    assert not service.stop(launchd).running
    assert service.start(launchd).running
    status = service.uninstall(launchd)
    assert (status.installed, status.running) == (False, False)
    assert not launchd.unit_path.exists()


def test_a_changed_launch_agent_is_loaded_again(launchd: Launchd) -> None:
    service.install(launchd)
    calls = Path(launchd.env["STATE"]) / "calls"
    calls.unlink()
    service.install(launchd)
    assert "bootstrap" not in calls.read_text()
    service.install(Launchd([*COMMAND, "more"], launchd.env))
    assert calls.read_text().index("bootout") < calls.read_text().index("bootstrap")


def test_without_a_login_launchd_has_no_place(launchd: Launchd, tmp_path: Path) -> None:
    tool(tmp_path / "bin", "launchctl", "#!/bin/sh\necho 'Bad request.' >&2\nexit 125\n")
    with pytest.raises(RalphError, match="Log in at the screen"):
        service.install(launchd)
    assert not launchd.unit_path.exists()
