"""One certificate, read whole: parsing is lazy in cryptography, so every field is touched in one guard."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

_CACHED = 1024
_CACHED_BYTES = 8 * 1024
_NAMES_SHOWN = 64
TEXT_CHARS = 512
"""Names longer than this are cut in the record."""


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
        is_ca = _is_ca(certificate)
        self.field = "subject_alternative_name"
        dns_names, ip_addresses = _alternative_names(certificate)
        self.field = "public_key"
        key_type, key_bits = _key(certificate)
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
        )


def _common_name(subject: x509.Name) -> str | None:
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else None


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _alternative_names(certificate: x509.Certificate) -> tuple[tuple[str, ...], tuple[str, ...]]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
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
    if certificate.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(certificate)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True
