"""A datagram to a port that nobody listens on: the shortest question to which a live host must answer."""

from __future__ import annotations

import errno
import random
import socket
from dataclasses import dataclass
from socket import SocketType

from fleetprobe.net.classify import fault_of, fault_of_error
from fleetprobe.net.interface import Address, Fault, Icmp
from fleetprobe.net.live import errqueue
from fleetprobe.net.live.literal import family_of, limit_hops, own_end, sockaddr
from fleetprobe.net.live.reactor import ERROR, READ, Reactor
from fleetprobe.net.witness import Poke, Poked, came_from, is_port_unreachable

_LOWEST_PORT, _PORTS = 33_434, 90
"""The ports of traceroute(8): closed on hosts, and known to those who read firewall logs."""
_PAYLOAD = bytes(12)
_AGAIN_S = 0.5
_MOST_WAKES = 16
"""A socket that keeps waking us without an answer is not worth more."""


@dataclass(slots=True)
class _Answer:
    """What came back on the socket."""

    outcome: Poked
    icmp: Icmp | None = None
    packet_ttl: int | None = None
    fault: Fault | None = None


class _Question:
    """One connected datagram socket with its error queue."""

    def __init__(self, reactor: Reactor, address: Address, ttl: int | None) -> None:
        self.address, self.ttl = address, ttl
        # No secret: the port only has to differ between questions.
        self.port = _LOWEST_PORT + random.randrange(_PORTS)
        self.packets = 0
        self.sent_s = reactor.now()
        self._reactor = reactor
        self._own: str | None = None
        self.local_port: int | None = None
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        self._sock = SocketType(family_of(address), kind)

    def open(self) -> None:
        """Raises OSError when there is no way to the address."""
        errqueue.ask_for_errors(self._sock)
        errqueue.ask_for_ttl(self._sock)
        if self.ttl is not None:
            limit_hops(self._sock, self.ttl)
        self._sock.connect(sockaddr(self.address, self.port))
        self._own, self.local_port = own_end(self._sock)

    def send(self) -> _Answer | None:
        """Send once; what our own kernel says against it, or what had come before."""
        sent_s = self._reactor.now()
        try:
            self._sock.send(_PAYLOAD)
        except OSError as no:
            # The error may be the late answer to an earlier datagram: then it lies in the queue.
            return (None if no.errno == errno.EPERM else self.read()) or _refused(no)
        self.packets += 1
        self.sent_s = sent_s
        return None

    async def wait(self, until_s: float) -> tuple[_Answer | None, float]:
        """The answer, or None at `until_s`; and when that was."""
        at = self._reactor.now()
        for _ in range(_MOST_WAKES):
            mask, at = await self._reactor.ready(self._sock.fileno(), READ, until_s)
            answer = self.read(mask) if mask else None
            if answer is not None or not mask:
                return answer, at
        return None, at

    def read(self, mask: int = READ | ERROR) -> _Answer | None:
        """What lies on the error queue, else in the receive queue."""
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        for queued in errqueue.drain_all(self._sock, self._own) if mask & ERROR else ():
            if queued.icmp is not None:
                return _Answer(self._meaning(queued.icmp), queued.icmp, queued.packet_ttl)
        try:
            _, ancillary, _, _ = self._sock.recvmsg(1, 256)
        except BlockingIOError:
            return _Answer(Poked.LOCAL, fault=fault_of(number)) if number else None
        except OSError as no:
            return _refused(no)
        return _Answer(Poked.ANSWERED, packet_ttl=errqueue.arrival_ttl(ancillary))

    def close(self) -> None:
        """Forget and close the socket."""
        self._reactor.forget(self._sock.fileno())
        self._sock.close()

    def _meaning(self, icmp: Icmp) -> Poked:
        if is_port_unreachable(self.address, icmp) and came_from(self.address, icmp):
            return Poked.PORT_CLOSED
        return Poked.FROM_SELF if icmp.from_self else Poked.ICMP


async def poke(
    reactor: Reactor, address: Address, until_s: float, *, ttl: int | None = None, again: bool = True
) -> Poke:
    """See `net.witness.Witnessing.poke`; without `again` one datagram is all."""
    started = reactor.now()
    try:
        question = _Question(reactor, address, ttl)
    except OSError as no:
        return Poke(address=address, port=0, ttl=ttl, outcome=Poked.LOCAL, started_s=started,
                    ended_s=reactor.now(), fault=fault_of_error(no))
    try:
        answer, ended = await _ask(reactor, question, until_s, again)
    finally:
        question.close()
    came = answer.outcome in (Poked.PORT_CLOSED, Poked.ANSWERED, Poked.ICMP) if answer else False
    return Poke(
        address=address,
        port=question.port,
        ttl=ttl,
        outcome=answer.outcome if answer else Poked.SILENT,
        started_s=started,
        ended_s=ended,
        rtt_ms=max(0.0, ended - question.sent_s) * 1000.0 if came else None,
        icmp=answer.icmp if answer else None,
        packet_ttl=answer.packet_ttl if answer else None,
        fault=answer.fault if answer else None,
        local_port=question.local_port,
        packets=question.packets,
    )


async def _ask(
    reactor: Reactor, question: _Question, until_s: float, again: bool
) -> tuple[_Answer | None, float]:
    """Send and wait, and once more if there is time: one lost packet is no silence."""
    try:
        question.open()
    except OSError as no:
        return _refused(no), reactor.now()
    pause = reactor.now() + _AGAIN_S
    stops = (pause, until_s) if again and pause < until_s else (until_s,)
    answer, at = None, reactor.now()
    for stop in stops:
        answer = question.send()
        if answer is not None:
            return answer, reactor.now()
        answer, at = await question.wait(stop)
        if answer is not None:
            break
    return answer, at


def _refused(no: OSError) -> _Answer:
    outcome = Poked.DENIED if no.errno == errno.EPERM else Poked.LOCAL
    return _Answer(outcome, fault=fault_of_error(no))
