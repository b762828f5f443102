"""The service as a systemd user unit."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from ralph_loop.errors import RalphError
from ralph_loop.shared import servicetool as tool

UNIT = "ralph-loop.service"
_PLAIN = re.compile(rb"[A-Za-z0-9_@+=:,./-]+")
_ESCAPES = {ord("\n"): b"\\n", ord("\t"): b"\\t", ord("\r"): b"\\r", ord('"'): b'\\"', ord("\\"): b"\\\\"}


def unit(command: Sequence[str]) -> bytes:
    """The unit file.

    KillMode=mixed: SIGTERM goes to the helper alone, which then pauses its loops; an agent that got it too would look
    like one that failed. What is left when the helper has ended is killed. OOMPolicy=continue: the kernel may take an
    agent that grew too large, and the other loops go on.
    """
    lines = [
        b"# Written by `ralph-loop service install`; `ralph-loop service uninstall` removes it.",
        b"[Unit]",
        b"Description=Ralph Loop: runs coding agents in loops",
        b"",
        b"[Service]",
        b"Type=exec",
        b"ExecStart=" + command_line(command),
        b"WorkingDirectory=/",
        b"Restart=on-failure",
        b"RestartSec=5",
        b"KillMode=mixed",
        b"TimeoutStopSec=%d" % tool.END_LIMIT_S,
        b"OOMPolicy=continue",
        b"",
        b"[Install]",
        b"WantedBy=default.target",
    ]
    return b"\n".join(lines) + b"\n"


def command_line(command: Sequence[str]) -> bytes:
    """A command as ExecStart= wants it (systemd.service(5) "Command lines", systemd.syntax(7) "Quoting").

    A program's own path may hold neither quotes nor backslashes, and `$` is not substituted in it; then a shell that
    gets it as an argument starts it.
    """
    words = [os.fsencode(word) for word in command]
    if not _PLAIN.fullmatch(words[0].replace(b" ", b"")):
        words = [b"/bin/sh", b"-c", b'exec "$0" "$@"', *words]
    return b" ".join(_quoted(word) for word in words)


def _quoted(word: bytes) -> bytes:
    if _PLAIN.fullmatch(word):
        return word
    out = bytearray()
    for byte in word:
        if byte in _ESCAPES:
            out += _ESCAPES[byte]
        elif byte in b"%$":
            out += bytes([byte, byte])
        elif byte < 0x20 or byte >= 0x7F:
            out += b"\\x%02x" % byte
        else:
            out.append(byte)
    return b'"' + bytes(out) + b'"'


@attrs.frozen
class Systemd:
    """shared/service.py Manager, over `systemctl --user`."""

    command: Sequence[str]
    env: Mapping[str, str]
    name: str = "systemd"

    @property
    def unit_path(self) -> Path:
        config = self.env.get("XDG_CONFIG_HOME", "")
        # a relative one is to be ignored (XDG Base Directory Specification)
        base = Path(config) if config.startswith("/") else tool.home(self.env) / ".config"
        return base / "systemd" / "user" / UNIT

    def pid(self) -> int:
        done = self._run("show", "--property=ActiveState,MainPID", UNIT)
        if done.returncode != 0:
            raise _unreachable(done)
        found = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        return int(found.get("MainPID") or 0) if found.get("ActiveState") in ("active", "reloading") else 0

    def install(self) -> None:
        self.pid()  # is there a manager at all?
        before = tool.read(self.unit_path)
        tool.write(self.unit_path, unit(self.command))
        try:
            self._do("daemon-reload")
            self._do("enable", UNIT)
            self._do("start", UNIT)
        except RalphError:
            if before is None:
                self._run("stop", UNIT)
                self._remove()
            else:
                tool.write(self.unit_path, before)
                self._run("daemon-reload")
            raise

    def uninstall(self) -> None:
        try:
            if self.pid() != os.getpid():
                self._run("stop", UNIT)
        except RalphError:
            if not self.unit_path.exists():
                raise
        self._remove()

    def start(self) -> None:
        self._do("start", UNIT)

    def stop(self) -> None:
        self._do("stop", UNIT)

    def _remove(self) -> None:
        self._run("disable", UNIT)
        folder = self.unit_path.parent
        wants = folder / "default.target.wants"
        tool.remove(wants / UNIT, [wants])  # `disable` did it, unless there is no manager any more
        tool.remove(self.unit_path, [folder, folder.parent])
        self._run("daemon-reload")
        self._run("reset-failed", UNIT)

    def _do(self, *arguments: str) -> None:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise tool.unavailable(f"systemctl --user {' '.join(arguments)} failed: {tool.said(done)}")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = dict(self.env)
        runtime = Path(f"/run/user/{os.getuid()}")
        if not env.get("XDG_RUNTIME_DIR") and runtime.is_dir():
            env["XDG_RUNTIME_DIR"] = str(runtime)  # after `su`, and for helpers that a bare session started
        return tool.run(["systemctl", "--user", "--no-pager", "--no-ask-password", *arguments], env)


def _unreachable(done: subprocess.CompletedProcess[str]) -> RalphError:
    advice = "A container, or a login without a session, has none."
    if "microsoft" in os.uname().release.lower():
        advice = "On WSL, set systemd=true under [boot] in /etc/wsl.conf and restart it."
    return tool.unavailable(f"There is no systemd user session: {tool.said(done)}", advice)
