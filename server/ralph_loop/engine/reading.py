"""The requests that only read: snapshots, records, prompts, output, files."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from pathlib import Path

from ralph_loop import protocol as p
from ralph_loop.engine import presets as preset_files
from ralph_loop.engine import repositories, settings
from ralph_loop.engine.client import Client
from ralph_loop.engine.engine import Engine
from ralph_loop.engine.starting import find_place
from ralph_loop.errors import InvalidParamsError, RalphError, not_found
from ralph_loop.git.snapshot import SnapshotError
from ralph_loop.store import asks, iterations, loops, operations, repos
from ralph_loop.store import output as output_table
from ralph_loop.store import search as search_table

MAX_FILE_BYTES = 2 * 1024 * 1024  # with base64 still below the size of an answer


def health(engine: Engine, version: str, uptime_ms: int) -> p.Health:
    return p.Health(
        version=version,
        pid=os.getpid(),
        uptime_ms=uptime_ms,
        database=str(engine.paths.database),
        shared=engine.shared,
        active_loops=engine.active,
    )


async def status(engine: Engine, target: p.Target) -> p.Snapshot | None:
    try:
        return await engine.snapshot_of(await engine.find(target))
    except RalphError as error:
        if error.kind == "notFound":
            return None
        raise


async def list_loops(engine: Engine, params: p.ListParams) -> list[p.Snapshot]:
    """Newest first; one more than `limit` when there are more."""
    repo_id = None
    if params.workspace is not None:
        repo = await repositories.known(engine.database, params.workspace)
        if repo is None:
            return []
        repo_id = repo.id
    if params.before is not None and await loops.get(engine.database, params.before) is None:
        raise not_found("loop", params.before)
    found = await loops.find(
        engine.database, repo_id=repo_id, active=params.active, limit=min(params.limit, 10_000), before=params.before
    )
    return [await engine.snapshot_of(state) for state in found]


async def watched(engine: Engine, sees: Callable[[str, str], bool]) -> list[p.Snapshot]:
    """The latest loops a client hears of from now on, newest first."""
    found = await loops.find(engine.database, limit=200)
    return [await engine.snapshot_of(state) for state in found if sees(state.key, state.run_id)]


async def history(engine: Engine, params: p.HistoryParams) -> list[p.IterationRecord]:
    """Oldest first; one more than `limit` when there are more."""
    state = await engine.find(params)
    return await iterations.page(engine.database, state.run_id, limit=min(params.limit, 10_000), before=params.before)


async def prompt(engine: Engine, params: p.PromptParams) -> p.PromptResult:
    state = await engine.find(params)
    text = await iterations.prompt(engine.database, state.run_id, params.iteration)
    if text is None:
        raise not_found("iteration", f"{state.run_id}#{params.iteration}")
    return p.PromptResult(prompt=text)


async def output_bounds(engine: Engine, run_id: str) -> tuple[int, int]:
    return await output_table.bounds(engine.database, run_id)


async def output(engine: Engine, params: p.OutputParams) -> p.Output:
    state = await engine.find(params)
    return await output_table.page(
        engine.database,
        state.run_id,
        after=params.after,
        limit=params.limit,
        view=params.view,
        iteration=params.iteration,
        raw=params.raw,
    )


async def file(engine: Engine, params: p.FileParams) -> p.FileContent:
    """A file as it was before or after an iteration."""
    path = params.path if params.path_bytes is None else _decoded("pathBytes", params.path_bytes)
    state = await engine.find(params)
    number = params.iteration
    if params.operation_id is not None:
        operation = await operations.find(engine.database, state.run_id, params.operation_id)
        if operation is None:
            raise not_found("operation", params.operation_id)
        number = operation.iteration
    if number is None:
        raise InvalidParamsError("iteration", "is missing: give iteration or operationId")
    trees = await iterations.trees(engine.database, state.run_id, number)
    if trees is None:
        raise not_found("iteration", f"{state.run_id}#{number}")
    tree = trees.before if params.side == "before" else trees.after
    if tree is None:
        raise not_found("tree", f"{state.run_id}#{number}.{params.side}", "It was not recorded.")
    try:
        found = await engine.reader(Path(state.root)).read(tree, path, MAX_FILE_BYTES)
    except SnapshotError as error:
        raise not_found("tree", tree, str(error)) from None
    return content(found.exists, found.mode, found.data)


def _decoded(key: str, value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except ValueError:
        raise InvalidParamsError(key, "is not base64") from None


def content(exists: bool, mode: int, data: bytes | None) -> p.FileContent:
    """For diff editors: text when it is UTF-8 without NUL, else bytes; neither when it is too large for an answer."""
    if data is None:
        return p.FileContent(exists=exists, binary=True, mode=mode)
    binary = b"\0" in data
    text = None
    if not binary:
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text, binary = None, True
    return p.FileContent(
        exists=exists,
        binary=binary,
        text=text if exists else None,
        bytes=base64.b64encode(data).decode() if binary and exists else None,
        mode=mode,
    )


async def permissions(engine: Engine, target: p.Target) -> list[p.Permission]:
    return await asks.open_permissions(engine.database, await _run_id(engine, target))


async def questions(engine: Engine, target: p.Target) -> list[p.Question]:
    return await asks.open_questions(engine.database, await _run_id(engine, target))


async def _run_id(engine: Engine, target: p.Target) -> str | None:
    if target.run_id is None and target.session_id is None and target.workspace is None:
        return None
    return (await engine.find(target)).run_id


async def explain(engine: Engine, params: p.ConfigExplainParams, client: Client) -> list[p.ExplainedValue]:
    """Where each value of a loop's configuration would come from, without a start request and a loop file."""
    layers = [("editor", client.config)]
    if params.workspace is not None:
        place = await find_place(params.workspace)
        repo = await repos.by_key(engine.database, str(place.key))
        layers.append(("repository", await engine.settings.repository(place, repo is not None and repo.trusted)))
    layers.append(("user", engine.settings.user()))
    values = [p.ExplainedValue(key=key, value=value, source=source) for key, value, source in settings.explain(layers)]
    for key, value in engine.settings.values().items():
        if all(known.key != key for known in values):
            values.append(p.ExplainedValue(key=key, value=value, source="user"))
    if params.key is not None:
        values = [value for value in values if value.key == params.key]
        if not values:
            value = engine.settings.read(params.key)  # raises notFound for a key nobody knows
            values = [p.ExplainedValue(key=params.key, value=value, source="default")]
    return values


async def presets(engine: Engine, workspace: str | None) -> list[p.Preset]:
    repository, trusted = None, False
    if workspace is not None:
        place = await find_place(workspace)
        repo = await repos.by_key(engine.database, str(place.key))
        repository, trusted = place.root / ".ralph" / "presets", repo is not None and repo.trusted
    folders = preset_files.Folders(user=engine.paths.config / "presets", repository=repository)
    found = await asyncio.to_thread(preset_files.available, folders, trusted=trusted)
    return [p.Preset(id=f.id, title=f.title, description=f.description, source=f.source) for f in found]


async def search(engine: Engine, params: p.SearchParams) -> list[p.SearchHit]:
    repo_id = None
    if params.workspace is not None:
        place = await find_place(params.workspace)
        repo = await repos.by_key(engine.database, str(place.key))
        if repo is None:
            return []
        repo_id = repo.id
    return await search_table.search(engine.database, params.text, repo_id=repo_id, limit=min(params.limit, 1000))


async def staged(engine: Engine, target: p.Target) -> list[p.Operation]:
    state = await engine.find(target)
    return await operations.staged(engine.database, state.run_id)
