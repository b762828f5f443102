"""Starting a helper process: in the foreground, detached for a forwarder, or embedded behind standard input."""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable

from ralph_loop.errors import RalphError
from ralph_loop.paths import Paths, reason
from ralph_loop.shared import forward
from ralph_loop.shared.daemon import embedded, serve
from ralph_loop.shared.takeover import take_over

DEFAULT_LEVEL = "INFO"
_LOG_BYTES = 2 * 1024 * 1024
_LOG_FILES = 3

log = logging.getLogger(__name__)


def run_helper(
    paths: Paths,
    *,
    idle_s: float,
    tcp: bool,
    detach: bool,
    ready_fd: int | None,
    level: str | None,
    takes_over: bool = False,
) -> int:
    """`ralph-loop serve`: the shared helper, which ends after idling for `idle_s` seconds (0: never). With `detach` it
    leaves the caller's process tree first; when it `takes_over`, it waits until no loop of another helper runs.
    `level` of the log: None leaves it to the setting logLevel."""
    if detach and os.fork() > 0:
        os._exit(0)  # the caller waits for us, not for the helper
    try:
        paths.create()
        configure_log(paths, level or DEFAULT_LEVEL, to_stderr=not detach)

        def run(ready: Callable[[], None]) -> None:
            asyncio.run(serve(paths, idle_s=idle_s or None, tcp=tcp, level=level, ready=ready))

        if takes_over:
            take_over(paths.data, run)
        else:
            run(lambda: _tell(ready_fd, "ready"))
    except (RalphError, OSError, sqlite3.Error) as error:
        problem = _problem(error, paths)
        # another one that was faster is no fault: whoever started us uses that one
        log.log(logging.INFO if problem.code == 1012 else logging.ERROR, "%s", problem.message)
        _tell(ready_fd, f"error {problem.to_json()}")
        if ready_fd is None:
            print(f"ralph-loop: {problem.message}", file=sys.stderr)
        return 1
    return 0


def run_embedded(paths: Paths, level: str | None) -> int:
    """`ralph-loop lsp --embedded`: engine and client in one process, behind the same copying as a forwarder's."""
    ours, theirs = socket.socketpair()
    copying = threading.Thread(target=forward.copy, args=(theirs, 0), daemon=True)
    with ours, theirs:
        try:
            paths.create()
            configure_log(paths, level or DEFAULT_LEVEL, to_stderr=False)
            asyncio.run(embedded(paths, ours, dict(os.environ), copying.start, level=level))
        except (RalphError, OSError, sqlite3.Error) as error:
            return forward.refuse(_problem(error, paths))
        if copying.ident is not None:
            copying.join(timeout=5)
    return 0


def configure_log(paths: Paths, level: str, *, to_stderr: bool) -> None:
    """The helper's log: rotating, for the user alone, without prompts and output below the level DEBUG."""
    mask = os.umask(0o177)
    try:
        file = logging.handlers.RotatingFileHandler(paths.log, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES)
    finally:
        os.umask(mask)
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handlers: list[logging.Handler] = [file]
    if to_stderr:
        handlers.append(logging.StreamHandler())
    logging.basicConfig(level=level, handlers=handlers, force=True)
    logging.getLogger("pygls").setLevel(logging.CRITICAL)  # it logs whole messages, prompts included


def _problem(error: Exception, paths: Paths) -> forward.HelperError:
    if isinstance(error, RalphError):
        return forward.HelperError(error.code, error.message, error.data)
    return forward.HelperError(
        -32603, f"The helper cannot use {paths.data}: {reason(error)}", {"kind": "internal", "path": str(paths.data)}
    )


def _tell(ready_fd: int | None, text: str) -> None:
    if ready_fd is not None:
        try:
            os.write(ready_fd, f"{text}\n".encode())
            os.close(ready_fd)
        except OSError as error:  # whoever started us is gone; others will come
            log.warning("nobody waits for the helper's start: %s", error)
