"""The best path that a chain could have, with what it was presented with and what the rest of the fleet presents.

OpenSSL decides whether a path holds; the search only puts paths together, by names and signatures, and every link of
them has been checked. So what a stranger put into the pool can cost work, within a budget, but proves nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
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
_FROM_THE_STORE: Final = 2
"""X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT: of a certificate that came from the trust store itself."""
_MOST_SIGNATURES: Final = 48
_MOST_PATHS: Final = 24
"""Above what one full name of the pool can hold of another's making."""
_MOST_CAS: Final = 10
_SERVER_PURPOSES: Final = frozenset({"serverAuth", "1.3.6.1.4.1.311.10.3.3", "2.16.840.1.113730.4.1"})
"""And the server-gated cryptography of old, of two makers."""
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
    stale: frozenset[str] = frozenset()
    """Issuers of the path, its end included, that are out of date, by fingerprint."""

    @property
    def holds(self) -> bool:
        """Whether clients accept the path, the leaf's own dates left aside."""
        return self.anchor is not None and not self.stale

    @property
    def missing(self) -> tuple[Added, ...]:
        """What it proves to be missing: certificates that lead on, and are worth installing.

        Towards an anchor that is any; towards a root that nobody trusts only from the leaf's own issuer on, as nobody
        can say whether above it a cross-sign is missing or a root was rightly left out.
        """
        end = self.anchor or self.root
        if end is None or any(one in self.stale for one in (end.sha256, *(a.certificate.sha256 for a in self.added))):
            return ()
        if self.anchor is None and self.added and self.added[0].certificate != self.install[1]:
            return ()
        return self.added

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
                for one in self.missing
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
    net: Net, ca_file: str | None, as_of: datetime, lent: Sequence[Pooled] = (), sent: Collection[str] = (),
) -> Repair | None:
    """The best path there is when OpenSSL's one ends nowhere or leads through an issuer out of date; else None.

    `lent` is looked at beside the pool, which may have no room left for a name. `sent` are the fingerprints of all
    that was presented, where that is more than was read.
    """
    leaf = presented[0] if presented else None
    endless = any(code in _WITHOUT_END for code, _ in errors)
    aged = any(code == EXPIRED and depth > 0 for code, depth in errors)
    if not isinstance(leaf, Certificate) or leaf.self_signed or not (endless or aged):
        return None
    known = frozenset((*sent, *(one.sha256 for one in presented)))
    # Where a trusted certificate has no issuer itself, a root that nobody trusts would explain nothing.
    roots = not any(code == _FROM_THE_STORE for code, _ in errors)
    search = _Search(presented, known, dict(ders), net, ca_file, as_of, lent)
    best: Repair | None = None
    async for candidate in search.repairs(leaf, roots=roots):
        if best is None or _rank(candidate) < _rank(best):
            best = candidate
        if best.holds:
            break
    return best if best is not None and (endless or (best.holds and best.added)) else None


def _rank(one: Repair) -> tuple[bool, int, int]:
    """The lower the better: an anchor is reached, fewer issuers out of date, and less added."""
    return one.anchor is None, len(one.stale), len(one.added)


@dataclass(slots=True)
class _Search:
    """One search with its budget."""

    presented: Sequence[Read]
    sent: frozenset[str]
    ders: dict[str, bytes]
    net: Net
    ca_file: str | None
    as_of: datetime
    lent: Sequence[Pooled]
    found_at: dict[str, str] = field(default_factory=dict)
    """Of what the host does not present itself."""
    signatures: int = 0

    async def repairs(self, leaf: Certificate, *, roots: bool) -> AsyncIterator[Repair]:
        """Paths that reach a trust anchor, and with `roots` those that end in another root, the likeliest first."""
        for tried, path in enumerate(self._paths((leaf,))):
            if tried == _MOST_PATHS:
                return
            verified = await self.net.verify([self.ders[one.sha256] for one in path], self.ca_file)
            if verified.path_der:
                reaching = self._reaching(verified.path_der, verified.errors)
                if reaching is not None:
                    yield reaching
            elif roots and verified.errors[:1] == ((SELF_SIGNED_IN_CHAIN, len(path) - 1),):
                yield self._ending(path, verified.errors)

    def _reaching(self, path_der: Sequence[bytes], errors: tuple[tuple[int, int], ...]) -> Repair | None:
        """None: its end may not vouch for servers, which `Net.verify` does not look at."""
        known = [one for one in map(read, path_der) if isinstance(one, Certificate)]
        if not known or not _for_servers(known[-1]):
            return None
        install = tuple(known[:-1]) or tuple(known)
        return Repair(install, self._added(install), known[-1], errors=errors, stale=self._stale(known[1:]))

    def _ending(self, path: Sequence[Certificate], errors: tuple[tuple[int, int], ...]) -> Repair:
        install, root = tuple(path[:-1]), path[-1]
        found_at = self.found_at.get(root.sha256)
        return Repair(install, self._added(install), None, root, found_at, errors, self._stale(path[1:]))

    def _stale(self, issuers: Sequence[Certificate]) -> frozenset[str]:
        return frozenset(one.sha256 for one in issuers if not self._in_date(one))

    def _added(self, install: Sequence[Certificate]) -> tuple[Added, ...]:
        return tuple(
            Added(one, self.found_at.get(one.sha256, "trust store")) for one in install if one.sha256 not in self.sent
        )

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
        for one in pooled:
            self.ders.setdefault(one.sha256, one.der)
            if one.sha256 not in self.sent:
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
    return issuer.is_ca and issuer.signs_certificates is not False and _for_servers(issuer)


def _for_servers(issuer: Certificate) -> bool:
    """What X509_check_purpose(3) asks of a CA; `any` does not count there."""
    return not issuer.purposes or bool(_SERVER_PURPOSES & set(issuer.purposes))
