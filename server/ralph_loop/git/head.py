"""The branch a working tree is on, read from its HEAD file alone: cheap enough for every list."""

from __future__ import annotations

from pathlib import Path

from ralph_loop.git.locate import locate

_PREFIX = b"ref: refs/heads/"
_ELSEWHERE = _PREFIX + b".invalid"


def current_branch(folder: Path) -> str | None:
    """None outside git, for a detached HEAD, and where HEAD cannot be read (reftable keeps it elsewhere)."""
    try:
        place = locate(folder)
        if place.git_dir is None:
            return None
        head = (place.git_dir / "HEAD").read_bytes()[:4096]
    except OSError:
        return None
    if not head.startswith(_PREFIX) or head.strip() == _ELSEWHERE:
        return None
    return head[len(_PREFIX) :].strip().decode("utf-8", "replace")
