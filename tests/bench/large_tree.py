"""Benchmark: `ralph/git/status` and a snapshot of a large repository, as the ratio to `git status` in the same run.

The answer holds the lines of changed files too: the ratio to `git status` with `git diff --numstat` is told as well.

.venv/bin/python tests/bench/large_tree.py [FILES]        (50,000 files; the ratio has to stay under 3)
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ralph_loop.git import read
from ralph_loop.git.locate import locate
from ralph_loop.git.snapshot import SnapshotStore

LIMIT = 3.0
PER_FOLDER = 250


def fastest(*works: Callable[[], object]) -> list[float]:
    """Seconds of each, the best of five: the others had company. By turns, so that all of them had the same."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(5):
        for work, known in zip(works, times, strict=True):
            began = time.monotonic()
            work()
            known.append(time.monotonic() - began)
    return [min(known) for known in times]


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with tempfile.TemporaryDirectory() as name:
        env = {"PATH": os.environ["PATH"], "HOME": name, "GIT_CONFIG_NOSYSTEM": "1"}
        folder = Path(name, "large")
        for n in range(count):
            if n % PER_FOLDER == 0:
                (folder / f"d{n // PER_FOLDER}").mkdir(parents=True)
            (folder / f"d{n // PER_FOLDER}" / f"f{n}").write_text(f"{n}\n")

        def git(*argv: str) -> None:
            who = ["-c", "user.name=B", "-c", "user.email=b@localhost"]
            subprocess.run(["git", *who, *argv], cwd=folder, env=env, check=True, stdout=subprocess.DEVNULL)

        git("init", "-q")
        git("add", ".")
        git("commit", "-qm", "all")
        place = locate(folder)
        worst = 0.0
        for state in ("clean", "1,000 changed", "1,000 untracked too"):
            for n in range(0, count, max(1, count // 1000)) if state != "clean" else ():
                suffix = "" if state == "1,000 changed" else ".new"
                (folder / f"d{n // PER_FOLDER}" / f"f{n}{suffix}").write_text("other\n")
            theirs, lines, ours = fastest(
                lambda: git("status", "--porcelain", "-uall"),
                lambda: git("diff", "--numstat"),
                lambda: read.status(place, env),
            )
            worst = max(worst, ours / theirs)
            print(
                f"{count:,} files, {state}: {ours / theirs:.2f} times git status ({ours:.3f} s and {theirs:.3f} s), "
                f"{ours / (theirs + lines):.2f} times with git diff --numstat"
            )
        store = SnapshotStore(Path(name, "store"), place, env)
        store.take("first")
        ours, theirs = fastest(lambda: store.take("next"), lambda: git("status", "--porcelain", "-uall"))
        worst = max(worst, ours / theirs)
        print(f"the next snapshot: {ours / theirs:.2f} times git status ({ours:.3f} s and {theirs:.3f} s)")
    return 0 if worst < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
