"""One certificate, read whole: parsing is lazy in cryptography, so every field is touched in one guard."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from fleetprobe.layers.tls.signature import verifies

_CACHED = 1024
_CACHED_BYTES = 8 * 1024
_NAMES_SHOWN = 64
_LIMITS_READ = 64
_URLS_READ, _URL_CHARS = 4, 1024
TEXT_CHARS = 512
"""Names longer than this are cut in the record."""
_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH.dotted_string: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING.dotted_string: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION.dotted_string: "emailProtection",
    ExtendedKeyUsageOID.OCSP_SIGNING.dotted_string: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE.dotted_string: "any",
}
"""As OpenSSL spells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """The fields of a certificate (RFC 5280) that a diagnosis speaks about."""

    sha256: str
    """Fingerprint of the DER, upper-case hex."""
    subject: str
    issuer: str
    """Names as RFC 4514 text; may hold any character, as the peer chose them."""
    common_name: str | None
    not_before: datetime
    not_after: datetime
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    """Subject alternative names, all of them; addresses in canonical form."""
    key_type: str
    """RSA, EC, Ed25519, Ed448, DSA, or `unknown`."""
    key_bits: int | None
    signature_hash: str | None
    """`sha256` and the like; None where the algorithm has none of its own or is unknown."""
    is_ca: bool
    self_signed: bool
    """Subject and issuer are the same, and its own key verifies it."""
    key_sha256: str = ""
    """Of the public key with its algorithm (SubjectPublicKeyInfo), upper-case hex: equal for cross-signed twins."""
    key_id: str | None = None
    """Its own key by the name that its issuer gave it (subject key identifier), hex."""
    issuer_key_id: str | None = None
    """The key that signed it, as it states itself (authority key identifier), hex."""
    path_length: int | None = None
    """How many authorities it permits below it; None: any number."""
    permitted_names: tuple[str, ...] = ()
    excluded_names: tuple[str, ...] = ()
    """What it may and may not certify (RFC 5280 §4.2.1.10), as text, at most 64 of each."""
    signs_certificates: bool | None = None
    """keyCertSign of its key usage; None: it has no key usage."""
    purposes: tuple[str, ...] = ()
    """Its extended key usages, by name where they have one; none: any."""
    must_staple: bool = False
    """It promises a stapled OCSP answer (RFC 7633)."""
    issuer_urls: tuple[str, ...] = ()
    """Where its issuer can be had (caIssuers, RFC 5280 §4.2.2.1), as it says itself: at most 4, any text."""

    def record(self, names_shown: int = _NAMES_SHOWN) -> Mapping[str, Any]:
        """The fields as JSON-ready values; at most `names_shown` alternative names, and their count."""
        names = (*self.dns_names, *self.ip_addresses)
        facts = {
            "sha256": self.sha256,
            "subject": self.subject[:TEXT_CHARS],
            "issuer": self.issuer[:TEXT_CHARS],
            "not_before": iso(self.not_before),
            "not_after": iso(self.not_after),
            "san": [name[:TEXT_CHARS] for name in names[:names_shown]] if names else None,
            "san_count": len(names),
            "key_type": self.key_type,
            "key_bits": self.key_bits,
            "signature_hash": self.signature_hash,
            "is_ca": self.is_ca,
            "self_signed": self.self_signed,
            "must_staple": self.must_staple or None,
        }
        return {name: value for name, value in facts.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A certificate that cannot be read, and the field at which reading ended."""

    sha256: str
    field: str

    def record(self, _: int = 0) -> Mapping[str, Any]:
        """The same shape of record, with what is known."""
        return {"sha256": self.sha256, "malformed": self.field}


Read = Certificate | Malformed
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)


def read(der: bytes) -> Read:
    """Every field of one certificate, or where it is broken. Never raises. Small ones are remembered."""
    return _remembered(der) if len(der) <= _CACHED_BYTES else _read(der)


def iso(moment: datetime) -> str:
    """RFC 3339 in UTC, whole seconds: `2026-01-31T00:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(der: bytes) -> Read:
    sha256 = hashlib.sha256(der).hexdigest().upper()
    reader = _Reader()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return reader.read(der, sha256)
        except Exception:  # noqa: BLE001  # a stranger's bytes: whatever is raised means unreadable
            return Malformed(sha256=sha256, field=reader.field)


_remembered = lru_cache(maxsize=_CACHED)(_read)


class _Reader:
    """Reads field by field and knows which one it is at."""

    field = "certificate"

    def read(self, der: bytes, sha256: str) -> Certificate:
        certificate = x509.load_der_x509_certificate(der)
        self.field = "serial_number"
        _ = certificate.version, certificate.serial_number
        self.field = "validity"
        not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        self.field = "subject"
        subject, common_name = certificate.subject.rfc4514_string(), _common_name(certificate.subject)
        self.field = "issuer"
        issuer = certificate.issuer.rfc4514_string()
        self.field = "extensions"
        _ = tuple(certificate.extensions)
        self.field = "basic_constraints"
        is_ca, path_length = _basic_constraints(certificate)
        self.field = "name_constraints"
        permitted, excluded = _name_constraints(certificate)
        self.field = "key_usage"
        signs, purposes = _signs_certificates(certificate), _purposes(certificate)
        self.field = "authority_key_identifier"
        issuer_key_id = _issuer_key_id(certificate)
        self.field = "subject_key_identifier"
        key_id = _key_id(certificate)
        self.field = "tls_feature"
        must_staple = _must_staple(certificate)
        self.field = "authority_information_access"
        issuer_urls = _issuer_urls(certificate)
        self.field = "subject_alternative_name"
        dns_names, ip_addresses = _alternative_names(certificate)
        self.field = "public_key"
        key_type, key_bits = _key(certificate)
        key_sha256 = hashlib.sha256(_key_info(certificate)).hexdigest().upper()
        self.field = "signature"
        return Certificate(
            sha256=sha256,
            subject=subject,
            issuer=issuer,
            common_name=common_name,
            not_before=not_before,
            not_after=not_after,
            dns_names=dns_names,
            ip_addresses=ip_addresses,
            key_type=key_type,
            key_bits=key_bits,
            signature_hash=_signature_hash(certificate),
            is_ca=is_ca,
            self_signed=_self_signed(certificate),
            key_sha256=key_sha256,
            key_id=key_id,
            issuer_key_id=issuer_key_id,
            path_length=path_length,
            permitted_names=permitted,
            excluded_names=excluded,
            signs_certificates=signs,
            purposes=purposes,
            must_staple=must_staple,
            issuer_urls=issuer_urls,
        )


def _common_name(subject: x509.Name) -> str | None:
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else None


def _extension(certificate: x509.Certificate, kind: type[_Kind]) -> _Kind | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _basic_constraints(certificate: x509.Certificate) -> tuple[bool, int | None]:
    basic = _extension(certificate, x509.BasicConstraints)
    return (basic.ca, basic.path_length) if basic else (False, None)


def _name_constraints(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    limits = _extension(certificate, x509.NameConstraints)
    if limits is None:
        return (), ()
    return _texts(limits.permitted_subtrees), _texts(limits.excluded_subtrees)


def _texts(names: Sequence[x509.GeneralName] | None) -> tuple[str, ...]:
    return tuple(_text(name)[:TEXT_CHARS] for name in (names or ())[:_LIMITS_READ])


def _text(name: x509.GeneralName) -> str:
    value = name.value
    return value.rfc4514_string() if isinstance(value, x509.Name) else str(value)


def _signs_certificates(certificate: x509.Certificate) -> bool | None:
    usage = _extension(certificate, x509.KeyUsage)
    return usage.key_cert_sign if usage else None


def _purposes(certificate: x509.Certificate) -> tuple[str, ...]:
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    return tuple(_PURPOSES.get(one.dotted_string, one.dotted_string) for one in list(purposes or ())[:_LIMITS_READ])


def _issuer_key_id(certificate: x509.Certificate) -> str | None:
    stated = _extension(certificate, x509.AuthorityKeyIdentifier)
    identifier = stated.key_identifier if stated else None
    return identifier.hex().upper()[:TEXT_CHARS] if identifier else None


def _key_id(certificate: x509.Certificate) -> str | None:
    own = _extension(certificate, x509.SubjectKeyIdentifier)
    return own.digest.hex().upper()[:TEXT_CHARS] if own and own.digest else None


def _must_staple(certificate: x509.Certificate) -> bool:
    features = _extension(certificate, x509.TLSFeature)
    return features is not None and x509.TLSFeatureType.status_request in features


def _issuer_urls(certificate: x509.Certificate) -> tuple[str, ...]:
    offered = _extension(certificate, x509.AuthorityInformationAccess)
    urls = (
        one.access_location.value for one in list(offered or ())[:_LIMITS_READ]
        if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )
    # Half a URL would be another one.
    return tuple(url for url in urls if len(url) <= _URL_CHARS)[:_URLS_READ]


def _key_info(certificate: x509.Certificate) -> bytes:
    """The public key as it stands in the certificate; of an unknown algorithm the whole certificate stands for it."""
    try:
        return certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except UnsupportedAlgorithm:
        return certificate.tbs_certificate_bytes


def _alternative_names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    names = _extension(certificate, x509.SubjectAlternativeName)
    if names is None:
        return (), ()
    addresses = names.get_values_for_type(x509.IPAddress)
    return tuple(names.get_values_for_type(x509.DNSName)), tuple(str(one) for one in addresses)


def _key(certificate: x509.Certificate) -> tuple[str, int | None]:
    """An algorithm that the library does not know is no fault of the certificate."""
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return "unknown", None
    match key:
        case rsa.RSAPublicKey():
            return "RSA", key.key_size
        case ec.EllipticCurvePublicKey():
            return "EC", key.curve.key_size
        case dsa.DSAPublicKey():
            return "DSA", key.key_size
        case ed25519.Ed25519PublicKey():
            return "Ed25519", None
        case ed448.Ed448PublicKey():
            return "Ed448", None
        case _:
            return "unknown", None


def _signature_hash(certificate: x509.Certificate) -> str | None:
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return None
    return algorithm.name if algorithm is not None else None


def _self_signed(certificate: x509.Certificate) -> bool:
    if certificate.subject != certificate.issuer or _key_ids_differ(certificate):
        return False
    try:
        return verifies(certificate, certificate) is True
    except (UnsupportedAlgorithm, ValueError):
        return True  # a hash of old that nobody checks any more: its names and keys are what is left
    except TypeError:
        return False


def _key_ids_differ(certificate: x509.Certificate) -> bool:
    """Whether it says itself that another key signed it, as when a CA changes its key.

    OpenSSL goes on above such a certificate, so that a path may hold a hundred of them: no signature is spent on any.
    """
    own = _extension(certificate, x509.SubjectKeyIdentifier)
    stated = _extension(certificate, x509.AuthorityKeyIdentifier)
    signer = stated.key_identifier if stated else None
    return own is not None and signer is not None and own.digest != signer
