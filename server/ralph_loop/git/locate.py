"""Where a folder belongs: its working tree, its git directories, and the key that makes two folders one repository.

Found by looking at the file system alone, as `gitrepository-layout(5)` describes it: no libgit2 (it refuses other
people's repositories), no git command, no environment variable, no current directory. So a broken repository is found
as well as a healthy one.
"""

from __future__ import annotations

import os
from pathlib import Path

import attrs

_MAX_POINTER_BYTES = 64 * 1024


@attrs.frozen
class Place:
    """A folder and the repository it lies in. Every path is absolute, with symbolic links resolved."""

    workspace: Path
    """The folder as given."""
    root: Path
    """The top of the working tree; the folder itself outside git; the git directory when there is no working tree."""
    git_dir: Path | None = None
    """The git directory of this working tree: its own index and HEAD. None outside git."""
    common_dir: Path | None = None
    """The git directory all working trees of the repository share. None outside git."""
    bare: bool = False
    """True when there is no working tree: a bare repository, or a folder inside a git directory."""
    reason: str | None = None
    """Why a folder that looks like git is taken as a plain one, for a person."""

    @property
    def git(self) -> bool:
        return self.git_dir is not None

    @property
    def key(self) -> Path:
        """The same for every folder, link and working tree of one repository; a plain folder is its own key."""
        return self.common_dir or self.root


def locate(path: Path) -> Place:
    """The place of an existing folder, given by its absolute path.

    Raises ValueError when the path is relative and OSError when it cannot be resolved or is not a folder.
    """
    if not path.is_absolute():
        raise ValueError(f"{path} is not an absolute path.")
    workspace = path.resolve(strict=True)
    if not os.path.isdir(workspace):  # noqa: PTH112 - Path.is_dir raises where a parent may not be entered
        raise NotADirectoryError(f"{workspace} is not a folder.")
    for folder in (workspace, *workspace.parents):
        entry = folder / ".git"
        if os.path.isdir(entry):  # noqa: PTH112
            if _has_git_content(entry):
                return _repository(workspace, folder, entry)
        elif os.path.isfile(entry):  # noqa: PTH113
            git_dir, reason = _follow(entry)
            if git_dir is None:
                return Place(workspace, workspace, reason=reason)
            return _repository(workspace, folder, git_dir)
        if _is_git_dir(folder):
            return _repository(workspace, None, folder)
    return Place(workspace, workspace)


def _repository(workspace: Path, root: Path | None, git_dir: Path) -> Place:
    git_dir = git_dir.resolve()
    common = git_dir
    pointer = _first_line(git_dir / "commondir")
    if pointer:
        common = (git_dir / os.fsdecode(pointer)).resolve()
    return Place(workspace, root or git_dir, git_dir, common, bare=root is None)


def _has_git_content(folder: Path) -> bool:
    """Also a corrupt `.git` is the place; one without anything of git in it (sandboxes make such) is nothing."""
    return any(os.path.lexists(folder / name) for name in ("HEAD", "objects", "refs", "config", "index"))


def _is_git_dir(folder: Path) -> bool:
    if not os.path.lexists(folder / "HEAD"):
        return False
    own = os.path.isdir(folder / "objects") and os.path.isdir(folder / "refs")  # noqa: PTH112
    return own or os.path.isfile(folder / "commondir")  # noqa: PTH113


def _follow(entry: Path) -> tuple[Path | None, str | None]:
    """The folder a `.git` file points to (linked working trees, submodules), or why there is none."""
    line = _first_line(entry)
    if line is None or not line.startswith(b"gitdir:"):
        return None, f"{entry} is not a git pointer file (it should say `gitdir: …`)."
    target = entry.parent / os.fsdecode(line.removeprefix(b"gitdir:").strip(b" \t"))
    if not os.path.isdir(target):  # noqa: PTH112
        return None, f"{entry} points to {target}, which does not exist."
    return target, None


def _first_line(file: Path) -> bytes | None:
    try:
        with file.open("rb") as stream:
            return stream.read(_MAX_POINTER_BYTES).partition(b"\n")[0].rstrip(b"\r")
    except OSError:
        return None
