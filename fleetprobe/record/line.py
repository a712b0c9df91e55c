"""A row becomes a line: one JSON object in ASCII, ended by a newline, at most 64 KiB long."""

from __future__ import annotations

from typing import Any

import orjson

from fleetprobe.model.safe import ascii_json, without_surrogates

MOST_BYTES = 64 * 1024
_DEEPEST = 16
_NAME_CHARACTERS = 128
_LIST_STEPS = (64, 16, 4, 1, 0)
_TEXT_STEPS = (4096, 512, 64, 16, 8)


def encode(row: dict[str, Any]) -> bytes:
    """The line of one row. Rows too long lose the ends of long lists and texts, and say so."""
    line = _dump(row)
    for most_items, most_characters in zip(_LIST_STEPS, _TEXT_STEPS, strict=True):
        if len(line) <= MOST_BYTES:
            return line
        row = {name: _cut(value, most_items, most_characters) for name, value in row.items()}
        if "truncated" in row:
            row["truncated"] = True
        line = _dump(row)
    return line


def _dump(row: dict[str, Any]) -> bytes:
    try:
        line = orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        line = orjson.dumps(_clean(row), option=orjson.OPT_APPEND_NEWLINE)
    # NUL is legal JSON and fatal to many a database.
    if b"\\u0000" in line:
        line = orjson.dumps(_clean(row), option=orjson.OPT_APPEND_NEWLINE)
    return ascii_json(line)


def _clean(value: Any, depth: int = 0) -> Any:
    """The value with what strict readers refuse written out: lone surrogates, NUL, huge integers, bytes, depth."""
    match value:
        case dict() | list() | tuple() | set() | frozenset() if depth > _DEEPEST:
            return "…"
        case str():
            return without_surrogates(value).replace("\0", "\\x00")
        case bool() | None | float():
            return value
        case int():
            return value if abs(value) < 1 << 53 else hex(value)
        case dict():
            return {_clean(str(name)): _clean(item, depth + 1) for name, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_clean(item, depth + 1) for item in value]
        case bytes():
            return value.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        case _:
            return str(value)


def _cut(value: Any, most_items: int, most_characters: int) -> Any:
    match value:
        case str() if len(value) > most_characters:
            return value[:most_characters]
        case list() | tuple():
            return [_cut(item, most_items, most_characters) for item in value[: max(most_items, 1)]]
        case dict():
            kept = list(value.items())[: max(most_items * 2, 24)]
            return {name[:_NAME_CHARACTERS]: _cut(item, most_items, most_characters) for name, item in kept}
        case _:
            return value
