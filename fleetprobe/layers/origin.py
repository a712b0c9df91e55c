"""Who refused: the host itself, or a box nearer than it that answers in its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fleetprobe.layer import Ground, found
from fleetprobe.layers.sockets import attempt_of, attempt_of_poke, where
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import Net
from fleetprobe.net.witness import RstOrigin


@dataclass(frozen=True, slots=True)
class OriginFacts:
    """How far away the RST was sent, against how far away the host is.

    | field | type | meaning |
    |---|---|---|
    | rst_ttl | int | the smallest hop limit with which the RST came |
    | host_ttl | int | the smallest hop limit with which the host itself answered |
    | expires_at | text | the router where another packet of the RST's hop limit ended: the host is beyond it |
    | packets_left, packets_handed_over | int | what left our interface meanwhile, and our own SYNs |
    | by | text | the hop before the box that refused, when it is known |
    """

    origin: RstOrigin | None
    port: int
    """The port in question; the origin is asked once per address, perhaps at another of its ports."""

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        origin = self.origin
        if origin is None:
            return {}
        facts = {
            "rst_ttl": origin.rst_ttl,
            "host_ttl": origin.host_ttl,
            "expires_at": origin.expires_at,
            "packets_left": origin.left,
            "packets_handed_over": origin.tcp_packets if origin.left is not None else None,
            "by": origin.before.sender if origin.before else None,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """A witness fills no column: those belong to the climb."""
        return {}


async def probe(ground: Ground, net: Net) -> OriginFacts:
    """Ask for the refusal again, with hop limits that end on the way."""
    assert ground.address is not None
    until_s = ground.until(ground.policy.survey_s, net.now())
    origin = await net.rst_origin(ground.address, ground.target.port, until_s)
    if origin is not None and origin.port == ground.target.port:
        ground.attempts += [attempt_of(dial, "origin") for dial in origin.dials]
        ground.attempts += [attempt_of_poke(poke, "origin") for poke in origin.pokes]
    return OriginFacts(origin, ground.target.port)


def judge(facts: OriginFacts, policy: Policy) -> Sequence[Finding]:
    """A RST from nearer than the host is a box in between; anything else leaves the refusal as it stands."""
    origin = facts.origin
    if origin is None:
        return ()
    farther = origin.nearer or (origin.host_ttl is not None and origin.host_ttl > 1)
    if origin.rst_ttl == 1 and (farther or origin.kept_back):
        return (_ourselves(facts, origin),)
    if not origin.nearer:
        return ()
    place = where(origin.address.text, origin.port)
    if origin.port != facts.port:
        summary = f"{place} is refused by a box nearer than the host (hop {origin.rst_ttl}); so this port may be, too"
        return (
            found(
                "tcp.rejected", summary, facts.record(), confidence=Confidence.INFERRED,
                could_also_be=("tcp.refused",), supersedes=frozenset({"tcp.refused"}),
            ),
        )
    summary = (
        f"the RST for {place} came from hop {origin.rst_ttl}; other packets pass {origin.expires_at} "
        "towards the host: a box in between refused"
    )
    return (
        found(
            "tcp.rejected", summary, facts.record(),
            confidence=Confidence.PROVEN, supersedes=frozenset({"tcp.refused"}),
        ),
    )


def _ourselves(facts: OriginFacts, origin: RstOrigin) -> Finding:
    """A router answers for what it forwards, and forwards nothing whose last hop it is: nobody but we, or a box
    on our own wire, refuses a packet that may pass one hop."""
    place = where(origin.address.text, facts.port)
    summary = f"the SYN to {place} is refused even when it may not pass hop 1: our own firewall did it"
    return found(
        "local.send_denied", summary, facts.record(),
        confidence=Confidence.OBSERVED if origin.kept_back else Confidence.INFERRED,
        could_also_be=() if origin.kept_back else ("tcp.rejected",),
        supersedes=frozenset({"tcp.refused"}),
    )


EMITS = frozenset({"tcp.rejected", "local.send_denied"})
