"""What `doctor` looks at beside the files: programs, the helper and its log, agents."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import attrs

from ralph_loop import __version__
from ralph_loop.paths import Paths
from ralph_loop.shared.client import Client, ResponseError
from ralph_loop.shared.forward import HelperError
from ralph_loop.terminal.options import Json
from ralph_loop.terminal.words import also, count

Status = Literal["ok", "warn", "fail"]

_NO_AGENTS = ("demo", "custom", "acp")  # they need nothing that could be missing, or name nothing that could be found
_GIT_NEEDED = (2, 25)
_VERSION_ROUNDS = 4  # of some seconds each
_LOG_TAIL = 512 * 1024  # bytes


@attrs.frozen
class Check:
    """One finding. `hint` says what to do."""

    name: str
    status: Status
    message: str
    hint: str = ""

    def to_json(self) -> Json:
        found = {"name": self.name, "status": self.status, "message": self.message}
        return {**found, "hint": self.hint} if self.hint else found


def python() -> Check:
    return Check("python", "ok", f"{platform.python_version()} ({sys.executable})")


def git(env: Mapping[str, str]) -> Check:
    path = shutil.which("git", path=env.get("PATH"))
    if path is None:
        hint = "Install git: loops work in plain folders only, and nothing can be cloned, committed or pushed."
        return Check("git", "warn", "not found on the PATH", hint)
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("git", "fail", f"{path} does not run: {error}", "Install git again.")
    found = re.search(r"(\d+)\.(\d+)\S*", done.stdout)
    if done.returncode != 0 or found is None:
        said = (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"
        return Check("git", "fail", f"{path} does not tell its version: {said}", "Install git again.")
    if (int(found[1]), int(found[2])) < _GIT_NEEDED:
        return Check("git", "warn", f"{found[0]} ({path}) is old", f"Install git {_GIT_NEEDED[0]}.{_GIT_NEEDED[1]}.")
    return Check("git", "ok", f"{found[0]} ({path})")


def log(path: Path) -> Check:
    """Errors the helper logged during the last day."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_TAIL))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return Check("log", "ok", "none yet: no helper was started")
    except OSError as error:
        return Check("log", "fail", f"{path} cannot be read: {error.strerror}", f"Make it readable: chmod 600 {path}")
    since = f"{datetime.now() - timedelta(days=1):%Y-%m-%d %H:%M:%S}"
    errors = [line for line in lines if re.match(r"\d{4}-\S+ \S+ (ERROR|CRITICAL) ", line) and line >= since]
    if errors:
        said = f"{count(len(errors), 'error')} within a day; the last: {errors[-1][:300]}"
        return Check("log", "warn", said, "See ralph-loop logs --helper")
    return Check("log", "ok", f"{path}, no errors within a day")


@contextmanager
def _connection(paths: Paths) -> Generator[Client]:
    client = Client.connect(paths.data)
    assert client is not None
    try:
        yield client
    finally:
        client.close()


def helper_and_agents(paths: Paths) -> Iterator[Check]:
    try:
        with _connection(paths) as client:
            health = client.request("ralph/health")
            backends = _backends(client)
    except (HelperError, ResponseError, OSError) as error:
        hint = f"See ralph-loop logs --helper, and {paths.log}"
        yield Check("helper", "fail", f"it cannot be used: {error}", hint)
        return
    said = f"{health['version']}, process {health['pid']}, {count(health['activeLoops'], 'loop')}"
    if health["version"] != __version__:
        hint = "It is replaced when its loops have ended." if health["activeLoops"] else "Run this command again."
        yield Check("helper", "warn", f"{said}; this command is {__version__}", hint)
    else:
        yield Check("helper", "ok", said)
    yield from _agents(backends)


def _backends(client: Client) -> list[Json]:
    """Some agents start a whole runtime to tell their version, and the list does not wait for them; we do, a while."""
    backends: list[Json] = []
    for _ in range(_VERSION_ROUNDS):
        backends = client.request("ralph/config/backends")["backends"]
        if all("version" in backend for backend in backends if "path" in backend):
            break
    return backends


def _agents(backends: list[Json]) -> Iterator[Check]:
    real = [backend for backend in backends if backend["id"] not in _NO_AGENTS]
    for backend in real:
        if backend["installed"]:
            version = backend.get("version", "version unknown")
            where = f"{version} ({backend.get('path', '')}){also(backend.get('alsoAs'))}"
            yield Check(f"agent {backend['id']}", "ok", where)
        else:
            yield Check(f"agent {backend['id']}", "ok", "not installed", backend["installHint"])
    if not any(backend["installed"] for backend in real):
        yield Check("agents", "warn", "none is installed; only the demo agent can run", "Install one of those above.")


def service(paths: Paths, env: Mapping[str, str]) -> Check:
    from ralph_loop.shared import service as services

    found = services.status(services.manager(paths.data, env))
    if found.manager == "none" and found.installed:
        return Check("service", "warn", f"{found.unit_path}: no service manager can be reached here")
    if found.installed and not found.running:
        return Check("service", "warn", "installed, but it does not run", "Start it: ralph-loop service start")
    return Check("service", "ok", "runs" if found.running else "not installed; the helper starts when it is needed")


def plan_mode() -> Check:
    from ralph_loop.git.confine import confinement_available

    problem = confinement_available()
    if problem is None:
        return Check("plan mode", "ok", "agents cannot write to your files before you approve")
    hint = "Plan mode works, but an agent that writes to absolute paths is not stopped. Allow user namespaces."
    return Check("plan mode", "warn", problem, hint)
