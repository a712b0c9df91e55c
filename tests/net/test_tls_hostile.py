"""Peers that misbehave below or above TLS, byte by byte: caps hold, and what was said is not lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from typing import cast

from OpenSSL import SSL

from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Event, Fault, Received, TcpInfo
from fleetprobe.net.live.seen import Seen
from fleetprobe.net.live.tls import Handshaker, TlsStream

INFO = TcpInfo(
    rtt_ms=1,
    rtt_var_ms=1,
    total_retransmits=0,
    unacked_segments=0,
    sacked_segments=0,
    send_mss_bytes=1448,
    receive_mss_bytes=1448,
    advertised_mss_bytes=1448,
    path_mtu_bytes=1500,
    bytes_acked=0,
    bytes_received=0,
    data_segments_in=0,
    out_of_order_segments=None,
)
RESET = Fault(Event.RESET, "ECONNRESET")


class Scripted:
    """A stream that says these pieces and is silent then; `refuses` makes every send fail."""

    peer_alpn: str | None = None

    def __init__(self, pieces: Iterable[bytes], *, refuses: bool = False) -> None:
        self._pieces: Iterator[bytes] = iter(pieces)
        self._refuses = refuses

    async def send(self, data: bytes, until_s: float) -> Received:
        if self._refuses:
            return Received(data=b"", event=Event.RESET, fault=RESET, at_s=time.monotonic())
        return Received(data=b"", event=Event.DONE, at_s=time.monotonic())

    async def receive(self, limit_bytes: int, until_s: float, hole_s: float | None = None) -> Received:
        piece = next(self._pieces, b"")
        event = Event.DONE if piece else Event.SILENT
        return Received(data=piece, event=event, at_s=time.monotonic())

    def tell_hole(self, tell: object) -> None:
        """Nobody is told anything here."""

    def info(self) -> TcpInfo:
        return INFO

    def abort(self) -> None:
        return None

    def release(self) -> None:
        return None


async def no_turn() -> None:
    return None


def shake(stream: Scripted) -> Handshake:
    tls = Handshaker(no_turn, time.monotonic, lambda: 0.0)
    hello = Hello(server_name="shop.test")
    seen, secured = asyncio.run(tls.handshake(stream, hello, time.monotonic() + 5))
    assert secured is None
    return seen


def test_an_alert_that_came_before_the_reset_is_still_heard_when_sending_failed() -> None:
    seen = shake(Scripted([b"\x15\x03\x03\x00\x02\x02\x28"], refuses=True))
    assert seen.fault == RESET
    assert seen.alerts_received == ((2, 40),)


def test_a_handshake_without_end_is_cut_at_its_byte_cap() -> None:
    """A client ignores HelloRequest (RFC 5246 §7.4.1.1) as often as it comes."""
    hello_requests = b"\x16\x03\x03\x00\x04\x00\x00\x00\x00" * 1000
    seen = shake(Scripted(hello_requests for _ in range(100)))
    assert seen.fault == Fault(Event.ERROR, detail="handshake too long")
    assert 192 * 1024 < seen.bytes_received <= 192 * 1024 + len(hello_requests)


def test_only_the_first_bytes_are_kept_whatever_pieces_they_came_in() -> None:
    seen = shake(Scripted([b"\x16", b"\x03\x03", b"\x00\x7a" + bytes(range(100))]))
    assert seen.first_bytes == (b"\x16\x03\x03\x00\x7a" + bytes(range(100)))[:64]
    assert seen.bytes_received == 105


def test_nothing_counts_as_unacknowledged_unless_the_kernel_says_so() -> None:
    seen = shake(Scripted([]))
    assert seen.fault == Fault(Event.SILENT)
    assert seen.bytes_unacked == 0


class Barren:
    """Stands for an OpenSSL connection that swallows every record and never yields data."""

    def recv(self, size: int) -> bytes:
        raise SSL.WantReadError

    def bio_read(self, size: int) -> bytes:
        raise SSL.WantReadError

    def bio_write(self, data: bytes) -> int:
        return len(data)


def test_records_without_data_end_the_wait_after_a_fixed_number_of_bytes() -> None:
    below = Scripted(b"x" * 1024 for _ in range(1000))
    stream = TlsStream(below, cast(SSL.Connection, Barren()), Seen(), None)
    got = asyncio.run(stream.receive(100, time.monotonic() + 5))
    assert got.event is Event.ERROR
    assert got.fault == Fault(Event.ERROR, detail="records without data")
