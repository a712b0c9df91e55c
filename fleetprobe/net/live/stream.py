"""An open TCP connection: speak over it, read the kernel's own account of it, and end it."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from socket import SocketType  # the bare C type: a third cheaper than its Python wrapper

from fleetprobe.net.classify import fault_of, fault_of_error
from fleetprobe.net.interface import USUAL_SEGMENTS, Event, Fault, Received, Segments, TcpInfo
from fleetprobe.net.live import errqueue
from fleetprobe.net.live.hole import HoleWatch, holds_later_bytes
from fleetprobe.net.live.reactor import READ, WRITE, Reactor, Ready
from fleetprobe.net.path import Hole

_LINGER_0 = struct.pack("ii", 1, 0)
_INFO = struct.Struct("=8B24I4Q6I4Q2I2Q6I")
_INFO_SIZE = 512
_SOFT = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EACCES, errno.ECONNREFUSED, errno.ENOPROTOOPT, errno.EPROTO,
     errno.EHOSTDOWN, errno.ENONET, errno.EOPNOTSUPP}
)


class TcpStream:
    """An open connection on a non-blocking socket."""

    peer_alpn: str | None = None

    def __init__(
        self, sock: SocketType, reactor: Reactor, gone: Fault | None = None, segments: Segments = USUAL_SEGMENTS
    ) -> None:
        """`gone` says that the connection has ended already, and how."""
        self._segments = segments
        self._gone = gone
        self._sock: SocketType | None = sock
        self._keep: Callable[[SocketType], bool] | None = None
        self._soft: Fault | None = None
        self._tell: Callable[[Hole], None] | None = None
        self._hurried = False
        self._fd = sock.fileno()
        self._reactor = reactor

    async def send(self, data: bytes, until_s: float) -> Received:
        """Send all of `data`; DONE, or how it failed."""
        rest, usual = memoryview(data), self._segments is USUAL_SEGMENTS
        if self._gone is not None:
            return self._lost(self._gone)
        if not self._hurried and self._sock is not None:
            self._hurried = True
            with suppress(OSError):  # a connection that is gone says so when we send
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while rest:
            if self._sock is None:
                return self._lost(fault_of(errno.EBADF))
            try:
                rest = rest[self._sock.send(rest if usual else self._piece(rest)) :]
            except BlockingIOError:
                mask, at = await self._reactor.ready(self._fd, WRITE, until_s)
                if not mask:
                    return self._nothing(at)
            except OSError as no:
                if not self._is_soft(no):
                    return self._lost(fault_of_error(no))
        return Received(data=b"", event=Event.DONE, at_s=self._reactor.now())

    def _piece(self, rest: memoryview) -> memoryview:
        """What goes next: without delay each is a segment of its own, as long as the window lets it go at once."""
        tail = self._segments.tail_bytes
        return (rest[:-tail] if 0 < tail < len(rest) else rest)[: self._segments.piece_bytes]

    async def receive(self, limit_bytes: int, until_s: float, hole_s: float | None = None) -> Received:
        """The next bytes, at most `limit_bytes`, or how the waiting ended; with `hole_s` early at a hole."""
        at: float | None = None
        watch: HoleWatch | None = None
        if self._gone is not None:
            return self._lost(self._gone)
        while self._sock is not None:
            try:
                data = self._sock.recv(limit_bytes)
            except BlockingIOError:
                if hole_s is None:
                    mask, at = await self._reactor.ready(self._fd, READ, until_s)
                else:
                    watch = watch or HoleWatch(self._reactor.now(), hole_s)
                    mask, at = await self._ready_or_hole(watch, until_s)
                if not mask:
                    return self._nothing(at, watch or self._looked(HoleWatch(at, None), at))
                continue
            except OSError as no:
                if self._is_soft(no):
                    continue
                return self._lost(fault_of_error(no), at)
            event = Event.DONE if data else Event.CLOSED
            return Received(data=data, event=event, at_s=at or self._reactor.now())
        return self._lost(fault_of(errno.EBADF), at)

    def info(self) -> TcpInfo | None:
        """tcp(7) TCP_INFO, or None when the socket is gone."""
        return None if self._sock is None else tcp_info(self._sock)

    def abort(self) -> None:
        """Close with RST, so that neither TIME-WAIT nor a frozen peer holds anything up."""
        if self._sock is None:
            return
        sock, self._sock = self._sock, None
        close(sock, self._reactor)

    def release(self) -> None:
        """Hand the connection to whoever keeps such, or close it."""
        if self._sock is None:
            return
        sock, self._sock = self._sock, None
        self._reactor.forget(self._fd)
        if self._keep is None or not self._keep(sock):
            close(sock, self._reactor)

    def tell_hole(self, tell: Callable[[Hole], None]) -> None:
        """Whom to tell of a hole, once in every wait."""
        self._tell = tell

    def keep_with(self, keep: Callable[[SocketType], bool]) -> None:
        """Name who may keep the connection after its release."""
        self._keep = keep

    def _is_soft(self, no: OSError) -> bool:
        """An ICMP message about an open connection: the kernel tells it once and goes on, and so do we.

        Anybody who guesses the ports can send one, so that only silence after it makes it count (RFC 5927).
        """
        if no.errno not in _SOFT or self._sock is None:
            return False
        self._soft = fault_of(no.errno, errqueue.drain(self._sock, None))
        return True

    async def _ready_or_hole(self, watch: HoleWatch, until_s: float) -> Ready:
        """Readiness to be read; an empty mask at the deadline, and as soon as a hole has lasted long enough."""
        told = False
        while True:
            mask, at = await self._reactor.ready(self._fd, READ, min(watch.next_look_s, until_s))
            if mask or at >= until_s:
                return mask, at
            if self._looked(watch, at).lasting and not told:
                if self._tell is None or watch.hole is None:
                    return mask, at
                self._tell(watch.hole)
                told = True

    def _looked(self, watch: HoleWatch, at: float) -> HoleWatch:
        if self._sock is not None:
            watch.look(tcp_info(self._sock), holds_later_bytes(self._sock), at)
        return watch

    def _nothing(self, at: float, watch: HoleWatch | None = None) -> Received:
        hole = watch.hole if watch else None
        if self._soft is not None:
            return Received(data=b"", event=Event.ERROR, fault=self._soft, at_s=at, hole=hole)
        return Received(data=b"", event=Event.SILENT, at_s=at, hole=hole)

    def _lost(self, fault: Fault, at: float | None = None) -> Received:
        return Received(data=b"", event=fault.event, fault=fault, at_s=at or self._reactor.now())


def close(sock: SocketType, reactor: Reactor, *, quietly: bool = False) -> None:
    """Forget and close a socket at once; `quietly`: there is no connection to cut."""
    reactor.forget(sock.fileno())
    if not quietly:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_0)
    sock.close()


def tcp_info(sock: SocketType) -> TcpInfo | None:
    """Read struct tcp_info (linux/tcp.h) by its returned length; fields have only ever been appended."""
    try:
        raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
    except OSError:
        return None
    size = len(raw)
    f = _INFO.unpack_from(raw.ljust(_INFO.size, b"\0"))
    return TcpInfo(
        rtt_ms=f[8 + 15] / 1000.0,
        rtt_var_ms=f[8 + 16] / 1000.0,
        total_retransmits=f[8 + 23],
        unacked_segments=f[8 + 4],
        sacked_segments=f[8 + 5],
        send_mss_bytes=f[8 + 2],
        receive_mss_bytes=f[8 + 3],
        advertised_mss_bytes=f[8 + 19],
        path_mtu_bytes=f[8 + 13],
        bytes_acked=f[34],
        bytes_received=f[35],
        data_segments_in=f[40],
        out_of_order_segments=f[52] if size >= _INFO.size - 12 else None,
        last_ack_received_ms=float(f[8 + 12]),
    )
