"""Why a handshake did not complete: one event on the wire, one code (design §8)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, assert_never

from fleetprobe.layer import found
from fleetprobe.layers.first_bytes import name_protocol, printable
from fleetprobe.layers.tls.alerts import (
    ABOUT_OUR_CERTIFICATE,
    BAD_CERTIFICATE,
    CLOSE_NOTIFY,
    FATAL,
    ILLEGAL_PARAMETER,
    NO_APPLICATION_PROTOCOL,
    PROTOCOL_VERSION,
    UNRECOGNIZED_NAME,
    USER_CANCELED,
    alert_name,
)
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.names import address_of
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.handshake import CHAIN_BYTES, Handshake
from fleetprobe.net.interface import Event, Fault

_RECORD_TYPES: Final = range(0x14, 0x19)
_LAG_SHARE: Final = 0.5
"""A silence of which more than this was our own lateness says nothing about the peer."""

_QUIET_SHARE: Final = 0.5
"""Who was silent for less of the time than this was still sending, if only drop by drop (a tarpit)."""

_ERRNO: Final = {
    "ETIMEDOUT": "tcp.stalled",
    "EHOSTUNREACH": "ip.host_unreachable",
    "EHOSTDOWN": "ip.host_unreachable",
    "ENETUNREACH": "ip.net_unreachable",
    "EACCES": "ip.admin_prohibited",
    "ECONNREFUSED": "tcp.rejected",
    "ENOPROTOOPT": "tcp.rejected",
    "ENOBUFS": "local.overload",
    "ENOMEM": "local.overload",
    "EPERM": "local.send_denied",
}
"""What an errno means on a connection that is already open (tcp(7), ip(7)); ECONNRESET is an event."""

EMITS: Final = frozenset({
    "tls.not_tls", "tls.no_answer", "tls.stalled", "tls.dropped", "tls.alert", "tls.version_unsupported",
    "tls.protocol_error", "tls.client_certificate_required", "tls.unrecognized_name", "tls.sni_required",
    "tls.chain_oversize", "local.bug", *_ERRNO.values(),
})
SILENT: Final = frozenset({"tls.no_answer", "tls.stalled", "tcp.stalled"})


def broken(facts: TlsFacts, fault: Fault) -> Finding:
    """The one finding about a handshake that ended with `fault`; what was said outweighs how it ended."""
    first = facts.handshake.first_bytes
    if first and not begins_record(first):
        return _not_tls(facts, first)
    if alert := fatal_alert(facts.handshake, fault):
        return _alert(facts, alert)
    if facts.handshake.too_dear or _too_long(facts.handshake):
        return _oversize(facts)
    if any(number == PROTOCOL_VERSION for _, number in facts.handshake.alerts_sent):
        summary = f"{facts.address} chose a TLS version that this client does not speak"
        return found("tls.version_unsupported", summary, {"by": "client", **_named(PROTOCOL_VERSION)})
    match fault.event:
        case Event.SILENT:
            return _silent(facts)
        case Event.CLOSED | Event.RESET:
            return _dropped(facts, fault.event)
        case Event.ERROR | Event.DONE:
            return _errno(facts, fault.errno_name) if fault.errno_name else _protocol_error(facts)
        case _:
            assert_never(fault.event)


def why(facts: TlsFacts, ended_by: Finding) -> Finding | None:
    """The certificate at which the library broke off: what ended the handshake stays, and stops the climb.

    Verification never ends it, so that OpenSSL says bad_certificate only of one that it cannot decode.
    """
    if ended_by.code != "tls.protocol_error" or (FATAL, BAD_CERTIFICATE) not in facts.handshake.alerts_sent:
        return None
    summary = f"a certificate that {facts.address} presents cannot be parsed: OpenSSL ended the handshake over it"
    evidence = {**ended_by.facts, **_named(BAD_CERTIFICATE), "by": "client"}
    return found("tls.malformed", summary, evidence, supersedes=frozenset({"tls.protocol_error"}))


def _too_long(handshake: Handshake) -> bool:
    """OpenSSL refuses a message by its length with illegal_parameter, which it says of other faults as well."""
    return (FATAL, ILLEGAL_PARAMETER) in handshake.alerts_sent and handshake.bytes_received >= CHAIN_BYTES


def _oversize(facts: TlsFacts) -> Finding:
    """More than clients read, or more than we care to verify."""
    presented = facts.handshake.chain_der
    if facts.handshake.too_dear:
        summary = f"the chain of {facts.address} is made so that verifying it is dear: given up, its trust not judged"
        sizes = {"certificates": len(presented), "bytes": sum(map(len, presented))}
        return found("tls.chain_oversize", summary, {"too": "dear", **sizes})
    summary = f"{facts.address} presents a chain of more than {CHAIN_BYTES // 1024} KiB, which OpenSSL does not read"
    sizes = {"bytes": facts.handshake.bytes_received, "limit_bytes": CHAIN_BYTES}
    return found("tls.chain_oversize", summary, {"too": "large", **sizes})


def begins_record(first: bytes) -> bool:
    """Whether these bytes can begin a TLS record (RFC 8446 §5.1): a known type, then version 3.x."""
    if first[0] not in _RECORD_TYPES:
        return False
    return len(first) < 2 or (first[1] == 3 and (len(first) < 3 or first[2] <= 4))


def fatal_alert(handshake: Handshake, fault: Fault) -> int | None:
    """The number of the alert that ended it: a fatal one, or in TLS 1.3 any that made the library stop."""
    for level, number in reversed(handshake.alerts_received):
        ends = level == FATAL or (fault.event is Event.ERROR and fault.errno_name is None)
        if ends and number not in (CLOSE_NOTIFY, USER_CANCELED):
            return number
    return None


def _not_tls(facts: TlsFacts, first: bytes) -> Finding:
    protocol = name_protocol(first)
    what = f"speaks {protocol}" if protocol else "does not speak TLS"
    summary = f"{facts.address} {what}: it answered our ClientHello with \"{printable(first, 40)}\""
    return found("tls.not_tls", summary, {"protocol": protocol or "unknown"})


def _alert(facts: TlsFacts, number: int) -> Finding:
    summary = f"{facts.address} ended the handshake with TLS alert {number} ({alert_name(number)})"
    if facts.handshake.client_certificate_requested:
        if number in ABOUT_OUR_CERTIFICATE:
            return _no_certificate(facts, f"alert {number} ({alert_name(number)})", "in handshake", _named(number))
        summary += " after it asked for a client certificate"
    if number == PROTOCOL_VERSION:
        return found("tls.version_unsupported", summary, {"by": "server", **_named(number)})
    if number == UNRECOGNIZED_NAME:
        return _unknown_name(facts)
    if number == NO_APPLICATION_PROTOCOL:
        wished = ", ".join(facts.alpn_offered)
        summary += f": it speaks none of what we offered by ALPN ({wished})" if wished else ": we offered no ALPN"
        return found("tls.alert", summary, {**_named(number), "alpn_offered": list(facts.alpn_offered)})
    return found("tls.alert", summary, _named(number))


def _unknown_name(facts: TlsFacts) -> Finding:
    """The server's own word about the name that we sent, or did not send (RFC 6066 §3)."""
    said = f"{facts.address} says by TLS alert {UNRECOGNIZED_NAME} that it"
    if address_of(facts.server_name) is None:
        summary = f"{said} knows no site named {printable(facts.server_name.encode(), 60)}"
        return found("tls.unrecognized_name", summary, _named(UNRECOGNIZED_NAME))
    return found("tls.sni_required", f"{said} serves nobody who names no site", _named(UNRECOGNIZED_NAME))


