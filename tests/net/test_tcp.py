"""Dialling and speaking over real loopback sockets: every way a connection can end is told apart."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from fleetprobe.net.interface import Address, Event
from fleetprobe.net.live import tcp
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.stream import TcpStream

Case = Callable[[Reactor], Awaitable[None]]
FAMILIES = [Address("127.0.0.1", 4), Address("::1", 6)]


def run(case: Case) -> None:
    async def main() -> None:
        reactor = Reactor(asyncio.get_running_loop())
        try:
            await asyncio.wait_for(case(reactor), 10)
        finally:
            reactor.close()

    uvloop.run(main())


def listener(address: Address, backlog: int = 8) -> socket.socket:
    family = socket.AF_INET6 if address.family == 6 else socket.AF_INET
    sock = socket.socket(family)
    sock.bind((address.text, 0))
    sock.listen(backlog)
    return sock


def closed_port(address: Address) -> int:
    with listener(address) as sock:
        return int(sock.getsockname()[1])


async def connected(reactor: Reactor, server: socket.socket, address: Address) -> tuple[TcpStream, socket.socket]:
    dial, stream = await tcp.dial(reactor, address, server.getsockname()[1], reactor.now() + 2)
    assert dial.fault is None and stream is not None
    peer, _ = server.accept()
    return stream, peer


@pytest.mark.parametrize("address", FAMILIES, ids=["v4", "v6"])
def test_a_closed_port_is_refused_by_rst_without_icmp(address: Address) -> None:
    async def case(reactor: Reactor) -> None:
        dial, stream = await tcp.dial(reactor, address, closed_port(address), reactor.now() + 2)
        assert stream is None and dial.fault is not None
        assert dial.fault.errno_name == "ECONNREFUSED"
        assert dial.fault.icmp is None
        assert dial.local_address == address.text

    run(case)


@pytest.mark.parametrize("address", FAMILIES, ids=["v4", "v6"])
def test_an_open_port_tells_the_five_tuple_and_the_kernels_round_trip(address: Address) -> None:
    async def case(reactor: Reactor) -> None:
        server = listener(address)
        stream, peer = await connected(reactor, server, address)
        info = stream.info()
        assert info is not None and 0 < info.rtt_ms < 50
        assert info.total_retransmits == 0 and info.send_mss_bytes > 500
        stream.abort()
        peer.close()
        server.close()

    run(case)


def test_a_full_backlog_is_silence_until_the_deadline() -> None:
    async def case(reactor: Reactor) -> None:
        address = FAMILIES[0]
        server = listener(address, 0)
        fill = [socket.socket() for _ in range(2)]
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        started = reactor.now()
        dial, stream = await tcp.dial(reactor, address, server.getsockname()[1], started + 1.3)
        assert stream is None and dial.fault is not None
        assert dial.fault.event is Event.SILENT
        assert dial.syn_retransmits is not None and dial.syn_retransmits >= 1
        assert 1.3 <= dial.ended_s - started < 1.6
        for sock in (*fill, server):
            sock.close()

    run(case)


def test_data_silence_close_and_reset_are_four_different_ends() -> None:
    async def case(reactor: Reactor) -> None:
        address = FAMILIES[0]
        server = listener(address)
        stream, peer = await connected(reactor, server, address)
        silent = await stream.receive(100, reactor.now() + 0.1)
        assert silent.event is Event.SILENT
        peer.send(b"hello")
        said = await stream.receive(3, reactor.now() + 1)
        assert (said.event, said.data) == (Event.DONE, b"hel")
        assert (await stream.receive(100, reactor.now() + 1)).data == b"lo"
        peer.close()
        assert (await stream.receive(100, reactor.now() + 1)).event is Event.CLOSED
        stream.abort()

        stream, peer = await connected(reactor, server, address)
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        gone = await stream.receive(100, reactor.now() + 1)
        assert gone.event is Event.RESET and gone.fault is not None
        assert gone.fault.errno_name == "ECONNRESET"
        stream.abort()
        server.close()

    run(case)


def test_sending_to_a_peer_that_reads_nothing_is_silence() -> None:
    async def case(reactor: Reactor) -> None:
        address = FAMILIES[0]
        server = listener(address)
        stream, peer = await connected(reactor, server, address)
        sent = await stream.send(b"x" * (32 << 20), reactor.now() + 0.3)
        assert sent.event is Event.SILENT
        stream.abort()
        peer.close()
        server.close()

    run(case)


def test_an_aborted_stream_answers_with_an_error_and_gives_its_descriptor_back() -> None:
    async def case(reactor: Reactor) -> None:
        address = FAMILIES[0]
        server = listener(address)
        stream, peer = await connected(reactor, server, address)
        stream.abort()
        stream.abort()
        assert (await stream.receive(10, reactor.now() + 1)).event is Event.ERROR
        assert (await stream.send(b"x", reactor.now() + 1)).event is Event.ERROR
        assert stream.info() is None
        peer.settimeout(1)
        with pytest.raises(ConnectionResetError):
            peer.recv(1)
        peer.close()
        server.close()

    run(case)


def test_a_cancelled_dial_leaks_no_descriptor() -> None:
    async def case(reactor: Reactor) -> None:
        address = FAMILIES[0]
        server = listener(address, 0)
        fill = [socket.socket() for _ in range(2)]
        for sock in fill:
            sock.setblocking(False)
            sock.connect_ex(server.getsockname())
        probe = socket.socket()
        lowest = probe.fileno()
        probe.close()
        for _ in range(5):
            task = asyncio.ensure_future(tcp.dial(reactor, address, server.getsockname()[1], reactor.now() + 5))
            await asyncio.sleep(0.02)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        probe = socket.socket()
        assert probe.fileno() == lowest
        for sock in (*fill, server, probe):
            sock.close()

    run(case)
