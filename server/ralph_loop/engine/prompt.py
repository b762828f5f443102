"""The prompt of one iteration (`PRODUCT.md`, "Prompt and completion").

A pure function of its input, so that it can be read before a start and stored as it was given. Text of the user's or
the agent's is inserted once and never interpreted again.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import attrs

from ralph_loop.engine import tasks
from ralph_loop.engine.completion import BLANKS

VARIABLES = (
    *("iteration", "max_iterations", "min_iterations", "prompt", "completion_promise", "abort_promise"),
    *("task_promise", "context", "tasks"),
)

_VARIABLE = re.compile(r"\{\{[ \t]*([#/^&>]?[A-Za-z_][\w.\- ]*?)[ \t]*\}\}")
_LINE_END = re.compile(r"\r\n|\n|\r")


def _trimmed(word: str) -> str:
    return word.strip(BLANKS)


@attrs.frozen(kw_only=True)
class PromptInput:
    """Everything a prompt is made of. What is None or empty does not apply to this iteration."""

    task: str  # the user's prompt, inserted verbatim
    iteration: int
    max_iterations: int  # 0: no limit
    min_iterations: int
    completion_promise: str = attrs.field(converter=_trimmed)
    abort_promise: str | None = attrs.field(default=None, converter=attrs.converters.optional(_trimmed))
    # the sections speak of it only in tasks mode, templates may always use it
    task_promise: str | None = attrs.field(default=None, converter=attrs.converters.optional(_trimmed))
    preset: str | None = None  # the instructions of the preset
    context: Sequence[str] = ()  # the user's hints, in order
    answers: Sequence[tuple[str, str]] = ()  # (question of the agent, answer of the user)
    feedback: str | None = None  # which changes the user rejected, and what they said
    errors: Sequence[str] = ()  # of the last iteration
    struggle: Sequence[str] = ()  # reasons, as sentences
    near_miss: str | None = None  # the tag that was printed wrongly in the last iteration
    plan_mode: bool = False
    tasks: str | None = None  # the text of the task list; None unless in tasks mode
    template: str | None = None  # takes the place of our own text; checked before with check_template


@attrs.frozen
class TemplateProblem:
    """`line` and `column` count from 1."""

    line: int
    column: int
    message: str


def render(given: PromptInput) -> str:
    """The exact prompt. With a template, what it has no variable for follows it: hints must reach the agent."""
    prompt = _from_sections(given) if given.template is None else _from_template(given, given.template)
    return prompt.replace("\0", "\ufffd")  # from a task list or a template: no agent can be given that


def _from_sections(given: PromptInput) -> str:
    limit = f"of {given.max_iterations}" if given.max_iterations else "(no limit)"
    parts = [
        f"# Ralph Loop: iteration {given.iteration} {limit}",
        _INTRODUCTION,
        f"## Your Task\n\n{given.task}",
        _preset(given),
        _context(given),
        *_news(given),
        _tasks(given),
        _promising(given),
        _GO,
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def check_template(text: str) -> list[TemplateProblem]:
    """The unknown variables of a template. Braces that cannot be a variable (``{{a: 1}}``) are plain text."""
    problems: list[TemplateProblem] = []
    for match in _VARIABLE.finditer(text):
        name = match[1]
        if name in VARIABLES:
            continue
        ends = list(_LINE_END.finditer(text, 0, match.start()))
        close = difflib.get_close_matches(name.lower(), VARIABLES, n=1)
        advice = f"did you mean {{{{{close[0]}}}}}?" if close else "known are " + ", ".join(VARIABLES)
        column = match.start() - (ends[-1].end() if ends else 0) + 1
        problems.append(TemplateProblem(len(ends) + 1, column, f"unknown variable {{{{{name}}}}}; {advice}"))
    return problems


def _variables(given: PromptInput) -> dict[str, str]:
    return {
        "iteration": str(given.iteration),
        "max_iterations": str(given.max_iterations) if given.max_iterations else "unlimited",
        "min_iterations": str(given.min_iterations),
        "prompt": given.task,
        "completion_promise": given.completion_promise,
        "abort_promise": given.abort_promise or "",
        "task_promise": given.task_promise or "",
        "context": "\n\n".join(given.context),
        "tasks": given.tasks or "",
    }


def _from_template(given: PromptInput, template: str) -> str:
    values = _variables(given)
    used = {match[1] for match in _VARIABLE.finditer(template)}
    prompt = _VARIABLE.sub(lambda match: values.get(match[1], match[0]), template)
    context = "" if "context" in used else _context(given)
    rest = [part for part in (_preset(given), context, *_news(given)) if part]
    return "\n\n".join([prompt.rstrip("\r\n"), *rest]) + "\n" if rest else prompt


def _preset(given: PromptInput) -> str:
    return f"## How to Work\n\n{given.preset.strip()}" if given.preset else ""


def _context(given: PromptInput) -> str:
    if not given.context:
        return ""
    return "## Additional Context (added by user mid-loop)\n\n" + "\n\n".join(given.context) + "\n\n---"


def _news(given: PromptInput) -> list[str]:
    """The sections about what happened since the last iteration, and the mode of this one."""
    return [
        _answers(given),
        _feedback(given),
        f"## Errors of the Last Iteration\n\n{_ERRORS}\n\n{_bullets(given.errors)}" if given.errors else "",
        f"## You Seem to Be Stuck\n\n{_bullets(given.struggle)}\n\n{_STUCK}" if given.struggle else "",
        _near_miss(given),
        _PLAN_MODE if given.plan_mode else "",
    ]


def _answers(given: PromptInput) -> str:
    if not given.answers:
        return ""
    pairs = [
        f"You asked:\n\n{_quoted(question)}\n\nThe user answered:\n\n{answer}" for question, answer in given.answers
    ]
    return "## Answers to Your Questions\n\n" + "\n\n".join(pairs)


def _feedback(given: PromptInput) -> str:
    if given.feedback is None:
        return ""
    return (
        "## Your Last Changes Were Rejected\n\nThe user read the changes of your last iteration. Those named here were "
        "rejected: the files are as if you had never made them. What is not named here was approved.\n\n"
        f"{given.feedback}"
    )


def _near_miss(given: PromptInput) -> str:
    if given.near_miss is None:
        return ""
    printed = " ".join(given.near_miss.split())
    every = " It counts only when every task and subtask is marked `[x]`." if given.tasks is not None else ""
    return (
        f"## Your Last Promise Did Not Count\n\nThe last iteration printed {printed} in a way that does not count. A "
        "promise is the last line of your final message, and there is nothing else on that line: no words before or "
        "after it, no quotes, no code marks, and nothing below it. When everything is done it is exactly "
        f"<promise>{given.completion_promise}</promise>.{every} If the work is really done, check it once more and "
        "print the promise properly."
    )


def _tasks(given: PromptInput) -> str:
    if given.tasks is None:
        return ""
    return "## Task List\n\n" + tasks.section(
        given.tasks,
        completion_promise=given.completion_promise,
        task_promise=given.task_promise or "",
    )


def _promising(given: PromptInput) -> str:
    """How to say that the work is done. Each tag stands alone on an indented line, completion first."""
    parts = [
        "## When You Are Done",
        "When the whole task is done, and you have seen that it works, make this the last line of your final message, "
        "alone on its line, without quotes or code marks:",
        f"    <promise>{given.completion_promise}</promise>",
        "While anything is left to do, do not print it, and never print it to get out of the loop: say what is left, "
        "and the next iteration goes on from there.",
    ]
    if given.iteration < given.min_iterations:
        parts.append(
            f"This loop runs at least {given.min_iterations} iterations; a promise before that does not end it. Use "
            "them to test and improve what is there."
        )
    if given.abort_promise:
        parts += (
            "If the task cannot be done at all, and trying on would not change that, say why and make this the last "
            "line instead; the loop then ends without success:",
            f"    <promise>{given.abort_promise}</promise>",
        )
    return "\n\n".join(parts)


def _bullets(items: Sequence[str]) -> str:
    return "\n".join("- " + _LINE_END.sub("\n  ", item.strip()) for item in items)


def _quoted(text: str) -> str:
    return "> " + _LINE_END.sub("\n> ", text)


_INTRODUCTION = """You are working in a loop: the same task is given to an agent again and again, each time with a \
fresh context, until it is really done. You remember nothing of earlier iterations. What they did is in the files and, \
if this is a git repository, in `git status` and `git log`: look there first, then go on from where the work stands."""

_ERRORS = "These came up; see which of them still do, and look into those first:"

_STUCK = """Doing the same again will not help. Find out why it does not work before you change anything, question \
what you took for granted, and try a different way."""

_PLAN_MODE = """## Plan Mode

PLAN MODE ACTIVE: you are in a private copy of the user's folder. Edit files here as you would otherwise. When you \
end, your changes are shown to the user and reach the real folder only if they approve them. Change nothing outside \
this folder. Explain in your final message what you changed and why."""

_GO = "Now work on the task."
