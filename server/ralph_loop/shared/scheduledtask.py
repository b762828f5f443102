"""The service as a task of the Windows Task Scheduler that starts at logon. On Windows the helper runs in WSL, so the
task runs it there. It is written for a person to register (`ralph-loop service show --manager windows`)."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from xml.etree import ElementTree as xml

from ralph_loop.shared.servicetool import unavailable

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
# Task Scheduler takes no restart interval below one minute, and no more than 255 attempts (restartType of its schema)
_INTERVAL, _ATTEMPTS = "PT1M", 255


def task(command: Sequence[str], distribution: str | None) -> str:
    """The task's XML. `distribution`: the WSL distribution the helper is installed in; None: the default one.

    Raises RalphError notAvailable for a path that XML cannot hold.
    """
    inside = ["--distribution", distribution] if distribution else []
    arguments = subprocess.list2cmdline([*inside, "--exec", *command])
    if any(ord(c) < 0x20 or 0xD800 <= ord(c) <= 0xDFFF or ord(c) in (0xFFFE, 0xFFFF) for c in arguments):
        raise unavailable(f"The command cannot be written as XML: {arguments!r}.")
    root = xml.Element("Task", version="1.2", xmlns=NAMESPACE)
    _add(root, "RegistrationInfo", Description="Ralph Loop: runs coding agents in loops", URI="\\Ralph Loop")
    _add(xml.SubElement(root, "Triggers"), "LogonTrigger", Enabled="true")
    principal = _add(
        xml.SubElement(root, "Principals"), "Principal", LogonType="InteractiveToken", RunLevel="LeastPrivilege"
    )
    principal.set("id", "Author")
    settings = _add(
        root,
        "Settings",
        MultipleInstancesPolicy="IgnoreNew",
        DisallowStartIfOnBatteries="false",
        StopIfGoingOnBatteries="false",
        StartWhenAvailable="true",
        ExecutionTimeLimit="PT0S",
    )
    _add(settings, "RestartOnFailure", Interval=_INTERVAL, Count=str(_ATTEMPTS))
    actions = xml.SubElement(root, "Actions", Context="Author")
    _add(actions, "Exec", Command="wsl.exe", Arguments=arguments)
    xml.indent(root)
    return '<?xml version="1.0"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def _add(parent: xml.Element, name: str, **children: str) -> xml.Element:
    element = xml.SubElement(parent, name)
    for child, text in children.items():
        xml.SubElement(element, child).text = text
    return element
