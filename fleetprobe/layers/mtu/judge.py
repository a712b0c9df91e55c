"""What the ladder of sizes means: a black hole is said only when every size below one passes and that one stalls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetprobe.layer import found
from fleetprobe.layers.mtu.facts import Dropped, MtuFacts
from fleetprobe.layers.mtu.rungs import Met
from fleetprobe.layers.mtu.sizes import mss_of, tunnels_between
from fleetprobe.layers.sockets import where
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.known_path import ProvenHole
from fleetprobe.net.path import DfSearch, Passed

SUSPECTS = frozenset({"tcp.stalled", "tls.no_answer", "tls.stalled", "http.timeout", "app.no_banner"})
"""Stalls that large packets which vanish can cause."""
_ENDS = frozenset({
    "tcp.closed", "tcp.reset", "tls.dropped", "tls.alert", "http.status", "http.truncated", "http.unavailable",
    "http.gateway_timeout",
})
"""How a server gives up on a request, or on us, while the hole stands: the bytes that were missing never came."""
_BY_CHANCE = ("tcp.flow_dependent", "http.timeout")
EMITS = frozenset({"mtu.black_hole", "mtu.reduced", "mtu.clamped", "mtu.masked", "mtu.unproven"})


def judge(facts: MtuFacts | None, policy: Policy) -> Sequence[Finding]:
    """Not in order of size: loss. None passes: not a matter of size. None stalls: it did not happen again."""
    if facts is None or facts.boundary is None:
        return ()
    return (_masked(facts, *facts.boundary) if facts.masked else _black_hole(facts, *facts.boundary),)


def judge_path(facts: MtuFacts | None, policy: Policy) -> Sequence[Finding]:
    """What is to be known of the path of a target that answers small requests, or of how large a packet may be."""
    if facts is None:
        return ()
    if facts.lent and facts.known is not None:
        return () if facts.unharmed else (_lent(facts, facts.known),)
    if facts.boundary is not None:
        # The request that stalled is named too: it is what the hole explains, beside a climb that went well.
        return (*_stalled(facts), _black_hole(facts, *facts.boundary))
    search = facts.search
    told: list[Finding] = []
    if search is not None and facts.reported is not None:
        told.append(_reduced(facts, search, facts.reported))
    if search is not None and facts.clamped:
        told.append(_clamped(facts, search))
    return told or (_unproven(facts, search) if facts.asked else ())


def _black_hole(facts: MtuFacts, passes: int, stalls: int) -> Finding:
    tunnels = tunnels_between(passes, stalls)
    guess = f"; {' or '.join(tunnels)}?" if tunnels else ""
    way = f"{facts.direction}: " if facts.direction else ""
    hop = f" behind hop {facts.last_hop}" if facts.last_hop else ""
    unsaid = ", ICMP filtered" if facts.dropped is Dropped.UNHEARD else " unsaid"
    summary = (
        f"{where(facts.address.text, facts.port)}: {way}packets of {passes} bytes "
        f"(MSS {mss_of(passes, facts.address.family)}) pass, of {stalls} vanish{hop}{unsaid}{guess}"
    )
    told = {**facts.record(), **({"tunnels": list(tunnels)} if tunnels else {})}
    return found(
        "mtu.black_hole", summary, told,
        # Where the kernel saw nothing missing, exchanges that hang for other reasons could fall like that by chance.
        confidence=Confidence.PROVEN if facts.signed else Confidence.INFERRED,
        could_also_be=() if facts.signed else _BY_CHANCE,
        supersedes=SUSPECTS if facts.hole is None else SUSPECTS | _ENDS,
        factor=_factor(facts, passes),
    )


def _stalled(facts: MtuFacts) -> Sequence[Finding]:
    return [rung.said for rung in facts.rungs[:1] if rung.said is not None]


def _lent(facts: MtuFacts, hole: ProvenHole) -> Finding:
    """A warning: this target was asked for nothing large."""
    summary = (
        f"{facts.direction} packets above {hole.passes_bytes} bytes (MSS "
        f"{mss_of(hole.passes_bytes, facts.address.family)}) vanish on this path, proven with {hole.address}; "
        "the answers here were small"
    )
    factor = _factor(facts, hole.passes_bytes)
    warning = found("mtu.black_hole", summary, facts.record(), confidence=Confidence.INFERRED, factor=factor)
    return replace(warning, state=State.OK)


def _factor(facts: MtuFacts, passes: int) -> str:
    behind = f"behind {facts.gateway}" if facts.gateway else "on our own link"
    return f"{facts.direction or 'some'} path {behind} above {passes} bytes"


def _masked(facts: MtuFacts, passes: int, stalls: int) -> Finding:
    summary = (
        f"{where(facts.address.text, facts.port)}: packets above {passes} bytes vanish unsaid; the server "
        "finds a way around, seconds late on every connection"
    )
    confidence = Confidence.PROVEN if facts.signed else Confidence.INFERRED
    return found("mtu.masked", summary, facts.record(), confidence=confidence)


def _reduced(facts: MtuFacts, search: DfSearch, mtu: int) -> Finding:
    told = (probe for probe in search.probes if probe.outcome is Passed.TOO_BIG and probe.icmp is not None)
    by = next((f" {probe.icmp.sender}" for probe in told if probe.icmp is not None), "")
    summary = (
        f"the path to {facts.address.text} carries packets of {mtu} bytes "
        f"(MSS {mss_of(mtu, facts.address.family)}), as router{by} says"
    )
    # A host that answers no datagram at all cannot bear out what a router, or a forger, has said.
    confidence = Confidence.INFERRED if search.largest_passed is None else Confidence.OBSERVED
    return found("mtu.reduced", summary, facts.record(), confidence=confidence)


def _clamped(facts: MtuFacts, search: DfSearch) -> Finding:
    summary = (
        f"TCP to {facts.address.text} keeps to packets of {facts.segment_bytes} bytes and works; "
        f"UDP and QUIC above {facts.reported or search.largest_passed} bytes will not arrive"
    )
    return found("mtu.clamped", summary, facts.record(), confidence=Confidence.INFERRED)


def _unproven(facts: MtuFacts, search: DfSearch | None) -> Sequence[Finding]:
    """Said only where it was asked for: which way full packets are not known to pass, and why."""
    reasons = [*_forward_open(facts, search), *_reverse_open(facts)]
    if not reasons:
        return ()
    summary = f"whether full-size packets pass, {facts.address.text}, could not be shown: {'; '.join(reasons)}"
    return (found("mtu.unproven", summary, facts.record(), confidence=Confidence.INFERRED),)


def _forward_open(facts: MtuFacts, search: DfSearch | None) -> Sequence[str]:
    full = facts.segment_bytes == facts.top_bytes
    whole = next((rung.met for rung in facts.rungs if rung.size_bytes == facts.top_bytes), None)
    if facts.clean or (full and whole is Met.PASSES):
        return ()
    if search is None or search.largest_passed is None:
        why = "there, no datagram is answered"
    else:
        why = f"there, datagrams above {search.largest_passed} bytes are not answered"
    return (why if whole is None else f"{why}, and a large request {whole}",)


def _reverse_open(facts: MtuFacts) -> Sequence[str]:
    received = facts.moved_bytes[1]
    return () if received >= facts.top_bytes else (f"back, only {received} bytes came",)
