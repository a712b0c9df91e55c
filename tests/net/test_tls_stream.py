"""A TLS stream after its handshake: each way in which the peer can end it, and what records may not do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from fleetprobe.net.handshake import Hello
from fleetprobe.net.interface import Address, Event, Fault, Received
from fleetprobe.net.live import tcp
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.tls import Handshaker

CA = trustme.CA()
LEAF = CA.issue_cert("shop.test")
Talk = Callable[[ssl.SSLSocket], None]


def after_handshake(talk: Talk, folder: Path, *, version: ssl.TLSVersion, first: bytes = b"") -> Received:
    """Shake hands with a real server, which may send `first` in clear, say hello, and give what came back."""
    ca_file = folder / "ca.pem"
    CA.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = context.minimum_version = version
    LEAF.configure_cert(context)
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(5)

    def serve() -> None:
        peer, _ = server.accept()
        peer.settimeout(5)
        peer.sendall(first)
        # The other side may be gone when this one has had its say.
        with suppress(OSError), context.wrap_socket(peer, server_side=True, suppress_ragged_eofs=True) as secured:
            talk(secured)

    async def main() -> Received:
        reactor = Reactor(asyncio.get_running_loop())
        try:
            until = time.monotonic() + 3
            _, stream = await tcp.dial(reactor, Address("127.0.0.1", 4), server.getsockname()[1], until)
            assert stream is not None
            tls = Handshaker(reactor.turn, reactor.now, reactor.lag_ms)
            hello = Hello(server_name="shop.test", ca_file=str(ca_file))
            seen, secured = await tls.handshake(stream, hello, until)
            assert seen.fault is None
            assert secured is not None
            await secured.send(b"hello", until)
            got = await secured.receive(100, until)
            secured.abort()
            return got
        finally:
            reactor.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        return asyncio.run(main())
    finally:
        thread.join(5)
        server.close()


def close_notify(secured: ssl.SSLSocket) -> None:
    secured.recv(100)
    # We abort instead of answering with a close_notify of our own.
    with contextlib.suppress(OSError):
        secured.unwrap()


def fin(secured: ssl.SSLSocket) -> None:
    secured.recv(100)
    secured.shutdown(socket.SHUT_WR)


def rst(secured: ssl.SSLSocket) -> None:
    secured.recv(100)
    secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garbage(secured: ssl.SSLSocket) -> None:
    secured.recv(100)
    raw = socket.socket(fileno=socket.dup(secured.fileno()))
    raw.sendall(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    raw.close()
    secured.shutdown(socket.SHUT_WR)


def words(secured: ssl.SSLSocket) -> None:
    secured.sendall(secured.recv(100).upper())


def late_words(secured: ssl.SSLSocket) -> None:
    heard = secured.recv(100)
    time.sleep(0.1)
    secured.sendall(f"{time.monotonic()} {heard.decode()}".encode())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
@pytest.mark.parametrize(
    ("talk", "event", "fault"),
    [
        (words, Event.DONE, None),
        (close_notify, Event.CLOSED, Fault(Event.CLOSED, detail="close_notify")),
        (fin, Event.CLOSED, None),
        (rst, Event.RESET, Fault(Event.RESET, "ECONNRESET")),
        (garbage, Event.ERROR, Fault(Event.ERROR, detail="tls")),
    ],
    ids=["words", "close_notify", "fin", "rst", "garbage"],
)
def test_each_end_of_the_stream_is_told_apart(
    talk: Talk, event: Event, fault: Fault | None, version: ssl.TLSVersion, tmp_path: Path
) -> None:
    got = after_handshake(talk, tmp_path, version=version)
    assert got.event is event
    assert got.fault == fault
    assert got.data == (b"HELLO" if event is Event.DONE else b"")


def test_data_is_stamped_when_it_came_and_not_when_the_handshake_ended(tmp_path: Path) -> None:
    got = after_handshake(late_words, tmp_path, version=ssl.TLSVersion.TLSv1_2)
    said_s = float(got.data.split()[0])
    assert said_s - 0.01 <= got.at_s < said_s + 2


def test_a_warning_of_the_handshake_is_not_blamed_for_what_breaks_later(tmp_path: Path) -> None:
    warning = b"\x15\x03\x03\x00\x02\x01\x70"
    got = after_handshake(garbage, tmp_path, version=ssl.TLSVersion.TLSv1_2, first=warning)
    assert got.fault == Fault(Event.ERROR, detail="tls")
