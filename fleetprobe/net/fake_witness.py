"""What a scripted network says when it is questioned about a silence, unless a test scripts the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fleetprobe.net.interface import Address, Dial, Event, Fault, Icmp, Route
from fleetprobe.net.survey import Survey
from fleetprobe.net.witness import Hop, Link, Neighbour, NeighbourState, Ping, Poke, Poked, RstOrigin, host_answer

_OTHER_PORTS = (443, 22, 80)
_CLOSED_PORT = 1
_POKED_PORT = 33_434
_ANSWER_S = 0.001


def plain_links() -> tuple[Link, ...]:
    """One Ethernet interface without any fault, which all plain routes name."""
    return (
        Link(
            name="fake0", index=2, up=True, carrier=True, operstate="UP", mtu_bytes=1500, mac="02:00:00:00:00:02",
            loopback=False, addresses=("192.0.2.2/24", "2001:db8::2/64"),
        ),
    )


def plain_neighbour(address: str, interface: str) -> Neighbour:
    """A next hop that has just been heard."""
    state = NeighbourState.REACHABLE
    return Neighbour(address=address, interface=interface, state=state, mac="02:00:00:00:00:01")


def plain_survey(
    address: Address, port: int, route: Route, now: float, until_s: float,
    met: Callable[[int], Fault | None], heard_port: int | None, gateway_heard: bool,
    neighbour: Neighbour | None,
) -> Survey:
    """The port once more and two others as the table has them; UDP is silent, ping not permitted."""
    likely = next(other for other in _OTHER_PORTS if other != port)
    knocks = tuple(_knock(address, other, now, until_s, met(other)) for other in (likely, _CLOSED_PORT))
    hop = route.gateway
    return Survey(
        address=address, port=port, started_s=now, ended_s=until_s, knocks=knocks,
        fresh=(_knock(address, port, now, until_s, met(port)),),
        poke=Poke(address=address, port=_POKED_PORT, ttl=None, outcome=Poked.SILENT, started_s=now,
                  ended_s=until_s, packets=2),
        ping=Ping(address=address, permitted=False, started_s=now, ended_s=now),
        walk=None,
        neighbour=neighbour or plain_neighbour(hop or address.text, route.interface or "fake0"),
        heard_port=heard_port, gateway_heard=gateway_heard,
    )


def plain_origin(address: Address, port: int, route: Route, now: float) -> RstOrigin:
    """The RST comes from the host itself, two hops away, right behind a router that is heard."""
    exceeded = Icmp(type=3 if address.family == 6 else 11, code=0, sender=route.gateway or "", from_self=False)
    return RstOrigin(
        address=address, port=port, started_s=now, ended_s=now + _ANSWER_S, rst_ttl=2, host_ttl=2,
        before=Hop(ttl=1, icmp=exceeded, rtt_ms=_ANSWER_S * 1000.0),
    )


def survey_at(told: Survey, now: float, until_s: float) -> Survey:
    """A scripted survey moved to the present; it ends by its deadline."""
    return replace(told, started_s=now, ended_s=min(until_s, now + told.ended_s - told.started_s))


def told_first(first: Dial, twin: Dial) -> Dial:
    """Of two attempts the one that was answered first; the other is its twin, cut short if it waits still."""
    silent = [dial for dial in (first, twin) if dial.fault is not None and dial.fault.event is Event.SILENT]
    if len(silent) == 2:
        return replace(first, twin=twin)
    pair = sorted((first, twin), key=lambda dial: (dial in silent, dial.ended_s, dial.fault is not None))
    answered, other = pair
    if other in silent or other.ended_s > answered.ended_s:
        cut = Fault(Event.SILENT, detail="cut short")
        other = replace(other, ended_s=answered.ended_s, fault=cut, rtt_ms=None, mss_bytes=None)
    return replace(answered, twin=other)


def bears_the_address(dial: Dial) -> bool:
    """Whether the host itself, or somebody in its name, was heard in this attempt or its twin."""
    return host_answer(dial) or (dial.twin is not None and host_answer(dial.twin))


def _knock(address: Address, port: int, now: float, until_s: float, fault: Fault | None) -> Dial:
    silent = fault is not None and fault.event is Event.SILENT
    return Dial(
        address=address, port=port, started_s=now, ended_s=until_s if silent else min(until_s, now + _ANSWER_S),
        fault=fault,
    )
