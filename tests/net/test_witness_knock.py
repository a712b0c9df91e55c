"""Knocking keeps its bounds on loopback: caps, cancellation and our own limits leave nothing behind."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator

import anyio
import pytest

from fleetprobe.net.interface import Address, Dial, Event, Fault, Icmp
from fleetprobe.net.live import ping, rst_origin, udp, walk
from fleetprobe.net.live.knock import knock
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.witness import Hop, Poked, RstOrigin, any_answer, host_answer, likely_hops

HERE = Address("127.0.0.1", 4)
Case = Callable[[Reactor], Awaitable[None]]


def dial(fault: Fault | None) -> Dial:
    return Dial(address=Address("203.0.113.9", 4), port=1, started_s=0.0, ended_s=1.0, fault=fault)


@pytest.mark.parametrize("family", [4, 6])
def test_all_verbs_find_this_very_host_alive(within: Callable[[Case], None], family: int) -> None:
    here = HERE if family == 4 else Address("::1", 6)

    async def case(reactor: Reactor) -> None:
        poke = await udp.poke(reactor, here, reactor.now() + 1)
        assert (poke.outcome, poke.hops, poke.host_alive) == (Poked.PORT_CLOSED, 1, True)
        found = await walk.walk(reactor, here, 1, reactor.now() + 1)
        assert (found.reached_ttl, found.tcp_packets) == (1, 12)
        origin = await rst_origin.rst_origin(reactor, here, 1, reactor.now() + 1)
        assert (origin.rst_ttl, origin.host_ttl, origin.nearer) == (1, 1, False)

    within(case)


def test_a_datagram_that_is_answered_proves_the_host_alive(
    within: Callable[[Case], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def case(reactor: Reactor) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind((HERE.text, 0))
            server.setblocking(False)
            monkeypatch.setattr(udp, "_LOWEST_PORT", server.getsockname()[1])
            monkeypatch.setattr(udp, "_PORTS", 1)
            asking = asyncio.ensure_future(udp.poke(reactor, HERE, reactor.now() + 1))
            await asyncio.sleep(0.05)
            _, sender = server.recvfrom(100)
            server.sendto(b"", sender)
            poke = await asking
        assert (poke.outcome, poke.icmp, poke.packets) == (Poked.ANSWERED, None, 1)
        assert poke.rtt_ms is not None
        assert 45 < poke.rtt_ms < 500

    within(case)


def test_a_zone_that_names_no_interface_is_a_local_fault(within: Callable[[Case], None]) -> None:
    nowhere = Address("fe80::1%no-such", 6)

    async def case(reactor: Reactor) -> None:
        until = reactor.now() + 0.5
        assert (await udp.poke(reactor, nowhere, until)).outcome is Poked.LOCAL
        (refused,) = await knock(reactor, nowhere, (80,), until)
        assert refused.fault is not None
        assert not any_answer(refused)
        assert (await ping.ping(reactor, nowhere, until)).packets == 0

    within(case)


def test_more_ports_than_a_knock_may_have_are_a_mistake_of_the_caller(within: Callable[[Case], None]) -> None:
    async def case(reactor: Reactor) -> None:
        with pytest.raises(ValueError, match="17 ports"):
            await knock(reactor, HERE, range(1, 18), reactor.now() + 1)
        with pytest.raises(ValueError, match="65 hops"):
            await walk.walk(reactor, HERE, 80, reactor.now() + 1, 65)

    within(case)


def test_a_predicate_that_fails_is_raised_and_closes_every_socket(
    within: Callable[[Case], None], silent_port: int
) -> None:
    def broken(_dial: Dial) -> bool:
        raise ZeroDivisionError

    async def case(reactor: Reactor) -> None:
        with pytest.raises(ZeroDivisionError):
            await knock(reactor, HERE, (silent_port, 1), reactor.now() + 1, enough=broken)

    within(case)


def test_a_cancelled_caller_leaves_no_socket(within: Callable[[Case], None], silent_port: int) -> None:
    async def case(reactor: Reactor) -> None:
        until = reactor.now() + 5
        started = reactor.now()
        for verb in (knock(reactor, HERE, (silent_port,), until), walk.walk(reactor, HERE, silent_port, until)):
            with anyio.move_on_after(0.1) as scope:
                await verb
            assert scope.cancelled_caught
        assert reactor.now() - started < 1.0

    within(case)


def test_running_out_of_descriptors_is_our_own_fault_and_no_exception(within: Callable[[Case], None]) -> None:
    async def case(reactor: Reactor) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 1, hard))
        try:
            until = reactor.now() + 0.5
            dials = await knock(reactor, HERE, range(1, 9), until, enough=lambda _: False)
            found = await walk.walk(reactor, HERE, 1, until)
            taken = list(_take_all())
            poke = await udp.poke(reactor, HERE, until)
            pinged = await ping.ping(reactor, HERE, until)
            for sock in taken:
                sock.close()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        names = [one.fault.errno_name for one in dials if one.fault is not None]
        assert "EMFILE" in names
        assert "ECONNREFUSED" in names
        assert found.tcp_packets < 12
        assert found.own_fault is not None
        assert found.own_fault.errno_name == "EMFILE"
        assert poke.outcome is Poked.LOCAL
        assert poke.fault is not None
        assert poke.fault.errno_name == "EMFILE"
        assert pinged.fault is not None
        # Who may not ping at all is told so first.
        assert pinged.fault.errno_name in ("EMFILE", "EACCES")

    within(case)


def _take_all() -> Iterator[socket.socket]:
    for _ in range(100):
        try:
            yield socket.socket()
        except OSError:
            return


@pytest.mark.parametrize(
    ("fault", "something", "host"),
    [
        (None, True, True),
        (Fault(event=Event.ERROR, errno_name="ECONNREFUSED"), True, True),
        (Fault(event=Event.SILENT), False, False),
        (Fault(event=Event.ERROR, errno_name="EADDRNOTAVAIL"), False, False),
        (Fault(event=Event.ERROR, errno_name="EHOSTUNREACH", icmp=Icmp(3, 1, "203.0.113.1", False)), True, False),
        (Fault(event=Event.ERROR, errno_name="ECONNREFUSED", icmp=Icmp(3, 3, "203.0.113.9", False)), True, True),
        (Fault(event=Event.ERROR, errno_name="EHOSTUNREACH", icmp=Icmp(3, 1, "198.18.0.1", True)), False, False),
    ],
    ids=["connected", "reset", "silent", "no port of ours", "router", "host's icmp", "our own kernel"],
)
def test_what_counts_as_an_answer_and_what_as_the_hosts(fault: Fault | None, something: bool, host: bool) -> None:
    assert (any_answer(dial(fault)), host_answer(dial(fault))) == (something, host)


@pytest.mark.parametrize(
    ("rst", "before", "host", "expires", "own", "nearer"),
    [
        (3, True, 3, None, False, False),
        (1, None, 1, None, False, False),
        (2, True, 3, "203.0.113.1", False, True),
        (2, False, None, "203.0.113.1", False, True),
        (2, True, 3, None, False, None),
        (3, False, 3, None, False, None),
        (3, True, None, None, False, None),
        (3, True, 3, None, True, None),
        (2, True, 3, "203.0.113.1", True, None),
        (None, None, 3, None, False, None),
    ],
    ids=[
        "same distance", "on-link", "dies at a router", "dies at a router, hop before silent",
        "host only seems farther", "the rst may have come earlier", "host silent", "our own limit",
        "our own limit and a router", "no rst",
    ],
)
def test_a_rst_is_traced_only_as_far_as_the_evidence_goes(
    rst: int | None, before: bool | None, host: int | None, expires: str | None, own: bool, nearer: bool | None
) -> None:
    router = Icmp(11, 0, "203.0.113.1", False) if before else None
    hop = None if before is None else Hop(ttl=1, icmp=router, rtt_ms=None)
    origin = RstOrigin(
        address=HERE, port=1, started_s=0.0, ended_s=1.0, rst_ttl=rst, host_ttl=host, expires_at=expires, before=hop,
        own_fault=Fault(event=Event.ERROR, errno_name="EMFILE") if own else None,
    )
    assert origin.nearer is nearer


@pytest.mark.parametrize(
    ("arrived", "hops"), [(64, 1), (62, 3), (128, 1), (120, 9), (255, 1), (33, 32), (32, 1), (1, 32), (0, 33)]
)
def test_a_distance_is_guessed_from_the_nearest_initial_ttl(arrived: int, hops: int) -> None:
    assert likely_hops(arrived) == hops
