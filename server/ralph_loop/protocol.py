"""The wire contract as code: every message, method name and error code. Nothing else lives here.

Field names are snake_case here and camelCase on the wire (`wire.py` converts and validates). A field of type
``X | None`` with default None is optional (`key?` in the contract): left out when None. Every other field is always
there in results and notifications; in params, fields without a default are required.
Times are RFC 3339 strings in UTC with milliseconds, durations integer milliseconds in fields ending in ``_ms``.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import attrs
from attrs import Factory, field, validators

PROTOCOL_VERSION = 1
MAX_ANSWER_BYTES = 4 * 1024 * 1024
MAX_CHUNK_BYTES = 64 * 1024
MAX_FILES_IN_RECORD = 500
MAX_FILES_IN_NOTIFICATION = 50

Status = Literal["running", "paused", "waiting", "awaiting_approval", "completed", "cancelled", "error", "interrupted"]
StopReason = Literal[
    "completed", "maxIterations", "maxDuration", "aborted", "cancelled", "agentFailed", "error", "struggle"
]
Phase = Literal["starting", "agent", "delay", "ending"]
IterationStatus = Literal["running", "completed", "interrupted", "failed", "timedOut"]
Promise = Literal["none", "nearMiss", "task", "completion", "abort"]
StreamName = Literal["stdout", "stderr", "display", "system"]
View = Literal["readable", "raw"]
ContextState = Literal["pending", "delivered", "cleared"]
ChangeKind = Literal["create", "modify", "delete", "rename", "typeChange"]
Reply = Literal["once", "always", "reject"]
When = Literal["afterIteration", "now"]

ENDED: frozenset[Status] = frozenset({"completed", "cancelled", "error"})
ACTIVE: frozenset[Status] = frozenset({"running", "paused", "waiting", "awaiting_approval"})
IDLE: tuple[Status, ...] = ("completed", "cancelled", "error", "interrupted")


# ------------------------------------------------------------------------------------------------------- validators
def _non_blank(_: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and not value.strip():
        raise ValueError(f"{attribute.name} must not be blank")


def _short(_: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and len(value) > _MAX_TITLE:
        raise ValueError(f"{attribute.name} must not be longer than {_MAX_TITLE} characters")


def _one_line(_: object, attribute: attrs.Attribute[Any], value: str | None) -> None:
    if value is not None and (len(value.splitlines()) > 1 or "<" in value or ">" in value):
        raise ValueError(f"{attribute.name} must be one line without < or >")


def _no_nul(_: object, attribute: attrs.Attribute[Any], value: str | list[str] | None) -> None:
    if value is not None and any("\0" in item for item in ([value] if isinstance(value, str) else value)):
        raise ValueError(f"{attribute.name} must not contain NUL characters")


def _in_tree(_: object, attribute: attrs.Attribute[Any], value: str | list[str] | None) -> None:
    for path in [value] if isinstance(value, str) else value or ():
        if not path.strip() or path.startswith("/"):
            raise ValueError(f"{attribute.name} must be relative to the top of the working tree, got {path!r}")


def _argv(_: object, attribute: attrs.Attribute[Any], value: list[str] | None) -> None:
    if value is not None and (not value or not value[0].strip()):
        raise ValueError(f"{attribute.name} must name a program first")


_MAX_TITLE = 1000  # characters: a session's is in every list of sessions, and no answer has more than 4 MiB
_AT_LEAST_0 = validators.optional(validators.and_(validators.ge(0), validators.le(2**53 - 1)))
_AT_LEAST_1 = validators.optional(validators.and_(validators.ge(1), validators.le(2**53 - 1)))
_PROMISE = [_non_blank, _one_line]


# ----------------------------------------------------------------------------------------------------- configuration
@attrs.frozen(kw_only=True)
class LoopConfig:
    """How a loop runs, complete: every layer of rule 9 has been applied."""

    agent: str = ""  # none given: the first installed one is taken
    model: str | None = None
    rotation: list[str] | None = None
    preset: str | None = None
    template: str | None = None
    min_iterations: int = 1
    max_iterations: int = 50  # 0: no limit
    max_failures: int = 3
    completion_promise: str = "COMPLETE"
    abort_promise: str | None = None
    tasks_mode: bool = False
    task_promise: str = "READY_FOR_NEXT_TASK"
    plan_mode: bool = False
    allow_all: bool = False
    auto_commit: bool = False
    iteration_timeout_ms: int | None = None
    inactivity_timeout_ms: int | None = None
    max_duration_ms: int | None = None
    pause_on_struggle: bool = False
    iteration_delay_ms: int = 0
    agent_args: list[str] = Factory(list[str])
    command: list[str] | None = None


@attrs.frozen(kw_only=True)
class LoopConfigPatch:
    """One layer of configuration: only the keys somebody gave."""

    agent: str | None = field(default=None, validator=_non_blank)
    model: str | None = field(default=None, validator=[_non_blank, _no_nul])
    rotation: list[str] | None = field(default=None, validator=_no_nul)
    preset: str | None = field(default=None, validator=_non_blank)
    template: str | None = field(default=None, validator=_non_blank)
    min_iterations: int | None = field(default=None, validator=_AT_LEAST_1)
    max_iterations: int | None = field(default=None, validator=_AT_LEAST_0)
    max_failures: int | None = field(default=None, validator=_AT_LEAST_1)
    completion_promise: str | None = field(default=None, validator=_PROMISE)
    abort_promise: str | None = field(default=None, validator=_PROMISE)
    tasks_mode: bool | None = None
    task_promise: str | None = field(default=None, validator=_PROMISE)
    plan_mode: bool | None = None
    allow_all: bool | None = None
    auto_commit: bool | None = None
    iteration_timeout_ms: int | None = field(default=None, validator=_AT_LEAST_1)
    inactivity_timeout_ms: int | None = field(default=None, validator=_AT_LEAST_1)
    max_duration_ms: int | None = field(default=None, validator=_AT_LEAST_1)
    pause_on_struggle: bool | None = None
    iteration_delay_ms: int | None = field(default=None, validator=_AT_LEAST_0)
    agent_args: list[str] | None = field(default=None, validator=_no_nul)
    command: list[str] | None = field(default=None, validator=[_argv, _no_nul])


@attrs.frozen(kw_only=True)
class ResumeConfig:
    max_iterations: int | None = field(default=None, validator=_AT_LEAST_0)
    max_duration_ms: int | None = field(default=None, validator=_AT_LEAST_1)
    agent: str | None = field(default=None, validator=_non_blank)
    model: str | None = field(default=None, validator=[_non_blank, _no_nul])


# ------------------------------------------------------------------------------------------------------------ shapes
@attrs.frozen(kw_only=True)
class Struggle:
    detected: bool = False
    reasons: list[str] = Factory(list[str])


@attrs.frozen(kw_only=True)
class Tokens:
    input: int
    output: int


@attrs.frozen(kw_only=True)
class LoopError:
    kind: str
    message: str
    hint: str | None = None


@attrs.frozen(kw_only=True)
class Snapshot:
    run_id: str
    session_id: str
    repo_id: str
    workspace: str
    status: Status
    phase: Phase | None = None
    pause_requested: bool
    stop_reason: StopReason | None = None
    iteration: int
    max_iterations: int
    prompt: str
    agent: str
    model: str | None = None
    started_at: str
    ended_at: str | None = None
    elapsed_ms: int
    last_iteration_ms: int | None = None
    files_changed: int
    struggle: Struggle
    pending_context: int
    pending_permissions: int
    pending_questions: int
    staged_operations: int
    waiting_until: str | None = None
    tokens: Tokens | None = None
    cost_usd: float | None = None
    error: LoopError | None = None
    confined: bool | None = None  # plan mode only: the user's folder is read-only for the agent
    revision: int


@attrs.frozen(kw_only=True)
class Change:
    path: str
    old_path: str | None = None
    kind: ChangeKind
    added: int
    removed: int
    binary: bool
    path_bytes: str | None = None  # base64, when the path is not UTF-8
    old_path_bytes: str | None = None


@attrs.frozen(kw_only=True)
class Operation(Change):
    operation_id: str
    iteration: int


@attrs.frozen(kw_only=True)
class IterationRecord:
    run_id: str
    iteration: int
    status: IterationStatus
    started_at: str
    ended_at: str | None = None
    duration_ms: int
    agent: str
    model: str | None = None
    exit_code: int | None = None
    tools: dict[str, int] = Factory(dict[str, int])
    files: list[Change] | None = Factory(list[Change])  # None (left out) only in a notification about many files
    files_total: int = 0
    errors: list[str] = Factory(list[str])
    promise: Promise = "none"
    context_ids: list[str] = Factory(list[str])
    tokens: Tokens | None = None
    cost_usd: float | None = None
    message: str | None = None
    tracking: str | None = None


@attrs.frozen(kw_only=True)
class Chunk:
    seq: int
    iteration: int
    stream: StreamName
    text: str
    at: str
    bytes: str | None = None  # base64, with `raw`


@attrs.frozen(kw_only=True)
class Repo:
    repo_id: str
    path: str
    name: str
    git: bool
    trusted: bool
    missing: bool
    branch: str | None = None
    last_run_id: str | None = None
    clone_url: str | None = None
    created_at: str


@attrs.frozen(kw_only=True)
class Session:
    session_id: str
    repo_id: str
    workspace: str
    title: str
    status: str
    created_at: str
    updated_at: str


@attrs.frozen(kw_only=True)
class Message:
    message_id: str
    session_id: str
    run_id: str | None = None
    iteration: int | None = None
    role: Literal["user", "agent", "system"]
    kind: str
    text: str
    at: str


@attrs.frozen(kw_only=True)
class SessionDetail(Session):
    messages: list[Message]
    loops: list[Snapshot]


@attrs.frozen(kw_only=True)
class Permission:
    request_id: str
    run_id: str
    iteration: int
    tool: str
    title: str
    arguments: dict[str, Any]
    diff: str | None = None
    options: list[Reply]
    asked_at: str


@attrs.frozen(kw_only=True)
class Question:
    question_id: str
    run_id: str
    iteration: int
    text: str
    options: list[str]
    asked_at: str


@attrs.frozen(kw_only=True)
class ContextItem:
    context_id: str
    text: str
    state: ContextState
    iteration: int | None = None
    added_at: str


# ------------------------------------------------------------------------------------------------------------ params
@attrs.frozen(kw_only=True)
class NoParams:
    pass


@attrs.frozen(kw_only=True)
class Target:
    """A loop: by its id, or the active (else latest) one of a session, or of a workspace's repository."""

    run_id: str | None = field(default=None, validator=_non_blank)
    session_id: str | None = field(default=None, validator=_non_blank)
    workspace: str | None = field(default=None, validator=_non_blank)


