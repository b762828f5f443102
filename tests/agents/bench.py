"""Benchmark: what each way of calling an agent costs, with the agents' own programs against a model on loopback.

Told in processor seconds, since they depend less on what else a machine does; read them as ratios. Linux only, after
`make test-agents` has installed the agents:  .venv/bin/python tests/agents/bench.py [agent …]
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "server"))

import attrs
from box import Box
from model_thread import ModelThread
from real_agents import EVERY, Agent
from real_place import Place

from ralph_loop.agents.proctable import Process, offspring, proc_table

TICKS = os.sysconf("SC_CLK_TCK")
FURTHER = 4  # iterations after the first one
PAUSE_MS = 3000  # between them: an agent may still do something


@attrs.frozen
class Load:
    """Of all that a loop has started: processor seconds so far, megabytes now."""

    seconds: float
    megabytes: float


def load(guard: int) -> Load:
    """What has ended below the guard counts for whoever waited for it, see proc_pid_stat(5)."""
    seconds, megabytes = 0.0, 0.0
    table = proc_table()
    for process in offspring(table, [guard]).values():
        own = process.pid != guard
        with contextlib.suppress(OSError):  # it has just ended
            seconds += _seconds(process, own)
            megabytes += _megabytes(process) if own else 0
    return Load(seconds, megabytes)


def _seconds(process: Process, own: bool) -> float:
    stat = Path(f"/proc/{process.pid}/stat").read_text(errors="replace")
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11 if own else 13 : 15])) / TICKS


def _megabytes(process: Process) -> float:
    """The proportional share of what is in memory: the processes of an agent share their program."""
    lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("Pss:"))


def measure(place: Place, agent: Agent) -> None:
    place.end(place.start(agent, "text"))  # the first start in a new HOME takes some of them long
    run = place.start(agent, "text", maxIterations=1 + FURTHER, iterationDelayMs=PAUSE_MS)
    loads: list[Load] = []
    for number in range(1, 1 + FURTHER):
        done = {"runId": run, "iteration": number, "status": "completed"}
        place.client.wait("didIterate", lambda record, done=done: done.items() <= record.items(), timeout=300)
        (guard,) = place.box.guards()
        loads.append(load(guard))
    place.end(run)
    first, last = loads[0], loads[-1]
    further = (last.seconds - first.seconds) / (len(loads) - 1)
    print(
        f"{agent.id:16} first {first.seconds:5.1f} s   further {further:5.2f} s   between {last.megabytes:4.0f} MB",
        flush=True,
    )


def main(names: list[str]) -> None:
    box = Box("shared")
    try:
        with tempfile.TemporaryDirectory() as homes:
            for number, agent in enumerate(agent for agent in EVERY if not names or agent.id in names):
                repo = box.repo(f"repo{number}")
                with ModelThread(str(repo)) as model:
                    measure(Place(box, Path(homes), model, repo), agent)
    finally:
        box.close()


if __name__ == "__main__":
    main(sys.argv[1:])
