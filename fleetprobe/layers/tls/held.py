"""The presented chain held against the further trust stores of a target, by OpenSSL and outside of the handshake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleetprobe.layers.tls.certificate import Certificate, Read, read
from fleetprobe.model.trust import Store
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Net
from fleetprobe.net.verified import UNVERIFIABLE

DATES: Final = frozenset({9, 10})
"""X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED: the path is whole all the same."""
_PURPOSE: Final = 26
"""X509_V_ERR_INVALID_PURPOSE, which only a handshake asks about."""


@dataclass(frozen=True, slots=True)
class Held:
    """What OpenSSL says of the chain, given the anchors of one store."""

    label: str
    errors: tuple[tuple[int, int], ...]
    """(X509_V code, depth): the first one met, and before it what the handshake said of the leaf's purpose."""
    path: tuple[Read, ...] = ()
    """Leaf first and anchor last; empty where none was reached."""

    @property
    def judged(self) -> bool:
        """False: it could not be verified, so there is nothing to say."""
        return self.errors != UNVERIFIABLE.errors

    @property
    def anchor(self) -> Certificate | None:
        """Where the path ends, unless OpenSSL has more against it than dates."""
        return anchor_of(self.path, self.errors)


def anchor_of(path: Sequence[Read], errors: Sequence[tuple[int, int]]) -> Certificate | None:
    """The end of a path that OpenSSL built, unless it has more against it than dates."""
    last = path[-1] if path else None
    return last if isinstance(last, Certificate) and all(code in DATES for code, _ in errors) else None


async def hold(
    handshake: Handshake, stores: Sequence[Store], known: Mapping[bytes, Read], net: Net
) -> tuple[Held, ...]:
    """One verification for each store, in order; none where nothing was presented. `known`: by DER, read before."""
    if not handshake.chain_der:
        return ()
    # A leaf that is for something else is so whatever is trusted.
    leaf = tuple((code, depth) for code, depth in handshake.verify_errors if code == _PURPOSE and depth == 0)
    held = []
    for store in stores:
        seen = await net.verify(handshake.chain_der, store.file)
        errors = seen.errors if seen == UNVERIFIABLE else (*leaf, *seen.errors)
        held.append(Held(store.label, errors, tuple(known.get(der) or read(der) for der in seen.path_der)))
    return tuple(held)
