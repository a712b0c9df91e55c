"""Every chain of the lab over real sockets: what OpenSSL says of it, the path it builds, and what is told."""

from __future__ import annotations

import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from fleetprobe.lab.chains import Authority, Chain, World, chain, make_world
from fleetprobe.lab.issue import Issued, Rights, Use, issue_authority, issue_leaf
from fleetprobe.lab.scenario import Certificate as Kind
from fleetprobe.layers.tls.certificate import Certificate, read
from fleetprobe.net.handshake import CHAIN_BYTES
from tests.net.test_tls_live import NOW, climb, echo, serving, speaking_tls

USE = Use(names=("shop.test",))

SHOWN: dict[Kind, tuple[tuple[tuple[int, int], ...], str, list[str | None]]] = {
    Kind.GOOD: ((), "01R", [None]),
    Kind.LONG: ((), "01R", [None]),
    Kind.DEEP: ((), "012R", [None]),
    Kind.WRONG_ORDER: ((), "021R", [None, "tls.wrong_order"]),
    Kind.EXTRA: ((), "01R", [None, "tls.extra_certs"]),
    Kind.DUPLICATE: ((), "01R", [None, "tls.duplicate_certs"]),
    Kind.ROOT_SENT: ((), "012", [None, "tls.root_sent"]),
    Kind.CROSS_SIGN: ((), "01R", [None, "tls.cross_sign"]),
    Kind.EXPIRING: ((), "01R", [None, "tls.expiring"]),
    Kind.EXPIRING_ISSUER: ((), "01R", [None, "tls.expiring"]),
    Kind.MUST_STAPLE: ((), "01R", [None, "tls.must_staple"]),
    Kind.MANY_NAMES: ((), "01R", [None]),
    Kind.PEDANTIC: ((), "01R", [None, "tls.pedantic"]),
    Kind.EXPIRED: (((10, 0),), "01R", ["tls.expired"]),
    Kind.NOT_YET_VALID: (((9, 0),), "01R", ["tls.not_yet_valid"]),
    Kind.WRONG_NAME: ((), "01R", ["tls.name_mismatch"]),
    Kind.SELF_SIGNED: (((18, 0),), "0", ["tls.self_signed"]),
    Kind.UNTRUSTED_ROOT: (((19, 2),), "012", ["tls.untrusted_root"]),
    Kind.UNKNOWN_ISSUER: (((20, 0), (21, 0)), "0", ["tls.issuer_unknown"]),
    Kind.MISSING_INTERMEDIATE: (((20, 0), (21, 0)), "0", ["tls.issuer_unknown"]),
    Kind.HIDDEN_ISSUER: (((20, 0), (21, 0)), "0", ["tls.issuer_unknown"]),
    Kind.MISSING_UPPER: (((20, 1),), "01", ["tls.issuer_unknown"]),
    Kind.MISSING_BOTH: (((20, 0), (21, 0)), "0", ["tls.issuer_unknown"]),
    Kind.ROOT_NOT_SENT: (((20, 1),), "01", ["tls.issuer_unknown"]),
    Kind.EXPIRED_ISSUER: (((10, 1),), "01R", ["tls.expired"]),
    Kind.INTERCEPTED: (((20, 1),), "01", ["tls.issuer_unknown"]),
    Kind.BAD_SIGNATURE: (((7, 0),), "01R", ["tls.bad_signature"]),
    Kind.REKEYED: (((20, 0), (21, 0)), "0", ["tls.bad_signature"]),
    Kind.ISSUER_NOT_CA: (((79, 1), (26, 1), (25, 2), (32, 1)), "012R", ["tls.issuer_not_ca"]),
    Kind.PATH_LENGTH: (((25, 2),), "012R", ["tls.path_length"]),
    Kind.NAME_CONSTRAINT: (((47, 0),), "01R", ["tls.name_constraint"]),
    # It may certify names below lab.test, and shop.test is none.
    Kind.CONSTRAINED: (((47, 0),), "01R", ["tls.name_constraint"]),
    Kind.WRONG_USAGE: (((26, 0),), "01R", ["tls.wrong_usage"]),
}
"""Errors of OpenSSL, the path it builds by positions presented (R: the root of the store), and the codes."""

NOT_READ = {Kind.OVERSIZE}
"""Of these no certificate is known, and no path."""


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(NOW)


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory, world: World) -> str:
    path = tmp_path_factory.mktemp("trust") / "root.pem"
    path.write_bytes(world.trusted.root.certificate.public_bytes(Encoding.PEM))
    return str(path)


