"""Everything that was asked at once about an address whose port stayed silent."""

from __future__ import annotations

from dataclasses import dataclass

from fleetprobe.net.interface import Address, Dial
from fleetprobe.net.nearby import NOTHING_NEARBY, Nearby
from fleetprobe.net.witness import Neighbour, Ping, Poke, Walk


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A connection of an earlier climb that was kept open, with TCP keepalives every second."""

    port: int
    age_s: float
    lives: bool
    """Neither closed nor reset, and its keepalives are still acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """Everything asked at once about an address whose port stayed silent."""

    address: Address
    port: int
    started_s: float
    ended_s: float
    knocks: tuple[Dial, ...]
    """One likely open and one likely closed port of the same address."""
    poke: Poke
    ping: Ping
    host_shared: bool = False
    """Other ports, UDP and ping were asked for another silent port of the address, just before."""
    gateway_shared: bool = False
    """The same of the next hop."""
    walk: Walk | None
    """The path; None where the address is on-link. Shared by all addresses of one /24 or /48."""
    walked: str | None = None
    """Which address the walk was made to."""
    neighbour: Neighbour | None = None
    """The next hop as the kernel knows it after all this."""
    gateway_poke: Poke | None = None
    gateway_ping: Ping | None = None
    heard_port: int | None = None
    """Another port of the address that answered a few seconds ago in this run; a host may die in the midst of one."""
    gateway_heard: bool = False
    """Whether anything beyond the same gateway has answered in this run."""
    left: int | None = None
    """Packets that left our interface meanwhile, everybody's. Fewer than our SYNs: some never left."""
    fresh: tuple[Dial, ...] = ()
    """More attempts at the very port, from fresh source ports."""
    held: Held | None = None
    """A connection to the same address from before."""
    conntrack_share: float | None = None
    """How full our own connection table is, 0 to 1; None where there is none to see."""

    nearby: Nearby = NOTHING_NEARBY
    """What was heard of the same /24 or /48 behind the same next hop, as of the end of all this."""

    @property
    def own_walk(self) -> Walk | None:
        """The path, where this survey walked it itself: not to a neighbour, not for another port, not before."""
        path = self.walk
        own = path is not None and (path.address, path.port) == (self.address, self.port)
        return path if own and path is not None and path.started_s >= self.started_s else None

    @property
    def near_dials(self) -> tuple[Dial, ...]:
        """The TCP sockets opened for it, but for those of the walk."""
        return self.fresh if self.host_shared else (*self.knocks, *self.fresh)

    @property
    def dials(self) -> tuple[Dial, ...]:
        """Every TCP socket opened for it."""
        return (*self.near_dials, *(self.own_walk.dials if self.own_walk else ()))

    @property
    def kept_back(self) -> bool:
        """Whether our own machine kept SYNs back; sound however busy the interface is."""
        return self.left is not None and self.left < len(self.dials)

    @property
    def pokes(self) -> tuple[Poke, ...]:
        """Every UDP question asked for it."""
        asked = (
            None if self.host_shared else self.poke,
            None if self.gateway_shared else self.gateway_poke,
            *(self.own_walk.udp if self.own_walk else ()),
        )
        return tuple(poke for poke in asked if poke is not None)

    @property
    def pings(self) -> tuple[Ping, ...]:
        """Every echo asked for it; none where this user may not."""
        asked = (None if self.host_shared else self.ping, None if self.gateway_shared else self.gateway_ping)
        return tuple(ping for ping in asked if ping is not None and ping.permitted)
