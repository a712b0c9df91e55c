"""TLS alerts by number (RFC 8446 §6.2, with those that older versions and RFC 6066 and 7301 define)."""

from __future__ import annotations

from typing import Final

CLOSE_NOTIFY: Final = 0
HANDSHAKE_FAILURE: Final = 40
BAD_CERTIFICATE: Final = 42
ILLEGAL_PARAMETER: Final = 47
PROTOCOL_VERSION: Final = 70
INSUFFICIENT_SECURITY: Final = 71
USER_CANCELED: Final = 90
UNRECOGNIZED_NAME: Final = 112
NO_APPLICATION_PROTOCOL: Final = 120
FATAL: Final = 2

ABOUT_OUR_CERTIFICATE: Final = frozenset({40, 41, 42, 43, 44, 45, 46, 48, 49, 116})
"""With what servers refuse a client that had no certificate to give: OpenSSL with 40 and 116, Go and Java with 42 below
TLS 1.3, others by any word that they have for a certificate. None of them says so unless it had asked for one; only
40 and 49 have other meanings, too."""
CERTIFICATE_REQUIRED: Final = 116

_NAMES: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
}


def alert_name(number: int) -> str:
    """The registered name of an alert; `alert_N` for numbers that no document gives a name."""
    return _NAMES.get(number, f"alert_{number}")
