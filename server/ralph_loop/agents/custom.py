"""The agent `custom`: any command of the user's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ralph_loop.agents.base import AgentError, Command, CommandRefusedError, ErrorKind, Invocation, resolve
from ralph_loop.agents.plain import PlainParser
from ralph_loop.agents.process import CommandAdapter

LONGEST_ARGUMENT = 100 * 1024  # bytes; Linux takes 128 KiB an argument, see execve(2)

_PLACEHOLDER = re.compile(r"\{(prompt|prompt_file|iteration|model)\}")


class CustomAdapter(CommandAdapter):
    """Placeholders in the arguments are replaced once, with no shell in between. Without `{prompt}` and `{prompt_file}`
    the prompt comes on stdin. Plain text comes back."""

    id = "custom"
    name = "Custom command"
    install_hint = "Give `command` an absolute path, or a name that is on the PATH."

    def command(self, call: Invocation) -> Command:
        if not call.command:
            raise _refusal(
                "The agent `custom` needs a command.", 'Give one, such as "command": ["my-agent", "{prompt}"].'
            )
        program = resolve(self, call.command[0], call.env)
        template = call.command[1:]
        named = {name for argument in template for name in _PLACEHOLDER.findall(argument)}
        values = {
            "prompt": call.prompt,
            "prompt_file": str(call.prompt_file),
            "iteration": str(call.iteration),
            "model": call.model or "",
        }
        arguments = [_PLACEHOLDER.sub(lambda found: values[found[1]], argument) for argument in template]
        if "prompt" in named:
            _check(call.prompt, arguments)
        by_stdin = named.isdisjoint({"prompt", "prompt_file"})
        return Command(
            [program, *arguments, *call.agent_args],
            stdin=call.prompt.encode(errors="replace") if by_stdin else None,
        )

    def parser(self) -> PlainParser:
        return PlainParser("The command")


def _check(prompt: str, arguments: Sequence[str]) -> None:
    hint = "Use {prompt_file} in the command instead, or neither of them to get the prompt on stdin."
    longest = max(len(argument.encode(errors="replace")) for argument in arguments)
    if longest > LONGEST_ARGUMENT:
        raise _refusal(f"The prompt is too long for an argument: {longest} of {LONGEST_ARGUMENT} bytes.", hint)
    if "\0" in prompt:
        raise _refusal("The prompt holds a NUL character, which no argument can.", hint)


def _refusal(message: str, hint: str) -> CommandRefusedError:
    return CommandRefusedError(AgentError(ErrorKind.USAGE, message, hint, fatal=True))
