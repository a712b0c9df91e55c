"""What a ladder means for the engine, worked out once: where it forks, how far each branch climbs, who witnesses."""

from __future__ import annotations

from itertools import takewhile

from fleetprobe.decide import Ask, Offer
from fleetprobe.layer import Ladder


class Ways:
    """One ladder cut into its parts. `whole` says whether a branch climbs to the top or only to the connection."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.trunk = tuple(layer for layer in ladder if not layer.per_address)
        limbs = tuple(layer for layer in ladder if layer.per_address)
        self.base = tuple(takewhile(lambda layer: layer.everywhere, limbs))
        self.upper = limbs[len(self.base) :]
        self.limbs = {True: limbs, False: self.base}
        self.names = {whole: _names(self.trunk + part) for whole, part in self.limbs.items()}
        self.offers = {whole: _offers(part) for whole, part in self.limbs.items()}
        witnesses = [witness for layer in limbs for witness in layer.witnesses]
        self.afterwards = tuple(Ask(witness.name, 1) for witness in witnesses if witness.afterwards)
        self.at_once = next((witness.name for witness in witnesses if witness.at_once), None)


def ways_of(ladder: Ladder) -> Ways:
    """The parts of a ladder; ladders are few and live as long as the program."""
    ways = _KNOWN.get(id(ladder))
    if ways is None:
        ways = _KNOWN[id(ladder)] = Ways(ladder)
    return ways


_KNOWN: dict[int, Ways] = {}


def _names(ladder: Ladder) -> tuple[str, ...]:
    return tuple(layer.name for layer in ladder)


def _offers(ladder: Ladder) -> tuple[Offer, ...]:
    return tuple(
        Offer(witness.name, witness.when, witness.times) for layer in ladder for witness in layer.witnesses
    )
