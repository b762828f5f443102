"""`.ralph/summary.md`: what a person wants to know of a loop in the morning. A pure function of what is stored.

What agents and tools print stands in code spans and code blocks only: it cannot break the page, hide a part of it, or
load anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from ralph_loop.engine.state import LoopState
from ralph_loop.protocol import ACTIVE, Change, IterationRecord, Snapshot

_MAX_PROMPT = 4000  # characters
_MAX_MESSAGE = 6000
_MAX_LINE = 200
_MAX_FILES = 200
_MAX_ERRORS = 20

_PROMISES = {
    "nearMiss": "a promise that did not count (near miss)",
    "task": "promised: task done",
    "completion": "promised: all done",
    "abort": "promised: cannot be done",
}
_FATES = {
    "staged": "waits for your approval",
    "applying": "waits for your approval",
    "rejected": "you rejected it",
    "dropped": "dropped before you could approve it",
}
_KINDS = {
    "create": "new",
    "modify": "changed",
    "delete": "deleted",
    "rename": "renamed",
    "typeChange": "turned into something else",
}


def summarize(
    state: LoopState,
    snapshot: Snapshot,
    records: Sequence[IterationRecord],
    planned: Mapping[tuple[int, str], str] | None = None,
) -> str:
    """The page. `records` are the iterations in order, maybe only the latest ones; `planned` the changes of plan mode
    that are not in the user's folder, by iteration and path, with what became of them (store/operations.py)."""
    planned = planned or {}
    sections = [
        f"# Ralph Loop: {_plain(state.title) if state.title else 'summary'}",
        f"**{_plain(_standing(snapshot), 1000)}**",
        _facts(snapshot),
        _section("What needs you", _needs(snapshot, records)),
        _section("What was asked", [_block(snapshot.prompt, _MAX_PROMPT)]),
        _section("What changed", _changes(_parted(records, planned, applied=True))),
        _section("What is not in your folder", _not_applied(_parted(records, planned, applied=False), planned)),
        _section("What the agent said last", _last_words(records)),
        _section("Iterations", [_iteration(record) for record in records], _earlier(records)),
        _section("Errors", _errors(records)),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _section(heading: str, parts: Sequence[str], note: str = "") -> str:
    body = [part for part in (note, "\n".join(parts)) if part]
    return "\n\n".join([f"## {heading}", *body]) if parts else ""


# --------------------------------------------------------------------------------------------------------- standing
def _standing(snapshot: Snapshot) -> str:
    number = snapshot.iteration
    if snapshot.status == "completed":
        return {
            "completed": f"Completed: in iteration {number} the agent promised that the work is done.",
            "maxIterations": f"Stopped at the limit, {_count(number, 'iteration')}: the work was never promised done.",
            "maxDuration": "Stopped at the time limit: the work was never promised done.",
            "aborted": f"Aborted: in iteration {number} the agent said that the task cannot be done.",
        }.get(snapshot.stop_reason or "", "Ended.")
    limit = f" of {snapshot.max_iterations}" if snapshot.max_iterations else ""
    return {
        "running": f"Running: iteration {number}{limit}.",
        "paused": f"Paused after iteration {number}{limit}.",
        "waiting": f"Waiting until {_time(snapshot.waiting_until)}: the model takes no more work before that.",
        "awaiting_approval": f"Waiting for you: iteration {number} made changes that need your approval.",
        "cancelled": f"Cancelled in iteration {number}." if number else "Cancelled before the first iteration.",
        "error": f"Failed: {snapshot.error.message if snapshot.error else 'the agent could not go on.'}",
        "interrupted": f"Interrupted in iteration {number}: the helper ended. All that it had stored is there.",
    }[snapshot.status]


def _facts(snapshot: Snapshot) -> str:
    facts = [
        ("Agent", _code(snapshot.agent + (f", {snapshot.model}" if snapshot.model else ""))),
        ("Started", _time(snapshot.started_at)),
        ("Ended", _time(snapshot.ended_at) if snapshot.ended_at else ""),
        ("Time at work", _duration(snapshot.elapsed_ms)),
        ("Tokens", f"{snapshot.tokens.input:,} in, {snapshot.tokens.output:,} out" if snapshot.tokens else ""),
        ("Cost", f"{snapshot.cost_usd:.2f} USD" if snapshot.cost_usd is not None else ""),
        ("Folder", _code(snapshot.workspace)),
    ]
    return "\n".join(f"- {name}: {value}" for name, value in facts if value)


def _needs(snapshot: Snapshot, records: Sequence[IterationRecord]) -> list[str]:
    needs: list[str] = []
    if snapshot.staged_operations:
        needs.append(f"{_count(snapshot.staged_operations, 'change')} to approve or reject: `ralph-loop plan diff`.")
    if snapshot.pending_permissions:
        needs.append(f"{_count(snapshot.pending_permissions, 'permission')} to grant or refuse.")
    if snapshot.pending_questions:
        needs.append(f"{_count(snapshot.pending_questions, 'question')} of the agent to answer.")
    if snapshot.struggle.detected and snapshot.status != "completed":
        needs += [_code(reason) for reason in snapshot.struggle.reasons]
        needs.append("The loop seems to be stuck: give it a hint with `ralph-loop add-context`.")
    if snapshot.status == "paused" or snapshot.status == "interrupted":
        needs.append("Go on with `ralph-loop resume`, or end it with `ralph-loop cancel`.")
    if snapshot.error and snapshot.error.hint:
        needs.append(_plain(snapshot.error.hint, 1000))
    if snapshot.stop_reason in ("maxIterations", "maxDuration"):
        needs.append("Read what is left below, then start again with a higher limit, or finish it yourself.")
    if snapshot.stop_reason == "aborted":
        needs.append("Read below why the agent gave up.")
    if snapshot.pending_context and snapshot.status not in ACTIVE:
        needs.append(f"{_count(snapshot.pending_context, 'hint')} came too late for the last iteration.")
    untracked = {record.tracking: record.iteration for record in records if record.tracking}
    needs += [f"Changes are unknown, last in iteration {number}: {_code(why)}" for why, number in untracked.items()]
    if not needs:
        return ["Nothing now." if snapshot.status in ACTIVE else "Nothing but a look at the changes."]
    return [f"- {need}" for need in needs]


# ---------------------------------------------------------------------------------------------------------- changes
@attrs.define
class _File:
    first: Change
    last: Change
    added: int = 0
    removed: int = 0
    iterations: list[int] = attrs.field(factory=list[int])


def _changes(records: Sequence[IterationRecord]) -> list[str]:
    files: dict[str, _File] = {}
    unlisted = 0
    for record in records:
        listed = record.files or []
        unlisted += record.files_total - len(listed)
        for change in listed:
            file = files.pop(change.old_path or change.path, None) or _File(change, change)
            file.last = change
            file.added += change.added
            file.removed += change.removed
            file.iterations.append(record.iteration)
            files[change.path] = file
    ordered = sorted(files.items())
    lines = [_file(file) for _, file in ordered[:_MAX_FILES]]
    rest = len(ordered) - len(lines) + unlisted
    if rest:
        lines.append(f"- and {rest} more")
    return lines


def _parted(
    records: Sequence[IterationRecord], planned: Mapping[tuple[int, str], str], *, applied: bool
) -> Sequence[IterationRecord]:
    """The records with the changes that are in the user's folder only, or with the others only."""
    if not planned:
        return records if applied else []
    parted: list[IterationRecord] = []
    for record in records:
        listed = record.files or []
        files = [change for change in listed if ((record.iteration, change.path) not in planned) is applied]
        here = sum(1 for iteration, _ in planned if iteration == record.iteration)
        total = record.files_total - here if applied else here
        parted.append(attrs.evolve(record, files=files, files_total=total))
    return parted


def _not_applied(records: Sequence[IterationRecord], planned: Mapping[tuple[int, str], str]) -> list[str]:
    lines = [
        f"- {_code(change.path)} {_lines(change.binary, change.added, change.removed)}, {_KINDS[change.kind]}: "
        f"{_FATES[planned[record.iteration, change.path]]} (iteration {record.iteration})"
        for record in records
        for change in record.files or []
    ]
    rest = sum(record.files_total for record in records) - min(len(lines), _MAX_FILES)
    return [*lines[:_MAX_FILES], *([f"- and {rest} more"] if rest else [])]


def _file(file: _File) -> str:
    kind = _KINDS[file.last.kind]
    if file.first.kind == "create":
        kind = "made and deleted again" if file.last.kind == "delete" else "new"
    elif file.first.kind == "delete" and file.last.kind == "create":
        kind = "changed"
    before = file.first.old_path or file.first.path
    moved = f", was {_code(before)}" if before != file.last.path else ""
    lines = _lines(file.last.binary, file.added, file.removed)
    return f"- {_code(file.last.path)} {lines}, {kind}{moved} ({_numbers(file.iterations)})"


def _lines(binary: bool, added: int, removed: int) -> str:
    return "binary" if binary else f"+{added} -{removed}"


# ------------------------------------------------------------------------------------------------------- iterations
def _iteration(record: IterationRecord) -> str:
    added = sum(change.added for change in record.files or [])
    removed = sum(change.removed for change in record.files or [])
    nothing = "changes unknown" if record.tracking else "no change"
    parts = [
        {"timedOut": "timed out"}.get(record.status, record.status),
        _duration(record.duration_ms),
        _code(record.agent + (f", {record.model}" if record.model else "")),
        f"{_count(record.files_total, 'file')} +{added} -{removed}" if record.files_total else nothing,
        _count(len(record.errors), "error") if record.errors else "",
        _PROMISES.get(record.promise, ""),
        _code(message[-1].strip()) if (message := (record.message or "").strip().splitlines()) else "",
    ]
    return f"- **{record.iteration}** " + " · ".join(filter(None, parts))


def _earlier(records: Sequence[IterationRecord]) -> str:
    if not records or records[0].iteration == 1:
        return ""
    return f"The latest {len(records)}; what came before is in the history (`ralph-loop history`)."


def _last_words(records: Sequence[IterationRecord]) -> list[str]:
    said = [record for record in records if record.message and record.message.strip()]
    if not said:
        return []
    return [f"In iteration {said[-1].iteration}:", "", _block(said[-1].message or "", _MAX_MESSAGE)]


def _errors(records: Sequence[IterationRecord]) -> list[str]:
    seen: dict[str, list[int]] = {}
    for record in records:
        for error in dict.fromkeys(record.errors):
            seen.setdefault(error, []).append(record.iteration)
    latest = sorted(seen.items(), key=lambda item: -item[1][-1])
    lines = [f"- {_code(' '.join(error.split()))} ({_numbers(numbers)})" for error, numbers in latest[:_MAX_ERRORS]]
    return [*lines, f"- and {len(latest) - _MAX_ERRORS} more"] if len(latest) > _MAX_ERRORS else lines


# --------------------------------------------------------------------------------------------------------- Markdown
def _block(text: str, limit: int) -> str:
    """A code block with the text; the end counts most in a long one."""
    text = text.strip()
    if len(text) > limit:
        left_out = f"\n[… {len(text) - limit:,} characters left out …]\n"
        text = text[: limit // 3] + left_out + text[limit // 3 - limit :]
    text = _visible(re.sub(r"\r\n?", "\n", text), "\n\t")
    fence = "`" * max(3, 1 + _longest_run(text))
    return f"{fence}text\n{text}\n{fence}"


def _code(text: str) -> str:
    """A code span on one line."""
    text = _visible(text if len(text) <= _MAX_LINE else text[: _MAX_LINE - 1] + "…")
    fence = "`" * (1 + _longest_run(text))
    space = " " if text.startswith(("`", " ")) or text.endswith(("`", " ")) else ""
    return f"{fence}{space}{text}{space}{fence}"


def _plain(text: str, limit: int = _MAX_LINE) -> str:
    """Text on one line without any meaning in Markdown."""
    return re.sub(r"([\\`*_\[\]<>~&$|])", r"\\\1", _visible(" ".join(text[:limit].split())))


def _visible(text: str, allowed: str = "") -> str:
    """Control characters, and those that turn the direction of text, as escapes."""
    return "".join(
        char if char.isprintable() or char in allowed else char.encode("unicode_escape").decode() for char in text
    )


def _longest_run(text: str) -> int:
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _numbers(iterations: Sequence[int]) -> str:
    return f"iteration{'' if len(iterations) == 1 else 's'} {', '.join(map(str, iterations))}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _time(at: str | None) -> str:
    """An RFC 3339 time in UTC, to the minute."""
    return f"{at[:10]} {at[11:16]} UTC" if at else "an unknown time"


def _duration(ms: int) -> str:
    seconds = ms // 1000
    if seconds < 60:
        return f"{ms / 1000:.1f} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
