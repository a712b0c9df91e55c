"""Reading certificates of strangers, and comparing their names with the one that was asked."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import crypto

from fleetprobe.layers.tls import certificate
from fleetprobe.layers.tls.certificate import Certificate, Malformed, read
from fleetprobe.layers.tls.chain import walk, weak_key, weak_signature
from fleetprobe.layers.tls.names import Mismatch, canonical, covers, mismatch
from tests.lab.conftest import require_program

FROM = datetime(2026, 1, 1, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def made(
    key: Key | None = None,
    *,
    common_name: str = "shop.test",
    issuer: str = "Lab CA",
    names: tuple[x509.GeneralName, ...] = (),
    broken: tuple[x509.ObjectIdentifier, ...] = (),
    value: bytes = b"\xff\xff",
    valid_now: bool = False,
) -> bytes:
    """The DER of a certificate; `broken` names extensions that have this value, which of itself is no DER at all."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.now(UTC) - timedelta(days=1) if valid_now else FROM)
        .not_valid_after(datetime.now(UTC) + timedelta(days=1) if valid_now else FROM + timedelta(days=90))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for oid in broken:
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(Encoding.DER)


def good(der: bytes) -> Certificate:
    one = read(der)
    assert isinstance(one, Certificate)
    return one


def trusted(key: Key) -> x509.Certificate:
    """An issuer that a store may hold."""
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Lab CA")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(9).not_valid_before(now - timedelta(days=1))
    builder = builder.not_valid_after(now + timedelta(days=9))
    return builder.add_extension(x509.BasicConstraints(True, None), critical=True).sign(key, hashes.SHA256())


ISSUER_KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = trusted(ISSUER_KEY)
DNS = x509.DNSName
ONE, OTHER = x509.ObjectIdentifier("1.3.6.1.4.1.1"), x509.ObjectIdentifier("1.3.6.1.4.1.2")
TWICE = made(broken=(ONE, OTHER)).replace(b"\x2b\x06\x01\x04\x01\x02", b"\x2b\x06\x01\x04\x01\x01")
NAMES_TWICE = made(names=(DNS("shop.test"),), broken=(x509.IssuerAlternativeName.oid,)).replace(
    b"\x06\x03\x55\x1d\x12", b"\x06\x03\x55\x1d\x11"
)
SAMPLE = made(names=(DNS("shop.test"), x509.IPAddress(ip_address("2001:db8::1"))))


def test_the_fields_are_those_of_the_certificate() -> None:
    one = good(SAMPLE)
    assert one.record() == {
        "sha256": one.sha256,
        "subject": "CN=shop.test",
        "issuer": "CN=Lab CA",
        "not_before": "2026-01-01T00:00:00Z",
        "not_after": "2026-04-01T00:00:00Z",
        "san": ["shop.test", "2001:db8::1"],
        "san_count": 2,
        "key_type": "EC",
        "key_bits": 256,
        "signature_hash": "sha256",
        "is_ca": False,
        "self_signed": False,
    }
    assert len(one.sha256) == 64
    assert one.sha256.upper() == one.sha256


def test_key_types_are_named_and_short_ones_weak() -> None:
    short = good(made(rsa.generate_private_key(65537, 1024)))
    modern = good(made(ed25519.Ed25519PrivateKey.generate()))
    small = good(made(ec.generate_private_key(ec.SECP192R1())))
    assert (short.key_type, short.key_bits, weak_key(short)) == ("RSA", 1024, "RSA key of 1024 bits")
    assert (modern.key_type, modern.key_bits, modern.signature_hash, weak_key(modern)) == (
        "Ed25519", None, None, None,
    )  # fmt: skip
    assert weak_key(small) == "EC key of 192 bits"