@attrs.frozen(kw_only=True)
class StartParams:
    workspace: str = field(validator=_non_blank)
    prompt: str | None = None
    prompt_file: str | None = field(default=None, validator=_non_blank)
    session_id: str | None = field(default=None, validator=_non_blank)
    config: LoopConfigPatch = Factory(LoopConfigPatch)
    env: dict[str, str] = Factory(dict[str, str])


@attrs.frozen(kw_only=True)
class PauseParams(Target):
    when: When = "afterIteration"


@attrs.frozen(kw_only=True)
class ResumeParams(Target):
    config: ResumeConfig = Factory(ResumeConfig)


@attrs.frozen(kw_only=True)
class ListParams:
    workspace: str | None = field(default=None, validator=_non_blank)
    active: bool | None = None
    limit: int = field(default=50, validator=validators.ge(1))
    before: str | None = None


@attrs.frozen(kw_only=True)
class HistoryParams(Target):
    limit: int = field(default=50, validator=validators.ge(1))
    before: int | None = field(default=None, validator=_AT_LEAST_1)


@attrs.frozen(kw_only=True)
class AddContextParams(Target):
    text: str = field(validator=_non_blank)


@attrs.frozen(kw_only=True)
class PromptParams(Target):
    iteration: int = field(validator=validators.ge(1))


