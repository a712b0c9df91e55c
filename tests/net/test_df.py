"""DF searches over loopback: bounds, order, cancellation, and what a clean wire must not be taken for."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from fleetprobe.net.fake import FakeNet, FakeStream
from fleetprobe.net.interface import Address, Net, Segments, Stream
from fleetprobe.net.live import df, tcp, tls
from fleetprobe.net.live.net import LiveNet
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.stream import TcpStream
from fleetprobe.net.path import Passed
from tests.net.backlog import Full

Case = Callable[[Reactor], Awaitable[None]]
HERE = [Address("127.0.0.1", 4), Address("::1", 6)]
FAMILIES = pytest.mark.parametrize("address", HERE, ids=["v4", "v6"])


@FAMILIES
def test_every_size_up_to_the_largest_datagram_is_answered_on_loopback(
    within: Callable[[Case], None], address: Address
) -> None:
    async def case(reactor: Reactor) -> None:
        sizes = (1500, 100, 9000, 65_535, 100)
        told = await df.df_search(reactor, address, sizes, reactor.now() + 1, device_mtu_bytes=65_536)
        assert [probe.size_bytes for probe in told.probes] == [100, 1500, 9000, 65_535]
        assert {probe.outcome for probe in told.probes} == {Passed.PASSED}
        assert told.cached_mtu_bytes is None, "IPv4 knows no path of 65,536 bytes"
        assert told.ended_s - told.started_s < 0.4

    within(case)


@FAMILIES
def test_an_address_without_a_way_is_refused_by_our_own_kernel(
    within: Callable[[Case], None], address: Address
) -> None:
    nowhere = Address("255.255.255.255", 4) if address.family == 4 else Address("fe80::1%no-such", 6)

    async def case(reactor: Reactor) -> None:
        told = await df.df_search(reactor, nowhere, (1500,), reactor.now() + 1)
        (probe,) = told.probes
        assert (probe.outcome, probe.packets, probe.icmp) == (Passed.OTHER, 0, None)
        assert probe.errno_name in ("EACCES", "ENETUNREACH", "UNKNOWN")
        assert told.ended_s - told.started_s < 0.4

    within(case)


@pytest.mark.parametrize(
    ("address", "sizes", "ttls"),
    [
        (HERE[0], range(1000, 1065), (None,)), (HERE[0], range(1000, 1033), (1, 2)),
        (HERE[0], (27,), (None,)), (HERE[1], (47,), (None,)), (HERE[0], (65_536,), (None,)),
    ],
)
def test_too_many_pairs_and_impossible_sizes_are_refused_before_anything_is_sent(
    within: Callable[[Case], None], address: Address, sizes: tuple[int, ...], ttls: tuple[int | None, ...]
) -> None:
    async def case(reactor: Reactor) -> None:
        with pytest.raises(ValueError, match=r"probes in one search|no UDP packet"):
            await df.df_search(reactor, address, sizes, reactor.now() + 1, ttls=ttls)

    within(case)


@FAMILIES
def test_the_most_probes_and_the_smallest_packet_are_allowed(
    within: Callable[[Case], None], address: Address
) -> None:
    least = 28 if address.family == 4 else 48

    async def case(reactor: Reactor) -> None:
        told = await df.df_search(reactor, address, range(least, least + 64), reactor.now() + 0.3)
        assert len(told.probes) == 64
        assert told.largest_passed == least + 63

    within(case)


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The loopback port that searches go to, for once not closed: what comes there is in this socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(1)
        monkeypatch.setattr(df, "_LOWEST_PORT", sock.getsockname()[1])
        monkeypatch.setattr(df, "_PORTS", 1)
        yield sock


def test_a_port_that_swallows_everything_is_asked_twice_and_is_silence(
    within: Callable[[Case], None], taken: socket.socket
) -> None:
    async def case(reactor: Reactor) -> None:
        told = await df.df_search(reactor, HERE[0], (200, 100), reactor.now() + 0.4)
        assert [(probe.outcome, probe.packets, probe.rtt_ms) for probe in told.probes] == [(Passed.SILENT, 2, None)] * 2
        assert 0.4 <= told.ended_s - told.started_s < 0.6

    within(case)
    assert [len(taken.recv(1000)) for _ in range(4)] == [172, 72] * 2, "the larger ones first"


def test_a_datagram_that_comes_back_is_an_answer_too(within: Callable[[Case], None], taken: socket.socket) -> None:
    def reply() -> None:
        data, sender = taken.recvfrom(1000)
        taken.sendto(data, sender)

    async def case(reactor: Reactor) -> None:
        asyncio.get_running_loop().call_later(0.1, reply)
        told = await df.df_search(reactor, HERE[0], (200,), reactor.now() + 1)
        (probe,) = told.probes
        assert (probe.outcome, probe.packets, probe.icmp) == (Passed.PASSED, 1, None)
        assert probe.rtt_ms is not None and 90 <= probe.rtt_ms < 400

    within(case)


def test_a_cancelled_search_closes_every_socket(within: Callable[[Case], None], taken: socket.socket) -> None:
    async def case(reactor: Reactor) -> None:
        before = len(os.listdir("/proc/self/fd"))
        task = asyncio.ensure_future(df.df_search(reactor, HERE[0], range(100, 130), reactor.now() + 5))
        await asyncio.sleep(0.05)
        assert len(os.listdir("/proc/self/fd")) == before + 30
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert len(os.listdir("/proc/self/fd")) <= before, "threads of earlier tests may still give some back"

    within(case)


def test_the_twin_of_a_dial_with_an_mss_has_it_too(within: Callable[[Case], None], full: Full) -> None:
    async def case(reactor: Reactor) -> None:
        asyncio.get_running_loop().call_later(0.15, full.opened)
        dial, stream = await tcp.dial(reactor, HERE[0], full.port, reactor.now() + 3.0, 0.3, Segments(mss_bytes=1000))
        assert stream is not None and dial.twin is not None
        assert dial.started_s > dial.twin.started_s, "the twin was not the one that connected"
        info = stream.info()
        assert info is not None and info.advertised_mss_bytes == 988
        stream.abort()

    within(case)


def _verbs(protocol: type) -> list[str]:
    return [name for name, what in vars(protocol).items() if inspect.isfunction(what) and name[0] != "_"]


@pytest.mark.parametrize(
    ("protocol", "real"),
    [(Net, LiveNet), (Net, FakeNet), (Stream, TcpStream), (Stream, tls.TlsStream), (Stream, FakeStream)],
)
def test_live_and_scripted_verbs_take_what_the_interface_says(protocol: type, real: type) -> None:
    for verb in _verbs(protocol):
        if verb == "now":  # the live network has it from its reactor, per instance
            continue
        wanted = inspect.signature(getattr(protocol, verb)).parameters
        offered = inspect.signature(getattr(real, verb)).parameters
        assert list(wanted) == list(offered), verb
        for name, parameter in wanted.items():
            assert (parameter.kind, name) == (offered[name].kind, name), verb
            assert parameter.default == offered[name].default or verb == "trust", (verb, name)
