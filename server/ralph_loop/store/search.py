"""`ralph/search`: messages by full-text index, errors and output by a bounded scan."""

from __future__ import annotations

import re
from sqlite3 import Row

from ralph_loop.protocol import SearchHit
from ralph_loop.store.database import Database

MAX_SCANNED_CHUNKS = 4000  # newest first; at 64 KiB each at most 250 MB
MAX_SCANNED_MESSAGES = 10_000  # newest first
_MAX_WORDS = 32  # the index takes minutes for thousands of them
_AROUND = 80  # characters beside a hit


async def search(database: Database, text: str, *, repo_id: str | None, limit: int) -> list[SearchHit]:
    """Messages, then errors of iterations, then output; of each the newest first.

    Messages that hold the very text come before those that hold its words.
    """
    hits = await _messages(database, text, repo_id, limit)
    for more in (_errors, _output):
        if len(hits) < limit:
            hits += await more(database, text, repo_id, limit - len(hits))
    return hits


async def _messages(database: Database, text: str, repo_id: str | None, limit: int) -> list[SearchHit]:
    found: dict[int, SearchHit] = {}
    if re.search(r"[^A-Za-z0-9\s]", text):  # the index knows no signs, and a sentence without spaces (日本語) is a word
        rows = await database.rows(
            "SELECT m.* FROM (SELECT * FROM messages ORDER BY number DESC LIMIT ?) m"
            " JOIN sessions s ON s.id = m.session_id"
            " WHERE instr(lower(m.text), lower(?)) AND (? IS NULL OR s.repo_id = ?) ORDER BY m.number DESC LIMIT ?",
            (MAX_SCANNED_MESSAGES, text, repo_id, repo_id, limit),
        )
        found = {row["number"]: _message(row, _excerpt(row["text"], text)) for row in rows}
    query = _query(text)
    if query is not None and len(found) < limit:
        rows = await database.rows(
            "SELECT m.*, snippet(messages_fts, 0, '', '', '…', 24) AS excerpt"
            " FROM messages_fts JOIN messages m ON m.number = messages_fts.rowid"
            " JOIN sessions s ON s.id = m.session_id"
            " WHERE messages_fts MATCH ? AND (? IS NULL OR s.repo_id = ?) ORDER BY m.number DESC LIMIT ?",
            (query, repo_id, repo_id, limit),
        )
        for row in rows:
            found.setdefault(row["number"], _message(row, row["excerpt"]))
    return list(found.values())[:limit]


def _message(row: Row, excerpt: str) -> SearchHit:
    return SearchHit(
        run_id=row["run_id"],
        session_id=row["session_id"],
        where=f"{row['role']} {row['kind']}",
        excerpt=excerpt,
        at=row["at"],
    )


def _query(text: str) -> str | None:
    """Every word as a string, so that nothing the user types is query syntax; the last one may be a beginning."""
    words = list(dict.fromkeys(re.findall(r"\w+", text)))[:_MAX_WORDS]
    return " ".join(f'"{word}"' for word in words) + "*" if words else None


async def _errors(database: Database, text: str, repo_id: str | None, limit: int) -> list[SearchHit]:
    rows = await database.rows(
        "SELECT i.run_id, l.session_id, i.iteration, e.value AS error, json_extract(i.record, '$.startedAt') AS at"
        " FROM iterations i JOIN loops l ON l.id = i.run_id, json_each(i.record, '$.errors') e"
        " WHERE instr(lower(e.value), lower(?)) AND (? IS NULL OR l.repo_id = ?)"
        " ORDER BY l.number DESC, i.iteration DESC LIMIT ?",
        (text, repo_id, repo_id, limit),
    )
    return [
        SearchHit(
            run_id=row["run_id"],
            session_id=row["session_id"],
            where=f"error of iteration {row['iteration']}",
            excerpt=_excerpt(row["error"], text),
            at=row["at"],
        )
        for row in rows
    ]


async def _output(database: Database, text: str, repo_id: str | None, limit: int) -> list[SearchHit]:
    # CROSS JOIN keeps the order: loop by loop, so that only chunks of the wanted repository are counted and read
    rows = await database.rows(
        "SELECT * FROM (SELECT o.run_id, l.session_id, o.iteration, o.stream, o.at, o.data"
        " FROM loops l CROSS JOIN output_logs o ON o.run_id = l.id"
        " WHERE o.stream <> 'system' AND (? IS NULL OR l.repo_id = ?) ORDER BY l.number DESC, o.seq DESC LIMIT ?)"
        " WHERE instr(lower(CAST(data AS TEXT)), lower(?)) LIMIT ?",
        (repo_id, repo_id, MAX_SCANNED_CHUNKS, text, limit),
    )
    return [
        SearchHit(
            run_id=row["run_id"],
            session_id=row["session_id"],
            where=f"{row['stream']} of iteration {row['iteration']}",
            excerpt=_excerpt(row["data"].decode("utf-8", "replace"), text),
            at=row["at"],
        )
        for row in rows
    ]


def _excerpt(text: str, wanted: str) -> str:
    at = max(0, text.lower().find(wanted.lower()))
    start, end = max(0, at - _AROUND), at + len(wanted) + _AROUND
    cut = " ".join(text[start:end].split())
    return f"{'…' if start else ''}{cut}{'…' if end < len(text) else ''}"
