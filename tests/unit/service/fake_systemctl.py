"""Stands in for `systemctl --user` where there is no systemd session: keeps its state in $FAKE_SYSTEMD and really runs
what the unit says. `broken` in that folder makes the verbs it names fail.

Usage: python fake_systemctl.py --user … VERB …
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

STATE = Path(os.environ["FAKE_SYSTEMD"])
UNIT = "ralph-loop.service"


def unit_folder() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ["HOME"]) / ".config") / "systemd" / "user"


def pid() -> int:
    try:
        number = int((STATE / "pid").read_text())
        stat = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return 0
    return 0 if stat[0] == "Z" else number


def start() -> None:
    if pid():
        return
    line = next(ln for ln in (unit_folder() / UNIT).read_text().splitlines() if ln.startswith("ExecStart="))
    command = shlex.split(line.removeprefix("ExecStart="))
    env = {name: os.environ[name] for name in ("PATH", "HOME", "FAKE_SYSTEMD", "PYTHONPATH") if name in os.environ}
    with (STATE / "service.stderr").open("ab") as errors:
        process = subprocess.Popen(
            command, cwd="/", env=env, start_new_session=True, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
        )
    (STATE / "pid").write_text(str(process.pid))


def stop() -> None:
    number = pid()
    if number:
        os.kill(number, signal.SIGTERM)
        while pid() == number:
            time.sleep(0.02)


def main(arguments: list[str]) -> int:
    assert arguments[0] == "--user", arguments
    verb, *rest = (argument for argument in arguments[1:] if not argument.startswith("--no-"))
    with (STATE / "calls").open("a") as calls:
        calls.write(json.dumps([verb, *rest]) + "\n")
    broken = STATE / "broken"
    if broken.exists() and verb in broken.read_text().split():
        print(f"Failed to {verb} unit: somebody broke it", file=sys.stderr)
        return 1
    link = unit_folder() / "default.target.wants" / UNIT
    match verb:
        case "show":
            number = pid()
            print(f"ActiveState={'active' if number else 'inactive'}\nMainPID={number}")
        case "enable":
            link.parent.mkdir(exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(unit_folder() / UNIT)
        case "disable":
            link.unlink(missing_ok=True)
        case "start":
            start()
        case "stop":
            stop()
        case "daemon-reload" | "reset-failed":
            pass
        case _:
            raise AssertionError(verb)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
