"""The options of `run` and `preview`, and the start request they come to."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ralph_loop.terminal import options
from ralph_loop.terminal.options import Json, number, text, usage

# option: key of LoopConfig (PROTOCOL.md), where they differ by more than the case
_KEYS = {
    "promise": "completionPromise",
    "tasks": "tasksMode",
    "plan": "planMode",
    "iteration_timeout": "iterationTimeoutMs",
    "inactivity_timeout": "inactivityTimeoutMs",
    "max_duration": "maxDurationMs",
    "delay": "iterationDelayMs",
    "arg": "agentArgs",
}
_PLAIN = (
    "agent", "model", "preset", "template", "min_iterations", "max_iterations", "max_failures", "abort_promise",
    "task_promise", "allow_all", "auto_commit", "pause_on_struggle", "rotation",
)  # fmt: skip


def add_prompt(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="?", type=text, help="what the agent should do; - reads it from standard input")
    parser.add_argument(
        "-f", "--file", metavar="FILE", type=text, help="a file with the prompt; its front matter may set options"
    )
    parser.add_argument("--session", metavar="ID", type=text, help="go on in this session instead of a new one")


def add_config(parser: argparse.ArgumentParser) -> None:
    agents = parser.add_argument_group("agent")
    agents.add_argument("--agent", metavar="NAME", type=text, help="claude, codex, opencode, …, demo or custom")
    agents.add_argument("--model", metavar="NAME", type=text)
    agents.add_argument(
        "--rotation", metavar="AGENT:MODEL,…", type=text, action="append", help="one entry for each iteration, in turn"
    )
    agents.add_argument(
        "--arg", metavar="X", action="append", type=_argument, help="an argument for the agent (--arg=--verbose)"
    )
    agents.add_argument(
        "--env", metavar="NAME=VALUE", action="append", type=_variable, default=[], help="a variable for the agent"
    )
    _switch(agents, "--allow-all", "let the agent use every tool without asking")

    prompt = parser.add_argument_group("prompt and promise")
    prompt.add_argument("--preset", metavar="NAME", type=text, help="default, tdd-red-green, feature, debug, …")
    prompt.add_argument("--template", metavar="FILE", type=text, help="a template for the prompt of each iteration")
    prompt.add_argument("--promise", metavar="TEXT", type=text, help="what the agent promises when done (COMPLETE)")
    prompt.add_argument("--abort-promise", metavar="TEXT", type=text, help="what it promises when it cannot go on")
    prompt.add_argument("--task-promise", metavar="TEXT", type=text, help="what it promises after one task")
    _switch(prompt, "--tasks", "work through .ralph/ralph-tasks.md")
    _switch(prompt, "--plan", "change nothing before it was approved")

    limits = parser.add_argument_group("limits (durations like 90s, 30m, 1h30m)")
    limits.add_argument("--min-iterations", metavar="N", type=number(1))
    limits.add_argument("--max-iterations", metavar="N", type=number(0), help="default 50; 0: no limit")
    limits.add_argument("--max-failures", metavar="N", type=number(1), help="failures in a row that end it (3)")
    limits.add_argument("--max-duration", metavar="TIME", type=options.time_limit, help="of the whole loop")
    limits.add_argument("--iteration-timeout", metavar="TIME", type=options.time_limit)
    limits.add_argument(
        "--inactivity-timeout", metavar="TIME", type=options.time_limit, help="without output of the agent"
    )
    limits.add_argument("--delay", metavar="TIME", type=options.milliseconds, help="between two iterations")
    _switch(limits, "--pause-on-struggle", "pause when the loop gets nowhere")
    _switch(limits, "--auto-commit", "commit what each iteration changed")


def _switch(group: argparse._ArgumentGroup, name: str, help_: str) -> None:  # pyright: ignore[reportPrivateUsage]
    """A switch that is on, off (`--no-…`, over the user's configuration), or not given."""
    key = name.removeprefix("--").replace("-", "_")
    group.add_argument(name, action="store_const", const=True, dest=key, help=help_)
    group.add_argument(
        f"--no-{name.removeprefix('--')}", action="store_const", const=False, dest=key, help=argparse.SUPPRESS
    )


def split_command(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """What stands before and after `--`: options, and the command of the agents `custom` and `acp`."""
    arguments = list(arguments)
    if "--" not in arguments:
        return arguments, []
    cut = arguments.index("--")
    command = arguments[cut + 1 :]
    if not command:
        raise usage("there is no command after --", 'Write it as in: ralph-loop run "…" -- my-agent --prompt {prompt}')
    try:
        return arguments[:cut], [_argument(part) for part in command]
    except argparse.ArgumentTypeError as error:
        raise usage(f"the command after -- {error}") from None


def start_params(given: argparse.Namespace, command: Sequence[str]) -> Json:
    """The params of `ralph/start`. Raises Problem."""
    params: Json = {"workspace": options.workspace(given), "config": _config(given, command)}
    if given.prompt is not None and given.file is not None:
        raise usage("give a prompt or --file, not both")
    if given.prompt == "-" or given.file == "-":
        params["prompt"] = options.read_input("The prompt")
    elif given.prompt is not None:
        params["prompt"] = given.prompt
    elif given.file is not None:
        params["promptFile"] = _absolute(given.file)
    else:
        raise usage("there is no prompt", 'Say what the agent should do: ralph-loop run "…", or -f FILE.')
    if given.session is not None:
        params["sessionId"] = given.session
    if given.env:
        params["env"] = dict(given.env)
    return params


def _config(given: argparse.Namespace, command: Sequence[str]) -> Json:
    keys = {**_KEYS, **{name: _camel(name) for name in _PLAIN}}
    config: Json = {key: getattr(given, name) for name, key in keys.items() if getattr(given, name) is not None}
    least, most = config.get("minIterations", 1), config.get("maxIterations", 0)
    if 0 < most < least:
        raise usage(f"--min-iterations ({least}) cannot be greater than --max-iterations ({most})")
    if "template" in config:
        config["template"] = _absolute(config["template"])
    if "rotation" in config:
        config["rotation"] = [entry.strip() for entry in ",".join(config["rotation"]).split(",")]
    if command:
        if config.setdefault("agent", "custom") not in ("custom", "acp"):
            raise usage(f"a command after -- is for the agents custom and acp, not for {config['agent']}")
        config["command"] = list(command)
    return config


def _absolute(name: str) -> str:
    """Of a file the user named here: the helper takes relative names from the workspace."""
    path = Path(os.path.abspath(name))  # noqa: PTH100 (resolve() would follow symlinks)
    if not path.is_file():
        raise usage(f"there is no file {name}")
    return str(path)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _argument(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("is not valid UTF-8") from None
    return value


def _variable(value: str) -> tuple[str, str]:
    name, equals, content = _argument(value).partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{value!r} is not NAME=VALUE")
    return name, content
