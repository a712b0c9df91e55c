"""What a strict reading of RFC 5280 has against a chain that verifies: X509_V_FLAG_X509_STRICT, without OpenSSL.

Python turns it on from 3.13 on, and OpenSSL's clients when told so. Our own handshake never does, so that the verdict
is the same everywhere; these are its rules (x509_vfy.c, check_extensions), read once for each certificate. OpenSSL 4
has dropped 88 and 89, which those before it tell; what any rejects without the flag as well (80, 90, 91) is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from cryptography import x509

from fleetprobe.layers.tls.extensions import Extensions

# X509_V_ERR_* of openssl/x509_vfy.h, the same numbers since OpenSSL 3.0.
INVALID_CA: Final = 79
"""Only of an issuer."""
NO_ISSUER_KEY_ID: Final = 85
"""Of every certificate but the last of the path."""
WHY: Final = {
    INVALID_CA: "is no CA by its extensions, as a version 1 root is not",
    81: "limits the path below it and may not sign certificates",
    82: "may sign certificates and is no CA",
    83: "names no issuer",
    84: "names no subject",
    NO_ISSUER_KEY_ID: "lacks an authority key identifier",
    86: "lacks a subject key identifier",
    87: "has an empty list of alternative names",
    88: "has no subject, and alternative names that are not critical",
    89: "has basicConstraints that are not critical",
    92: "lacks a key usage",
    93: "has extensions and is not of version 3",
}


def strict_faults(certificate: x509.Certificate, extensions: Extensions) -> tuple[int, ...]:
    """The numbers that this certificate meets as a part of a chain, in OpenSSL's order. Never raises."""
    basic, usage = extensions.get(x509.BasicConstraints), extensions.get(x509.KeyUsage)
    is_ca = basic is not None and basic.ca
    signs = usage is not None and usage.key_cert_sign
    names = extensions.get(x509.SubjectAlternativeName)
    subject, issuer = _is_empty(lambda: certificate.subject), _is_empty(lambda: certificate.issuer)
    stated, own = extensions.get(x509.AuthorityKeyIdentifier), extensions.get(x509.SubjectKeyIdentifier)
    third = _is_third(certificate)
    met = {
        # What OpenSSL takes for a CA all the same: of version 1 and signed by itself, or with keyCertSign alone.
        INVALID_CA: not is_ca,
        81: basic is not None and basic.path_length is not None and is_ca and not signs,
        89: is_ca and x509.BasicConstraints not in extensions.critical,
        92: is_ca and usage is None,
        82: not is_ca and signs,
        83: issuer,
        84: subject and (is_ca or names is None or (usage is not None and usage.crl_sign)),
        88: subject and names is not None and x509.SubjectAlternativeName not in extensions.critical,
        87: names is not None and next(iter(names), None) is None,
        NO_ISSUER_KEY_ID: third and (stated is None or stated.key_identifier is None),
        86: third and is_ca and own is None,
        93: not third and extensions.count > 0,
    }
    return tuple(number for number, is_so in met.items() if is_so)


def _is_empty(name: Callable[[], x509.Name]) -> bool:
    try:
        return not name().rdns
    except Exception:  # noqa: BLE001  # a stranger's bytes: a name that cannot be read is not empty
        return False


def _is_third(certificate: x509.Certificate) -> bool:
    try:
        return certificate.version is x509.Version.v3
    except x509.InvalidVersion:
        return True  # above 3: strict readers ask for at least that
