"""Dialling for real: one literal address, from a fresh source port or a given one, with a twin if need be."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Sequence
from dataclasses import replace
from socket import SocketType  # the bare C type: a third cheaper than its Python wrapper

from fleetprobe.net.classify import fault_of
from fleetprobe.net.interface import USUAL_SEGMENTS, Address, Dial, Event, Fault, Icmp, Segments
from fleetprobe.net.live import errqueue
from fleetprobe.net.live.reactor import ERROR, HANGUP, WRITE, Reactor
from fleetprobe.net.live.stream import TcpStream, close
from fleetprobe.net.witness import CUT_SHORT

_BRIEF = struct.Struct("=5xB10xI48xI28xI")
_BRIEF_SIZE = _BRIEF.size
"""Offsets 5, 16, 68 and 100 of struct tcp_info: options, snd_mss, rtt and total_retrans."""
_TIMESTAMPS = 1
"""TCPI_OPT_TIMESTAMPS."""
_IP_LOCAL_PORT_RANGE = 51
_IP_MTU_DISCOVER, _PMTUDISC_DONT = 10, 0
"""linux/in.h; Python 3.11 does not name them."""
_BUSY = (errno.EINPROGRESS, errno.EAGAIN, errno.EALREADY)


async def dial(
    reactor: Reactor, address: Address, port: int, until_s: float, again_s: float | None = None,
    segments: Segments = USUAL_SEGMENTS,
) -> tuple[Dial, TcpStream | None]:
    """Connect to one literal address. The socket is kept to the very deadline, as late ICMP still tells.

    With `again_s`, a silent attempt gets a twin from a fresh source port after so many seconds; `segments` holds
    for both.
    """
    attempt = _Attempt(reactor, address, port, segments=segments)
    try:
        early_s = until_s if again_s is None else min(until_s, attempt.started_s + again_s)
        told = await attempt.settle(early_s)
        if told is None and early_s < until_s:
            return await _with_twin(attempt, until_s)
        told = told or attempt.silence()
        return told, attempt.stream(told)
    finally:
        attempt.end()


async def dial_from(
    reactor: Reactor, address: Address, port: int, local_ports: Sequence[int | None], until_s: float
) -> tuple[Dial, ...]:
    """Connect from each of these source ports at once (None: any) and close again, in their order."""
    attempts = [_Attempt(reactor, address, port, local) for local in local_ports]
    try:
        told = await asyncio.gather(*(attempt.settle(until_s) for attempt in attempts))
        return tuple(dial or attempt.silence() for dial, attempt in zip(told, attempts, strict=True))
    finally:
        for attempt in attempts:
            attempt.end()


async def _with_twin(first: _Attempt, until_s: float) -> tuple[Dial, TcpStream | None]:
    """Two attempts side by side until one is answered. Both silent: the first is told."""
    twin = _Attempt(first.reactor, first.address, first.port, segments=first.segments)
    pair = (first, twin)
    waits = {asyncio.ensure_future(attempt.settle(until_s)): attempt for attempt in pair}
    pending = set(waits)
    told: dict[_Attempt, Dial] = {}
    try:
        while pending and not told:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            told.update((waits[wait], dial) for wait in done if (dial := wait.result()) is not None)
        answered = min(told, key=lambda attempt: (told[attempt].fault is not None, attempt is twin), default=first)
        other = twin if answered is first else first
        beside = told.get(other) or other.silence(CUT_SHORT if told else "")
        dial = replace(told.get(answered) or answered.silence(), twin=beside)
        return dial, answered.stream(dial)
    finally:
        for wait in pending:
            wait.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        twin.end()


class _Attempt:
    """One socket on its way to a connection."""

    def __init__(
        self, reactor: Reactor, address: Address, port: int, local_port: int | None = None,
        segments: Segments = USUAL_SEGMENTS,
    ) -> None:
        self.reactor, self.address, self.port, self.segments = reactor, address, port, segments
        self.started_s = self._at_s = reactor.now()
        self._lag_ms = reactor.lag_ms()
        self._sock: SocketType | None = None
        self._icmp: Icmp | None = None
        self._gone: Fault | None = None
        self._own: tuple[str | None, int | None] | None = None
        try:
            self._sock = _socket(address)
            if local_port is not None:
                _bind(self._sock, local_port)
            if segments is not USUAL_SEGMENTS:
                _cut(self._sock, address, segments)
            self._number = self._sock.connect_ex(_sockaddr(address, port))
        except OSError as no:
            self._number = no.errno or errno.EINVAL

    async def settle(self, until_s: float) -> Dial | None:
        """How it ended, or None when it is still under way at `until_s`."""
        sock = self._sock
        while sock is not None and self._number in _BUSY:
            mask, self._at_s = await self.reactor.ready(sock.fileno(), WRITE, until_s)
            if not mask:
                return None
            # Writable and nothing else is connected; only an error or a hang-up leaves a reason to read.
            trouble = mask & (ERROR | HANGUP)
            self._number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) if trouble else 0
            if mask & ERROR:
                self._icmp = errqueue.drain(sock, _local(sock)[0]) or self._icmp
            if self._number == 0 and trouble and not _connected(sock):
                # Hung up without a reason, or a soft error: the kernel took note and goes on trying.
                self._number = errno.ECONNABORTED if mask & HANGUP else errno.EINPROGRESS
        if self._number == 0:
            self._own = _local(sock) if sock is not None else (None, None)
            if self._own == (self.address.text.partition("%")[0], self.port):
                # Both ends are this very socket (RFC 9293 §3.5, simultaneous open): nobody listens there.
                self._number = errno.ECONNREFUSED
        if self._number == errno.ECONNRESET:
            # Linux calls a RST to a SYN a refusal; a reset means that the connection had stood.
            self._gone, self._number = fault_of(errno.ECONNRESET), 0
        return self._dial(fault_of(self._number, self._icmp) if self._number else None)

    def silence(self, detail: str = "") -> Dial:
        """It as it stands: nothing was heard."""
        self._at_s = self.reactor.now()
        return self._dial(Fault(event=Event.SILENT, icmp=self._icmp, detail=detail))

    def stream(self, dial: Dial) -> TcpStream | None:
        """The open connection, handed over; None when there is none."""
        if dial.fault is not None or self._sock is None:
            return None
        sock, self._sock = self._sock, None
        return TcpStream(sock, self.reactor, self._gone, self.segments)

    def end(self) -> None:
        """Close the socket, unless it was handed over."""
        if self._sock is not None:
            close(self._sock, self.reactor, quietly=self._number not in (0, *_BUSY))
            self._sock = None

    def _dial(self, fault: Fault | None) -> Dial:
        sock = self._sock
        # A refusal has no story; silence and success do: how often the SYN was sent, how far the peer is.
        told = fault is None or fault.event is Event.SILENT
        retransmits, rtt_ms, mss, timestamps = _brief(sock) if sock is not None and told else _UNTOLD
        local = self._own or (_local(sock) if sock is not None else (None, None))
        return Dial(
            address=self.address,
            port=self.port,
            started_s=self.started_s,
            ended_s=self._at_s,
            fault=fault,
            local_address=local[0],
            local_port=local[1],
            syn_retransmits=retransmits,
            rtt_ms=rtt_ms if fault is None else None,
            mss_bytes=mss if fault is None else None,
            timestamps=timestamps,
            lag_ms=self.reactor.lag_ms() - self._lag_ms,
            reset_at_once=self._gone is not None,
        )


_Brief = tuple[int | None, float | None, int | None, bool]
_UNTOLD: _Brief = (None, None, None, True)


def _brief(sock: SocketType) -> _Brief:
    """SYN retransmits, round trip in milliseconds, send MSS, time stamps: what every dial tells, without the rest."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BRIEF_SIZE)
    except OSError:
        return _UNTOLD
    if len(raw) < _BRIEF_SIZE:
        return _UNTOLD
    options, mss, rtt_us, retransmits = _BRIEF.unpack(raw)
    return retransmits, rtt_us / 1000.0, mss, bool(options & _TIMESTAMPS)