@attrs.frozen(kw_only=True)
class SubscribeParams(Target):
    after: int = field(default=0, validator=validators.ge(0))
    view: View = "readable"


@attrs.frozen(kw_only=True)
class WatchParams:
    all: bool


@attrs.frozen(kw_only=True)
class OutputParams(Target):
    after: int = field(default=0, validator=validators.ge(0))
    limit: int = field(default=1000, validator=validators.ge(1))
    view: View = "readable"
    iteration: int | None = field(default=None, validator=_AT_LEAST_1)
    raw: bool = False


@attrs.frozen(kw_only=True)
class FileParams(Target):
    iteration: int | None = field(default=None, validator=_AT_LEAST_1)
    operation_id: str | None = field(default=None, validator=_non_blank)
    path: str = field(validator=_non_blank)
    path_bytes: str | None = field(default=None, validator=_non_blank)  # of a change, when its path is not UTF-8
    side: Literal["before", "after"]


@attrs.frozen(kw_only=True)
class SearchParams:
    text: str = field(validator=_non_blank)
    workspace: str | None = field(default=None, validator=_non_blank)
    limit: int = field(default=50, validator=validators.ge(1))


@attrs.frozen(kw_only=True)
class ReposAddParams:
    path: str | None = field(default=None, validator=_non_blank)
    url: str | None = field(default=None, validator=_non_blank)
    directory: str | None = field(default=None, validator=_non_blank)
    work_done_token: Any | None = None


