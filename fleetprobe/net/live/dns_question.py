"""One question to one nameserver, from the first datagram to a reply that can stand as evidence.

UDP first, resent over one connected socket; whatever does not fit the question is ignored until the deadline.
A truncated answer is asked for again over TCP (RFC 7766), a FORMERR once more without EDNS (RFC 6891 §7).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from fleetprobe.net.classify import fault_of, fault_of_error
from fleetprobe.net.interface import DnsReply, Event, Fault, RecordType
from fleetprobe.net.live.errqueue import ask_for_errors, drain
from fleetprobe.net.live.reactor import READ, WRITE, Reactor
from fleetprobe.net.live.resolv_conf import ServerAddress

ADDRESS_LIMIT = 64
HOP_LIMIT = 16
"""Aliases followed; real chains are shorter than five."""
_PAYLOAD_BYTES = 1232
"""What fits an unfragmented packet on every sane path (DNS flag day 2020)."""
_SENDS = 3
_JUNK_LIMIT = 64
"""Datagrams that do not fit the question before we stop listening to a flood."""
_LAG_SHARE = 0.5
"""Of a silence: above this our own lag explains it."""
_LENGTH = struct.Struct("!H")


class _Unanswered(Exception):
    """The question ended without a usable answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class Question:
    """One question to one nameserver, until answered or over."""

    def __init__(
        self,
        server: ServerAddress,
        reactor: Reactor,
        name: dns.name.Name,
        record_type: dns.rdatatype.RdataType,
        until_s: float,
    ) -> None:
        self._address = server
        self._reactor = reactor
        self._name = name
        self._type = record_type
        self._until_s = until_s

    async def settle(self, record_type: RecordType) -> DnsReply:
        """The reply; it bears `record_type`, its duration is left at zero."""
        reply = DnsReply(server=str(self._address), record_type=record_type, duration_ms=0.0)
        started, late_ms = self._reactor.now(), self._reactor.lag_ms()
        try:
            answer = await self._over_udp(self._query(edns=True))
            if answer.rcode() == dns.rcode.FORMERR:
                answer = await self._over_udp(self._query(edns=False))
            if answer.flags & dns.flags.TC:
                # What fitted is kept: it is all there is if TCP fails.
                reply = self._told(replace(reply, truncated=True), answer)
                answer = await self._over_tcp(self._query(edns=True))
                reply = replace(reply, over_tcp=True)
        except _Unanswered as end:
            lag_ms = self._reactor.lag_ms() - late_ms
            waited_ms = (self._reactor.now() - started) * 1000.0
            return replace(reply, fault=_own_if_late(end.fault, lag_ms, waited_ms))
        return self._told(reply, answer)

    def _query(self, *, edns: bool) -> dns.message.Message:
        return dns.message.make_query(
            self._name, self._type, use_edns=0 if edns else False, payload=_PAYLOAD_BYTES if edns else None
        )

    def _told(self, reply: DnsReply, answer: dns.message.Message) -> DnsReply:
        addresses, cnames, min_ttl_s = follow(answer, self._name, self._type)
        return replace(
            reply,
            rcode=dns.rcode.to_text(answer.rcode()),
            addresses=addresses,
            cnames=cnames,
            min_ttl_s=min_ttl_s,
            extended_error=_extended_error(answer),
        )

    async def _over_udp(self, query: dns.message.Message) -> dns.message.Message:
        wire = query.to_wire()
        pause_s = (self._until_s - self._reactor.now()) / _SENDS
        junk = 0
        with self._socket(socket.SOCK_DGRAM) as sock:
            _connect(sock, self._address)
            for number in range(1, _SENDS + 1):
                self._send(sock, wire)
                last = number == _SENDS
                pause_until_s = self._until_s if last else self._reactor.now() + pause_s
                while junk < _JUNK_LIMIT and (data := await self._datagram(sock, pause_until_s)) is not None:
                    answer = parse_answer(data, query)
                    if answer is not None:
                        return answer
                    junk += 1
        raise _Unanswered(
            Fault(Event.SILENT, detail=f"{junk} datagrams did not fit the question" if junk else "")
        )

    async def _datagram(self, sock: socket.socket, until_s: float) -> bytes | None:
        """The next datagram of any length; None at the deadline."""
        if not (await self._reactor.ready(sock.fileno(), READ, until_s))[0]:
            return None
        try:
            return sock.recv(65535)
        except BlockingIOError:
            # Readiness was an error that the queue has swallowed, or a datagram with a bad checksum.
            return b""
        except OSError as error:
            raise _Unanswered(self._fault(sock, error)) from error

    def _send(self, sock: socket.socket, wire: bytes) -> None:
        try:
            sock.send(wire)
        except OSError as error:
            raise _Unanswered(self._fault(sock, error)) from error

    async def _over_tcp(self, query: dns.message.Message) -> dns.message.Message:
        wire = query.to_wire()
        with self._socket(socket.SOCK_STREAM) as sock:
            _connect(sock, self._address)
            await self._until_ready(sock, WRITE)
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                raise _Unanswered(fault_of(number, drain(sock, None)))
            # A fresh socket's send buffer holds a question whole.
            self._send(sock, _LENGTH.pack(len(wire)) + wire)
            (size,) = _LENGTH.unpack(await self._exactly(sock, _LENGTH.size))
            answer = parse_answer(await self._exactly(sock, size), query)
        if answer is None:
            raise _Unanswered(
                Fault(Event.ERROR, "EBADMSG", detail="the answer over TCP did not fit the question")
            )
        return answer

    async def _exactly(self, sock: socket.socket, size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            await self._until_ready(sock, READ)
            try:
                chunk = sock.recv(size - len(received))
            except BlockingIOError:
                continue
            except OSError as error:
                raise _Unanswered(self._fault(sock, error)) from error
            if not chunk:
                raise _Unanswered(
                    Fault(Event.CLOSED, detail=f"TCP ended after {len(received)} of {size} bytes")
                )
            received += chunk
        return bytes(received)

    async def _until_ready(self, sock: socket.socket, mask: int) -> None:
        if not (await self._reactor.ready(sock.fileno(), mask, self._until_s))[0]:
            raise _Unanswered(Fault(Event.SILENT, detail="over TCP"))

    @contextlib.contextmanager
    def _socket(self, kind: socket.SocketKind) -> Iterator[socket.socket]:
        try:
            sock = socket.socket(self._address.family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            raise _Unanswered(fault_of_error(error)) from error
        try:
            ask_for_errors(sock)
            yield sock
        finally:
            self._reactor.forget(sock.fileno())
            sock.close()

    @staticmethod
    def _fault(sock: socket.socket, error: OSError) -> Fault:
        try:
            own_address = str(sock.getsockname()[0])
        except OSError:
            own_address = None
        fault = fault_of_error(error)
        return replace(fault, icmp=drain(sock, own_address))


def _own_if_late(fault: Fault, lag_ms: float, waited_ms: float) -> Fault:
    """A silence through most of which we did not listen ourselves is our own fault."""
    if fault.event is Event.SILENT and lag_ms > waited_ms * _LAG_SHARE:
        return Fault(Event.ERROR, "EAGAIN", detail=f"our own loop was late by {lag_ms:.0f} ms")
    return fault


def _connect(sock: socket.socket, address: ServerAddress) -> None:
    try:
        number = sock.connect_ex(address.sockaddr())
    except OSError as error:
        raise _Unanswered(fault_of_error(error)) from error
    if number not in (0, errno.EINPROGRESS):
        raise _Unanswered(fault_of(number))


def parse_answer(data: bytes, query: dns.message.Message) -> dns.message.Message | None:
    """The answer, if these bytes are one to this question; anything else is noise that somebody sent us."""
    try:
        answer = dns.message.from_wire(data, ignore_trailing=True, continue_on_error=True)
    except (dns.exception.DNSException, ValueError, struct.error):
        return None
    # A truncated answer may end in the middle of a record; a whole one may not.
    if answer.errors and not answer.flags & dns.flags.TC:
        return None
    return answer if query.is_response(answer) else None


def follow(
    answer: dns.message.Message, name: dns.name.Name, record_type: dns.rdatatype.RdataType
) -> tuple[tuple[str, ...], tuple[str, ...], int | None]:
    """Addresses at the end of the alias chain (at most 64), the chain (at most 16), and its lowest TTL.

    A chain that comes back to itself ends with the name that it had already passed.
    """
    cnames: list[str] = []
    ttls: list[int] = []
    passed = {name}
    current = name
    for _ in range(HOP_LIMIT + 1):
        found = answer.get_rrset(answer.answer, current, dns.rdataclass.IN, record_type)
        if found:
            texts = dict.fromkeys(str(getattr(record, "address", "")) for record in found)
            addresses = tuple(text for text in texts if text)[:ADDRESS_LIMIT]
            return addresses, tuple(cnames), min([*ttls, found.ttl])
        alias = answer.get_rrset(answer.answer, current, dns.rdataclass.IN, dns.rdatatype.CNAME)
        if not alias or len(cnames) == HOP_LIMIT:
            break
        current = next(iter(alias)).target
        ttls.append(alias.ttl)
        cnames.append(current.to_text(omit_final_dot=True).lower())
        if current in passed:
            break
        passed.add(current)
    return (), tuple(cnames), min(ttls, default=None)


def _extended_error(answer: dns.message.Message) -> int | None:
    """The info code of the first extended error (RFC 8914)."""
    for option in answer.options:
        if isinstance(option, dns.edns.EDEOption):
            return int(option.code)
    return None
