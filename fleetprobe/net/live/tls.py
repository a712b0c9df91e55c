"""TLS for real: an OpenSSL client that never refuses, pumped through memory buffers above a plain stream.

Verification runs inside the handshake, but its errors are only noted: one connection gives the whole
presented chain, every error with its depth, and still carries the next layer. Each CPU-heavy step waits
for its turn first, so that the clock of everything else on the loop stays true.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache

from OpenSSL import SSL, crypto

from fleetprobe.net.handshake import CHAIN_BYTES, MOST_CAS, Handshake, Hello
from fleetprobe.net.interface import Event, Fault, Received, Stream, TcpInfo
from fleetprobe.net.live import trust
from fleetprobe.net.live.seen import Seen, on_info, on_staple, on_verify
from fleetprobe.net.live.tls_hello import connection_for, every_cipher, only_p256, outgoing
from fleetprobe.net.live.verify import Verifier
from fleetprobe.net.path import Hole
from fleetprobe.net.verified import UNVERIFIABLE, Verified

_FIRST_BYTES = 64
_HANDSHAKE_BYTES = 192 * 1024
_READ_BYTES = 64 * 1024
_SEND_BYTES = 16 * 1024
_LOGGED = 64
_BARREN_BYTES = 128 * 1024
"""Bytes of records without application data after which a TLS stream is given up; one record holds 16 KiB."""
_CONTEXTS = 64
_ILLEGAL_PARAMETER = 2, 47
"""The fatal alert (RFC 8446 §6) with which OpenSSL refuses a chain above CHAIN_BYTES, among other things."""
_HEAR_OUT_S = 1.0
_AUTHORITIES, _AUTHORITY_CHARS = 8, 256
_LEGACY_SERVER_CONNECT = 0x4
"""SSL_OP_LEGACY_SERVER_CONNECT of SSL_CTX_set_options(3), which pyOpenSSL does not name."""


class Handshaker:
    """Does TLS handshakes for one event loop. Contexts are shared, as building one costs milliseconds."""

    def __init__(
        self, turn: Callable[[], Awaitable[None]], clock: Callable[[], float], lag_ms: Callable[[], float]
    ) -> None:
        """`lag_ms` counts up: the difference of two readings is how late the loop was between them."""
        self._turn = turn
        self._clock = clock
        self._lag_ms = lag_ms
        self._trusted: dict[str | None, tuple[SSL.Context, Mapping[str, object]]] = {}
        self._small: dict[tuple[bool, bool], SSL.Context] = {}
        self._verifiers: dict[str | None, Verifier] = {}

    def trust(self, ca_file: str | None) -> Mapping[str, object]:
        """What verification stands on: `source`, `count`, `skipped`, `sha256` over the sorted fingerprints.

        Raises UnusableTrust for a `ca_file` without a usable certificate; no system store is `count` 0.
        """
        return self._trust(ca_file)[1]

    async def verify(self, chain: Sequence[bytes], ca_file: str | None) -> Verified:
        """A chain put together by hand, leaf first in DER, against the same trust as a handshake would be."""
        await self._turn()
        verifier = self._verifiers.get(ca_file)
        if verifier is None:
            context, anew = self._trust(ca_file)[0], lambda: _build(ca_file)[0]
            verifier = self._verifiers[ca_file] = Verifier(context, anew)
        try:
            return verifier.verify(chain)
        except trust.UnusableTrust:
            return UNVERIFIABLE

    async def handshake(
        self, stream: Stream, hello: Hello, until_s: float, hole_s: float | None = None
    ) -> tuple[Handshake, Stream | None]:
        """TLS over an open stream, ended by `until_s`; the stream is not closed when it fails.

        `hole_s` as in `Stream.receive`, for each wait.
        """
        seen, asked_s = Seen(), self._clock()
        await self._turn()
        context = self._small_context(hello) if hello.small else self._trust(hello.ca_file)[0]
        connection = connection_for(context, hello, seen, Seen)
        info = stream.info()
        seen.acked_before = info.bytes_acked if info else 0
        seen.started_s = seen.at_s = self._clock()
        fault = await self._converse(stream, connection, seen, until_s, hole_s)
        if fault is not None and fault.event is Event.SILENT:
            # The deadline ran while we queued for our own processor: the peer may have been left with nothing.
            seen.lag_ms += (seen.started_s - asked_s) * 1000.0
        answer = _answer(connection, seen, fault, stream.info() if fault else None)
        return answer, None if fault else TlsStream(stream, connection, seen, answer.alpn)

    async def _converse(
        self, stream: Stream, connection: SSL.Connection, seen: Seen, until_s: float, hole_s: float | None
    ) -> Fault | None:
        """Step and exchange until the handshake is complete (None) or a fault ends it."""
        lag, queued_s = self._lag_ms(), 0.0
        while True:
            outcome = _step(connection, seen)
            if isinstance(outcome, Fault):
                if _ILLEGAL_PARAMETER in seen.alerts_sent:
                    await self._hear_out(stream, seen, until_s)
                return outcome
            fault = await _send_out(stream, connection, seen, until_s)
            if fault is not None:
                await self._hear_last_words(stream, connection, seen)
                return fault
            if outcome:
                return None
            got = await stream.receive(_READ_BYTES, until_s, hole_s)
            seen.at_s, seen.hole = got.at_s, got.hole
            # Only up to what was heard last: queueing for our own processor after that delayed nobody.
            seen.lag_ms = self._lag_ms() - lag + queued_s * 1000.0
            if not got.data:
                return got.fault or Fault(event=got.event)
            if fault := _feed(connection, seen, got.data):
                return fault
            waiting = self._clock()
            await self._turn()
            queued_s += self._clock() - waiting

    async def _hear_out(self, stream: Stream, seen: Seen, until_s: float) -> None:
        """Count what still comes when OpenSSL may have refused the length of the chain, of which it reads the head."""
        until_s = min(until_s, self._clock() + _HEAR_OUT_S)
        while seen.received < CHAIN_BYTES and (got := await stream.receive(_READ_BYTES, until_s)).data:
            seen.received += len(got.data)
            seen.at_s = seen.heard_s = got.at_s

    async def _hear_last_words(self, stream: Stream, connection: SSL.Connection, seen: Seen) -> None:
        """Read what was already there when sending failed: an alert says more than the reset behind it."""
        got = await stream.receive(_READ_BYTES, self._clock())
        if got.data and not _feed(connection, seen, got.data):
            with suppress(SSL.Error):
                connection.recv(1)

    def _small_context(self, hello: Hello) -> SSL.Context:
        kind = hello.any_cipher, hello.below_tls13
        context = self._small.get(kind)
        if context is None:
            context = self._small[kind] = _context()
            only_p256(context)
            if hello.any_cipher:
                every_cipher(context)
            if hello.below_tls13:
                context.set_max_proto_version(SSL.TLS1_2_VERSION)
        return context

    def _trust(self, ca_file: str | None) -> tuple[SSL.Context, Mapping[str, object]]:
        known = self._trusted.get(ca_file)
        if known is None:
            while len(self._trusted) >= _CONTEXTS:
                oldest = next(iter(self._trusted))
                del self._trusted[oldest]
                self._verifiers.pop(oldest, None)
            known = self._trusted[ca_file] = _build(ca_file)
        return known


class TlsStream:
    """A completed TLS connection, spoken through as if it were plain."""

    def __init__(self, below: Stream, connection: SSL.Connection, seen: Seen, alpn: str | None) -> None:
        self._below = below
        self._connection = connection
        self._seen = seen
        self._alerts_before = len(seen.alerts_received)
        self.peer_alpn = alpn

    @property
    def peer_alert(self) -> int | None:
        """The last alert since the handshake by its number (RFC 8446 §6), close_notify (0) left out."""
        numbers = [number for _, number in self._seen.alerts_received[self._alerts_before :] if number]
        return numbers[-1] if numbers else None

    async def send(self, data: bytes, until_s: float) -> Received:
        """Encrypt and send all of `data`; DONE, or how it failed."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._connection.send(rest[:_SEND_BYTES]) :]
        except SSL.Error:
            return self._failed()
        return await self._below.send(outgoing(self._connection), until_s)

    async def receive(self, limit_bytes: int, until_s: float, hole_s: float | None = None) -> Received:
        """The next application bytes, or how the waiting ended: close_notify and FIN are CLOSED alike."""
        enough = self._seen.received + _BARREN_BYTES
        while self._seen.received < enough:
            try:
                data = self._connection.recv(limit_bytes)
                return Received(data=data, event=Event.DONE, at_s=self._seen.at_s)
            except SSL.WantReadError:
                pass
            except SSL.ZeroReturnError:
                fault = Fault(event=Event.CLOSED, detail="close_notify")
                return Received(data=b"", event=Event.CLOSED, fault=fault, at_s=self._seen.at_s)
            except SSL.Error:
                return self._failed()
            got = await self._exchange(until_s, hole_s)
            if got is not None:
                return got
        fault = Fault(event=Event.ERROR, detail="records without data")
        return Received(data=b"", event=Event.ERROR, fault=fault, at_s=self._seen.at_s)

    def info(self) -> TcpInfo | None:
        """The kernel's view of the connection below."""
        return self._below.info()

    def tell_hole(self, tell: Callable[[Hole], None]) -> None:
        """Whom to tell of a hole in the connection below."""
        self._below.tell_hole(tell)

    def release(self) -> None:
        """Hand the connection below to whoever keeps such."""
        self._below.release()

    def abort(self) -> None:
        """End it at once; no close_notify, as a frozen peer would hold us up."""
        self._below.abort()

    async def _exchange(self, until_s: float, hole_s: float | None) -> Received | None:
        """One round with the stream below; None when something came that may hold data."""
        if out := outgoing(self._connection):
            sent = await self._below.send(out, until_s)
            if sent.event is not Event.DONE:
                return sent
        got = await self._below.receive(_READ_BYTES, until_s, hole_s)
        if not got.data:
            return got
        self._seen.at_s = got.at_s
        self._seen.received += len(got.data)
        self._connection.bio_write(got.data)
        return None

    def _failed(self) -> Received:
        fault = Fault(event=Event.ERROR, detail="tls", alert=self.peer_alert)
        return Received(data=b"", event=Event.ERROR, fault=fault, at_s=self._seen.at_s)