@pytest.mark.parametrize("digest", ["sha1", "md5"])
def test_an_old_root_signed_itself_with_a_hash_that_nobody_relies_on(digest: str, tmp_path: Path) -> None:
    require_program("openssl")
    made_by = ["openssl", "req", "-x509", f"-{digest}", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Old Root"]
    files = ["-keyout", str(tmp_path / "key"), "-outform", "DER", "-out", str(tmp_path / "der")]
    subprocess.run([*made_by, "-days", "9", *files], check=True, capture_output=True, timeout=30)
    root = good((tmp_path / "der").read_bytes())
    assert (root.signature_hash, root.self_signed, weak_signature(root)) == (digest, True, None)


def test_self_signed_needs_the_signature_and_not_only_the_name() -> None:
    assert good(made(issuer="shop.test")).self_signed
    first, second = (trustme.CA(organization_name="Same", organization_unit_name="Same") for _ in range(2))
    root = x509.load_pem_x509_certificate(first.cert_pem.bytes())
    assert good(root.public_bytes(Encoding.DER)).self_signed
    assert good(root.public_bytes(Encoding.DER)).is_ca
    key = ec.generate_private_key(ec.SECP256R1())
    alien = (
        x509.CertificateBuilder()
        .subject_name(root.subject)
        .issuer_name(root.subject)
        .public_key(key.public_key())
        .serial_number(2)
        .not_valid_before(FROM)
        .not_valid_after(FROM + timedelta(days=1))
        .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    )
    assert not good(alien.public_bytes(Encoding.DER)).self_signed
    assert second.cert_pem.bytes() != first.cert_pem.bytes()


@pytest.mark.parametrize(
    ("der", "field"),
    [
        (b"", "certificate"),
        (SAMPLE[:-40], "certificate"),
        (made(broken=(x509.SubjectAlternativeName.oid,)), "subject_alternative_name"),
        (NAMES_TWICE, "subject_alternative_name"),
    ],
    ids=["nothing", "cut", "alternative names that are no DER", "alternative names twice"],
)
def test_what_cannot_be_read_is_a_value_that_names_the_field(der: bytes, field: str) -> None:
    one = read(der)
    assert isinstance(one, Malformed)
    assert one.field == field
    assert one.record()["malformed"] == field


NEEDED: dict[x509.ObjectIdentifier, str] = {
    x509.BasicConstraints.oid: "basic_constraints",
    x509.KeyUsage.oid: "key_usage",
    x509.ExtendedKeyUsage.oid: "extended_key_usage",
    x509.SubjectKeyIdentifier.oid: "subject_key_identifier",
    x509.AuthorityKeyIdentifier.oid: "authority_key_identifier",
    x509.NameConstraints.oid: "name_constraints",
    x509.CRLDistributionPoints.oid: "crl_distribution_points",
}
NOT_NEEDED = (
    x509.AuthorityInformationAccess.oid, x509.CertificatePolicies.oid, x509.TLSFeature.oid,
    x509.IssuerAlternativeName.oid, x509.PrecertificateSignedCertificateTimestamps.oid, x509.InhibitAnyPolicy.oid,
    x509.PolicyConstraints.oid,
)


def rejection(der: bytes) -> int | None:
    """OpenSSL's number for a leaf whose issuer is trusted."""
    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(ISSUER))
    try:
        crypto.X509StoreContext(store, crypto.load_certificate(crypto.FILETYPE_ASN1, der)).verify_certificate()
    except crypto.X509StoreContextError as no:
        return int(no.errors[0])
    return None


@pytest.mark.parametrize("oid", NEEDED, ids=NEEDED.values())
def test_an_extension_that_openssl_needs_is_told_when_it_is_broken_and_the_rest_is_read(
    oid: x509.ObjectIdentifier,
) -> None:
    der = made(ISSUER_KEY, issuer="Lab CA", names=(DNS("shop.test"),), broken=(oid,), valid_now=True)
    one = good(der)
    assert (one.unread, one.dns_names, one.subject) == ((NEEDED[oid],), ("shop.test",), "CN=shop.test")
    assert one.record()["unread"] == [NEEDED[oid]]
    assert rejection(der) == 20


@pytest.mark.parametrize("oid", NOT_NEEDED, ids=str)
def test_an_odd_extension_that_nobody_needs_condemns_no_certificate(oid: x509.ObjectIdentifier) -> None:
    der = made(ISSUER_KEY, issuer="Lab CA", names=(DNS("shop.test"),), broken=(oid,), valid_now=True)
    one = good(der)
    assert (one.unread, one.dns_names, one.must_staple) == ((), ("shop.test",), False)
    assert rejection(der) is None


def test_what_is_twice_there_and_not_needed_is_passed_over() -> None:
    assert good(TWICE).unread == ()


