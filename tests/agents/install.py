"""Installs the real agents from the npm registry into ``.cache/agents``, at the versions of ``cli/package-lock.json``.

Their own install scripts are not run; ``.cache/agents/bin`` has a link to each program.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "agents"
BIN = CACHE / "bin"

_MACHINE = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}[platform.machine().lower()]
_PLATFORM = f"{sys.platform}-{_MACHINE}"

PROGRAMS = {
    "claude": f"@anthropic-ai/claude-code-{_PLATFORM}/claude",
    "opencode": f"opencode-{_PLATFORM}/bin/opencode",
    "codex": ".bin/codex",
    "gemini": ".bin/gemini",
    "copilot": ".bin/copilot",
    "claude-agent-acp": ".bin/claude-agent-acp",
    "codex-acp": ".bin/codex-acp",
}
if sys.platform == "linux":
    # Codex brings the program of its sandbox along; its bridge takes the one on the PATH
    _TRIPLE = f"{'x86_64' if _MACHINE == 'x64' else 'aarch64'}-unknown-linux-musl"
    PROGRAMS["bwrap"] = f"@openai/codex-{_PLATFORM}/vendor/{_TRIPLE}/codex-resources/bwrap"


def main() -> None:
    files = [HERE / "cli" / name for name in ("package.json", "package-lock.json")]
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    stamp = CACHE / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        CACHE.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy(file, CACHE)
        # not `npm ci`: a lock made where a registry lacks some platforms' packages would be refused elsewhere
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(command, cwd=CACHE, check=True)
        stamp.write_text(wanted)
    BIN.mkdir(exist_ok=True)
    for name, target in PROGRAMS.items():
        program, link = CACHE / "node_modules" / target, BIN / name
        if not program.exists():
            sys.exit(f"{name} was not installed: {program} is missing.")
        link.unlink(missing_ok=True)
        link.symlink_to(os.path.relpath(program, BIN))
    print(f"{len(PROGRAMS)} programs are installed in {BIN}")


if __name__ == "__main__":
    main()
