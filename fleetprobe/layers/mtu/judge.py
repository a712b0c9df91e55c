"""What the ladder of sizes means: a black hole is said only when every size below one passes and that one stalls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetprobe.layer import found
from fleetprobe.layers.mtu.facts import Met, MtuFacts
from fleetprobe.layers.mtu.sizes import mss_of, tunnels_between
from fleetprobe.layers.sockets import where
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.path import DfSearch, Passed

SUSPECTS = frozenset({"tcp.stalled", "tls.no_answer", "tls.stalled", "http.timeout", "app.no_banner"})
"""Stalls that large packets which vanish can cause."""
EMITS = frozenset({"mtu.black_hole", "mtu.reduced", "mtu.clamped", "mtu.masked", "mtu.unproven"})
_TWICE = 2


def judge(facts: MtuFacts, policy: Policy) -> Sequence[Finding]:
    """Not in order of size: loss. None passes: not a matter of size. None stalls: it did not happen again."""
    hole = _black_hole(facts)
    if hole is None:
        return ()
    return (_masked(facts),) if facts.masked else (hole,)


def judge_path(facts: MtuFacts | None, policy: Policy) -> Sequence[Finding]:
    """What a target that works need know of its path: a warning of a hole, or how large a packet may be."""
    if facts is None:
        return ()
    hole = _black_hole(facts)
    if hole is not None:
        # The target itself got its answers; whoever sends more than it was asked for will not.
        return (replace(hole, state=State.OK, supersedes=frozenset()),)
    search = facts.search
    if search is None or facts.clean:
        return ()
    if search.reported_mtu is not None or facts.clamped:
        reduced = (_reduced(facts, search),) if search.reported_mtu is not None else ()
        return (*reduced, *((_clamped(facts, search),) if facts.clamped else ()))
    return (_unproven(facts, search),) if facts.asked else ()


def _black_hole(facts: MtuFacts) -> Finding | None:
    passes, stalls = facts.passes_bytes, facts.stalls_bytes
    if passes is None or stalls is None or not _carried(facts, passes, stalls):
        return None
    tunnels = tunnels_between(passes, stalls)
    guess = f"; {' or '.join(tunnels)}?" if tunnels else ""
    way = f"{facts.direction}: " if facts.direction else ""
    hop = f" behind hop {facts.last_hop}" if facts.last_hop else ""
    summary = (
        f"{where(facts.address.text, facts.port)}: {way}packets of {passes} bytes "
        f"(MSS {mss_of(passes, facts.address.family)}) pass, of {stalls} vanish{hop} unsaid{guess}"
    )
    told = {**facts.record(), **({"tunnels": list(tunnels)} if tunnels else {})}
    behind = f"behind {facts.gateway}" if facts.gateway else "on our own link"
    return found(
        "mtu.black_hole", summary, told, confidence=Confidence.PROVEN, supersedes=SUSPECTS,
        factor=f"{facts.direction or 'some'} path {behind} above {passes} bytes",
    )


def _masked(facts: MtuFacts) -> Finding:
    summary = (
        f"{where(facts.address.text, facts.port)}: packets above {facts.passes_bytes} bytes vanish unsaid; the server "
        "finds a way around, seconds late on every connection"
    )
    return found("mtu.masked", summary, facts.record(), confidence=Confidence.PROVEN)


def _reduced(facts: MtuFacts, search: DfSearch) -> Finding:
    told = (probe for probe in search.probes if probe.outcome is Passed.TOO_BIG and probe.icmp is not None)
    by = next((f" {probe.icmp.sender}" for probe in told if probe.icmp is not None), "")
    summary = (
        f"the path to {facts.address.text} carries packets of {search.reported_mtu} bytes "
        f"(MSS {mss_of(search.reported_mtu or 0, facts.address.family)}), as router{by} says"
    )
    return found("mtu.reduced", summary, facts.record())


def _clamped(facts: MtuFacts, search: DfSearch) -> Finding:
    summary = (
        f"TCP to {facts.address.text} keeps to packets of {facts.segment_bytes} bytes and works; "
        f"UDP and QUIC above {search.reported_mtu or search.largest_passed} bytes will not arrive"
    )
    return found("mtu.clamped", summary, facts.record(), confidence=Confidence.INFERRED)


def _unproven(facts: MtuFacts, search: DfSearch) -> Finding:
    """Said only where it was asked for."""
    if search.largest_passed is None:
        why = "it answers no datagram at all"
    else:
        why = f"datagrams above {search.largest_passed} bytes are not answered"
    if facts.rungs:
        why += f", and a large request {facts.rungs[0].met}"
    summary = f"whether full-size packets reach {facts.address.text} could not be shown: {why}"
    return found("mtu.unproven", summary, facts.record(), confidence=Confidence.INFERRED)


def _carried(facts: MtuFacts, passes: int, stalls: int) -> bool:
    """Whether the sizes are in order, and both sides of the boundary were seen twice."""
    if passes >= stalls or any(len(set(met)) > 1 or Met.UNCLEAR in met for met in facts.sizes.values()):
        return False
    return len(facts.sizes[passes]) >= _TWICE and len(facts.sizes[stalls]) >= _TWICE
