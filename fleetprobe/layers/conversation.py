"""A conversation over an open stream: what was said and heard, when, and what its breaking off means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, assert_never

from fleetprobe.layer import Ground, found
from fleetprobe.layers.tls.alerts import ABOUT_OUR_CERTIFICATE, CERTIFICATE_REQUIRED, alert_name
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import Event, Fault, Net, Stream
from fleetprobe.net.path import Hole


class Phase(StrEnum):
    """How far a conversation had come."""

    BEFORE_DATA = "before data"
    """The peer speaks first, and has not yet."""
    IN_BANNER = "in banner"
    SENDING = "while sending"
    AFTER_REQUEST = "after request"
    """All was sent and not a byte of the answer came."""
    IN_HEAD = "in head"
    IN_BODY = "in body"
    OVER = "over"
    """All that was waited for came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a conversation ended, with its figures.

    | fact | type | meaning |
    |---|---|---|
    | peer | text | address:port of the far end |
    | event, phase | text | what ended it (`done`: we did) and how far it had come |
    | errno_name, alert | text, int | the kernel's errno; the TLS alert of the peer (RFC 8446 §6) |
    | bytes_sent, bytes_received | int | above TLS, if any |
    | first_byte_ms | number | from the end of our sending (or the start) to the first byte back |
    | duration_ms, waited_ms | number | of the whole conversation; from the last byte either way to its end |
    | lag_ms | number | the most that our own loop was late |
    | rtt_ms, unacked_segments | number, int | the kernel's round trip; our segments never acknowledged |
    | hole | text | forward, reverse: the way in which segments are missing while later ones came (TCP_INFO) |
    | certificate_requested | bool | in the handshake below the server asked for a client certificate |
    """

    peer: str
    event: Event
    phase: Phase
    fault: Fault | None = None
    bytes_sent: int = 0
    bytes_received: int = 0
    first_byte_ms: float | None = None
    duration_ms: float = 0.0
    waited_ms: float = 0.0
    lag_ms: float = 0.0
    rtt_ms: float | None = None
    unacked_segments: int = 0
    hole: Hole | None = None
    """The kernel's account of segments that vanish, when it had one at the end."""
    certificate_requested: bool = False
    """Whether the server asked for a client certificate in the handshake below."""

    @property
    def alert(self) -> int | None:
        """The TLS alert with which the peer ended it."""
        return self.fault.alert if self.fault else None

    @property
    def late(self) -> bool:
        """Whether most of the wait was our own loop's lateness, so that silence says nothing."""
        return self.lag_ms > self.duration_ms / 2

    def record(self) -> dict[str, Any]:
        """The figures as JSON-ready values."""
        return {
            "peer": self.peer,
            "event": str(self.event),
            "phase": str(self.phase),
            "errno_name": self.fault.errno_name if self.fault else None,
            "alert": self.alert,
            "bytes_sent": self.bytes_sent,
            "bytes_received": self.bytes_received,
            "duration_ms": round(self.duration_ms, 3),
            "waited_ms": round(self.waited_ms, 3),
            "lag_ms": round(self.lag_ms, 3),
            "rtt_ms": self.rtt_ms,
            "unacked_segments": self.unacked_segments or None,
            "hole": str(self.hole.direction) if self.hole else None,
            "certificate_requested": self.certificate_requested or None,
        }

    def columns(self) -> dict[str, Any]:
        """The columns of the result record that an end before its time fills; none otherwise."""
        errno_name = self.fault.errno_name if self.fault else None
        told = {"errno_name": errno_name, "tls_alert": self.alert}
        return {name: value for name, value in told.items() if value is not None}




