"""The path to a port: SYNs whose TTL ends at each hop, all at once, until the far end has answered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from math import inf

from fleetprobe.net.interface import Address, Dial, Event
from fleetprobe.net.live.knock import Syn, volley
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.udp import poke
from fleetprobe.net.witness import (
    Hop,
    Poke,
    Reached,
    Walk,
    any_answer,
    came_from,
    is_port_unreachable,
    is_time_exceeded,
    own_fault,
)

MOST_HOPS = 64
_FIRST_VOLLEY = 12
_FIRST_STEP, _STEP = 3, 2
_PATIENCE_S = 0.9
"""Just below the first repetition of a SYN (RFC 6298: 1 s), so that each socket costs one packet."""
_GRACE_S, _GRACE_RTTS = 0.05, 2.0
"""What hops below one that has answered still get: their way is shorter, so they are late or silent."""
_UDP_AFTER_S, _UDP_HOPS = 0.25, 6
_LOOP_MEETINGS = 3


@dataclass(slots=True)
class Trail:
    """SYNs with rising TTL to one port, and what they have met so far."""

    reactor: Reactor
    address: Address
    port: int
    until_s: float
    syns: list[Syn] = field(default_factory=list)

    async def ask(self, ttls: Sequence[int]) -> None:
        """One volley; ends as soon as its farthest answer and all below it are in."""
        until = min(self.until_s, self.reactor.now() + _PATIENCE_S)
        self.syns += (fresh := [Syn(self.reactor, self.address, self.port, ttl) for ttl in ttls])
        await volley(fresh, until, lambda: self._give_up_s(fresh))

    @property
    def end(self) -> tuple[int, Reached] | None:
        """The smallest TTL at which something other than time exceeded was said, and what."""
        for syn in self.syns:
            reached = _reached(syn.dial)
            if syn.ttl is not None and reached is not None:
                return syn.ttl, reached
        return None

    @property
    def goes_on(self) -> bool:
        """Whether one of the two farthest hops asked has answered, and is not the end."""
        return self.end is None and any(_answered(syn) for syn in self.syns[-2:])

    def hops(self) -> tuple[Hop, ...]:
        """What each TTL met, up to the end."""
        last = self.end[0] if self.end else inf
        return tuple(_hop(syn) for syn in self.syns if syn.ttl is not None and syn.ttl <= last)

    def dials(self) -> tuple[Dial, ...]:
        """One for each socket."""
        return tuple(syn.dial for syn in self.syns if syn.dial is not None)

    def packets(self) -> int:
        """SYNs sent."""
        return sum(syn.packets for syn in self.syns)

    def _give_up_s(self, fresh: Sequence[Syn]) -> float:
        """Now when all that matters is known; the end of the grace when only lower hops are missing."""
        told = [place for place, syn in enumerate(fresh) if _reached(syn.dial) is not None]
        place = told[0] if told else len(fresh) - 1
        mark = fresh[place].dial
        if mark is None or not _answered(fresh[place]):
            return inf
        if all(syn.dial is not None for syn in fresh[:place]):
            return self.reactor.now()
        return mark.ended_s + _GRACE_S + _GRACE_RTTS * (mark.ended_s - mark.started_s)


async def walk(
    reactor: Reactor,
    address: Address,
    port: int,
    until_s: float,
    most_hops: int = 16,
    *,
    likely_hops: int | None = None,
    sparing: bool = False,
) -> Walk:
    """See `net.witness.Witnessing.walk`. Raises ValueError for a number of hops outside 1 to 64."""
    if not 1 <= most_hops <= MOST_HOPS:
        raise ValueError(f"{most_hops} hops in one walk, 1 to {MOST_HOPS} are possible")
    started = reactor.now()
    trail = Trail(reactor, address, port, until_s)
    async with asyncio.TaskGroup() as group:
        other = group.create_task(_ask_by_udp(trail))
        await (creep(trail, most_hops) if sparing else follow(trail, most_hops, likely_hops))
        if reactor.now() - started < _UDP_AFTER_S and any(_ended(syn) for syn in trail.syns):
            other.cancel()
    udp = () if other.cancelled() else other.result()
    end = trail.end
    return Walk(
        address=address,
        port=port,
        started_s=started,
        ended_s=reactor.now(),
        hops=trail.hops(),
        reached_ttl=end[0] if end else None,
        reached_by=end[1] if end else None,
        loop=() if end else _loop(address, trail.hops()),
        udp=udp,
        own_fault=own_fault(trail.dials()),
        dials=trail.dials(),
        tcp_packets=trail.packets(),
        udp_packets=sum(answer.packets for answer in udp),
    )


async def follow(trail: Trail, most_hops: int, likely_hops: int | None = None) -> None:
    """The first volley, one hop farther than is likely; and a second one if the path goes on beyond it."""
    first = min(_FIRST_VOLLEY if likely_hops is None else max(1, likely_hops + 1), most_hops)
    await trail.ask(range(1, first + 1))
    if first < most_hops and trail.goes_on and not _loop(trail.address, trail.hops()):
        await trail.ask(range(first + 1, most_hops + 1))


async def creep(trail: Trail, most_hops: int) -> None:
    """A few hops at a time: at most three SYNs go beyond the last router that answered, and may reach the port."""
    first = 1
    for length in chain((_FIRST_STEP,), repeat(_STEP)):
        last = min(first + length - 1, most_hops)
        await trail.ask(range(first, last + 1))
        if last == most_hops or not trail.goes_on or _loop(trail.address, trail.hops()):
            return
        first = last + 1


async def _ask_by_udp(trail: Trail) -> tuple[Poke, ...]:
    """The first hops by UDP, if a quarter of a second has brought no answer to any SYN."""
    until = min(trail.until_s, trail.reactor.now() + _PATIENCE_S)
    await asyncio.sleep(_UDP_AFTER_S)
    if any(_ended(syn) for syn in trail.syns) or trail.reactor.now() >= until:
        return ()
    ttls = range(1, _UDP_HOPS + 1)
    asked = (poke(trail.reactor, trail.address, until, ttl=ttl, again=False) for ttl in ttls)
    return tuple(await asyncio.gather(*asked))


def _answered(syn: Syn) -> bool:
    return syn.dial is not None and any_answer(syn.dial)


def _ended(syn: Syn) -> bool:
    """Answered, or refused by our own kernel."""
    return syn.dial is not None and (syn.dial.fault is None or syn.dial.fault.event is not Event.SILENT)


def _reached(dial: Dial | None) -> Reached | None:
    """What ends the walk here; None: silent, time exceeded, or the word of our own kernel."""
    if dial is None or not any_answer(dial):
        return None
    if dial.fault is None:
        return Reached.OPEN
    icmp = dial.fault.icmp
    if icmp is None:
        return Reached.RST
    if is_time_exceeded(dial.address, icmp):
        return None
    genuine = is_port_unreachable(dial.address, icmp) and came_from(dial.address, icmp)
    return Reached.PORT_UNREACHABLE if genuine else Reached.REJECTED


def _hop(syn: Syn) -> Hop:
    assert syn.ttl is not None
    if syn.dial is None or not _ended(syn):
        return Hop(ttl=syn.ttl, icmp=None, rtt_ms=None)
    rtt_ms = (syn.dial.ended_s - syn.dial.started_s) * 1000.0
    icmp = syn.dial.fault.icmp if syn.dial.fault is not None else None
    return Hop(ttl=syn.ttl, icmp=icmp, rtt_ms=rtt_ms if _answered(syn) else None)


def _loop(address: Address, hops: Sequence[Hop]) -> tuple[str, ...]:
    """Routers met at least three times with another one in between.

    One that repeats without a break is no loop: some translators put their own address on all that is behind.
    """
    met: dict[str, list[int]] = {}
    for place, hop in enumerate(hop for hop in hops if is_time_exceeded(address, hop.icmp)):
        met.setdefault(str(hop.sender), []).append(place)
    apart = {who: places for who, places in met.items() if places[-1] - places[0] >= len(places)}
    return tuple(who for who, places in apart.items() if len(places) >= _LOOP_MEETINGS)
