"""What a record tells of packet sizes, read without trust: what each size met, and where passing ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fleetprobe.model.safe import printable

Row = Mapping[str, Any]
Met = Mapping[int, tuple[str, ...]]
"""For each size, largest first, how it ended each time that it was asked."""

PASSES: Final = frozenset({"passes", "passed"})
FAILS: Final = frozenset({"stalls", "silent", "too big"})
_HEADERS: Final = {"ipv4": 40, "ipv6": 60}
"""IP and TCP without options: what an MSS is less than its packet (RFC 6691)."""
_LARGEST_BYTES: Final = 65_535
"""What the length field of IPv4 can say (RFC 791); larger ones are no packets."""
_LONGEST_MS: Final = 86_400_000
_LISTED: Final = 256
_WORD: Final = 24

_WAYS: Final = {
    "forward": "from us to the host",
    "reverse": "from the host to us",
    "both": "both ways",
}
_DROPPED: Final = {
    "icmp filtered": "dropped by a router whose ICMP is filtered",
    "silently": "dropped silently",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The facts of one question about packet sizes; whatever is none of them is left out."""

    exchanges: Met
    """Over TCP, both directions limited to that size."""
    holes: Mapping[int, str]
    """The direction in which the kernel saw segments vanish, by size."""
    datagrams: Met
    """Over UDP, from us to the host alone."""
    header_bytes: int
    top_bytes: int | None = None
    proven: tuple[int, int] | None = None
    """The largest size that passes and the smallest that does not, as the judge took them."""
    direction: str = ""
    behind_hop: int | None = None
    dropped: str = ""
    proven_by: str = ""
    proof_ms: float | None = None
    segment_bytes: int | None = None
    reported_bytes: int | None = None
    echoed_bytes: int | None = None
    """The echo of the largest size, if one was answered."""

    @property
    def to_the_byte(self) -> bool:
        """Whether no size between the two is left open."""
        return self.proven is not None and self.proven[1] == self.proven[0] + 1

    @property
    def ordered(self) -> bool:
        """Whether all that passed is smaller than all that stalled, and nothing ended otherwise."""
        ended = {end for ends in self.exchanges.values() for end in ends}
        gap = self._gap(self.exchanges)
        return ended <= PASSES | FAILS and gap is not None and gap[0] < gap[1]

    @property
    def boundary(self) -> tuple[int, int] | None:
        """Where passing ends: as proven, or else as it looks, by exchanges if there were any."""
        if self.proven is not None:
            return self.proven
        if self.exchanges:
            return self._gap(self.exchanges) if self.ordered else None
        return self._gap(self.datagrams)

    @property
    def drawable(self) -> bool:
        """Whether there is more to show than that everything passed, or nothing was answered."""
        return bool(self.exchanges) or self._gap(self.datagrams) is not None

    @property
    def largest_datagram(self) -> int | None:
        """The largest that the host answered."""
        return max((size for size, ends in self.datagrams.items() if PASSES & set(ends)), default=None)

    @property
    def way(self) -> str:
        """The direction in words."""
        return _WAYS.get(self.direction, self.direction)

    @property
    def where(self) -> str:
        """Behind which hop they vanish, and what takes them."""
        hop = f"behind hop {self.behind_hop}" if self.behind_hop is not None else ""
        return ", ".join(filter(None, (hop, _DROPPED.get(self.dropped, self.dropped))))

    def asked(self) -> list[int]:
        """Every size, largest first."""
        return sorted({*self.exchanges, *self.datagrams}, reverse=True)

    def mss_of(self, size_bytes: int) -> int:
        """The TCP segment in a packet of that size."""
        return max(0, size_bytes - self.header_bytes)

    def _gap(self, met: Met) -> tuple[int, int] | None:
        """The largest that passed, and the smallest that failed; of datagrams, above that one.

        A host answers few datagrams at once, so that silence below one that passed, or was echoed, says nothing.
        """
        passed = [size for size, ends in met.items() if PASSES & set(ends)]
        failed = [size for size, ends in met.items() if FAILS & set(ends)]
        if passed and met is self.datagrams:
            failed = [size for size in failed if size > max(*passed, self.echoed_bytes or 0)]
        return (max(passed), min(failed)) if passed and failed else None


