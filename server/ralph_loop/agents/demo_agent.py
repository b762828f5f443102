"""The demo agent: a program that behaves like a coding agent, is always the same, and needs no model.

Each run is one iteration: it reads the prompt on stdin, looks at the files in `ralph-demo/`, takes the work one step
further, runs the tests for real, and says what it did. It remembers nothing. Standard library only; run as
``python -I -S demo_agent.py`` in the workspace.

Environment: RALPH_DEMO_DELAY_MS, the pause after each line (150); RALPH_DEMO_ITERATIONS, after how many iterations the
tests pass (4, at least 2).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

MARK = "Made by the demo agent of Ralph Loop."  # a file without it is not ours, and stays as it is
FOLDER = Path("ralph-demo")
MODULE, TESTS, NOTES = FOLDER / "roman.py", FOLDER / "test_roman.py", FOLDER / "NOTES.md"

HEAD = f'"""Roman numerals. {MARK}"""\n'

STUB = f"""{HEAD}

def to_roman(number):
    raise NotImplementedError


def from_roman(text):
    raise NotImplementedError
"""

TABLE = """
VALUES = {
    "M": 1000, "CM": 900, "D": 500, "CD": 400, "C": 100, "XC": 90,
    "L": 50, "XL": 40, "X": 10, "IX": 9, "V": 5, "IV": 4, "I": 1,
}
"""

TO_ROMAN = """

def to_roman(number):
    text = ""
    for letters, value in VALUES.items():
        while number >= value:
            text += letters
            number -= value
    return text
"""

HALF = f"""{HEAD}{TABLE}{TO_ROMAN}

def from_roman(text):
    raise NotImplementedError
"""

FROM_ROMAN = """

def from_roman(text):
    number = 0
    rest = text
    for letters, value in VALUES.items():
        while rest.startswith(letters):
            number += value
            rest = rest[len(letters):]
"""

CARELESS = f"""{HEAD}{TABLE}{TO_ROMAN}{FROM_ROMAN}    return number
"""

CAREFUL = f"""{HEAD}{TABLE}{TO_ROMAN}{FROM_ROMAN}    if rest or to_roman(number) != text:
        raise ValueError(f"not a Roman numeral: {{text!r}}")
    return number
"""

TEST = f'''"""Tests of Roman numerals. {MARK}"""

import unittest

from roman import from_roman, to_roman


class RomanTest(unittest.TestCase):
    def test_to_roman(self):
        self.assertEqual([to_roman(n) for n in (1, 4, 9, 2026)], ["I", "IV", "IX", "MMXXVI"])

    def test_there_and_back(self):
        for number in range(1, 4000):
            self.assertEqual(from_roman(to_roman(number)), number)

    def test_nonsense_is_refused(self):
        for text in ("IIII", "ABC", "VX"):
            with self.assertRaises(ValueError):
                from_roman(text)
'''

STAGES = {
    STUB: "a module without code, and the tests that it has to pass",
    HALF: "numbers to numerals; the way back is still missing",
    CARELESS: "numerals to numbers; nonsense is not refused yet",
    CAREFUL: "nonsense is refused",
}


def main() -> int:
    prompt = sys.stdin.buffer.read().decode(errors="replace")
    say("I am the demo agent. I have a fresh context, so I look at the files first.")
    for hint in hints(prompt):
        say(f"Hint received: {hint}")
    try:
        work()
        passed = run_tests()
    except OSError as error:
        say(f"I cannot work here: {error.strerror}: {error.filename}")
        return 1
    if passed:
        say("All tests pass, so the work is done.")
        say(f"<promise>{promise(prompt)}</promise>")
    else:
        say("Some tests still fail. The next iteration goes on from here.")
    return 0


def work() -> None:
    """Takes the files one step further."""
    if FOLDER.is_symlink():
        raise NotADirectoryError(0, "it is a link to another place", str(FOLDER))
    tests, module, notes = read(TESTS), read(MODULE), read(NOTES)
    if not tests:
        edit(TESTS, TEST)
    total = number_from_environment("RALPH_DEMO_ITERATIONS", 4)
    stages = [STUB, *[HALF, CARELESS][: max(total - 2, 0)], CAREFUL]
    done = notes.count("\n- ")
    if module == CAREFUL:
        say("Everything is there already.")
    elif module in stages[:-2] or not module:
        advance(stages[stages.index(module) + 1] if module else STUB)
    elif done < total - len(stages):
        edit(NOTES, (notes or f"# Notes\n\n{MARK}\n") + f"\n- Looked at the numbers up to {1000 * (done + 1)}.\n")
    else:
        advance(CAREFUL)


def advance(stage: str) -> None:
    say(f"Next step: {STAGES[stage]}.")
    edit(MODULE, stage)


def read(path: Path) -> str:
    """The text of a file of ours; empty when there is none. Raises OSError when somebody else's is in its place."""
    if not path.exists():
        return ""
    say(f"[tool] read {path}")
    text = path.read_text(errors="replace")
    if text and MARK not in text:
        raise FileExistsError(0, "there is a file that I have not made, and I will not touch it", str(path))
    return text


def edit(path: Path, text: str) -> None:
    say(f"[tool] edit {path}")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def run_tests() -> bool:
    """Runs the tests and shows what matters of their output."""
    say(f"[tool] bash python3 -m unittest discover -s {FOLDER}")
    command = [sys.executable, "-I", "-S", "-B", "-m", "unittest", "discover", "-s", str(FOLDER)]
    tests = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    for line in tests.stderr.splitlines():
        if re.match(r"FAIL|ERROR|OK|Ran |\w*Error\b", line):
            say("  " + re.sub(r" in [\d.]+s$", "", line))
    return tests.returncode == 0


def hints(prompt: str) -> list[str]:
    """What the user added for this iteration, a line each."""
    section = re.search(r"^## Additional Context.*?\n\n(.*?)\n\n---\n(?=\n## |\Z)", prompt, re.DOTALL | re.MULTILINE)
    paragraphs = section[1].split("\n\n") if section else []
    return [" ".join(paragraph.split())[:200] for paragraph in paragraphs if paragraph.strip()]


def promise(prompt: str) -> str:
    """The word to promise with, from the section that says how; else from the first tag there is."""
    section = prompt.rpartition("## When You Are Done")[2]
    found = re.search(r"^\s*<promise>(.+?)</promise>\s*$", section, re.MULTILINE) or re.search(
        r"<promise>(.+?)</promise>", section
    )
    return found[1].strip() if found else "COMPLETE"


def number_from_environment(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text[:6]) if text.isdecimal() else default


def say(line: str) -> None:
    sys.stdout.buffer.write(line.encode(errors="replace") + b"\n")
    sys.stdout.buffer.flush()
    time.sleep(number_from_environment("RALPH_DEMO_DELAY_MS", 150) / 1000)


if __name__ == "__main__":
    sys.exit(main())
