"""Expected HTTP status codes as written, to sorted ranges."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fleetprobe.inventory.refused import Refused, shown

RANGES_MAX = 64

_STATUS = re.compile(r"([1-9][0-9]{2})(?:-([1-9][0-9]{2}))?|([1-9])xx")


def statuses(texts: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Sorted, merged, inclusive ranges from texts like `200`, `200,204`, `2xx` and `200-299`."""
    pieces = [piece.strip(" ") for text in texts for piece in text.split(",")]
    if not 0 < len(pieces) <= RANGES_MAX:
        raise Refused(f"expect_status takes 1 to {RANGES_MAX} values, not {len(pieces)}")
    return _merged(_status_range(piece) for piece in pieces)


def _status_range(text: str) -> tuple[int, int]:
    found = _STATUS.fullmatch(text.lower())
    if not found:
        raise Refused(f"expect_status {shown(text)} is not like 200, 2xx or 200-299")
    if found[3]:
        return int(found[3]) * 100, int(found[3]) * 100 + 99
    first, last = int(found[1]), int(found[2] or found[1])
    if last < first:
        raise Refused(f"expect_status {shown(text)} runs backwards; write the lower code first")
    return first, last


def _merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)
