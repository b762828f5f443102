"""Presets: working instructions that shape a prompt. Built-in ones, the user's own, and a repository's.

A preset is a Markdown file ``<id>.md``, if wanted with YAML front matter (`title`, `description`). It gives text and
nothing else, so a repository's may be used before its folder is trusted; but only a trusted repository's takes the
place of the user's or a built-in preset of the same name (`PROTOCOL.md`, rule 8).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import attrs

from ralph_loop.engine.loopfile import LoopFileError, front_matter

Source = Literal["builtin", "user", "repository"]

_BUILTIN = Path(__file__).parent.parent / "presets"
_ID = re.compile(r"[a-z0-9_-]+")
_MAX_SIZE = 256 * 1024  # bytes


class PresetError(Exception):
    """A preset that is not there or cannot be used, in words for a person."""


@attrs.frozen
class Folders:
    """Where presets are, beside the built-in ones: the user's folder, and ``<working tree>/.ralph/presets``."""

    user: Path
    repository: Path | None = None


@attrs.frozen
class Preset:
    """`text` are the instructions, without front matter."""

    id: str
    title: str
    description: str
    source: Source
    text: str


def load(name: str, folders: Folders, *, trusted: bool) -> Preset:
    """A preset by its id. Raises PresetError."""
    if not _ID.fullmatch(name):
        raise PresetError(f"{name!r} is no name of a preset: use small letters, digits, - and _ only.")
    for source, folder in _places(folders, trusted):
        if name in _names(folder):
            return _read(name, source, folder)
    known = ", ".join(sorted({name for _, folder in _places(folders, trusted) for name in _names(folder)}))
    raise PresetError(f"There is no preset {name!r}. Known are: {known}.")


def available(folders: Folders, *, trusted: bool) -> list[Preset]:
    """Every preset that can be asked for, built-in ones first. One that cannot be used says why in its description."""
    found: dict[str, Preset] = {}
    for source, folder in _places(folders, trusted):
        for name in _names(folder):
            if name not in found:
                try:
                    found[name] = _read(name, source, folder)
                except PresetError as error:
                    found[name] = Preset(name, name, str(error), source, "")
    order: list[Source] = ["builtin", "user", "repository"]
    return sorted(found.values(), key=lambda preset: (order.index(preset.source), preset.id != "default", preset.id))


def _places(folders: Folders, trusted: bool) -> list[tuple[Source, Path]]:
    """The strongest first."""
    ours: list[tuple[Source, Path]] = [("user", folders.user), ("builtin", _BUILTIN)]
    if folders.repository is None:
        return ours
    theirs: tuple[Source, Path] = ("repository", folders.repository)
    return [theirs, *ours] if trusted else [*ours, theirs]


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.stem for path in folder.iterdir() if path.suffix == ".md" and _ID.fullmatch(path.stem))
    except OSError:  # not there, or not readable: then nothing in it can be asked for either
        return []


def _read(name: str, source: Source, folder: Path) -> Preset:
    path = folder / f"{name}.md"
    try:
        if not path.is_file():
            raise PresetError(f"The preset {path} is not a file.")
        if source == "repository" and not path.resolve().is_relative_to(folder.parent.parent.resolve()):
            raise PresetError(f"The preset {path} lies outside of the workspace, behind a symbolic link.")
        with path.open("rb") as file:
            content = file.read(_MAX_SIZE + 1)
        if len(content) > _MAX_SIZE:
            raise PresetError(f"The preset {path} is larger than {_MAX_SIZE // 1024} KiB.")
        found, text = front_matter(content.decode())
    except OSError as error:
        raise PresetError(f"The preset {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise PresetError(f"The preset {path} is not UTF-8 (byte {error.start}).") from error
    except LoopFileError as error:
        raise PresetError(f"The preset {path} has a mistake in line {error.line}: {error.message}.") from error
    if not text:
        raise PresetError(f"The preset {path} is empty.")
    said = {key: entry.value for key, entry in found.items()}
    for key, value in said.items():
        if key not in ("title", "description") or not isinstance(value, str):
            raise PresetError(
                f"The preset {path} has a mistake in line {found[key].position[0]}: only title and description, with "
                f"text, can be set here, not {key}."
            )
    first = text.splitlines()[0].lstrip("# ")[:120]
    return Preset(name, str(said.get("title", name)), str(said.get("description", first)), source, text)
