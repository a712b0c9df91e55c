"""What verifying a chain costs, reckoned from its bytes before it is spent: the chain is in a stranger's hands.

OpenSSL bounds the bytes of a chain and the constraints of one authority, not the sum of what they cost. In ten
authorities fit keys that take 5 ms each, or constraints and names that are held against each other 20 million times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fleetprobe.net.der import KEY, elements, extensions, field

CHEAP_BYTES: Final = 8 * 1024
"""A chain of less than this costs less than 30 ms whatever is in it, and is not looked at. Most have 3 to 6 KiB."""
_KEYS: Final = 150_000_000
"""Bytes of the modulus squared, times bytes of the exponent: 16 ms or so. RSA 4096 as it is usual: 0.8 million."""
_NAMES: Final = 45_000_000
"""Bytes of constraints times bytes of the names below them: 16 ms or so."""
_ANY_KEY: Final = 5_000_000
_PARTS: Final = 3
_OTHER_EXPONENT_BYTES: Final = 64
"""A key that is none of RSA is reckoned as DSA: prime, generator and key of one length, and two short exponents."""
_RSA: Final = bytes.fromhex("2a864886f70d010101")
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
            listed = extensions(der)
        except ValueError:
            return True
        sizes = {oid: sum(len(one.value) for one in found) for oid, found in listed.items()}
        self.names += sizes.get(_ALTERNATIVE_NAMES, 0) * self.limits_bytes
        self.limits_bytes += sizes.get(_NAME_CONSTRAINTS, 0)
        return self.keys > _KEYS or self.names > _NAMES


def _key(der: bytes) -> int:
    """The price of one signature checked with the key of a certificate."""
    info = field(der, KEY)
    (outer,) = elements(info)
    algorithm, bits = elements(info, outer.content)
    kind = next(elements(info, algorithm.content, algorithm.end))
    if info[kind.content : kind.end] != _RSA:
        return _ANY_KEY + (len(info) // _PARTS) ** 2 * _OTHER_EXPONENT_BYTES
    (numbers,) = elements(info, bits.content + 1, bits.end)
    modulus, exponent = elements(info, numbers.content, numbers.end)
    return (modulus.end - modulus.content) ** 2 * (exponent.end - exponent.content)
