"""JSON Lines: one object per line, a target of our own shape or a record of an earlier run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from fleetprobe.inventory.physical import Line
from fleetprobe.inventory.refused import Refused, bad_line
from fleetprobe.inventory.row import Read, Row, row_of_mapping

_OTHER_RECORDS = frozenset({"run_start", "certificate", "amend", "cause", "run_end"})


def rows(lines: Iterable[Line], name: str) -> Iterator[Read]:
    """
    One `Row` or `BadLine` for each line that is neither blank nor a record without a target.

    Objects: `{"target": spec, field: value…}`, `{"host": …, "port": …, field: value…}`, or a `result`
    record of fleetprobe, whose target and labels are taken. The last of two equal keys counts.
    """
    for line in lines:
        source = f"{name}:{line.number}"
        if line.problem:
            yield bad_line(source, line.text, line.problem)
        elif line.text.strip(" \t"):
            row = _row(line.text, source)
            if row is not None:
                yield row


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
    return Row(
        spec=target,
        fields={"labels": labels} if labels else {},
        source=source,
        raw=raw,
        recorded_id=target_id if isinstance(target_id, str) else None,
    )
