"""One fault behind many targets: results that name the same factor become one cause record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]

_MOST_CAUSES = 10_000
_MOST_LISTED = 100
_MOST_COUNTER_EXAMPLES = 5
_SHARED = 2
"""A cause is worth a record of its own from so many targets on."""


@dataclass(slots=True)
class _Cause:
    code: str
    factor: str
    summary: str
    count: int = 0
    targets: list[str] = field(default_factory=list)


class Causes:
    """Collects while results pass by; memory is bounded by the number of factors, not of targets."""

    def __init__(self) -> None:
        self._causes: dict[str, _Cause] = {}
        self._working: dict[str, list[str]] = {}

    def see(self, row: Row, factor: str | None) -> str | None:
        """Take note of one result. Returns its root_cause_id when it names a factor."""
        if factor is None or row["code"] is None:
            if row["state"] in ("ok", "slow"):
                self._note_working(row)
            return None
        identity = cause_id(row["code"], factor)
        cause = self._causes.get(identity)
        if cause is None:
            if len(self._causes) >= _MOST_CAUSES:
                return identity
            cause = self._causes[identity] = _Cause(row["code"], factor, row["summary"])
        cause.count += 1
        if len(cause.targets) < _MOST_LISTED:
            cause.targets.append(row["target"])
        return identity

    def rows(self) -> Iterator[dict[str, Any]]:
        """The causes that several targets share, the widest first, as rows without their run's columns."""
        shared = sorted(self._causes.items(), key=lambda item: (-item[1].count, item[0]))
        for identity, cause in shared:
            if cause.count < _SHARED:
                continue
            yield {
                "kind": "cause",
                "root_cause_id": identity,
                "code": cause.code,
                "summary": f"{cause.count} targets fail for one reason: {cause.factor} ({cause.code})"[:160],
                "factor": cause.factor,
                "target_count": cause.count,
                "targets": cause.targets,
                "counter_examples": self._working.get(cause.factor, []),
            }

    def _note_working(self, row: Row) -> None:
        for layer in row["layers"]:
            gateway = layer["facts"].get("gateway")
            if gateway is not None:
                working = self._working.setdefault(f"gateway {gateway}", [])
                if len(working) < _MOST_COUNTER_EXAMPLES:
                    working.append(row["target"])


def cause_id(code: str, factor: str) -> str:
    """16 hex digits over code and factor, the same in every run."""
    return hashlib.blake2b(f"{code}\x1f{factor}".encode(), digest_size=8).hexdigest()
