"""Who may import what (server/README.md, invariant 1), and what a light program must not load."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import ralph_loop

PACKAGE = Path(ralph_loop.__file__).parent
ALLOWED = {
    "pygls": {"lsp"},
    "lsprotocol": {"lsp", "protocol.py"},
    "aiosqlite": {"store"},
    "pygit2": {"git", "terminal"},
}  # the demo makes a repository


def imports() -> dict[str, set[str]]:
    """{top-level module: parts of the package that import it}, at whatever depth of a file."""
    found: dict[str, set[str]] = {}
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            for name in names:
                found.setdefault(name.partition(".")[0], set()).add(file.relative_to(PACKAGE).parts[0])
    return found


def test_who_imports_what() -> None:
    found = imports()
    for module, parts in ALLOWED.items():
        assert found[module] <= parts, module


def test_a_forwarder_loads_next_to_nothing() -> None:
    code = "import sys, ralph_loop.shared.forward; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"pygls", "lsprotocol", "attrs", "attr", "asyncio", "aiosqlite"} & set(done.stdout.split())


def test_a_guard_loads_the_standard_library_only() -> None:
    code = "import sys; sys.path.append(sys.argv[1]); import ralph_loop.agents.guard; print(*sorted(sys.modules))"
    command = [sys.executable, "-I", "-S", "-c", code, str(PACKAGE.parent)]
    loaded = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    known = {name for name in loaded if name.partition(".")[0] in sys.stdlib_module_names}
    assert {name for name in loaded - known if not name.startswith(("ralph_loop", "__main__"))} == set()
    assert "asyncio" not in loaded
