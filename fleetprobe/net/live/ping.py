"""ICMP echo without privileges: a datagram socket of icmp(7), for whoever ping_group_range lets in."""

from __future__ import annotations

import errno
import secrets
import socket
import struct
from dataclasses import dataclass, field
from socket import SocketType

from fleetprobe.net.classify import fault_of_error
from fleetprobe.net.interface import Address, Fault, Icmp
from fleetprobe.net.live import errqueue
from fleetprobe.net.live.literal import family_of, never_fragment, own_end, sockaddr
from fleetprobe.net.live.reactor import ERROR, READ, Reactor
from fleetprobe.net.witness import Ping

_ECHO = struct.Struct("!BBHHH")
"""Type, code, checksum, identifier, sequence number: RFC 792, RFC 4443 §4. The kernel fills two in."""
_REQUEST = {4: 8, 6: 128}
_REPLY = {4: 0, 6: 129}
_TOKEN_BYTES = 16
_HEADERS = {4: 20, 6: 40}
_READ_BYTES = 256
_AGAIN_S = 0.5
_MOST_WAKES = 16
_NOT_FOR_US = (errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT)


@dataclass(slots=True)
class _Echo:
    """One exchange on one socket."""

    reactor: Reactor
    address: Address
    sock: SocketType
    own: str | None = None
    size_bytes: int | None = None
    token: bytes = field(init=False)
    sent_s: list[float] = field(default_factory=list)
    """When each sequence number left."""
    answered: int | None = None
    """The sequence number of the reply."""
    ttl: int | None = None
    icmp: Icmp | None = None
    fault: Fault | None = None

    def __post_init__(self) -> None:
        fill = 0 if self.size_bytes is None else self.size_bytes - _HEADERS[self.address.family] - _ECHO.size
        self.token = secrets.token_bytes(_TOKEN_BYTES).ljust(fill, b"\0")

    def send(self) -> bool:
        """Whether our kernel took it; `fault` says why not."""
        head = _ECHO.pack(_REQUEST[self.address.family], 0, 0, 0, len(self.sent_s))
        sent_s = self.reactor.now()
        try:
            self.sock.send(head + self.token)
        except OSError as no:
            self.read(ERROR)
            # Unless our own firewall said no, the error may be the late answer to the first request.
            self.fault = fault_of_error(no) if no.errno == errno.EPERM or not self.icmp else None
            return False
        self.sent_s.append(sent_s)
        return True

    async def wait(self, until_s: float) -> float:
        """Until something was learnt or `until_s`; the second at which it ended."""
        at = self.reactor.now()
        for _ in range(_MOST_WAKES):
            mask, at = await self.reactor.ready(self.sock.fileno(), READ, until_s)
            if mask:
                self.read(mask)
            if not mask or self.learnt:
                break
        return at

    @property
    def learnt(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.answered is not None or self.icmp is not None

    def read(self, mask: int) -> None:
        """Take what is there: a reply with our token, or an error that the kernel tied to our request."""
        self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if mask & ERROR:
            self.icmp = errqueue.drain(self.sock, self.own) or self.icmp
        try:
            data, ancillary, _, name = self.sock.recvmsg(_READ_BYTES + len(self.token), 256)
        except OSError:
            return
        # Another host's reply with our identifier and token would be a forgery; the kernel lets it through.
        if name[0].partition("%")[0] == self.address.text.partition("%")[0] and self._ours(data):
            self.ttl = errqueue.arrival_ttl(ancillary)

    def _ours(self, data: bytes) -> bool:
        if len(data) < _ECHO.size or data[_ECHO.size :] != self.token:
            return False
        kind, _, _, _, sequence = _ECHO.unpack_from(data)
        if kind != _REPLY[self.address.family] or sequence >= len(self.sent_s):
            return False
        self.answered = sequence
        return True


async def ping(reactor: Reactor, address: Address, until_s: float, size_bytes: int | None = None) -> Ping:
    """See `net.witness.Witnessing.ping`. With `size_bytes` in one IP packet of that size, not to be fragmented."""
    started = reactor.now()
    protocol = socket.IPPROTO_ICMPV6 if address.family == 6 else socket.IPPROTO_ICMP
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        sock = SocketType(family_of(address), kind, protocol)
    except OSError as no:
        return Ping(address=address, permitted=no.errno not in _NOT_FOR_US, started_s=started,
                    ended_s=reactor.now(), fault=fault_of_error(no))
    echo = _Echo(reactor, address, sock, size_bytes=size_bytes)
    try:
        ended = await _exchange(echo, until_s)
    finally:
        reactor.forget(sock.fileno())
        sock.close()
    rtt = None if echo.answered is None else (ended - echo.sent_s[echo.answered]) * 1000.0
    return Ping(
        address=address,
        permitted=True,
        started_s=started,
        ended_s=ended,
        replied=echo.answered is not None,
        rtt_ms=None if rtt is None else max(0.0, rtt),
        reply_ttl=echo.ttl,
        icmp=echo.icmp if echo.answered is None else None,
        fault=echo.fault,
        packets=len(echo.sent_s),
    )


async def _exchange(echo: _Echo, until_s: float) -> float:
    """Ask, and once more if there is time: one lost packet is no silence."""
    reactor = echo.reactor
    try:
        errqueue.ask_for_errors(echo.sock)
        errqueue.ask_for_ttl(echo.sock)
        if echo.size_bytes is not None:
            never_fragment(echo.sock, echo.address)
        echo.sock.connect(sockaddr(echo.address, 0))
    except OSError as no:
        echo.fault = fault_of_error(no)
        return reactor.now()
    echo.own, _ = own_end(echo.sock)
    pause = reactor.now() + _AGAIN_S
    at = reactor.now()
    for stop in (pause, until_s) if pause < until_s else (until_s,):
        if not echo.send():
            return reactor.now()
        at = await echo.wait(stop)
        if echo.learnt:
            break
    return at
