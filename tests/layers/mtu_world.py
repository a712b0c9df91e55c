"""Scripted holes and climbed ladders for the tests of the path MTU."""

from __future__ import annotations

from typing import Any

from fleetprobe.layers.mtu.facts import MtuFacts
from fleetprobe.layers.mtu.rungs import Met, Rung
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.interface import Address
from fleetprobe.net.path import Direction, Hole
from fleetprobe.net.script import Close, Hear, LargeLost, Say, Step
from tests.engine.world import V4

HOST = Address("203.0.113.9", 4)
P, S, U = Met.PASSES, Met.STALLS, Met.UNCLEAR
BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 6000\r\n\r\n" + b"x" * 6000
LONG: tuple[Step, ...] = (Hear(b"\r\n\r\n"), Say(BODY), Close())
SHORT: tuple[Step, ...] = (Hear(b"\r\n\r\n"), Say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"), Close())
PROOF = ((1280, P), (1400, P), (1420, S), (1400, P), (1420, S))


def hole(direction: Direction = Direction.REVERSE) -> Hole:
    return Hole(
        direction=direction, since_ms=800.0, sacked_segments=0, unacked_segments=0, bytes_acked=80, bytes_received=0,
        data_segments_in=1, out_of_order_segments=1, retransmits=0,
    )


def lost_above(passes_mss: int | None, direction: Direction = Direction.REVERSE) -> LargeLost:
    return LargeLost(hole(direction), passes_mss_bytes=passes_mss, from_bytes=1000)


def swallowing(passes_mss: int | None, address: str = V4) -> FakeNet:
    return FakeNet().host(address, 80, *LONG, large_lost=lost_above(passes_mss))


def climbed(*rungs: tuple[int, Met], **more: Any) -> MtuFacts:
    """Stalls show the sign of the climb's hole, if it has one."""
    seen = more.get("hole")
    told = (Rung(size, met, seen if met is Met.STALLS else None) for size, met in rungs)
    return MtuFacts(address=HOST, port=80, top_bytes=1500, rungs=tuple(told), **more)
