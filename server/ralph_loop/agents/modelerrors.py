"""What a model or its server answered when it refused: one event of a known kind, in words for a person.

The status of the answer decides first, then the provider's own code, then the words of the message.
"""

from __future__ import annotations

import json
import re
from datetime import datetime

import attrs

from ralph_loop.agents.base import AgentError, ErrorKind, RateLimit
from ralph_loop.agents.ratelimit import moment, rate_limit_from_text, reset_time
from ralph_loop.agents.records import Record, as_record, one_line

LONGEST_DETAIL = 500  # characters of the provider's own message

ALLOW_ALL_HINT = "To allow every tool, set `ralphLoop.allowAll` (in the terminal: `--allow-all`)."


@attrs.frozen
class About:
    """What messages say about an agent. `login`: how to give it an account or a key, as a sentence."""

    name: str
    login: str


_WORDS: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(words, re.IGNORECASE))
    for kind, words in (
        (
            ErrorKind.CONTEXT_OVERFLOW,
            r"prompt[ _]?(\w+ )?too[ _]long|conversation (is )?too long|"
            r"context[ _](length|window|limit)|ContextOverflow|maximum context|"
            r"input is too long|too many (input )?tokens|token count.{0,40}exceeds|"
            r"exceeds the maximum number of tokens|request[ _]too[ _]large",
        ),
        (
            ErrorKind.PAYMENT,
            r"insufficient[ _](quota|credits?|funds|balance)|credit balance|billing|payment required|out of credits",
        ),
        (
            ErrorKind.AUTH,
            r"(invalid|incorrect|missing|expired|no|wrong|malformed)[ _](\w+[ _])?"
            r"(api[ _-]?key|auth\w*|credentials|token)\b|"
            r"api[ _-]?key (not valid|is (missing|invalid|required|not set))|x-api-key|authenticat|unauthori[sz]ed|"
            r"not logged in|logged out|press any key to sign in|"
            r"please (run|log|sign)\b.{0,20}\b(login|log ?in|sign ?in|in)\b|ProviderAuthError|"
            r"set an auth method|OAuth token|missing environment variable: \W?\w*(KEY|TOKEN)\b|"
            r"(organi[sz]ation|account) (has been|is) (disabled|suspended)",
        ),
        (
            ErrorKind.MODEL_NOT_FOUND,
            r"(unknown|invalid|unsupported|no such) model|model[ _]not[ _](found|supported|available)|ModelNotFound|"
            r"not a valid model|models?\b.{0,80}\b(not found|(does|may) not exist|is not (supported|available|valid))|"
            r"\bmodel:? \S+ not supported|"
            r"\b(not found|does not exist)\b.{0,40}\bmodel",
        ),
    )
)
_LATER_WORDS: tuple[tuple[ErrorKind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(words, re.IGNORECASE))
    for kind, words in (
        (ErrorKind.OVERLOADED, r"overloaded|at capacity|over capacity"),
        (
            ErrorKind.SERVER,
            r"internal server error|server[ _]error|bad gateway|service unavailable|gateway timeout|"
            r"stream disconnected|network error|fetch failed|socket hang up|(connection|socket) (connection )?(was )?"
            r"(error|refused|reset|closed)|(cannot|couldn't|unable to) connect|stream ended|high demand|"
            r"no response was returned|"
            r"ECONN(REFUSED|RESET)|ETIMEDOUT|ENOTFOUND|timed? ?out|\bterminated\b|failed native model HTTP request|"
            r"empty response|failed to get response from the ai model",
        ),
    )
)
_STATUS = re.compile(
    r"(?:API Error|HTTP(?: status)?|status(?: code)?|error code|rejected|ApiError)\b\W{1,5}([45]\d\d)\b|"
    r"^([45]\d\d)\b|\(([45]\d\d)\)|\b([45]\d\d) (?:too many|unauthorized|payment required|internal server)",
    re.IGNORECASE,
)
_LIMIT_CODE = re.compile(r"(rate|usage)_?limit|too_?many_?requests|resource_?exhausted|quota_?exceeded", re.IGNORECASE)
_FATAL = {ErrorKind.AUTH, ErrorKind.MODEL_NOT_FOUND, ErrorKind.USAGE}


def model_error(
    about: About, message: str, *, status: int = 0, code: str = "", reset_at: datetime | None = None
) -> RateLimit | AgentError:
    """The event for a refusal. `status`: of the HTTP answer, 0 when unknown. `code`: the provider's own name of it."""
    kind = _kind(status or _status_in(message), code, message)
    if kind is ErrorKind.RATE_LIMIT:
        return RateLimit(f"{about.name}: {_detail(message) or 'rate limit'}", reset_at or _reset_in(message))
    return error_of(about, kind, message, status)


def refusal(about: About, error: Record, message: str = "") -> RateLimit | AgentError:
    """The event for an error that came as an object: its own fields tell more than its words, where they are there."""
    codes = [error.text("errorType"), error.text("code"), error.text("type")]
    numbers = [error.integer(key) for key in ("statusCode", "status_code", "httpStatus", "status", "code")]
    return model_error(
        about,
        message or error.text("message"),
        status=next((number for number in numbers if 400 <= number < 600), 0),
        code=" ".join(filter(None, codes)),
        reset_at=_reset_of(error),
    )


