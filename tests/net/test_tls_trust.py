"""What verification stands on: which files are trusted, which are refused, and how strict it is."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from hashlib import sha256
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL, crypto

from fleetprobe.model.trust import MACHINE
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Event, Received, TcpInfo
from fleetprobe.net.live.tls import Handshaker
from fleetprobe.net.live.trust import UnusableTrust


async def no_turn() -> None:
    return None


def handshaker() -> Handshaker:
    return Handshaker(no_turn, time.monotonic, lambda: 0.0)


def write(folder: Path, name: str, data: bytes) -> str:
    path = folder / name
    path.write_bytes(data)
    return str(path)


FIRST, SECOND = trustme.CA(), trustme.CA()
PEMS = [ca.cert_pem.bytes() for ca in (FIRST, SECOND)]


def test_the_same_anchors_in_any_order_and_number_have_the_same_fingerprint(tmp_path: Path) -> None:
    tls = handshaker()
    plain = tls.trust(write(tmp_path, "a.pem", b"".join(PEMS)))
    mixed = tls.trust(write(tmp_path, "b.pem", b"words\n" + PEMS[1] + PEMS[0] + PEMS[1]))
    one = tls.trust(write(tmp_path, "c.pem", PEMS[0]))
    assert (plain["count"], mixed["count"], one["count"]) == (2, 2, 1)
    assert plain["sha256"] == mixed["sha256"] != one["sha256"]
    assert plain["source"] == str(tmp_path / "a.pem")


def test_the_fingerprint_is_over_the_sorted_fingerprints_of_the_anchors(tmp_path: Path) -> None:
    many = [trustme.CA().cert_pem.bytes() for _ in range(6)]
    ders = [x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER) for pem in many]
    text = "".join(sorted(sha256(der).hexdigest() for der in ders))
    trust = handshaker().trust(write(tmp_path, "ca.pem", b"".join(many)))
    assert trust["sha256"] == sha256(text.encode()).hexdigest().upper()


def test_one_broken_certificate_does_not_cost_the_others(tmp_path: Path) -> None:
    broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    uneven = b"-----BEGIN CERTIFICATE-----\nA===A\n-----END CERTIFICATE-----\n"
    trust = handshaker().trust(write(tmp_path, "a.pem", broken + PEMS[0] + uneven))
    assert (trust["count"], trust["skipped"]) == (1, 2)


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "no certificates", "empty", "NUL in the name"])
def test_a_file_that_cannot_be_trusted_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    match kind:
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "no certificates":
            path.write_bytes(
                b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
            )
        case "empty":
            path.write_bytes(b"")
        case "NUL in the name":
            path = tmp_path / "a\0b"
    with pytest.raises(UnusableTrust, match=r"^CA file "):
        handshaker().trust(str(path))


def test_ssl_cert_file_replaces_the_system_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(tmp_path, "own.pem", PEMS[0])
    monkeypatch.setenv("SSL_CERT_FILE", name)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    for system in (None, MACHINE):
        trust = handshaker().trust(system)
        assert (trust["source"], trust["by"], trust["count"]) == (name, "SSL_CERT_FILE", 1)


def test_ssl_cert_dir_replaces_it_by_what_openssl_would_find_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "certificates"
    folder.mkdir()
    write(folder, "0123abcd.0", PEMS[0])
    write(folder, "0123abcd.1", PEMS[1])
    write(folder, "not-a-hash.pem", trustme.CA().cert_pem.bytes())
    (folder / "89abcdef.0").symlink_to(tmp_path / "gone")
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path / 'nowhere'}:{folder}")
    trust = handshaker().trust(None)
    assert (trust["by"], trust["count"], trust["skipped"]) == ("SSL_CERT_DIR", 2, 1)
    own = write(tmp_path, "own.pem", trustme.CA().cert_pem.bytes())
    monkeypatch.setenv("SSL_CERT_FILE", own)
    both = handshaker().trust(None)
    assert (both["by"], both["count"]) == ("SSL_CERT_FILE SSL_CERT_DIR", 3)
    assert str(both["source"]).startswith(f"{own}:")


def test_without_the_variables_it_is_the_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert handshaker().trust(None)["by"] == "distribution"


class Pair:
    """A stream whose far end is an OpenSSL server in this process; a deaf one acknowledges nothing."""

    peer_alpn: str | None = None

    def __init__(
        self, pem: bytes, *, deaf: bool = False, staple: bytes = b"", newest: int = SSL.TLS1_3_VERSION
    ) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_max_proto_version(newest)
        certificates = x509.load_pem_x509_certificates(pem)
        key = load_pem_private_key(pem, None)
        context.use_privatekey(key)  # type: ignore[arg-type]  # narrower than what is loaded
        context.use_certificate(certificates[0])
        for above in certificates[1:]:
            context.add_extra_chain_cert(above)
        context.set_ocsp_server_callback(lambda *_: staple)
        self._server = SSL.Connection(context, None)
        self._server.set_accept_state()
        self._deaf = deaf
        self.sent = 0

    async def send(self, data: bytes, until_s: float) -> Received:
        self.sent += len(data)
        self._server.bio_write(data)
        return Received(data=b"", event=Event.DONE, at_s=time.monotonic())

    async def receive(self, limit_bytes: int, until_s: float, hole_s: float | None = None) -> Received:
        with contextlib.suppress(SSL.WantReadError):
            self._server.do_handshake()
        if self._deaf:
            return Received(data=b"", event=Event.SILENT, at_s=until_s)
        return Received(data=self._server.bio_read(limit_bytes), event=Event.DONE, at_s=time.monotonic())

    def tell_hole(self, tell: object) -> None:
        """Nobody is told anything here."""

    def info(self) -> TcpInfo:
        return TcpInfo(
            rtt_ms=1,
            rtt_var_ms=1,
            total_retransmits=0,
            unacked_segments=int(self._deaf and self.sent > 0),
            sacked_segments=0,
            send_mss_bytes=1448,
            receive_mss_bytes=1448,
            advertised_mss_bytes=1448,
            path_mtu_bytes=1500,
            bytes_acked=1,
            bytes_received=0,
            data_segments_in=0,
            out_of_order_segments=None,
        )

    def abort(self) -> None:
        return None

    def release(self) -> None:
        return None


def shake(stream: Pair, ca_file: str) -> Handshake:
    hello = Hello(server_name="shop.test", ca_file=ca_file)
    return asyncio.run(handshaker().handshake(stream, hello, time.monotonic() + 1))[0]


def test_bytes_that_the_far_kernel_never_acknowledged_are_counted_without_the_syn(tmp_path: Path) -> None:
    stream = Pair(FIRST.issue_cert("shop.test").private_key_and_cert_chain_pem.bytes(), deaf=True)
    seen = shake(stream, write(tmp_path, "ca.pem", PEMS[0]))
    assert seen.fault is not None
    assert seen.fault.event is Event.SILENT
    assert seen.bytes_unacked == stream.sent > 500


@pytest.mark.parametrize(
    ("newest", "late"),
    [(SSL.TLS1_2_VERSION, True), (SSL.TLS1_3_VERSION, False)],
    ids=["two rounds", "one round"],
)
def test_queueing_for_our_own_processor_counts_only_while_the_peer_waits(
    newest: int, late: bool, tmp_path: Path
) -> None:
    async def slow_turn() -> None:
        await asyncio.sleep(0.06)

    stream = Pair(FIRST.issue_cert("shop.test").private_key_and_cert_chain_pem.bytes(), newest=newest)
    hello = Hello(server_name="shop.test", ca_file=write(tmp_path, "ca.pem", PEMS[0]))
    tls = Handshaker(slow_turn, time.monotonic, lambda: 0.0)
    seen, _ = asyncio.run(tls.handshake(stream, hello, time.monotonic() + 5))
    assert seen.fault is None
    assert (seen.lag_ms > 50) == late
    assert ((seen.ended_s - seen.started_s) * 1000 > 50) == late


@pytest.mark.parametrize(("queued_s", "ours"), [(0.4, False), (0.8, True), (3.0, True)])
def test_queueing_before_the_hello_counts_against_a_silence(queued_s: float, ours: bool, tmp_path: Path) -> None:
    now_s = 100.0

    async def slow_turn() -> None:
        nonlocal now_s
        now_s += queued_s

    stream = Pair(FIRST.issue_cert("shop.test").private_key_and_cert_chain_pem.bytes(), deaf=True)
    hello = Hello(server_name="shop.test", ca_file=write(tmp_path, "ca.pem", PEMS[0]))
    tls = Handshaker(slow_turn, lambda: now_s, lambda: 0.0)
    seen, _ = asyncio.run(tls.handshake(stream, hello, 102.0))
    assert seen.fault is not None
    assert seen.fault.event is Event.SILENT
    # More than half of the wait is what makes a silence our own (layers/tls/exchange.py).
    assert (seen.lag_ms > (seen.ended_s - seen.started_s) * 1000 / 2) == ours


# RFC 6960 §4.2.1: the shortest answer there is, responseStatus tryLater.
@pytest.mark.parametrize("staple", [b"", b"\x30\x03\x0a\x01\x03"], ids=["without", "with"])
def test_a_staple_is_asked_for_and_its_size_noted(staple: bytes, tmp_path: Path) -> None:
    stream = Pair(FIRST.issue_cert("shop.test").private_key_and_cert_chain_pem.bytes(), staple=staple)
    seen = shake(stream, write(tmp_path, "ca.pem", PEMS[0]))
    assert seen.fault is None
    assert seen.ocsp_staple_bytes == len(staple)


def test_an_intermediate_alone_in_the_store_is_no_anchor(tmp_path: Path) -> None:
    middle = FIRST.create_child_ca()
    stream = Pair(middle.issue_cert("shop.test").private_key_and_cert_chain_pem.bytes())
    seen = shake(stream, write(tmp_path, "ca.pem", middle.cert_pem.bytes()))
    assert seen.fault is None
    assert {code for code, _ in seen.verify_errors} == {2}


def test_a_leaf_without_key_identifiers_verifies_as_it_does_for_most_clients(tmp_path: Path) -> None:
    """X509_STRICT, the default of Python 3.13, would give code 85."""
    issued = FIRST.issue_cert("shop.test")
    model = x509.load_pem_x509_certificate(issued.cert_chain_pems[0].bytes())
    key = load_pem_private_key(FIRST.private_key_pem.bytes(), None)
    names = model.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    bare = (
        x509.CertificateBuilder()
        .subject_name(model.subject)
        .issuer_name(model.issuer)
        .public_key(model.public_key())
        .serial_number(7)
        .not_valid_before(model.not_valid_before_utc)
        .not_valid_after(model.not_valid_after_utc)
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())  # type: ignore[arg-type]  # narrower than what is loaded
    )
    seen = shake(
        Pair(issued.private_key_pem.bytes() + bare.public_bytes(Encoding.PEM)),
        write(tmp_path, "ca.pem", PEMS[0]),
    )
    assert seen.fault is None
    assert seen.verify_errors == ()
    store = crypto.X509Store()
    store.add_cert(crypto.load_certificate(crypto.FILETYPE_PEM, PEMS[0]))
    store.set_flags(crypto.X509StoreFlags.X509_STRICT)
    strict = crypto.X509StoreContext(store, crypto.X509.from_cryptography(bare))
    with pytest.raises(crypto.X509StoreContextError):
        strict.verify_certificate()
