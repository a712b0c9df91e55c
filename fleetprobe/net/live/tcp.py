"""TCP for real: dial one literal address, speak over it, read the kernel's own account of it."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from socket import SocketType  # the bare C type: a third cheaper than its Python wrapper

from fleetprobe.net.classify import fault_of, fault_of_error
from fleetprobe.net.interface import Address, Dial, Event, Fault, Received, TcpInfo
from fleetprobe.net.live import errqueue
from fleetprobe.net.live.reactor import ERROR, HANGUP, READ, WRITE, Reactor

_LINGER_0 = struct.pack("ii", 1, 0)
_INFO = struct.Struct("=8B24I4Q6I4Q2I2Q6I")
_INFO_SIZE = 512
_BUSY = (errno.EINPROGRESS, errno.EAGAIN, errno.EALREADY)


class TcpStream:
    """An open connection on a non-blocking socket."""

    peer_alpn: str | None = None

    def __init__(self, sock: SocketType, reactor: Reactor) -> None:
        self._sock: SocketType | None = sock
        self._fd = sock.fileno()
        self._reactor = reactor

    async def send(self, data: bytes, until_s: float) -> Received:
        """Send all of `data`; DONE, or how it failed."""
        rest = memoryview(data)
        while rest:
            if self._sock is None:
                return self._lost(fault_of(errno.EBADF))
            try:
                rest = rest[self._sock.send(rest) :]
            except BlockingIOError:
                mask, at = await self._reactor.ready(self._fd, WRITE, until_s)
                if not mask:
                    return Received(data=b"", event=Event.SILENT, at_s=at)
            except OSError as no:
                return self._lost(fault_of_error(no))
        return Received(data=b"", event=Event.DONE, at_s=self._reactor.now())

    async def receive(self, limit_bytes: int, until_s: float) -> Received:
        """The next bytes, at most `limit_bytes`, or how the waiting ended."""
        at: float | None = None
        while self._sock is not None:
            try:
                data = self._sock.recv(limit_bytes)
            except BlockingIOError:
                mask, at = await self._reactor.ready(self._fd, READ, until_s)
                if not mask:
                    return Received(data=b"", event=Event.SILENT, at_s=at)
                continue
            except OSError as no:
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

    def _lost(self, fault: Fault, at: float | None = None) -> Received:
        return Received(data=b"", event=fault.event, fault=fault, at_s=at or self._reactor.now())


def close(sock: SocketType, reactor: Reactor) -> None:
    """Forget and close a socket at once."""
    reactor.forget(sock.fileno())
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
    )


async def dial(
    reactor: Reactor, address: Address, port: int, until_s: float
) -> tuple[Dial, TcpStream | None]:
    """Connect to one literal address. The socket is kept to the very deadline, as late ICMP still tells."""
    started, lag = reactor.now(), reactor.lag_ms()

    def ended(at: float, fault: Fault | None, sock: SocketType | None = None) -> Dial:
        # A refusal has no story; silence and success do: how often the SYN was sent, how far the peer is.
        told = fault is None or fault.event is Event.SILENT
        info = tcp_info(sock) if sock is not None and told else None
        local = _local(sock) if sock is not None else (None, None)
        return Dial(
            address=address,
            port=port,
            started_s=started,
            ended_s=at,
            fault=fault,
            local_address=local[0],
            local_port=local[1],
            syn_retransmits=info.total_retransmits if info else None,
            rtt_ms=info.rtt_ms if info and fault is None else None,
            mss_bytes=info.send_mss_bytes if info and fault is None else None,
            lag_ms=reactor.lag_ms() - lag,
        )

    try:
        sock = _socket(address)
    except OSError as no:
        return ended(reactor.now(), fault_of_error(no)), None
    try:
        number = sock.connect_ex(_sockaddr(address, port))
    except OSError as no:
        number = no.errno or errno.EINVAL
    at, icmp, kept = reactor.now(), None, False
    try:
        while number in _BUSY:
            mask, at = await reactor.ready(sock.fileno(), WRITE, until_s)
            if not mask:
                return ended(at, Fault(event=Event.SILENT, icmp=icmp), sock), None
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if mask & ERROR:
                icmp = errqueue.drain(sock, _local(sock)[0]) or icmp
            if number == 0 and mask & (ERROR | HANGUP) and not _connected(sock):
                # Hung up without a reason, or a soft error: the kernel took note and goes on trying.
                number = errno.ECONNABORTED if mask & HANGUP else errno.EINPROGRESS
        if number == 0:
            kept = True
            return ended(at, None, sock), TcpStream(sock, reactor)
        return ended(at, fault_of(number, icmp), sock), None
    finally:
        if not kept:
            close(sock, reactor)


def _socket(address: Address) -> SocketType:
    family = socket.AF_INET6 if address.family == 6 else socket.AF_INET
    sock = SocketType(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    errqueue.ask_for_errors(sock)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


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
    return str(name[0]), int(name[1])


def _connected(sock: SocketType) -> bool:
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


