"""The adapter contract: how the engine calls an agent and what it hears from it.

An *adapter* describes one kind of agent (Claude Code, Codex, ...). It makes one *agent session* per loop; the session
runs iterations, one at a time, each with a fresh context. Two shapes of agent exist:

- a command that runs once per iteration and prints: subclass :class:`CommandAdapter` (argv in, bytes out,
  a :class:`Parser` turns bytes into events); `agents/process.py` runs it;
- a warm server spoken to over a protocol (OpenCode's HTTP server, ACP): implement :class:`AgentSession` itself.

Nothing here does I/O or knows the engine; the engine gives a session everything it may use in :class:`Workbench`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import attrs

if TYPE_CHECKING:
    from ralph_loop.agents.guard_client import Guard

# --------------------------------------------------------------------------------------------------------- events


@attrs.frozen
class Text:
    """Text of the agent's own message (never thoughts, tool output, echoed prompts, summaries or subagents)."""

    text: str
    type: Literal["text"] = "text"


@attrs.frozen
class ToolStart:
    """A tool begins. `title` is one readable line such as ``Bash: npm test``; `arguments` as the agent gave them."""

    id: str
    name: str
    title: str
    arguments: Mapping[str, object] = attrs.field(factory=dict[str, object])
    type: Literal["toolStart"] = "toolStart"


@attrs.frozen
class ToolEnd:
    """A tool ended; `error` is its message when it failed, in plain words."""

    id: str
    name: str
    error: str | None = None
    type: Literal["toolEnd"] = "toolEnd"


@attrs.frozen
class Usage:
    """Tokens and cost of the iteration *so far* (cumulative within it, so the last one counts). USD."""

    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None
    type: Literal["usage"] = "usage"


@attrs.frozen
class RateLimit:
    """The model refused more work for now. `reset_at` is in UTC when the agent told it."""

    message: str
    reset_at: datetime | None = None
    type: Literal["rateLimit"] = "rateLimit"


@attrs.frozen
class Retry:
    """The agent tries again by itself; nothing to do but to show it."""

    message: str
    type: Literal["retry"] = "retry"


@attrs.frozen
class PermissionNote:
    """The agent's own report that a permission was asked or refused where nobody could answer."""

    tool: str
    message: str
    type: Literal["permission"] = "permission"


@attrs.frozen
class QuestionNote:
    """The agent asked the user something and went on or ended without an answer (Claude's ``AskUserQuestion``)."""

    text: str
    options: Sequence[str] = ()
    type: Literal["question"] = "question"


@attrs.frozen
class Note:
    """A line worth showing that is neither message nor tool: a plan, or what the agent's program itself printed."""

    text: str
    type: Literal["note"] = "note"


@attrs.frozen
class Final:
    """The agent's own end-of-work event. `message` is its final message when the event carries it.

    `completed`: only of an agent that loops by itself (`ralph`): its own loop says that all work is done, which stands
    for our completion promise.
    """

    message: str | None = None
    ok: bool = True
    completed: bool = False
    type: Literal["final"] = "final"


@attrs.frozen
class AgentError:
    """Something went wrong, in words for a person.

    `kind`: one of the :class:`ErrorKind` values. `fatal`: trying again cannot help (no key, unknown model).
    """

    kind: ErrorKind
    message: str
    hint: str | None = None
    fatal: bool = False
    type: Literal["error"] = "error"


class ErrorKind(enum.StrEnum):
    """What kind of thing went wrong with an agent; the wire's `error.kind`."""

    AUTH = "auth"  # 401, no key, not logged in
    PAYMENT = "payment"  # 402, no credit
    MODEL_NOT_FOUND = "modelNotFound"
    CONTEXT_OVERFLOW = "contextOverflow"
    OVERLOADED = "overloaded"  # 529 and the like
    SERVER = "server"  # 5xx of the model
    RATE_LIMIT = "rateLimit"  # 429 that outlived the agent's own retries
    PERMISSION = "permissionDenied"  # a tool was denied
    TOOL = "tool"
    EXIT = "exit"  # non-zero exit code, killed by a signal
    NO_FINAL = "noFinal"  # exit 0, but the agent never said that it was finished
    USAGE = "usage"  # the agent did not understand how we called it
    OTHER = "other"


Event = (
    Text | ToolStart | ToolEnd | Usage | RateLimit | Retry | PermissionNote | QuestionNote | Note | Final | AgentError
)

Stream = Literal["stdout", "stderr", "display", "system"]

# -------------------------------------------------------------------------------------------------------- invocation


@attrs.frozen
class Invocation:
    """What one iteration asks of an agent. Everything comes from the start request: no working directory, no
    environment of our own process is ever read for a loop."""

    prompt: str
    prompt_file: Path  # the same prompt in a private file that lives as long as the iteration
    workspace: Path  # the agent's working directory
    env: Mapping[str, str]  # the client's environment, cleaned; adapters add to it, see Command.env
    iteration: int
    model: str | None = None
    allow_all: bool = False
    agent_args: Sequence[str] = ()
    command: Sequence[str] = ()  # agent `custom` only: the user's argv template
    binary: str | None = None  # configured path of the executable, if any


@attrs.frozen
class Command:
    """A process to start. `argv[0]` is the executable, resolved by the adapter (:func:`find_binary`)."""

    argv: Sequence[str]
    stdin: bytes | None = None  # None: /dev/null
    env: Mapping[str, str] = attrs.field(factory=dict[str, str])  # added to the client's


