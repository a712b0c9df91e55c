"""What a scripted network says about packet sizes, and how a scripted connection falls into a hole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Address, Event, Fault, Icmp, TcpInfo
from fleetprobe.net.path import DfProbe, DfSearch, Direction, Hole, Passed
from fleetprobe.net.script import LargeLost, Say, Step

PathScript = DfSearch | Callable[[Sequence[int], Sequence[int | None]], DfSearch]

_CLOSED_PORT = 33_434
_DEVICE_MTU = 1500
_HOST_TTL = 2
"""A host is two hops away, right behind a router."""
_ANSWER_S = 0.001
_FIRST_LOOK_S = 0.25
_HELLO_BYTES, _SMALL_HELLO_BYTES = 1572, 365
"""What our ClientHello comes to since OpenSSL 3.5, whose first key share is a hybrid of 1216 bytes; and without it."""
_MSS = 1448


def plain_search(
    address: Address,
    sizes: Sequence[int],
    ttls: Sequence[int | None] = (None,),
    *,
    passes_bytes: int = _DEVICE_MTU,
    reported_by: str | None = None,
    dies_behind_ttl: int = 1,
) -> DfSearch:
    """A path that carries packets of up to `passes_bytes`; its times count from zero.

    Larger ones die behind the router `dies_behind_ttl`, in silence, or with the ICMP message of `reported_by`.
    """

    def probe(size: int, ttl: int | None) -> DfProbe:
        if size > _DEVICE_MTU:
            return DfProbe(size, ttl, Passed.LOCAL, mtu_bytes=_DEVICE_MTU, errno_name="EMSGSIZE")
        if size > passes_bytes and (ttl is None or ttl > dies_behind_ttl):
            if reported_by is None:
                return DfProbe(size, ttl, Passed.SILENT, local_port=50_000, packets=2)
            return _answered(size, ttl, Passed.TOO_BIG, _too_big(address, reported_by), passes_bytes)
        if ttl is None or ttl >= _HOST_TTL:
            return _answered(size, ttl, Passed.PASSED, _port_unreachable(address))
        return _answered(size, ttl, Passed.OTHER, _expired(address))

    probes = tuple(probe(size, ttl) for ttl in sorted(ttls, key=_last_if_none) for size in sorted(set(sizes)))
    silent = any(probe.outcome is Passed.SILENT for probe in probes)
    return DfSearch(
        address=address, port=_CLOSED_PORT, started_s=0.0, ended_s=1.0 if silent else _ANSWER_S, probes=probes,
        device_mtu_bytes=_DEVICE_MTU,
    )


def search_at(told: DfSearch, now: float, until_s: float) -> DfSearch:
    """A scripted search moved to the present; it ends by its deadline."""
    return replace(told, started_s=now, ended_s=max(now, min(until_s, now + told.ended_s - told.started_s)))


def hole_before(lost: LargeLost | None, mss_bytes: int | None, sent_bytes: int, step: Step | None) -> Hole | None:
    """The hole that a wait for this step falls into, when so much has been sent before."""
    if lost is None or _fits(lost, mss_bytes):
        return None
    if lost.hole.direction is Direction.FORWARD:
        return lost.hole if sent_bytes and sent_bytes >= lost.from_bytes else None
    return lost.hole if isinstance(step, Say) and len(step.data) >= lost.from_bytes else None


def hello_bytes_of(hello: Hello) -> int:
    """How long a hello is, about."""
    return max(hello.pad_to_bytes or 0, _SMALL_HELLO_BYTES if hello.small else _HELLO_BYTES)


def handshake_in_hole(told: Handshake, lost: LargeLost | None, mss_bytes: int | None) -> Handshake:
    """The handshake, silent if its hello or the server's flight falls into the hole."""
    if lost is None or _fits(lost, mss_bytes):
        return told
    forward = lost.hole.direction is Direction.FORWARD
    if (told.hello_bytes if forward else told.bytes_received) < lost.from_bytes:
        return told
    return Handshake(
        started_s=0.0, ended_s=0.0, fault=Fault(Event.SILENT), hole=lost.hole, lag_ms=told.lag_ms,
        hello_bytes=told.hello_bytes,
    )


def end_of_wait(started_s: float, until_s: float, hole_s: float | None) -> float:
    """When a wait that has fallen into a hole ends."""
    return until_s if hole_s is None else min(until_s, started_s + max(hole_s, _FIRST_LOOK_S))


def since(hole: Hole, started_s: float, ended_s: float) -> Hole:
    """The hole after a wait from one moment to the other."""
    return replace(hole, since_ms=max(0.0, ended_s - started_s) * 1000.0)


def info_in_hole(info: TcpInfo, hole: Hole | None) -> TcpInfo:
    """The kernel's account with the figures of the hole."""
    if hole is None:
        return info
    return replace(
        info, sacked_segments=hole.sacked_segments, unacked_segments=hole.unacked_segments,
        bytes_acked=hole.bytes_acked, bytes_received=hole.bytes_received, data_segments_in=hole.data_segments_in,
        out_of_order_segments=hole.out_of_order_segments, total_retransmits=hole.retransmits,
    )


def send_mss(mss_bytes: int | None) -> int:
    """What is left of an MSS after the timestamp option, on a path of 1500 bytes."""
    return _MSS if mss_bytes is None else min(_MSS, mss_bytes - 12)


def _fits(lost: LargeLost, mss_bytes: int | None) -> bool:
    return mss_bytes is not None and lost.passes_mss_bytes is not None and mss_bytes <= lost.passes_mss_bytes


def _answered(size: int, ttl: int | None, outcome: Passed, icmp: Icmp, mtu_bytes: int | None = None) -> DfProbe:
    return DfProbe(size, ttl, outcome, icmp, mtu_bytes, _ANSWER_S * 1000.0, local_port=50_000, packets=1)


def _port_unreachable(address: Address) -> Icmp:
    kind = (1, 4) if address.family == 6 else (3, 3)
    return Icmp(*kind, sender=address.text.partition("%")[0], from_self=False)


def _too_big(address: Address, sender: str) -> Icmp:
    return Icmp(*((2, 0) if address.family == 6 else (3, 4)), sender=sender, from_self=False)


def _expired(address: Address) -> Icmp:
    six = address.family == 6
    return Icmp(3 if six else 11, 0, sender="2001:db8::1" if six else "192.0.2.1", from_self=False)


def _last_if_none(ttl: int | None) -> float:
    return float("inf") if ttl is None else ttl
