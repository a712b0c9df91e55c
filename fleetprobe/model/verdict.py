"""What is concluded: states, confidence, findings and the one verdict of a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """The one word said about a target."""

    OK = "ok"
    SLOW = "slow"
    FAIL = "fail"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"


class Confidence(StrEnum):
    """How well a conclusion is carried, strongest first."""

    PROVEN = "proven"
    """An A/B test or direct wire evidence flips it."""
    OBSERVED = "observed"
    """One unambiguous event."""
    INFERRED = "inferred"
    """Consistent with what was seen; alternatives are listed."""


class Outcome(StrEnum):
    """How one layer did in one climb."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one layer's facts mean.

    A finding without a code is a plain pass. `state` is what the target would be if this finding
    stood alone: a warning leaves it `ok`.
    """

    layer: str
    state: State = State.OK
    code: str | None = None
    confidence: Confidence = Confidence.OBSERVED
    summary: str = ""
    """One sentence, at most 160 characters, safe to print."""
    silences: int = 0
    """How many times nothing was heard; more than 0 marks weak evidence that a second witness must carry."""
    proves: frozenset[str] = frozenset()
    """Layers, beside those below a pass, that this finding shows to work: a refusal proves reach."""
    unproven: frozenset[str] = frozenset()
    """Layers below that this finding leaves open although it passed."""
    final: bool = False
    """Nothing that could be asked would say more."""
    supersedes: frozenset[str] = frozenset()
    """Codes whose findings this one explains and takes the place of."""
    factor: str | None = None
    """What other targets share when they fail for the same reason: a gateway, a router, a resolver."""
    rung: str | None = None
    """Where on the ladder it was seen, when that is not the layer it speaks of."""
    tentative: bool = False
    """Nothing spoke against the layer, yet nothing carries it either: neither a pass nor a break."""
    settled: bool = True
    """False: what other targets show may still say more of it by the end of the run."""
    could_also_be: tuple[str, ...] = ()
    rank: int = 0
    """Among findings of one layer the lowest rank speaks first; the table of codes sets it."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The evidence, as JSON-ready values, units in the names."""

    @property
    def seen_at(self) -> str:
        """The rung whose probe saw it."""
        return self.rung or self.layer

    @property
    def breaks(self) -> bool:
        """Whether the climb cannot go on past this finding."""
        state = self.state
        return state is not _OK and state is not _SLOW


# Members of an enum are looked up in Python code each time; this property is read for every finding.
_OK, _SLOW = State.OK, State.SLOW


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The one conclusion about a target (or about one of its addresses)."""

    state: State
    finding: Finding | None = None
    """The finding that carries the verdict; None when all is well."""
    proven_layers: tuple[str, ...] = ()
    """Layers known good, bottom first."""
    also: tuple[Finding, ...] = ()
    """Everything else worth knowing, in ladder order: warnings, forgiven silences, faults above."""

    @property
    def code(self) -> str | None:
        """The code of the deciding finding, if any."""
        return self.finding.code if self.finding else None
