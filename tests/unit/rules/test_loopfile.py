"""Loop files: what they may say, and every mistake told where it is."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.engine.loopfile import LoopFile, LoopFileError, check, parse
from ralph_loop.protocol import LoopConfigPatch
from ralph_loop.wire import structure

EVERYTHING = """---
title: "Migrate: the parser"   # a comment
agent: claude
model: 'claude-sonnet-4:1m'
rotation: [claude:opus, "opencode:openai/gpt-5"]
preset: tdd-red-green
template: prompts/loop.md
minIterations: 2
maxIterations: 0
maxFailures: 5
completionPromise: YES
abortPromise: 1:30
tasksMode: true
taskPromise: "next"
planMode: false
allowAll: true
autoCommit: false
iterationTimeoutMs: 60000
inactivityTimeoutMs: 5000
maxDurationMs: 9007199254740991
pauseOnStruggle: true
iterationDelayMs: 0
agentArgs:
  - --verbose
  - "5"
command:
  - make
---

# The task

---
Do it.
"""


def test_every_key() -> None:
    file = parse(EVERYTHING)
    assert file.title == "Migrate: the parser"
    assert file.prompt == "# The task\n\n---\nDo it."
    assert set(file.config) == set(file.positions)
    patch = structure(dict(file.config), LoopConfigPatch)
    assert None not in attrs.asdict(patch).values()
    assert (patch.completion_promise, patch.abort_promise, patch.max_iterations) == ("YES", "1:30", 0)
    assert patch.agent_args == ["--verbose", "5"]
    assert file.positions["maxIterations"] == (9, 16)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("Do X\n", "Do X"),
        ("", ""),
        ("\ufeff\n \n  indented\r\n---\r\nmore \n\n", "  indented\r\n---\r\nmore"),
        ("----\nno front matter", "----\nno front matter"),
        ("text\n---\nagent: x\n---\n", "text\n---\nagent: x\n---"),
        ("---\n---\nDo X", "Do X"),
        ("\ufeff---  \r\n# nothing\r\n---\t\r\n\r\nDo X\r\n---\r\nY\r\n", "Do X\r\n---\r\nY"),
        ("---\r---\rDo X\r", "Do X"),
        ("---\n\n---", ""),
    ],
)
def test_what_is_the_prompt(text: str, prompt: str) -> None:
    assert parse(text) == LoopFile(None, {}, prompt, {})


@pytest.mark.parametrize(
    ("front", "line", "column", "message"),
    [
        ("maxIteration: 3", 2, 1, "'maxIteration' is not a known key; did you mean maxIterations?"),
        ("agent: x\n\nmax-iterations: 3", 4, 1, "'max-iterations' is not a known key; did you mean maxIterations?"),
        ("frobnicate: 3", 2, 1, "'frobnicate' is not a known key; known are title, agent, model"),
        ("5: x", 2, 1, "'5' is not a known key"),
        ("<<: {agent: x}", 2, 1, "'<<' is not a known key"),
        ("maxIterations: many", 2, 16, "maxIterations: expected an integer, got 'many'"),
        ("maxIterations: 1.5", 2, 16, "maxIterations: expected an integer, got 1.5"),
        ("maxIterations: 1_000", 2, 16, "expected an integer, got '1_000'"),
        ("iterationTimeoutMs: 1:30", 2, 21, "expected an integer, got '1:30'"),
        ("maxIterations: 010", 2, 16, "expected an integer, got '010'"),
        ("maxIterations: -1", 2, 16, "maxIterations: must be >= 0"),
        ("maxIterations: 99999999999999999999", 2, 16, "out of range"),
        ("maxIterations: true", 2, 16, "expected an integer, got true"),
        ("planMode: yes", 2, 11, "planMode: expected true or false, got 'yes'"),
        ("planMode:  'true'", 2, 12, "expected true or false, got 'true'"),
        ("agent: 5", 2, 8, "agent: expected a string, got 5; put text into quotes"),
        ("agent: true", 2, 8, "expected a string, got true"),
        ("agent:", 2, 7, "agent has no value"),
        ("model: null", 2, 8, "model has no value"),
        ('agent: " "', 2, 8, "agent: must not be blank"),
        ("title: [a]", 2, 8, "title: expected text"),
        ("rotation: claude:opus", 2, 11, "rotation: expected a list"),
        ("rotation:\n  - claude:opus\n  - opencode: gpt", 4, 5, "rotation[1]: expected a string, got an object"),
        ("rotation: [claude:opus, 'opencode:']", 2, 25, "Invalid rotation entry 'opencode:'. Both agent and model"),
        ("rotation: []", 2, 11, "The rotation is empty"),
        ("completionPromise: 'a\n\n  b'", 2, 20, "completionPromise: must be one line"),
        ("minIterations: 5\nmaxIterations: 3", 2, 16, "minIterations (5) cannot be greater than maxIterations (3)"),
        ("agent: a\nagent: b", 3, 1, "agent is given twice"),
        ("- agent", 2, 1, "must be lines of the form key: value"),
        ("agent", 2, 1, "must be lines of the form key: value"),
        ("? [a]\n: b", 2, 3, "a key must be a word"),
        ("agent: 'x", 3, 1, "this is not YAML"),
        ("agent: a: b", 2, 9, "this is not YAML"),
        ("agent: x\n\tmodel: y", 3, 1, "this is not YAML"),
        ("agent: x\r\nmodel: \x01", 3, 8, "the character U+0001 cannot stand here"),
        ("agent: &a x", 2, 8, "anchors and aliases"),
        ("agent: *a", 2, 8, "anchors and aliases"),
        ("agent: !!python/object/apply:os.system [id]", 2, 8, "tags (!) cannot be used"),
        ("agent: !!str 5", 2, 8, "tags (!) cannot be used"),
        ("rotation: " + "[" * 2000, 2, 19, "nested too deeply"),
        ("agent: " + "x" * 70_000, 1, 1, "longer than 64 KiB"),
    ],
)
def test_mistakes_are_told_with_line_and_column(front: str, line: int, column: int, message: str) -> None:
    with pytest.raises(LoopFileError) as raised:
        parse(f"---\n{front}\n---\nDo X")
    assert (raised.value.line, raised.value.column) == (line, column)
    assert message in raised.value.message


def test_front_matter_without_an_end() -> None:
    with pytest.raises(LoopFileError, match=r"line 1, column 1: .* has no end"):
        parse("---\nagent: x\n")


def test_all_mistakes_at_once() -> None:
    problems = check("---\nagent: 5\nmaxIterations: 3\nfoo: 1\nplanMode: on\n---\n")
    assert [(problem.line, problem.column) for problem in problems] == [(2, 8), (4, 1), (5, 11)]
    assert len(check("---\nagent: 'x\n---\n")) == 1
    assert check(EVERYTHING) == []


@given(st.text(st.sampled_from("---\n\r:[]{}&*!'\"#|>? \tagenti5\ufeff\x00\u2028")))
def test_any_text_is_a_file_or_a_mistake(text: str) -> None:
    try:
        parse(f"---\n{text}\n---\nDo X")
    except LoopFileError as error:
        assert error.line >= 1
        assert error.column >= 1
