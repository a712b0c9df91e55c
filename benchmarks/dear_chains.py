"""What the dearest chains cost our loop: `python -m benchmarks.dear_chains -o FILE`.

A server in memory presents chains that were made to be dear to verify or to read. For each the longest stretch of
processor time that one step of the handshake takes, and what reading and judging take that come behind it, of several
repeats the least: more than 50 ms would hold up every other target.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL

from benchmarks.netns import where
from fleetprobe.layers.tls import certificate
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import try_issuers
from fleetprobe.layers.tls.judge import judge
from fleetprobe.model.policy import Policy
from fleetprobe.net.der import KEY, SEQUENCE, elements, encode
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Event, Received, TcpInfo
from fleetprobe.net.live.tls import Handshaker

_MOST_MS = 50.0
_OID, _BITS = 0x06, 0x03
_SIGNED_BY = 2
"""The position of the signature's algorithm among the fields of a TBSCertificate (RFC 5280 §4.1)."""
_DAY = timedelta(days=1)
_NOW = datetime.now(UTC)
_RSA_BITS, _EXPONENT = 16384, (1 << 64) - 1
"""OpenSSL's OPENSSL_RSA_MAX_MODULUS_BITS, and OPENSSL_RSA_MAX_PUBEXP_BITS for keys above 3072 bits."""
_SMALL_RSA_BITS = 3072
"""Up to here an exponent may be as long as the modulus."""

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Dear:
    """A chain as presented, leaf first, and the leaf's key."""

    ders: tuple[bytes, ...]
    key: Key