def _step(connection: SSL.Connection, seen: Seen) -> bool | Fault:
    """One move of OpenSSL: True complete, False more bytes wanted, or the fault that ends it."""
    try:
        connection.do_handshake()
        return True
    except SSL.WantReadError:
        return False
    except SSL.ZeroReturnError:
        return Fault(event=Event.CLOSED, detail="close_notify")
    except SSL.Error as error:
        seen.reason = _reason(error)
        return Fault(event=Event.ERROR, detail="tls")


def _reason(error: SSL.Error) -> str | None:
    """OpenSSL's own words for the first error of its queue; kept as information, never judged."""
    queue = error.args[0] if error.args else None
    return str(queue[0][-1])[:128] if isinstance(queue, list) and queue else None


def _feed(connection: SSL.Connection, seen: Seen, data: bytes) -> Fault | None:
    if len(seen.first) < _FIRST_BYTES:
        seen.first = (seen.first + data)[:_FIRST_BYTES]
    seen.received += len(data)
    seen.heard_s = seen.at_s
    if seen.received > _HANDSHAKE_BYTES:
        return Fault(event=Event.ERROR, detail="handshake too long")
    connection.bio_write(data)
    return None


async def _send_out(stream: Stream, connection: SSL.Connection, seen: Seen, until_s: float) -> Fault | None:
    out = outgoing(connection)
    seen.hello = seen.hello or len(out)
    seen.sent += len(out)
    sent = await stream.send(out, until_s) if out else None
    if sent is None or sent.event is Event.DONE:
        return None
    seen.at_s = sent.at_s
    return sent.fault or Fault(event=sent.event)


