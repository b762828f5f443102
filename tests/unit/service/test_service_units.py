"""The files that are given to service managers: checked with the managers' own tools and parsers."""

from __future__ import annotations

import os
import plistlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.errors import RalphError
from ralph_loop.shared import launchd, scheduledtask, systemd
from ralph_loop.shared.service import serve_command

HOSTILE = '/a b/%h/$HOME/${X}/it\'s "q"\\n/ü/;/\ttab\nline'


# ------------------------------------------------------------------------------------------------------------ systemd
def parse_exec(line: bytes) -> list[bytes]:
    """What systemd makes of ExecStart= (systemd.syntax(7) "Quoting", systemd.service(5) "Command lines")."""
    words: list[bytes] = []
    rest = line
    while rest := rest.lstrip(b" "):
        word = bytearray()
        quote = b""
        while rest:
            c, rest = rest[:1], rest[1:]
            if c == b"\\":
                c, rest = rest[:1], rest[1:]
                if c == b"x":
                    word.append(int(rest[:2], 16))
                    rest = rest[2:]
                else:
                    word += {b"n": b"\n", b"t": b"\t", b"r": b"\r"}.get(c, c)
            elif quote:
                if c == quote:
                    quote = b""
                else:
                    word += c
            elif c in b"\"'":
                quote = c
            elif c == b" ":
                break
            else:
                word += c
        assert not quote
        words.append(bytes(word))
    assert not any(re.search(rb"(?<!%)(%%)*%(?!%)", word) for word in words), "a specifier"
    assert not any(re.search(rb"(?<!\$)(\$\$)*\$(?!\$)", word) for word in words), "a variable"
    return [word.replace(b"%%", b"%").replace(b"$$", b"$") for word in words]


def effective(words: list[bytes]) -> list[bytes]:
    """The program and its arguments, seen through the shell that starts it when its path is too strange."""
    return words[3:] if words[:3] == [b"/bin/sh", b"-c", b'exec "$0" "$@"'] else words


@given(st.lists(st.binary(min_size=1).filter(lambda b: b"\0" not in b), min_size=1, max_size=4))
def test_systemd_reads_every_argument_as_it_was_given(arguments: list[bytes]) -> None:
    command = [os.fsdecode(b"/" + arguments[0]), *(os.fsdecode(a) for a in arguments[1:])]
    line = systemd.command_line(command)
    assert b"\n" not in line and line.isascii()
    words = parse_exec(line)
    assert effective(words) == [os.fsencode(word) for word in command]
    # systemd takes no quotes, backslashes or control characters in the path of the program itself
    assert re.fullmatch(rb"[\w@+=:,./ -]+", words[0])


