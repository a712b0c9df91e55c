"""The graph of one presented chain: how the path runs through it, and who signed the certificate OpenSSL stopped at."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.lab.chains import World, chain, make_world
from fleetprobe.lab.issue import Rights, Use, issue_authority
from fleetprobe.lab.scenario import Certificate as Kind
from fleetprobe.layers.tls import certificate, graph, signature
from fleetprobe.layers.tls.certificate import Certificate, Malformed, Read, read
from fleetprobe.layers.tls.graph import MOST_TRIALS, Shape, Trial, lay, same_name, stopped_at, try_issuers
from fleetprobe.layers.tls.signature import signed_by

NOW = datetime(2026, 6, 1, tzinfo=UTC)
USE = Use(names=("x.lab.test",))


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(NOW)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def readable(der_bytes: bytes) -> Certificate:
    found = read(der_bytes)
    assert isinstance(found, Certificate)
    return found


@pytest.mark.parametrize(
    ("presented", "path", "shape", "in_order"),
    [
        ("LI", "LIR", Shape((0, 1, None), (), ()), True),
        ("LIR", "LIR", Shape((0, 1, 2), (), ()), True),
        ("LRI", "LIR", Shape((0, 2, 1), (), ()), False),
        ("LXI", "LIR", Shape((0, 2, None), (), (1,)), True),
        ("LIIL", "LIR", Shape((0, 1, None), (2, 3), ()), True),
        ("LXXI", "LIR", Shape((0, 3, None), (2,), (1,)), True),
        ("LPI", "LIPR", Shape((0, 2, 1, None), (), ()), False),
        ("L", "L", Shape((0,), (), ()), True),
        ("", "", Shape((), (), ()), True),
    ],
)
def test_the_path_is_laid_over_what_was_presented(presented: str, path: str, shape: Shape, in_order: bool) -> None:
    assert lay(tuple(presented), tuple(path)) == shape
    assert shape.in_order == in_order


@given(st.lists(st.sampled_from("ABCDEF"), max_size=12), st.lists(st.sampled_from("ABCDEFXY"), max_size=6, unique=True))
def test_every_presented_certificate_is_in_the_path_repeated_or_unused(presented: list[str], path: list[str]) -> None:
    shape = lay(presented, path)
    used = {position for position in shape.positions if position is not None}
    groups = (used, set(shape.repeated), set(shape.unused))
    assert sorted(position for group in groups for position in group) == list(range(len(presented)))
    assert [presented[at] if at is not None else None for at in shape.positions] == [
        name if name in presented else None for name in path
    ]


def test_names_are_compared_without_case_and_runs_of_blanks() -> None:
    assert same_name("CN=Lab  Root CA", "cn=lab root ca")
    assert not same_name("CN=Lab Root CA", "CN=Lab RootCA")


BROKEN = Malformed(sha256="DD", field="extensions")


def test_it_stops_where_the_number_says_or_at_the_end_of_the_path(world: World) -> None:
    path: tuple[Read, ...] = tuple(read(der(one)) for one in chain(Kind.DEEP, USE, world).certificates)
    assert stopped_at(path, ()) is None
    assert stopped_at(path, ((10, 0), (66, 0))) is None
    assert stopped_at(path, ((7, 1),)) is path[1]
    assert stopped_at(path, ((20, 2), (21, 2))) is path[2]
    assert stopped_at(path, ((7, 99),)) is None
    assert stopped_at((path[0], BROKEN), ((20, 1),)) is None
    assert stopped_at((), ((20, 0),)) is None


@dataclass(frozen=True)
class Tried:
    trials: tuple[Trial, ...]
    issuers: tuple[Certificate, ...]


def tried(kind: Kind, world: World, errors: tuple[tuple[int, int], ...], path_length: int = 1) -> Tried:
    ders = [der(one) for one in chain(kind, USE, world).certificates]
    presented = [readable(one) for one in ders]
    by_name = {one.sha256: raw for one, raw in zip(presented, ders, strict=True)}
    return Tried(try_issuers(presented, presented[:path_length], errors, by_name), tuple(presented[1:]))


def test_an_issuer_of_the_right_name_with_another_key_has_not_signed(world: World) -> None:
    found = tried(Kind.REKEYED, world, ((20, 0), (21, 0)))
    assert [(one.issuer_sha256, one.fits) for one in found.trials] == [(found.issuers[0].sha256, False)]
    forged = tried(Kind.BAD_SIGNATURE, world, ((7, 0),), path_length=2)
    assert [one.fits for one in forged.trials] == [False]


def test_an_issuer_that_did_sign_is_told_and_one_of_another_name_is_not_asked(world: World) -> None:
    assert [one.fits for one in tried(Kind.GOOD, world, ((20, 0),)).trials] == [True]
    assert tried(Kind.MISSING_INTERMEDIATE, world, ((20, 0),)).trials == ()
    # The last of the path is the leaf, whose issuer is the intermediate: the stranger's is not looked at.
    assert len(tried(Kind.EXTRA, world, ((20, 0),)).trials) == 1


def test_a_chain_without_such_an_error_costs_no_signature(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        raise AssertionError("a signature was looked at")

    monkeypatch.setattr(graph, "signed_by", refuse)
    for errors in ((), ((10, 0),), ((18, 0),), ((19, 1),), ((25, 2),)):
        assert tried(Kind.GOOD, world, errors).trials == ()


def test_no_more_signatures_are_looked_at_than_the_budget_has(world: World) -> None:
    """A server may send any number of certificates of one name."""
    name = "Lab Intermediate CA"
    same = [
        issue_authority(name, None, world.long_life, Rights()).certificate for _ in range(MOST_TRIALS * 2)
    ]
    ders = [der(chain(Kind.REKEYED, USE, world).certificates[0]), *map(der, same)]
    presented = [readable(one) for one in ders]
    by_name = {one.sha256: raw for one, raw in zip(presented, ders, strict=True)}
    trials = try_issuers(presented, presented[:1], ((20, 0),), by_name)
    assert len(trials) == MOST_TRIALS
    assert {one.fits for one in trials} == {False}


def _self_signed(key: rsa.RSAPrivateKey | dsa.DSAPrivateKey) -> bytes:
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    return der(made.sign(key, hashes.SHA256()))


def test_a_key_that_is_dear_to_check_is_left_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = _self_signed(rsa.generate_private_key(65537, 2048))
    assert signed_by(cheap, cheap) is True
    monkeypatch.setattr(signature, "_RSA_BITS", 1024)
    assert signed_by(cheap, cheap) is None
    monkeypatch.setattr(signature, "_RSA_BITS", 8192)
    monkeypatch.setattr(signature, "_RSA_EXPONENT_BITS", 16)
    assert signed_by(cheap, cheap) is None
    old = _self_signed(dsa.generate_private_key(1024))
    assert signed_by(old, old) is True
    monkeypatch.setattr(signature, "_DSA_BITS", 512)
    assert signed_by(old, old) is None


def test_a_path_of_certificates_that_a_ca_gave_itself_costs_no_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CA that changes its key signs the new one with the old: same name, other key (RFC 5280 §3.2)."""
    life = (NOW, NOW + timedelta(days=9))
    old = issue_authority("Self CA", None, life, Rights())
    new = issue_authority("Self CA", old, life, Rights())
    looked_at = []
    genuine = signature.verifies

    def count(issuer: x509.Certificate, child: x509.Certificate) -> bool | None:
        looked_at.append(child)
        return genuine(issuer, child)

    monkeypatch.setattr(certificate, "verifies", count)
    assert readable(der(old.certificate)).self_signed
    assert not readable(der(new.certificate)).self_signed
    assert looked_at == [old.certificate]