@attrs.frozen(kw_only=True)
class RepoParams:
    repo_id: str = field(validator=_non_blank)


@attrs.frozen(kw_only=True)
class ReposScanParams:
    paths: list[str]
    max_depth: int = field(default=4, validator=[validators.ge(0), validators.le(64)])
    work_done_token: Any | None = None


@attrs.frozen(kw_only=True)
class ReposTrustParams:
    workspace: str = field(validator=_non_blank)
    trusted: bool


@attrs.frozen(kw_only=True)
class SessionsListParams:
    workspace: str | None = field(default=None, validator=_non_blank)
    limit: int = field(default=50, validator=validators.ge(1))
    before: str | None = None


@attrs.frozen(kw_only=True)
class SessionsCreateParams:
    workspace: str = field(validator=_non_blank)
    title: str | None = field(default=None, validator=[_non_blank, _short])


@attrs.frozen(kw_only=True)
class SessionParams:
    session_id: str = field(validator=_non_blank)


@attrs.frozen(kw_only=True)
class SessionsGetParams(SessionParams):
    before: str | None = field(default=None, validator=_non_blank)  # a message's id: those before it


@attrs.frozen(kw_only=True)
class SessionsRenameParams(SessionParams):
    title: str = field(validator=[_non_blank, _short])


@attrs.frozen(kw_only=True)
class WorkspaceParams:
    workspace: str = field(validator=_non_blank)


@attrs.frozen(kw_only=True)
class OptionalWorkspaceParams:
    workspace: str | None = field(default=None, validator=_non_blank)


@attrs.frozen(kw_only=True)
class GitLogParams(WorkspaceParams):
    limit: int = field(default=50, validator=validators.ge(1))
    before: str | None = field(default=None, validator=_non_blank)


@attrs.frozen(kw_only=True)
class GitDiffParams(WorkspaceParams):
    from_: str = field(default="HEAD", validator=_non_blank)
    to: str = field(default="worktree", validator=_non_blank)
    path: str | None = field(default=None, validator=_in_tree)
    patch: bool = False


@attrs.frozen(kw_only=True)
class GitWriteParams(WorkspaceParams):
    force: bool = False
    work_done_token: Any | None = None


@attrs.frozen(kw_only=True)
class GitAddParams(GitWriteParams):
    paths: list[str] = field(validator=[validators.min_len(1), _no_nul, _in_tree])


@attrs.frozen(kw_only=True)
class GitCommitParams(GitWriteParams):
    message: str = field(validator=_non_blank)


@attrs.frozen(kw_only=True)
class GitCheckoutParams(GitWriteParams):
    branch: str = field(validator=_non_blank)


@attrs.frozen(kw_only=True)
class GitBranchParams(GitWriteParams):
    name: str = field(validator=_non_blank)
    from_: str | None = field(default=None, validator=_non_blank)


@attrs.frozen(kw_only=True)
class GitResetParams(GitWriteParams):
    to: str = field(default="HEAD", validator=_non_blank)
    confirm: bool = False


