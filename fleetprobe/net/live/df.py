"""Datagrams of many sizes that no router may fragment: which ones arrive, and who says that one is too big."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace
from socket import SocketType

from fleetprobe.net.classify import fault_of, fault_of_error
from fleetprobe.net.interface import Address, Event, Fault
from fleetprobe.net.live import errqueue
from fleetprobe.net.live.literal import family_of, limit_hops, never_fragment, own_end, sockaddr
from fleetprobe.net.live.ping import ping
from fleetprobe.net.live.reactor import ERROR, READ, Reactor
from fleetprobe.net.path import MOST_PROBES, DfProbe, DfSearch, Passed, meaning

# Python 3.11 does not name these; values from linux/in.h and linux/in6.h.
_IP_MTU, _IPV6_MTU = 14, 24

_HEADERS = {4: 20 + 8, 6: 40 + 8}
_MOST_BYTES = {4: 65_535, 6: 40 + 65_535}
_LARGEST_IP_MTU = 65_535
"""What the kernel tells at most of a path over IPv4, however large the device's MTU (loopback: 65,536)."""
_LOWEST_PORT, _PORTS = 33_434, 90
"""The ports of traceroute(8): closed on hosts, and known to those who read firewall logs."""
_MOST_WAKES = 16

_Wanted = tuple[int, int | None]


async def df_search(
    reactor: Reactor,
    address: Address,
    sizes: Sequence[int],
    until_s: float,
    *,
    ttls: Sequence[int | None] = (None,),
    device_mtu_bytes: int | None = None,
) -> DfSearch:
    """See `net.interface.Net.df_search`. `device_mtu_bytes` is that of the interface the packets leave by."""
    wanted = _wanted(address, sizes, ttls)
    started = reactor.now()
    # No secret: only two searches at once should not share it.
    port = _LOWEST_PORT + random.randrange(_PORTS)
    questions: list[_Question] = []
    try:
        questions.extend(_Question(reactor, address, port, size, ttl) for size, ttl in wanted)
        for question in questions:
            question.open()
        # Before anything is sent, as the answers may change it.
        path_mtu = next((mtu for one in questions if (mtu := one.path_mtu()) is not None), None)
        for question in questions:
            question.ask()
        await _hear(questions, started + (until_s - started) / 2)
        again = [question for question in questions if _worth_repeating(question, questions)]
        for question in again:
            question.ask()
        await _hear(again, until_s)
    finally:
        for question in questions:
            question.close()
    return DfSearch(
        address=address,
        port=port,
        started_s=started,
        ended_s=reactor.now(),
        probes=tuple(question.probe() for question in sorted(questions, key=_ascending)),
        device_mtu_bytes=device_mtu_bytes,
        cached_mtu_bytes=_cached(path_mtu, device_mtu_bytes),
    )


async def with_echo(
    reactor: Reactor, address: Address, sizes: Sequence[int], until_s: float, *, device_mtu_bytes: int | None = None
) -> DfSearch:
    """The search, and beside it one echo of the largest size that our device carries, waited for no longer."""
    fitting = [size for size in sizes if device_mtu_bytes is None or size <= device_mtu_bytes]
    largest = min(max(fitting, default=0), _LARGEST_IP_MTU)
    echo = asyncio.ensure_future(ping(reactor, address, until_s, largest)) if largest else None
    try:
        told = await df_search(reactor, address, sizes, until_s, device_mtu_bytes=device_mtu_bytes)
        if echo is not None:
            await asyncio.wait({echo}, timeout=0)
    finally:
        if echo is not None:
            echo.cancel()
    done = echo is not None and echo.done() and not echo.cancelled()
    return replace(told, echo=echo.result(), echo_bytes=largest) if echo is not None and done else told


