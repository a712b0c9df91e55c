"""The presented certificates and the path that OpenSSL built, laid over each other.

OpenSSL verifies, inside the handshake, and decides; what stands here only explains. The one thing looked at anew is
who signed the certificate at which OpenSSL stopped, as it passes over issuers without a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from fleetprobe.layers.tls.certificate import Certificate, Read
from fleetprobe.layers.tls.signature import signed_by

MOST_TRIALS: Final = 8
"""Signatures looked at for one target; each costs at most about a millisecond."""
NO_ISSUER: Final = frozenset({2, 20, 21})
BAD_SIGNATURE: Final = 7


@dataclass(frozen=True, slots=True)
class Trial:
    """One certificate held against the key of another that bears its issuer's name."""

    child_sha256: str
    issuer_sha256: str
    fits: bool | None
    """None: it cannot be told."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the path runs through what was presented; positions count from 0, the leaf."""

    positions: tuple[int | None, ...]
    """Where each certificate of the path was presented first; None: it came from the trust store."""
    repeated: tuple[int, ...]
    """Presented before."""
    unused: tuple[int, ...]
    """Presented and not in the path, repetitions left out."""

    @property
    def in_order(self) -> bool:
        """Whether each issuer was presented somewhere behind what it issued (RFC 5246 §7.4.2)."""
        sent = [position for position in self.positions if position is not None]
        return sent == sorted(sent)


def lay(presented: Sequence[str], path: Sequence[str]) -> Shape:
    """Fingerprints of what was presented, and of the path."""
    first: dict[str, int] = {}
    repeated = []
    for position, fingerprint in enumerate(presented):
        if first.setdefault(fingerprint, position) != position:
            repeated.append(position)
    used = set(path)
    return Shape(
        positions=tuple(first.get(fingerprint) for fingerprint in path),
        repeated=tuple(repeated),
        unused=tuple(position for fingerprint, position in first.items() if fingerprint not in used),
    )


def same_name(one: str, other: str) -> bool:
    """Whether two names are the same but for case and runs of blanks (RFC 5280 §7.1)."""
    return name_key(one) == name_key(other)


def name_key(name: str) -> str:
    """What names are compared by."""
    return " ".join(name.casefold().split())


def twins(one: Certificate, other: Certificate) -> bool:
    """Whether two certificates are of one authority and key, vouched for by different issuers."""
    return (
        one.key_sha256 == other.key_sha256
        and same_name(one.subject, other.subject)
        and not same_name(one.issuer, other.issuer)
    )


def stopped_at(path: Sequence[Read], errors: Sequence[tuple[int, int]]) -> Certificate | None:
    """The certificate above which OpenSSL found no issuer, or whose signature does not fit."""
    depth = next((depth for code, depth in errors if code == BAD_SIGNATURE), None)
    if depth is None and any(code in NO_ISSUER for code, _ in errors):
        depth = len(path) - 1
    here = path[depth] if depth is not None and 0 <= depth < len(path) else None
    return here if isinstance(here, Certificate) else None


def named_issuers(child: Certificate, known: Sequence[Read]) -> tuple[Certificate, ...]:
    """Certificates of the name that the child gives as its issuer's, each once."""
    fit = {
        one.sha256: one
        for one in known
        if isinstance(one, Certificate) and one.sha256 != child.sha256 and same_name(one.subject, child.issuer)
    }
    return tuple(fit.values())


def try_issuers(
    presented: Sequence[Read], path: Sequence[Read], errors: Sequence[tuple[int, int]], ders: Mapping[str, bytes]
) -> tuple[Trial, ...]:
    """Hold the certificate at which OpenSSL stopped against every issuer of the right name; no work where it did not.

    `ders` holds what is known by fingerprint.
    """
    child = stopped_at(path, errors)
    if child is None:
        return ()
    candidates = named_issuers(child, (*presented, *path))[:MOST_TRIALS]
    return tuple(
        Trial(child.sha256, one.sha256, signed_by(ders[child.sha256], ders[one.sha256])) for one in candidates
    )
