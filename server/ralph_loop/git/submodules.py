"""What a person does not want to be told of submodules: `submodule.<name>.ignore` (gitmodules(5))."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pygit2
from pygit2.enums import FileMode

from ralph_loop.git import config as git_config
from ralph_loop.git.locate import Place


def ignore_settings(place: Place, env: Mapping[str, str]) -> dict[bytes, str]:
    """By path: `all`, `dirty`, `untracked` or `none`. The configuration goes before `.gitmodules`; libgit2 reads only
    that. Raises pygit2.GitError when a file is damaged.
    """
    file = place.root / ".gitmodules"
    if not file.is_file():
        return {}
    values = {name: value or "" for name, value in git_config.items(pygit2.Config(os.fspath(file)))}
    config = git_config.read_config(place.git_dir, place.common_dir, env)
    found: dict[bytes, str] = {}
    for key, path in values.items():
        name, _, field = key.rpartition(".")
        if field == "path":
            found[os.fsencode(path)] = git_config.get(config, f"{name}.ignore", values.get(f"{name}.ignore", "none"))
    return found


def unwanted(place: Place, env: Mapping[str, str], diff: pygit2.Diff) -> frozenset[bytes]:
    """Changed submodules that the person does not want to be told of."""
    links = [delta for delta in diff.deltas if delta.new_file.mode == FileMode.COMMIT]
    ignore = ignore_settings(place, env) if links else {}
    return frozenset(
        delta.new_file.raw_path
        for delta in links
        for setting in [ignore.get(delta.new_file.raw_path)]
        if setting == "all" or (setting == "dirty" and delta.old_file.id == delta.new_file.id)
    )
