"""Plain lines: one spec each, optional `key=value` fields behind it, `#` comments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from fleetprobe.inventory.fields import FIELDS, unknown_field
from fleetprobe.inventory.physical import Line
from fleetprobe.inventory.refused import Refused, bad_line, shown
from fleetprobe.inventory.row import Read, Row

LABEL_PREFIX = "label."

# Blanks, then a comment or one field: a bare value, "..." with \" and \\ inside, or '...' as it stands.
_FIELD = re.compile(
    r"""[ \t]+(?:
        (?P<comment>\#.*)
        | (?P<key>[^\s="']+) = (?P<value> "(?:[^"\\]|\\["\\])*" | '[^']*' | [^\s"']*) (?=[ \t]|\Z)
    )""",
    re.DOTALL | re.VERBOSE,
)
_BARE = re.compile(r"[^\s#][^\s]*")
"""A spec and nothing else: nearly every line of a large inventory."""
_ESCAPED = re.compile(r"\\([\"\\])")


def rows(lines: Iterable[Line], name: str) -> Iterator[Read]:
    """One `Row` or `BadLine` for each line that is neither blank nor a comment; `name` begins the source."""
    for line in lines:
        source = f"{name}:{line.number}"
        if line.problem:
            yield bad_line(source, line.text, line.problem)
            continue
        row = read_line(line.text, source)
        if row is not None:
            yield row


def read_line(text: str, source: str) -> Read | None:
    """The row in one line; None for a blank line or a comment."""
    if _BARE.fullmatch(text):
        return Row(spec=text, fields={}, source=source, raw=text)
    stripped = text.strip(" \t")
    if not stripped or stripped.startswith("#"):
        return None
    spec = re.split(r"[ \t]", stripped, maxsplit=1)[0]
    try:
        return Row(spec=spec, fields=_fields(stripped, len(spec)), source=source, raw=text)
    except Refused as refusal:
        return bad_line(source, text, str(refusal))


def _fields(text: str, start: int) -> dict[str, object]:
    fields: dict[str, object] = {}
    labels: dict[str, str] = {}
    while start < len(text):
        found = _FIELD.match(text, start)
        if not found:
            rest = shown(text[start:].strip())
            raise Refused(f"{rest} is not key=value; put a value with spaces in quotes")
        if found["comment"]:
            break
        _add(fields, labels, found["key"], _unquoted(found["value"]))
        start = found.end()
    return {**fields, "labels": labels} if labels else fields


def _add(fields: dict[str, object], labels: dict[str, str], key: str, value: str) -> None:
    label = key.removeprefix(LABEL_PREFIX)
    if label == key and (key not in FIELDS or key == "labels"):
        raise Refused(f"{unknown_field(key)} (a label is written {LABEL_PREFIX}NAME=value)")
    if label in (fields if label == key else labels):
        raise Refused(f"field {shown(key)} is given twice; keep one")
    if label == key:
        fields[key] = value
    else:
        labels[label] = value


def _unquoted(value: str) -> str:
    if value.startswith('"'):
        return _ESCAPED.sub(r"\1", value[1:-1])
    return value[1:-1] if value.startswith("'") else value
