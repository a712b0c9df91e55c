"""Many SYNs at once to one address, each closed as soon as it is answered: knocking on ports and hops."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from math import inf, isinf
from socket import SocketType

from fleetprobe.net.classify import fault_of, fault_of_error
from fleetprobe.net.interface import Address, Dial, Event, Fault
from fleetprobe.net.live import errqueue, stream
from fleetprobe.net.live.literal import family_of, limit_hops, own_end, sockaddr
from fleetprobe.net.live.reactor import ERROR, HANGUP, WRITE, Reactor
from fleetprobe.net.witness import CUT_SHORT, any_answer

MOST_PORTS = 16
_MOST_WAKES = 16
"""Soft errors after which an attempt is not worth waiting for."""
_BUSY = (errno.EINPROGRESS, errno.EAGAIN, errno.EALREADY)


class Syn:
    """One attempt to connect that is given up as soon as it is answered."""

    def __init__(self, reactor: Reactor, address: Address, port: int, ttl: int | None = None) -> None:
        """Sends the SYN at once. What our own kernel refuses is in `dial` from the beginning."""
        self.address, self.port, self.ttl = address, port, ttl
        self.dial: Dial | None = None
        self.packets = 0
        self._reactor = reactor
        self._started_s, self._lag_ms = reactor.now(), reactor.lag_ms()
        self._own: tuple[str | None, int | None] = (None, None)
        self._sock: SocketType | None = None
        try:
            number = self._send()
        except OSError as no:
            self._end(reactor.now(), fault_of_error(no))
        else:
            if number not in _BUSY:
                self._end(reactor.now(), fault_of(number) if number else None)

    async def answer(self, until_s: float) -> Dial:
        """How it ended; SILENT when nothing came by `until_s`."""
        icmp = None
        for _ in range(_MOST_WAKES):
            if self.dial is not None or self._sock is None:
                break
            mask, at = await self._reactor.ready(self._sock.fileno(), WRITE, until_s)
            if not mask:
                return self._end(at, Fault(event=Event.SILENT, icmp=icmp))
            number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if mask & ERROR:
                icmp = errqueue.drain(self._sock, self._own[0]) or icmp
            if number:
                return self._end(at, fault_of(number, icmp))
            if mask & HANGUP:
                return self._end(at, fault_of(errno.ECONNABORTED, icmp))
            if not mask & ERROR:
                return self._end(at, None)
            # An error without a number is a soft one: the kernel took note and goes on trying.
        return self.dial or self._end(self._reactor.now(), Fault(event=Event.SILENT, icmp=icmp))

    def cut(self) -> Dial:
        """How it stands now; closed. An attempt still waiting becomes SILENT with CUT_SHORT."""
        return self.dial or self._end(self._reactor.now(), Fault(event=Event.SILENT, detail=CUT_SHORT))

    def _send(self) -> int:
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._sock = sock = SocketType(family_of(self.address), kind)
        errqueue.ask_for_errors(sock)
        if self.ttl is not None:
            limit_hops(sock, self.ttl)
        number = sock.connect_ex(sockaddr(self.address, self.port))
        self._own = own_end(sock)
        return number

    def _end(self, at_s: float, fault: Fault | None) -> Dial:
        info = None
        if self._sock is not None:
            info = stream.tcp_info(self._sock)
            stream.close(self._sock, self._reactor)
            self._sock = None
        # Without a local port the kernel never came so far as to send.
        self.packets = 1 + (info.total_retransmits if info else 0) if self._own[1] else 0
        connected = info if fault is None else None
        self.dial = Dial(
            address=self.address,
            port=self.port,
            started_s=self._started_s,
            ended_s=at_s,
            fault=fault,
            local_address=self._own[0] if self._own[1] else None,
            local_port=self._own[1] or None,
            syn_retransmits=info.total_retransmits if info else None,
            rtt_ms=connected.rtt_ms if connected else None,
            mss_bytes=connected.send_mss_bytes if connected else None,
            lag_ms=self._reactor.lag_ms() - self._lag_ms,
        )
        return self.dial


async def volley(syns: Sequence[Syn], until_s: float, give_up_s: Callable[[], float]) -> tuple[Dial, ...]:
    """Wait for SYNs already sent; every one is closed on return, whatever happens.

    `give_up_s` is asked after every answer: the monotonic second from which the rest need not be waited for.
    """
    every = {asyncio.ensure_future(syn.answer(until_s)) for syn in syns if syn.dial is None}
    waiting = set(every)
    try:
        while waiting and (left_s := give_up_s() - Reactor.now()) > 0:
            timeout = None if isinf(left_s) else left_s
            _, waiting = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
        # Without an await, as a caller that is being cancelled may not get through one.
        dials = tuple(syn.cut() for syn in syns)
    await asyncio.gather(*waiting, return_exceptions=True)
    for task in every - waiting:
        task.result()
    return dials


async def knock(
    reactor: Reactor,
    address: Address,
    ports: Sequence[int],
    until_s: float,
    *,
    ttl: int | None = None,
    enough: Callable[[Dial], bool] = any_answer,
) -> tuple[Dial, ...]:
    """See `net.witness.Witnessing.knock`. Raises ValueError for more than 16 ports."""
    if len(ports) > MOST_PORTS:
        raise ValueError(f"{len(ports)} ports in one knock, at most {MOST_PORTS}")
    syns = [Syn(reactor, address, port, ttl) for port in ports]

    def give_up_s() -> float:
        told = any(syn.dial is not None and enough(syn.dial) for syn in syns)
        return reactor.now() if told else inf

    return await volley(syns, until_s, give_up_s)
