"""What the same exchange met at different segment sizes, and what one search by UDP says about our direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fleetprobe.layers.mtu.sizes import mss_of
from fleetprobe.net.interface import Address
from fleetprobe.net.path import DfSearch, Direction, Hole


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


@dataclass(frozen=True, slots=True, kw_only=True)
class MtuFacts:
    """The ladder of sizes.

    | field | type | meaning |
    |---|---|---|
    | top_bytes | int | the largest packet that our own link carries |
    | ladder | list of {size_bytes, met} | IP packet sizes in the order asked |
    | path_mtu_bytes, tcp_mss_bytes | int, int | the largest packet that passes, and the TCP segment in it |
    | stalls_at_bytes | int | the smallest that stalls |
    | path_mtu_direction | text | forward, reverse or both |
    | hole | text | what the kernel saw in the stalled climb: forward, reverse |
    | udp_passed_bytes | int | the largest datagram that the host answered, from us to it |
    | reported_mtu_bytes | int | the smallest MTU that a router on the way reported |
    | segment_bytes | int | the IP packet that a full segment of the climb's connection makes |
    | masked | bool | the answer came in the end, by a way around the hole |
    | begins_behind_hop | int | the last hop that a large datagram came to |
    | gateway | text | the next hop |
    """

    address: Address
    port: int
    top_bytes: int
    rungs: tuple[Rung, ...] = ()
    hole: Hole | None = None
    """Of the climb itself."""
    search: DfSearch | None = None
    """Datagrams of several sizes, from us to the host."""
    hops: DfSearch | None = None
    """A small and a large datagram for each hop."""
    segment_bytes: int | None = None
    """The IP packet that a full segment of the climb's connection makes."""
    masked: bool = False
    """The answer came in the end: somebody found a way around the hole."""
    asked: bool = False
    """Whether the user wants to know of every address."""
    gateway: str | None = None
    local: bool = False
    """The address is one of our own."""
    sizes: Mapping[int, tuple[Met, ...]] = field(init=False)
    """What each size met, the climb that stalled included."""

    def __post_init__(self) -> None:
        sizes: dict[int, tuple[Met, ...]] = {}
        for rung in self.rungs:
            sizes[rung.size_bytes] = (*sizes.get(rung.size_bytes, ()), rung.met)
        object.__setattr__(self, "sizes", sizes)

    @property
    def passes_bytes(self) -> int | None:
        """The largest size at which every exchange passed."""
        return max((size for size, met in self.sizes.items() if set(met) == {Met.PASSES}), default=None)

    @property
    def stalls_bytes(self) -> int | None:
        """The smallest size at which every exchange stalled."""
        return min((size for size, met in self.sizes.items() if set(met) == {Met.STALLS}), default=None)

    @property
    def clean(self) -> bool:
        """Whether a datagram as large as our link carries has arrived."""
        return self.search is not None and self.search.largest_passed == self.top_bytes

    @property
    def clamped(self) -> bool:
        """Whether TCP keeps below what passes from its first segment on, while larger datagrams vanish unsaid."""
        search, segment = self.search, self.segment_bytes
        if search is None or segment is None or search.cached_mtu_bytes is not None:
            return False
        limit = search.reported_mtu or (search.largest_passed if search.smallest_failed else None)
        return limit is not None and segment <= limit < self.top_bytes

    @property
    def last_hop(self) -> int | None:
        """The distance of the last router that a large datagram came to, where small ones come farther."""
        if self.hops is None or self.stalls_bytes is None:
            return None
        small, large = (self.hops.farthest_ttl(size) for size in (min(_sizes(self.hops)), self.stalls_bytes))
        return large if small is not None and large is not None and large < small else None

    @property
    def direction(self) -> str | None:
        """Which way large packets vanish, as far as both kinds of evidence tell."""
        seen = {hole.direction for hole in (self.hole, *(rung.hole for rung in self.rungs)) if hole is not None}
        if self.search is not None and self.search.smallest_failed is not None:
            seen.add(Direction.FORWARD)
        if len(seen) > 1:
            return "both"
        return str(next(iter(seen))) if seen else None

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        passes = self.passes_bytes
        facts = {
            "top_bytes": self.top_bytes,
            "ladder": [{"size_bytes": rung.size_bytes, "met": str(rung.met)} for rung in self.rungs],
            "path_mtu_bytes": passes,
            "tcp_mss_bytes": None if passes is None else mss_of(passes, self.address.family),
            "stalls_at_bytes": self.stalls_bytes,
            "path_mtu_direction": self.direction,
            "hole": str(self.hole.direction) if self.hole else None,
            "udp_passed_bytes": self.search.largest_passed if self.search else None,
            "reported_mtu_bytes": self.search.reported_mtu if self.search else None,
            "segment_bytes": self.segment_bytes,
            "begins_behind_hop": self.last_hop,
            "masked": self.masked or None,
            "gateway": self.gateway,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """The columns of the result record that a proven hole fills."""
        if self.search is not None and self.search.reported_mtu is not None:
            return {"path_mtu_bytes": self.search.reported_mtu, "path_mtu_direction": "forward"}
        if self.passes_bytes is None or self.stalls_bytes is None:
            return {}
        return {"path_mtu_bytes": self.passes_bytes, "path_mtu_direction": self.direction}


def _sizes(search: DfSearch) -> set[int]:
    return {probe.size_bytes for probe in search.probes}