def test_the_shell_that_starts_a_strange_program_passes_everything_on(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s "q" $HOME %h\\n=x'
    folder.mkdir()
    program = folder / "echo"
    program.write_text('#!/bin/sh\nprintf "%s|" "$0" "$@"\n')
    program.chmod(0o755)
    words = parse_exec(systemd.command_line([str(program), "a b", "$X", ""]))
    assert words[0] == b"/bin/sh"
    done = subprocess.run(words, capture_output=True, check=True)
    assert done.stdout.decode() == f"{program}|a b|$X||"


def verify_command() -> list[str]:
    """`systemd-analyze verify` builds a manager, which as root rearranges the machine's control groups: hide them."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    verify = ["systemd-analyze", "verify", "--user", "--man=no"]
    rights = [] if os.getuid() == 0 else ["--map-root-user"]
    hidden = ["unshare", *rights, "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh"]
    if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode == 0:
        return [*hidden, *verify]
    if os.getuid() == 0:
        pytest.skip("control groups cannot be hidden from systemd-analyze")
    return verify


@pytest.mark.parametrize("data", ["/data", HOSTILE])
def test_systemd_itself_finds_nothing_wrong_with_the_unit(tmp_path: Path, data: str) -> None:
    verify = verify_command()
    unit = tmp_path / systemd.UNIT
    unit.write_bytes(systemd.unit(serve_command(Path(data))))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run([*verify, str(unit)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

    broken = unit.read_text().replace("KillMode=mixed", "KillMode=sometimes")
    assert broken != unit.read_text()
    unit.write_text(broken)
    done = subprocess.run([*verify, str(unit)], env=env, capture_output=True, text=True, check=False)
    assert "sometimes" in done.stderr  # it would have said so


def test_systemd_takes_a_program_in_a_folder_with_spaces(tmp_path: Path) -> None:
    verify = verify_command()
    program = tmp_path / "my tools" / "python"
    program.parent.mkdir()
    program.symlink_to(sys.executable)
    unit = tmp_path / systemd.UNIT
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    unit.write_bytes(systemd.unit([str(program), "-V"]))
    done = subprocess.run([*verify, str(unit)], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_bytes(systemd.unit([str(program) + "-gone", "-V"]))
    done = subprocess.run([*verify, str(unit)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "my tools/python-gone" in done.stderr


def test_the_unit_restarts_after_a_failure_and_leaves_agents_to_the_helper() -> None:
    lines = systemd.unit(serve_command(Path("/data"))).decode().splitlines()
    for line in ("Restart=on-failure", "RestartSec=5", "KillMode=mixed", "WantedBy=default.target"):
        assert line in lines
    (start,) = (line for line in lines if line.startswith("ExecStart="))
    assert start.endswith("-m ralph_loop serve --idle 0 --take-over --data-dir /data")


# ------------------------------------------------------------------------------------------------------------ launchd
def test_the_property_list_holds_the_command_as_it_is() -> None:
    command = serve_command(Path('/a b/%h <&> "it\'s" ü'))
    found = plistlib.loads(launchd.plist(command))
    assert found["Label"] == "com.ralph-loop.helper"
    assert found["ProgramArguments"] == command
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["ThrottleInterval"] == 5


def test_what_no_property_list_can_hold_is_said() -> None:
    with pytest.raises(RalphError, match="property list") as caught:
        launchd.plist(["/a\x01b"])
    assert caught.value.kind == "notAvailable"


# ------------------------------------------------------------------------------------------------------------ Windows
def test_the_scheduled_task_runs_the_helper_in_its_distribution_at_logon() -> None:
    data = '/a b/<&>"it\'s" ü\\'
    text = scheduledtask.task(serve_command(Path(data)), "Debian <&>")
    root = xml.fromstring(text)
    names = {"t": scheduledtask.NAMESPACE}
    assert root.tag == f"{{{scheduledtask.NAMESPACE}}}Task"
    assert root.find("t:Triggers/t:LogonTrigger/t:Enabled", names) is not None
    assert root.findtext("t:Actions/t:Exec/t:Command", namespaces=names) == "wsl.exe"
    arguments = root.findtext("t:Actions/t:Exec/t:Arguments", namespaces=names)
    assert arguments is not None
    assert windows_words(arguments) == ["--distribution", "Debian <&>", "--exec", *serve_command(Path(data))]
    # the schema's least interval is one minute, its largest count 255
    assert root.findtext("t:Settings/t:RestartOnFailure/t:Interval", namespaces=names) == "PT1M"
    assert root.findtext("t:Settings/t:RestartOnFailure/t:Count", namespaces=names) == "255"
    assert root.findtext("t:Settings/t:ExecutionTimeLimit", namespaces=names) == "PT0S"
    principal = root.find("t:Principals/t:Principal", names)
    actions = root.find("t:Actions", names)
    assert principal is not None and actions is not None
    assert principal.get("id") == actions.get("Context")


def windows_words(line: str) -> list[str]:
    """How a Windows program reads its command line (CommandLineToArgvW)."""
    words: list[str] = []
    word, quoted, begun, i = "", False, False, 0
    while i < len(line):
        slashes = len(line) - i - len(line[i:].lstrip("\\"))
        i += slashes
        if i < len(line) and line[i] == '"':
            word += "\\" * (slashes // 2)
            if slashes % 2:
                word += '"'
            else:
                quoted, begun = not quoted, True
            i += 1
            continue
        word += "\\" * slashes
        if i < len(line):
            if line[i] == " " and not quoted:
                if word or begun:
                    words.append(word)
                word, begun = "", False
            else:
                word += line[i]
            i += 1
    return [*words, word] if word or begun else words


@pytest.mark.parametrize("path", ["/a\nb", "/a\x01b", "/a\udcffb"])
def test_what_xml_cannot_hold_is_said(path: str) -> None:
    with pytest.raises(RalphError) as caught:
        scheduledtask.task([path], None)
    assert caught.value.kind == "notAvailable"
