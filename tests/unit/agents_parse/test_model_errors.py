"""Refusals of models as they were seen or are documented: their kind, and words that help."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ralph_loop.agents.base import AgentError, ErrorKind, RateLimit
from ralph_loop.agents.jsonlines import exit_error
from ralph_loop.agents.modelerrors import About, known_failure, model_error, permission_error

ABOUT = About("Agent", "Log in.")
E = ErrorKind


@pytest.mark.parametrize(
    ("status", "code", "message", "kind"),
    [
        (400, "", "Prompt is too long", E.CONTEXT_OVERFLOW),
        (400, "context_length_exceeded", "This model's maximum context length is 8192 tokens", E.CONTEXT_OVERFLOW),
        (400, "", "The input token count (1200000) exceeds the maximum number of tokens allowed", E.CONTEXT_OVERFLOW),
        (0, "query", "The provider rejected the prompt as too long, but automatic recovery", E.CONTEXT_OVERFLOW),
        (413, "", "Request entity too large", E.CONTEXT_OVERFLOW),
        (400, "", "API key not valid. Please pass a valid API key.", E.AUTH),
        (401, "", "", E.AUTH),
        (403, "", "Your account may not do this", E.AUTH),
        (403, "", "Your credit balance is too low", E.PAYMENT),
        (402, "", "", E.PAYMENT),
        (429, "insufficient_quota", "You exceeded your current quota", E.PAYMENT),
        (404, "not_found_error", "model: claude-nope", E.MODEL_NOT_FOUND),
        (404, "", "page not found", E.OTHER),
        (400, "model_not_found", "The requested model 'x' does not exist", E.MODEL_NOT_FOUND),
        (500, "", "boom", E.SERVER),
        (503, "", "The model is overloaded. Please try again later.", E.OVERLOADED),
        (529, "overloaded_error", "Overloaded", E.OVERLOADED),
        (0, "", "No API key found for provider x", E.AUTH),
        (0, "", "Not logged in · Please run /login", E.AUTH),
        (0, "", "Press any key to sign in...", E.AUTH),
        (0, "", "Error code: 401 - unauthorized", E.AUTH),
        (0, "", "API Error: 500 internal server error", E.SERVER),
        (0, "", "fetch failed", E.SERVER),
        (0, "", "Model stream ended without a finish reason.", E.SERVER),
        (0, "", "Connection reset by server", E.SERVER),
        (0, "", "Cannot connect to API: The socket connection was closed unexpectedly.", E.SERVER),
        (0, "", "Error: Couldn't connect to the Amp server at https://ampcode.com.", E.SERVER),
        (0, "", "Request timed out", E.SERVER),
        (0, "timeout", "Error: Network timeout after a rate limit check", E.SERVER),
        (400, "", "model: claude-nope not supported", E.MODEL_NOT_FOUND),
        (0, "", "Conversation too long. Press esc twice to go up a few messages and try again.", E.CONTEXT_OVERFLOW),
        (0, "", "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000", E.CONTEXT_OVERFLOW),
        (0, "", "Missing environment variable: `OPENAI_API_KEY`.", E.AUTH),
        (0, "", "Your organization has been disabled.", E.AUTH),
        (0, "", "The model is temporarily not available", E.OTHER),
        (0, "", "something else", E.OTHER),
    ],
)
def test_kinds(status: int, code: str, message: str, kind: ErrorKind) -> None:
    error = model_error(ABOUT, message, status=status, code=code)
    assert isinstance(error, AgentError)
    assert error.kind is kind
    assert error.fatal is (kind in (E.AUTH, E.MODEL_NOT_FOUND))
    assert (error.hint is None) is (kind is E.OTHER)
    assert error.message.endswith(message or f"status {status}")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (429, "", ""),
        (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan"),
        (0, "rate_limit", "slow down"),
        (0, "", "exceeded retry limit, last status: 429 Too Many Requests"),
        (0, "", "Claude AI usage limit reached|1900000000"),
        (0, "", "You've hit your limit · resets 5pm (Europe/Vilnius)"),
        (0, "", "You're out of extra usage · resets 3pm"),
        (0, "quota", "Daily quota limit reached"),
        (0, "usage_limit_reached", "no"),
    ],
)
def test_rate_limits(status: int, code: str, message: str) -> None:
    assert isinstance(model_error(ABOUT, message, status=status, code=code), RateLimit)


def test_the_time_of_a_reset() -> None:
    limit = model_error(ABOUT, "Please retry in 30s.", status=429)
    assert isinstance(limit, RateLimit)
    assert limit.reset_at is not None
    assert abs(limit.reset_at - datetime.now(UTC) - timedelta(seconds=30)) < timedelta(seconds=20)

    told = datetime(2030, 1, 1, tzinfo=UTC)
    limit = model_error(ABOUT, "Please retry in 30s.", status=429, reset_at=told)
    assert isinstance(limit, RateLimit)
    assert limit.reset_at == told


def test_the_providers_own_words_are_shown() -> None:
    error = model_error(ABOUT, 'HTTP 500 {"error": {"message": "it\\nbroke", "type": "x"}} trailing')
    assert isinstance(error, AgentError)
    assert error.message == "Agent got no answer from its model: it broke"


def test_a_long_message_is_shortened() -> None:
    error = model_error(ABOUT, "x" * 100_000, status=500)
    assert isinstance(error, AgentError)
    assert len(error.message) < 600


def test_what_a_failed_agent_printed() -> None:
    limit = known_failure(ABOUT, "starting\nError: HTTP 429 Too Many Requests\n")
    assert isinstance(limit, RateLimit)
    error = known_failure(ABOUT, "starting\nError: Invalid API key\nbye\n")
    assert isinstance(error, AgentError)
    assert error.kind is E.AUTH
    assert known_failure(ABOUT, "ESLint type-safety issues with (@upstash/ratelimit)") is None
    assert known_failure(ABOUT, "") is None


@pytest.mark.parametrize(
    ("exit_code", "plain", "kind", "message"),
    [
        (1, "a\nlast words\n\n", E.EXIT, "Agent ended with exit code 1: last words"),
        (-9, "", E.EXIT, "Agent was ended by signal 9."),
        (2, "error: unexpected argument '--x' found", E.USAGE, "--x"),
        (1, "error: unknown option '--y'", E.USAGE, "--y"),
    ],
)
def test_exit_codes(exit_code: int, plain: str, kind: ErrorKind, message: str) -> None:
    error = exit_error(ABOUT, exit_code, plain)
    assert error.kind is kind
    assert message in error.message
    assert error.fatal is (kind is E.USAGE)


def test_many_denied_tools_are_counted() -> None:
    error = permission_error(ABOUT, [f"tool {number}" for number in range(8)], "Or so.")
    assert error.message == "Agent was not allowed to use: tool 0, tool 1, tool 2, tool 3, tool 4 and 3 more"
    assert error.hint is not None
    assert error.hint.endswith("Or so.")