@attrs.frozen(kw_only=True)
class ConfigKeyParams:
    key: str = field(validator=_non_blank)


@attrs.frozen(kw_only=True)
class ConfigSetParams(ConfigKeyParams):
    value: Any


@attrs.frozen(kw_only=True)
class ConfigExplainParams:
    workspace: str | None = field(default=None, validator=_non_blank)
    key: str | None = field(default=None, validator=_non_blank)


@attrs.frozen(kw_only=True)
class TasksAddParams(WorkspaceParams):
    text: str = field(validator=_non_blank)


@attrs.frozen(kw_only=True)
class TasksRemoveParams(WorkspaceParams):
    index: int = field(validator=validators.ge(1))


@attrs.frozen(kw_only=True)
class PermissionReplyParams:
    request_id: str = field(validator=_non_blank)
    reply: Reply
    message: str | None = None


@attrs.frozen(kw_only=True)
class QuestionAnswerParams:
    question_id: str = field(validator=_non_blank)
    answer: str


@attrs.frozen(kw_only=True)
class PlanApproveParams(Target):
    operation_ids: list[str] | None = None


@attrs.frozen(kw_only=True)
class PlanRejectParams(PlanApproveParams):
    feedback: str | None = None


# ----------------------------------------------------------------------------------------------------------- results
@attrs.frozen(kw_only=True)
class Empty:
    pass


@attrs.frozen(kw_only=True)
class Health:
    status: Literal["ok"] = "ok"
    version: str
    protocol_version: int = PROTOCOL_VERSION
    pid: int
    uptime_ms: int
    database: str
    shared: bool
    active_loops: int


@attrs.frozen(kw_only=True)
class LoopList:
    loops: list[Snapshot]
    more: bool


@attrs.frozen(kw_only=True)
class WatchResult:
    loops: list[Snapshot]


@attrs.frozen(kw_only=True)
class History:
    iterations: list[IterationRecord]
    more: bool


@attrs.frozen(kw_only=True)
class AddContextResult:
    context_id: str
    state: ContextState = "pending"


@attrs.frozen(kw_only=True)
class ContextList:
    items: list[ContextItem]


@attrs.frozen(kw_only=True)
class PromptResult:
    prompt: str


@attrs.frozen(kw_only=True)
class SubscribeResult:
    first_seq: int
    last_seq: int


@attrs.frozen(kw_only=True)
class Output:
    chunks: list[Chunk]
    more: bool
    first_seq: int


@attrs.frozen(kw_only=True)
class FileContent:
    exists: bool
    binary: bool
    text: str | None = None
    bytes: str | None = None  # base64
    mode: int


@attrs.frozen(kw_only=True)
class SearchHit:
    run_id: str | None = None
    session_id: str
    where: str
    excerpt: str
    at: str


@attrs.frozen(kw_only=True)
class SearchResult:
    hits: list[SearchHit]


@attrs.frozen(kw_only=True)
class ReposList:
    repos: list[Repo]


@attrs.frozen(kw_only=True)
class FoundRepo:
    path: str
    name: str
    registered: bool


@attrs.frozen(kw_only=True)
class ReposScanResult:
    repos: list[FoundRepo]


@attrs.frozen(kw_only=True)
class SessionsList:
    sessions: list[Session]
    more: bool


@attrs.frozen(kw_only=True)
class GitStatus:
    branch: str | None = None
    detached: bool
    unborn: bool
    head: str | None = None
    upstream: str | None = None
    ahead: int
    behind: int
    operation: str | None = None
    staged: list[Change]
    unstaged: list[Change]
    untracked: list[str]
    conflicts: list[str]


@attrs.frozen(kw_only=True)
class Commit:
    sha: str
    parents: list[str]
    author: str
    email: str
    at: str
    subject: str
    body: str


@attrs.frozen(kw_only=True)
class GitLog:
    commits: list[Commit]
    more: bool


@attrs.frozen(kw_only=True)
class Branch:
    name: str
    remote: bool
    current: bool
    sha: str
    upstream: str | None = None


@attrs.frozen(kw_only=True)
class GitBranches:
    branches: list[Branch]


