"""The http and app layers against real sockets on loopback: the kernel's events give the same codes."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from fleetprobe.layer import Ground, Layer
from fleetprobe.layers import app
from fleetprobe.layers.http.layer import LAYER as HTTP
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.net.interface import Address
from fleetprobe.net.live.net import LiveNet

POLICY = Policy(exchange_s=0.6)
HOST = Address("127.0.0.1", 4)
SERVER_S = 5.0

Peer = Callable[[socket.socket], None]


def hear_request(peer: socket.socket) -> None:
    heard = b""
    while b"\r\n\r\n" not in heard:
        data = peer.recv(4096)
        assert data, "the request broke off"
        heard += data


def say(*words: bytes, hear: bool = True, end: Callable[[socket.socket], None] = socket.socket.close) -> Peer:
    """A peer that hears one request (or none), speaks, and ends."""

    def behave(peer: socket.socket) -> None:
        if hear:
            hear_request(peer)
        for word in words:
            peer.sendall(word)
        end(peer)

    return behave


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def linger(peer: socket.socket) -> None:
    """Say nothing until the other side gives up, which its abort shows as an end or a reset."""
    with suppress(ConnectionResetError):
        peer.recv(1)
    peer.close()


@contextmanager
def serving(behave: Peer) -> Iterator[int]:
    """One connection on a port of loopback."""
    with socket.create_server((HOST.text, 0)) as listener:
        listener.settimeout(SERVER_S)

        def serve() -> None:
            peer, _ = listener.accept()
            peer.settimeout(SERVER_S)
            behave(peer)

        server = threading.Thread(target=serve)
        server.start()
        yield listener.getsockname()[1]
        server.join(SERVER_S)
        assert not server.is_alive()


async def climb(layer: Layer, service: str, port: int) -> list[str | None]:
    net = LiveNet()
    try:
        dial, stream = await net.dial(HOST, port, net.now() + 2)
        assert stream is not None, dial.fault
        target = Target(service=service, host="shop.test", port=port)
        ground = Ground(target=target, policy=POLICY, deadline=net.now() + 5, address=HOST, stream=stream)
        facts = await layer.probe(ground, net)
        stream.abort()
        return [finding.code for finding in layer.judge(facts, POLICY)]
    finally:
        await net.close()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


@pytest.mark.parametrize(("behave", "code"), [
    pytest.param(say(HEAD, b"hello"), None, id="healthy"),
    pytest.param(say(HEAD, b"hello", end=linger), None, id="healthy and never closing"),
    pytest.param(say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), "http.bad_gateway", id="bad gateway"),
    pytest.param(say(end=reset), "tcp.reset", id="reset after the request"),
    pytest.param(say(), "tcp.closed", id="closed after the request"),
    pytest.param(say(HEAD, b"hel"), "http.truncated", id="closed in the body"),
    pytest.param(say(end=linger), "http.timeout", id="silent after the request"),
    pytest.param(say(HEAD, b"hel", end=linger), "tcp.stalled", id="silent in the body"),
    pytest.param(say(b"SSH-2.0-x\r\n"), "http.malformed", id="not HTTP"),
])
def test_a_real_server_gets_the_code_of_its_behaviour(behave: Peer, code: str | None) -> None:
    with serving(behave) as port:
        assert asyncio.run(climb(HTTP, "http", port)) == [code]


def drip(peer: socket.socket) -> None:
    """A byte of a long body every tenth of a second, until the other side has had enough."""
    hear_request(peer)
    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    with suppress(ConnectionError):
        for _ in range(50):
            time.sleep(0.1)
            peer.sendall(b"x")
    peer.close()


def test_a_real_server_whose_body_drips_is_slow_and_never_plainly_well() -> None:
    with serving(drip) as port:
        assert asyncio.run(climb(HTTP, "http", port)) == [None, "http.slow"]


@pytest.mark.parametrize(("behave", "code"), [
    pytest.param(say(b"SSH-2.0-x\r\n", hear=False, end=linger), None, id="healthy"),
    pytest.param(say(hear=False, end=linger), "app.no_banner", id="silent"),
    pytest.param(say(b"220 mx ESMTP\r\n", hear=False, end=linger), "app.protocol_mismatch", id="SMTP"),
    pytest.param(say(hear=False), "tcp.closed", id="closed"),
])
def test_a_real_greeting_gets_the_code_of_its_behaviour(behave: Peer, code: str | None) -> None:
    with serving(behave) as port:
        assert asyncio.run(climb(app.LAYER, "ssh", port)) == [code]
