"""Whether the key of one certificate made the signature of another, at a price that is known beforehand."""

from __future__ import annotations

import warnings
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

_RSA_BITS: Final = 8192
_RSA_EXPONENT_BITS: Final = 32
"""A public exponent may be as long as the modulus and makes checking as dear as signing; real ones have 17 bits."""
_DSA_BITS: Final = 3072


def signed_by(child: bytes, issuer: bytes) -> bool | None:
    """Whether the issuer's key (DER) verifies the child (DER). None: it cannot be told. Never raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return verifies(x509.load_der_x509_certificate(issuer), x509.load_der_x509_certificate(child))
        except Exception:  # noqa: BLE001  # a stranger's bytes: whatever is raised means that it cannot be told
            return None


def verifies(issuer: x509.Certificate, child: x509.Certificate) -> bool | None:
    """As `signed_by`. Raises what `cryptography` raises on broken fields and unknown algorithms."""
    if not _affordable(issuer.public_key()):
        return None
    try:
        child.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return False
    return True


def _affordable(key: object) -> bool:
    """At most about a millisecond of work, whatever the peer chose."""
    match key:
        case rsa.RSAPublicKey():
            exponent = key.public_numbers().e
            return key.key_size <= _RSA_BITS and exponent.bit_length() <= _RSA_EXPONENT_BITS
        case dsa.DSAPublicKey():
            return key.key_size <= _DSA_BITS
        case _:
            # Curves have names, and none of them is dear.
            return isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)
