"""One line of the doctor: what was looked at, how it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fleetprobe.model.verdict import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one judge says about one thing of this machine."""

    name: str
    """`interface`, `route`, `resolver`, `descriptors` and so on; several checks may share a name."""
    outcome: Outcome
    """PASS; WARN: a scan works, but somebody should know; FAIL: a scan would tell wrong or nothing;
    UNKNOWN: this machine does not let us see; SKIPPED: not asked."""
    summary: str
    """One sentence."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What it rests on, JSON-ready, units in the names, unknown ones left out."""
    fix: str | None = None
    """One imperative sentence, where there is something to mend."""

    def row(self) -> dict[str, Any]:
        """The check as the JSON line tells it."""
        return {
            "check": self.name,
            "outcome": str(self.outcome),
            "summary": self.summary,
            "facts": dict(self.facts),
            "fix": self.fix,
        }


def known(facts: Any) -> dict[str, Any]:
    """The fields of a facts dataclass that hold something, by name."""
    told = ((one.name, getattr(facts, one.name)) for one in fields(facts))
    return {name: value for name, value in told if value is not None}
