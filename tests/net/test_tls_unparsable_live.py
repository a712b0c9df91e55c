"""A certificate that OpenSSL cannot decode ends the handshake, and a certificate is what is told of."""

from __future__ import annotations

import socket
import struct

import pytest

from fleetprobe.layers.tls import exchange
from fleetprobe.layers.tls.layer import LAYER
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Event, Fault
from tests.engine.world import V4, examine, row, target
from tests.net.test_tls_live import climb, serving

RSA_WITH_AES_128_GCM = 0x009C


def flight(certificate: bytes) -> bytes:
    """ServerHello, Certificate and ServerHelloDone of TLS 1.2 in one record (RFC 5246 §7.3)."""
    hello = b"\x03\x03" + bytes(range(32)) + b"\0" + struct.pack(">HB", RSA_WITH_AES_128_GCM, 0)
    hello += b"\0\5\xff\1\0\1\0"
    listed = len(certificate).to_bytes(3, "big") + certificate
    messages = [(2, hello), (11, len(listed).to_bytes(3, "big") + listed), (14, b"")]
    body = b"".join(bytes([kind]) + len(said).to_bytes(3, "big") + said for kind, said in messages)
    return b"\x16\x03\x03" + struct.pack(">H", len(body)) + body


@pytest.mark.parametrize(("said", "codes", "alert"), [
    (flight(b"\x30\x82\x01\0no"), ["tls.malformed", "tls.protocol_error"], 42),
    (flight(b"no certificate"), ["tls.malformed", "tls.protocol_error"], 42),
    # The look-alike: the list of certificates has a wrong length, and nothing is said of one of them.
    (flight(b"x").replace(b"\0\0\4\0\0\1x", b"\0\0\4\0\0\2x"), ["tls.protocol_error"], 50),
])
def test_what_cannot_be_decoded_is_told_by_our_own_alert(said: bytes, codes: list[str], alert: int) -> None:
    def script(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(said)
        peer.recv(4096)

    with serving(script) as port:
        facts, found = climb(port)
    assert facts.handshake.alerts_sent == ((2, alert),)
    assert found == codes


BROKEN = Handshake(
    started_s=0.0, ended_s=0.01, fault=Fault(Event.ERROR, detail="tls"), first_bytes=b"\x16\x03\x03\x00\x7a",
    alerts_sent=((2, 42),), bytes_received=700,
)


def test_it_stands_for_the_broken_handshake_and_the_climb_goes_no_further() -> None:
    told = row(examine(FakeNet().host(V4, 443, tls=BROKEN), target("https", host=V4, port=443)))
    assert (told["state"], told["code"], told["confidence"]) == ("fail", "tls.malformed", "observed")
    assert told["could_also_be"] == []
    (tls,) = (entry for entry in told["layers"] if entry["layer"] == "tls")
    assert tls["facts"]["alerts_sent"][0]["number"] == 42
    assert next(entry for entry in told["layers"] if entry["layer"] == "http")["outcome"] == "skipped"


def test_a_handshake_that_was_completed_goes_on_beside_such_a_certificate() -> None:
    assert "tls.malformed" in LAYER.goes_on
    assert "tls.malformed" not in exchange.EMITS