class Conversation:
    """Speaks over the stream on the ground and keeps count. Over for good once a verb did not end in DONE."""

    def __init__(self, ground: Ground, net: Net) -> None:
        assert ground.stream is not None, "a conversation needs an open stream below it"
        self.peer = _peer(ground)
        self._net = net
        self._stream: Stream = ground.stream
        self._began_s = self._moved_s = self._ended_s = net.now()
        self._first_byte_ms: float | None = None
        self._lag_before_ms = net.lag_ms()
        self._lag_ms = 0.0
        self._bytes_sent = self._bytes_received = 0
        self._fault: Fault | None = None
        self._hole: Hole | None = None
        self._certificate_requested = _certificate_requested(ground)
        self._hole_s = ground.hole_s(_rtt_ms(ground))
        self.event = Event.DONE

    async def say(self, data: bytes, until_s: float) -> None:
        """Send all of `data`. If that fails, `hear` still gives what the peer said before."""
        # From before the send: on a short way the answer is there when it returns.
        began_s = self._net.now()
        sent = await self._stream.send(data, until_s)
        self._ended_s = sent.at_s
        if sent.event is Event.DONE:
            self._bytes_sent += len(data)
            self._moved_s = began_s
            return
        self.event, self._fault = sent.event, sent.fault

    async def hear(self, limit_bytes: int, until_s: float) -> bytes:
        """The next bytes; none when it is over, which `event` explains."""
        failed_before = self.event is not Event.DONE
        got = await self._stream.receive(limit_bytes, until_s, self._hole_s)
        due_s = until_s if got.event is Event.SILENT else got.at_s
        late_ms = (self._net.now() - due_s) * 1000.0
        self._lag_ms = max(self._lag_ms, late_ms, self._net.lag_ms() - self._lag_before_ms)
        if got.data:
            if self._first_byte_ms is None:
                self._first_byte_ms = max(0.0, (got.at_s - self._moved_s) * 1000.0)
            self._bytes_received += len(got.data)
            self._moved_s = got.at_s
        elif not failed_before or got.event is Event.ERROR:
            self.event, self._fault, self._hole = got.event, got.fault, got.hole
        self._ended_s = got.at_s
        return got.data

    def ending(self, phase: Phase) -> Ending:
        """How it ended, and the kernel's view of the connection now."""
        info = self._stream.info()
        return Ending(
            peer=self.peer,
            event=self.event,
            phase=phase,
            fault=self._fault,
            bytes_sent=self._bytes_sent,
            bytes_received=self._bytes_received,
            first_byte_ms=self._first_byte_ms,
            duration_ms=max(0.0, (self._ended_s - self._began_s) * 1000.0),
            waited_ms=max(0.0, (self._ended_s - self._moved_s) * 1000.0),
            lag_ms=self._lag_ms,
            rtt_ms=info.rtt_ms if info else None,
            unacked_segments=info.unacked_segments if info else 0,
            hole=self._hole,
            certificate_requested=self._certificate_requested,
        )


def broken(ending: Ending, facts: Mapping[str, Any], *, cut: str, silent: str) -> Finding:
    """What it means that a conversation broke off (design §8, one event, one code).

    `cut` is the code for an orderly end in the middle of an answer, `silent` the one for silence although
    all that we sent was acknowledged.
    """
    # Servers that lose their alerts (asyncio's, before 2026) refuse a client without a certificate like this.
    asked = ending.certificate_requested and ending.bytes_received == 0
    wish = ("tls.client_certificate_required",) if asked else ()
    after = ", after it asked for a client certificate" if asked else ""
    match ending.event:
        case Event.RESET:
            return found("tcp.reset", f"{ending.peer} sent RST {_when(ending)}{after}", facts, could_also_be=wish)
        case Event.CLOSED if ending.bytes_received == 0:
            summary = f"{ending.peer} closed without a byte, {_when(ending)}{after}"
            return found("tcp.closed", summary, facts, could_also_be=wish)
        case Event.CLOSED:
            summary = f"{ending.peer} closed {_when(ending)}: {ending.bytes_received} bytes in all"
            return found(cut, summary, facts)
        case Event.SILENT:
            return _silence(ending, facts, silent)
        case Event.ERROR:
            return _error(ending, facts)
        case Event.DONE:
            raise ValueError("a conversation that ended well is not broken")
        case _:
            assert_never(ending.event)


def _silence(ending: Ending, facts: Mapping[str, Any], acknowledged: str) -> Finding:
    """Nothing was heard: our own fault, a dead path, or a peer that has nothing to say."""
    peer, waited = ending.peer, f"{ending.waited_ms / 1000:.1f} s"
    if ending.late:
        late = f"{ending.lag_ms:.0f} of {ending.duration_ms:.0f} ms"
        summary = f"our own loop was late by {late}, so the silence of {peer} was not judged"
        return found("local.overload", summary, facts)
    if ending.phase is Phase.SENDING:
        code, summary = "tcp.stalled", f"{peer} took no more bytes for {waited} {_BEFORE[ending.phase]}"
    elif ending.unacked_segments:
        code, summary = "tcp.stalled", f"{peer} acknowledged nothing for {waited} {_BEFORE[ending.phase]}"
    elif ending.bytes_received == 0:
        code, summary = acknowledged, f"{peer} stayed silent for {waited} {_BEFORE[ending.phase]}"
    else:
        heard = f"{ending.bytes_received} bytes in {ending.duration_ms / 1000:.1f} s"
        code, summary = acknowledged, f"{peer} sent {heard} and did not finish {_UNFINISHED[ending.phase]}"
    return found(code, summary, facts, confidence=Confidence.INFERRED, silences=1)