class AgentNotFoundError(Exception):
    """The agent's executable is not there. Rendered as error 1004."""

    def __init__(self, agent: str, command: str, install_hint: str, why: str = "was not found") -> None:
        super().__init__(f"{command} {why}. {install_hint}")
        self.agent, self.command, self.install_hint = agent, command, install_hint


class CommandRefusedError(Exception):
    """An adapter cannot make a command of this call: the iteration ends with this error, nothing is started."""

    def __init__(self, error: AgentError) -> None:
        super().__init__(error.message)
        self.error = error


# ------------------------------------------------------------------------------------------------------------ parsing


class Parser(Protocol):
    """Turns what a command prints into events, incrementally. Never raises, whatever the bytes are; where the input
    is cut never changes the events (adjacent `Text` events may be joined or split)."""

    def feed(self, stream: Literal["stdout", "stderr"], data: bytes) -> list[Event]: ...

    def close(self, exit_code: int | None) -> list[Event]:
        """The process is gone. Judges how it ended: emits what is still buffered, then `RateLimit` or `AgentError`
        when it failed. `exit_code` is negative for a signal, None when we ended it ourselves (then: no judgement)."""
        ...


# ----------------------------------------------------------------------------------------------------------- adapters


class Adapter(Protocol):
    """One kind of agent."""

    id: str
    name: str
    install_hint: str
    binary_name: str  # looked up on the client's PATH; '' when nothing needs to be installed
    binary_env: str | None  # environment variable that names the executable, e.g. RALPH_CLAUDE_BINARY
    permissions: bool  # can ask a person before it uses a tool
    structured: bool  # prints a format for machines: a readable `display` stream is derived from its events
    models: Sequence[str]  # a few well-known ones to offer; any other is passed through
    elsewhere: str | None  # the setting that names one that runs already: then no executable is needed

    def session(self, bench: Workbench) -> AgentSession:
        """The agent of one loop. Cheap: starts nothing."""
        ...


@attrs.frozen
class Outcome:
    """How one run of an agent ended, as far as the agent is concerned."""

    exit_code: int | None
    finished: bool  # the agent's own final event was seen and said ok (plain-text agents: exit code 0)


class AgentSession(Protocol):
    """The agent of one loop: runs iterations one after the other, keeps what is warm between them."""

    async def run(self, call: Invocation, sink: Sink) -> Outcome:
        """One iteration with a fresh context. Returns when the agent's work has ended. When cancelled, leaves nothing
        running of this iteration except a warm server. Raises AgentNotFoundError; other failures are events."""
        ...

    async def close(self) -> None:
        """The loop is over: end what is warm. Never raises."""
        ...


class Sink(Protocol):
    """Where a session puts what it hears. Awaiting gives back-pressure: the agent's pipe is not read meanwhile."""

    async def output(self, stream: Stream, data: bytes) -> None:
        """Bytes as they were printed (or, for a server, one line of JSON per event as `stdout`). The order of calls
        is the order people see."""
        ...

    async def event(self, event: Event) -> None: ...

    async def ask_permission(
        self, tool: str, title: str, arguments: Mapping[str, object], diff: str | None, pattern: str
    ) -> PermissionReply:
        """Asks the user and waits, over reconnects, for as long as it takes. `pattern` is what an `always` reply is
        remembered for. Answered at once when `allowAll` is on or an `always` was given before."""
        ...

    async def ask_question(self, text: str, options: Sequence[str]) -> str: ...


@attrs.frozen
class PermissionReply:
    reply: Literal["once", "always", "reject"]
    message: str | None = None


@attrs.frozen
class Workbench:
    """What a session may use."""

    guard: Guard  # the only way to start a process
    settings: Callable[[str], object | None]  # configuration by key, e.g. ``opencode.url``
    log: Callable[[str], None]  # the helper's log; never prompts or output


def find_binary(adapter: Adapter, call: Invocation) -> str:
    """The executable of an agent: configured path, then its environment variable, then PATH - of the client's
    environment, never of ours. Raises AgentNotFoundError."""
    return resolve(adapter, call.binary, call.env)


def resolve(adapter: Adapter, configured: str | None, env: Mapping[str, str]) -> str:
    """See find_binary. A relative name with a slash is refused: what a repository contains must not choose an
    executable."""
    wanted = configured or (env.get(adapter.binary_env) if adapter.binary_env else None) or adapter.binary_name
    found = program(wanted, env)
    if found is None:
        raise AgentNotFoundError(adapter.id, wanted, adapter.install_hint, _why_not(wanted))
    return found


def program(wanted: str, env: Mapping[str, str]) -> str | None:
    """The path of an executable: an absolute path, or a name that is looked up on this PATH."""
    import shutil

    path = _expanded(wanted)
    if path.is_absolute():
        return shutil.which(str(path))
    if "/" in wanted:
        return None
    # empty and relative entries of PATH mean the working directory: left out
    entries = [entry for entry in env.get("PATH", "").split(":") if entry.startswith("/")]
    return shutil.which(wanted, path=":".join(entries)) if entries else None


def _expanded(wanted: str) -> Path:
    return Path(wanted).expanduser() if wanted.startswith("~") else Path(wanted)


def _why_not(wanted: str) -> str:
    path = _expanded(wanted)
    if not path.is_absolute():
        return "is a relative path, and must be an absolute one" if "/" in wanted else "was not found"
    if path.is_dir():
        return "is a folder and no program"
    return "cannot be executed (see `chmod +x`)" if path.exists() else "was not found"
