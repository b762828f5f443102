"""Rate limits told in plain words: the real messages of the agents, and texts that only look like them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ralph_loop.agents.ratelimit import rate_limit_from_text

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "Error: HTTP 429 Too Many Requests",
        "Server is overloaded, please try again later",
        "API Error: Request rejected (429) · fake: rate limited",
        "exceeded retry limit, last status: 429 Too Many Requests",
        'Error: 429 {"type":"error","error":{"type":"rate_limit_error","message":"…"}}',
        "Attempt 4 failed with status 429. Retrying with backoff... _ApiError",
        '{"error":{"code":429,"message":"…","status":"RESOURCE_EXHAUSTED"}}',
        "  status: 429\n}",
        "This request would exceed your account's rate limit. Please try again later.",
        "Weekly limit reached · resets 10am (Asia/Seoul)",
        "5-hour limit reached ∙ resets 3pm",
        "\x1b[31mRate limit reached for gpt-5 in organization org-1\x1b[0m",
        "You\u2019ve hit your limit for Claude messages. Limits will reset at 9:30 AM.",
        "You exceeded your current quota, please check your plan",
        "overloaded_error",
        "Error: Codex error: usage_limit_reached",
        "The usage limit has been reached",
    ],
)
def test_a_refusal_of_the_model_is_a_rate_limit(text: str) -> None:
    found = rate_limit_from_text(f"some line before\n{text}\n", NOW)
    assert found is not None
    assert found.message in text.replace("\x1b[31m", "").replace("\x1b[0m", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Error: Network timeout",
        "ESLint type-safety issues with external libraries (@upstash/ratelimit)",
        '{"type":"user","content":"a \\"5-hour limit\\" in a file the agent read"}',
        "error: 429 tests failed",
        "src/limits.ts:429: error: unexpected token",
        "listening on port 4290, status: 4291",
        "The function overloaded() is ambiguous: operator is overloaded",
        "docs/rate-limits.md was updated",
        "exceeded the line limit of 120",
        "Error: 401 Unauthorized",
    ],
)
def test_ordinary_words_are_none(text: str) -> None:
    assert rate_limit_from_text(text, NOW) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Rate limit exceeded. retry-after: 30s", NOW + timedelta(seconds=30)),
        ("Rate limit exceeded\nRetry-After: 7", NOW + timedelta(seconds=7)),
        ("rate limited: retry-after-ms: 1500", NOW + timedelta(seconds=1.5)),
        ("Rate limit reached. Please try again in 1m30.5s.", NOW + timedelta(seconds=90.5)),
        ("Rate limit reached. Please try again in 20ms.", NOW + timedelta(milliseconds=20)),
        ('RESOURCE_EXHAUSTED, "retryDelay": "34s"', NOW + timedelta(seconds=34)),
        (
            "You've hit your usage limit. Upgrade to Pro (https://openai.com/chatgpt/pricing) or try again in 5 days "
            "22 hours 11 minutes.",
            NOW + timedelta(days=5, hours=22, minutes=11),
        ),
        ('"type":"usage_limit_reached","resets_in_seconds":13872', NOW + timedelta(seconds=13872)),
        ('"type":"usage_limit_reached","resets_at":1795264200', datetime(2026, 11, 21, 12, 30, tzinfo=UTC)),
        ("Claude AI usage limit reached|1795264200", datetime(2026, 11, 21, 12, 30, tzinfo=UTC)),
        ("You've hit your limit · resets 5pm (Europe/Vilnius)", datetime(2026, 11, 21, 15, 0, tzinfo=UTC)),
        ("You've hit your limit · resets 11am (UTC)", datetime(2026, 11, 22, 11, 0, tzinfo=UTC)),
        ("You've hit your session limit · resets 12:50am (UTC)", datetime(2026, 11, 22, 0, 50, tzinfo=UTC)),
        ("You've hit your weekly limit · resets Jan 2, 2am (UTC)", datetime(2027, 1, 2, 2, 0, tzinfo=UTC)),
        ("You've hit your weekly limit · resets Nov 25 at 7pm", datetime(2026, 11, 25, 19, 0, tzinfo=UTC)),
        (
            "You've hit your usage limit or try again at Nov 27th, 2026 7:38 AM.",
            datetime(2026, 11, 27, 7, 38, tzinfo=UTC),
        ),
        ("rate limited, resets at 2026-11-21T14:00:00+01:00", datetime(2026, 11, 21, 13, 0, tzinfo=UTC)),
        (
            "429 Too Many Requests, Retry-After: Sat, 21 Nov 2026 12:30:00 GMT",
            datetime(2026, 11, 21, 12, 30, tzinfo=UTC),
        ),
        ("You've hit your limit · resets 11:30pm GMT", datetime(2026, 11, 21, 23, 30, tzinfo=UTC)),
        ("You've hit your limit · resets 3pm Europe/Berlin", datetime(2026, 11, 21, 14, 0, tzinfo=UTC)),
        ("You've hit your limit · resets 3pm EST", datetime(2026, 11, 21, 20, 0, tzinfo=UTC)),
        ("You've hit your limit · resets 3pm PT", None),
        ("You've hit your limit · resets 3pm UTC+2", None),
        ("Rate limit exceeded, please try again later", None),
        ("Rate limit exceeded, try again 3 times", None),
        ("You've hit your limit · resets 5pm (Nowhere/Atlantis)", None),
        ("You've hit your limit · resets Feb 31, 5pm", None),
        ("You've hit your limit · resets 45:99pm", None),
        ("Rate limit exceeded. retry-after: 999999999d", None),
    ],
)
def test_when_it_ends(text: str, expected: datetime | None) -> None:
    found = rate_limit_from_text(text, NOW)
    assert found is not None
    assert found.reset_at == expected


def test_a_clock_time_without_zone_is_local_time() -> None:
    local = NOW.astimezone(timezone(timedelta(hours=9)))  # 21:00 there
    found = rate_limit_from_text("5-hour limit reached ∙ resets 11pm", local)
    assert found is not None
    assert found.reset_at == NOW + timedelta(hours=2)


def test_a_huge_text_is_judged_by_its_end() -> None:
    found = rate_limit_from_text("x" * 5_000_000 + "\nError: HTTP 429 Too Many Requests", NOW)
    assert found is not None
    assert found.message == "Error: HTTP 429 Too Many Requests"


@given(
    st.text()
    | st.lists(
        st.sampled_from(["rate limit exceeded ", "try again in ", "resets ", "9" * 12, "5pm ", "(", "m", "\n"])
    ).map("".join)
)
def test_no_text_breaks_it(text: str) -> None:
    rate_limit_from_text(text, NOW)