def _socket(address: Address) -> SocketType:
    family = socket.AF_INET6 if address.family == 6 else socket.AF_INET
    sock = SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    errqueue.ask_for_errors(sock)
    return sock


def _cut(sock: SocketType, address: Address, segments: Segments) -> None:
    """Before the connection, as the MSS stands in the SYN."""
    if segments.mss_bytes is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segments.mss_bytes)
    if segments.may_fragment and address.family == 4:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _PMTUDISC_DONT)


def _bind(sock: SocketType, local_port: int) -> None:
    """Ask for one source port. A range of one leaves it shared with other far ends, which bind(2) does not."""
    try:
        sock.setsockopt(socket.IPPROTO_IP, _IP_LOCAL_PORT_RANGE, struct.pack("=HH", local_port, local_port))
    except OSError:  # before Linux 6.3
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("::" if sock.family == socket.AF_INET6 else "", local_port))


def _sockaddr(address: Address, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    if address.family == 4:
        return (address.text, port)
    text, _, zone = address.text.partition("%")
    return (text, port, 0, socket.if_nametoindex(zone) if zone else 0)


def _local(sock: SocketType) -> tuple[str | None, int | None]:
    try:
        name = sock.getsockname()
    except OSError:
        return None, None
    return name[0], name[1]


def _connected(sock: SocketType) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