def main(argv: Sequence[str]) -> int:
    """Exit 1 when a step takes longer than 50 ms."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args(argv)
    found = {name: measure(make(), options.repeats) for name, make in CHAINS.items()}
    report: dict[str, Any] = {"dear_chains": found, **where(), "repeats": options.repeats}
    Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for name, one in found.items():
        print(f"{name:50} {one}")
    return int(any(one["step_ms"] + one["read_ms"] + one["judge_ms"] > _MOST_MS for one in found.values()))


def measure(chain: Dear, repeats: int) -> dict[str, Any]:
    """The least over the repeats: of the longest step, of reading all that came, of trying issuers and judging."""
    found = [_once(chain) for _ in range(repeats)]
    worst = {name: round(min(one[name] for one in found), 2) for name in ("step_ms", "read_ms", "judge_ms")}
    return {"certificates": len(chain.ders), "bytes": sum(map(len, chain.ders)), **worst, "codes": found[0]["codes"]}


def _once(chain: Dear) -> dict[str, Any]:
    tls = Handshaker(_no_turn, time.monotonic, lambda: 0.0)
    wire = _InMemory(chain)
    tls.trust(None)
    handshake = asyncio.run(_shake(tls, wire))
    certificate._remembered.cache_clear()
    started_s = time.process_time()
    known = {der: certificate.read(der) for der in {*handshake.chain_der[:16], *handshake.path_der}}
    read_s = time.process_time() - started_s
    presented = tuple(known[der] for der in handshake.chain_der[:16])
    path = tuple(known[der] for der in handshake.path_der)
    started_s = time.process_time()
    ders = {one.sha256: der for der, one in known.items()}
    trials = try_issuers(presented, path, handshake.verify_errors, ders)
    facts = TlsFacts("192.0.2.1:443", "x.test", handshake, presented, 1.0, path=path, trials=trials)
    findings = judge(facts, Policy(as_of=_NOW))
    json.dumps(facts.record())
    return {
        "step_ms": wire.longest_s * 1000.0,
        "read_ms": read_s * 1000.0,
        "judge_ms": (time.process_time() - started_s) * 1000.0,
        "codes": sorted({str(one.code) for one in findings}),
    }


async def _shake(tls: Handshaker, wire: _InMemory) -> Handshake:
    wire.begin()
    handshake, _ = await tls.handshake(wire, Hello(server_name="x.test"), time.monotonic() + 60.0)
    wire.end()
    return handshake


class _InMemory:
    """A stream whose far end is a server in this process; notes how long our side takes between two receipts."""

    peer_alpn: str | None = None

    def __init__(self, chain: Dear) -> None:
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
        context.use_certificate(x509.load_der_x509_certificate(chain.ders[0]))
        context.use_privatekey(chain.key)
        for der in chain.ders[1:]:
            context.add_extra_chain_cert(x509.load_der_x509_certificate(der))
        self._server = SSL.Connection(context, None)
        self._server.set_accept_state()
        self._since_s = time.process_time()
        self.longest_s = 0.0

    async def send(self, data: bytes, until_s: float) -> Received:
        self._note()
        self._server.bio_write(data)
        self._since_s = time.process_time()
        return Received(data=b"", event=Event.DONE, at_s=time.monotonic())

    async def receive(self, limit_bytes: int, until_s: float, hole_s: float | None = None) -> Received:
        self._note()
        with suppress(SSL.WantReadError, SSL.Error):
            self._server.do_handshake()
        try:
            data, event = self._server.bio_read(limit_bytes), Event.DONE
        except SSL.WantReadError:
            data, event = b"", Event.SILENT
        self._since_s = time.process_time()
        return Received(data=data, event=event, at_s=time.monotonic())

    def begin(self) -> None:
        """Time runs from here."""
        self._since_s = time.process_time()

    def end(self) -> None:
        """The last step is over."""
        self._note()

    def _note(self) -> None:
        self.longest_s = max(self.longest_s, time.process_time() - self._since_s)

    def tell_hole(self, tell: object) -> None:
        """Nobody is told anything here."""

    def info(self) -> TcpInfo | None:
        return None

    def abort(self) -> None:
        return None

    def release(self) -> None:
        return None


async def _no_turn() -> None:
    return None


def constrained(authorities: int, limits: int, names: int, leaf_names: int) -> Dear:
    """Authorities with constraints and names of their own, above a leaf with many names."""
    key = ec.generate_private_key(ec.SECP256R1())

    def many(count: int) -> list[x509.GeneralName]:
        return [x509.DNSName("a") for _ in range(count)]

    def extend(builder: x509.CertificateBuilder, depth: int) -> x509.CertificateBuilder:
        if depth == 0:
            return builder.add_extension(x509.SubjectAlternativeName(many(leaf_names)), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
        if limits:
            permitted = x509.NameConstraints(None, [x509.DNSName("b") for _ in range(limits)])
            builder = builder.add_extension(permitted, critical=True)
        return builder.add_extension(x509.SubjectAlternativeName(many(names)), critical=False) if names else builder

    return _chain(authorities, key, extend)


def dear_keys(authorities: int, bits: int, exponent: int) -> Dear:
    """Authorities with keys that nobody made: a random modulus, and signatures of its length."""
    chance = random.Random(bits)
    key = ec.generate_private_key(ec.SECP256R1())

    def public(_: int) -> rsa.RSAPublicKey:
        modulus = chance.getrandbits(bits) | (1 << (bits - 1)) | 1
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()

    def extend(builder: x509.CertificateBuilder, depth: int) -> x509.CertificateBuilder:
        return builder.add_extension(x509.BasicConstraints(True, None), critical=True) if depth else builder

    chain = _chain(authorities, key, extend, public, rsa.generate_private_key(65537, 2048))
    signature = (1).to_bytes(1, "big") * (bits // 8)
    return Dear(tuple(_signed(der, b"\0" + signature) for der in chain.ders), key)


def junk(count: int) -> Dear:
    """A leaf, and certificates that bear its issuer's name and have nothing to do with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _issue("CN=x", "CN=CA", key.public_key(), key, lambda builder, _: builder, 0)
    others = []
    for _ in range(count):
        own = ec.generate_private_key(ec.SECP256R1())
        others.append(_issue("CN=CA", "CN=CA", own.public_key(), own, lambda builder, _: builder, 1))
    return Dear((leaf, *others), key)


