"""What the same exchange met at different segment sizes, and what one search by UDP says about our direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from fleetprobe.layers.mtu.rungs import Met, Rung, boundary_of
from fleetprobe.layers.mtu.sizes import mss_of, packet_of
from fleetprobe.net.interface import Address
from fleetprobe.net.known_path import ProvenHole
from fleetprobe.net.path import DfSearch, Direction, Hole, Passed

_TWICE, _UNSIGNED = 2, 5
"""How often either side of a boundary must have been seen, with a sign from the kernel and without one."""


class Dropped(StrEnum):
    """What takes large packets of ours that routers must not fragment."""

    UNHEARD = "icmp filtered"
    """A router that fragments them when it may: it says too big otherwise, and is not heard."""
    SILENTLY = "silently"
    """Something that takes them whether they may be fragmented or not; or their fragments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MtuFacts:
    """The ladder of sizes.

    | field | type | meaning |
    |---|---|---|
    | top_bytes | int | the largest packet that our own link carries |
    | ladder | list of {size_bytes, met, hole} | IP packet sizes in the order asked, and what the kernel saw |
    | datagrams | list of {size_bytes, met} | UDP packets from us to the host that must not be fragmented |
    | path_mtu_bytes, tcp_mss_bytes | int, int | the largest packet that passes, and the TCP segment in it |
    | stalls_at_bytes | int | the smallest that stalls |
    | to_the_byte | bool | no size between those two is left open |
    | path_mtu_direction | text | forward, reverse or both |
    | hole | text | what the kernel saw in the stalled climb: forward, reverse |
    | udp_passed_bytes | int | the largest datagram that the host answered, from us to it |
    | echoed_bytes | int | the echo of the largest size, if one was answered |
    | reported_mtu_bytes | int | the smallest MTU that a router on the way reported |
    | segment_bytes | int | the IP packet that a full segment of the climb's connection makes |
    | masked | bool | the answer came in the end, by a way around the hole |
    | begins_behind_hop | int | the last hop that a large datagram came to |
    | dropped | text | what takes ours: `icmp filtered` or `silently` |
    | proven_by | text | the address that has proven the hole of this path, if it was another |
    | proof_ms | number | from the first SYN of the climb to the boundary seen twice |
    | gateway, interface | text, text | the next hop, and our interface towards it |
    """

    address: Address
    port: int
    top_bytes: int
    rungs: tuple[Rung, ...] = ()
    refined: tuple[Rung, ...] = ()
    """Sizes between the two that the rungs have proven; out of order they are passed over."""
    hole: Hole | None = None
    """Of the climb itself."""
    search: DfSearch | None = None
    """Datagrams of several sizes, from us to the host."""
    hops: DfSearch | None = None
    """A small and a large datagram for each hop."""
    in_pieces: Rung | None = None
    """The exchange with our side of it in small pieces: what stalls then vanishes on the way back."""
    may_fragment: Rung | None = None
    """The exchange with a large request that routers may fragment."""
    known: ProvenHole | None = None
    """What another target has proven of this path."""
    moved_bytes: tuple[int, int] = (0, 0)
    """The most that the climb is known to have brought through in one go: sent, received."""
    segment_bytes: int | None = None
    """The IP packet that a full segment of the climb's connection makes."""
    masked: bool = False
    """The answer came in the end: somebody found a way around the hole."""
    asked: bool = False
    """Whether the user wants to know of every address."""
    proof_ms: float | None = None
    gateway: str | None = None
    interface: str | None = None

    @property
    def boundary(self) -> tuple[int, int] | None:
        """The largest size that passes and the smallest that stalls, if that is proven.

        The order of the sizes must hold for every exchange, and both sides must have been seen twice. Where another
        target has proven them, one exchange on either side is enough.
        """
        least = _TWICE if self.signed else _UNSIGNED
        own = boundary_of((*self.rungs, *self.refined), least) or boundary_of(self.rungs, least)
        # A hole that was proven before needs to be met here once, with a sign.
        return own or (self.steps if self.known is not None and self.signed else None)

    @property
    def lent(self) -> bool:
        """Whether what stands here was proven by another target, and this one has not met it."""
        return self.known is not None and not self.rungs

    @property
    def clean(self) -> bool:
        """Whether a datagram as large as our link carries has arrived."""
        return self.search is not None and self.top_bytes in (self.search.largest_passed, self.search.echoed_bytes)

    @property
    def clamped(self) -> bool:
        """Whether TCP keeps below what passes from its first segment on, while larger datagrams vanish unsaid."""
        search, segment = self.search, self.segment_bytes
        if search is None or segment is None or search.cached_mtu_bytes is not None:
            return False
        limit = self.reported or (search.largest_passed if search.smallest_failed else None)
        return limit is not None and segment <= limit < self.top_bytes

    @property
    def last_hop(self) -> int | None:
        """The distance of the last router that a large datagram came to, where small ones come farther."""
        if self.hops is None:
            return self._alike.behind_hop if self._alike else None
        sizes = sorted({probe.size_bytes for probe in self.hops.probes})
        small, large = (self.hops.farthest_ttl(size) for size in (sizes[0], sizes[-1]))
        return large if small is not None and large is not None and large < small else None

    @property
    def nothing_passed(self) -> bool:
        """Whether the exchange stalled at every size that was asked."""
        return bool(self.rungs) and all(rung.met is Met.STALLS for rung in self.rungs)

    @property
    def signed(self) -> bool:
        """Whether the kernel itself saw segments missing, in an exchange that stalled at the boundary too."""
        steps = self.steps
        above = [rung for rung in self.rungs if steps is not None and rung.size_bytes >= steps[1]]
        return any(self._credible(rung.hole) for rung in above)

    @property
    def steps(self) -> tuple[int, int] | None:
        """The two sizes between which passing ends, as far as the ladder has come, proven or not."""
        return boundary_of(self.rungs, _TWICE if self.known is None else 1)

    @property
    def wanting(self) -> int:
        """How often both sides must still be seen; 0 where that could change nothing."""
        steps = self.steps
        if steps is None or self.boundary is not None:
            return 0
        return max(0, _UNSIGNED - min(sum(rung.size_bytes == size for rung in self.rungs) for size in steps))

    @property
    def unharmed(self) -> bool:
        """Whether enough has passed here, the way in question, to fill a packet that vanishes for others."""
        if self.known is None:
            return False
        sent, received = (moved >= self.known.stalls_bytes for moved in self.moved_bytes)
        sent = sent or (self.search is not None and _arrived_bytes(self.search) >= self.known.stalls_bytes)
        return {"forward": sent, "reverse": received}.get(self.known.direction or "", sent and received)

    @property
    def reported(self) -> int | None:
        """The MTU that a router reported, unless a datagram that should have passed did not."""
        mtu = self.search.reported_mtu if self.search is not None else None
        if mtu is None or self.search is None:
            return None
        if (self.search.echoed_bytes or 0) > mtu:
            return None
        if self.search.largest_passed is None:
            return mtu
        asked = [probe.size_bytes for probe in self.search.probes if probe.size_bytes <= mtu]
        return mtu if max(asked, default=mtu) <= self.search.largest_passed else None

    @property
    def dropped(self) -> str | None:
        """What takes large packets of ours: one that fragments them when it may knew their size, and is not heard."""
        rung = self.may_fragment
        if rung is None:
            return self._alike.dropped if self._alike else None
        if rung.met is Met.PASSES:
            return Dropped.UNHEARD
        if rung.met is not Met.STALLS or rung.hole is None:
            return None
        # What vanishes on the way back says that ours have arrived.
        return Dropped.UNHEARD if rung.hole.direction is Direction.REVERSE else Dropped.SILENTLY

    @property
    def direction(self) -> str | None:
        """Which way large packets vanish, as far as all kinds of evidence tell."""
        stalls = (self.hole, *(rung.hole for rung in self.rungs), self.in_pieces.hole if self.in_pieces else None)
        seen = {hole.direction for hole in stalls if hole is not None and self._credible(hole)}
        if self._datagrams_vanish():
            seen.add(Direction.FORWARD)
        if len(seen) > 1:
            return "both"
        told = self.known.direction if self.known is not None else None
        return str(next(iter(seen))) if seen else told

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        known = (self.known.passes_bytes, self.known.stalls_bytes) if self.known is not None and self.lent else None
        passes, stalls = self.boundary or known or (None, None)
        probes = self.search.probes if self.search is not None else ()
        facts = {
            "top_bytes": self.top_bytes,
            "ladder": [_step(rung) for rung in (*self.rungs, *self.refined)],
            "datagrams": [{"size_bytes": probe.size_bytes, "met": str(probe.outcome)} for probe in probes] or None,
            "path_mtu_bytes": passes,
            "tcp_mss_bytes": None if passes is None else mss_of(passes, self.address.family),
            "stalls_at_bytes": stalls,
            "to_the_byte": (passes is not None and stalls == passes + 1) or None,
            "path_mtu_direction": self.direction,
            "hole": str(self.hole.direction) if self.hole else None,
            "udp_passed_bytes": self.search.largest_passed if self.search else None,
            "echoed_bytes": self.search.echoed_bytes if self.search else None,
            "reported_mtu_bytes": self.search.reported_mtu if self.search else None,
            "segment_bytes": self.segment_bytes,
            "begins_behind_hop": self.last_hop,
            "dropped": self.dropped,
            "masked": self.masked or None,
            "proven_by": self.known.address if self.known else None,
            "proof_ms": None if self.proof_ms is None else round(self.proof_ms, 3),
            "gateway": self.gateway,
            "interface": self.interface,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """The columns of the result record that a proven hole fills."""
        if self.boundary is not None:
            return {"path_mtu_bytes": self.boundary[0], "path_mtu_direction": self.direction}
        if self.reported is not None:
            return {"path_mtu_bytes": self.reported, "path_mtu_direction": "forward"}
        return {}

    def _datagrams_vanish(self) -> bool:
        """Whether those of ours end at the very boundary; what a router reports is another matter."""
        boundary = self.steps
        if boundary is None or self.search is None:
            return False
        met = {probe.size_bytes: probe.outcome for probe in self.search.probes if probe.ttl is None}
        large = {outcome for size, outcome in met.items() if size >= boundary[1]}
        return met.get(boundary[0]) is Passed.PASSED and large == {Passed.SILENT}

    def _credible(self, hole: Hole | None) -> bool:
        """Whether nothing speaks against a sign: packets as large as those that are to vanish have passed that way."""
        if hole is None or self.steps is None:
            return hole is not None
        stalls = self.steps[1]
        if hole.direction is Direction.REVERSE:
            return packet_of(hole.receive_mss_bytes, self.address.family) < stalls
        return self.search is None or _arrived_bytes(self.search) < stalls

    @property
    def _alike(self) -> ProvenHole | None:
        """What is known of the path, if it goes the same way as what was seen here."""
        return self.known if self.known is not None and self.known.direction == self.direction else None


def _arrived_bytes(search: DfSearch) -> int:
    """The largest packet of ours that the host has answered, by whatever protocol."""
    return max(search.largest_passed or 0, search.echoed_bytes or 0)


def _step(rung: Rung) -> Mapping[str, Any]:
    hole = {"hole": str(rung.hole.direction)} if rung.hole else {}
    return {"size_bytes": rung.size_bytes, "met": str(rung.met), **hole}
