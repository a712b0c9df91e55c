"""Default routes of this machine, from one rtnetlink(7) dump a family; nothing is sent."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

from fleetprobe.net.live.netlink import Rtnetlink, address_text, attributes
from fleetprobe.vantage.facts import DefaultRoute, Hop, Ways

_RTMSG = struct.Struct("=BBBBBBBBI")
_RTNEXTHOP = struct.Struct("=HBBi")
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY, _RTA_MULTIPATH, _RTA_TABLE, _RTA_VIA = 1, 4, 5, 6, 9, 15, 18
_RTN_UNICAST = 1
_RT_TABLE_MAIN, _RT_TABLE_LOCAL = 254, 255
_RTM_F_CLONED = 0x200
_MOST_HOPS = 64


def ways(kernel: Rtnetlink) -> tuple[Ways, ...]:
    """IPv4 and IPv6; empty where the kernel does not answer."""
    try:
        return tuple(_ways(kernel, family) for family in (4, 6))
    except OSError:
        return ()


def _ways(kernel: Rtnetlink, family: int) -> Ways:
    body = _RTMSG.pack(socket.AF_INET6 if family == 6 else socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)
    defaults: list[DefaultRoute] = []
    networks = 0
    for kind, payload in kernel.dump(_RTM_GETROUTE, body):
        if kind != _RTM_NEWROUTE or len(payload) < _RTMSG.size:
            continue
        _, length, _, _, table, _, _, route_type, flags = _RTMSG.unpack_from(payload)
        found = dict(attributes(payload[_RTMSG.size :]))
        table = _number(found.get(_RTA_TABLE)) or table
        if route_type != _RTN_UNICAST or flags & _RTM_F_CLONED or table == _RT_TABLE_LOCAL:
            continue
        if length:
            networks += _leaves(found)
        elif hops := tuple(_hops(found)):
            defaults.append(DefaultRoute(hops=hops, metric=_number(found.get(_RTA_PRIORITY)), table=table))
    defaults.sort(key=lambda route: (route.table != _RT_TABLE_MAIN, route.metric))
    return Ways(family=family, defaults=tuple(defaults), networks=networks)


def _hops(found: dict[int, bytes]) -> Iterator[Hop]:
    rest = found.get(_RTA_MULTIPATH)
    if rest is None:
        yield from _hop(found, _number(found.get(_RTA_OIF)))
        return
    for _ in range(_MOST_HOPS):
        if len(rest) < _RTNEXTHOP.size:
            return
        size, _, _, index = _RTNEXTHOP.unpack_from(rest)
        if size < _RTNEXTHOP.size:
            return
        yield from _hop(dict(attributes(rest[_RTNEXTHOP.size : size])), index)
        rest = rest[(size + 3) & ~3 :]


def _hop(found: dict[int, bytes], index: int) -> Iterator[Hop]:
    try:
        name = socket.if_indextoname(index)
    except OSError:
        # A route without a device leads nowhere.
        return
    gateway = found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]
    yield Hop(gateway=address_text(gateway), interface=name)


def _leaves(found: dict[int, bytes]) -> bool:
    text = address_text(found.get(_RTA_DST, b""))
    if text is None:
        return False
    address = ipaddress.ip_address(text)
    return not (address.is_link_local or address.is_multicast or address.is_loopback)


def _number(raw: bytes | None) -> int:
    return 0 if raw is None or len(raw) < 4 else int(struct.unpack("=I", raw[:4])[0])