def two_rings(count: int) -> Dear:
    """CAs of one name in two groups, each of which gives the key of the other as its issuer's: no end but the limit."""
    key = ec.generate_private_key(ec.SECP256R1())

    def extend(builder: x509.CertificateBuilder, depth: int) -> x509.CertificateBuilder:
        own, other = (b"a" * 20, b"b" * 20) if depth % 2 else (b"b" * 20, b"a" * 20)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(other, None, None), critical=False)
        if depth == 0:
            return builder
        builder = builder.add_extension(x509.SubjectKeyIdentifier(own), critical=False)
        return builder.add_extension(x509.BasicConstraints(True, None), critical=True)

    ders = [_issue("CN=x", "CN=CA", key.public_key(), key, extend, 0)]
    ders += [_issue("CN=CA", "CN=CA", key.public_key(), key, extend, depth) for depth in range(1, count + 1)]
    return Dear(tuple(ders), key)


def mailboxes(authorities: int, limits: int, boxes: int) -> Dear:
    """Authorities whose subjects hold mail addresses, which constraints are held against as well."""
    key = ec.generate_private_key(ec.SECP256R1())

    def name(depth: int) -> x509.Name:
        parts = [x509.NameAttribute(NameOID.COMMON_NAME, str(depth))]
        return x509.Name(parts + [x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@b")] * boxes)

    ders = []
    for depth in range(authorities + 1):
        builder = (
            x509.CertificateBuilder().subject_name(name(depth)).issuer_name(name(depth + 1))
            .public_key(key.public_key()).serial_number(depth + 1)
            .not_valid_before(_NOW - _DAY).not_valid_after(_NOW + 60 * _DAY)
        )
        if depth:
            builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
            permitted = x509.NameConstraints([x509.RFC822Name("b")] * limits, None)
            builder = builder.add_extension(permitted, critical=True)
        ders.append(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER))
    return Dear(tuple(ders), key)


def genuine(authorities: int, rsa_bits: int | None = None) -> Dear:
    """A line of authorities that signed each other, of P-256 or of one RSA key."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = key if rsa_bits is None else rsa.generate_private_key(65537, rsa_bits)

    def extend(builder: x509.CertificateBuilder, depth: int) -> x509.CertificateBuilder:
        return builder.add_extension(x509.BasicConstraints(True, None), critical=True) if depth else builder

    publics = [key.public_key(), *[signer.public_key()] * authorities]
    return Dear(
        tuple(_issue(f"CN={at}", f"CN={at + 1}", own, signer, extend, at) for at, own in enumerate(publics)), key
    )


def of_oid(last: int, key_bytes: int, signature_bytes: int, authorities: int) -> Dear:
    """Authorities of a post-quantum algorithm, by the last number of its name (2.16.840.1.101.3.4.3): made-up keys."""
    known = constrained(authorities, 0, 0, 1)
    name = encode(SEQUENCE, encode(_OID, bytes.fromhex("6086480165030403") + bytes((last,))))
    info = encode(SEQUENCE, name + encode(_BITS, b"\0" + random.Random(last).randbytes(key_bytes)))
    ders = []
    for depth, der in enumerate(known.ders):
        fields = list(fields_of(der))
        fields[_SIGNED_BY] = name
        if depth:
            fields[KEY] = info
        body = encode(SEQUENCE, b"".join(fields))
        ders.append(encode(SEQUENCE, body + name + encode(_BITS, b"\0" + bytes(signature_bytes))))
    return Dear(tuple(ders), known.key)


def fields_of(der: bytes) -> Sequence[bytes]:
    """The fields of a TBSCertificate."""
    (outer,) = elements(der)
    body = next(elements(der, outer.content, outer.end))
    return [der[one.start : one.end] for one in elements(der, body.content, body.end)]


def one_dear(extension: x509.ExtensionType) -> Dear:
    """A leaf with one extension that fills OpenSSL's 100 KiB."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = _issue("CN=x", "CN=CA", key.public_key(), key, lambda one, _: one.add_extension(extension, False), 0)
    return Dear((leaf,), key)


Extend = Callable[[x509.CertificateBuilder, int], x509.CertificateBuilder]


def _chain(
    authorities: int, key: Key, extend: Extend,
    public: Callable[[int], rsa.RSAPublicKey] | None = None, signer: Key | rsa.RSAPrivateKey | None = None,
) -> Dear:
    """A leaf and so many authorities above it; one key for all of them, if no other is given."""
    ders = []
    for depth in range(authorities + 1):
        own = key.public_key() if depth == 0 or public is None else public(depth)
        ders.append(_issue(f"CN={depth}", f"CN={depth + 1}", own, signer or key, extend, depth))
    return Dear(tuple(ders), key)


def _issue(
    subject: str, issuer: str, public: Any, signer: Key | rsa.RSAPrivateKey, extend: Extend, depth: int
) -> bytes:
    builder = (
        x509.CertificateBuilder().subject_name(_name(subject)).issuer_name(_name(issuer)).public_key(public)
        .serial_number(depth + 1).not_valid_before(_NOW - _DAY).not_valid_after(_NOW + 60 * _DAY)
    )
    return extend(builder, depth).sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text.removeprefix("CN="))])