def _answer(
    connection: SSL.Connection, seen: Seen, fault: Fault | None, info: TcpInfo | None
) -> Handshake:
    chain = connection.get_peer_cert_chain() or []
    path = connection.get_verified_chain() or []
    known = fault is None or bool(chain)
    alpn = connection.get_alpn_proto_negotiated()
    cipher = connection.get_cipher_name() if known else None
    authorities = connection.get_client_ca_list() if seen.certificate_requested else []
    return Handshake(
        started_s=seen.started_s,
        ended_s=max(seen.started_s, seen.at_s),
        fault=fault,
        openssl_reason=seen.reason,
        first_bytes=seen.first,
        hello_bytes=seen.hello,
        bytes_received=seen.received,
        heard_s=seen.heard_s,
        bytes_unacked=_unacked(seen, info),
        alerts_received=tuple(seen.alerts_received),
        alerts_sent=tuple(seen.alerts_sent),
        close_notify=any(number == 0 for _, number in seen.alerts_received),
        protocol_version=connection.get_protocol_version_name() if known else None,
        cipher=cipher,
        group=connection.get_group_name() if known else None,
        unusual_cipher=cipher is not None and cipher not in _usual_ciphers(),
        alpn=alpn.decode("ascii", "backslashreplace") or None,
        chain_der=_ders(chain),
        path_der=_ders(path),
        verify_errors=tuple(seen.verify_errors),
        too_dear=seen.too_dear,
        client_certificate_requested=seen.certificate_requested,
        client_authorities=tuple(_named(one) for one in authorities[:_AUTHORITIES]),
        client_authority_count=len(authorities),
        ocsp_staple_bytes=seen.staple_bytes,
        lag_ms=seen.lag_ms,
        hole=seen.hole,
    )


