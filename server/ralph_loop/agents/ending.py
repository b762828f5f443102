"""An order to end processes, as the guard keeps it. Standard library only."""

from __future__ import annotations

import os
import time

from ralph_loop.agents.proctable import Table, offspring

KILL_PATIENCE = 10.0  # seconds of SIGKILL until what is still there is reported as left (state D, setuid)


class Ending:
    """An order to end processes: SIGTERM once, and after the grace SIGKILL again and again until none is left."""

    def __init__(self, request: int | None, spare: set[int], grace: float, last: bool = False) -> None:
        self.request, self.spare, self.last = request, spare, last
        self.kill_at = time.monotonic() + grace
        # without a helper there is nobody to tell, and nothing to do but go on
        self.give_up_at = float("inf") if request is None else self.kill_at + KILL_PATIENCE
        self.told = grace <= 0
        self.stopped: set[int] = set()
        self.found_none = False  # in the last step
        self.known: dict[int, int | str] = {}  # pid: started

    def targets(self, table: Table, groups: set[int]) -> Table:
        """What is to be ended: our descendants, what was one of them before, and the groups of agents (for systems
        where orphans do not come back to us)."""
        me = os.getpid()
        spare = self.spare | {me}
        roots = [
            process.pid
            for process in table.values()
            if process.parent == me
            or self.known.get(process.pid) == process.started
            or process.group in groups - self.spare
        ]
        targets = offspring(table, roots, spare)
        self.known = {target.pid: target.started for target in targets.values()}
        return targets
