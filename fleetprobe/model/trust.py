"""Trust by label: which stores of anchors a run knows, and which of them a target is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from fleetprobe.model.target import Target

SYSTEM: Final = "system"
CERTIFI: Final = "certifi"
CA_FILE: Final = "ca_file"
"""The label of a bundle without a name, a run's `--ca-file` or a target's `ca_file`; none that can be asked for."""
MACHINE: Final = ""
"""In place of a file: the anchors that this machine has."""
LABELS_MAX: Final = 8
"""Of one target; each costs a verification of its chain."""


class UnknownLabel(Exception):
    """A label that no store of this run has; the text says which there are."""


@dataclass(frozen=True, slots=True)
class Store:
    """Anchors under a label."""

    label: str
    file: str = MACHINE
    """PEM bundle, or MACHINE."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The stores of a run."""

    known: tuple[Store, ...] = (Store(SYSTEM),)
    """What a target may name."""
    of_run: tuple[Store, ...] = (Store(SYSTEM),)
    """For targets that name none; never empty. The first decides, the others are told beside it."""

    def of(self, target: Target) -> tuple[Store, ...]:
        """The stores of one target, the deciding one first. Raises UnknownLabel."""
        if target.ca_file is not None:
            return (Store(CA_FILE, target.ca_file),)
        return self.named(target.trust) or self.of_run

    def named(self, labels: Sequence[str]) -> tuple[Store, ...]:
        """The stores with these labels, in their order. Raises UnknownLabel."""
        known = {store.label: store for store in self.known}
        for label in labels:
            if label not in known:
                raise UnknownLabel(_unknown(label, tuple(known)))
        return tuple(known[label] for label in labels)


def _unknown(label: str, known: Sequence[str]) -> str:
    if label == CERTIFI:
        return f"trust {CERTIFI} needs the Python package of that name, which is not installed here"
    return f"unknown trust {label}; known are {', '.join(known)}, and more by --trust-store {label}=FILE"