def test_the_dearest_certificate_that_fits_into_a_handshake_is_read_in_less_than_50_ms() -> None:
    """OpenSSL takes a flight of 100 KiB at most; thousands of names are the dearest way to fill it."""
    key = ec.generate_private_key(ec.SECP256R1())
    many: list[x509.GeneralName] = [
        x509.DirectoryName(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, str(number))]))
        for number in range(4500)
    ]
    name = x509.Name([])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1))
    builder = builder.add_extension(x509.NameConstraints(many, None), critical=True)
    dear = der(builder.sign(key, hashes.SHA256()))
    assert 80_000 < len(dear) < 102_400
    spent_s = []
    for _ in range(5):
        before_s = time.process_time()
        found = readable(dear)
        spent_s.append(time.process_time() - before_s)
    assert len(found.permitted_names) == 64
    assert min(spent_s) < 0.05


def test_whatever_bytes_come_the_answer_is_yes_no_or_unknown(world: World) -> None:
    leaf, issuer = map(der, chain(Kind.GOOD, USE, world).certificates)
    assert signed_by(leaf, issuer) is True
    assert signed_by(leaf, leaf) is None, "another name: the library does not even look at the signature"
    assert signed_by(b"", issuer) is None
    random = Random(5)
    answers = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3000):
            bent = bytearray(random.choice((leaf, issuer)))
            for _ in range(random.randint(1, 3)):
                bent[random.randrange(len(bent))] = random.randrange(256)
            mutant = bytes(bent)
            answers |= {signed_by(mutant, issuer), signed_by(leaf, mutant)}
            found = read(mutant)
            assert isinstance(found, Certificate | Malformed)
            found.record()
    assert answers == {True, False, None}