@pytest.mark.parametrize(
    ("value", "names", "addresses"),
    [
        ("300a820678 2e74657374 8700", ("x.test",), ()),
        ("300a 8203ff2e74 8203612e74", (r"\xff.t", "a.t"), ()),
        ("300d 8703010203 8704c0000201 8200", ("",), ("192.0.2.1",)),
        ("3000", (), ()),
    ],
    ids=["an address of no bytes", "a name in no alphabet", "an address of three bytes", "nothing"],
)
def test_an_odd_alternative_name_does_not_hide_the_others(
    value: str, names: tuple[str, ...], addresses: tuple[str, ...]
) -> None:
    oid = x509.SubjectAlternativeName.oid
    der = made(ISSUER_KEY, issuer="Lab CA", broken=(oid,), value=bytes.fromhex(value), valid_now=True)
    one = good(der)
    assert (one.dns_names, one.ip_addresses) == (names, addresses)
    assert rejection(der) is None


def test_a_name_that_has_no_text_is_told_by_its_bytes() -> None:
    odd = made(common_name="odd.test").replace(b"\x0c\x08odd.test", b"\x0c\x08odd.\xff\xff\xff\xff")
    one = good(odd)
    assert one.subject.startswith("#30")
    assert bytes.fromhex(one.subject[1:]).endswith(b"odd.\xff\xff\xff\xff")
    assert (one.issuer, one.common_name) == ("CN=Lab CA", None)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255), st.booleans())
def test_no_mutation_of_a_certificate_raises(position: int, value: int, cut: bool) -> None:
    mutant = bytearray(SAMPLE)
    mutant[position] = value
    one = read(bytes(mutant[: position + 1] if cut else mutant))
    assert one.record(4)["sha256"] == one.sha256


def test_small_certificates_are_remembered_and_large_ones_are_not() -> None:
    large = made(names=tuple(DNS(f"host-{number}.test") for number in range(1000)))
    assert read(SAMPLE) is read(SAMPLE)
    assert read(large) is not read(large)
    assert certificate._remembered.cache_info().maxsize == 1024


def read_with(name: str) -> Certificate:
    """A certificate with a name as no authority should write it: not in A-labels."""
    return replace(good(SAMPLE), dns_names=(name,), ip_addresses=())


def test_letters_beyond_ascii_in_an_alternative_name_are_read_as_they_stand() -> None:
    name = "straße.test".encode()
    value = bytes((0x30, len(name) + 2, 0x82, len(name))) + name
    assert good(made(broken=(x509.SubjectAlternativeName.oid,), value=value)).dns_names == ("straße.test",)


@pytest.mark.parametrize("asked", ["shop.test", "a.dot.test"])
def test_openssl_takes_no_name_with_a_trailing_dot_either(asked: str, tmp_path: Path) -> None:
    require_program("openssl")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(tmp_path / "key")]
    names = "subjectAltName=DNS:shop.test.,DNS:*.dot.test.,DNS:good.test"
    made_by = ["openssl", "req", "-x509", *key, "-subj", "/CN=x", "-addext", names, "-days", "9"]
    file = str(tmp_path / "pem")
    subprocess.run([*made_by, "-out", file], check=True, capture_output=True, timeout=30)
    said = {
        name: subprocess.run(
            ["openssl", "verify", "-CAfile", file, "-verify_hostname", name, file], capture_output=True, timeout=30,
            check=False,
        ).returncode == 0
        for name in (asked, "good.test")
    }
    assert said == {asked: False, "good.test": True}


