"""What an HTTP exchange means. Pure: facts and policy in, findings out, the one to blame first."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from fleetprobe.layer import found, passed
from fleetprobe.layers.conversation import Phase, broken
from fleetprobe.layers.first_bytes import printable
from fleetprobe.layers.http.facts import HttpFacts
from fleetprobe.layers.http.response import ENOUGH_BYTES, KEPT_BYTES, Malformation
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.net.interface import Event

_BY_STATUS = {421: "http.misdirected", 502: "http.bad_gateway", 503: "http.unavailable", 504: "http.gateway_timeout"}
_WARNINGS = {
    401: ("http.auth_required", "it wants credentials"),
    403: ("http.auth_required", "it forbids this to us"),
    407: ("http.auth_required", "a proxy wants credentials"),
    429: ("http.rate_limited", "it limits our rate"),
}
"""Answers that show a working server although it serves us nothing (design §8)."""

CODES = frozenset({
    "http.status", "http.bad_gateway", "http.unavailable", "http.gateway_timeout", "http.unexpected_body",
    "http.malformed", "http.truncated", "http.timeout", "http.client_certificate_required",
    "http.misdirected",
    "http.slow", "http.auth_required", "http.rate_limited",
})


def judge(facts: HttpFacts, policy: Policy) -> Sequence[Finding]:
    """One finding per fault. A warning or slowness comes after the pass that it does not take away."""
    if facts.malformation is not None:
        return (_malformed(facts),)
    if facts.status is None:
        return (broken(facts.ending, facts.record(), cut="http.truncated", silent="http.timeout"),)
    stop = _broken_body(facts)
    # From a body that broke off a text may be missing only because it never came.
    faults = (*stop, *_bad_status(facts, facts.status), *(() if stop else _bad_body(facts)))
    good = () if faults else (passed("http", facts.record()), *_warning(facts))
    return (*faults, *good, *_slow(facts, policy))


def _malformed(facts: HttpFacts) -> Finding:
    """Framing that no client can trust, or another protocol altogether."""
    peer = facts.ending.peer
    if facts.malformation is not Malformation.NOT_HTTP:
        summary = f"{peer} answered in broken HTTP: {facts.malformation}"
    elif facts.looks_like in ("TLS alert", "TLS") and not facts.encrypted:
        summary = f"{peer} speaks TLS: it answered plain HTTP with a {facts.looks_like} record"
    elif facts.looks_like is not None:
        summary = f"{peer} answered our GET in {facts.looks_like}, not HTTP: {_shown(facts)}"
    else:
        summary = f"{peer} answered our GET with something that is not HTTP: {_shown(facts)}"
    return found("http.malformed", summary, facts.record())


def _shown(facts: HttpFacts) -> str:
    return f'"{printable(facts.first_bytes, 48)}"'


def _broken_body(facts: HttpFacts) -> Sequence[Finding]:
    """The head came whole and the body did not."""
    ending = facts.ending
    if ending.phase is Phase.OVER:
        return ()
    if ending.event is Event.SILENT and _still_flowing(facts):
        return ()
    return (broken(ending, facts.record(), cut="http.truncated", silent="tcp.stalled"),)


def _still_flowing(facts: HttpFacts) -> bool:
    """A body that was still coming when our time was up is slow (`_dripping`), not stalled.

    Stalled is what was silent for the second half of the time that we gave it.
    """
    return facts.ending.waited_ms * 2 < facts.body_ms


def _status_is_fine(status: int, expected: tuple[tuple[int, int], ...] | None) -> bool:
    if expected is not None:
        return any(low <= status <= high for low, high in expected)
    return 200 <= status <= 399 or status in _WARNINGS


def _bad_status(facts: HttpFacts, status: int) -> Sequence[Finding]:
    """An error of the proxy in front is told from one of what stands behind it."""
    if _status_is_fine(status, facts.expect_status):
        return ()
    unknown = _no_certificate(facts, status)
    code = "http.client_certificate_required" if unknown else _BY_STATUS.get(status, "http.status")
    answered = f"{facts.ending.peer}{_software(facts)} answered {_named(status)}"
    if facts.expect_status is not None:
        summary = f"{answered}, expected {_spans(facts.expect_status)}"
    elif status in _BEHIND:
        summary = f"{answered}: the proxy is up, {_BEHIND[status]}"
    elif code == "http.misdirected":
        summary = f"{answered}: it does not serve the Host {printable(facts.host_header.encode(), 48)} here"
    elif unknown:
        summary = f"{answered}: it asked for a client certificate in the handshake, and we have none"
    elif facts.speaks_tls and not facts.encrypted:
        summary = f"{answered}: we spoke plain HTTP, the port wants TLS"
    else:
        summary = f"{answered} to {printable(facts.request.encode(), 60)}"
    return (found(code, summary, facts.record()),)


def _no_certificate(facts: HttpFacts, status: int) -> bool:
    """Whether it was asked for in the handshake, and is missed in the answer: by a status of nginx, or in words.

    The words alone could be anybody's, and many servers ask that can do without.
    """
    refused = status == _NGINX_NO_CERTIFICATE or (status == HTTPStatus.BAD_REQUEST and facts.wants_certificate)
    return facts.encrypted and facts.ending.certificate_requested and refused


_NGINX_NO_CERTIFICATE = 496
_BEHIND = {
    502: "what stands behind it failed",
    503: "what stands behind it is not available",
    504: "what stands behind it did not answer in time",
}


def _bad_body(facts: HttpFacts) -> Sequence[Finding]:
    """Not finding a text is certain only when all of the body was looked at."""
    if facts.body_as_expected is not False:
        return ()
    peer, wanted = facts.ending.peer, printable((facts.expect_body or "").encode("utf-8", "replace"), 40)
    encoded = facts.fields.get("content-encoding", b"identity").lower() != b"identity"
    whole = facts.body_complete and facts.body_bytes <= KEPT_BYTES and not encoded
    if encoded:
        where = "its body, which is compressed though we did not ask for that"
    elif whole:
        where = f"its body of {facts.body_bytes} bytes"
    else:
        where = f"the first {min(facts.body_bytes, KEPT_BYTES)} bytes of its body"
    confidence = Confidence.OBSERVED if whole else Confidence.INFERRED
    summary = f'{peer} answered {facts.status}, but "{wanted}" is not in {where}'
    return (found("http.unexpected_body", summary, facts.record(), confidence=confidence),)


def _warning(facts: HttpFacts) -> Sequence[Finding]:
    """The server works and turns us away. An expected answer needs no warning."""
    status = facts.status
    if status not in _WARNINGS or facts.expect_status is not None:
        return ()
    code, why = _WARNINGS[status]
    summary = f"{facts.ending.peer}{_software(facts)} answered {_named(status)}: {why}"
    return (found(code, summary, facts.record()),)


def _slow(facts: HttpFacts, policy: Policy) -> Sequence[Finding]:
    """Judged on a body that did not end, else on the first byte, and never when we were late ourselves."""
    first_ms, slow = facts.ending.first_byte_ms, policy.slow
    if _dripping(facts, policy):
        of = "" if facts.content_length_bytes is None else f" of {facts.content_length_bytes}"
        body = f"sent {facts.body_bytes}{of} bytes of its body in {facts.body_ms / 1000:.1f} s"
        return (found("http.slow", f"{facts.ending.peer} {body} and had not finished", facts.record()),)
    if first_ms is None or facts.ending.lag_ms > slow.lag_share * first_ms:
        return ()
    limit_ms = slow.http_ms + slow.http_rtts * (facts.ending.rtt_ms or 0.0)
    if first_ms <= limit_ms:
        return ()
    summary = f"{facts.ending.peer} took {first_ms:.0f} ms to its first byte, more than {limit_ms:.0f} ms"
    return (found("http.slow", summary, facts.record()),)


def _dripping(facts: HttpFacts, policy: Policy) -> bool:
    """A body that our time was too short for, although it sent less than a working server has sent by then.

    What a working server sends is its whole body, or as much as we read of any, within the threshold of
    slowness; where our own time was shorter than that, its share. Types that never end say nothing.
    """
    ending = facts.ending
    unfinished = ending.event is Event.SILENT and ending.phase is Phase.IN_BODY and _still_flowing(facts)
    if not unfinished or ending.lag_ms > policy.slow.lag_share * facts.body_ms:
        return False
    declared = facts.content_length_bytes
    media_type = facts.fields.get("content-type", b"").partition(b";")[0].strip().lower()
    if declared is None and media_type in _ENDLESS:
        return False
    due_bytes = ENOUGH_BYTES if declared is None else min(declared, ENOUGH_BYTES)
    limit_ms = policy.slow.http_ms + policy.slow.http_rtts * (ending.rtt_ms or 0.0)
    return facts.body_bytes < due_bytes * min(1.0, facts.body_ms / limit_ms)


_ENDLESS = frozenset({b"text/event-stream", b"multipart/x-mixed-replace"})
"""Bodies that are meant to go on for as long as somebody listens: server-sent events, pictures of a camera."""


def _software(facts: HttpFacts) -> str:
    server = facts.fields.get("server")
    return f" ({printable(server, 40)})" if server else ""


def _named(status: int) -> str:
    """The status with its standard name: the peer's own words are not repeated."""
    known = next((member.phrase for member in HTTPStatus if member == status), None)
    return f"{status} {known}" if known else str(status)


def _spans(expected: tuple[tuple[int, int], ...]) -> str:
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in expected[:4])
