"""The service under the systemd of this machine's user, where there is one and it is not in use."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ralph_loop.shared import forward, service
from ralph_loop.shared.systemd import Systemd


@pytest.fixture
def manager() -> Iterator[Systemd]:
    if shutil.which("systemctl") is None:
        pytest.skip("systemd is not installed")
    folder = Path(tempfile.mkdtemp(prefix="ralph service $X %h ")).resolve()
    found = Systemd(service.serve_command(folder / "data"), os.environ)
    if service.status(found).manager == "none":
        folder.rmdir()
        pytest.skip("this machine has no systemd user session")
    if found.unit_path.exists():
        folder.rmdir()
        pytest.skip(f"{found.unit_path} is in use")
    try:
        yield found
    finally:
        service.uninstall(found)
        shutil.rmtree(folder)


def serving(manager: Systemd, other_than: int = 0) -> int:
    """The pid of the service once its helper listens."""
    data = Path(manager.command[-1])
    deadline = time.monotonic() + 30
    while True:
        endpoint = forward.read_endpoint(data)
        if endpoint is not None and endpoint["pid"] == manager.pid() != other_than:
            return endpoint["pid"]
        assert time.monotonic() < deadline, "the service does not serve"
        time.sleep(0.1)


def test_it_starts_comes_back_after_a_crash_and_leaves_nothing(manager: Systemd) -> None:
    status = service.install(manager)
    assert (status.installed, status.running) == (True, True)
    first = serving(manager)
    assert service.install(manager).running
    assert manager.pid() == first
    enabled = subprocess.run(
        ["systemctl", "--user", "is-enabled", "ralph-loop.service"], capture_output=True, check=False
    )
    assert enabled.stdout.strip() == b"enabled"
    os.kill(first, signal.SIGKILL)
    serving(manager, other_than=first)
    assert not service.stop(manager).running
    assert service.start(manager).running
    status = service.uninstall(manager)
    assert (status.installed, status.running) == (False, False)
    assert not manager.unit_path.exists()
