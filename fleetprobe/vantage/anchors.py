"""The trust store that TLS targets are held against: where it is, and which of its authorities end soon."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.utils import CryptographyDeprecationWarning
from OpenSSL import SSL

from fleetprobe.net.live import system_trust, trust
from fleetprobe.net.live.system_trust import Source
from fleetprobe.vantage.facts import Anchor, Trust

_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"
_END: Final = b"-----END CERTIFICATE-----"
_SOONEST: Final = 3
_MOST: Final = 4096
_NAME_CHARACTERS: Final = 120
_DAY: Final = timedelta(days=1)


def read(now: datetime | None = None) -> Trust:
    """The system's store as a scan would load it."""
    now = now or datetime.now(UTC)
    try:
        told = trust.load(SSL.Context(SSL.TLS_METHOD), None)
    except trust.UnusableTrust as why:
        return Trust(source="none", count=0, sha256="", skipped=0, soonest=(), expired=0, unusable=str(why))
    source, count = str(told["source"]), int(str(told["count"]))
    with warnings.catch_warnings():
        # Old authorities have serial numbers that RFC 5280 forbids; their dates are read all the same.
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        ends = sorted(_ends(system_trust.find()), key=lambda pair: pair[1]) if count else []
    living = [Anchor(name=name, days_left=(end - now) // _DAY) for name, end in ends if end >= now]
    return Trust(
        source=source,
        by=str(told["by"]),
        count=count,
        sha256=str(told["sha256"]),
        skipped=int(str(told["skipped"])),
        soonest=tuple(living[:_SOONEST]),
        expired=len(ends) - len(living),
    )


def _ends(source: Source) -> Iterator[tuple[str, datetime]]:
    """Name and end of each authority in files that `trust.load` has found fit to read."""
    seen = set()
    text = b"".join(text for text in trust.texts(source) if text)
    for part in text.split(_BEGIN)[1 : _MOST + 1]:
        body = part.partition(_END)[0]
        if body in seen:
            continue
        seen.add(body)
        try:
            certificate = x509.load_pem_x509_certificate(_BEGIN + body + _END)
            yield _name(certificate), certificate.not_valid_after_utc
        except ValueError:
            # What cannot be parsed is counted as skipped by whoever loads the store.
            continue


def _name(certificate: x509.Certificate) -> str:
    for kind in (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATIONAL_UNIT_NAME, x509.NameOID.ORGANIZATION_NAME):
        for attribute in certificate.subject.get_attributes_for_oid(kind):
            return str(attribute.value)[:_NAME_CHARACTERS]
    return "an authority without a name"
