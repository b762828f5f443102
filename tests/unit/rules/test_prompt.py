"""What an agent is told: a table of renderings, and that nothing a user types is ever interpreted."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.engine.completion import MessageScanner
from ralph_loop.engine.prompt import VARIABLES, PromptInput, check_template, render

BASE = PromptInput(task="Do X", iteration=1, max_iterations=0, min_iterations=1, completion_promise="COMPLETE")
FULL = attrs.evolve(
    BASE,
    iteration=3,
    max_iterations=50,
    min_iterations=5,
    abort_promise="STUCK",
    task_promise="NEXT",
    preset="Small steps.",
    context=("Use a singleton", "two\nlines"),
    answers=(("A or\nB?", "B"),),
    feedback="Not like this",
    errors=("E1\nmore of it", "E2"),
    struggle=("No file changed in 3 iterations.",),
    near_miss="`<promise>complete</promise>`",
    plan_mode=True,
    tasks="- [x] A\n- [/] B\n- [ ] C\n",
)


def headings(prompt: str) -> list[str]:
    return [line[3:] for line in prompt.splitlines() if line.startswith("## ")]


def test_the_plain_prompt_word_for_word() -> None:
    assert render(BASE) == (
        """# Ralph Loop: iteration 1 (no limit)

You are working in a loop: the same task is given to an agent again and again, each time with a fresh context, until \
it is really done. You remember nothing of earlier iterations. What they did is in the files and, if this is a git \
repository, in `git status` and `git log`: look there first, then go on from where the work stands.

## Your Task

Do X

## When You Are Done

When the whole task is done, and you have seen that it works, make this the last line of your final message, alone on \
its line, without quotes or code marks:

    <promise>COMPLETE</promise>

While anything is left to do, do not print it, and never print it to get out of the loop: say what is left, and the \
next iteration goes on from there.

