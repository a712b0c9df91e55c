"""What one run knows of each way to a /24 or /48, shared by all targets behind it: who has asked, and what came out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from fleetprobe.net.interface import Address, Route
from fleetprobe.net.nearby import prefix_key
from fleetprobe.net.path import DfSearch

_KEPT = 65_536
_SEVERAL = 2


class PathQuestion(StrEnum):
    """What is worth asking once for a path."""

    DATAGRAMS = "datagrams"
    """Which sizes of UDP arrive."""
    REQUEST = "request"
    """Whether a request of several segments is answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenHole:
    """A boundary of sizes that one target has proven, and what was learnt around it. Sizes are whole IP packets."""

    passes_bytes: int
    stalls_bytes: int
    direction: str | None
    """forward, reverse or both."""
    behind_hop: int | None = None
    """The last hop that large packets of ours came to."""
    dropped: str | None = None
    """What drops them on our way there, where that was told."""
    address: str
    """Of whom it was proven."""


@dataclass(slots=True)
class KnownPath:
    """A next hop, a source address of ours and a prefix. Whoever proves a hole holds the path meanwhile."""

    hole: ProvenHole | None = None
    search: DfSearch | None = None
    """The answer to `PathQuestion.DATAGRAMS`."""
    addresses: frozenset[str] = frozenset()
    """Who has met the hole, as far as that matters."""
    unharmed: bool = False
    """Whether somebody behind the path has moved packets that should have vanished: it is not the whole path's."""
    held: bool = False
    """Whether somebody is at work on a proof; taken through `Net.turn`."""
    waiting: list[Callable[[], None]] = field(default_factory=list)
    """To be called when it is given back."""
    _claimed: set[PathQuestion] = field(default_factory=set)

    def claim(self, question: PathQuestion) -> bool:
        """Whether the caller is the first to ask it of this path, and so the one who should."""
        first = question not in self._claimed
        self._claimed.add(question)
        return first

    @property
    def shared(self) -> bool:
        """Whether the hole is likely to be met by others too: several addresses have, and none has disproved it."""
        return len(self.addresses) >= _SEVERAL and not self.unharmed

    def met(self, address: Address) -> None:
        """Take note of one who has met it."""
        if len(self.addresses) < _SEVERAL:
            self.addresses |= {address.text}

    def give_up(self, question: PathQuestion) -> None:
        """Leave a question that could not be put to the next one."""
        self._claimed.discard(question)

    def give_back(self, hole: ProvenHole | None = None) -> None:
        """End a turn, with what it has proven; the next one who waits looks again."""
        self.hole = hole or self.hole
        self.held = False
        waiting, self.waiting = self.waiting, []
        for wake in waiting:
            wake()


class KnownPaths:
    """Remembers, bounded; what is forgotten was first asked about longest ago."""

    def __init__(self) -> None:
        self._paths: OrderedDict[tuple[str, str, str], KnownPath] = OrderedDict()

    def of(self, address: Address, route: Route) -> KnownPath | None:
        """The path to an address; None where packets do not leave our machine."""
        if route.local or route.errno_name is not None:
            return None
        key = (route.source or "", *prefix_key(address, route.gateway or ""))
        path = self._paths.get(key)
        if path is None:
            path = self._paths[key] = KnownPath()
            if len(self._paths) > _KEPT:
                self._paths.popitem(last=False)
        return path
