"""The service as a LaunchAgent of macOS (launchd.plist(5), launchctl(1))."""

from __future__ import annotations

import os
import plistlib
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from ralph_loop.errors import RalphError
from ralph_loop.shared import servicetool as tool

LABEL = "com.ralph-loop.helper"
_PID = re.compile(r"^\s*pid = (\d+)$", re.MULTILINE)
_POLL_S = 0.1


def plist(command: Sequence[str]) -> bytes:
    """The property list. Raises RalphError notAvailable for a path that XML cannot hold.

    AbandonProcessGroup: what outlives a helper that died is ended by its guards, not by launchd. ProcessType: agents
    are worked with, not throttled like a background job.
    """
    content = {
        "Label": LABEL,
        "ProgramArguments": list(command),
        "WorkingDirectory": "/",
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": 5,
        "ExitTimeOut": tool.END_LIMIT_S,
        "AbandonProcessGroup": True,
        "ProcessType": "Interactive",
    }
    try:
        return plistlib.dumps(content)
    except ValueError as error:
        raise tool.unavailable(f"The command cannot be written into a property list: {error}.") from None


@attrs.frozen
class Launchd:
    """shared/service.py Manager, over `launchctl`."""

    command: Sequence[str]
    env: Mapping[str, str]
    name: str = "launchd"

    @property
    def unit_path(self) -> Path:
        return tool.home(self.env) / "Library" / "LaunchAgents" / f"{LABEL}.plist"

    def pid(self) -> int:
        domain = self._run("print", self._domain)
        if domain.returncode != 0:
            raise tool.unavailable(
                f"launchd has no session for you here: {tool.said(domain)}", "Log in at the screen, not over ssh."
            )
        found = _PID.search(self._run("print", self._target).stdout)
        return int(found[1]) if found else 0

    def install(self) -> None:
        running = self.pid()
        before, after = tool.read(self.unit_path), plist(self.command)
        tool.write(self.unit_path, after)
        try:
            if before != after and running != os.getpid():
                self._unload()  # the job is read once, when it is loaded
            self.start()
        except RalphError:
            if before is None:
                self._unload()
                tool.remove(self.unit_path)
            else:
                tool.write(self.unit_path, before)
            raise

    def uninstall(self) -> None:
        if self.pid() != os.getpid():
            self._unload()
        tool.remove(self.unit_path)

    def start(self) -> None:
        if not self._loaded:
            self._do("enable", self._target)
            self._do("bootstrap", self._domain, str(self.unit_path))
        self._do("kickstart", self._target)

    def stop(self) -> None:
        """It ends with exit code 0, and so is not started again before the next login."""
        if self.pid():
            self._do("kill", "SIGTERM", self._target)
            self._wait(lambda: self.pid() == 0)

    @property
    def _domain(self) -> str:
        return f"gui/{os.getuid()}"

    @property
    def _target(self) -> str:
        return f"{self._domain}/{LABEL}"

    @property
    def _loaded(self) -> bool:
        return self._run("print", self._target).returncode == 0

    def _unload(self) -> None:
        if self._loaded:
            self._run("bootout", self._target)
            self._wait(lambda: not self._loaded)  # it returns before the job is gone

    def _wait(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + tool.END_LIMIT_S
        while not holds():
            if time.monotonic() > deadline:
                raise tool.unavailable(f"The helper did not end within {tool.END_LIMIT_S} s.")
            time.sleep(_POLL_S)

    def _do(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise tool.unavailable(f"launchctl {' '.join(arguments)} failed: {tool.said(done)}")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return tool.run(["launchctl", *arguments], self.env)
