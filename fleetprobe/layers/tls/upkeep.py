"""What works today and wants somebody's hand: dates that come near, an old version, a promise not kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from fleetprobe.layer import found
from fleetprobe.layers.tls.certificate import TEXT_CHARS, Certificate, iso
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.shown import role
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Finding

_RENEWED_AT: Final = 3
"""ACME clients renew when a third of a certificate's life is left; before that nobody has to do anything."""
_LEGACY: Final = {"SSLv3": "SSL 3.0", "TLSv1": "TLS 1.0", "TLSv1.1": "TLS 1.1"}
"""Names of SSL_get_version(3); RFC 8996 and RFC 7568 retire them."""

EMITS: Final = frozenset({"tls.expiring", "tls.legacy_version", "tls.must_staple"})


def due(facts: TlsFacts, path: Sequence[Certificate], policy: Policy) -> Iterator[Finding]:
    """Warnings about the path, leaf first, and about what was agreed."""
    near = [(depth, one) for depth, one in enumerate(path) if ends_soon(one, policy.as_of, policy.expiring)]
    if near:
        yield _expiring(facts, near, policy.as_of)
    if facts.handshake.fault is not None:
        return
    version = _LEGACY.get(facts.handshake.protocol_version or "")
    if version is not None:
        summary = f"{facts.address} agreed on {version}, which is retired"
        yield found("tls.legacy_version", summary, {"protocol_version": facts.handshake.protocol_version})
    if path and path[0].must_staple and not facts.handshake.ocsp_staple_bytes:
        summary = f"the certificate of {facts.address} promises a stapled OCSP answer and none was sent"
        yield found("tls.must_staple", summary, {"certificate_sha256": path[0].sha256, "ocsp_staple_bytes": 0})


def ends_soon(certificate: Certificate, as_of: datetime, horizon: timedelta) -> bool:
    """Whether it is valid and ends within the horizon, which is no more than the last third of its life."""
    horizon = min(horizon, (certificate.not_after - certificate.not_before) / _RENEWED_AT)
    left = certificate.not_after - as_of
    return timedelta(0) <= left < horizon


def _expiring(facts: TlsFacts, near: Sequence[tuple[int, Certificate]], as_of: datetime) -> Finding:
    depth, first = min(near, key=lambda pair: (pair[1].not_after, pair[0]))
    left = (first.not_after - as_of).days
    days = {0: "less than a day", 1: "a day"}.get(left, f"{left} days")
    summary = f"the {role(depth)} of {facts.address} expires in {days}, on {iso(first.not_after)}"
    presented = set(facts.fingerprints)
    listed: list[dict[str, Any]] = [
        {
            "depth": at,
            "subject": one.subject[:TEXT_CHARS],
            "not_after": iso(one.not_after),
            "presented": one.sha256 in presented,
            "certificate_sha256": one.sha256,
        }
        for at, one in near
    ]
    return found("tls.expiring", summary, {"days_left": left, "expiring": listed})
