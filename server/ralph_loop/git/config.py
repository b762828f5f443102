"""Reads git's configuration for a repository and its user without starting git.

libgit2 looks for the user's files by the environment of this process, which is not the environment of a loop. Its
search paths are therefore emptied, and the files of the person who started the loop are read by name.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pygit2
from pygit2.config import ConfigEntry
from pygit2.enums import ConfigLevel

# Repositories of other people are read too: libgit2 runs nothing that a repository brings, so its check of the owner,
# which guards against hooks and configured commands, is not needed.
pygit2.settings.owner_validation = False
for _level in (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
    pygit2.settings.search_path[_level] = ""


def read_config(git_dir: Path | None, common_dir: Path | None, env: Mapping[str, str]) -> pygit2.Config:
    """What `git config --list` would read, later files over earlier ones.

    `env` is the environment of the person (HOME, XDG_CONFIG_HOME, GIT_CONFIG_GLOBAL …). Files that cannot be read are
    passed over. Raises pygit2.GitError when a file is not a configuration.
    """
    config = pygit2.Config()
    files = [*_user_files(env)]
    if common_dir:
        files.append((common_dir / "config", ConfigLevel.LOCAL))
    if git_dir:
        files.append((git_dir / "config.worktree", ConfigLevel.WORKTREE))
    for file, level in files:
        if os.access(file, os.R_OK):
            config.add_file(str(file), level, False)  # pyright: ignore[reportUnknownMemberType]
    return config


def get(config: pygit2.Config, key: str, default: str = "") -> str:
    """The last value of a key; `default` when it is not set."""
    try:
        return config[key] or default
    except KeyError:
        return default
    except UnicodeDecodeError:
        found = [entry for entry in _entries(config) if entry.name == key]
        return _value(max(reversed(found), key=lambda entry: entry.level)) or default


def items(config: pygit2.Config) -> Iterator[tuple[str, str | None]]:
    """Names and values as `config` has them; what is not UTF-8 in a value is as os.fsdecode has it."""
    for entry in _entries(config):
        yield entry.name, _value(entry)


def _entries(config: pygit2.Config) -> Iterator[ConfigEntry]:
    """Those with a name that is UTF-8: pygit2 cannot give others, such as of a branch, and nobody asks for them."""
    entries = iter(config)
    while True:
        try:
            yield next(entries)
        except StopIteration:
            return
        except UnicodeDecodeError:
            continue


def _value(entry: ConfigEntry) -> str | None:
    return None if entry.raw_value is None else os.fsdecode(entry.raw_value)


def get_bool(config: pygit2.Config, key: str, default: bool) -> bool:
    """A key as git reads a boolean; `default` when it is not set or is none."""
    with contextlib.suppress(KeyError, pygit2.GitError, ValueError):
        return config.get_bool(key)
    return default


def user_path(value: str, env: Mapping[str, str]) -> Path | None:
    """A configured path, with `~/` for the person's home; None when it is empty or relative."""
    if value.startswith("~/") and env.get("HOME"):
        value = os.fspath(Path(env["HOME"], value[2:]))
    return Path(value) if value.startswith("/") else None


def ignore_rules(config: pygit2.Config, common_dir: Path | None, env: Mapping[str, str]) -> bytes:
    """The ignore rules outside the working tree, the stronger ones last (gitignore(5)).

    Those of core.excludesFile or $XDG_CONFIG_HOME/git/ignore, then those of the repository's info/exclude.
    """
    files: list[Path | None] = [common_dir / "info" / "exclude" if common_dir else None]
    chosen = get(config, "core.excludesfile")
    directory = _xdg(env)
    files.insert(0, user_path(chosen, env) if chosen else directory / "ignore" if directory else None)
    rules = b""
    for file in files:
        if file and os.path.isfile(file) and os.access(file, os.R_OK):  # noqa: PTH113
            rules += file.read_bytes() + b"\n"
    return rules


def attributes_file(config: pygit2.Config, env: Mapping[str, str]) -> Path | None:
    """The person's attributes for all repositories: core.attributesFile or $XDG_CONFIG_HOME/git/attributes."""
    chosen = get(config, "core.attributesfile")
    directory = _xdg(env)
    return user_path(chosen, env) if chosen else directory and directory / "attributes"


def _xdg(env: Mapping[str, str]) -> Path | None:
    if env.get("XDG_CONFIG_HOME"):
        return Path(env["XDG_CONFIG_HOME"], "git")
    return Path(env["HOME"], ".config", "git") if env.get("HOME") else None


def _user_files(env: Mapping[str, str]) -> list[tuple[Path, ConfigLevel]]:
    files: list[tuple[Path, ConfigLevel]] = []
    if env.get("GIT_CONFIG_NOSYSTEM", "").lower() not in ("1", "true", "yes", "on"):
        files.append((Path(env.get("GIT_CONFIG_SYSTEM") or "/etc/gitconfig"), ConfigLevel.SYSTEM))
    if "GIT_CONFIG_GLOBAL" in env:
        files.append((Path(env["GIT_CONFIG_GLOBAL"] or os.devnull), ConfigLevel.GLOBAL))
        return files
    directory = _xdg(env)
    if directory:
        files.append((directory / "config", ConfigLevel.XDG))
    if env.get("HOME"):
        files.append((Path(env["HOME"], ".gitconfig"), ConfigLevel.GLOBAL))
    return files
