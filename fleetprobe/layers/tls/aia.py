"""The issuer that a chain lacks, fetched from where its certificate says (RFC 5280 §4.2.2.1). Only when asked for.

Asked after the climb, as a fetch takes longer than a server waits for a request; so the fetched certificate closes the
gap here, in findings of this witness, and is in the pool for whoever comes later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fleetprobe.layer import Errands, Ground, Witness
from fleetprobe.layers.tls import gap, labels
from fleetprobe.layers.tls.aia_fetch import Came, Fetched, fetch
from fleetprobe.layers.tls.aia_url import MOST_CHARS, Place, place
from fleetprobe.layers.tls.certificate import Certificate, read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import name_key, same_name, stopped_at
from fleetprobe.layers.tls.repair import Repair, repair
from fleetprobe.layers.tls.signature import signed_by
from fleetprobe.model.attempt import Attempt
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Finding
from fleetprobe.net.interface import Net
from fleetprobe.net.pool import Pooled

WHEN: Final = frozenset({"tls.issuer_unknown", "tls.bad_signature"})
EMITS: Final = gap.EMITS
MOST_HOPS: Final = 3
"""Certificates fetched above one another."""
_MOST_URLS: Final = 2
"""Asked for one certificate."""
_MOST_SIGNATURES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AiaFacts:
    """What was fetched.

    | field | type | meaning |
    |---|---|---|
    | aia | list of {url, outcome, detail, bytes, duration_ms} | each URL in the order asked |
    | repair | as that of the tls layer | the best path with what was fetched |
    """

    tls: TlsFacts
    """The handshake, its repair being the one that was found here."""
    fetched: tuple[Fetched, ...]
    certificates_der: tuple[bytes, ...] = ()
    """Of the issuers, for the record's own certificate lines."""

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        told = self.tls.repair
        return {"aia": [one.record() for one in self.fetched], **({"repair": told.record()} if told else {})}

    def columns(self) -> Mapping[str, Any]:
        """A witness fills no column: those belong to the climb."""
        return {}


async def probe(ground: Ground, net: Net) -> AiaFacts | None:
    """Fetch the issuer, and the issuer of that, until the path has an end. None: nothing to ask, or nobody wants it."""
    seen = ground.facts.get("tls")
    # In the place of a handshake may stand the talk that did not lead to one.
    if ground.errands is None or not isinstance(seen, TlsFacts) or (child := _child(seen)) is None:
        return None
    chase = _Chase(ground, net, ground.errands, seen)
    best = await chase.to_the_end(child)
    ground.attempts += chase.attempts
    found = tuple(one.der for one in chase.lent)
    return AiaFacts(tls=replace(seen, repair=best), fetched=tuple(chase.fetched), certificates_der=found)


def in_doubt(ground: Ground, seen: TlsFacts) -> TlsFacts:
    """What a climb may say before the issuer has been fetched: that the gap is closed, but not by whom nobody trusts.

    Another path may lead from the fetched issuer to an anchor; which is found must not depend on who was seen before.
    """
    if ground.errands is None or seen.repair is None or seen.repair.anchor is not None or _child(seen) is None:
        return seen
    return replace(seen, repair=None)


def judge(facts: AiaFacts | None, policy: Policy) -> Sequence[Finding]:
    """What the path proves that was put together with what was fetched."""
    if facts is None or facts.tls.repair is None:
        return ()
    told, _ = labels.tell(facts.tls, gap.told(facts.tls, facts.tls.repair), policy.as_of)
    aia = facts.record()["aia"]
    return [replace(one, supersedes=WHEN, facts={**one.facts, "aia": aia}) for one in told]


def _child(seen: TlsFacts) -> Certificate | None:
    """The certificate whose issuer is wanted and offered."""
    child = None if seen.handshake.too_dear else stopped_at(seen.path, seen.handshake.verify_errors)
    return child if child is not None and child.issuer_urls else None


