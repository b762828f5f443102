"""The service takes a data directory over from a helper that an editor or a terminal started: there is one engine per
data directory, and its loops are not interrupted."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from ralph_loop.errors import RalphError
from ralph_loop.shared import forward
from ralph_loop.shared.servicetool import END_LIMIT_S

log = logging.getLogger(__name__)

_ASK_AGAIN_S = 2.0
_POLL_S = 0.05


def take_over(data: Path, serve: Callable[[Callable[[], None]], None]) -> None:
    """Runs `serve(ready)`; while another helper serves `data`, asks it to end as soon as none of its loops runs and
    tries again. Raises what `serve` raises otherwise.

    The start lock is held from asking until `ready`: clients that lose the other helper wait for this one, and start
    none of their own in between.
    """
    told = False
    while True:
        with os.fdopen(forward.start_lock(data)) as lock:
            if _serve_in_turn(data, serve, lock.close):
                return
        if not told:
            told = True
            log.info("another helper has loops that run; this one takes over when they rest or have ended")
        time.sleep(_ASK_AGAIN_S)


def _serve_in_turn(data: Path, serve: Callable[[Callable[[], None]], None], ready: Callable[[], None]) -> bool:
    """False when the other helper stays."""
    until = 0.0
    while True:
        try:
            serve(ready)
            return True
        except RalphError as error:
            if error.kind != "helperRunning":
                raise
        if not until:
            if forward.ask_for_room(data) != "replaced":
                return False
            until = time.monotonic() + END_LIMIT_S
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