def refused_after(facts: TlsFacts, last_word: Fault) -> Finding | None:
    """TLS 1.3 ends the handshake before the server has seen our certificate; its refusal comes after.

    Some servers leave without the alert (asyncio's among them): what they asked for is then the likely reason.
    """
    number, phase = last_word.alert, "after handshake"
    if number is not None and number in ABOUT_OUR_CERTIFICATE:
        return _no_certificate(facts, f"alert {number} ({alert_name(number)})", phase, _named(number))
    if number is not None:
        summary = f"{facts.address} sent TLS alert {number} ({alert_name(number)}) right after the handshake"
        return found("tls.alert", summary, {**_named(number), "phase": phase})
    if last_word.event not in (Event.CLOSED, Event.RESET):
        return None
    how, words = ("rst", "RST") if last_word.event is Event.RESET else ("fin", "the end of the connection")
    return _no_certificate(
        facts, words, phase, {"how": how}, confidence=Confidence.INFERRED, could_also_be=("tcp.reset", "tcp.closed")
    )


def _no_certificate(
    facts: TlsFacts, words: str, phase: str, more: Mapping[str, Any], *,
    confidence: Confidence = Confidence.OBSERVED, could_also_be: tuple[str, ...] | None = None,
) -> Finding:
    """The server asked for a client certificate, got none, and says no."""
    wanted = facts.handshake.client_authorities
    named = f", one of {printable(wanted[0].encode(), 40)}" if wanted else ""
    moment = "right after the handshake" if phase == "after handshake" else "in the handshake"
    summary = f"{facts.address} asks for a client certificate{named}; we have none: {words} {moment}"
    return found(
        "tls.client_certificate_required", summary, {**more, "phase": phase},
        confidence=confidence, could_also_be=could_also_be,
    )


