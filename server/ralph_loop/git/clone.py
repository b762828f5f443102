"""A private clone: a git directory with the history of the user's, and nothing that leads back to it.

It reads the user's objects (`objects/info/alternates`) and has references, index and configuration of its own; no
remote, no hook, no filter, no stash. Written file by file: `git clone` refuses repositories of other people, and loses
what is staged.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from pathlib import Path

import pygit2

from ralph_loop.git import config as git_config
from ralph_loop.git.locate import Place

# The configuration that changes what files and history look like, and who commits. Never a command.
_KEPT = re.compile(
    r"core\.(autocrlf|eol|filemode|ignorecase|symlinks|precomposeunicode|sparsecheckout|sparsecheckoutcone"
    r"|excludesfile|quotepath|abbrev|whitespace)|index\.sparse|(user|author|committer)\.(name|email)"
    r"|extensions\.(objectformat|refstorage)"
)
_CONFIG = """[core]
	repositoryformatversion = 1
	bare = false
	hooksPath = /dev/null
	fsmonitor = false
	untrackedCache = false
	splitIndex = false
[commit]
	gpgSign = false
[tag]
	gpgSign = false
[gc]
	auto = 0
[maintenance]
	auto = false
"""


def clone(place: Place, folder: Path) -> None:
    """Makes `folder` a working tree of its own of the repository at `place`; its files are left alone.

    Raises OSError, and pygit2.GitError when the configuration cannot be read.
    """
    if place.git_dir is None or place.common_dir is None:
        raise ValueError(f"{place.root} is not a git repository")
    git = folder / ".git"
    for name in ("objects/info", "objects/pack", "refs", "info"):
        (git / name).mkdir(parents=True)
    (git / "objects" / "info" / "alternates").write_bytes(quoted(os.fsencode(place.common_dir / "objects")) + b"\n")
    (git / "config").write_bytes(_CONFIG.encode() + _kept(place.git_dir, place.common_dir))
    for name in ("packed-refs", "shallow", "info/exclude", "info/attributes"):
        _copy_file(place.common_dir / name, git / name)
    for name in ("HEAD", "index", "info/sparse-checkout"):
        _copy_file(place.git_dir / name, git / name)
    for file in place.git_dir.glob("sharedindex.*"):
        _copy_file(file, git / file.name)
    for name in ("refs", "reftable"):
        _copy_files(place.common_dir / name, git / name)
    (git / "refs" / "stash").unlink(missing_ok=True)


def _copy_files(source: Path, target: Path) -> None:
    for path in source.rglob("*"):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            _copy_file(path, target / path.relative_to(source))


def _copy_file(source: Path, target: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.copyfile(source, target)


def _kept(git_dir: Path, common_dir: Path) -> bytes:
    lines: list[bytes] = []
    for file in (common_dir / "config", git_dir / "config.worktree"):
        if not file.is_file():
            continue
        for name, value in git_config.items(pygit2.Config(str(file))):
            if _KEPT.fullmatch(name) and value is not None:
                section, _, key = name.rpartition(".")
                value = re.sub(r'[\\"]', r"\\\g<0>", value).replace("\n", "\\n").replace("\t", "\\t")
                lines.append(f'[{section}]\n\t{key} = "{value}"\n'.encode(errors="surrogateescape"))
    return b"".join(lines)


def quoted(path: bytes) -> bytes:
    """A line of `alternates`: git reads it as a quoted string when it starts with a quote (gitrepository-layout(5))."""
    if b"\n" not in path and not path.startswith(b'"'):
        return path
    return b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n") + b'"'
