"""The trust stores of a run before it begins: what stands behind each, and whose trust cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from fleetprobe.model.target import BadLine, Entry, Target
from fleetprobe.model.trust import CERTIFI, SYSTEM, Trust, UnknownLabel
from fleetprobe.net.interface import Net
from fleetprobe.net.live.trust import UnusableTrust


def told_of(trust: Trust, net: Net) -> Mapping[str, Mapping[str, object]]:
    """By label what stands behind each store that a target may name, the run's own first (`live.trust.load`).

    Raises UnusableTrust for what was asked for; `system` and `certifi` are there whether anybody asks or not, and
    say `unusable` and why.
    """
    told: dict[str, Mapping[str, object]] = {}
    for store in dict.fromkeys((*trust.of_run, *trust.known)):
        try:
            told[store.label] = net.trust(store.file)
        except UnusableTrust as why:
            if store in trust.of_run or store.label not in (SYSTEM, CERTIFI):
                raise
            told[store.label] = {"unusable": str(why)}
    return told


def usable(found: Iterable[Entry], trust: Trust, net: Net) -> Iterator[Entry]:
    """Entries whose own trust cannot be used become bad lines before anything is sent for them."""
    for entry in found:
        if isinstance(entry, Target) and (entry.ca_file is not None or entry.trust):
            try:
                for store in trust.of(entry):
                    net.trust(store.file)
            except (UnusableTrust, UnknownLabel) as why:
                yield BadLine(source=entry.source or "", raw=entry.canonical, reason=str(why))
                continue
        yield entry
