"""The authorities of the zoo: whom the targets trust, and whom nobody does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.zoo.book import own_name
from tests.zoo.mint import LONG, Key, Life, Minted, Wish, mint

_EXPONENT = 65537


@dataclass(frozen=True, slots=True)
class Family:
    """A root, the authority below it, and the one below that, which issues to servers."""

    root: Minted
    upper: Minted
    lower: Minted

    @property
    def above(self) -> tuple[Minted, Minted]:
        """What a server of this family must present behind its leaf."""
        return self.lower, self.upper

    def leaf(self, server: str, *, issuer: Minted | None = None, **wish: Any) -> Minted:
        """A certificate for the server of this name, by default for its own host name alone."""
        wish = {"name": own_name(server), "hosts": (own_name(server),), **wish}
        return mint(Wish(**wish), issuer or self.lower)

    def chain(self, server: str, **wish: Any) -> tuple[Minted, ...]:
        """A leaf as above with all that belongs behind it."""
        return self.leaf(server, **wish), *self.above


def family(owner: str, new_key: Callable[[], Key | None] = lambda: None) -> Family:
    """A new family, by default with keys on P-256."""
    root = authority(f"{owner} Root", key=new_key())
    upper = authority(f"{owner} Policy CA", root, path_length=1, key=new_key())
    return Family(root, upper, authority(f"{owner} Issuing CA", upper, path_length=0, key=new_key()))


def authority(name: str, issuer: Minted | None = None, *, life: Life = LONG, **wish: Any) -> Minted:
    """One certificate authority, self-signed or below another."""
    return mint(Wish(name=name, authority=True, life=life, **wish), issuer)


def crossed(one: Minted, by: Minted, life: Life = LONG) -> Minted:
    """The name and key of an authority once more, signed by another."""
    name = one.certificate.subject.rfc4514_string().removeprefix("CN=")
    return authority(name, by, key=one.key, life=life)


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """A new RSA key."""
    return rsa.generate_private_key(_EXPONENT, bits)


@dataclass(frozen=True, slots=True)
class Authorities:
    """Everyone who issues in the zoo."""

    ours: Family
    """Trusted by all targets that say nothing else; its authorities are presented by many servers."""
    by_rsa: Family
    """Trusted, with RSA keys."""
    unseen: Family
    """Trusted, and no server presents its authorities: what lacks them cannot be mended."""
    theirs: Family
    """Not trusted; some server presents all of it, its root too."""
    hermit: Family
    """Not trusted, and no server presents its root."""
    other: Family
    """A stranger, for certificates that belong to no chain."""


def authorities() -> Authorities:
    """New ones with new keys."""
    return Authorities(
        ours=family("Zoo"), by_rsa=family("Zoo RSA", rsa_key), unseen=family("Unseen"), theirs=family("Corporate"),
        hermit=family("Hermit"), other=family("Stranger"),
    )


def line_of(root: Minted, length: int, owner: str) -> Sequence[Minted]:
    """So many authorities below a root, the lowest first."""
    line = [root]
    for number in range(length):
        line.append(authority(f"{owner} {number + 1}", line[-1]))
    return line[:0:-1]