Now work on the task.
"""
    )


def test_all_sections_in_their_order() -> None:
    assert headings(render(FULL)) == [
        "Your Task",
        "How to Work",
        "Additional Context (added by user mid-loop)",
        "Answers to Your Questions",
        "Your Last Changes Were Rejected",
        "Errors of the Last Iteration",
        "You Seem to Be Stuck",
        "Your Last Promise Did Not Count",
        "Plan Mode",
        "Task List",
        "When You Are Done",
    ]


@pytest.mark.parametrize(
    ("change", "heading", "says"),
    [
        ({"preset": "Small steps.\n"}, "How to Work", "\n\nSmall steps.\n\n"),
        (
            {"context": ("Use singleton",)},
            "Additional Context (added by user mid-loop)",
            "## Additional Context (added by user mid-loop)\n\nUse singleton\n\n---\n",
        ),
        ({"context": ("one", "two\nlines")}, "Additional Context (added by user mid-loop)", "one\n\ntwo\nlines\n\n---"),
        ({"answers": (("A or\nB?", "B"),)}, "Answers to Your Questions", "> A or\n> B?\n\nThe user answered:\n\nB\n"),
        ({"feedback": "Not so"}, "Your Last Changes Were Rejected", "was approved.\n\nNot so\n"),
        ({"errors": ("E1\r\nmore", "E2")}, "Errors of the Last Iteration", "\n- E1\n  more\n- E2\n"),
        ({"struggle": ("No change.",)}, "You Seem to Be Stuck", "\n- No change.\n"),
        (
            {"near_miss": "<promise>\ncomplete\n</promise>"},
            "Your Last Promise Did Not Count",
            "printed <promise> complete </promise> in a way that does not count",
        ),
        ({"plan_mode": True}, "Plan Mode", "PLAN MODE ACTIVE:"),
        ({"tasks": "- [x] A\n- [/] B\n", "task_promise": "NEXT"}, "Task List", 'CURRENT TASK: "B"'),
    ],
)
def test_a_section_stands_only_where_it_applies(change: dict[str, object], heading: str, says: str) -> None:
    assert heading not in headings(render(BASE))
    prompt = render(attrs.evolve(BASE, **change))
    assert headings(prompt) == sorted({*headings(render(BASE)), heading}, key=headings(render(FULL)).index)
    assert says in prompt


def test_what_depends_on_numbers_and_words() -> None:
    assert "# Ralph Loop: iteration 4 of 50\n" in render(attrs.evolve(BASE, iteration=4, max_iterations=50))
    assert "at least" not in render(attrs.evolve(BASE, iteration=3, min_iterations=3))
    assert "at least 3 iterations" in render(attrs.evolve(BASE, iteration=2, min_iterations=3))
    assert "\n    <promise>STUCK</promise>\n" in render(attrs.evolve(BASE, abort_promise="STUCK"))
    assert "\n    <promise>A $& \\1</promise>\n" in render(attrs.evolve(BASE, completion_promise=" A $& \\1 "))
    # the task promise means nothing outside tasks mode
    assert "NEXT" not in render(attrs.evolve(BASE, task_promise="NEXT"))
    assert "marked `[x]`" in render(FULL)


@pytest.mark.parametrize("prompt", [render(BASE), render(FULL)])
def test_an_agent_that_echoes_its_prompt_has_promised_nothing(prompt: str) -> None:
    scanner = MessageScanner("COMPLETE", task="NEXT", abort="STUCK")
    scanner.feed(prompt)
    assert scanner.verdict().promise == "nearMiss"


TEMPLATE = (
    "{{iteration}}/{{max_iterations}} {{min_iterations}} {{completion_promise}} [{{abort_promise}}] {{task_promise}}"
)


@pytest.mark.parametrize(
    ("template", "change", "expected"),
    [
        (TEMPLATE, {"iteration": 2, "task_promise": "READY"}, "2/unlimited 1 COMPLETE [] READY"),
        (TEMPLATE, {"max_iterations": 9, "abort_promise": "STOP"}, "1/9 1 COMPLETE [STOP] "),
        ("T: {{prompt}}", {"task": "literal {{context}} $& \\1"}, "T: literal {{context}} $& \\1"),
        ("{{ context }}|{{prompt}}\r\n", {"context": ("{{prompt}}", "b")}, "{{prompt}}\n\nb|Do X\r\n"),
        ("{{tasks}}", {"tasks": "- [ ] {{prompt}}\n"}, "- [ ] {{prompt}}\n"),
        ("{{tasks}}{{prompt}}{{prompt}}", {}, "Do XDo X"),
        ("{{a: 1}} {{}} {prompt} {{{prompt}}}", {}, "{{a: 1}} {{}} {prompt} {Do X}"),
        ("", {}, ""),
    ],
)
def test_templates(template: str, change: dict[str, object], expected: str) -> None:
    assert check_template(template) == []
    assert render(attrs.evolve(BASE, template=template, **change)) == expected


def test_what_a_template_has_no_place_for_follows_it() -> None:
    prompt = render(attrs.evolve(FULL, template="Go: {{prompt}}\n\n"))
    assert prompt.startswith("Go: Do X\n\n## How to Work\n\nSmall steps.\n\n## Additional Context")
    assert headings(prompt) == headings(render(FULL))[1:-2]
    assert "Additional Context" not in render(attrs.evolve(FULL, template="{{prompt}} {{context}}"))


def test_unknown_variables_are_told_with_line_and_column() -> None:
    template = "{{prompt}}\r\n  {{ itertion }} {{secrets.KEY}}\r\n\n{{#if context}}"
    problems = check_template(template)
    assert [(problem.line, problem.column) for problem in problems] == [(2, 3), (2, 18), (4, 1)]
    assert problems[0].message == "unknown variable {{itertion}}; did you mean {{iteration}}?"
    assert "known are iteration, max_iterations" in problems[1].message
    assert check_template("{{Prompt}}")[0].message.endswith("did you mean {{prompt}}?")


def test_every_variable_has_a_value() -> None:
    template = "".join(f"{{{{{name}}}}}" for name in VARIABLES)
    assert len(VARIABLES) == 9
    assert "{" not in render(attrs.evolve(FULL, template=template))


def test_no_agent_is_given_a_nul() -> None:
    for change in ({"tasks": "- [ ] a\0b"}, {"template": "a\0b {{prompt}}"}, {"preset": "a\0b"}):
        prompt = render(attrs.evolve(BASE, **change))
        assert "a\ufffdb" in prompt and "\0" not in prompt


TEXT = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.sampled_from(["{{context}}", "$&", "\\g<0>", "{{prompt}}", "{0}", "%s", "## Your Task"]),
)


@given(
    task=TEXT, hints=st.lists(TEXT.filter(bool), max_size=3), template=st.sampled_from([None, "{{prompt}} {{context}}"])
)
def test_user_text_is_inserted_as_it_was_typed(task: str, hints: list[str], template: str | None) -> None:
    given_input = attrs.evolve(BASE, task=task, context=hints, template=template)
    prompt = render(given_input)
    assert prompt == render(given_input)
    assert task in prompt
    assert "\n\n".join(hints) in prompt
    marked = render(attrs.evolve(BASE, task="\ue000", context=("\ue001",) if hints else (), template=template))
    assert prompt == "\n\n".join(hints).join(part.replace("\ue000", task) for part in marked.split("\ue001"))
