"""What verifying a chain costs, reckoned from its bytes before it is spent: the chain is in a stranger's hands.

OpenSSL bounds the bytes of a chain and the constraints of one authority, not the sum of what they cost. In ten
authorities fit keys that take 5 ms each, or constraints and names that are held against each other 20 million times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleetprobe.net.der import KEY, SUBJECT, elements, extensions, field

CHEAP_BYTES: Final = 8 * 1024
"""A chain of less than this costs less than 30 ms whatever is in it, and is not looked at. Most have 3 to 6 KiB."""
_KEYS: Final = 150_000_000
"""Bytes of the modulus squared, times bytes of the exponent: 16 ms or so. RSA 4096 as it is usual: 0.8 million."""
_NAMES: Final = 45_000_000
"""Bytes of constraints times bytes of the names below them: 16 ms or so."""
_ANY_KEY: Final = 5_000_000
"""0.5 ms: P-384, P-521 and Ed448 take less, and a key of an algorithm that OpenSSL does not know is not used."""
_ANY_CURVE: Final = 25_000_000
"""Binary curves of 571 bits take 2.6 ms, where OpenSSL still has them; of the others brainpoolP512r1 takes 1.0 ms."""
_PARTS: Final = 3
_OTHER_EXPONENT_BYTES: Final = 64
"""A DSA key is prime, generator and key of one length, and its signatures have two short exponents."""
_FACTORED: Final = (bytes.fromhex("2a864886f70d0101"), bytes.fromhex("550801"))
"""Where RSA stands, for PSS and under its old name as well."""
_DISCRETE: Final = (bytes.fromhex("2a8648ce38"), bytes.fromhex("2b0e0302"))
"""Where DSA stands, under its old names as well."""
_CURVED: Final = bytes.fromhex("2a8648ce3d0201")
_CURVES: Final = {
    bytes.fromhex("2a8648ce3d030107"): 1_000_000,  # P-256: 0.08 ms
    bytes.fromhex("2b81040022"): _ANY_KEY,
    bytes.fromhex("2b81040023"): _ANY_KEY,
}
_OF_ONE_SIZE: Final = {
    bytes.fromhex("2b6570"): 1_000_000,  # Ed25519: 0.07 ms
    **{bytes.fromhex("6086480165030403") + bytes((one,)): 3_000_000 for one in range(17, 20)},
    **{bytes.fromhex("6086480165030403") + bytes((one,)): 10_000_000 for one in range(20, 32)},
}
"""ML-DSA (.17 to .19, RFC 9881) takes 0.1 to 0.26 ms. SLH-DSA (.20 to .31, RFC 9909) takes 0.6 to 2.2 ms, and as its
signatures have 8 to 50 KB, no chain of it that OpenSSL reads takes 10."""
_NAME_CONSTRAINTS: Final = bytes.fromhex("551d1e")
_ALTERNATIVE_NAMES: Final = bytes.fromhex("551d11")


@dataclass(slots=True)
class Price:
    """What one path has cost so far, from its end downwards."""

    keys: int = 0
    names: int = 0
    limits_bytes: int = 0

    def too_dear(self, der: bytes) -> bool:
        """Add the next certificate; True: it is better not to go on."""
        try:
            self.keys += _key(der)
            listed, own_bytes = extensions(der), len(field(der, SUBJECT))
        except ValueError:
            return True
        sizes = {oid: sum(len(one.value) for one in found) for oid, found in listed.items()}
        # Constraints are held against the subject too, and against each mail address in it (RFC 5280 §4.2.1.10).
        self.names += (sizes.get(_ALTERNATIVE_NAMES, 0) + own_bytes) * self.limits_bytes
        self.limits_bytes += sizes.get(_NAME_CONSTRAINTS, 0)
        return self.keys > _KEYS or self.names > _NAMES


def _key(der: bytes) -> int:
    """The price of one signature checked with the key of a certificate."""
    info = field(der, KEY)
    (outer,) = elements(info)
    algorithm, bits = elements(info, outer.content)
    kind, *parameters = elements(info, algorithm.content, algorithm.end)
    name = info[kind.content : kind.end]
    if name.startswith(_FACTORED):
        (numbers,) = elements(info, bits.content + 1, bits.end)
        modulus, exponent = elements(info, numbers.content, numbers.end)
        return (modulus.end - modulus.content) ** 2 * (exponent.end - exponent.content)
    if name.startswith(_DISCRETE):
        return _ANY_KEY + (len(info) // _PARTS) ** 2 * _OTHER_EXPONENT_BYTES
    if name == _CURVED:
        curve = next((info[one.content : one.end] for one in parameters), b"")
        return _CURVES.get(curve, _ANY_CURVE)
    return _OF_ONE_SIZE.get(name, _ANY_KEY)
