"""What is noted about one TLS connection, by the pump and by OpenSSL's callbacks, which run inside its C code."""

from __future__ import annotations

from dataclasses import dataclass, field

from OpenSSL import SSL, crypto

from fleetprobe.net.live.dear import CHEAP_BYTES, Price
from fleetprobe.net.path import Hole

_LOGGED = 64
_CERTIFICATE_REQUEST = b"SSLv3/TLS read server certificate request"
"""SSL_state_string_long(3); OpenSSL offers no other way to see a CertificateRequest without CA names."""


@dataclass(slots=True)
class Seen:
    """The notes."""

    started_s: float = 0.0
    at_s: float = 0.0
    lag_ms: float = 0.0
    hello: int = 0
    sent: int = 0
    acked_before: int = 0
    received: int = 0
    heard_s: float | None = None
    first: bytes = b""
    reason: str | None = None
    staple_bytes: int = 0
    hole: Hole | None = None
    certificate_requested: bool = False
    alerts_received: list[tuple[int, int]] = field(default_factory=list)
    alerts_sent: list[tuple[int, int]] = field(default_factory=list)
    verify_errors: list[tuple[int, int]] = field(default_factory=list)
    price: Price = field(default_factory=Price)
    too_dear: bool = False


def on_verify(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int) -> bool:
    """Note an error and go on, unless going on is dear."""
    seen = connection.get_app_data()
    if not ok and len(seen.verify_errors) < _LOGGED:
        seen.verify_errors.append((code, depth))
    if ok and seen.received > CHEAP_BYTES:
        # Once for each certificate, from the path's end downwards, before its key is used and before names are.
        seen.too_dear = seen.price.too_dear(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
    return not seen.too_dear


def on_info(connection: SSL.Connection, where: int, value: int) -> None:
    """Note alerts, and that a client certificate is asked for."""
    seen = connection.get_app_data()
    if where & SSL.SSL_CB_ALERT:
        alerts = seen.alerts_received if where & SSL.SSL_CB_READ else seen.alerts_sent
        if len(alerts) < _LOGGED:
            alerts.append((value >> 8, value & 0xFF))
    elif where & SSL.SSL_CB_LOOP and not seen.certificate_requested:
        seen.certificate_requested = connection.get_state_string() == _CERTIFICATE_REQUEST


def on_staple(connection: SSL.Connection, staple: bytes, _: object) -> bool:
    """Note the size of the stapled answer (RFC 6066 §8)."""
    connection.get_app_data().staple_bytes = len(staple)
    return True
