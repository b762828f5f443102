"""`demo`, what `make run` calls: a helper of its own, a loop over LSP, the history; and nothing left at the end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ralph_loop.shared.forward import HelperError, read_endpoint
from ralph_loop.terminal import options
from ralph_loop.terminal.options import Parser, Problem, usage
from ralph_loop.terminal.running import run_here
from ralph_loop.terminal.screen import standard
from ralph_loop.terminal.starting import add_config, split_command, start_params

PROMPT = "Write a module that turns numbers into Roman numerals and back, with tests that pass."
README = "# A repository for a demonstration of Ralph Loop\n\nThe demo agent works in `ralph-demo/`.\n"
_END_S = 30.0
_EMPTY = re.compile(r"--[a-z-]+=")


def demo(arguments: Sequence[str]) -> int:
    before, command = split_command(arguments)
    parser = Parser(
        "demo",
        "Run a loop with a helper of its own, in a fresh git repository unless --repo is given; "
        "nothing is left running. An empty option (--agent=) counts as not given.",
    )
    parser.add_argument("--prompt", type=options.text, help="what the agent should do")
    parser.set_defaults(file=None, session=None)
    options.place(parser)
    parser.add_argument(
        "--in",
        dest="folder",
        metavar="DIR",
        help="where the helper's data and the repository go (a new temporary folder)",
    )
    add_config(parser)
    options.common(parser)
    given = parser.parse_args([argument for argument in before if not _EMPTY.fullmatch(argument)])
    named = given.agent or given.rotation or command
    if given.prompt is None:
        if named and given.agent != "demo":
            raise usage("there is no prompt", "Say what the agent should do.")
        given.agent, given.prompt = "demo", PROMPT
    home = _home(given.folder)
    fresh = given.repo is None
    if fresh:
        given.repo = str(make_repository(home / "repository"))
    params = start_params(given, command)
    data = home / "data"
    with own_helper(data):
        code = run_here(data, params, given.color)
    screen = standard(given.color)
    if fresh:
        screen.line(f"  The repository: {given.repo}")
    screen.line(screen.paint(f"  The helper's data, for --data-dir: {data}", "dim"))
    return code


def _home(name: str | None) -> Path:
    """A new folder for this run alone."""
    if name is not None:
        Path(name).mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="ralph-loop-demo-", dir=name)).resolve()


def make_repository(path: Path) -> Path:
    """A git repository with one commit, in a new folder."""
    import pygit2

    path.mkdir()
    repository = pygit2.init_repository(str(path), initial_head="main")
    (path / "README.md").write_text(README)
    repository.index.add("README.md")
    repository.index.write()
    author = pygit2.Signature("Ralph Loop demo", "demo@ralph-loop.invalid")
    repository.create_commit("HEAD", author, author, "Begin", repository.index.write_tree(), [])
    return path


@contextmanager
def own_helper(data: Path) -> Generator[None, None, None]:
    """A helper that ends with us; should we be killed, it ends itself with the loop."""
    ready, write = os.pipe()
    command = [
        sys.executable,
        "-m",
        "ralph_loop",
        "serve",
        "--data-dir",
        str(data),
        "--idle",
        "2",
        "--ready-fd",
        str(write),
    ]
    process = subprocess.Popen(
        command,
        pass_fds=(write,),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl+C is for us: the loop is cancelled over LSP
    )
    try:
        os.close(write)
        with os.fdopen(ready) as file:
            answer = file.readline().strip()
        if answer.startswith("error "):
            raise HelperError.from_json(answer.removeprefix("error "))
        if answer != "ready":
            raise Problem(f"The helper did not start. See {data / 'helper.log'}.")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        other = read_endpoint(data)
        if other is not None and other["pid"] != process.pid:  # ours died, and the terminal started another
            os.kill(other["pid"], signal.SIGTERM)
