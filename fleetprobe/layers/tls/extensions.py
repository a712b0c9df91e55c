"""The extensions of one certificate, as far as a diagnosis needs them (RFC 5280 §4.2).

The parser below reads all or none: one odd extension that nobody needs would make the whole certificate unreadable,
which OpenSSL accepts. So where it gives up, those that are needed are read one by one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from cryptography import x509

from fleetprobe.net import der as encoding

_Kind = TypeVar("_Kind", bound=x509.ExtensionType)
_San = x509.SubjectAlternativeName
_FIELDS: Final[Mapping[type[x509.ExtensionType], str]] = {
    x509.BasicConstraints: "basic_constraints",
    x509.KeyUsage: "key_usage",
    x509.ExtendedKeyUsage: "extended_key_usage",
    x509.SubjectKeyIdentifier: "subject_key_identifier",
    x509.AuthorityKeyIdentifier: "authority_key_identifier",
    x509.NameConstraints: "name_constraints",
    x509.CRLDistributionPoints: "crl_distribution_points",
    _San: "subject_alternative_name",
}
"""What OpenSSL reads before it uses a certificate: it finds no issuer (20) where one is broken or there twice."""
_OPTIONAL: Final = (x509.TLSFeature, x509.AuthorityInformationAccess)
_DNS_NAME, _IP_ADDRESS = 0x82, 0x87
"""Choices of GeneralName (RFC 5280 §4.2.1.6)."""


@dataclass(frozen=True, slots=True)
class Extensions:
    """What was read."""

    values: Mapping[type[x509.ExtensionType], x509.ExtensionType]
    critical: frozenset[type[x509.ExtensionType]]
    names: tuple[tuple[str, ...], tuple[str, ...]]
    """Subject alternative names: DNS names, addresses in canonical form."""
    unread: tuple[str, ...] = ()
    """Those that OpenSSL needs as well and that cannot be read."""
    count: int = 0

    def get(self, kind: type[_Kind]) -> _Kind | None:
        """The value of the one extension of this kind."""
        return cast("_Kind | None", self.values.get(kind))


class BrokenNames(Exception):
    """The alternative names are no list of names."""


def extensions_of(certificate: x509.Certificate, der: bytes) -> Extensions:
    """All that can be read; BrokenNames, or ValueError where the list itself is broken."""
    try:
        found = tuple(certificate.extensions)
    except Exception:  # noqa: BLE001  # a stranger's bytes: whatever is raised means that not all can be read
        return _one_by_one(der)
    values = {type(one.value): one.value for one in found}
    critical = frozenset(type(one.value) for one in found if one.critical)
    names = values.get(_San)
    return Extensions(values, critical, _names(cast("_San", names)) if names else ((), ()), count=len(found))


def _one_by_one(der: bytes) -> Extensions:
    listed = encoding.extensions(der)
    values: dict[type[x509.ExtensionType], x509.ExtensionType] = {}
    critical: set[type[x509.ExtensionType]] = set()
    unread = []
    names: tuple[tuple[str, ...], tuple[str, ...]] = (), ()
    kinds: tuple[type[x509.ExtensionType], ...] = (*_FIELDS, *_OPTIONAL)
    for kind in kinds:
        found = listed.get(_content(kind.oid), ())
        value = _alone(der, found[0].whole) if len(found) == 1 else None
        if value is not None:
            values[kind] = value
        elif kind is _San and found:
            names = _bare_names(found[0].value if len(found) == 1 else b"")
        elif found and kind not in _OPTIONAL:
            unread.append(_FIELDS[kind])
        if found and found[0].critical:
            critical.add(kind)
    if _San in values:
        names = _names(cast("_San", values[_San]))
    return Extensions(values, frozenset(critical), names, tuple(unread), sum(map(len, listed.values())))


def _alone(der: bytes, whole: bytes) -> x509.ExtensionType | None:
    """The extension, read as if the certificate had no other."""
    try:
        (one,) = x509.load_der_x509_certificate(encoding.with_extension(der, whole)).extensions
        value: x509.ExtensionType = one.value
    except Exception:  # noqa: BLE001  # a stranger's bytes
        return None
    return value


def _names(names: _San) -> tuple[tuple[str, ...], tuple[str, ...]]:
    addresses = names.get_values_for_type(x509.IPAddress)
    return tuple(names.get_values_for_type(x509.DNSName)), tuple(str(one) for one in addresses)


def _bare_names(value: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """DNS names and addresses of a list that holds something odd beside them; an odd one covers nothing."""
    dns_names, addresses = [], []
    try:
        (outer,) = encoding.elements(value)
        for one in encoding.elements(value, outer.content, outer.end):
            content = value[one.content : one.end]
            if one.tag == _DNS_NAME:
                dns_names.append(content.decode("utf-8", "backslashreplace"))
            elif one.tag == _IP_ADDRESS and len(content) in (4, 16):
                addresses.append(str(ipaddress.ip_address(content)))
    except ValueError as broken:
        raise BrokenNames from broken
    return tuple(dns_names), tuple(addresses)


def _content(oid: x509.ObjectIdentifier) -> bytes:
    """The content of an identifier's encoding (X.690 §8.19)."""
    first, second, *rest = (int(part) for part in oid.dotted_string.split("."))
    encoded = bytearray()
    for part in (first * 40 + second, *rest):
        septets = [part & 0x7F]
        while part := part >> 7:
            septets.append(0x80 | part & 0x7F)
        encoded += bytes(reversed(septets))
    return bytes(encoded)
