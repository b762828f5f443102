"""What an iteration means for its loop: pure rules over its result (PROTOCOL.md, Rules 1, 3; PRODUCT.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from ralph_loop.agents.base import AgentError, ErrorKind, RateLimit
from ralph_loop.engine import struggle
from ralph_loop.engine.iteration import TOO_LONG, Result
from ralph_loop.engine.state import LoopState
from ralph_loop.protocol import IterationRecord, IterationStatus, LoopError, StopReason, Struggle, Tokens
from ralph_loop.store.database import timestamp

_STATUS: dict[str, IterationStatus] = {
    "finished": "completed",
    "failed": "failed",
    "timedOut": "timedOut",
    "inactive": "timedOut",
    "stopped": "interrupted",
    "maxDuration": "interrupted",
}
MAX_BACKOFF_MINUTES = 32

# Most agents end well when their model gave nothing at all.
EMPTY_ANSWER = AgentError(
    ErrorKind.SERVER,
    "The model gave an empty answer: no text, no tool was used, and no file changed.",
    "Usually this passes by itself and the loop tries again. If it stays, try another model.",
)


def limit_reached(state: LoopState, elapsed_ms: int) -> StopReason | None:
    """The limit that lets no further iteration start; none while a person has the loop."""
    config = state.config
    if state.status not in ("running", "waiting"):
        return None
    if config.max_iterations and state.counted >= config.max_iterations:
        return "maxIterations"
    if config.max_duration_ms is not None and elapsed_ms >= config.max_duration_ms:
        return "maxDuration"
    return None


def iteration_status(result: Result) -> IterationStatus:
    """A rate-limited iteration is recorded as interrupted: the next number replaces it (rule 1)."""
    return "interrupted" if _limited(result) else _STATUS[result.end]


def _limited(result: Result) -> RateLimit | None:
    return result.rate_limit if result.end == "failed" else None


def after_iteration(
    state: LoopState,
    record: IterationRecord,
    result: Result,
    history: Sequence[IterationRecord],
    trees: Sequence[str | None],
    backoff_unit_ms: int,
) -> dict[str, Any]:
    """The changes of the loop's state. `history` ends with `record`; `trees` are the trees after each of them."""
    changes: dict[str, Any] = {
        "last_iteration_ms": record.duration_ms,
        "last_errors": record.errors,
        "tokens": _sum_tokens(state.tokens, record.tokens),
        "cost_usd": _sum(state.cost_usd, record.cost_usd),
    }
    if record.status == "interrupted":
        changes["replaces"] = record.iteration
        limit = _limited(result)
        if limit is not None:
            changes |= _wait(state, limit, backoff_unit_ms)
        return changes
    failed = record.status != "completed"
    changes |= {
        "replaces": None,
        "backoff": 0,
        "counted": state.counted + 1,
        "rotation": state.rotation + 1,
        "failures": state.failures + 1 if failed else 0,
        # also a tag with a word that is none of ours: worth telling the agent
        "near_miss": result.verdict.tag if record.promise in ("nearMiss", "none") else None,
        "feedback": None,
        "struggle": struggling(history, trees),
    }
    if failed:
        failure = result.failure
        if (failure is not None and failure.fatal) or changes["failures"] >= state.config.max_failures:
            changes |= {"status": "error", "stop_reason": "agentFailed", "error": _agent_error(result)}
        return changes
    if record.promise == "abort":
        changes |= {"status": "completed", "stop_reason": "aborted"}
    elif record.promise == "completion" and changes["counted"] >= state.config.min_iterations:
        changes |= {"status": "completed", "stop_reason": "completed"}
    elif changes["struggle"].detected and state.config.pause_on_struggle and not _is_last(state, changes["counted"]):
        changes |= {"status": "paused", "stop_reason": "struggle", "phase": None, "pause_requested": False}
    return changes


def _is_last(state: LoopState, counted: int) -> bool:
    return bool(state.config.max_iterations) and counted >= state.config.max_iterations


def struggling(history: Sequence[IterationRecord], trees: Sequence[str | None]) -> Struggle:
    reasons = struggle.reasons(
        [
            struggle.Past(
                duration_ms=record.duration_ms,
                files_changed=None if record.tracking else record.files_total,
                errors=record.errors,
                tree=tree,
            )
            for record, tree in zip(history, trees, strict=True)
            if record.status not in ("interrupted", "running")
        ]
    )
    return Struggle(detected=bool(reasons), reasons=reasons)


def _wait(state: LoopState, limit: RateLimit, unit_ms: int) -> dict[str, Any]:
    """Until the model takes work again if it said when, else 1, 2, 4 … minutes. A time that proves wrong, or has passed
    already, must not make agents start in a rush: 1, 2, 4 … seconds at least."""
    now, times = datetime.now(UTC), 2**state.backoff
    pause = timedelta(milliseconds=unit_ms * min(times, MAX_BACKOFF_MINUTES))
    least = timedelta(seconds=min(times, MAX_BACKOFF_MINUTES * 60))
    until = now + pause if limit.reset_at is None else max(limit.reset_at, now + least)
    return {
        "status": "waiting",
        "phase": None,
        "waiting_until": timestamp(until),
        "backoff": state.backoff + 1,
        "error": LoopError(
            kind="rateLimit",
            message=limit.message,
            hint="The loop goes on by itself at that time. Resume it to try at once.",
        ),
    }


def _agent_error(result: Result) -> LoopError:
    failure = result.failure
    if failure is None:
        return LoopError(kind="timeout", message=TOO_LONG.get(result.end, "The agent failed."))
    return LoopError(kind=failure.kind.value, message=failure.message, hint=failure.hint)


def system_lines(result: Result, cancelled: bool) -> list[str]:
    """What people should read in the output about how the iteration ended, beside what the agent printed."""
    lines = {
        "timedOut": ["[ralph] The iteration reached its time limit (iterationTimeoutMs) and was ended."],
        "inactive": ["[ralph] The agent printed nothing for inactivityTimeoutMs and was ended."],
        "maxDuration": ["[ralph] The loop reached its time limit (maxDurationMs); the agent was ended."],
        "stopped": ["[ralph] The agent was stopped" + ("." if cancelled else "; resume runs its iteration again.")],
    }.get(result.end, [])
    if result.failure is not None:
        hint = f" {result.failure.hint}" if result.failure.hint else ""
        lines.append(f"[ralph] {result.failure.message}{hint}")
    return lines


def ending(status: str, reason: str, state: Mapping[str, Any]) -> str:
    """One sentence on how the loop ended, kept as a message of its session."""
    iterations = f"after {state['iteration']} iteration{'' if state['iteration'] == 1 else 's'}"
    text = {
        "completed": f"Completed {iterations}: the agent gave its promise.",
        "maxIterations": f"Stopped {iterations}: the limit of iterations was reached without the promise.",
        "maxDuration": f"Stopped {iterations}: the time limit was reached without the promise.",
        "aborted": f"Aborted by the agent {iterations}: it gave the abort promise.",
        "cancelled": f"Cancelled {iterations}.",
        "agentFailed": f"The agent failed {iterations}.",
        "error": f"The loop failed {iterations}.",
    }.get(reason, f"Ended ({status}) {iterations}.")
    error: LoopError | None = state.get("error")
    return f"{text} {error.message}" if error is not None and status == "error" else text


def _sum(old: float | None, new: float | None) -> float | None:
    return old if new is None else (old or 0) + new


def _sum_tokens(old: Tokens | None, new: Tokens | None) -> Tokens | None:
    if old is None or new is None:
        return new or old
    return Tokens(input=old.input + new.input, output=old.output + new.output)
