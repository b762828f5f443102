"""Opaque ids with a readable prefix: `run_…`, `ses_…`."""

from __future__ import annotations

import secrets


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(10)}"
