"""Who sends a RST, the host or a nearer box: told by what other packets meet that live just as long."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fleetprobe.net.interface import Address, Icmp
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.udp import poke
from fleetprobe.net.live.walk import Trail, creep
from fleetprobe.net.witness import Poke, Reached, RstOrigin, is_time_exceeded, own_fault

_MOST_HOPS = 16
_DATAGRAMS, _CONTROL_SYNS = 5, 3
"""TTLs asked from that of the RST upwards. A host answers six datagrams in a row at Linux's default limit."""
_CONTROL_S = 0.5
_HOST = (Reached.OPEN, Reached.PORT_UNREACHABLE)


async def rst_origin(
    reactor: Reactor, address: Address, port: int, until_s: float, *, open_port: int | None = None
) -> RstOrigin:
    """See `net.witness.Witnessing.rst_origin`."""
    started = reactor.now()
    trail = Trail(reactor, address, port, until_s)
    control = Trail(reactor, address, open_port or port, until_s)
    await creep(trail, _MOST_HOPS)
    rst_ttl = trail.end[0] if trail.end is not None and trail.end[1] is Reached.RST else None
    pokes: tuple[Poke, ...] = ()
    if rst_ttl is not None:
        pokes = await _poke_each(control, range(rst_ttl, rst_ttl + _DATAGRAMS))
        if not _tells(pokes, rst_ttl):
            if open_port is not None:
                await control.ask(range(rst_ttl, rst_ttl + _CONTROL_SYNS))
            else:
                pokes += await _poke_each(control, (rst_ttl,))
    return RstOrigin(
        address=address,
        port=port,
        started_s=started,
        ended_s=reactor.now(),
        rst_ttl=rst_ttl,
        host_ttl=_host_ttl(control, pokes),
        expires_at=_expires_at(rst_ttl, control, pokes),
        before=next((hop for hop in trail.hops() if hop.ttl + 1 == rst_ttl), None),
        own_fault=own_fault(trail.dials() + control.dials()),
        dials=trail.dials() + control.dials(),
        pokes=pokes,
        tcp_packets=trail.packets() + control.packets(),
        udp_packets=sum(answer.packets for answer in pokes),
    )


async def _poke_each(control: Trail, ttls: Sequence[int]) -> tuple[Poke, ...]:
    until = min(control.until_s, control.reactor.now() + _CONTROL_S)
    asked = (poke(control.reactor, control.address, until, ttl=ttl, again=False) for ttl in ttls)
    return tuple(await asyncio.gather(*asked))


def _tells(pokes: Sequence[Poke], rst_ttl: int) -> bool:
    """Whether a datagram of the RST's own TTL has met the host or died at a router."""
    return any(
        answer.host_alive or (answer.icmp is not None and is_time_exceeded(answer.address, answer.icmp))
        for answer in pokes if answer.ttl == rst_ttl
    )


def _host_ttl(control: Trail, pokes: Sequence[Poke]) -> int | None:
    """The smallest TTL at which the host spoke to anything but the port in question."""
    alive = [answer.ttl for answer in pokes if answer.host_alive and answer.ttl is not None]
    if control.end is not None and control.end[1] in _HOST:
        alive.append(control.end[0])
    return min(alive, default=None)


def _expires_at(rst_ttl: int | None, control: Trail, pokes: Sequence[Poke]) -> str | None:
    """Who said time exceeded to a control packet of the very TTL of the RST."""
    heard: list[tuple[int | None, Icmp | None]] = [(hop.ttl, hop.icmp) for hop in control.hops()]
    heard += [(answer.ttl, answer.icmp) for answer in pokes]
    there = (icmp for ttl, icmp in heard if icmp is not None and ttl == rst_ttl)
    return next((icmp.sender for icmp in there if is_time_exceeded(control.address, icmp)), None)
