"""The whole live network hands on what is asked about sizes and holes, down to the socket and up through TLS."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from OpenSSL import SSL

from fleetprobe.net.handshake import Hello
from fleetprobe.net.interface import Address, Event, Received, Segments, TcpInfo
from fleetprobe.net.live import tls
from fleetprobe.net.live.literal import family_of
from fleetprobe.net.live.net import LiveNet
from fleetprobe.net.live.seen import Seen
from fleetprobe.net.path import Direction, Hole

HERE = [Address("127.0.0.1", 4), Address("::1", 6)]
HOLE = Hole(Direction.REVERSE, 300.0, 0, 0, 65, 0, 1, 1, 0)


def run(case: Callable[[LiveNet], Awaitable[None]]) -> None:
    """With a network of its own, and until all its descriptors are closed: the resolver lets go in a thread."""

    async def main() -> None:
        net = LiveNet(servers=["127.0.0.1:1"])
        try:
            await case(net)
        finally:
            await net.close()

    uvloop.run(_nothing())  # the loop's own signal pipe comes with its first run, and stays
    before, latest = _open_files(), time.monotonic() + 5
    uvloop.run(main())
    while _open_files() > before and time.monotonic() < latest:
        gc.collect()
        time.sleep(0.01)
    assert _open_files() <= before


async def _nothing() -> None:
    return None


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_a_search_knows_the_mtu_of_the_device() -> None:
    async def case(net: LiveNet) -> None:
        told = await net.df_search(HERE[0], (1500,), net.now() + 1)
        mtu = next(link.mtu_bytes for link in net.links() if link.loopback)
        assert (told.device_mtu_bytes, told.largest_passed) == (mtu, 1500)

    run(case)


@pytest.mark.parametrize("address", HERE, ids=["v4", "v6"])
def test_an_mss_limits_a_connection_and_an_impossible_one_is_a_value(address: Address) -> None:
    async def case(net: LiveNet) -> None:
        with socket.create_server((address.text, 0), family=family_of(address)) as server:
            port = server.getsockname()[1]
            dial, stream = await net.dial(address, port, net.now() + 2, segments=Segments(mss_bytes=1000))
            assert stream is not None
            info = stream.info()
            assert info is not None
            assert (info.advertised_mss_bytes, dial.mss_bytes) == (988, 988), "time stamps take 12"
            stream.abort()
            wrong, _ = await net.dial(address, port, net.now() + 2, segments=Segments(mss_bytes=50))
            assert wrong.fault is not None and wrong.fault.errno_name == "EINVAL"

    run(case)


class Hollow:
    """A stream that takes a hello and then tells of a hole."""

    peer_alpn: str | None = None

    def __init__(self, hole: Hole) -> None:
        self.hole, self.asked = hole, [0.0]

    async def send(self, data: bytes, until_s: float) -> Received:
        return Received(data=b"", event=Event.DONE, at_s=1.0)

    async def receive(self, limit_bytes: int, until_s: float, hole_s: float | None = None) -> Received:
        self.asked = [hole_s or 0.0]
        return Received(data=b"", event=Event.SILENT, at_s=2.0, hole=self.hole)

    def tell_hole(self, tell: object) -> None:
        """Nobody is told anything here."""

    def info(self) -> TcpInfo | None:
        return None

    def abort(self) -> None:
        return None

    def release(self) -> None:
        return None


def test_a_handshake_passes_the_watch_on_and_tells_the_hole_that_ended_it() -> None:
    stream = Hollow(HOLE)

    async def case(net: LiveNet) -> None:
        told, secure = await net.handshake(stream, Hello(server_name="a.test"), net.now() + 9.0, 0.7)
        assert secure is None
        assert told.fault is not None and told.fault.event is Event.SILENT
        assert (told.hole, stream.asked) == (HOLE, [0.7])

    run(case)


def test_a_tls_stream_passes_the_watch_on_and_tells_the_hole_below_it() -> None:
    stream = Hollow(HOLE)
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_connect_state()  # whatever it is asked to read, it wants bytes from below first
    above = tls.TlsStream(stream, connection, Seen(), None)

    async def case(_: LiveNet) -> None:
        got = await above.receive(10, 9.0, 0.7)
        assert (got.event, got.hole, stream.asked) == (Event.SILENT, HOLE, [0.7])

    run(case)
