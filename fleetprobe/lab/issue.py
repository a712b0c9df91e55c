"""Certificates of the lab, one at a time: what a careful authority would write, and what a careless one did."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

Life = tuple[datetime, datetime]
"""Not before, not after."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """What a certificate allows its holder to issue (RFC 5280 §4.2.1.9, §4.2.1.10)."""

    path_length: int | None = None
    """How many authorities may stand below it; None: any number."""
    permitted: str | None = None
    """The one domain whose names it may certify; None: all names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a leaf is for."""

    names: Sequence[str] = ()
    addresses: Sequence[str] = ()
    purpose: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH
    must_staple: bool = False
    """Promise a stapled OCSP answer (RFC 7633)."""
    issuer_urls: Sequence[str] = ()
    """Where the certificate says that its issuer can be had (caIssuers, RFC 5280 §4.2.2.1)."""
    states_issuer_key: bool = True
    """Carry an authority key identifier."""


def issue_authority(
    common_name: str, issuer: Issued | None, life: Life, rights: Rights, key: ec.EllipticCurvePrivateKey | None = None,
    issuer_urls: Sequence[str] = (),
) -> Issued:
    """A certificate that may sign others, signed by `issuer` or itself; `key` when it has one already."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = _builder(common_name, issuer, life, key, x509.BasicConstraints(ca=True, path_length=rights.path_length))
    if rights.permitted is not None:
        limits = x509.NameConstraints([x509.DNSName(rights.permitted)], None)
        builder = builder.add_extension(limits, critical=True)
    builder = _with_issuer(builder, issuer_urls)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def issue_leaf(common_name: str, issuer: Issued | None, life: Life, use: Use) -> Issued:
    """The certificate of a server, signed by `issuer` or itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in use.names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in use.addresses]
    builder = (
        _builder(
            common_name, issuer, life, key, x509.BasicConstraints(ca=False, path_length=None), use.states_issuer_key
        )
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([use.purpose]), critical=False)
    )
    if use.must_staple:
        promised = x509.TLSFeature([x509.TLSFeatureType.status_request])
        builder = builder.add_extension(promised, critical=False)
    builder = _with_issuer(builder, use.issuer_urls)
    return Issued(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def _with_issuer(builder: x509.CertificateBuilder, urls: Sequence[str]) -> x509.CertificateBuilder:
    if not urls:
        return builder
    method = AuthorityInformationAccessOID.CA_ISSUERS
    places = [x509.AccessDescription(method, x509.UniformResourceIdentifier(url)) for url in urls]
    return builder.add_extension(x509.AuthorityInformationAccess(places), critical=False)


def _builder(
    common_name: str, issuer: Issued | None, life: Life, key: ec.EllipticCurvePrivateKey, basic: x509.BasicConstraints,
    states_issuer_key: bool = True,
) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    above = issuer.certificate if issuer else None
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(life[0])
        .not_valid_after(life[1])
        .add_extension(basic, critical=True)
        .add_extension(_usage(basic.ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return builder.add_extension(_authority_key(above, key), critical=False) if states_issuer_key else builder


def _authority_key(
    above: x509.Certificate | None, key: ec.EllipticCurvePrivateKey
) -> x509.AuthorityKeyIdentifier:
    """As the issuer's certificate states it, which is how authorities do it."""
    if above is None:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    stated = above.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(stated)


def _usage(is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=is_authority, crl_sign=is_authority,
        encipher_only=False, decipher_only=False,
    )
