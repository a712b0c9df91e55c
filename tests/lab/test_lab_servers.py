"""What scripted servers put on the wire, where it matters in how many pieces, and on which machine."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from pathlib import Path

import pytest

from fleetprobe.lab.conversation import converse
from fleetprobe.lab.elsewhere import inside
from fleetprobe.lab.fleet import load_fleet
from fleetprobe.lab.pki import authority_file, server_file, write_pki
from fleetprobe.lab.scenario import Certificate, Step, Verb
from fleetprobe.lab.serve import tls_context

FULL_V4, FULL_V6, NARROW_V6 = 1448, 1428, 1328
"""Bytes of TCP payload, with timestamps, in packets of 1500 and of 1400 bytes."""


async def told(steps: list[Step]) -> list[bytes]:
    """What a script says, piece by piece."""
    # Packets that arrive in order: each write of the server is one read of the client.
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    with ours:
        ours.shutdown(socket.SHUT_WR)
        await converse(theirs, steps, None)
        pieces = []
        while piece := ours.recv(65536):
            pieces.append(piece)
    return pieces


def test_an_answer_has_its_head_and_its_body_in_one_piece() -> None:
    (piece,) = asyncio.run(told([Step(Verb.ANSWER, "6000")]))
    head, _, body = piece.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 6000" in head
    assert len(body) == 6000


def test_what_is_said_and_filled_comes_in_pieces() -> None:
    assert asyncio.run(told([Step(Verb.SAY, "head"), Step(Verb.FILL, "3")])) == [b"head", b"xxx"]


@pytest.mark.parametrize(("kind", "low", "high"), [
    # Two full segments and a third that still fits through the narrow links of the lab, in either family.
    (Certificate.LONG, 2 * FULL_V4 + 1, 2 * FULL_V6 + NARROW_V6), (Certificate.GOOD, 500, NARROW_V6),
])
def test_the_flight_of_a_handshake_is_long_or_short(tmp_path: Path, kind: Certificate, low: int, high: int) -> None:
    (scenario,) = load_fleet(only=["mtu-hole-reverse-icmp-filtered"])
    write_pki(tmp_path, [scenario])
    (server,) = (server for server in scenario.servers if server.certificate is kind)
    client_in, client_out, server_in, server_out = (ssl.MemoryBIO() for _ in range(4))
    trust = ssl.create_default_context(cafile=authority_file(tmp_path))
    client = trust.wrap_bio(client_in, client_out, server_hostname=server.addresses[0])
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    server_in.write(client_out.read())
    with pytest.raises(ssl.SSLWantReadError):
        tls_context(server_file(tmp_path, scenario, server)).wrap_bio(server_in, server_out, True).do_handshake()
    flight = server_out.read()
    assert low <= len(flight) <= high
    client_in.write(flight)
    client.do_handshake()


@pytest.mark.parametrize(("how", "heard"), [
    ("alert", "15030300020232"), ("close", ""), ("reset", "ECONNRESET"), ("silence", "timed out"),
])
@pytest.mark.parametrize("record_bytes", [1401, 4000])
def test_a_server_that_reads_once_ends_as_it_is_told_when_the_hello_is_longer(
    how: str, heard: str, record_bytes: int
) -> None:
    hello = b"\x16\x03\x01" + (record_bytes - 5).to_bytes(2, "big")

    async def main() -> str:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as ours:
            ours.setblocking(False)
            await loop.sock_connect(ours, server.getsockname())
            theirs, _ = server.accept()
            theirs.setblocking(False)
            await loop.sock_sendall(ours, hello.ljust(record_bytes, b"x"))
            talk = asyncio.create_task(converse(theirs, [Step(Verb.ONCE, how), Step(Verb.SAY, "answer")], None))
            try:
                async with asyncio.timeout(0.3):
                    return (await loop.sock_recv(ours, 4096)).hex()
            except TimeoutError:
                return "timed out"
            except ConnectionResetError as error:
                return errno.errorcode[error.errno or 0]
            finally:
                ours.close()
                await talk

    assert asyncio.run(main()) == heard


def test_a_server_that_reads_once_goes_on_over_tls_when_that_was_the_whole_hello(tmp_path: Path) -> None:
    (scenario,) = load_fleet(only=["tls-large-hello"])
    write_pki(tmp_path, [scenario])
    context = tls_context(server_file(tmp_path, scenario, scenario.servers[0]))

    async def main() -> bytes:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        trust = ssl.create_default_context(cafile=authority_file(tmp_path))
        trust.set_ecdh_curve("prime256v1")
        steps = [Step(Verb.ONCE, "close"), Step(Verb.SAY, "answer"), Step(Verb.FAREWELL)]
        talk = asyncio.create_task(converse(theirs, steps, context))
        try:
            reader, writer = await asyncio.open_connection(sock=ours, ssl=trust, server_hostname="long-hello.lab.test")
            said = await reader.read(6)
            writer.close()
            return said
        finally:
            await talk

    assert asyncio.run(asyncio.wait_for(main(), 10)) == b"answer"


def test_what_is_no_namespace_is_refused_and_we_stay_where_we_are(tmp_path: Path) -> None:
    home = os.readlink("/proc/thread-self/ns/net")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)), inside(tmp_path / "file"):
        pytest.fail("we must not get here")
    assert os.readlink("/proc/thread-self/ns/net") == home
