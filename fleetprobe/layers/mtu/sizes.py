"""Packet sizes worth asking about, and the tunnels that are known for them."""

from __future__ import annotations

FLOOR_BYTES = 1280
"""What every IPv6 link carries (RFC 8200 §5), and in practice every IPv4 path."""
USUAL_BYTES = 1500
"""Ethernet (RFC 894), assumed where our own link is not known."""

_STEPS = (FLOOR_BYTES, 1380, 1400, 1420, 1450, 1476, 1492, 1500, 4000, 8000)
_HEADERS = {4: 40, 6: 60}
"""IP and TCP without options."""
_TIMESTAMPS_BYTES = 12
"""RFC 7323, with its padding; nearly every connection has them."""
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
    """IP packet sizes to try, ascending, all below what our own link carries."""
    return tuple(size for size in _STEPS if size < top_bytes)


def mss_of(size_bytes: int, family: int) -> int:
    """The TCP segment that fills an IP packet of that size (RFC 6691: options are not taken off)."""
    return size_bytes - _HEADERS[family]


def packet_of(segment_bytes: int, family: int) -> int:
    """The IP packet that the kernel fills with a segment of that size (TCP_INFO: time stamps are taken off)."""
    return segment_bytes + _HEADERS[family] + _TIMESTAMPS_BYTES


def tunnels_between(passes_bytes: int, stalls_bytes: int) -> tuple[str, ...]:
    """The usual reasons for an MTU of at least the first and less than the second size."""
    return tuple(name for low, high, name in _TUNNELS if low < stalls_bytes and high >= passes_bytes)
