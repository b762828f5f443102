"""What the engine publishes, as this client's notifications; for editors without a plugin of ours also as progress."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, cast

import attrs

from ralph_loop.lsp.outbox import Outbox
from ralph_loop.protocol import (
    MAX_FILES_IN_NOTIFICATION,
    DidEvent,
    DidStage,
    IterationRecord,
    Operation,
    Permission,
    PermissionResolved,
    Question,
    QuestionResolved,
    Snapshot,
)
from ralph_loop.wire import unstructure

if TYPE_CHECKING:
    from ralph_loop.lsp.session import Session

_ERROR, _WARNING, _INFO = 1, 2, 3  # LSP MessageType
_ICON = {"completed": _INFO, "cancelled": _INFO, "error": _ERROR}


class Events:
    """The listener of one connection (engine/bus.py)."""

    def __init__(self, session: Session, outbox: Outbox) -> None:
        self._session = session
        self._outbox = outbox
        self._shows_progress = False
        self._shows_messages = False
        self._progress: dict[str, str] = {}  # token by run id
        self._ready = False

    def begin(self, params: dict[str, Any], options: Any) -> None:
        """From `initialize`: an editor that draws loops itself says `progress: false` in its options."""
        plain = not isinstance(options, dict) or cast(dict[str, Any], options).get("progress") is not False
        capabilities: Any = params.get("capabilities")
        window: Any = cast(dict[str, Any], capabilities).get("window") if isinstance(capabilities, dict) else None
        can = isinstance(window, dict) and cast(dict[str, Any], window).get("workDoneProgress") is True
        self._shows_messages = plain
        self._shows_progress = plain and can
        self._ready = True

    def warn(self, text: str) -> None:
        self._message(_WARNING, text)

    # ------------------------------------------------------------------------------------------------------ listener
    def changed(self, key: str, snapshot: Snapshot) -> None:
        if not self._sees(key, snapshot.run_id):
            return
        self._notify("ralph/didChange", snapshot, key=("didChange", snapshot.run_id))
        self._report(snapshot)

    def iterated(self, key: str, record: IterationRecord) -> None:
        if self._sees(key, record.run_id):
            if record.files is not None and len(record.files) > MAX_FILES_IN_NOTIFICATION:
                record = attrs.evolve(record, files=None)
            self._notify("ralph/didIterate", record)

    def happened(self, run_id: str, iteration: int, event: dict[str, Any]) -> None:
        if self._ready and self._session.follows(run_id):
            params = unstructure(DidEvent(run_id=run_id, iteration=iteration, event=event))
            self._outbox.post_event({"jsonrpc": "2.0", "method": "ralph/didEvent", "params": params})

    def permission_asked(self, key: str, permission: Permission) -> None:
        if self._sees(key, permission.run_id):
            self._notify("ralph/permissionAsked", permission)
            if self._shows_messages:
                self.warn(f"Ralph Loop: the agent asks to use {permission.title}. Answer with ralph.permission.reply.")

    def permission_resolved(self, key: str, run_id: str, request_id: str, reply: str, by: str) -> None:
        if self._sees(key, run_id):
            self._notify("ralph/permissionResolved", PermissionResolved(request_id=request_id, reply=reply, by=by))

    def question_asked(self, key: str, question: Question) -> None:
        if self._sees(key, question.run_id):
            self._notify("ralph/questionAsked", question)
            if self._shows_messages:
                self.warn(f"Ralph Loop: the agent asks: {question.text} Answer with ralph.question.answer.")

    def question_resolved(self, key: str, run_id: str, question_id: str, answer: str | None, by: str) -> None:
        if self._sees(key, run_id):
            self._notify("ralph/questionResolved", QuestionResolved(question_id=question_id, answer=answer, by=by))

    def staged(self, key: str, run_id: str, operations: list[Operation]) -> None:
        if self._sees(key, run_id):
            self._notify("ralph/didStage", DidStage(run_id=run_id, operations=operations))

    # ------------------------------------------------------------------------------------------------------- sending
    def _sees(self, key: str, run_id: str) -> bool:
        return self._ready and self._session.sees(key, run_id)

    def _notify(self, method: str, params: object, *, key: object = None) -> None:
        self._outbox.post({"jsonrpc": "2.0", "method": method, "params": unstructure(params)}, key=key)

    def _message(self, kind: int, text: str) -> None:
        message = {"jsonrpc": "2.0", "method": "window/showMessage", "params": {"type": kind, "message": text}}
        self._outbox.post(message)

    def _report(self, snapshot: Snapshot) -> None:
        """LSP work-done progress: begins when a loop runs, ends when it rests."""
        run_id = snapshot.run_id
        if snapshot.status == "running":
            if self._shows_progress:
                limit = f"/{snapshot.max_iterations}" if snapshot.max_iterations else ""
                state: dict[str, Any] = {"message": f"iteration {snapshot.iteration}{limit} ({snapshot.agent})"}
                if run_id in self._progress:
                    self._send_progress(self._progress[run_id], {"kind": "report", **state}, key=("progress", run_id))
                else:
                    self._begin(run_id, state)
            return
        token = self._progress.pop(run_id, None)
        if token is not None:
            self._send_progress(token, {"kind": "end", "message": snapshot.stop_reason or snapshot.status})
        if token is not None and self._shows_messages and snapshot.status in _ICON:
            detail = f": {snapshot.error.message}" if snapshot.error else ""
            reason = snapshot.stop_reason or snapshot.status
            self._message(_ICON[snapshot.status], f"Ralph Loop: {reason} after {snapshot.iteration} iterations{detail}")

    def _begin(self, run_id: str, state: dict[str, Any]) -> None:
        token = self._progress[run_id] = f"ralph-{uuid.uuid4()}"
        create = {"jsonrpc": "2.0", "id": token, "method": "window/workDoneProgress/create", "params": {"token": token}}
        self._outbox.post(create)
        self._send_progress(token, {"kind": "begin", "title": "Ralph Loop", "cancellable": False, **state})

    def _send_progress(self, token: str, value: dict[str, Any], *, key: object = None) -> None:
        params = {"token": token, "value": value}
        self._outbox.post({"jsonrpc": "2.0", "method": "$/progress", "params": params}, key=key)