def sizes_of(row: Row) -> Sizes | None:
    """What a record tells best: its steps before its findings, and what is proven before what is not."""
    found = [sizes_in(facts, row) for name in ("layers", "findings") for facts in _mtu_facts(row.get(name))]
    drawable = [sizes for sizes in found if sizes.drawable]
    return next((sizes for sizes in drawable if sizes.proven), next(iter(drawable), None))


def sizes_line(facts: Row) -> str:
    """What needs no table, in one line: everything passed, nothing was answered, or another target has the proof."""
    sizes = sizes_in(facts, {})
    if sizes.drawable:
        return ""
    if sizes.proven_by and not sizes.datagrams:
        words = ", ".join(filter(None, (f"large packets vanish {sizes.way}".rstrip(), sizes.where)))
        return f"{words}; proven with {sizes.proven_by}, not asked here"
    asked = sizes.asked()
    if not asked:
        return ""
    datagram, echo = sizes.largest_datagram or 0, sizes.echoed_bytes or 0
    if not max(datagram, echo):
        return f"no datagram is answered, of {asked[-1]} to {asked[0]} bytes"
    heard = f"{max(datagram, echo)} bytes pass from us to the host ({'UDP' if datagram >= echo else 'echo'})"
    return f"{heard}; the way back was not asked"


def sizes_in(facts: Row, row: Row) -> Sizes:
    """The facts of one step or finding; `row` tells the family of its address where they do not."""
    passes, stalls, mss = (_size(facts.get(name)) for name in ("path_mtu_bytes", "stalls_at_bytes", "tcp_mss_bytes"))
    ladder = _rows(facts.get("ladder"))
    return Sizes(
        exchanges=_met(ladder),
        holes={size: text(one["hole"]) for one in ladder if (size := _size(one.get("size_bytes"))) and one.get("hole")},
        datagrams=_met(_rows(facts.get("datagrams"))),
        header_bytes=passes - mss if passes and mss and passes - mss in _HEADERS.values() else _header(row),
        top_bytes=_size(facts.get("top_bytes")),
        proven=(passes, stalls) if passes and stalls and passes < stalls else None,
        direction=text(facts.get("path_mtu_direction")),
        behind_hop=_size(facts.get("begins_behind_hop")),
        dropped=text(facts.get("dropped")),
        proven_by=text(facts.get("proven_by"), 64),
        proof_ms=_milliseconds(facts.get("proof_ms")),
        segment_bytes=_size(facts.get("segment_bytes")),
        reported_bytes=_size(facts.get("reported_mtu_bytes")),
        echoed_bytes=_size(facts.get("echoed_bytes")),
    )


def text(value: object, limit: int = _WORD) -> str:
    """Somebody else's word, safe to print; empty for what is none."""
    return printable(value, limit) if isinstance(value, str) else ""


def _mtu_facts(steps: object) -> Sequence[Row]:
    told = (step.get("facts") for step in _rows(steps) if step.get("layer") == "mtu")
    return [facts for facts in told if isinstance(facts, Mapping)]


def _met(asked: Sequence[Row]) -> Met:
    met: dict[int, tuple[str, ...]] = {}
    for one in asked:
        size = _size(one.get("size_bytes"))
        if size is not None:
            met[size] = (*met.get(size, ()), text(one.get("met")) or "unclear")
    return {size: met[size] for size in sorted(met, reverse=True)}


def _header(row: Row) -> int:
    family = str(row.get("network_type"))
    return _HEADERS.get(family, 60 if ":" in str(row.get("network_peer_address")) else 40)


def _size(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 0 < value <= _LARGEST_BYTES else None


def _milliseconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if 0 <= value <= _LONGEST_MS else None


def _rows(value: object) -> Sequence[Row]:
    return [one for one in value[:_LISTED] if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []
