"""Packet sizes worth asking about, and the tunnels that are known for them."""

from __future__ import annotations

FLOOR_BYTES = 1280
"""What every IPv6 link carries (RFC 8200 §5), and in practice every IPv4 path."""
USUAL_BYTES = 1500
"""Ethernet (RFC 894), assumed where our own link is not known."""
DEEP_BYTES = (576, 1000, 1200, FLOOR_BYTES)
"""What is asked where the floor itself vanishes: 576 is what every IPv4 host takes (RFC 791)."""

_STEPS = (FLOOR_BYTES, 1380, 1400, 1420, 1450, 1476, 1492, 1500, 4000, 8000)
_MILESTONES = (1400, 1450, 1492, 1500, 4000, 8000)
"""Every second of the usual steps: the one that was skipped is asked together with the repetitions."""
_HEADERS = {4: 40, 6: 60}
"""IP and TCP without options."""
_MOST_MSS = 32_767
"""tcp(7) TCP_MAXSEG takes no more."""
_TIMESTAMPS_BYTES = 12
"""RFC 7323, with its padding."""
_TUNNELS = (
    (1492, 1492, "PPPoE"),
    (1480, 1480, "IPIP or 6in4"),
    (1476, 1476, "GRE"),
    (1450, 1450, "VXLAN"),
    (1440, 1440, "WireGuard over IPv4"),
    (1420, 1420, "WireGuard"),
    (1400, 1438, "IPsec"),
    (FLOOR_BYTES, FLOOR_BYTES, "a link at the IPv6 minimum"),
)


def steps_below(top_bytes: int) -> tuple[int, ...]:
    """IP packet sizes that occur, ascending, all below what our own link carries."""
    return tuple(size for size in _STEPS if size < top_bytes)


def milestones_to(top_bytes: int) -> tuple[int, ...]:
    """Sizes above the floor to climb over, ascending, up to what our own link carries."""
    return (*(size for size in _MILESTONES if size < top_bytes), top_bytes)


def steps_between(low_bytes: int, high_bytes: int) -> tuple[int, ...]:
    """Sizes that occur between two others."""
    return tuple(size for size in _STEPS if low_bytes < size < high_bytes)


def mss_of(size_bytes: int, family: int) -> int:
    """The TCP segment that fills an IP packet of that size (RFC 6691: options are not taken off)."""
    return min(size_bytes - _HEADERS[family], _MOST_MSS)


def packet_of(segment_bytes: int, family: int, *, timestamps: bool = True) -> int:
    """The IP packet that the kernel fills with a segment of that size (TCP_INFO: time stamps are taken off)."""
    return segment_bytes + _HEADERS[family] + (_TIMESTAMPS_BYTES if timestamps else 0)


def tunnels_between(passes_bytes: int, stalls_bytes: int) -> tuple[str, ...]:
    """The usual reasons for an MTU of at least the first and less than the second size."""
    return tuple(name for low, high, name in _TUNNELS if low < stalls_bytes and high >= passes_bytes)
