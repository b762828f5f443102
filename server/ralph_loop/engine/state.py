"""What a loop is at one moment: all that must survive a restart, and the snapshot clients see."""

from __future__ import annotations

import json

import attrs
from attrs import Factory

from ralph_loop.protocol import LoopConfig, LoopError, Phase, Snapshot, Status, StopReason, Struggle, Tokens
from ralph_loop.wire import structure, unstructure


@attrs.frozen(kw_only=True)
class Deferred:
    """The judgement of a plan-mode iteration, held back until its operations are settled (PROTOCOL.md, rule 4)."""

    iteration: int
    status: Status = "running"
    stop_reason: StopReason | None = None
    error: LoopError | None = None
    needs_all: bool = False  # the agent's promise: it counts only if everything was approved


@attrs.define(kw_only=True)
class LoopState:
    """Changed only by `loop.py`, stored with every change, read back after a restart."""

    run_id: str
    session_id: str
    repo_id: str
    workspace: str  # as given, symlinks resolved: the agent's working directory
    root: str  # root of the working tree: `.ralph/` lies here
    key: str  # real path the lock is on
    git: bool
    prompt: str
    config: LoopConfig
    preset_text: str | None = None
    template_text: str | None = None
    title: str | None = None
    trusted: bool = False
    variables: list[str] = Factory(list[str])  # names that the start request gave; their values are kept nowhere

    status: Status = "running"
    phase: Phase | None = None
    pause_requested: bool = False
    stop_reason: StopReason | None = None
    started_at: str
    ended_at: str | None = None
    active_ms: int = 0  # without paused and awaiting_approval (rule 7)
    revision: int = 0

    iteration: int = 0  # last number used
    counted: int = 0  # iterations that count towards the limits (rule 1)
    failures: int = 0  # in a row
    rotation: int = 0  # position, kept over restarts
    replaces: int | None = None  # the iteration whose hints the next one gets again
    last_iteration_ms: int | None = None
    files_changed: int = 0
    last_errors: list[str] = Factory(list[str])
    # auto-commit: what this loop changed and could not commit, by path as it left it (engine/committing.py)
    leftovers: dict[str, str] = Factory(dict[str, str])
    near_miss: str | None = None
    feedback: str | None = None
    answers: list[list[str]] = Factory(list[list[str]])  # [question, answer]
    deferred: Deferred | None = None  # plan mode: what the iteration comes to once its operations are settled
    confined: bool | None = None  # plan mode: the user's folder is read-only for the agent
    struggle: Struggle = Factory(Struggle)
    backoff: int = 0  # rate limits in a row
    waiting_until: str | None = None
    tokens: Tokens | None = None
    cost_usd: float | None = None
    error: LoopError | None = None

    def to_json(self) -> str:
        return json.dumps(unstructure(self))

    @classmethod
    def from_json(cls, text: str) -> LoopState:
        return structure(json.loads(text), cls, "state")

    @property
    def entry(self) -> tuple[str, str | None]:
        """(agent, model) of the iteration at the rotation's position."""
        from ralph_loop.engine.rotation import entry_for

        return entry_for(self.config, self.rotation)

    def snapshot(self, *, elapsed_ms: int, counters: Counters) -> Snapshot:
        agent, model = self.entry
        return Snapshot(
            run_id=self.run_id,
            session_id=self.session_id,
            repo_id=self.repo_id,
            workspace=self.workspace,
            status=self.status,
            phase=self.phase,
            pause_requested=self.pause_requested,
            stop_reason=self.stop_reason,
            iteration=self.iteration,
            max_iterations=self.config.max_iterations,
            prompt=self.prompt,
            agent=agent,
            model=model,
            started_at=self.started_at,
            ended_at=self.ended_at,
            elapsed_ms=elapsed_ms,
            last_iteration_ms=self.last_iteration_ms,
            files_changed=self.files_changed,
            struggle=self.struggle,
            pending_context=counters.context,
            pending_permissions=counters.permissions,
            pending_questions=counters.questions,
            staged_operations=counters.operations,
            waiting_until=self.waiting_until,
            tokens=self.tokens,
            cost_usd=self.cost_usd,
            error=self.error,
            confined=self.confined,
            revision=self.revision,
        )


@attrs.frozen(kw_only=True)
class Counters:
    """What waits for a person or for the next iteration; counted from the tables, not kept."""

    context: int = 0
    permissions: int = 0
    questions: int = 0
    operations: int = 0
