"""How a line is turned down: one exception inside this package, one `BadLine` at its edge."""

from __future__ import annotations

import re

from fleetprobe.model.target import BadLine

RAW_CHARS = 512
SHOWN_CHARS = 60

# C0, DEL, C1, line and paragraph separators, lone surrogates: no value of an inventory needs them.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class Refused(ValueError):
    """The text names no target. The message is one sentence: what is wrong and what would be right."""


def shown(text: str) -> str:
    """Quote `text` for a reason: ASCII only, at most 60 characters, nothing that stands before an `@`."""
    text = hide_secret(text)
    return ascii(text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…")


def hide_secret(text: str) -> str:
    """Cut everything before the last `@`, where a user name and password would stand."""
    _, at, after = text.rpartition("@")
    return f"***@{after}" if at else text


def refuse_controls(what: str, text: str) -> None:
    """Raise `Refused` when `text` holds a control character, a line break or half a surrogate pair."""
    found = _CONTROL.search(text)
    if found:
        raise Refused(f"{what} holds the control character U+{ord(found.group()):04X}; take it out")


def bad_line(source: str, raw: str, reason: str) -> BadLine:
    """A `BadLine` that is safe to keep: no secret, valid UTF-8, at most 512 characters of the line."""
    head = hide_secret(raw)[:RAW_CHARS]
    return BadLine(source=utf8(source), raw=utf8(head)[:RAW_CHARS], reason=reason)


def utf8(text: str) -> str:
    r"""`text` with lone surrogates written as `\udcXX`, so that it can be encoded."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
