"""TLS over real loopback sockets: real servers of every kind, and what the layer makes of each."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fleetprobe.layer import Ground
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.judge import judge
from fleetprobe.layers.tls.layer import probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.net.interface import Address, Event, Stream
from fleetprobe.net.live.net import LiveNet
from fleetprobe.net.live.tls import TlsStream

LOOPBACK = Address("127.0.0.1", 4)
NOW = datetime.now(UTC)
POLICY = Policy(exchange_s=4.0)
BEGIN = b"-----BEGIN CERTIFICATE-----"
HASTY = Policy(exchange_s=0.6)
"""For peers that stay silent; anything longer only makes the test longer."""
Script = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Signed:
    """A certificate with its key; `pem` holds what a server is given: key, then the chain to present."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    def pem(self, *above: Signed) -> bytes:
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return key + b"".join(one.certificate.public_bytes(Encoding.PEM) for one in (self, *above))


def issue(
    name: str, issuer: Signed | None = None, *, ca: bool = False, days: tuple[int, int] = (-10, 90)
) -> Signed:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + timedelta(days=days[0]))
        .not_valid_after(NOW + timedelta(days=days[1]))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key((issuer.key if issuer else key).public_key())
    usage = x509.KeyUsage(True, False, False, False, False, ca, ca, False, False)
    for extension in (own, signer, usage):
        builder = builder.add_extension(extension, critical=extension is usage)
    if not ca:
        names = [x509.DNSName(name), x509.IPAddress(ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Signed(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


ROOT = issue("Lab Root", ca=True)
MIDDLE = issue("Lab Intermediate", ROOT, ca=True)
LEAF = issue("shop.test", MIDDLE)
STRANGE_ROOT = issue("Strange Root", ca=True)
STRANGE = issue("shop.test", STRANGE_ROOT)
LONELY = issue("shop.test")
STALE = issue("shop.test", MIDDLE, days=(-90, -3))
EARLY = issue("shop.test", MIDDLE, days=(3, 90))
OTHER = issue("other.test", MIDDLE)
STALE_MIDDLE = issue("Lab Intermediate", ROOT, ca=True, days=(-90, -3))
UNDER_STALE = issue("shop.test", STALE_MIDDLE)
FALSE_CA = issue("deep.test", LEAF)
WRONG_IN_ALL = issue("other.test", days=(-90, -3))


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("trust") / "root.pem"
    path.write_bytes(ROOT.certificate.public_bytes(Encoding.PEM))
    return str(path)


@contextmanager
def serving(script: Script) -> Iterator[int]:
    """A raw server that plays `script` on each connection; gives its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def play(peer: socket.socket) -> None:
        peer.settimeout(5)
        with peer:
            try:
                script(peer)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=play, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def speaking_tls(pem: bytes, folder: Path, talk: Callable[[ssl.SSLSocket], None]) -> Script:
    """A server of the standard library that completes the handshake and then plays `talk`."""
    path = folder / "server.pem"
    path.write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.set_alpn_protocols(["http/1.1"])

    def script(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as secured:
            talk(secured)

    return script


def echo(secured: ssl.SSLSocket) -> None:
    while data := secured.recv(65536):
        secured.sendall(data)


@contextmanager
def s_server(folder: Path, pem: bytes, *options: str, naccept: int = 3) -> Iterator[int]:
    """`openssl s_server` on a free port, ready, for so many connections, of which the test for readiness is one."""
    path = folder / "s_server.pem"
    path.write_bytes(pem)
    # Of -cert_chain it sends everything, and the leaf once more if it is in there.
    above = folder / "above.pem"
    above.write_bytes(b"".join(BEGIN + one for one in pem.split(BEGIN)[2:]))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [
        "openssl",
        "s_server",
        "-accept",
        f"127.0.0.1:{port}",
        "-cert",
        str(path),
        "-key",
        str(path),
        "-cert_chain",
        str(above),
        "-quiet",
        "-naccept",
        str(naccept),
        *options,
    ]
    server = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(250):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None, "openssl s_server did not start"
                time.sleep(0.02)
        yield port
    finally:
        server.kill()
        server.communicate()


async def _nothing(stream: Stream) -> None:
    return None


def climb(
    port: int,
    ca_file: str | None = None,
    then: Callable[[Stream], Awaitable[None]] = _nothing,
    *,
    host: str = "shop.test",
    policy: Policy = POLICY,
    service: str = "https",
) -> tuple[TlsFacts, list[str | None]]:
    """Dial, shake hands, judge; `then` goes on over the stream left on the ground."""

    async def main() -> tuple[TlsFacts, list[str | None]]:
        net = LiveNet()
        target = Target(service=service, host=host, port=port, ca_file=ca_file)
        ground = Ground(target=target, policy=policy, deadline=net.now() + 8, address=LOOPBACK)
        try:
            _, ground.stream = await net.dial(LOOPBACK, port, net.now() + 2)
            facts = await probe(ground, net)
            findings = judge(facts, POLICY)
            assert ground.stream is not None
            await then(ground.stream)
            ground.stream.abort()
            return facts, [finding.code for finding in findings]
        finally:
            await net.close()

    return uvloop.run(asyncio.wait_for(main(), 15))


def test_a_healthy_server_verifies_and_carries_the_next_layer(tmp_path: Path, trusted: str) -> None:
    async def shout(stream: Stream) -> None:
        assert isinstance(stream, TlsStream)
        words = os.urandom(300_000)
        until = time.monotonic() + 5
        assert (await stream.send(words, until)).event is Event.DONE
        heard = b""
        while len(heard) < len(words):
            got = await stream.receive(65536, until)
            assert got.event is Event.DONE
            heard += got.data
        assert heard == words
        assert stream.info() is not None
        assert stream.peer_alpn == "http/1.1"
        assert (await stream.receive(10, time.monotonic() + 0.1)).event is Event.SILENT

    with serving(speaking_tls(LEAF.pem(MIDDLE), tmp_path, echo)) as port:
        facts, codes = climb(port, trusted, shout)
    seen = facts.handshake
    assert codes == [None]
    assert (seen.protocol_version, seen.alpn, seen.verify_errors) == ("TLSv1.3", "http/1.1", ())
    assert seen.chain_der == (LEAF.der, MIDDLE.der)
    assert seen.path_der == (LEAF.der, MIDDLE.der, ROOT.der)
    assert 0 < facts.duration_ms < 500
    assert facts.columns()["openssl_verify_code"] == 0


FAULTS = {
    "an address in the names": (LEAF.pem(MIDDLE), "127.0.0.1", (), [None]),
    "intermediate missing": (LEAF.pem(), "shop.test", ((20, 0), (21, 0)), ["tls.issuer_unknown"]),
    "root not sent": (STRANGE.pem(), "shop.test", ((20, 0), (21, 0)), ["tls.issuer_unknown"]),
    "root sent": (STRANGE.pem(STRANGE_ROOT), "shop.test", ((19, 1),), ["tls.untrusted_root"]),
    "self-signed": (LONELY.pem(), "shop.test", ((18, 0),), ["tls.self_signed"]),
    "leaf expired": (STALE.pem(MIDDLE), "shop.test", ((10, 0),), ["tls.expired"]),
    "issuer expired": (UNDER_STALE.pem(STALE_MIDDLE), "shop.test", ((10, 1),), ["tls.expired"]),
    "not yet valid": (EARLY.pem(MIDDLE), "shop.test", ((9, 0),), ["tls.not_yet_valid"]),
    "another name": (OTHER.pem(MIDDLE), "shop.test", (), ["tls.name_mismatch"]),
    "issued by a leaf": (FALSE_CA.pem(LEAF, MIDDLE), "deep.test", None, ["tls.issuer_not_ca"]),
    "self-signed, expired and another name": (
        WRONG_IN_ALL.pem(),
        "shop.test",
        ((18, 0), (10, 0)),
        ["tls.self_signed", "tls.expired", "tls.name_mismatch"],
    ),
}
"""What is presented, what is asked for, the errors of OpenSSL (None: any, but some), and the codes."""


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_each_certificate_fault_is_named_and_the_connection_goes_on(
    fault: tuple[bytes, str, tuple[tuple[int, int], ...] | None, list[str | None]],
    tmp_path: Path,
    trusted: str,
) -> None:
    async def shout(stream: Stream) -> None:
        until = time.monotonic() + 2
        await stream.send(b"still here", until)
        assert (await stream.receive(100, until)).data == b"still here"

    pem, host, errors, codes = fault
    with serving(speaking_tls(pem, tmp_path, echo)) as port:
        facts, found = climb(port, trusted, shout, host=host)
    assert facts.handshake.verify_errors if errors is None else facts.handshake.verify_errors == errors
    assert found == codes


def hello_then(answer: bytes, *, linger: bool = False, hold: bool = False) -> Script:
    def script(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(answer)
        if linger:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if hold:
            peer.recv(65536)

    return script


ALERT = b"\x15\x03\x03\x00\x02"
SSL_3 = b"\x16\x03\x00\x00\x2a\x02\x00\x00\x26\x03\x00" + b"r" * 32 + b"\x00\x00\x2f\x00"
PART = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"


ENDS: dict[str, tuple[Script, str, dict[str, object]]] = {
    "silent": (hello_then(b"", hold=True), "tls.no_answer", {"bytes_unacked": 0}),
    "half a record": (hello_then(PART, hold=True), "tls.stalled", {"bytes_received": len(PART)}),
    "closed after hello": (hello_then(b""), "tls.dropped", {"how": "fin", "phase": "after hello"}),
    "closed midway": (hello_then(PART), "tls.dropped", {"how": "fin", "phase": "in handshake"}),
    "reset": (hello_then(b"", linger=True), "tls.dropped", {"how": "rst", "phase": "after hello"}),
    "close_notify": (hello_then(ALERT + b"\x01\x00"), "tls.dropped", {"how": "close_notify"}),
    "alert, then reset": (hello_then(ALERT + b"\x02\x28", linger=True), "tls.alert", {"alert": 40}),
    "alert 70": (hello_then(ALERT + b"\x02\x46"), "tls.version_unsupported", {"by": "server"}),
    "SSL 3.0 chosen": (hello_then(SSL_3), "tls.version_unsupported", {"by": "client"}),
    "broken hello": (hello_then(b"\x16\x03\x03\x00\x05\x02\x00\x00\x01\x03"), "tls.protocol_error", {}),
    "record too long": (hello_then(b"\x16\x03\x03\xff\xff" + b"x" * 100), "tls.protocol_error", {}),
    "http": (hello_then(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "tls.not_tls", {"protocol": "HTTP"}),
    "ssh": (lambda peer: peer.sendall(b"SSH-2.0-x\r\n"), "tls.not_tls", {"protocol": "SSH"}),
    "two bytes of text": (hello_then(b"22", hold=True), "tls.not_tls", {"protocol": "unknown"}),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_each_end_of_a_handshake_has_its_one_code(end: tuple[Script, str, dict[str, object]]) -> None:
    script, code, fact = end
    waits = code in ("tls.no_answer", "tls.stalled") or fact.get("protocol") == "unknown"
    with serving(script) as port:
        facts, codes = climb(port, policy=HASTY if waits else POLICY)
    assert codes == [code]
    judged = judge(facts, POLICY)[0].facts
    assert {name: judged.get(name) for name in fact} == fact


def test_a_server_that_never_stops_sending_is_ended_by_the_byte_cap() -> None:
    def flood(peer: socket.socket) -> None:
        while True:
            peer.sendall(b"\x16\x03\x03\x40\x00" + b"\x0b\xff\xff\xff".ljust(0x4000, b"\0"))

    began = time.monotonic()
    with serving(flood) as port:
        facts, codes = climb(port)
    assert codes == ["tls.protocol_error"]
    assert facts.handshake.bytes_received < 400_000
    assert time.monotonic() - began < 3


def test_client_certificates_demanded_in_tls_1_2_end_the_handshake_and_the_chain_is_kept(
    tmp_path: Path, trusted: str
) -> None:
    with s_server(tmp_path, LEAF.pem(MIDDLE), "-Verify", "3", "-tls1_2") as port:
        facts, codes = climb(port, trusted)
    assert codes == ["tls.client_certificate_required"]
    assert facts.handshake.alerts_received == ((2, 40),)
    assert facts.handshake.client_certificate_requested
    assert next(iter(facts.named_certificates.values())) == LEAF.der


def test_client_certificates_demanded_in_tls_1_3_show_on_the_first_read(tmp_path: Path, trusted: str) -> None:
    async def read(stream: Stream) -> None:
        got = await stream.receive(100, time.monotonic() + 2)
        assert got.event is Event.ERROR
        assert got.fault is not None
        assert got.fault.alert == 116
        assert isinstance(stream, TlsStream)
        assert stream.peer_alert == 116

    with s_server(tmp_path, LEAF.pem(MIDDLE), "-Verify", "3", "-tls1_3") as port:
        facts, codes = climb(port, trusted, read)
    assert codes == [None]
    assert facts.handshake.client_certificate_requested


def test_when_the_last_bytes_came_is_known_of_who_drips_and_of_who_stops() -> None:
    def drip(peer: socket.socket) -> None:
        peer.recv(65536)
        for byte in b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03":
            peer.sendall(bytes([byte]))
            time.sleep(0.1)

    def stop(peer: socket.socket) -> None:
        peer.recv(65536)
        peer.sendall(b"\x16\x03\x03\x00\x7a\x02")
        peer.recv(65536)

    for script, dripping in ((drip, True), (stop, False)):
        with serving(script) as port:
            facts, codes = climb(port, policy=HASTY)
        assert codes == ["tls.stalled"]
        assert (facts.quiet_ms < facts.duration_ms / 2) is dripping


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_certificate_is_demanded_of_a_service_without_requests_too(
    version: str, tmp_path: Path, trusted: str
) -> None:
    with s_server(tmp_path, LEAF.pem(MIDDLE), "-Verify", "3", version, "-CAfile", trusted) as port:
        facts, codes = climb(port, trusted, service="tls")
    assert codes == ["tls.client_certificate_required"]
    assert facts.record()["client_authorities"] == ["CN=Lab Root"]
    assert facts.record()["client_authority_count"] == 1


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_client_certificate_that_is_only_asked_for_is_no_fault(version: str, tmp_path: Path, trusted: str) -> None:
    with s_server(tmp_path, LEAF.pem(MIDDLE), "-verify", "3", version) as port:
        facts, codes = climb(port, trusted, service="tls")
    assert codes == [None]
    assert facts.handshake.client_certificate_requested
    assert facts.handshake.client_authorities == ()


@pytest.mark.parametrize(
    ("option", "version"), [("-tls1", "TLSv1"), ("-tls1_1", "TLSv1.1"), ("-tls1_2", "TLSv1.2")]
)
def test_old_versions_are_completed_so_that_the_chain_is_seen(
    option: str, version: str, tmp_path: Path, trusted: str
) -> None:
    with s_server(tmp_path, LEAF.pem(MIDDLE), option, "-cipher", "ALL:@SECLEVEL=0") as port:
        facts, codes = climb(port, trusted)
    assert facts.handshake.protocol_version == version
    assert codes == [None] + ["tls.legacy_version"] * (version != "TLSv1.2")


def test_no_shared_cipher_and_an_unknown_name_are_alerts_by_number(tmp_path: Path, trusted: str) -> None:
    with s_server(tmp_path, LEAF.pem(MIDDLE), "-tls1_2", "-cipher", "ADH-AES128-SHA256:@SECLEVEL=0") as port:
        no_cipher, codes = climb(port, trusted)
    assert (codes, no_cipher.columns()["tls_alert"]) == (["tls.alert"], 40)
    pem = str(tmp_path / "s_server.pem")
    names = ("-servername", "known.test", "-servername_fatal", "-cert2", pem, "-key2", pem)
    with s_server(tmp_path, LEAF.pem(MIDDLE), *names) as port:
        unknown, codes = climb(port, trusted)
    assert (codes, unknown.columns()["tls_alert"]) == (["tls.unrecognized_name"], 112)
