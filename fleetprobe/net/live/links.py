"""This machine's own links and neighbours, from rtnetlink(7) dumps and /proc/net/dev; no packet is sent."""

from __future__ import annotations

import os
import socket
import struct
import sys
import time
from collections.abc import Callable

from fleetprobe.net.live.netlink import Rtnetlink, address_text, attributes
from fleetprobe.net.witness import Link, Neighbour, NeighbourState

_IFINFOMSG = struct.Struct("=BBHiII")
_IFADDRMSG = struct.Struct("=BBBBI")
_NDMSG = struct.Struct("=BBHiHBB")
_RTM_NEWLINK, _RTM_GETLINK, _RTM_NEWADDR, _RTM_GETADDR, _RTM_NEWNEIGH, _RTM_GETNEIGH = 16, 18, 20, 22, 28, 30
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU, _IFLA_OPERSTATE, _IFLA_CARRIER = 1, 3, 4, 16, 33
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40
_NDA_DST, _NDA_LLADDR = 1, 2
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_OPERSTATES = ("UNKNOWN", "NOTPRESENT", "DOWN", "LOWERLAYERDOWN", "TESTING", "DORMANT", "UP")
_STATES = {
    0x00: NeighbourState.NONE,
    0x01: NeighbourState.INCOMPLETE,
    0x02: NeighbourState.REACHABLE,
    0x04: NeighbourState.STALE,
    0x08: NeighbourState.DELAY,
    0x10: NeighbourState.PROBE,
    0x20: NeighbourState.FAILED,
    0x40: NeighbourState.NOARP,
    0x80: NeighbourState.PERMANENT,
}
_SHARED_S = 0.05
_COUNTERS = "/proc/net/dev"
_COUNTERS_BYTES = 1 << 16
_PACKETS_OUT = 9
"""Column of /proc/net/dev after the colon: eight of receiving, then bytes and packets of sending."""

_Entry = tuple[int, bytes]
"""State bits and hardware address."""


class LinkTable:
    """Links and neighbours as the kernel sees them now."""

    def __init__(self, kernel: Rtnetlink, clock: Callable[[], float] = time.monotonic) -> None:
        """Takes the socket over; `clock` gives monotonic seconds."""
        self._kernel = kernel
        self._clock = clock
        self._dumps: dict[int, tuple[float, dict[tuple[int, bytes], _Entry]]] = {}

    def links(self) -> tuple[Link, ...]:
        """Every interface by index, asked anew. Empty only when the kernel does not answer in a second."""
        try:
            devices = self._kernel.dump(_RTM_GETLINK, _IFINFOMSG.pack(socket.AF_UNSPEC, 0, 0, 0, 0, 0))
            addresses = self._addresses()
        except OSError:
            return ()
        links = (_link(payload, addresses) for kind, payload in devices if kind == _RTM_NEWLINK)
        return tuple(sorted(links, key=lambda link: link.index))

    def neighbour(self, address: str, interface: str) -> Neighbour | None:
        """The entry for an on-link address, at most 50 ms old; None: no entry, no such interface."""
        text = address.partition("%")[0]
        family = socket.AF_INET6 if ":" in text else socket.AF_INET
        try:
            key = (socket.if_nametoindex(interface), socket.inet_pton(family, text))
            entry = self._neighbours(family).get(key)
        except OSError:
            return None
        if entry is None:
            return None
        state, mac = entry
        known = _STATES.get(state, NeighbourState.NONE)
        return Neighbour(address=text, interface=interface, state=known, mac=mac.hex(":") or None)

    def close(self) -> None:
        """Give the socket back."""
        self._kernel.close()

    def _addresses(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind, payload in self._kernel.dump(_RTM_GETADDR, _IFADDRMSG.pack(family, 0, 0, 0, 0)):
                text = _usable_address(payload) if kind == _RTM_NEWADDR else None
                if text is not None:
                    found.setdefault(_IFADDRMSG.unpack_from(payload)[4], []).append(text)
        return found

    def _neighbours(self, family: int) -> dict[tuple[int, bytes], _Entry]:
        at, entries = self._dumps.get(family, (float("-inf"), {}))
        if self._clock() - at >= _SHARED_S:
            entries = {}
            for kind, payload in self._kernel.dump(_RTM_GETNEIGH, _NDMSG.pack(family, 0, 0, 0, 0, 0, 0)):
                if kind == _RTM_NEWNEIGH:
                    _, _, _, index, state, _, _ = _NDMSG.unpack_from(payload)
                    found = dict(attributes(payload[_NDMSG.size :]))
                    entries[index, found.get(_NDA_DST, b"")] = (state, found.get(_NDA_LLADDR, b""))
            self._dumps[family] = (self._clock(), entries)
        return entries


def packets_out(interface: str) -> int | None:
    """Packets sent by an interface of our network namespace so far; None: no such interface, or no /proc."""
    try:
        # Read twice for every silent target, hence without a text layer above it.
        counters = os.open(_COUNTERS, os.O_RDONLY | os.O_CLOEXEC)
        try:
            text = os.read(counters, _COUNTERS_BYTES)
        finally:
            os.close(counters)
    except OSError:
        return None
    wanted = os.fsencode(interface)
    for line in text.splitlines():
        name, colon, numbers = line.partition(b":")
        if colon and name.strip() == wanted:
            return int(numbers.split()[_PACKETS_OUT])
    return None


def open_links() -> LinkTable | None:
    """A link table, or None where netlink is forbidden; then links stay unknown."""
    try:
        return LinkTable(Rtnetlink())
    except OSError:
        return None


def _link(payload: bytes, addresses: dict[int, list[str]]) -> Link:
    _, _, _, index, flags, _ = _IFINFOMSG.unpack_from(payload)
    found = dict(attributes(payload[_IFINFOMSG.size :]))
    operstate = found.get(_IFLA_OPERSTATE, b"\0")[0]
    hardware = found.get(_IFLA_ADDRESS, b"")
    return Link(
        name=found.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode("utf-8", "replace"),
        index=index,
        up=bool(flags & _IFF_UP),
        carrier=bool(found[_IFLA_CARRIER][0]) if _IFLA_CARRIER in found else None,
        operstate=_OPERSTATES[operstate] if operstate < len(_OPERSTATES) else "UNKNOWN",
        mtu_bytes=_number(found.get(_IFLA_MTU, b"")),
        mac=hardware.hex(":") if any(hardware) else None,
        loopback=bool(flags & _IFF_LOOPBACK),
        addresses=tuple(addresses.get(index, ())),
    )


def _usable_address(payload: bytes) -> str | None:
    """`address/length`, or None for one that duplicate address detection still holds or has refused."""
    _, length, short_flags, _, _ = _IFADDRMSG.unpack_from(payload)
    found = dict(attributes(payload[_IFADDRMSG.size :]))
    flags = _number(found[_IFA_FLAGS]) if _IFA_FLAGS in found else short_flags
    # On a point-to-point link IFA_ADDRESS is the far end; IFA_LOCAL, where it exists, is always ours.
    text = address_text(found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b""))
    if text is None or flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED):
        return None
    return f"{text}/{length}"




def _number(raw: bytes) -> int:
    return int.from_bytes(raw[:4], sys.byteorder)
