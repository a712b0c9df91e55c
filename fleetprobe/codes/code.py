"""What is known about one code: its meaning, its evidence, what it is not, and how to confirm and mend it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from fleetprobe.codes.boxes import Box
from fleetprobe.model.verdict import State


class Severity(StrEnum):
    """How much a code weighs when it stands alone."""

    FAIL = "fail"
    """The climb cannot go on: the target failed, or nothing can be said about it."""
    SLOW = "slow"
    """It works, but slower than it should."""
    WARN = "warn"
    """It works, and somebody should look."""
    INFO = "info"
    """It works, and this is worth knowing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One row of the table of codes. Prose is plain text without placeholders; commands are templates."""

    name: str
    """Layer, a dot, and the fault: `tcp.refused`. Published names never change."""
    severity: Severity
    state: State
    """The state of a target whose verdict is this code."""
    osi: str
    """The OSI label: `L4`, `L3/4`, `L5/6`; `-` where none applies."""
    emitted: bool
    """Whether this version can produce it; False means planned."""
    meaning: str
    """One or two sentences."""
    boxes: tuple[Box, ...]
    """Who can cause it."""
    evidence: str
    """The least that must have been seen before it may be said."""
    not_this: tuple[str, ...]
    """Wrong conclusions it excludes, each `noun phrase (code, where there is one): why not`."""
    could_also_be: tuple[str, ...]
    """Codes that look alike on this evidence and stay possible."""
    fix: str
    """One imperative sentence of at most 160 characters."""
    confirm: tuple[str, ...]
    """Commands that only look, to verify by hand; templates for `codes.command.fill`."""
    fix_commands: tuple[str, ...] = ()
    """Commands that mend, on the machine at fault; templates for `codes.command.fill`."""
    proves: tuple[str, ...] = ()
    """Layers from ip upward (or link alone) that work when this is the verdict; ip carries link with it."""

    @property
    def layer(self) -> str:
        """The first word of the name."""
        return self.name.partition(".")[0]
