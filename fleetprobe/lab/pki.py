"""The lab's certificates: two authorities, one of them trusted, and a leaf for every TLS server."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fleetprobe.lab.scenario import Certificate, Scenario, Server

_DAY = timedelta(days=1)
# A flight of about 4 kB: two full segments and a short one, within the ten that a server sends unasked (RFC 6928).
_MANY_NAMES = tuple(f"one-of-the-many-hosts-of-this-certificate-{n:02}.lab.test" for n in range(48))


@dataclass(frozen=True, slots=True)
class _Issued:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class _Authority:
    root: _Issued
    intermediate: _Issued


def authority_file(directory: Path) -> Path:
    """The root certificate that clients in the lab trust (PEM)."""
    return directory / "ca.pem"


def server_file(directory: Path, scenario: Scenario, server: Server) -> Path:
    """Chain and key of one server in one PEM file."""
    return directory / f"{scenario.name}-{scenario.servers.index(server)}.pem"


def write_pki(directory: Path, fleet: Sequence[Scenario], now: datetime | None = None) -> None:
    """Make the authorities and every server's certificate under `directory`, which must exist."""
    now = now or datetime.now(UTC)
    trusted, stranger = _authority("Lab", now), _authority("Elsewhere", now)
    authority_file(directory).write_bytes(_pem([trusted.root.certificate]))
    for scenario in fleet:
        for server in scenario.servers:
            if server.certificate:
                names = scenario.certificate_names(server)
                chain, key = _chain(server.certificate, names, server.addresses, (trusted, stranger), now)
                path = server_file(directory, scenario, server)
                path.touch(mode=0o600)
                path.write_bytes(_pem(chain) + _key_pem(key))


def _chain(
    kind: Certificate, names: tuple[str, ...], addresses: tuple[str, ...],
    authorities: tuple[_Authority, _Authority], now: datetime,
) -> tuple[list[x509.Certificate], ec.EllipticCurvePrivateKey]:
    trusted, stranger = authorities
    strange = kind in (Certificate.UNTRUSTED_ROOT, Certificate.UNKNOWN_ISSUER)
    issuer = stranger if strange else trusted
    start, end = now - 30 * _DAY, now + 90 * _DAY
    if kind is Certificate.EXPIRED:
        start, end = now - 90 * _DAY, now - 3 * _DAY
    elif kind is Certificate.NOT_YET_VALID:
        start, end = now + 3 * _DAY, now + 90 * _DAY
    elif kind is Certificate.WRONG_NAME:
        names, addresses = ("another-host.lab.test",), ()
    elif kind is Certificate.LONG:
        names = (*names, *_MANY_NAMES)
    signer = None if kind is Certificate.SELF_SIGNED else issuer.intermediate
    leaf = _issue(_leaf_name(names, addresses), signer, (start, end), alternatives=(names, addresses))
    chain = [leaf.certificate]
    if kind not in (Certificate.SELF_SIGNED, Certificate.UNKNOWN_ISSUER, Certificate.MISSING_INTERMEDIATE):
        chain.append(issuer.intermediate.certificate)
    if kind is Certificate.UNTRUSTED_ROOT:
        chain.append(issuer.root.certificate)
    return chain, leaf.key


def _leaf_name(names: Sequence[str], addresses: Sequence[str]) -> str:
    return names[0] if names else addresses[0]


def _authority(owner: str, now: datetime) -> _Authority:
    life = (now - 60 * _DAY, now + 365 * _DAY)
    root = _issue(f"{owner} Root CA", None, life, path_length=1)
    return _Authority(root, _issue(f"{owner} Intermediate CA", root, life, path_length=0))


def _issue(
    common_name: str, issuer: _Issued | None, life: tuple[datetime, datetime], *,
    path_length: int | None = None, alternatives: tuple[Iterable[str], Iterable[str]] = ((), ()),
) -> _Issued:
    """A certificate signed by `issuer` or itself; `path_length` makes it an authority (RFC 5280 §4.2.1.9)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    is_authority = path_length is not None
    signer_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=path_length), critical=True)
        .add_extension(_usage(is_authority), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer_key.public_key()), critical=False
        )
    )
    if not is_authority:
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in alternatives[0]]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in alternatives[1]]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(purposes, critical=False)
    return _Issued(builder.sign(signer_key, hashes.SHA256()), key)


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=is_authority, crl_sign=is_authority,
        encipher_only=False, decipher_only=False,
    )


def _pem(chain: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
