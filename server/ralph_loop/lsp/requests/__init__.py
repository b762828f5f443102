"""One function per request of the contract: params in, result out. No logic: the engine decides."""

from ralph_loop.lsp.requests import asking, configuration, git, loops, plan, repositories, service, sessions, tasks

__all__ = ["asking", "configuration", "git", "loops", "plan", "repositories", "service", "sessions", "tasks"]
