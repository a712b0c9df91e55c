"""What exchanges in packets of several sizes met, and the boundary that shows between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleetprobe.model.verdict import Finding
from fleetprobe.net.path import Hole


class Met(StrEnum):
    """How one exchange ended."""

    PASSES = "passes"
    """It came past the point where the climb had stalled."""
    STALLS = "stalls"
    """It fell silent there, or before."""
    UNCLEAR = "unclear"
    """It ended otherwise, so that it says nothing about sizes."""


@dataclass(frozen=True, slots=True)
class Rung:
    """The exchange once, in packets of at most one size."""

    size_bytes: int
    met: Met
    hole: Hole | None = None
    """The kernel's account of a stall."""
    said: Finding | None = None
    """A stall in the words of its layer."""


def boundary_of(rungs: Sequence[Rung], least: int) -> tuple[int, int] | None:
    """The two sizes between which passing ends, if every exchange fits and both were seen so often."""
    met: dict[int, list[Met]] = {}
    for rung in rungs:
        met.setdefault(rung.size_bytes, []).append(rung.met)
    passed = [size for size, told in met.items() if set(told) == {Met.PASSES}]
    stalled = [size for size, told in met.items() if set(told) == {Met.STALLS}]
    if not passed or not stalled or len(passed) + len(stalled) < len(met):
        return None
    passes, stalls = max(passed), min(stalled)
    if passes >= stalls or min(len(met[passes]), len(met[stalls])) < least:
        return None
    return passes, stalls
