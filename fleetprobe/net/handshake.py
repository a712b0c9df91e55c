"""What a TLS client offers, and what one handshake told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fleetprobe.net.interface import Fault

if TYPE_CHECKING:
    from fleetprobe.net.path import Hole

CHAIN_BYTES = 100 * 1024
"""Longer chains OpenSSL does not read (SSL_MAX_CERT_LIST_DEFAULT), and nobody has raised that for us."""
MOST_CAS = 100
"""Of one path, as OpenSSL has it by itself; real ones have three. `live/dear` bounds what they cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What the TLS client offers."""

    server_name: str | None
    """SNI; None for an IP literal."""
    alpn: tuple[str, ...] = ("http/1.1",)
    ca_file: str | None = None
    """PEM bundle to verify against; None: the run's first trust, `model.trust.MACHINE`: the system's in any case."""
    small: bool = False
    """Offer the one group that every TLS 1.3 server has (P-256, RFC 8446 §9.1): some 360 bytes, a quarter of the
    usual hello, whose first key share is post-quantum. Nothing is verified then."""
    any_cipher: bool = False
    """With `small`: offer every cipher suite that the library knows, anonymous and unencrypted ones among them."""
    below_tls13: bool = False
    """With `small`: do not offer TLS 1.3."""
    pad_to_bytes: int | None = None
    """Make the hello exactly so long, by names of protocols that do not exist, behind those of `alpn` (RFC 7301);
    one that is longer already gets one such name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handshake:
    """One TLS handshake as seen from the client (RFC 8446, RFC 5246)."""

    started_s: float
    ended_s: float
    fault: Fault | None = None
    """None: completed. DONE never appears here; ERROR is a protocol error of OpenSSL, see openssl_reason."""
    openssl_reason: str | None = None
    """OpenSSL's reason string of the library error, for the record only."""
    first_bytes: bytes = b""
    """The first bytes the peer sent, at most 64."""
    hello_bytes: int = 0
    """What we sent first, the header of the record (RFC 8446 §5.1) included."""
    bytes_received: int = 0
    heard_s: float | None = None
    """When the last bytes came, if any did."""
    bytes_unacked: int = 0
    """Our bytes that the peer's kernel never acknowledged, at the end."""
    alerts_received: tuple[tuple[int, int], ...] = ()
    """(level, description) in order."""
    alerts_sent: tuple[tuple[int, int], ...] = ()
    close_notify: bool = False
    protocol_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    """In which keys were exchanged (RFC 8446 §4.2.7), by OpenSSL's name; None for the key transport of RSA."""
    unusual_cipher: bool = False
    """The suite agreed on is offered only with `Hello.any_cipher`."""
    alpn: str | None = None
    chain_der: tuple[bytes, ...] = ()
    """Certificates as presented, in order."""
    path_der: tuple[bytes, ...] = ()
    """The path that OpenSSL built and judged: the leaf, then each issuer it took, from what was presented or from the
    trust store; a `depth` of `verify_errors` is a position in it. Without an error it ends in a trust anchor."""
    verify_errors: tuple[tuple[int, int], ...] = ()
    """(X509_V code, depth) in the order OpenSSL met them; empty and completed means verified."""
    too_dear: bool = False
    """Verification was broken off, and the handshake with it: as hostile chains are, this one is dear to verify."""
    client_certificate_requested: bool = False
    client_authorities: tuple[str, ...] = ()
    """From whom it takes client certificates: the first few names of its list, each cut. Many list none."""
    client_authority_count: int = 0
    ocsp_staple_bytes: int = 0
    lag_ms: float = 0.0
    hole: Hole | None = None
    """With the fault SILENT: segments were missing while later ones had come."""
