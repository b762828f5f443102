"""Questions that an agent asks by ACP's forms (`elicitation/create`): each property of a form is a question."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from ralph_loop.agents.records import Record, as_record


@attrs.frozen
class Question:
    key: str
    text: str
    kind: str  # the JSON type that the answer must have
    options: Sequence[str]  # as people read them
    values: Sequence[str]  # as the agent wants them, in the same order
    other_key: str = ""  # the property for an answer that is none of the options

    def answer(self, said: str) -> dict[str, object]:
        """What goes into the form. Raises ValueError when the answer is of the wrong type."""
        if self.kind == "array":
            return {self.key: [self._value(part.strip()) for part in said.split(",") if part.strip()]}
        if self.kind == "boolean":
            return {self.key: said.strip().lower() in ("yes", "true", "y", "1")}
        if self.kind in ("integer", "number"):
            return {self.key: int(said) if self.kind == "integer" else float(said)}
        if self.other_key and self._index(said) is None:
            return {self.other_key: said}
        return {self.key: self._value(said)}

    def _index(self, said: str) -> int | None:
        for names in (self.options, self.values):
            for index, name in enumerate(names):
                if name.casefold() == said.strip().casefold():
                    return index
        return None

    def _value(self, said: str) -> str:
        index = self._index(said)
        return said if index is None else self.values[index]


def questions_of(message: str, schema: Record) -> list[Question]:
    """The questions of a form. An optional text `x_…` beside a choice `x` is for answers that are none of its options
    (so Claude's bridge asks `AskUserQuestion`)."""
    properties, required = schema.record("properties"), schema.texts("required")
    choices = [key for key in properties.fields if _choices(properties.record(key))]
    others = {
        key: choice
        for key in properties.fields
        for choice in choices
        if key.startswith(f"{choice}_") and key not in required and key not in choices
    }
    asked = [key for key in properties.fields if key not in others]
    questions: list[Question] = []
    for key in asked:
        field = properties.record(key)
        pairs = _choices(field)
        label = field.text("description") or field.text("title") or key
        text = message if len(asked) == 1 and message else "\n".join(filter(None, (message, label)))
        other = next((name for name, choice in others.items() if choice == key), "")
        kind = field.text("type") or "string"
        options = ["yes", "no"] if kind == "boolean" else [title for _, title in pairs]
        questions.append(Question(key, text, kind, options, [value for value, _ in pairs], other))
    return questions


async def fill_in(
    questions: Sequence[Question], ask: Callable[[str, Sequence[str]], Awaitable[str]]
) -> dict[str, object] | None:
    """The form's content after asking; None when an answer does not fit, which declines the form."""
    content: dict[str, object] = {}
    for question in questions:
        try:
            content.update(question.answer(await ask(question.text, question.options)))
        except ValueError:
            return None
    return content


def _choices(field: Record) -> list[tuple[str, str]]:
    """(value, title) of each option; of an array those of its items."""
    field = field.record("items") or field
    titled = [as_record(option) for key in ("oneOf", "anyOf") for option in field.values(key)]
    if titled:
        return [(option.text("const"), option.text("title") or option.text("const")) for option in titled]
    return [(value, value) for value in field.texts("enum")]
