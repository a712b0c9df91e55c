"""CA certificates that any host of the fleet has presented. They carry no trust: whoever takes one has to prove it."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MOST: Final = 50_000
MOST_OF_A_NAME: Final = 16
MOST_BYTES: Final = 16 * 1024
MOST_BYTES_IN_ALL: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Pooled:
    """One certificate and where it was first seen."""

    sha256: str
    """Upper-case hex."""
    der: bytes
    found_at: str
    """`address:port` of the host that presented it, or the kind of file it came from."""
    presented: bool = True
    """By a host, in this run or an earlier one: only then it is kept for the next."""


class Pool:
    """Bounded, by subject. A name is whatever text the caller compares names by.

    What leads to a trust anchor is never pushed out by what does not, so that a host which presents a heap of
    certificates of its own making can only waste the room that is left.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, OrderedDict[str, Pooled]] = {}
        self._names: OrderedDict[str, str] = OrderedDict()
        """Name by fingerprint, seen longest ago first."""
        self._vouched: set[str] = set()
        self._bytes = 0
        self.learnt = False
        """Whether anything was added since this was set to False."""

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Pooled]:
        """All of them, seen longest ago first."""
        return (self._by_name[name][sha256] for sha256, name in self._names.items())

    def vouched(self, sha256: str) -> bool:
        """Whether it was part of a path to a trust anchor in this run."""
        return sha256 in self._vouched

    def holds(self, sha256: str, *, vouched: bool) -> bool:
        """Whether nothing new can be said of it; moves it to the end of the queue of those to be forgotten."""
        if sha256 not in self._names or (vouched and sha256 not in self._vouched):
            return False
        if not self._by_name[self._names[sha256]][sha256].presented:
            return False
        self._names.move_to_end(sha256)
        return True

    def add(
        self, name: str, der: bytes, found_at: str, *, vouched: bool = False, presented: bool = True
    ) -> None:
        """Keep it, or not: too long a certificate, or a name whose room is taken by better ones.

        Of one that no host had presented so far, the first that does tells where it was found.
        """
        if len(der) > MOST_BYTES:
            return
        sha256 = hashlib.sha256(der).hexdigest().upper()
        if vouched:
            self._vouched.add(sha256)
        if sha256 in self._names:
            self._names.move_to_end(sha256)
            known = self._by_name[self._names[sha256]][sha256]
            if presented and not known.presented:
                self._by_name[self._names[sha256]][sha256] = Pooled(sha256, der, found_at)
                self.learnt = True
            return
        kin: OrderedDict[str, Pooled] = self._by_name.setdefault(name, OrderedDict())
        if len(kin) >= MOST_OF_A_NAME and not self._push_out(kin, vouched=vouched):
            return
        kin[sha256] = Pooled(sha256, der, found_at, presented)
        self._names[sha256] = name
        self.learnt = self.learnt or presented
        self._bytes += len(der)
        while len(self._names) > MOST or self._bytes > MOST_BYTES_IN_ALL:
            self._forget(next((one for one in self._names if one not in self._vouched), next(iter(self._names))))

    def der(self, sha256: str) -> bytes | None:
        """One of them by its fingerprint."""
        name = self._names.get(sha256)
        return None if name is None else self._by_name[name][sha256].der

    def named(self, name: str) -> tuple[Pooled, ...]:
        """Certificates with this subject, those that lead to a trust anchor first, then by fingerprint."""
        kin: OrderedDict[str, Pooled] = self._by_name.get(name, OrderedDict())
        return tuple(sorted(kin.values(), key=lambda one: (one.sha256 not in self._vouched, one.sha256)))

    def _push_out(self, kin: OrderedDict[str, Pooled], *, vouched: bool) -> bool:
        """Make room in a name that is full."""
        worse = next((sha256 for sha256 in kin if sha256 not in self._vouched), None)
        if worse is None or not vouched:
            return False
        self._forget(worse)
        return True

    def _forget(self, sha256: str) -> None:
        name = self._names.pop(sha256)
        kin = self._by_name[name]
        self._bytes -= len(kin.pop(sha256).der)
        if not kin:
            del self._by_name[name]
        self._vouched.discard(sha256)
