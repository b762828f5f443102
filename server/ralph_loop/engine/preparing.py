"""From a loop's state to what one iteration is given: its prompt and the call of its agent."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from ralph_loop.agents.base import Invocation
from ralph_loop.agents.proctable import MARK
from ralph_loop.engine import taskfile, tasks
from ralph_loop.engine.client import Client
from ralph_loop.engine.prompt import PromptInput, render
from ralph_loop.engine.state import LoopState


def make_prompt(state: LoopState, number: int, hints: Sequence[str]) -> str:
    """The exact prompt of iteration `number`; the same for the same state and hints."""
    config = state.config
    return render(
        PromptInput(
            task=state.prompt,
            iteration=number,
            max_iterations=config.max_iterations,
            min_iterations=config.min_iterations,
            completion_promise=config.completion_promise,
            abort_promise=config.abort_promise,
            task_promise=config.task_promise,
            context=list(hints),
            errors=state.last_errors,
            struggle=state.struggle.reasons,
            near_miss=state.near_miss,
            plan_mode=config.plan_mode,
            feedback=state.feedback,
            answers=[(question, answer) for question, answer in state.answers],
            tasks=_task_list(state) if config.tasks_mode else None,
            preset=state.preset_text,
            template=state.template_text,
        )
    )


def _task_list(state: LoopState) -> str:
    try:
        return taskfile.read(Path(state.root))
    except tasks.TaskError as error:
        return f"The task list cannot be read: {error}"


def make_call(state: LoopState, prompt: str, directory: Path, client: Client, workspace: Path) -> Invocation:
    """The call of the agent for the iteration that was just recorded, in `workspace`. Writes the prompt file (0600)."""
    agent, model = state.entry
    path = directory / f"{state.run_id}.{secrets.token_hex(4)}.md"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(prompt)
    env = {**client.env, MARK: state.run_id}
    if "PWD" in env:
        env["PWD"] = str(workspace)
    return Invocation(
        prompt=prompt,
        prompt_file=path,
        workspace=workspace,
        env=env,
        iteration=state.iteration,
        model=model,
        allow_all=state.config.allow_all,
        agent_args=state.config.agent_args,
        command=state.config.command or (),
        binary=client.binaries.get(agent),
    )