class _Chase:
    """One way up, with what was met on it."""

    def __init__(self, ground: Ground, net: Net, errands: Errands, seen: TlsFacts) -> None:
        self._ground = ground
        self._net = net
        self._errands = errands
        self._seen = seen
        self._ders = _ders(seen)
        self.fetched: list[Fetched] = []
        self.attempts: list[Attempt] = []
        self.lent: list[Pooled] = []

    async def to_the_end(self, child: Certificate) -> Repair | None:
        """The best path, fetched up to an anchor, a root, or as far as it goes."""
        best = None
        for _ in range(MOST_HOPS):
            issuer = await self._issuer(child)
            best = await self._repair()
            if issuer is None or issuer.self_signed or (best is not None and best.anchor is not None):
                break
            child = issuer
        return best

    async def _repair(self) -> Repair | None:
        seen, policy = self._seen, self._ground.policy
        deciding = policy.trust.of(self._ground.target)[0]
        return await repair(
            seen.certificates, seen.handshake.verify_errors, self._ders, self._net, deciding.file, policy.as_of,
            self.lent,
        )

    async def _issuer(self, child: Certificate) -> Certificate | None:
        """Who signed the certificate, from the first of its URLs that has it."""
        asked = 0
        for url in child.issuer_urls:
            where = place(url)
            asked += where is not None
            if asked > _MOST_URLS:
                break
            odd = Fetched(url=url[:MOST_CHARS], came=Came.ODD_URL)
            fetched = odd if where is None else await self._fetch(where)
            signers = [one for one in self._signers(child, fetched) if one.sha256 not in self._ders]
            if fetched.certificates:
                fetched = replace(fetched, came=Came.ISSUER if signers else Came.STRANGER)
            self.fetched.append(fetched)
            for one in signers:
                self._lend(one, self._der(one, fetched), f"{fetched.url} (AIA)")
            if signers:
                return signers[0]
        return None

    async def _fetch(self, where: Place) -> Fetched:
        net, errands, name_s = self._net, self._errands, self._ground.policy.dns_s
        asked: list[Fetched] = []

        async def ask() -> Fetched:
            asked.append(await fetch(where, net, errands, name_s))
            return asked[0]

        told = await errands.once(where.url, ask, self._ground.deadline)
        # Whoever made them tells of the connections; they are not told again by those who share the outcome.
        self.attempts += [attempt for one in asked for attempt in one.attempts]
        return Fetched(url=where.url, came=Came.NOT_ASKED) if told is None else told

    def _signers(self, child: Certificate, fetched: Fetched) -> list[Certificate]:
        """Authorities of the right name whose key signed the child; the likeliest to lead on come first."""
        named = [
            one for one in map(read, fetched.certificates)
            if isinstance(one, Certificate) and one.is_ca and same_name(one.subject, child.issuer)
        ]
        der = self._ders[child.sha256]
        signed = [one for one in named[:_MOST_SIGNATURES] if signed_by(der, self._der(one, fetched))]
        return sorted(signed, key=lambda one: (one.self_signed, one.sha256))

    @staticmethod
    def _der(one: Certificate, fetched: Fetched) -> bytes:
        return next(der for der in fetched.certificates if read(der).sha256 == one.sha256)

    def _lend(self, one: Certificate, der: bytes, found_at: str) -> None:
        self._ders[one.sha256] = der
        self.lent.append(Pooled(one.sha256, der, found_at, presented=False))
        self._net.pool.add(name_key(one.subject), der, found_at, presented=False)


def _ders(seen: TlsFacts) -> dict[str, bytes]:
    handshake = seen.handshake
    presented = zip(seen.certificates, handshake.chain_der, strict=False)
    path = zip(seen.path, handshake.path_der, strict=False)
    return {one.sha256: der for one, der in (*presented, *path)}


WITNESS = Witness(name="aia", when=WHEN, probe=probe, judge=judge, layer="tls")
