"""One certificate, read whole: parsing is lazy in cryptography, so every field is touched in one guard."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from fleetprobe.layers.tls.extensions import BrokenNames, Extensions, extensions_of
from fleetprobe.layers.tls.signature import verifies
from fleetprobe.layers.tls.strict import strict_faults
from fleetprobe.net.der import ISSUER, KEY, SUBJECT, field

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
    strict_faults: tuple[int, ...] = ()
    """X509_V_ERR numbers that a strict reading of RFC 5280 has against it as a part of a chain; see `strict`."""
    unread: tuple[str, ...] = ()
    """Extensions that cannot be read and that OpenSSL needs as well."""

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
            "unread": list(self.unread) or None,
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


@lru_cache(maxsize=_CACHED)
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
        self.field = "validity"
        not_before, not_after = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        self.field = "extensions"
        try:
            extensions = extensions_of(certificate, der)
        except BrokenNames:
            self.field = "subject_alternative_name"
            raise
        is_ca, path_length = _basic_constraints(extensions)
        permitted, excluded = _name_constraints(extensions)
        issuer_key_id, key_id = _key_ids(extensions)
        self.field = "public_key"
        key_type, key_bits = _key(certificate)
        key_sha256 = hashlib.sha256(field(der, KEY)).hexdigest().upper()
        self.field = "signature"
        return Certificate(
            sha256=sha256,
            subject=_name_text(lambda: certificate.subject, der, SUBJECT),
            issuer=_name_text(lambda: certificate.issuer, der, ISSUER),
            common_name=_common_name(certificate),
            not_before=not_before,
            not_after=not_after,
            dns_names=extensions.names[0],
            ip_addresses=extensions.names[1],
            key_type=key_type,
            key_bits=key_bits,
            signature_hash=_signature_hash(certificate),
            is_ca=is_ca,
            self_signed=_self_signed(certificate, extensions),
            key_sha256=key_sha256,
            key_id=key_id,
            issuer_key_id=issuer_key_id,
            path_length=path_length,
            permitted_names=permitted,
            excluded_names=excluded,
            signs_certificates=_signs_certificates(extensions),
            purposes=_purposes(extensions),
            must_staple=_must_staple(extensions),
            issuer_urls=_issuer_urls(extensions),
            strict_faults=strict_faults(certificate, extensions),
            unread=extensions.unread,
        )


def _name_text(name: Callable[[], x509.Name], der: bytes, position: int) -> str:
    """RFC 4514 text; of a name with an odd string in it the DER, as that document writes what has no text."""
    try:
        return name().rfc4514_string()
    except Exception:  # noqa: BLE001  # a stranger's bytes
        return f"#{field(der, position).hex().upper()}"


def _common_name(certificate: x509.Certificate) -> str | None:
    try:
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except Exception:  # noqa: BLE001  # a stranger's bytes
        return None
    return str(names[-1].value) if names else None


def _basic_constraints(extensions: Extensions) -> tuple[bool, int | None]:
    basic = extensions.get(x509.BasicConstraints)
    return (basic.ca, basic.path_length) if basic else (False, None)


def _name_constraints(extensions: Extensions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    limits = extensions.get(x509.NameConstraints)
    if limits is None:
        return (), ()
    return _texts(limits.permitted_subtrees), _texts(limits.excluded_subtrees)


def _texts(names: Sequence[x509.GeneralName] | None) -> tuple[str, ...]:
    return tuple(_text(name)[:TEXT_CHARS] for name in (names or ())[:_LIMITS_READ])


def _text(name: x509.GeneralName) -> str:
    value = name.value
    return value.rfc4514_string() if isinstance(value, x509.Name) else str(value)


def _signs_certificates(extensions: Extensions) -> bool | None:
    usage = extensions.get(x509.KeyUsage)
    return usage.key_cert_sign if usage else None


def _purposes(extensions: Extensions) -> tuple[str, ...]:
    purposes = extensions.get(x509.ExtendedKeyUsage)
    return tuple(_PURPOSES.get(one.dotted_string, one.dotted_string) for one in list(purposes or ())[:_LIMITS_READ])


def _key_ids(extensions: Extensions) -> tuple[str | None, str | None]:
    """Of the key that signed it and of its own, as it states them."""
    stated, own = extensions.get(x509.AuthorityKeyIdentifier), extensions.get(x509.SubjectKeyIdentifier)
    return _hex(stated.key_identifier if stated else None), _hex(own.digest if own else None)


def _hex(identifier: bytes | None) -> str | None:
    return identifier.hex().upper()[:TEXT_CHARS] if identifier else None


def _must_staple(extensions: Extensions) -> bool:
    features = extensions.get(x509.TLSFeature)
    return features is not None and x509.TLSFeatureType.status_request in features


def _issuer_urls(extensions: Extensions) -> tuple[str, ...]:
    offered = extensions.get(x509.AuthorityInformationAccess)
    urls = (
        one.access_location.value for one in list(offered or ())[:_LIMITS_READ]
        if one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        and isinstance(one.access_location, x509.UniformResourceIdentifier)
    )
    # Half a URL would be another one.
    return tuple(url for url in urls if len(url) <= _URL_CHARS)[:_URLS_READ]


def _key(certificate: x509.Certificate) -> tuple[str, int | None]:
    """An algorithm or a curve that the library does not know is no fault of the certificate."""
    try:
        key = certificate.public_key()
    except (UnsupportedAlgorithm, ValueError):
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


def _self_signed(certificate: x509.Certificate, extensions: Extensions) -> bool:
    signer, own = _key_ids(extensions)
    try:
        # OpenSSL goes on above a certificate that says itself that another key signed it, as when a CA changes its
        # key, so that a path may hold a hundred of them: no signature is spent on any.
        if certificate.subject != certificate.issuer or (signer and own and signer != own):
            return False
        return verifies(certificate, certificate) is True
    except (UnsupportedAlgorithm, ValueError):
        return True  # a hash of old that nobody checks any more: its names and keys are what is left
    except TypeError:
        return False
