"""Workspaces as clients name them: a `file:` URI without host, or an absolute path; an existing folder."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from ralph_loop.errors import InvalidParamsError


def workspace_path(text: str, key: str = "workspace") -> Path:
    """The folder, symlinks resolved. Raises InvalidParamsError naming `key`."""
    path = Path(from_uri(text, key) if is_uri(text) else text)
    if not path.is_absolute():
        raise InvalidParamsError(key, f"{text!r} is neither an absolute path nor a file: URI")
    try:
        if "\0" in str(path) or not path.is_dir():
            raise InvalidParamsError(key, f"{text!r} is not an existing folder")
        resolved = path.resolve(strict=True)
        os.fspath(resolved).encode()
    except OSError as error:
        raise InvalidParamsError(key, f"{text!r} cannot be used: {error.strerror}") from None
    except UnicodeEncodeError:
        raise InvalidParamsError(key, f"{text!r} has a name that is not UTF-8; rename the folder") from None
    return resolved


def is_uri(text: str) -> bool:
    return text[:5].lower() == "file:"


def from_uri(uri: str, key: str) -> str:
    if not uri.isprintable():
        raise InvalidParamsError(key, f"{uri!r} is no URI: encode control characters")  # urlsplit drops some of them
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise InvalidParamsError(key, f"{uri!r} is no URI") from None
    if parts.netloc:
        raise InvalidParamsError(key, f"{uri!r} names a host; only local folders can be used")
    if parts.query or parts.fragment:
        raise InvalidParamsError(key, f"{uri!r} has a query or fragment; encode ? and # in a path")
    return os.fsdecode(unquote_to_bytes(parts.path))