def _ders(certificates: Sequence[crypto.X509]) -> tuple[bytes, ...]:
    return tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in certificates)


def _named(name: crypto.X509Name) -> str:
    """A name as `CN=…,O=…`, the most particular part first, not escaped in any way."""
    parts = [f"{kind.decode()}={value.decode('utf-8', 'replace')}" for kind, value in name.get_components()]
    return ",".join(reversed(parts))[:_AUTHORITY_CHARS]


def _unacked(seen: Seen, info: TcpInfo | None) -> int:
    """Bytes of ours still in flight; tcpi_bytes_acked counts the SYN too, hence the difference."""
    if info is None or not info.unacked_segments:
        return 0
    return max(0, seen.sent - (info.bytes_acked - seen.acked_before))


def _build(ca_file: str | None) -> tuple[SSL.Context, Mapping[str, object]]:
    """A context, and what it trusts."""
    context = _context()
    return context, trust.load(context, ca_file)


@cache
def _usual_ciphers() -> frozenset[str]:
    """What `_context` offers, by the names of OpenSSL."""
    return frozenset(SSL.Connection(_context(), None).get_cipher_list())


def _context() -> SSL.Context:
    """A context that completes whatever can be completed.

    Security level 0 and TLS 1.0 are offered because weak is a finding, not a failure to look.
    """
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_cipher_list(b"DEFAULT:@SECLEVEL=0")
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION | _LEGACY_SERVER_CONNECT)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify(SSL.VERIFY_PEER, on_verify)
    context.set_verify_depth(MOST_CAS)
    context.set_info_callback(on_info)
    context.set_ocsp_client_callback(on_staple)
    return context
