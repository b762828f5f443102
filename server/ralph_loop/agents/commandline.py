"""What the command lines of several agents have in common."""

from __future__ import annotations

from ralph_loop.agents.base import Invocation

LONGEST_ARGUMENT = 100 * 1024  # bytes; Linux takes 128 KiB an argument, see execve(2)


def option(name: str, value: str | None) -> list[str]:
    """``[name, value]``, or nothing without a value."""
    return [name, value] if value else []


def prompt_bytes(call: Invocation) -> bytes:
    """The prompt for stdin."""
    return call.prompt.encode(errors="replace")


def prompt_argument(call: Invocation) -> str | None:
    """The prompt as an argument; None when it cannot be one: too long, with a NUL, or like an option."""
    prompt = prompt_bytes(call)
    return None if b"\0" in prompt or len(prompt) > LONGEST_ARGUMENT or prompt.startswith(b"-") else prompt.decode()
