"""The kernel's tables, asked directly: rtnetlink(7) over one socket, and RTM_GETROUTE spoken through it."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from collections.abc import Iterator

from fleetprobe.net.interface import Address, Route

_HEADER = struct.Struct("=IHHII")
_RTMSG = struct.Struct("=BBBBBBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_RTM_NEWROUTE, _RTM_GETROUTE, _NLMSG_ERROR, _NLMSG_DONE = 24, 26, 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP_INTR, _NLM_F_DUMP = 0x1, 0x10, 0x300
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_PREFSRC, _RTA_METRICS, _RTA_VIA = 1, 4, 5, 7, 8, 18
_RTAX_MTU = 2
_RTN_UNICAST, _RTN_LOCAL = 1, 2
_BUFFER = 1 << 16
_MAX_DATAGRAMS = 4096


class Rtnetlink:
    """One socket to the kernel's network tables; a question is a request message and all answers to it."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._sock = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._sock.settimeout(1.0)
        self._sequence = 0

    def ask(self, question: int, body: bytes) -> list[tuple[int, bytes]]:
        """The answer to a question about one thing: (message type, payload)."""
        return self._ask(question, _NLM_F_REQUEST, body)[0]

    def dump(self, question: int, body: bytes) -> list[tuple[int, bytes]]:
        """Every entry of a table: (message type, payload).

        Asked once more when the table changed meanwhile, as an entry may then be missing (NLM_F_DUMP_INTR).
        """
        answers, interrupted = self._ask(question, _NLM_F_REQUEST | _NLM_F_DUMP, body)
        if interrupted:
            answers, _ = self._ask(question, _NLM_F_REQUEST | _NLM_F_DUMP, body)
        return answers

    def close(self) -> None:
        """Give the socket back."""
        self._sock.close()

    def _ask(self, question: int, flags: int, body: bytes) -> tuple[list[tuple[int, bytes]], bool]:
        self._sequence += 1
        length = _HEADER.size + len(body)
        self._sock.send(_HEADER.pack(length, question, flags, self._sequence, 0) + body)
        answers: list[tuple[int, bytes]] = []
        interrupted = False
        for _ in range(_MAX_DATAGRAMS):
            done = False
            for kind, noted, sequence, payload in _messages(self._sock.recv(_BUFFER)):
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(noted & _NLM_F_DUMP_INTR)
                if kind == _NLMSG_DONE:
                    done = True
                    break
                answers.append((kind, payload))
            if done or (answers and (not flags & _NLM_F_DUMP or answers[-1][0] == _NLMSG_ERROR)):
                break
        return answers, interrupted


class RouteTable:
    """Answers "how would a packet get there" without sending one. Costs about 10 µs a question."""

    def __init__(self) -> None:
        self._kernel = Rtnetlink()
        self._names: dict[int, str] = {}
        self._usable: dict[int, bool] = {}

    def route(self, address: Address) -> Route:
        """The route to one address; `errno_name` says why there is none."""
        if address.text.startswith("127.") or address.text == "::1":
            # Loopback never leaves the machine (RFC 1122 §3.2.1.3, RFC 4291 §2.5.3), so nothing need be asked.
            return Route(address=address.text, interface="lo", local=True)
        text, _, zone = address.text.partition("%")
        family = socket.AF_INET6 if address.family == 6 else socket.AF_INET
        packed = socket.inet_pton(family, text)
        wanted = attribute(_RTA_DST, packed)
        if zone:
            try:
                wanted += attribute(_RTA_OIF, struct.pack("=I", socket.if_nametoindex(zone)))
            except OSError:
                usable = self._family_usable(family)
                return Route(address=address.text, errno_name="ENODEV", family_usable=usable)
        body = _RTMSG.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0) + wanted
        for kind, payload in self._kernel.ask(_RTM_GETROUTE, body):
            if kind == _NLMSG_ERROR:
                number = -struct.unpack_from("=i", payload)[0]
                name = errno.errorcode.get(number, "UNKNOWN")
                return Route(address=address.text, errno_name=name, family_usable=self._family_usable(family))
            return self._read(address, payload)
        return Route(address=address.text)

    def close(self) -> None:
        """Give the socket back."""
        self._kernel.close()

    def _read(self, address: Address, payload: bytes) -> Route:
        route_type = _RTMSG.unpack_from(payload)[7]
        found = dict(attributes(payload[_RTMSG.size :]))
        mtu = None
        if _RTA_METRICS in found:
            metrics = dict(attributes(found[_RTA_METRICS]))
            mtu = struct.unpack("=I", metrics[_RTAX_MTU][:4])[0] if _RTAX_MTU in metrics else None
        gateway = found.get(_RTA_GATEWAY) or found.get(_RTA_VIA, b"")[2:]
        return Route(
            address=address.text,
            gateway=address_text(gateway),
            source=address_text(found.get(_RTA_PREFSRC, b"")),
            interface=self._interface(found.get(_RTA_OIF)),
            mtu_bytes=mtu,
            local=route_type == _RTN_LOCAL,
        )

    def _interface(self, raw: bytes | None) -> str | None:
        if raw is None:
            return None
        index = struct.unpack("=I", raw[:4])[0]
        if index not in self._names:
            try:
                self._names[index] = socket.if_indextoname(index)
            except OSError:
                self._names[index] = f"#{index}"
        return self._names[index]

    def _family_usable(self, family: int) -> bool:
        """Whether any unicast route of the family leaves this machine; asked once."""
        if family not in self._usable:
            body = _RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
            self._usable[family] = any(
                _leaves(payload) for kind, payload in self._kernel.dump(_RTM_GETROUTE, body)
                if kind == _RTM_NEWROUTE
            )
        return self._usable[family]


def _messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Type, flags, sequence number and payload of each message in a datagram."""
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, flags, sequence, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute as rtnetlink wants it: length, type, value, padding to four bytes."""
    padding = b"\0" * (-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and value of each attribute; ends at the first that cannot be one."""
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind & 0x3FFF, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def address_text(packed: bytes) -> str | None:
    """An address of 4 or 16 bytes as text; None for any other length."""
    family = {4: socket.AF_INET, 16: socket.AF_INET6}.get(len(packed))
    return None if family is None else socket.inet_ntop(family, packed)


def _leaves(payload: bytes) -> bool:
    """A unicast route that is neither link-local, multicast nor the loopback's own."""
    route_type = _RTMSG.unpack_from(payload)[7]
    found = dict(attributes(payload[_RTMSG.size :]))
    if route_type != _RTN_UNICAST:
        return False
    destination = address_text(found.get(_RTA_DST, b""))
    if destination is None:
        return True
    address = ipaddress.ip_address(destination)
    return not (address.is_link_local or address.is_multicast or address.is_loopback)


def open_table() -> RouteTable | None:
    """A route table, or None where netlink is forbidden; then routes stay unknown."""
    try:
        return RouteTable()
    except OSError:
        return None
