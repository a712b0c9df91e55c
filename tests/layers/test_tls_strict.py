"""Strict readers: our rules and OpenSSL's with X509_V_FLAG_X509_STRICT agree, chain by chain."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import combinations
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto

from fleetprobe.layers.tls.certificate import Certificate, read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.hygiene import untidy
from fleetprobe.layers.tls.strict import WHY
from fleetprobe.net.der import SEQUENCE, elements, encode
from fleetprobe.net.handshake import Handshake
from tests.lab.conftest import require_program

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
DROPPED = frozenset({88, 89}) if SSL.OPENSSL_VERSION_NUMBER >= 0x40000000 else frozenset()
"""By OpenSSL 4."""
ROOT, LOWER, LEAF = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))


@dataclass(frozen=True, kw_only=True)
class Made:
    """One certificate to be made; every field but the first is a whim of its issuer."""

    is_ca: bool
    subject: str | None = "leaf.test"
    basic: bool = True
    basic_critical: bool = True
    path_length: int | None = None
    usage: bool = True
    signs: bool | None = None
    key_id: bool = True
    issuer_key_id: bool = True
    names: tuple[str, ...] | None = ()
    names_critical: bool = False
    version: int = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    """A chain of three, the middle one and the leaf as told; the root is trusted."""

    lower: Made = field(default_factory=lambda: Made(is_ca=True, subject="Lower"))
    leaf: Made = field(default_factory=lambda: Made(is_ca=False, names=("leaf.test",)))
    root: Made = field(default_factory=lambda: Made(is_ca=True, subject="Root"))


def make(made: Made, key: ec.EllipticCurvePrivateKey, issuer: Made, signer: ec.EllipticCurvePrivateKey) -> bytes:
    builder = (
        x509.CertificateBuilder().subject_name(named(made)).issuer_name(named(issuer)).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(NOW - DAY).not_valid_after(NOW + 60 * DAY)
    )
    for extension, critical in extensions(made, key, signer):
        builder = builder.add_extension(extension, critical)
    made_der = builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.DER)
    return made_der if made.version == 3 else of_version_1(made_der, signer)


def of_version_1(der: bytes, signer: ec.EllipticCurvePrivateKey) -> bytes:
    """The same without its version, and signed anew."""
    body = x509.load_der_x509_certificate(der).tbs_certificate_bytes
    (outer,) = elements(body)
    version, *rest = elements(body, outer.content)
    assert body[version.start : version.end] == bytes.fromhex("a003020102")
    bare = encode(SEQUENCE, body[version.end :])
    algorithm = body[rest[1].start : rest[1].end]
    return encode(SEQUENCE, bare + algorithm + encode(0x03, b"\0" + signer.sign(bare, ec.ECDSA(hashes.SHA256()))))


def named(made: Made) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, made.subject)] if made.subject else [])


def extensions(
    made: Made, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if made.basic:
        yield x509.BasicConstraints(made.is_ca, made.path_length if made.is_ca else None), made.basic_critical
    if made.usage:
        signs = made.is_ca if made.signs is None else made.signs
        yield x509.KeyUsage(True, False, False, False, False, signs, signs, False, False), True
    if made.key_id:
        yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
    if made.issuer_key_id:
        stated = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        yield stated, False
    if made.names:
        yield x509.SubjectAlternativeName([x509.DNSName(name) for name in made.names]), made.names_critical
    elif made.names == () and not made.is_ca:
        yield x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x00"), made.names_critical


def chain(case: Case) -> tuple[bytes, bytes, bytes]:
    """Leaf first."""
    return (
        make(case.leaf, LEAF, case.lower, LOWER), make(case.lower, LOWER, case.root, ROOT),
        make(case.root, ROOT, case.root, ROOT),
    )


def by_openssl(ders: tuple[bytes, ...], flags: int) -> tuple[int, int] | None:
    """The first error and its depth."""
    leaf, *above = (crypto.load_certificate(crypto.FILETYPE_ASN1, der) for der in ders)
    store = crypto.X509Store()
    store.add_cert(above[-1])
    store.set_flags(flags)
    try:
        crypto.X509StoreContext(store, leaf, above[:-1]).verify_certificate()
    except crypto.X509StoreContextError as no:
        return int(no.errors[0]), int(no.errors[1])
    return None


def all_by_us(ders: tuple[bytes, ...]) -> list[tuple[int, int]]:
    path = tuple(read(der) for der in ders)
    assert all(isinstance(one, Certificate) for one in path)
    seen = Handshake(started_s=0.0, ended_s=0.1, chain_der=ders, path_der=ders)
    facts = TlsFacts("203.0.113.9:443", "leaf.test", seen, path, 1.0, path=path)
    told = [one for one in untidy(facts) if one.code == "tls.pedantic"]
    if not told:
        return []
    listed = told[0].facts["strict"]
    assert WHY[listed[0]["code"]] in told[0].summary
    return [(one["code"], one["depth"]) for one in listed]


def by_us(ders: tuple[bytes, ...], dropped: frozenset[int] = DROPPED) -> tuple[int, int] | None:
    """The first that this OpenSSL could tell, too."""
    return next((one for one in all_by_us(ders) if one[0] not in dropped), None)


def by_program(ders: tuple[bytes, ...], where: Path) -> tuple[int, int] | None:
    """The first error of the openssl program."""
    for name, der in zip(("leaf", "lower", "root"), ders, strict=True):
        (where / name).write_text(ssl.DER_cert_to_PEM_cert(der))
    command = ["openssl", "verify", "-x509_strict", "-CAfile", "root", "-untrusted", "lower", "leaf"]
    said = subprocess.run(command, cwd=where, capture_output=True, text=True, timeout=30, check=False)
    told = re.search(r"error (\d+) at (\d+) depth", said.stderr + said.stdout)
    assert told or "leaf: OK" in said.stdout
    return (int(told[1]), int(told[2])) if told else None


WHIMS: Mapping[str, Case] = {
    "none": Case(),
    "leaf: no issuer key id": Case(leaf=Made(is_ca=False, names=("leaf.test",), issuer_key_id=False)),
    "leaf: no key id": Case(leaf=Made(is_ca=False, names=("leaf.test",), key_id=False)),
    "leaf: no basic constraints": Case(leaf=Made(is_ca=False, names=("leaf.test",), basic=False)),
    "leaf: basic constraints not critical": Case(leaf=Made(is_ca=False, names=("leaf.test",), basic_critical=False)),
    "leaf: no usage": Case(leaf=Made(is_ca=False, names=("leaf.test",), usage=False)),
    "leaf: signs and is no CA": Case(leaf=Made(is_ca=False, names=("leaf.test",), signs=True)),
    "leaf: no names": Case(leaf=Made(is_ca=False, names=None)),
    "leaf: an empty list of names": Case(leaf=Made(is_ca=False, names=())),
    "leaf: no subject": Case(leaf=Made(is_ca=False, subject=None, names=("leaf.test",))),
    "leaf: no subject, critical names": Case(
        leaf=Made(is_ca=False, subject=None, names=("leaf.test",), names_critical=True)
    ),
    "leaf: no subject, no names": Case(leaf=Made(is_ca=False, subject=None, names=None)),
    "lower: no issuer key id": Case(lower=Made(is_ca=True, subject="Lower", issuer_key_id=False)),
    "lower: no key id": Case(lower=Made(is_ca=True, subject="Lower", key_id=False)),
    "lower: basic constraints not critical": Case(lower=Made(is_ca=True, subject="Lower", basic_critical=False)),
    "lower: no usage": Case(lower=Made(is_ca=True, subject="Lower", usage=False)),
    "lower: path length without usage": Case(lower=Made(is_ca=True, subject="Lower", usage=False, path_length=0)),
    "lower: a CA by its usage alone": Case(lower=Made(is_ca=True, subject="Lower", basic=False)),
    "root: no issuer key id": Case(root=Made(is_ca=True, subject="Root", issuer_key_id=False)),
    "root: no key id": Case(root=Made(is_ca=True, subject="Root", key_id=False)),
    "root: basic constraints not critical": Case(root=Made(is_ca=True, subject="Root", basic_critical=False)),
    "root: no usage": Case(root=Made(is_ca=True, subject="Root", usage=False)),
    "root: version 1": Case(
        root=Made(is_ca=True, subject="Root", version=1, basic=False, usage=False, key_id=False, issuer_key_id=False)
    ),
    "leaf: version 1 with extensions": Case(leaf=Made(is_ca=False, names=("leaf.test",), version=1)),
    "lower: names no issuer": Case(root=Made(is_ca=True, subject=None)),
    "root: a CA by its usage alone": Case(root=Made(is_ca=True, subject="Root", basic=False)),
}


@pytest.mark.parametrize("case", WHIMS.values(), ids=WHIMS)
def test_we_say_what_strict_openssl_says(case: Case) -> None:
    ders = chain(case)
    if by_openssl(ders, 0) is None:
        assert by_us(ders) == by_openssl(ders, crypto.X509StoreFlags.X509_STRICT)


def test_most_of_the_chains_verify_as_usual_and_fail_strictly() -> None:
    """Otherwise the comparison above would be one of nothing with nothing."""
    ders = [chain(case) for case in WHIMS.values()]
    assert sum(by_openssl(one, 0) is None for one in ders) >= 22
    strict = {by_openssl(one, crypto.X509StoreFlags.X509_STRICT) for one in ders if by_openssl(one, 0) is None}
    assert {one[0] for one in strict if one} >= {79, 81, 82, 83, 84, 85, 86, 87, 92, 93}
    assert {number for one in ders for number, _ in all_by_us(one)} == set(WHY)


@pytest.mark.parametrize("case", WHIMS.values(), ids=WHIMS)
def test_we_say_what_the_strict_program_says_be_it_older_than_our_library(case: Case, tmp_path: Path) -> None:
    require_program("openssl")
    ders = chain(case)
    version = subprocess.run(["openssl", "version"], capture_output=True, text=True, timeout=30, check=True).stdout
    dropped = frozenset() if version.startswith("OpenSSL 3") else frozenset({88, 89})
    if by_openssl(ders, 0) is None:
        assert by_us(ders, dropped) == by_program(ders, tmp_path)


@pytest.mark.parametrize("pair", list(combinations(["leaf", "lower", "root"], 2)), ids="-".join)
def test_two_whims_at_once_are_told_in_the_same_order(pair: tuple[str, str]) -> None:
    for one in WHIMS.values():
        for other in WHIMS.values():
            both = replace(Case(), **{pair[0]: getattr(one, pair[0]), pair[1]: getattr(other, pair[1])})
            ders = chain(both)
            if by_openssl(ders, 0) is None:
                assert by_us(ders) == by_openssl(ders, crypto.X509StoreFlags.X509_STRICT)


def test_an_ordinary_chain_of_two_with_a_sloppy_private_root_is_told_once() -> None:
    case = Case(lower=Made(is_ca=True, subject="Lower", issuer_key_id=False, usage=False, basic_critical=False))
    ders = chain(case)
    assert all_by_us(ders) == [(89, 1), (92, 1), (85, 1)]