def _silent(facts: TlsFacts) -> Finding:
    seen, waited = facts.handshake, facts.duration_ms
    if seen.lag_ms > waited * _LAG_SHARE:
        late = f"{seen.lag_ms:.0f} of {waited:.0f} ms"
        summary = f"our own event loop was late by {late}: {facts.address} not judged"
        return found("local.overload", summary, {})
    seconds = f"{waited / 1000.0:.1f} s"
    if seen.bytes_unacked:
        code = "tcp.stalled"
        bytes_ = f"our last {seen.bytes_unacked} bytes"
        summary = f"{facts.address} did not acknowledge {bytes_} in {seconds} ({facts.phase})"
    elif seen.bytes_received and facts.quiet_ms < waited * _QUIET_SHARE:
        code = "tls.stalled"
        summary = f"{facts.address} sent {seen.bytes_received} bytes of handshake in {seconds} and was not done yet"
    elif seen.bytes_received:
        code = "tls.stalled"
        summary = f"{facts.address} fell silent after {seen.bytes_received} bytes of handshake ({seconds})"
    else:
        code = "tls.no_answer"
        summary = f"{facts.address} acknowledged our ClientHello and sent no byte back in {seconds}"
    return found(code, summary, {}, confidence=Confidence.INFERRED, silences=1)


def _dropped(facts: TlsFacts, event: Event) -> Finding:
    how, words = "fin", "closed the connection (FIN)"
    if event is Event.RESET:
        how, words = "rst", "sent RST"
    elif facts.handshake.close_notify:
        how, words = "close_notify", "sent close_notify"
    received = facts.handshake.bytes_received
    when = f"in the handshake after {received} bytes" if received else "without a byte"
    summary = f"{facts.address} {words} {facts.duration_ms:.1f} ms after our ClientHello, {when}"
    if warned := [number for _, number in facts.handshake.alerts_received if number != CLOSE_NOTIFY]:
        summary += f", after TLS alert {warned[-1]} ({alert_name(warned[-1])})"
    if facts.handshake.client_certificate_requested:
        # Servers that lose their alerts (asyncio's, before 2026) say no like this.
        summary += ", after it asked for a client certificate"
        wish = ("tls.client_certificate_required",)
        return found("tls.dropped", summary, {"how": how}, could_also_be=wish)
    return found("tls.dropped", summary, {"how": how})


def _protocol_error(facts: TlsFacts) -> Finding:
    received = facts.handshake.bytes_received
    detail = facts.handshake.fault.detail if facts.handshake.fault else ""
    summary = f"{facts.address} began to answer in TLS and then broke the protocol, within {received} bytes"
    return found("tls.protocol_error", summary, {"detail": detail} if detail else {})


def _errno(facts: TlsFacts, name: str) -> Finding:
    code = _ERRNO.get(name, "local.bug")
    summary = f"the connection to {facts.address} failed {facts.phase}: {name}"
    if code in SILENT:
        return found(code, summary, {}, confidence=Confidence.INFERRED, silences=1)
    # One errno stands for several ICMP messages, so the host or net it names is not certain.
    confidence = Confidence.INFERRED if code.startswith("ip.") else Confidence.OBSERVED
    return found(code, summary, {}, confidence=confidence)


def _named(number: int) -> Mapping[str, Any]:
    return {"alert": number, "alert_name": alert_name(number)}
