"""What was heard in this run around an address: where its neighbours answered, and what routers said of them."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeVar

from fleetprobe.net.interface import Address, Dial, Icmp
from fleetprobe.net.witness import host_answer, unreachable_word

K = TypeVar("K")
V = TypeVar("V")

MOST_PORTS = 64
"""Ports remembered of one prefix; from so many on every port counts as one where somebody answered."""
_ANSWERED_KEPT = 65_536
_SAID_KEPT = 1_024
_MOST_WORDS = 32
_MOST_ADDRESSES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterWord:
    """One ICMP unreachable message about SYNs to one port of a prefix, however often it came."""

    icmp: Icmp
    port: int
    addresses: tuple[str, ...]
    """Of whom it was said: the last few different ones, the latest last."""
    age_s: float
    """Since it was last heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearby:
    """What is known of one /24 or /48 behind one next hop; an address of our question may be among those told of."""

    words: tuple[RouterWord, ...] = ()
    ports: tuple[int, ...] = ()
    """Where some host of it has answered in this run."""

    def answers(self, port: int) -> bool:
        """Whether some host of the prefix has, or may have, answered at the port."""
        return port in self.ports or len(self.ports) >= MOST_PORTS


NOTHING_NEARBY = Nearby()

Key = tuple[str, str]


def prefix_key(address: Address, gateway: str) -> Key:
    """One for all addresses of a /24 or /48 behind a next hop. Plain text, as every dial asks for it."""
    text = address.text.partition("%")[0]
    return gateway, text.rpartition(".")[0] if address.family == 4 else _first_48_bits(text)


def _first_48_bits(text: str) -> str:
    """Three groups of a canonical IPv6 address; `ipaddress` would take ten times as long."""
    left, gap, right = text.partition("::")
    groups, tail = left.split(":") if left else [], right.split(":") if right else []
    if gap:
        groups += ["0"] * (8 - len(groups) - len(tail)) + tail
    return ":".join(groups[:3])


@dataclass(slots=True)
class _Said:
    """When a word was last heard, and of whom; a dict for its order."""

    heard_s: float
    addresses: dict[str, None] = field(default_factory=dict)


class Neighbourhoods:
    """Remembers, bounded in every direction; what is forgotten was heard longest ago."""

    def __init__(self) -> None:
        self._answered: OrderedDict[Key, tuple[int, ...]] = OrderedDict()
        self._said: OrderedDict[Key, OrderedDict[tuple[int, Icmp], _Said]] = OrderedDict()

    def note(self, dial: Dial, gateway: str) -> None:
        """Take note of an attempt through this next hop; silence, our own kernel and time exceeded tell nothing."""
        if host_answer(dial):
            self._note_answer(prefix_key(dial.address, gateway), dial.port)
        elif (icmp := unreachable_word(dial)) is not None:
            self._note_word(prefix_key(dial.address, gateway), dial, icmp)

    def around(self, address: Address, gateway: str, now_s: float) -> Nearby:
        """What was heard of the prefix of an address."""
        key = prefix_key(address, gateway)
        words = tuple(
            RouterWord(icmp=icmp, port=port, addresses=tuple(said.addresses), age_s=max(0.0, now_s - said.heard_s))
            for (port, icmp), said in self._said.get(key, {}).items()
        )
        return Nearby(words=words, ports=self._answered.get(key, ()))

    def _note_answer(self, key: Key, port: int) -> None:
        ports = self._answered.get(key, ())
        if port not in ports and len(ports) < MOST_PORTS:
            ports = (*ports, port)
        self._answered[key] = ports
        _bound(self._answered, key, _ANSWERED_KEPT)

    def _note_word(self, key: Key, dial: Dial, icmp: Icmp) -> None:
        words = self._said.setdefault(key, OrderedDict())
        word = (dial.port, icmp)
        said = words.setdefault(word, _Said(dial.ended_s))
        said.heard_s = max(said.heard_s, dial.ended_s)
        said.addresses.pop(dial.address.text, None)
        said.addresses[dial.address.text] = None
        if len(said.addresses) > _MOST_ADDRESSES:
            del said.addresses[next(iter(said.addresses))]
        _bound(words, word, _MOST_WORDS)
        _bound(self._said, key, _SAID_KEPT)


def _bound(kept: OrderedDict[K, V], latest: K, most: int) -> None:
    kept.move_to_end(latest)
    if len(kept) > most:
        kept.popitem(last=False)