def _error(ending: Ending, facts: Mapping[str, Any]) -> Finding:
    """TLS broke above the connection, or the kernel below it."""
    if ending.alert is not None:
        return _alert(ending, ending.alert, facts)
    name = ending.fault.errno_name if ending.fault else None
    if name is None:
        return found("tls.protocol_error", f"{ending.peer} broke the TLS protocol {_when(ending)}", facts)
    code = _ERRNO.get(name, "local.bug")
    # One errno stands for several ICMP messages, so the host or net it names is not certain.
    confidence = Confidence.INFERRED if code.startswith("ip.") else Confidence.OBSERVED
    summary = f"our kernel gave up the connection to {ending.peer} {_when(ending)}: {name}"
    return found(code, summary, facts, confidence=confidence)


def _alert(ending: Ending, number: int, facts: Mapping[str, Any]) -> Finding:
    """TLS 1.3: only after the handshake can a server say that it wanted a certificate (RFC 8446 §4.4.2.4)."""
    said = f"{ending.peer} sent TLS alert {number} ({alert_name(number)}) {_when(ending)}"
    asked = ending.certificate_requested and number in ABOUT_OUR_CERTIFICATE
    if asked or number == CERTIFICATE_REQUIRED:
        facts = {**facts, "alert_name": alert_name(number)}
        return found("tls.client_certificate_required", f"{said}: it demands a client certificate", facts)
    return found("tls.alert", said, facts)


def _when(ending: Ending) -> str:
    return f"{ending.waited_ms:.1f} ms {_AFTER[ending.phase]}"


_AFTER = {
    Phase.BEFORE_DATA: "after the connection, before any data",
    Phase.IN_BANNER: "after part of its banner",
    Phase.SENDING: "after the connection, before our request got through",
    Phase.AFTER_REQUEST: "after our request",
    Phase.IN_HEAD: "after part of its response head",
    Phase.IN_BODY: "after part of its response",
    Phase.OVER: "after its answer",
}
_BEFORE = {
    Phase.BEFORE_DATA: "after the connection",
    Phase.IN_BANNER: "in its banner",
    Phase.SENDING: "of our request",
    Phase.AFTER_REQUEST: "after our request",
    Phase.IN_HEAD: "in its response head",
    Phase.IN_BODY: "in its response body",
    Phase.OVER: "after its answer",
}
_UNFINISHED = {phase: words.removeprefix("in ").removeprefix("after ") for phase, words in _BEFORE.items()}

_ERRNO = {
    "EHOSTUNREACH": "ip.host_unreachable",
    "EHOSTDOWN": "ip.host_unreachable",
    "ENETUNREACH": "ip.net_unreachable",
    "EACCES": "ip.admin_prohibited",
    "ECONNREFUSED": "tcp.rejected",
    "ENOPROTOOPT": "tcp.rejected",
    "ETIMEDOUT": "tcp.stalled",
    "EPERM": "local.send_denied",
    "ENOBUFS": "local.overload",
    "ENOMEM": "local.overload",
}
"""What Linux makes of ICMP on an open connection (icmp_err_convert, icmpv6_err_convert) and its limits."""

BREAKS = frozenset({
    "tcp.reset", "tcp.closed", "tls.alert", "tls.client_certificate_required", "tls.protocol_error", "local.bug",
    *_ERRNO.values(),
})
"""Every code that `broken` can give beside those it is told."""


def _certificate_requested(ground: Ground) -> bool:
    below = ground.facts.get("tls")
    return below is not None and below.handshake.client_certificate_requested


def _rtt_ms(ground: Ground) -> float | None:
    below = ground.facts.get("tcp")
    return below.dial.rtt_ms if below is not None else None


def _peer(ground: Ground) -> str:
    """The far end as `address:port`, an IPv6 address in brackets."""
    address = ground.address.text if ground.address else ground.target.host
    return f"[{address}]:{ground.target.port}" if ":" in address else f"{address}:{ground.target.port}"
