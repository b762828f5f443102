"""The program `opencode`, as far as we start it. Like the real one, its server never answers what it is asked between
opening its port and saying that it listens."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fake_opencode import FakeOpenCode
from opencode_scripts import simple


def leave_traces() -> None:
    folder = Path(os.environ["HOME"])
    (folder / "permission").write_text(os.environ.get("OPENCODE_PERMISSION", ""))
    stray = subprocess.Popen(["setsid", "sleep", "7781"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (folder / "pids").write_text(f"{os.getpid()} {stray.pid}")


async def dies(server: FakeOpenCode, session: str) -> None:
    await server.take(session)
    await server.message(session, "assistant")
    os._exit(9)


async def serve() -> None:
    scripts = [dies if os.environ.get("DIES") else simple] * 9
    async with FakeOpenCode(*scripts, password=os.environ["OPENCODE_SERVER_PASSWORD"], deaf=True) as server:
        print("Warning: something", flush=True)
        await asyncio.sleep(0.2)  # whoever asks now waits for ever
        server.deaf = False
        print(f"opencode server listening on {server.url}", flush=True)
        await asyncio.Event().wait()


if sys.argv[1:3] == ["debug", "config"] and "NO_DEBUG" not in os.environ:
    print(json.dumps({"permission": {"bash": {"git *": "allow"}}}, indent=2))
else:
    leave_traces()
    asyncio.run(serve())
