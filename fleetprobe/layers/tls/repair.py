"""The best path that a chain could have, with what it was presented with and what the rest of the fleet presents.

OpenSSL decides whether a path holds; the search only puts paths together, by names and signatures, and every link of
them has been checked. So what a stranger put into the pool can cost work, within a budget, but proves nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from fleetprobe.layers.tls.certificate import TEXT_CHARS, Certificate, Read, iso, read
from fleetprobe.layers.tls.graph import BAD_SIGNATURE, NO_ISSUER, name_key, named_issuers
from fleetprobe.layers.tls.signature import signed_by
from fleetprobe.net.interface import Net
from fleetprobe.net.pool import Pooled

SELF_SIGNED_IN_CHAIN: Final = 19
EXPIRED: Final = 10
_WITHOUT_END: Final = NO_ISSUER | {BAD_SIGNATURE, SELF_SIGNED_IN_CHAIN}
"""X509_V numbers of a path that does not reach a trust anchor."""
_MOST_SIGNATURES: Final = 24
_MOST_PATHS: Final = 8
_MOST_CAS: Final = 10
_MOST_POOLED: Final = 8
"""Of one host."""


@dataclass(frozen=True, slots=True)
class Added:
    """A certificate that the server does not present and that its chain needs."""

    certificate: Certificate
    found_at: str
    """Who presents it, or the kind of file it came from."""


@dataclass(frozen=True, slots=True)
class Repair:
    """A path that leads further than the one presented."""

    install: tuple[Certificate, ...]
    """What the server should send: the leaf, then each issuer; no root."""
    added: tuple[Added, ...]
    """Those of `install` that it does not send."""
    anchor: Certificate | None
    """The trust anchor that it reaches; None: it ends in `root`."""
    root: Certificate | None = None
    """The self-signed certificate in which it ends, and which is not trusted."""
    root_found_at: str | None = None
    """Where the root was found, when the server does not send it."""
    errors: tuple[tuple[int, int], ...] = ()
    """(X509_V code, depth) of the verification of this path; of one that reaches an anchor dates alone, if anything."""

    def record(self) -> Mapping[str, Any]:
        """JSON-ready values, for the facts of the handshake."""
        facts: dict[str, Any] = {
            "install_sha256": [one.sha256 for one in self.install],
            "missing": [
                {
                    "subject": one.certificate.subject[:TEXT_CHARS],
                    "sha256": one.certificate.sha256,
                    "not_after": iso(one.certificate.not_after),
                    "found_at": one.found_at,
                }
                for one in self.added
            ],
            "verify_code": self.errors[0][0] if self.errors else 0,
        }
        end = self.anchor or self.root
        if end is not None:
            name = "trust_anchor" if self.anchor else "untrusted_root"
            facts[name] = {"subject": end.subject[:TEXT_CHARS], "sha256": end.sha256, "not_after": iso(end.not_after)}
        if self.root_found_at:
            facts["untrusted_root_found_at"] = self.root_found_at
        return facts


def pool(net: Net, presented: Sequence[Read], trusted: frozenset[str], ders: Mapping[str, bytes], at: str) -> None:
    """Remember the authorities among what a host presented; `trusted` has led to an anchor. The leaf is none."""
    kept = 0
    for one in presented[1:]:
        if not isinstance(one, Certificate) or not one.is_ca:
            continue
        vouched = one.sha256 in trusted
        if not net.pool.holds(one.sha256, vouched=vouched):
            net.pool.add(name_key(one.subject), ders[one.sha256], at, vouched=vouched)
        kept += 1
        if kept == _MOST_POOLED:
            return


async def repair(
    presented: Sequence[Read], errors: Sequence[tuple[int, int]], ders: Mapping[str, bytes],
    net: Net, ca_file: str | None, as_of: datetime, lent: Sequence[Pooled] = (),
) -> Repair | None:
    """The best path there is when OpenSSL's one ends nowhere or leads through an issuer out of date; else None.

    `lent` is looked at beside the pool, which may have no room left for a name.
    """
    leaf = presented[0] if presented else None
    endless = any(code in _WITHOUT_END for code, _ in errors)
    aged = any(code == EXPIRED and depth > 0 for code, depth in errors)
    if not isinstance(leaf, Certificate) or leaf.self_signed or not (endless or aged):
        return None
    search = _Search(presented, dict(ders), net, ca_file, as_of, lent)
    best: Repair | None = None
    async for candidate in search.repairs(leaf):
        if best is None or search.rank(candidate) < search.rank(best):
            best = candidate
        if search.rank(best) == _FLAWLESS:
            break
    if best is None or (not endless and search.rank(best) != _FLAWLESS):
        return None
    return best


_FLAWLESS: Final = (False, 0)


@dataclass(slots=True)
class _Search:
    """One search with its budget."""

    presented: Sequence[Read]
    ders: dict[str, bytes]
    net: Net
    ca_file: str | None
    as_of: datetime
    lent: Sequence[Pooled]
    found_at: dict[str, str] = field(default_factory=dict)
    """Of what the host does not present itself."""
    signatures: int = 0

    def rank(self, one: Repair) -> tuple[bool, int]:
        """The lower the better: an anchor is reached; how many issuers are out of date."""
        return one.anchor is None, sum(not self._in_date(issuer) for issuer in one.install[1:])

    async def repairs(self, leaf: Certificate) -> AsyncIterator[Repair]:
        """Paths that reach a trust anchor or a root, the likeliest first."""
        for tried, path in enumerate(self._paths((leaf,))):
            if tried == _MOST_PATHS:
                return
            verified = await self.net.verify([self.ders[one.sha256] for one in path], self.ca_file)
            if verified.path_der:
                yield self._reaching(verified.path_der, verified.errors)
            elif path[-1].self_signed and len(path) > 1:
                found_at = self.found_at.get(path[-1].sha256)
                yield Repair(path[:-1], self._added(path[:-1]), None, path[-1], found_at, verified.errors)

    def _reaching(self, path_der: Sequence[bytes], errors: tuple[tuple[int, int], ...]) -> Repair:
        known = [one for one in map(read, path_der) if isinstance(one, Certificate)]
        install = tuple(known[:-1]) or tuple(known)
        return Repair(install, self._added(install), known[-1], errors=errors)

    def _added(self, install: Sequence[Certificate]) -> tuple[Added, ...]:
        sent = self._sent
        return tuple(
            Added(one, self.found_at.get(one.sha256, "trust store")) for one in install if one.sha256 not in sent
        )

    @property
    def _sent(self) -> frozenset[str]:
        return frozenset(one.sha256 for one in self.presented)

    def _paths(self, path: tuple[Certificate, ...]) -> Iterator[tuple[Certificate, ...]]:
        """Every path upward that cannot be made longer; depth first."""
        longer = False
        if not path[-1].self_signed and len(path) <= _MOST_CAS:
            for issuer in self._issuers(path):
                longer = True
                yield from self._paths((*path, issuer))
        if not longer:
            yield path

    def _issuers(self, path: Sequence[Certificate]) -> Iterator[Certificate]:
        """Who signed the last certificate of the path, of all that bear its issuer's name."""
        child, seen = path[-1], {one.sha256 for one in path}
        for issuer in sorted(self._named(child), key=lambda one: self._unlikely(child, one)):
            if issuer.sha256 in seen or not _may_issue(issuer):
                continue
            if self.signatures == _MOST_SIGNATURES:
                return
            self.signatures += 1
            if signed_by(self.ders[child.sha256], self.ders[issuer.sha256]):
                yield issuer

    def _named(self, child: Certificate) -> Sequence[Certificate]:
        pooled = (*self.lent, *self.net.pool.named(name_key(child.issuer)))
        sent = self._sent
        for one in pooled:
            if one.sha256 not in sent:
                self.ders.setdefault(one.sha256, one.der)
                self.found_at.setdefault(one.sha256, one.found_at)
        return named_issuers(child, (*self.presented, *(read(one.der) for one in pooled)))

    def _unlikely(self, child: Certificate, issuer: Certificate) -> tuple[bool, bool, bool, bool, str]:
        """The order of trying; the same in every run."""
        wanted = child.issuer_key_id
        return (
            wanted is not None and issuer.key_id is not None and issuer.key_id != wanted,
            not self._in_date(issuer),
            issuer.sha256 in self.found_at,
            not self.net.pool.vouched(issuer.sha256),
            issuer.sha256,
        )

    def _in_date(self, one: Certificate) -> bool:
        return one.not_before <= self.as_of <= one.not_after


def _may_issue(issuer: Certificate) -> bool:
    """Whether clients would take it as the issuer of a server's certificate."""
    purposes = issuer.purposes
    return issuer.is_ca and issuer.signs_certificates is not False and (
        not purposes or "serverAuth" in purposes or "any" in purposes
    )