def _signed(der: bytes, signature: bytes) -> bytes:
    """The certificate with another signature, whatever its length."""
    certificate = x509.load_der_x509_certificate(der)
    algorithm = bytes.fromhex("300d06092a864886f70d01010b0500")
    return encode(SEQUENCE, certificate.tbs_certificate_bytes + algorithm + encode(_BITS, signature))


CHAINS: dict[str, Callable[[], Dear]] = {
    "one CA, 4000 constraints": lambda: constrained(1, 4000, 0, 10),
    "ten CAs, 1000 constraints each, 1000 names": lambda: constrained(10, 1000, 0, 1000),
    "ten CAs, 600 constraints and 600 names each": lambda: constrained(10, 600, 600, 600),
    "ten CAs, 350 constraints and 1000 names each": lambda: constrained(10, 350, 1000, 1000),
    "ten RSA keys of 16384 bits, exponents of 64": lambda: dear_keys(10, _RSA_BITS, _EXPONENT),
    "ten RSA keys of 3072 bits, exponents as long": lambda: dear_keys(10, _SMALL_RSA_BITS, (1 << 3071) - 1),
    "98 certificates of the issuer's name": lambda: junk(98),
    "30 CAs of P-256": lambda: genuine(30),
    "98 CAs of P-256": lambda: genuine(98),
    "98 CAs of RSA 2048": lambda: genuine(98, 2048),
    "98 CAs, 10 constraints and 10 names each": lambda: constrained(98, 10, 10, 10),
    "98 CAs, 40 constraints and 40 names each": lambda: constrained(98, 40, 40, 40),
    "98 CAs of one name, in two rings": lambda: two_rings(98),
    "20 CAs, 180 constraints and 70 mailboxes each": lambda: mailboxes(20, 180, 70),
    "24 CAs of ML-DSA-44": lambda: of_oid(17, 1312, 2420, 24),
    "3 CAs of ML-DSA-87": lambda: of_oid(19, 2592, 4627, 3),
    "11 CAs of SLH-DSA-SHAKE-128s": lambda: of_oid(26, 32, 7856, 11),
    "4 CAs of SLH-DSA-SHAKE-128f": lambda: of_oid(27, 32, 17088, 4),
    "1 CA of SLH-DSA-SHAKE-256f": lambda: of_oid(31, 64, 49856, 1),
    "a leaf with 10000 names": lambda: one_dear(x509.SubjectAlternativeName([x509.DNSName("a.b.c")] * 10000)),
    "a leaf with 6000 constraints": lambda: one_dear(x509.NameConstraints([x509.DNSName("a.b.c")] * 6000, None)),
    "a leaf with 6000 purposes": lambda: one_dear(x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3.4.5")] * 6000)),
}
GIVEN_UP = frozenset({
    *(name for name in CHAINS if name.startswith("ten ")),
    "98 CAs, 40 constraints and 40 names each", "20 CAs, 180 constraints and 70 mailboxes each",
})
"""The chains that cost so much that verifying them is broken off."""

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