class _Question:
    """One size at one TTL: a connected datagram socket of its own, so that its error queue speaks of it alone."""

    def __init__(self, reactor: Reactor, address: Address, port: int, size_bytes: int, ttl: int | None) -> None:
        self.size_bytes, self.ttl = size_bytes, ttl
        self.outcome = Passed.SILENT
        self._address, self._port = address, port
        self._reactor = reactor
        self._sock: SocketType | None = None
        self._said: errqueue.QueuedError | None = None
        self._fault: Fault | None = None
        self._own: tuple[str | None, int | None] = (None, None)
        self._packets = 0
        self._sent_s = self._at_s = 0.0

    @property
    def silent(self) -> bool:
        """Whether nothing has been heard yet."""
        return self.outcome is Passed.SILENT

    def open(self) -> None:
        """Make the socket and connect it, which sends nothing."""
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            self._sock = sock = SocketType(family_of(self._address), kind)
            errqueue.ask_for_errors(sock)
            never_fragment(sock, self._address)
            if self.ttl is not None:
                limit_hops(sock, self.ttl)
            sock.connect(sockaddr(self._address, self._port))
            self._own = own_end(sock)
        except OSError as no:
            self._kernel_said(fault_of_error(no))

    def path_mtu(self) -> int | None:
        """What our kernel believes of the path: ip(7) IP_MTU, ipv6(7) IPV6_MTU."""
        if self._sock is None or not self.silent:
            return None
        six = self._address.family == 6
        try:
            return self._sock.getsockopt(
                socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP, _IPV6_MTU if six else _IP_MTU
            )
        except OSError:
            return None

    def ask(self) -> None:
        """Send the datagram, unless its fate is known."""
        if self._sock is None or not self.silent:
            return
        sent_s = self._reactor.now()
        try:
            self._sock.send(bytes(self.size_bytes - _HEADERS[self._address.family]))
        except BlockingIOError:
            return  # as good as lost
        except OSError as no:
            # What send(2) reports may be the answer to the datagram before, which then lies in the queue.
            self._at_s = sent_s
            if not self._read_errors():
                self._kernel_said(fault_of_error(no))
            return
        self._packets += 1
        self._sent_s = sent_s

    async def hear(self, until_s: float) -> None:
        """Wait for what comes back, at most until `until_s`."""
        for _ in range(_MOST_WAKES):
            if self._sock is None or not self.silent:
                return
            mask, self._at_s = await self._reactor.ready(self._sock.fileno(), READ, until_s)
            if not mask:
                return
            self._read(mask)

    def probe(self) -> DfProbe:
        """What became of it."""
        said = self._said
        from_wire = self.outcome is Passed.PASSED or (said is not None and said.icmp and not said.icmp.from_self)
        return DfProbe(
            size_bytes=self.size_bytes,
            ttl=self.ttl,
            outcome=self.outcome,
            icmp=said.icmp if said else None,
            mtu_bytes=(said.info or None) if said and self.outcome in (Passed.TOO_BIG, Passed.LOCAL) else None,
            rtt_ms=max(0.0, self._at_s - self._sent_s) * 1000.0 if from_wire else None,
            local_port=self._own[1] or None,
            errno_name=self._fault.errno_name if self._fault else None,
            packets=self._packets,
        )

    def close(self) -> None:
        """Forget and close the socket. Idempotent."""
        if self._sock is not None:
            self._reactor.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None

    def _read(self, mask: int) -> None:
        """Take what has come; the pending error is asked for first, as emptying the queue clears it."""
        assert self._sock is not None
        number = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if mask & ERROR and self._read_errors():
            return
        try:
            self._sock.recv(1)
        except BlockingIOError:
            if number:
                self._kernel_said(fault_of(number))
        except OSError as no:
            self._kernel_said(fault_of_error(no))
        else:
            self.outcome = Passed.PASSED

    def _read_errors(self) -> bool:
        """Whether the error queue told what became of the datagram; its first word counts."""
        assert self._sock is not None
        for said in errqueue.drain_all(self._sock, self._own[0]):
            self._said = said
            if said.icmp is not None:
                self.outcome = meaning(self._address, said.icmp)
            else:
                self._kernel_said(Fault(event=Event.ERROR, errno_name=said.errno_name))
            return True
        return False

    def _kernel_said(self, fault: Fault) -> None:
        self._fault = fault
        self.outcome = Passed.LOCAL if fault.errno_name == "EMSGSIZE" else Passed.OTHER


def _wanted(address: Address, sizes: Iterable[int], ttls: Iterable[int | None]) -> list[_Wanted]:
    """Each pair once, the largest size first: a host that limits its ICMP spends it on the sizes that count."""
    least, most = _HEADERS[address.family], _MOST_BYTES[address.family]
    pairs = {(size, ttl) for size in sizes for ttl in ttls}
    if len(pairs) > MOST_PROBES:
        raise ValueError(f"{len(pairs)} probes in one search, at most {MOST_PROBES}")
    if wrong := [size for size, _ in pairs if not least <= size <= most]:
        raise ValueError(f"no UDP packet of {wrong[0]} bytes: {least} to {most}")
    return sorted(pairs, key=lambda pair: (-pair[0], pair[1] or 0))


def _worth_repeating(question: _Question, questions: Iterable[_Question]) -> bool:
    """Silent so far, and no larger one of the same TTL has arrived."""
    return question.silent and not any(
        other.ttl == question.ttl and other.size_bytes > question.size_bytes and other.probe().arrived
        for other in questions
    )


async def _hear(questions: Iterable[_Question], until_s: float) -> None:
    waiting = [question.hear(until_s) for question in questions if question.silent]
    await asyncio.gather(*waiting)


def _ascending(question: _Question) -> tuple[bool, int, int]:
    return question.ttl is None, question.ttl or 0, question.size_bytes


def _cached(path_mtu: int | None, device_mtu_bytes: int | None) -> int | None:
    """The path MTU that our kernel assumed, where it is smaller than what the device would give."""
    if path_mtu is None or device_mtu_bytes is None:
        return None
    return path_mtu if path_mtu < min(device_mtu_bytes, _LARGEST_IP_MTU) else None
