"""From a start request to the state of a loop that has not begun: everything that can be refused is refused here."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import attrs

from ralph_loop.agents.base import Adapter, AgentNotFoundError, resolve
from ralph_loop.engine import config as configuration
from ralph_loop.engine import loopfile, presets
from ralph_loop.engine.client import Client
from ralph_loop.engine.places import from_uri, is_uri, workspace_path
from ralph_loop.engine.prompt import check_template
from ralph_loop.engine.rotation import entries
from ralph_loop.engine.settings import Settings
from ralph_loop.engine.state import LoopState
from ralph_loop.errors import InvalidParamsError, RalphError, not_found
from ralph_loop.git.locate import Place, locate
from ralph_loop.protocol import LoopConfig, LoopConfigPatch, StartParams
from ralph_loop.store.database import now
from ralph_loop.store.ids import new_id
from ralph_loop.wire import camel, structure

_PATH_MAX, _NAME_MAX = 4096, 255  # bytes, see path_resolution(7)
_MAX_PROMPT_JSON = 1024 * 1024  # bytes as JSON: every snapshot carries the prompt, and an answer is at most 4 MiB
_BY_COMMAND = ("custom", "acp")  # agents whose program is that of the loop's `command`


@attrs.frozen
class Plan:
    """What a start request comes to."""

    place: Place
    state: LoopState  # ids of repository and session are still missing
    config: LoopConfig


async def find_place(workspace: str) -> Place:
    """The repository of a workspace. Raises InvalidParamsError, and notARepository for a bare one."""
    path = workspace_path(workspace)
    place = await asyncio.to_thread(locate, path)
    refuse_bare(place, path)
    return place


def refuse_bare(place: Place, path: Path) -> None:
    """Raises RalphError notARepository for one without a working tree."""
    if place.bare:
        raise RalphError("notARepository", f"{path} is a bare repository: it has no files to work on.", path=str(path))


class Starter:
    """Resolves start requests. `agents` are the adapters by id; `settings` the user's configuration."""

    def __init__(self, agents: Mapping[str, Adapter], settings: Settings, config_dir: Path) -> None:
        self._agents = agents
        self._settings = settings
        self._config_dir = config_dir

    async def plan(self, params: StartParams, client: Client, place: Place, trusted: bool) -> Plan:
        """Raises InvalidParamsError and RalphError; changes nothing."""
        file = await asyncio.to_thread(self._read_prompt, params, place, trusted)
        repository = await self._settings.repository(place, trusted)
        _check_template(repository)
        try:
            config = configuration.merge(params.config, file.config, client.config, repository, self._settings.user())
            config = self._choose_agent(config, client)
            self.check_agents(config, client)
            preset = await asyncio.to_thread(self._preset, config, place, trusted)
        except InvalidParamsError as error:
            raise file.blamed(error, params.config) from None
        if config.plan_mode and not place.git:
            text = f"Plan mode needs a git repository, and {place.root} is none. Run `git init` there or do without."
            raise RalphError("planNeedsGit", text)
        template = await asyncio.to_thread(_template, config, place)
        state = LoopState(
            run_id=new_id("run"),
            session_id="",
            repo_id="",
            workspace=str(place.workspace),
            root=str(place.root),
            key=str(place.key),
            git=place.git,
            prompt=file.prompt,
            title=file.title,
            config=config,
            preset_text=preset,
            template_text=template,
            trusted=trusted,
            variables=sorted(client.added),
            phase="starting",
            started_at=now(),
        )
        return Plan(place, state, config)

    # ------------------------------------------------------------------------------------------------------- prompt
    def _read_prompt(self, params: StartParams, place: Place, trusted: bool) -> _PromptFile:
        if (params.prompt is None) == (params.prompt_file is None):
            problem = (
                "is missing: give prompt or promptFile" if params.prompt is None else "give it or promptFile, not both"
            )
            raise InvalidParamsError("prompt", problem)
        if params.prompt is not None:
            _check_prompt("prompt", params.prompt)
            return _PromptFile(prompt=params.prompt)
        assert params.prompt_file is not None
        path = _resolve_inside(place.workspace, place.root, params.prompt_file, "promptFile")
        parsed = self._parse(path)
        _check_prompt("promptFile", parsed.prompt)
        restricted = sorted(set(parsed.config) - configuration.UNTRUSTED_KEYS)
        if restricted and not trusted and not path.is_relative_to(self._config_dir):
            raise RalphError(
                "untrusted",
                f"{path} sets {', '.join(restricted)}, which a file may do only in a trusted folder. Trust the folder "
                "(ralph-loop trust), or give these settings with the start.",
                path=str(path),
                keys=restricted,
            )
        config = self._patch(path, parsed)
        if path.is_relative_to(place.root):
            _check_template(config)
        return _PromptFile(parsed.prompt, parsed.title, config, path, parsed.positions)

    def _parse(self, path: Path) -> loopfile.LoopFile:
        try:
            return loopfile.parse(_read(path, "promptFile").decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            before = re.split(r"\r\n|\n|\r", bytes(error.object[: error.start]).decode("utf-8-sig"))
            raise _invalid_prompt(path, len(before), len(before[-1]) + 1, "the file is not UTF-8 here") from None
        except loopfile.LoopFileError as error:
            raise _invalid_prompt(path, error.line, error.column, error.message) from None
        except OSError as error:
            raise not_found("promptFile", str(path), f"It cannot be read: {error.strerror}.") from None

    def _patch(self, path: Path, parsed: loopfile.LoopFile) -> LoopConfigPatch:
        try:
            return structure(dict(parsed.config), LoopConfigPatch, "config")
        except InvalidParamsError as error:
            key = error.key.removeprefix("config.").split("[")[0].split(".")[0]
            line, column = parsed.positions.get(key, (1, 1))
            raise _invalid_prompt(path, line, column, error.message.removeprefix("config.")) from None

    # ------------------------------------------------------------------------------------------------------- agents
    def _choose_agent(self, config: LoopConfig, client: Client) -> LoopConfig:
        """With no agent named anywhere, the first real one that is installed."""
        if config.agent or config.rotation:
            return config
        for agent, adapter in self._agents.items():
            if adapter.binary_name and agent != "ralph":
                try:
                    resolve(adapter, self._binary(client, agent), client.env)
                except AgentNotFoundError:
                    continue
                return attrs.evolve(config, agent=agent)
        raise RalphError(
            "agentNotFound",
            "No coding agent was found on the PATH. Install one (for example Claude Code or OpenCode), "
            "name one by its path, or try the built-in agent demo.",
            agent="",
            command="",
            installHint="npm install -g opencode-ai",
        )

    def check_agents(self, config: LoopConfig, client: Client) -> None:
        wanted = entries(config)
        for key, agent in wanted:
            adapter = self._agents.get(agent)
            if adapter is None:
                raise InvalidParamsError(key, f"{agent!r} is not an agent; known are {', '.join(self._agents)}")
            if adapter.elsewhere and self._settings.get(adapter.elsewhere):
                continue
            own = config.command if agent in _BY_COMMAND else None
            program = own[0] if own else self._binary(client, agent)
            if adapter.binary_name or program:
                try:
                    resolve(adapter, program, client.env)
                except AgentNotFoundError as error:
                    raise agent_not_found(error) from None

    def _binary(self, client: Client, agent: str) -> str | None:
        return client.binaries.get(agent) or self._settings.binary(agent)

    def binaries(self, client: Client) -> dict[str, str]:
        """Configured executables: the editor's over the user's."""
        return {**self._settings.binaries(), **client.binaries}

    # ------------------------------------------------------------------------------------------ presets and templates
    def _preset(self, config: LoopConfig, place: Place, trusted: bool) -> str | None:
        if config.preset is None:
            return None
        folders = presets.Folders(user=self._config_dir / "presets", repository=place.root / ".ralph" / "presets")
        try:
            return presets.load(config.preset, folders, trusted=trusted).text
        except presets.PresetError as error:
            raise InvalidParamsError("config.preset", str(error)) from None


def _check_template(layer: LoopConfigPatch) -> None:
    """What a repository contains names templates inside of it only (rule 8). Raises InvalidParamsError."""
    if layer.template is not None and _is_absolute(layer.template):
        problem = f"{layer.template!r} is absolute; a repository's files name templates inside of it"
        raise InvalidParamsError("config.template", problem)


def _template(config: LoopConfig, place: Place) -> str | None:
    if config.template is None:
        return None
    path = _resolve_inside(place.workspace, place.root, config.template, "config.template")
    try:
        text = _read(path, "config.template").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _invalid_prompt(path, 1, 1, "the file is not UTF-8") from None
    except OSError as error:
        raise not_found("template", str(path), f"It cannot be read: {error.strerror}.") from None
    problems = check_template(text)
    if problems:
        raise _invalid_prompt(path, problems[0].line, problems[0].column, problems[0].message)
    return text


@attrs.frozen
class _PromptFile:
    prompt: str
    title: str | None = None
    config: LoopConfigPatch = attrs.field(factory=LoopConfigPatch)
    path: Path | None = None
    positions: Mapping[str, tuple[int, int]] = attrs.field(factory=dict[str, tuple[int, int]])

    def blamed(self, error: InvalidParamsError, given: LoopConfigPatch | None) -> InvalidParamsError | RalphError:
        """The error with line and column, when the value it is about is this file's and not the request's."""
        key = error.key.removeprefix("config.").split("[")[0]
        own = {
            camel(field.name) for field in attrs.fields(LoopConfigPatch) if getattr(given, field.name, None) is not None
        }
        if self.path is None or key not in self.positions or key in own:
            return error
        return _invalid_prompt(self.path, *self.positions[key], error.message.removeprefix("config."))


def agent_not_found(error: AgentNotFoundError) -> RalphError:
    return RalphError(
        "agentNotFound", str(error), agent=error.agent, command=error.command, installHint=error.install_hint
    )


def _check_prompt(key: str, prompt: str) -> None:
    if not prompt.strip():
        raise InvalidParamsError(key, "is empty: say what the agent should do")
    if "\0" in prompt:
        raise InvalidParamsError(key, "contains a NUL character, which no agent can be given")
    if len(json.dumps(prompt, ensure_ascii=False).encode()) > _MAX_PROMPT_JSON:
        raise InvalidParamsError(key, "is longer than 1 MiB; put the details into files and name them")


def _read(path: Path, key: str) -> bytes:
    """Raises InvalidParamsError for a file that is longer than a prompt may be, and OSError."""
    with path.open("rb") as file:
        content = file.read(_MAX_PROMPT_JSON + 1)
    if len(content) > _MAX_PROMPT_JSON:
        raise InvalidParamsError(key, f"{path} is longer than 1 MiB; put the details into files and name them")
    return content


def _resolve_inside(workspace: Path, root: Path, name: str, key: str) -> Path:
    """A file of the repository by its relative path; an absolute path as the client gave it."""
    if "\0" in name:
        raise InvalidParamsError(key, "contains a NUL character")
    if len(os.fsencode(name)) >= _PATH_MAX or any(len(os.fsencode(part)) > _NAME_MAX for part in name.split("/")):
        raise not_found(key.removeprefix("config."), name, "No file can have such a long name.")
    if _is_absolute(name):
        path = Path(from_uri(name, key) if is_uri(name) else name)
        if not path.is_file():
            raise not_found(key.removeprefix("config."), name)
        return path
    path = Path(os.path.realpath(workspace / name))  # resolve() fails where links form a ring
    if not path.is_relative_to(root):
        raise InvalidParamsError(key, f"{name!r} leaves the workspace; give an absolute path if that is meant")
    if not path.is_file():
        raise not_found(key.removeprefix("config."), name)
    return path


def _is_absolute(name: str) -> bool:
    return is_uri(name) or Path(name).is_absolute()


def _invalid_prompt(path: Path, line: int, column: int, problem: str) -> RalphError:
    return RalphError("invalidPrompt", f"{path}:{line}:{column}: {problem}", file=str(path), line=line, column=column)