@attrs.frozen(kw_only=True)
class GitDiff:
    files: list[Change]
    files_total: int
    patch: str | None = None


@attrs.frozen(kw_only=True)
class GitOutput:
    exit_code: int
    stdout: str
    stderr: str


@attrs.frozen(kw_only=True)
class ConfigValues:
    values: dict[str, Any]


@attrs.frozen(kw_only=True)
class ConfigValue:
    value: Any


@attrs.frozen(kw_only=True)
class ExplainedValue:
    key: str
    value: Any
    source: str


@attrs.frozen(kw_only=True)
class ConfigExplanation:
    values: list[ExplainedValue]


@attrs.frozen(kw_only=True)
class Backend:
    id: str
    name: str
    installed: bool
    path: str | None = None
    version: str | None = None
    permissions: bool
    models: list[str]
    install_hint: str
    also_as: list[str] | None = None  # ids of other ways to run the same agent that are installed, for one that is


@attrs.frozen(kw_only=True)
class Backends:
    backends: list[Backend]


@attrs.frozen(kw_only=True)
class Preset:
    id: str
    title: str
    description: str
    source: str


@attrs.frozen(kw_only=True)
class Presets:
    presets: list[Preset]


@attrs.frozen(kw_only=True)
class Subtask:
    text: str
    status: Literal["todo", "doing", "done"]


@attrs.frozen(kw_only=True)
class Task:
    index: int
    text: str
    status: Literal["todo", "doing", "done"]
    subtasks: list[Subtask]


@attrs.frozen(kw_only=True)
class Tasks:
    tasks: list[Task]


@attrs.frozen(kw_only=True)
class PermissionList:
    requests: list[Permission]


@attrs.frozen(kw_only=True)
class QuestionList:
    questions: list[Question]


@attrs.frozen(kw_only=True)
class Operations:
    operations: list[Operation]


@attrs.frozen(kw_only=True)
class ServiceStatus:
    installed: bool
    running: bool
    manager: str
    unit_path: str | None = None


# ----------------------------------------------------------------------------------------------------- notifications
@attrs.frozen(kw_only=True)
class DidOutput:
    run_id: str
    chunks: list[Chunk]


@attrs.frozen(kw_only=True)
class DidEvent:
    run_id: str
    iteration: int
    event: dict[str, Any]


@attrs.frozen(kw_only=True)
class DidStage:
    run_id: str
    operations: list[Operation]


@attrs.frozen(kw_only=True)
class PermissionResolved:
    request_id: str
    reply: str
    by: str


@attrs.frozen(kw_only=True)
class QuestionResolved:
    question_id: str
    answer: str | None = None
    by: str


NOTIFICATIONS: dict[str, type] = {
    "ralph/didChange": Snapshot,
    "ralph/didOutput": DidOutput,
    "ralph/didIterate": IterationRecord,
    "ralph/didEvent": DidEvent,
    "ralph/permissionAsked": Permission,
    "ralph/questionAsked": Question,
    "ralph/didStage": DidStage,
    "ralph/permissionResolved": PermissionResolved,
    "ralph/questionResolved": QuestionResolved,
}

