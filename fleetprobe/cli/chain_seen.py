"""The chain of a recorded handshake as links, from the leaf up: what holds, what is at fault, and what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Facts = Mapping[str, Any]

_MOST: Final = 16
_NO_ISSUER: Final = frozenset({2, 20, 21})
_ENDLESS: Final = _NO_ISSUER | {7, 19}
"""X509_V numbers that a repaired path answers."""
_FAULTS: Final = {
    7: "its issuer's key did not sign it",
    9: "not valid yet",
    10: "expired",
    18: "signed by itself",
    19: "not trusted",
    22: "the chain is too long from here",
    25: "too many authorities below it",
    26: "not for servers",
    32: "may not sign certificates",
    66: "weak key",
    67: "weak key",
    68: "weak signature",
    79: "no authority",
}
_NAMES: Final = frozenset({47, 48, 49, 51, 52, 53})
"""X509_V numbers about name constraints."""
_UNTIDY: Final = frozenset({"tls.wrong_order", "tls.extra_certs", "tls.duplicate_certs"})


@dataclass(frozen=True, slots=True)
class Link:
    """One certificate; what is said of it is not made safe to print yet."""

    role: str
    """leaf, issuer or root."""
    subject: str
    source: str
    """Where it comes from."""
    until: str = ""
    """Its last day, `2026-01-31`."""
    fault: str = ""
    """Why clients fail at it; empty: they do not."""


@dataclass(frozen=True, slots=True)
class Chain:
    """What is drawn."""

    links: tuple[Link, ...]
    """The leaf first."""
    beside: tuple[str, ...]
    """What is sent and not used, and what could take the place of a link."""


def chain_of(row: Facts) -> Chain | None:
    """The chain of a result of which something is at fault; None for all others."""
    facts = next((one["facts"] for one in _rows(row.get("layers")) if one.get("layer") == "tls" and _is(one)), None)
    if facts is None or not _rows(facts.get("certificates")):
        return None
    seen = _Seen(facts, [row, *_rows(row.get("findings"))])
    links = tuple(seen.links())
    told = {str(one.get("code")) for one in seen.told}
    if not told & _UNTIDY and not any(link.fault for link in links):
        return None
    return Chain(links, tuple(seen.beside()))


class _Seen:
    """The facts of one handshake, looked up by fingerprint."""

    def __init__(self, facts: Facts, told: Sequence[Facts]) -> None:
        self.facts = facts
        self.told = told
        self.sent = _texts(facts.get("chain_sha256"))
        self.path = _texts(facts.get("path_sha256")) or self.sent
        told_errors = [(one.get("code"), one.get("depth")) for one in _rows(facts.get("verify_errors"))]
        self.errors = [(int(a), int(b)) for a, b in told_errors if isinstance(a, int) and isinstance(b, int)]
        self.repair = _mapping(facts.get("repair"))
        self.missing = {str(one.get("sha256")): one for one in _rows(self.repair.get("missing"))}
        self.anchor = _mapping(self.repair.get("trust_anchor")) or _mapping(facts.get("trust_anchor"))
        self.stranger = _mapping(self.repair.get("untrusted_root"))
        ends = [one for one in (self.anchor, self.stranger) if one]
        every = [*ends, *self.missing.values(), *_rows(facts.get("certificates"))]
        self.known = {str(one.get("sha256")): one for one in every}
        self.repaired = bool(self.repair) and any(code in _ENDLESS for code, _ in self.errors)

    def links(self) -> Iterator[Link]:
        """The repaired path where the one presented has no end, else the one that OpenSSL built."""
        order = self._order()
        faults = self._faults(order)
        below: Facts = {}
        for place, sha256 in enumerate(order[:_MOST]):
            # What came from the trust store is recorded by fingerprint alone; its name stands in what it signed.
            one = self.known.get(sha256) or {"subject": below.get("issuer")}
            below = one
            yield Link(
                role=self._role(sha256, place, one, last=place == len(order) - 1),
                subject=_subject(one, sha256),
                source=self._source(sha256, place),
                until=str(one.get("not_after") or "")[:10],
                fault="; ".join(faults.get(sha256, ())),
            )
        if order and not self.repaired and any(code in _NO_ISSUER for code, _ in self.errors):
            yield from self._gap(self.known.get(order[-1], {}))

    def beside(self) -> Iterator[str]:
        """In the order sent, then what could stand in place of an issuer that has expired."""
        used, before = set(self._order()), set[str]()
        for sha256 in self.sent[:_MOST]:
            if sha256 in before:
                yield f"sent again: {self._short(sha256)}"
            elif sha256 not in used:
                yield f"sent and not used: {self._short(sha256)}"
            before.add(sha256)
        if not self.repaired:
            for sha256, one in self.missing.items():
                yield f"in its place: {self._short(sha256)}, {_found(one.get('found_at'))}"

    def _order(self) -> list[str]:
        if not self.repaired:
            return self.path
        end = self.anchor or self.stranger
        return [*_texts(self.repair.get("install_sha256")), *([str(end.get("sha256"))] if end else [])]

    def _faults(self, order: Sequence[str]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for code, depth in self.errors:
            solved = self.repaired and code in _ENDLESS
            if code in _NO_ISSUER or solved or not 0 <= depth < len(self.path):
                continue
            usual = "an authority above forbids its names" if code in _NAMES else f"OpenSSL verify code {code}"
            found.setdefault(self.path[depth], []).append(_FAULTS.get(code, usual))
        for sha256 in self.missing:
            found.setdefault(sha256, []).insert(0, "not sent")
        if self.stranger:
            found.setdefault(str(self.stranger.get("sha256")), []).append("not trusted")
        for place, fault in self._ours():
            if 0 <= place < len(order) and fault not in found.setdefault(order[place], []):
                found[order[place]].append(fault)
        return found

    def _ours(self) -> Iterator[tuple[int, str]]:
        """What OpenSSL did not look at."""
        for one in self.told:
            facts = _mapping(one.get("facts")) or self.facts
            if one.get("code") == "tls.name_mismatch":
                yield 0, f"not for {self.facts.get('server_name')}"
            elif one.get("code") in ("tls.weak_key", "tls.weak_signature"):
                for weak in _rows(facts.get("weak")):
                    if isinstance(weak.get("depth"), int):
                        yield weak["depth"], str(weak.get("why"))
            elif one.get("code") == "tls.malformed":
                yield 0, "cannot be read"

    def _role(self, sha256: str, place: int, one: Facts, *, last: bool) -> str:
        if place == 0:
            return "leaf"
        # What no host presents is an anchor of the trust store, if it ends the path.
        stored = sha256 not in self.sent and sha256 not in self.missing
        return "root" if (last and stored) or one.get("self_signed") is True or sha256 in self._ends() else "issuer"

    def _ends(self) -> list[str]:
        return [str(one.get("sha256")) for one in (self.anchor, self.stranger) if one]

    def _source(self, sha256: str, place: int) -> str:
        if sha256 in self.sent:
            position = self.sent.index(sha256)
            sent = "sent" if position == place else f"sent as number {position + 1}"
            return f"{sent}, also in the trust store" if sha256 == self.anchor.get("sha256") else sent
        if sha256 in self.missing:
            return _found(self.missing[sha256].get("found_at"))
        if sha256 == self.stranger.get("sha256"):
            return _found(self.repair.get("untrusted_root_found_at"))
        return "trust store"

    def _gap(self, last: Facts) -> Iterator[Link]:
        """What would have to be there."""
        wanted = str(last.get("issuer") or "unknown")
        same = any(one.get("subject") == wanted for one in _rows(self.facts.get("certificates")))
        where = "what is sent under this name has another key" if same else "not sent, not trusted, seen at no host"
        yield Link("issuer", wanted, where, fault="not found")

    def _short(self, sha256: str) -> str:
        one = self.known.get(sha256, {})
        until = str(one.get("not_after") or "")[:10]
        return f"{_subject(one, sha256)}{f', until {until}' if until else ''}"


def _subject(one: Facts, sha256: str) -> str:
    if "malformed" in one:
        return f"unreadable: field {one['malformed']}"
    return str(one.get("subject") or f"SHA-256 {sha256[:16]}")


def _found(place: object) -> str:
    """`found_at` begins with a digit or a bracket where it is the address of a host."""
    text = str(place or "elsewhere")
    return f"{text} presents it" if text[:1] in "[0123456789" else f"from {text}"


def _is(step: Facts) -> bool:
    return isinstance(step.get("facts"), Mapping)


def _mapping(value: object) -> Facts:
    return value if isinstance(value, Mapping) else {}


def _rows(value: object) -> list[Facts]:
    return [one for one in value[:64] if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _texts(value: object) -> list[str]:
    return [str(one) for one in value[:64]] if isinstance(value, list | tuple) else []