def known_failure(about: About, text: str) -> RateLimit | AgentError | None:
    """The same for what a failed agent printed in plain words, or None when nothing in it is a known refusal."""
    if limit := rate_limit_from_text(text, _now()):
        return limit
    for line in reversed(text.splitlines()[-200:]):
        kind = _kind(_status_in(line), "", line)
        if kind is not ErrorKind.OTHER:
            return error_of(about, kind, line, 0)
    return None


def error_of(about: About, kind: ErrorKind, message: str, status: int = 0) -> AgentError:
    """An error of this kind in plain words, with what to do."""
    detail = _detail(message) or (f"status {status}" if status else "no reason given")
    texts: dict[ErrorKind, tuple[str, str]] = {
        ErrorKind.AUTH: (f"{about.name} is not logged in, or its key was refused", about.login),
        ErrorKind.PAYMENT: (
            f"The account {about.name} uses has no credit",
            "Add credit to it, or use another account, model or agent.",
        ),
        ErrorKind.MODEL_NOT_FOUND: (
            f"{about.name} cannot use this model",
            "Check the setting `model`: its spelling, and whether your account may use it.",
        ),
        ErrorKind.CONTEXT_OVERFLOW: (
            "The prompt was too long for the model",
            "Shorten the prompt and the files it names, or use a model with a larger context.",
        ),
        ErrorKind.OVERLOADED: ("The model is overloaded", "This passes by itself; the loop tries again."),
        ErrorKind.SERVER: (
            f"{about.name} got no answer from its model",
            "Usually this passes by itself and the loop tries again. If it stays, check your network and proxy.",
        ),
    }
    words, hint = texts.get(kind, (f"{about.name} reported an error", None))
    return AgentError(kind, f"{words}: {detail}", hint, fatal=kind in _FATAL)


def permission_error(about: About, denied: list[str], how: str) -> AgentError:
    """The agent wanted to use tools and nobody could allow it. `how`: the agent's own way to allow single tools."""
    shown = ", ".join(denied[:5]) + (f" and {len(denied) - 5} more" if len(denied) > 5 else "")
    hint = f"{ALLOW_ALL_HINT} {how}".strip()
    return AgentError(ErrorKind.PERMISSION, f"{about.name} was not allowed to use: {shown}", hint)


def _kind(status: int, code: str, message: str) -> ErrorKind:
    words = f"{code} {message}"
    named = next((kind for kind, pattern in _WORDS if pattern.search(words)), None)
    if status == 429:
        # OpenAI answers 429 also for an account without money
        return ErrorKind.PAYMENT if re.search(r"insufficient[ _]quota", words, re.IGNORECASE) else ErrorKind.RATE_LIMIT
    if status == 402:
        return ErrorKind.PAYMENT
    if status in (401, 403):
        return named if named is ErrorKind.PAYMENT or named is ErrorKind.MODEL_NOT_FOUND else ErrorKind.AUTH
    if status == 404:
        return ErrorKind.MODEL_NOT_FOUND if "model" in words.lower() else ErrorKind.OTHER
    if status == 413:
        return ErrorKind.CONTEXT_OVERFLOW
    if status == 529:
        return ErrorKind.OVERLOADED
    if status >= 500:
        return ErrorKind.OVERLOADED if "overloaded" in words.lower() else ErrorKind.SERVER
    if "timeout" not in code and (_LIMIT_CODE.match(code) or rate_limit_from_text(message, _now())):
        return ErrorKind.RATE_LIMIT
    if named:
        return named
    return next((kind for kind, pattern in _LATER_WORDS if pattern.search(words)), ErrorKind.OTHER)


def _status_in(message: str) -> int:
    found = _STATUS.search(message[:4000])
    return int(next(group for group in found.groups() if group)) if found else 0


def _reset_of(error: Record) -> datetime | None:
    named = ("resetsAt", "resets_at", "resetAt", "reset_at")
    known = next((found for key in named if (found := moment(error.fields.get(key)))), None)
    return known or reset_time(json.dumps(error.fields, default=str), _now())


def _reset_in(message: str) -> datetime | None:
    limit = rate_limit_from_text(f"429 Too Many Requests: {message}", _now())
    return limit.reset_at if limit else None


def _detail(message: str) -> str:
    return one_line(_inner_message(message) or message, LONGEST_DETAIL)


def _inner_message(text: str) -> str:
    """The words of a provider's answer that is given as JSON: ``{"error": {"message": "…"}}``."""
    if (start := text.find("{")) < 0:
        return ""
    try:
        answer = as_record(json.JSONDecoder().raw_decode(text[start:])[0])
    except (ValueError, RecursionError):
        return ""
    return answer.record("error").text("message") or answer.text("message", "error")


def _now() -> datetime:
    # in our zone: agents print the time of a reset as the clock on the wall shows it
    return datetime.now().astimezone()