# method: (params, result). `ralph/status` may also answer null.
REQUESTS: dict[str, tuple[type, type]] = {
    "ralph/health": (NoParams, Health),
    "ralph/start": (StartParams, Snapshot),
    "ralph/pause": (PauseParams, Snapshot),
    "ralph/resume": (ResumeParams, Snapshot),
    "ralph/cancel": (Target, Snapshot),
    "ralph/status": (Target, Snapshot),
    "ralph/list": (ListParams, LoopList),
    "ralph/history": (HistoryParams, History),
    "ralph/addContext": (AddContextParams, AddContextResult),
    "ralph/listContext": (Target, ContextList),
    "ralph/clearContext": (Target, ContextList),
    "ralph/preview": (StartParams, PromptResult),
    "ralph/prompt": (PromptParams, PromptResult),
    "ralph/subscribe": (SubscribeParams, SubscribeResult),
    "ralph/unsubscribe": (Target, Empty),
    "ralph/watch": (WatchParams, WatchResult),
    "ralph/output": (OutputParams, Output),
    "ralph/file": (FileParams, FileContent),
    "ralph/search": (SearchParams, SearchResult),
    "ralph/repos/list": (NoParams, ReposList),
    "ralph/repos/add": (ReposAddParams, Repo),
    "ralph/repos/remove": (RepoParams, Empty),
    "ralph/repos/scan": (ReposScanParams, ReposScanResult),
    "ralph/repos/trust": (ReposTrustParams, Repo),
    "ralph/sessions/list": (SessionsListParams, SessionsList),
    "ralph/sessions/create": (SessionsCreateParams, Session),
    "ralph/sessions/get": (SessionsGetParams, SessionDetail),
    "ralph/sessions/rename": (SessionsRenameParams, Session),
    "ralph/sessions/delete": (SessionParams, Empty),
    "ralph/git/status": (WorkspaceParams, GitStatus),
    "ralph/git/log": (GitLogParams, GitLog),
    "ralph/git/branches": (WorkspaceParams, GitBranches),
    "ralph/git/diff": (GitDiffParams, GitDiff),
    "ralph/git/add": (GitAddParams, GitOutput),
    "ralph/git/commit": (GitCommitParams, GitOutput),
    "ralph/git/pull": (GitWriteParams, GitOutput),
    "ralph/git/push": (GitWriteParams, GitOutput),
    "ralph/git/checkout": (GitCheckoutParams, GitOutput),
    "ralph/git/branch": (GitBranchParams, GitOutput),
    "ralph/git/reset": (GitResetParams, GitOutput),
    "ralph/config/list": (NoParams, ConfigValues),
    "ralph/config/get": (ConfigKeyParams, ConfigValue),
    "ralph/config/set": (ConfigSetParams, Empty),
    "ralph/config/delete": (ConfigKeyParams, Empty),
    "ralph/config/explain": (ConfigExplainParams, ConfigExplanation),
    "ralph/config/backends": (NoParams, Backends),
    "ralph/config/presets": (OptionalWorkspaceParams, Presets),
    "ralph/tasks/list": (WorkspaceParams, Tasks),
    "ralph/tasks/add": (TasksAddParams, Tasks),
    "ralph/tasks/remove": (TasksRemoveParams, Tasks),
    "ralph/permission/list": (Target, PermissionList),
    "ralph/permission/reply": (PermissionReplyParams, Empty),
    "ralph/question/list": (Target, QuestionList),
    "ralph/question/answer": (QuestionAnswerParams, Empty),
    "ralph/plan/staged": (Target, Operations),
    "ralph/plan/approve": (PlanApproveParams, Operations),
    "ralph/plan/reject": (PlanRejectParams, Operations),
    "ralph/service/status": (NoParams, ServiceStatus),
    "ralph/service/install": (NoParams, ServiceStatus),
    "ralph/service/uninstall": (NoParams, ServiceStatus),
    "ralph/service/start": (NoParams, ServiceStatus),
    "ralph/service/stop": (NoParams, ServiceStatus),
}

# code: (kind, keys of `data` beside `kind`)
ERRORS: dict[int, tuple[str, tuple[str, ...]]] = {
    1001: ("repoBusy", ("runId", "pid", "since")),
    1002: ("notFound", ("what", "id")),
    1003: ("invalidState", ("status", "allowed")),
    1004: ("agentNotFound", ("agent", "command", "installHint")),
    1005: ("notARepository", ("path",)),
    1006: ("gitFailed", ("exitCode", "stderr")),
    1007: ("confirmationRequired", ()),
    1008: ("treeChanged", ("paths",)),
    1009: ("databaseTooNew", ("found", "supported")),
    1010: ("protocolMismatch", ("ours", "theirs")),
    1011: ("notAvailable", ()),
    1012: ("helperRunning", ("pid",)),
    1013: ("processesLeft", ("pids",)),
    1014: ("untrusted", ("path", "keys")),
    1015: ("planNeedsGit", ()),
    1016: ("invalidPrompt", ("file", "line", "column")),
}
CODES: dict[str, int] = {kind: code for code, (kind, _) in ERRORS.items()}
STATUSES: tuple[str, ...] = get_args(Status)
