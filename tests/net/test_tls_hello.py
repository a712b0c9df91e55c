"""Hellos of an exact length over real sockets, and servers that take their first read for the whole of one."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable

import pytest
import uvloop

from fleetprobe.layer import Ground
from fleetprobe.layers import tcp
from fleetprobe.layers.tls import large_hello, layer
from fleetprobe.layers.tls.large_hello import SEGMENT_BYTES, TIMESTAMPS_BYTES, HelloFacts
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Finding
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import USUAL_SEGMENTS, Address, Segments
from fleetprobe.net.live.net import LiveNet
from fleetprobe.net.live.tls_hello import _padding
from tests.net.test_tls_live import LEAF, MIDDLE, serving

LOOPBACK = Address("127.0.0.1", 4)
POST_QUANTUM = b"\x11\xec\x04\xc0"
"""A key share of X25519MLKEM768 (4588 among the IANA's TLS supported groups) and its 1216 bytes."""
ONCE_BYTES, SMALL_BYTES = 1400, SEGMENT_BYTES - TIMESTAMPS_BYTES


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("server")
    (folder / "server.pem").write_bytes(LEAF.pem(MIDDLE))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / "server.pem")
    made.set_alpn_protocols(["http/1.1"])
    return made


def shake(port: int, hello: Hello, segments: Segments = USUAL_SEGMENTS) -> Handshake:
    async def main() -> Handshake:
        net = LiveNet()
        try:
            _, stream = await net.dial(LOOPBACK, port, net.now() + 2, segments=segments)
            assert stream is not None
            told, secured = await net.handshake(stream, hello, net.now() + 3)
            (secured or stream).abort()
            return told
        finally:
            await net.close()

    return uvloop.run(asyncio.wait_for(main(), 10))


def heard(hello: Hello) -> tuple[bytes, Handshake]:
    """The hello as it came, to a server that reads all of it and leaves."""
    came: list[bytes] = []

    def take(peer: socket.socket) -> None:
        record = b""
        while len(record) < 5 or len(record) < 5 + int.from_bytes(record[3:5], "big"):
            record += peer.recv(65536)
        came.append(record)

    with serving(take) as port:
        told = shake(port, hello)
    return came[0], told


@pytest.mark.parametrize("name", [None, "shop.test", f"{'x' * 60}.{'y' * 30}.test"])
@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
@pytest.mark.parametrize("size_bytes", [SMALL_BYTES, 777, 1572, 4001])
def test_a_hello_is_padded_to_the_byte_and_says_how_long_it_was(
    name: str | None, alpn: tuple[str, ...], size_bytes: int
) -> None:
    record, told = heard(Hello(server_name=name, alpn=alpn, small=True, pad_to_bytes=size_bytes))
    assert len(record) == told.hello_bytes == size_bytes
    assert POST_QUANTUM not in record
    # What is real stands before what is not.
    assert record.count(b"\x08http/1.1") == len(alpn)
    assert not alpn or record.index(b"\x08http/1.1") < record.index(b"000")


def test_the_usual_hello_has_a_post_quantum_share_and_no_padding() -> None:
    record, told = heard(Hello(server_name="shop.test"))
    assert POST_QUANTUM in record
    assert len(record) == told.hello_bytes > 1400


def test_a_small_hello_is_small_and_one_that_is_longer_than_asked_stays_so() -> None:
    bare, _ = heard(Hello(server_name="shop.test", small=True))
    padded, told = heard(Hello(server_name="shop.test", small=True, pad_to_bytes=1))
    assert len(bare) < 400
    assert len(padded) == told.hello_bytes == len(bare) + 4


def test_padding_is_of_valid_names_no_two_alike_and_comes_out_even() -> None:
    for total_bytes in range(4, 1200):
        names = _padding(total_bytes)
        assert sum(1 + len(name) for name in names) == total_bytes
        assert len(set(names)) == len(names)
        assert {len(name) for name in names} <= set(range(1, 256))


@pytest.mark.parametrize("size_bytes", [SMALL_BYTES, 1572])
def test_a_server_like_any_other_completes_a_padded_handshake(context: ssl.SSLContext, size_bytes: int) -> None:
    def serve(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as secured:
            secured.recv(1)

    with serving(serve) as port:
        hello = Hello(server_name="shop.test", small=True, pad_to_bytes=size_bytes)
        told = shake(port, hello, Segments(mss_bytes=SEGMENT_BYTES))
    assert told.fault is None
    assert (told.protocol_version, told.alpn) == ("TLSv1.3", "http/1.1")


def leave(peer: socket.socket) -> None:
    """FIN, and RST if something is unread."""


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def refuse(peer: socket.socket) -> None:
    peer.sendall(bytes.fromhex("15030300020232"))
    peer.shutdown(socket.SHUT_WR)
    while peer.recv(65536):
        pass


def wait(peer: socket.socket) -> None:
    while peer.recv(65536):
        pass


def question(
    context: ssl.SSLContext, cut: Callable[[socket.socket], None], accepts: Callable[[bytes], bool]
) -> tuple[HelloFacts | None, list[Finding]]:
    """A climb and then the witness, of a server that looks at its first read."""

    def serve(peer: socket.socket) -> None:
        first = peer.recv(ONCE_BYTES, socket.MSG_PEEK)
        if accepts(first):
            with context.wrap_socket(peer, server_side=True) as secured:
                secured.recv(1)
        else:
            peer.recv(len(first))
            cut(peer)

    async def main(port: int) -> tuple[HelloFacts | None, list[Finding]]:
        net, policy = LiveNet(), Policy(exchange_s=0.5)
        target = Target(service="https", host="shop.test", port=port)
        ground = Ground(target=target, policy=policy, deadline=net.now() + 8, address=LOOPBACK)
        try:
            for one in (tcp.LAYER, layer.LAYER):
                ground.facts[one.name] = await one.probe(ground, net)
            assert ground.stream is not None
            ground.stream.abort()
            facts = await large_hello.probe(ground, net)
            return facts, list(large_hello.judge(facts, policy))
        finally:
            await net.close()

    with serving(serve) as port:
        return uvloop.run(asyncio.wait_for(main(port), 15))


def whole(first: bytes) -> bool:
    return len(first) >= 5 + int.from_bytes(first[3:5], "big")


@pytest.mark.parametrize(("cut", "how"), [
    (leave, "dropped"), (reset, "dropped"), (refuse, "alert decode_error"), (wait, "silent"),
])
def test_a_server_that_reads_once_is_found_out(
    context: ssl.SSLContext, cut: Callable[[socket.socket], None], how: str
) -> None:
    facts, findings = question(context, cut, whole)
    assert facts is not None
    assert facts.failed.met == how
    assert facts.failed.size_bytes > ONCE_BYTES
    assert [finding.code for finding in findings] == ["tls.large_hello_intolerant"]


def test_a_server_that_does_not_like_post_quantum_shares_is_not_taken_for_it(context: ssl.SSLContext) -> None:
    facts, findings = question(context, leave, lambda first: POST_QUANTUM not in first)
    assert facts is not None
    assert [said.met for said in facts.hellos] == ["answered", "answered"]
    assert findings == []


def test_a_server_that_leaves_whatever_it_hears_is_not_taken_for_it(context: ssl.SSLContext) -> None:
    facts, findings = question(context, leave, lambda first: False)
    assert facts is not None
    assert [said.met for said in facts.hellos] == ["dropped"]
    assert findings == []
