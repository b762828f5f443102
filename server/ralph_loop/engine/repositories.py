"""The list of repositories: added by hand, by clone, or by starting a loop; and which of them are trusted."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ralph_loop.engine import cloning
from ralph_loop.engine.places import from_uri, is_uri, workspace_path
from ralph_loop.engine.scanning import scan
from ralph_loop.engine.starting import find_place
from ralph_loop.errors import InvalidParamsError, RalphError, invalid_state, not_found
from ralph_loop.git import write
from ralph_loop.git.command import GitMissingError
from ralph_loop.git.head import current_branch
from ralph_loop.git.locate import Place, locate
from ralph_loop.protocol import IDLE, FoundRepo, Repo, ReposAddParams, ReposScanParams, ReposTrustParams
from ralph_loop.store import loops, repos
from ralph_loop.store.database import Database, Writer
from ralph_loop.waiting import complete

if TYPE_CHECKING:
    from ralph_loop.engine.engine import Engine


PROTOCOLS = ("https", "http", "ssh", "git", "file")


class Progress(Protocol):
    """Where long work tells how far it is."""

    def report(self, message: str, percentage: int | None = None) -> None: ...


async def known(database: Database, workspace: str) -> repos.RepoRow | None:
    """The row of a workspace's repository. One whose folder is gone is known by the path it is listed with, so that
    what was done in it can still be read. Raises InvalidParamsError, and RalphError notARepository for a bare one."""
    try:
        place = await find_place(workspace)
    except InvalidParamsError:
        row = await repos.by_path(database, from_uri(workspace, "workspace") if is_uri(workspace) else workspace)
        if row is None:
            raise
        return row
    return await repos.by_key(database, str(place.key))


class Repositories:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def listed(self) -> list[Repo]:
        rows = await repos.listed(self._engine.database)
        return [await self.shape(row) for row in rows]

    async def add(self, params: ReposAddParams, env: Mapping[str, str], progress: Progress) -> Repo:
        """By `path`, or by `url` and parent `directory` (a clone). Raises InvalidParamsError and RalphError."""
        if params.path is not None:
            if params.url is not None:
                raise InvalidParamsError("url", "give path, or url and directory, not both")
            return await self._register(str(workspace_path(params.path, "path")))
        if params.url is None:
            raise InvalidParamsError("path", "is missing: give path, or url and directory")
        if params.directory is None:
            raise InvalidParamsError("directory", "is missing: the folder to clone into")
        parent = workspace_path(params.directory, "directory")
        return await self._clone(params.url, parent, env, progress)

    async def _clone(self, url: str, parent: Path, env: Mapping[str, str], progress: Progress) -> Repo:
        """Nothing is left half-cloned, also when cancelled, or after a kill of the helper and its next start."""
        _check_url(url)
        try:
            target, output = await cloning.clone(self._engine.paths.clones, url, parent, env, progress.report)
        except write.BadNameError as error:
            raise InvalidParamsError(error.key, str(error)) from None
        except (GitMissingError, OSError) as error:
            raise RalphError("gitFailed", str(error), exitCode=-1, stderr=str(error)) from None
        if output.exit_code:
            shown = write.without_passwords(url)
            text = f"git could not clone {shown} (exit code {output.exit_code}): {output.stderr.strip()[-500:]}"
            raise RalphError("gitFailed", text, exitCode=output.exit_code, stderr=output.stderr)
        # it is there: who cancels now is too late, and gets it
        return await complete(asyncio.create_task(self._register(str(target), write.without_passwords(url))))

    async def remove(self, repo_id: str) -> None:
        """Forgets it; never deletes a file. Refused while a loop runs."""
        row = await self._row(repo_id)
        active = await loops.find(self._engine.database, repo_id=row.id, active=True, limit=1)
        if active:
            text = f"A loop is under way in {row.path}. Cancel it first."
            raise invalid_state(text, active[0].status, [*IDLE])
        await self._engine.database.write(lambda writer: repos.set_listed(writer, row.id, False))

    async def scan(self, params: ReposScanParams, progress: Progress) -> list[FoundRepo]:
        """Cancelling ends it soon."""
        roots = [workspace_path(path, f"paths[{index}]") for index, path in enumerate(params.paths)]
        stop = threading.Event()
        loop = asyncio.get_running_loop()

        def report(folders: int, found: int) -> None:
            loop.call_soon_threadsafe(progress.report, f"{found} repositories in {folders} folders")

        try:
            found = await asyncio.to_thread(scan, roots, params.max_depth, stop, report)
        finally:
            stop.set()
        known = {row.key for row in await repos.listed(self._engine.database)}
        return [FoundRepo(path=str(f.path), name=f.path.name, registered=f.key in known) for f in found]

    async def trust(self, params: ReposTrustParams) -> Repo:
        """Whether what the folder contains may choose programs and rights (rule 8)."""
        place = await find_place(params.workspace)

        async def store(writer: Writer) -> str:
            repo = await repos.register(writer, str(place.key), str(place.root), place.git)
            await repos.set_trusted(writer, repo.id, params.trusted)
            return repo.id

        return await self.shape(await self._row(await self._engine.database.write(store)))

    async def require_trust(self, place: Place) -> None:
        """Git writes run the repository's hooks: refused in an untrusted folder (rule 8)."""
        row = await repos.by_key(self._engine.database, str(place.key))
        if row is None or not row.trusted:
            raise RalphError(
                "untrusted",
                f"{place.root} is not trusted, and git would run what it contains. "
                "Trust the folder first (ralph-loop trust).",
                path=str(place.root),
                keys=[],
            )

    async def shape(self, row: repos.RepoRow) -> Repo:
        path = Path(row.path)
        missing = not await asyncio.to_thread(path.is_dir)
        return Repo(
            repo_id=row.id,
            path=row.path,
            name=row.name,
            git=row.git,
            trusted=row.trusted,
            missing=missing,
            branch=None if missing else await asyncio.to_thread(current_branch, path),
            last_run_id=await repos.last_run(self._engine.database, row.id),
            clone_url=row.clone_url,
            created_at=row.created_at,
        )

    async def _row(self, repo_id: str) -> repos.RepoRow:
        row = await repos.by_id(self._engine.database, repo_id)
        if row is None:
            raise not_found("repository", repo_id)
        return row

    async def _register(self, path: str, clone_url: str | None = None) -> Repo:
        place = await asyncio.to_thread(locate, Path(path))
        known = await repos.by_key(self._engine.database, str(place.key))
        gone = known is not None and not await asyncio.to_thread(Path(known.path).is_dir)

        async def store(writer: Writer) -> str:
            repo = await repos.register(writer, str(place.key), str(place.root), place.git)
            if gone:  # it was first seen as a linked worktree that is no more
                await repos.set_path(writer, repo.id, str(place.root))
            if clone_url is not None:
                await repos.set_clone_url(writer, repo.id, clone_url)
            return repo.id

        return await self.shape(await self._row(await self._engine.database.write(store)))


def _check_url(url: str) -> None:
    """Only what git may fetch by itself; other protocols run programs (`ext::`). Raises InvalidParamsError."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):(//|:)", url)
    if "\0" in url or url.startswith("-") or (scheme and (scheme[2] == ":" or scheme[1].lower() not in PROTOCOLS)):
        raise InvalidParamsError(
            "url", f"{write.without_passwords(url)!r} cannot be cloned; use one of {', '.join(PROTOCOLS)}"
        )
    if scheme is None and not re.match(r"/|[^/:]+:.", url):  # neither a path nor, for ssh, host:path
        raise InvalidParamsError("url", f"{url!r} is no URL: give one, an absolute path, or host:path for ssh")
