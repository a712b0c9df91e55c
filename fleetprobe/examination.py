"""What came of one target: its climbs step by step, the verdict of each address, and one for the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleetprobe.model.attempt import Attempt
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Finding, Outcome, State, Verdict
from fleetprobe.net.interface import Address

_PASS, _FAIL = Outcome.PASS, State.FAIL


@dataclass(slots=True, kw_only=True)
class Step:
    """One rung of one climb, or one witness."""

    layer: str
    started_s: float
    ended_s: float
    findings: Sequence[Finding]
    facts: Any
    """The layer's own facts."""
    duration: str | None = None
    """The phase column its time belongs to."""

    @property
    def phase_ms(self) -> float:
        """The phase's milliseconds: as the layer's facts tell them from the kernel's events, else ours."""
        told: float | None = getattr(self.facts, "duration_ms", None)
        return told if told is not None else (self.ended_s - self.started_s) * 1000.0

    broke: bool = field(init=False)
    """Whether any finding of this step stops a climb."""

    def __post_init__(self) -> None:
        self.broke = False
        for finding in self.findings:
            if finding.breaks:
                self.broke = True

    @property
    def outcome(self) -> Outcome:
        """The step in one word."""
        worst = _PASS
        for finding in self.findings:
            if finding.breaks:
                if finding.state is _FAIL:
                    return Outcome.FAIL
                worst = Outcome.UNKNOWN
            elif finding.code is not None and worst is _PASS:
                worst = Outcome.WARN
        return worst

    @property
    def code(self) -> str | None:
        """The first code among the findings."""
        return next((finding.code for finding in self.findings if finding.code), None)


@dataclass(slots=True, kw_only=True)
class Climb:
    """One pass up the ladder over one connection."""

    purpose: str
    """climb, or the name of the witness that asked for it."""
    started_s: float
    steps: list[Step] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    ended_s: float = 0.0
    aside: bool = False
    """A witness with a question of its own: no climb that could carry the record's phases."""
    broke: bool = field(init=False, default=False)
    """Whether the climb ended before the top."""

    def add(self, step: Step) -> None:
        """One more rung."""
        self.steps.append(step)
        self.broke = self.broke or step.broke


@dataclass(slots=True, kw_only=True)
class AddressResult:
    """Everything about one address of the target."""

    address: Address
    climbs: list[Climb]
    verdict: Verdict
    queue_s: float = 0.0
    """Time spent waiting for admission."""
    deciding: Climb | None = field(init=False)
    """The climb whose phases the record shows: the first that reached the top, or met what the verdict says."""

    def __post_init__(self) -> None:
        self.deciding = None
        for climb in self.climbs:
            if climb.aside:
                continue
            if not climb.broke:
                self.deciding = climb
                break
            if self.deciding is None or not self._carries(self.deciding):
                self.deciding = climb

    def _carries(self, climb: Climb) -> bool:
        """Whether the climb met what the verdict says."""
        code = self.verdict.code
        return any(finding.code == code for step in climb.steps for finding in step.findings)


@dataclass(slots=True, kw_only=True)
class Examination:
    """Everything about one target."""

    target: Target
    ladder: tuple[str, ...]
    started_at: float
    """Seconds since the epoch, for the record's time stamp only."""
    started_s: float
    ended_s: float
    trunk: Climb
    """What was asked once for the target, before the climb forked over its addresses."""
    addresses: list[AddressResult]
    speaker: int | None
    """Which of `addresses` speaks for the target; None when the climb never forked."""
    verdict: Verdict

    @property
    def deciding(self) -> AddressResult | None:
        """The address that speaks for the target."""
        return None if self.speaker is None else self.addresses[self.speaker]

    def steps(self) -> list[Step]:
        """The deciding climb from the ground up, its witnesses after it."""
        steps = list(self.trunk.steps)
        speaker = self.deciding
        if speaker is not None and speaker.deciding is not None:
            steps += speaker.deciding.steps
            for climb in speaker.climbs:
                if climb is not speaker.deciding:
                    steps += climb.steps
        return steps

    def facts(self) -> Mapping[str, Any]:
        """The deciding climb's facts by layer, and those of the witnesses by what they were asked for."""
        found = {step.layer: step.facts for step in self.trunk.steps}
        speaker = self.deciding
        if speaker is not None and speaker.deciding is not None:
            for step in speaker.deciding.steps:
                found[step.layer] = step.facts
            for climb in speaker.climbs:
                if climb.aside:
                    found.update({f"{climb.purpose} {step.layer}": step.facts for step in climb.steps})
        return found
