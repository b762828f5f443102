"""`export`: everything of a session as a folder of plain files, read over the same requests as an editor's."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from ralph_loop.shared.client import Client, ResponseError
from ralph_loop.terminal import asking, exportpage, options
from ralph_loop.terminal.asking import helper
from ralph_loop.terminal.options import Json, Parser, Problem
from ralph_loop.terminal.screen import standard
from ralph_loop.terminal.words import count, one_line

DESCRIPTION = """Write everything of a session into a new folder of plain files: README.md to read, its messages, and
for each loop the iterations' records, prompts, output byte by byte, and changes as patches.

The ids of sessions: ralph-loop sessions"""

_SECTION = re.compile(r"^(?=diff --git )", re.MULTILINE)
_NOT_AVAILABLE = 1011
_READABLE_ONLY = ("display", "system")  # the raw view has the other streams


def export(arguments: Sequence[str]) -> int:
    parser = Parser("export", DESCRIPTION)
    parser.add_argument("session", metavar="SESSION", type=options.text, help="the session's id")
    parser.add_argument("directory", metavar="DIR", nargs="?", help="the folder to make (default: ./SESSION)")
    options.common(parser)
    given = parser.parse_args(arguments)
    with helper(given) as client:
        session, messages = _session(client, given.session)
        target = Path(os.path.abspath(given.directory or session["sessionId"]))  # noqa: PTH100 (links stay)
        with _new_folder(target) as folder:
            loops = _Export(client, folder).write(session, messages)
    standard(given.color).line(f"Exported {count(loops, 'loop')} to {target}")
    return 0


@contextlib.contextmanager
def _new_folder(target: Path) -> Generator[Path]:
    """A folder that gets its name when all is written, and goes when that fails. Raises Problem."""
    _check_free(target)
    try:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name[:100]}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise Problem(f"{target} cannot be made: {error.strerror}.") from None
    try:
        yield folder
        _check_free(target)
        folder.rename(target)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, ConnectionError):  # that is the helper's
            problem = f"{target} could not be written: {error.strerror}. Nothing of it was left."
            raise Problem(problem, "Make room, or name a folder elsewhere.") from None
        raise


def _check_free(target: Path) -> None:
    if os.path.lexists(target):
        raise Problem(f"{target} exists already; nothing was written.", "Name another folder, or move that one away.")


def _session(client: Client, session_id: str) -> tuple[Json, list[Json]]:
    """The session, and all of its messages: an answer holds the newest that fit."""
    session: Json = client.request("ralph/sessions/get", {"sessionId": session_id})
    pages: list[list[Json]] = [session["messages"]]
    while pages[-1]:
        older = {"sessionId": session_id, "before": pages[-1][0]["messageId"]}
        pages.append(client.request("ralph/sessions/get", older)["messages"])
    return session, [message for page in reversed(pages) for message in page]


@attrs.frozen
class _Export:
    client: Client
    folder: Path

    def write(self, session: Json, messages: list[Json]) -> int:
        """Returns how many loops there were."""
        own = {key: value for key, value in session.items() if key not in ("messages", "loops")}
        _json(self.folder / "session.json", own)
        _json(self.folder / "messages.json", messages)
        told: list[exportpage.Told] = []
        for number, loop in enumerate(self._loops(session, messages), start=1):
            place = self.folder / "loops" / f"{number:03}-{loop['runId']}"
            place.mkdir(parents=True)
            told.append(self._loop(place, loop))
        (self.folder / "README.md").write_bytes(exportpage.page(own, messages, told).encode())
        return len(told)

    def _loops(self, session: Json, messages: list[Json]) -> list[Json]:
        """In the order of their start. Each began with a message; an answer may hold the newest loops only."""
        known = {loop["runId"]: loop for loop in session["loops"]}
        for run_id in dict.fromkeys(message["runId"] for message in messages if "runId" in message):
            if run_id not in known and (loop := self.client.request("ralph/status", {"runId": run_id})):
                known[run_id] = loop
        return sorted(known.values(), key=lambda loop: loop["startedAt"])

    def _loop(self, place: Path, loop: Json) -> exportpage.Told:
        run = {"runId": loop["runId"]}
        records = asking.records(self.client, run)
        _json(place / "snapshot.json", loop)
        _json(place / "history.json", records)
        _json(place / "context.json", self.client.request("ralph/listContext", run)["items"])
        notes = self._operations(place, run)
        for record in records:
            number = record["iteration"]
            prompt = self.client.request("ralph/prompt", {**run, "iteration": number})["prompt"]
            _write(place / "prompts" / f"{number:04}.txt", prompt.encode())
            notes += self._changes(place / "changes", loop, record)
        notes += self._output(place / "output", run)
        return exportpage.Told(place.relative_to(self.folder), loop, records, notes)

    def _operations(self, place: Path, run: Json) -> list[str]:
        """What waits for approval in plan mode."""
        try:
            operations = self.client.request("ralph/plan/staged", run)["operations"]
        except ResponseError as error:
            if error.code == _NOT_AVAILABLE:
                return []
            return [f"Staged changes are missing: {one_line(str(error))}"]
        if operations:
            _json(place / "operations.json", operations)
        return []

    def _changes(self, folder: Path, loop: Json, record: Json) -> list[str]:
        """The patch of one iteration. Returns what is missing or not whole."""
        if not record["filesTotal"]:
            return []
        number, side = record["iteration"], f"{loop['runId']}#{record['iteration']}"
        sides = {"workspace": loop["workspace"], "from": f"{side}.before", "to": f"{side}.after", "patch": True}
        try:
            patch, notes = self._patch(sides, number)
        except ResponseError as error:
            return [f"The changes of iteration {number} are missing: {one_line(str(error))}"]
        _write(folder / f"{number:04}.patch", patch.encode())
        return notes

    def _patch(self, sides: Json, number: int) -> tuple[str, list[str]]:
        """Of all files at once, or of one after another when that is too much for one answer."""
        answer = self.client.request("ralph/git/diff", sides)
        patch: str = answer["patch"]
        notes: list[str] = []
        if _is_cut(patch):
            sections: dict[str, None] = {}
            for change in answer["files"]:
                if "pathBytes" in change:
                    notes.append(f"The patch of {change['path']} in iteration {number} is missing: name not in UTF-8.")
                    continue
                part = self.client.request("ralph/git/diff", {**sides, "path": change["path"]})["patch"]
                if _is_cut(part):
                    notes.append(f"The patch of {change['path']} in iteration {number} is too long to be shown.")
                sections.update(dict.fromkeys(_SECTION.split(part)))
            patch = "".join(section for section in sections if not _is_cut(section))
            if answer["filesTotal"] > len(answer["files"]):
                notes.append(
                    f"Iteration {number} changed {answer['filesTotal']} files; the patch holds the first ones."
                )
        if "\ufffd" in patch:
            notes.append(f"The patch of iteration {number} is for reading: it holds text that is not UTF-8.")
        return patch, notes

    def _output(self, folder: Path, run: Json) -> list[str]:
        """One file per iteration and stream, with the bytes as they were printed."""
        first = self._stream(folder, {**run, "view": "raw"}, ("stdout", "stderr"))
        self._stream(folder, {**run, "view": "readable"}, _READABLE_ONLY)
        if first > 1:
            return [f"The output before number {first} was given up (retentionDays, retentionBytes)."]
        if not folder.exists():  # no number is left that would tell which
            return ["No output is stored: nothing was printed, or it was given up (retentionDays, retentionBytes)."]
        return []

    def _stream(self, folder: Path, view: Json, streams: Sequence[str]) -> int:
        """Returns the number of the first chunk that is still stored."""
        first, after = 1, 0
        with contextlib.ExitStack() as open_files:
            files: dict[str, BinaryIO] = {}
            while True:
                answer = self.client.request("ralph/output", {**view, "after": after, "raw": True})
                for chunk in answer["chunks"]:
                    after = chunk["seq"]
                    if chunk["stream"] not in streams:
                        continue
                    name = f"{chunk['iteration']:04}.{chunk['stream']}"
                    if name not in files:
                        open_files.close()
                        files.clear()
                        folder.mkdir(exist_ok=True)
                        files[name] = open_files.enter_context((folder / name).open("ab"))
                    files[name].write(base64.b64decode(chunk["bytes"]))
                first = max(first, answer["firstSeq"])
                if not answer["more"]:
                    return first


def _is_cut(patch: str) -> bool:
    """Whether its last line says that more did not fit; no line of a patch begins like that one."""
    return patch.rstrip("\n").rpartition("\n")[2].startswith("# ")


def _json(path: Path, document: Any) -> None:
    path.write_bytes(json.dumps(document, indent=2, ensure_ascii=False).encode() + b"\n")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
