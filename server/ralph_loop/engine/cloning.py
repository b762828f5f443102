"""Clones of repositories. A note of each is kept while it is made: a helper that is killed leaves half a clone, and a
git that goes on or waits for a silent server for ever. The next helper clears both away."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path

from ralph_loop.agents.proctable import MARK, kill_left
from ralph_loop.git import write
from ralph_loop.protocol import GitOutput

log = logging.getLogger(__name__)


async def clone(
    notes: Path, url: str, parent: Path, env: Mapping[str, str], on_progress: write.OnProgress
) -> tuple[Path, GitOutput]:
    """`write.clone`, with a note in the folder `notes` until it has ended. Raises what that raises."""
    name = f"clone_{secrets.token_hex(8)}"
    note, partial = notes / name, parent / f".{write.clone_name(url)}.{name}"
    await asyncio.to_thread(note.write_bytes, os.fsencode(partial))
    try:
        return await write.clone(url, parent, partial, {**env, MARK: name}, on_progress)
    finally:
        note.unlink()


def clear(notes: Path) -> None:
    """Ends the clones that a killed helper left and removes what there is of them. Blocks. Raises OSError."""
    for note in notes.iterdir():
        if left := kill_left(note.name, {}):
            log.warning("a clone of the last helper could not be ended: processes %s", left)
            continue
        partial = Path(os.fsdecode(note.read_bytes()))
        if partial.name.endswith(f".{note.name}"):  # else it was killed while it wrote the note
            shutil.rmtree(partial, ignore_errors=True)
        note.unlink()
