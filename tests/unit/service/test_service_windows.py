"""A native Windows start says in words what to do, before anything of POSIX is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT_POSIX = """
import sys
sys.platform = "win32"
for name in ("fcntl", "pwd", "resource", "termios"):
    sys.modules[name] = None
from ralph_loop.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("arguments", [["lsp"], ["serve"], ["service", "install"], ["run", "x"], []])
def test_it_names_wsl(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "WSL" in done.stderr and "Traceback" not in done.stderr
