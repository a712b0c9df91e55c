"""What OpenSSL says of a chain that is put together by hand, outside of any handshake."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verified:
    """One verification against the trust of a target (X509_verify_cert(3)); no name and no purpose is looked at."""

    errors: tuple[tuple[int, int], ...]
    """(X509_V code, depth) of the first error met; empty: the chain holds."""
    path_der: tuple[bytes, ...] = ()
    """The path it took, leaf first and trust anchor last; empty where it found none, dates left aside."""


UNVERIFIABLE = Verified(((1, 0),))
"""X509_V_ERR_UNSPECIFIED: there was nothing to verify, or nothing to verify it against."""