def pem(made: Chain) -> bytes:
    key = made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return key + b"".join(one.public_bytes(Encoding.PEM) for one in made.certificates)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def test_every_kind_of_the_lab_is_shown() -> None:
    assert {*SHOWN, *NOT_READ} == set(Kind)


@pytest.mark.parametrize("kind", SHOWN)
def test_each_chain_is_judged_by_openssl_and_explained(
    kind: Kind, tmp_path: Path, trusted: str, world: World
) -> None:
    errors, positions, expected = SHOWN[kind]
    made = chain(kind, USE, world)
    with serving(speaking_tls(pem(made), tmp_path, echo)) as port:
        facts, codes = climb(port, trusted)
    presented = tuple(map(der, made.certificates))
    assert facts.handshake.verify_errors == errors
    assert facts.handshake.chain_der == presented
    known = {**dict(zip(map(str, range(len(presented))), presented, strict=True)),
             "R": der(world.trusted.root.certificate)}
    assert facts.handshake.path_der == tuple(known[at] for at in positions)
    assert codes == expected


def test_an_issuer_passed_over_is_told_with_the_key_that_was_wanted(
    tmp_path: Path, trusted: str, world: World
) -> None:
    made = chain(Kind.REKEYED, USE, world)
    with serving(speaking_tls(pem(made), tmp_path, echo)) as port:
        facts, _ = climb(port, trusted)
    leaf, stale = (read(der(one)) for one in made.certificates)
    assert isinstance(leaf, Certificate)
    assert isinstance(stale, Certificate)
    (trial,) = facts.trials
    assert (trial.child_sha256, trial.issuer_sha256, trial.fits) == (leaf.sha256, stale.sha256, False)
    record = facts.record()
    assert record["path_sha256"] == [leaf.sha256]
    assert "trust_anchor" not in record


def test_the_anchor_that_nobody_presented_is_in_the_facts(tmp_path: Path, trusted: str, world: World) -> None:
    with serving(speaking_tls(pem(chain(Kind.GOOD, USE, world)), tmp_path, echo)) as port:
        facts, _ = climb(port, trusted)
    anchor = facts.record()["trust_anchor"]
    assert anchor["subject"] == "CN=Lab Root CA"
    assert anchor["sha256"] == facts.record()["path_sha256"][-1]
    assert anchor["sha256"] not in facts.record()["chain_sha256"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_chain_above_what_openssl_reads_is_told_by_its_bytes(
    version: ssl.TLSVersion, tmp_path: Path, trusted: str, world: World
) -> None:
    path = tmp_path / "server.pem"
    path.write_bytes(pem(chain(Kind.OVERSIZE, USE, world)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(path)

    def script(peer: socket.socket) -> None:
        context.wrap_socket(peer, server_side=True)

    with serving(script) as port:
        facts, codes = climb(port, trusted)
    assert codes == ["tls.chain_oversize"]
    assert (2, 47) in facts.handshake.alerts_sent
    assert facts.handshake.bytes_received >= CHAIN_BYTES
    assert facts.handshake.chain_der == ()


def authorities(count: int, world: World) -> tuple[Issued, ...]:
    """Root's side first."""
    above = [world.trusted.root]
    for number in range(count):
        above.append(issue_authority(f"Lab CA {number}", above[-1], world.long_life, Rights()))
    return tuple(above[1:])


def test_a_chain_of_more_authorities_than_we_follow_is_told_as_such(tmp_path: Path, trusted: str) -> None:
    endless = make_world(NOW)
    root = issue_authority("Lab Root CA", None, endless.long_life, Rights())
    endless = replace(endless, trusted=Authority(root, endless.trusted.intermediate))
    trust = tmp_path / "root.pem"
    trust.write_bytes(root.certificate.public_bytes(Encoding.PEM))
    for count, expected in ((30, [None]), (100, [None]), (101, ["tls.chain_oversize"])):
        above = authorities(count, endless)
        leaf = issue_leaf("shop.test", above[-1], endless.life, USE)
        made = Chain(tuple(one.certificate for one in (leaf, *reversed(above))), leaf.key)
        with serving(speaking_tls(pem(made), tmp_path, echo)) as port:
            facts, codes = climb(port, str(trust))
        assert codes == expected
        assert (22 in {code for code, _ in facts.handshake.verify_errors}) == (count > 100)
