"""JSON Lines: one object per line, a target of our own shape or a record of an earlier run.

An object spread over lines, as `jq` prints it when nobody says `-c`, is taken as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from fleetprobe.inventory.physical import Line
from fleetprobe.inventory.refused import Refused, bad_line
from fleetprobe.inventory.row import Read, Row, row_of_mapping

_OTHER_RECORDS = frozenset({"run_start", "certificate", "amend", "cause", "run_end"})
_IDENTITY = ("path", "sni", "host_header", "connect_to")
"""What a `target_id` is made of beside the canonical target; columns of the record under the same names."""
_SPREAD_CHARACTERS = 1 << 20
"""Of one object spread over lines: a record of 64 KiB is several times as long when indented."""


def rows(lines: Iterable[Line], name: str) -> Iterator[Read]:
    """
    One `Row` or `BadLine` for each line that is neither blank nor a record without a target.

    Objects: `{"target": spec, field: value…}`, `{"host": …, "port": …, field: value…}`, or a `result`
    record of fleetprobe, whose target is taken with what belongs to its identity, and its labels. The last
    of two equal keys counts.
    """
    for line in _gathered(lines):
        source = f"{name}:{line.number}"
        if line.problem:
            yield bad_line(source, line.text, line.problem)
        elif line.text.strip(" \t"):
            row = _row(line.text, source)
            if row is not None:
                yield row


def _gathered(lines: Iterable[Line]) -> Iterator[Line]:
    """Lines with each spread object joined into one, numbered by its first; its inner lines are indented."""
    opened: list[Line] = []
    length = 0
    for line in lines:
        inner = bool(opened) and not line.problem and line.text[:1] in (" ", "\t")
        if inner or (opened and line.text == "}"):
            length += len(line.text)
            if length <= _SPREAD_CHARACTERS:
                opened.append(line)
            if not inner:
                yield _joined(opened, whole=length <= _SPREAD_CHARACTERS)
                opened = []
            continue
        if opened:
            yield _joined(opened, whole=False)
        opened, length = ([line], 1) if line.text == "{" else ([], 0)
        if not opened:
            yield line
    if opened:
        yield _joined(opened, whole=False)


def _joined(opened: list[Line], *, whole: bool) -> Line:
    text = "".join(line.text for line in opened)
    problem = "not JSON: the object that begins here has no end, or is too long; write one object per line"
    return Line(opened[0].number, text, None if whole else problem)


def _row(text: str, source: str) -> Read | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as problem:
        return bad_line(source, text, f"not JSON at column {problem.colno}: {problem.msg[:80]}")
    if not isinstance(value, dict):
        return bad_line(source, text, 'the line is not a JSON object; write one like {"target": "host:port"}')
    kind = value.get("kind")
    if isinstance(kind, str) and kind in _OTHER_RECORDS:
        return None
    try:
        return _recorded(value, source, text) if kind == "result" else row_of_mapping(value, source, text)
    except Refused as refusal:
        return bad_line(source, text, str(refusal))


def _recorded(record: dict[str, object], source: str, raw: str) -> Row:
    target, target_id, labels = (record.get(column) for column in ("target", "target_id", "labels"))
    if not isinstance(target, str):
        raise Refused("the result record names no target; take it from its own inventory")
    if record.get("code") == "input.invalid":
        raise Refused("the record is of an inventory line that named no target; mend that line")
    fields = {name: record[name] for name in _IDENTITY if record.get(name) is not None}
    return Row(
        spec=target,
        fields={**fields, "labels": labels} if labels else fields,
        source=source,
        raw=raw,
        recorded_id=target_id if isinstance(target_id, str) else None,
    )