def named(*names: str, common_name: str = "cn.test", addresses: tuple[str, ...] = ()) -> Certificate:
    general = (*(DNS(name) for name in names), *(x509.IPAddress(ip_address(one)) for one in addresses))
    return good(made(common_name=common_name, names=general))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("shop.test", "shop.test"),
        ("SHOP.Test", "shop.test"),
        ("*.shop.test", "a.shop.test"),
        ("*.shop.test", "xn--bcher-kva.shop.test"),
        ("my_host.shop.test", "my_host.shop.test"),
        ("localhost", "localhost"),
    ],
)
def test_names_that_cover(pattern: str, name: str) -> None:
    assert covers(pattern, canonical(name))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*.shop.test", "shop.test"),
        ("*.shop.test", "a.b.shop.test"),
        ("*.shop.test", ".shop.test"),
        ("*.test", "shop.test"),
        ("*", "localhost"),
        ("*.", "localhost"),
        ("w*.shop.test", "www.shop.test"),
        ("www.*.test", "www.shop.test"),
        ("*.*.test", "a.shop.test"),
        ("", "shop.test"),
        ("shop.test", "shop.test.evil"),
        ("shop.test.", "shop.test"),
        ("*.shop.test.", "a.shop.test"),
    ],
)
def test_names_that_do_not_cover(pattern: str, name: str) -> None:
    assert not covers(pattern, canonical(name))


@pytest.mark.parametrize(
    ("one", "asked", "expected"),
    [
        (named("shop.test"), "SHOP.test.", None),
        (named(addresses=("192.0.2.1",)), "192.0.2.1", None),
        (named(addresses=("2001:db8::1",)), "2001:DB8:0::1", None),
        (named(addresses=("fe80::1",)), "fe80::1%eth0", None),
        (named("a.test", "b.test"), "c.test", Mismatch("not_in_san", ("a.test", "b.test"))),
        (named("*.c.test", "b.test"), "c.test", Mismatch("wildcard_does_not_cover_apex", ("*.c.test",))),
        (named("*.c.test"), "x.y.c.test", Mismatch("wildcard_covers_one_label", ("*.c.test",))),
        (named("*.test"), "c.test", Mismatch("wildcard_too_wide", ("*.test",))),
        (named("w*.c.test"), "www.c.test", Mismatch("partial_wildcard", ("w*.c.test",))),
        (named("192.0.2.1"), "192.0.2.1", Mismatch("ip_in_dns_san", ("192.0.2.1",))),
        (
            named("c.test", addresses=("192.0.2.2",)),
            "192.0.2.1",
            Mismatch("ip_not_in_san", ("c.test", "192.0.2.2")),
        ),
        (named("a.test", "c.test."), "c.test", Mismatch("trailing_dot", ("c.test.",))),
        (named("*.c.test."), "a.c.test", Mismatch("trailing_dot", ("*.c.test.",))),
        (named("a.test", "c.test"), "www.c.test", Mismatch("www", ("c.test",))),
        (named("a.test", "WWW.c.test"), "c.test", Mismatch("www", ("WWW.c.test",))),
        (read_with("straße.test"), "xn--strae-oqa.test", Mismatch("idna", ("straße.test",))),
        (read_with("*.BÜCHER.test"), "a.xn--bcher-kva.test", Mismatch("idna", ("*.BÜCHER.test",))),
        (read_with("büro.test"), "xn--bcher-kva.test", Mismatch("not_in_san", ("büro.test",))),
        (read_with("\ufffe.test"), "xn--bcher-kva.test", Mismatch("not_in_san", ("\ufffe.test",))),
        (named("strasse.test"), "xn--strae-oqa.test", Mismatch("idna", ("strasse.test",))),
        (named("xn--strae-oqa.test"), "xn--strae-oqa.test", None),
        (named("a.test"), "xn--not-a-label-.test", Mismatch("not_in_san", ("a.test",))),
        (named(common_name="c.test"), "c.test", Mismatch("cn_only", ("c.test",))),
        (named(common_name="*.c.test"), "a.c.test", Mismatch("cn_only", ("*.c.test",))),
        (named(common_name="d.test"), "c.test", Mismatch("no_san", ())),
    ],
)
def test_a_mismatch_says_how_near_it_came(one: Certificate, asked: str, expected: Mismatch | None) -> None:
    assert mismatch(one, asked) == expected


def test_the_walk_follows_issuers_from_the_leaf_whatever_the_order_and_ends() -> None:
    leaf, low, high = (
        good(made(common_name=own, issuer=by)) for own, by in [("l", "low"), ("low", "high"), ("high", "low")]
    )
    stranger = good(made(common_name="x", issuer="y"))
    assert walk((leaf, stranger, high, Malformed(sha256="", field=""), low, low)) == (leaf, low, high)
    assert walk((Malformed(sha256="", field=""), low)) == ()
    assert walk(()) == ()
