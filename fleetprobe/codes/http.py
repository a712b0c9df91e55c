"""Codes of HTTP: everything below works, and the answer is missing, wrong, late or no HTTP."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import BODY, CAPTURE, GET, HANDSHAKE, SOCKETS, get
from fleetprobe.model.verdict import State

_RAW: Final = get("--http0.9 --raw -o -") + " | cat -v"
_TIMED: Final = get("--trace-time -o /dev/null")
_FOLLOW: Final = get("-L --max-redirs 10 -o /dev/null")
_QUIC: Final = get("--http3-only -o /dev/null")
_NETWORK: Final = "a network or firewall fault (tcp.timeout): the answer came over this very connection"

HTTP_CODES: Final = (
    Code(
        name="http.status", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The server answered in HTTP with a status that is not what this target should give.",
        boxes=(Box.SERVER, Box.PROXY, Box.BACKEND),
        evidence="A complete response head with that status, beside the expectation or the default rule.",
        not_this=(
            _NETWORK,
            "a certificate fault (tls.rejected_by_verifier): an HTTP answer came, so TLS did not stop it",
        ),
        could_also_be=("http.misdirected", "http.waf"),
        fix="Read the application's log for this request; "
        "for 404 check path and Host, for 5xx the application.",
        confirm=(GET, BODY),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.bad_gateway", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="502: the proxy is up, and its own connection to the backend failed or gave no valid answer.",
        boxes=(Box.BACKEND, Box.PROXY),
        evidence="A complete response head with status 502; headers that name the proxy are kept.",
        not_this=(
            _NETWORK,
            "a proxy that is down (tcp.refused): it wrote this answer",
            "a certificate fault on this side (tls.rejected_by_verifier): an HTTP answer came through it",
        ),
        could_also_be=(),
        fix="Mend the backend behind the proxy: is it running, on the port and protocol the proxy uses?",
        confirm=(GET, BODY),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.unavailable", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="503: the proxy or server is up and has nobody to serve this: "
        "no healthy backend, overload, or upkeep.",
        boxes=(Box.BACKEND, Box.PROXY, Box.SERVER),
        evidence="A complete response head with status 503; "
        "Retry-After and headers that name the proxy are kept.",
        not_this=(
            _NETWORK,
            "a server that is down (tcp.refused): something up there wrote this answer",
        ),
        could_also_be=("http.rate_limited", "http.waf"),
        fix="Check the health of the backend pool and its capacity; if Retry-After is set, try again then.",
        confirm=(GET, BODY),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.gateway_timeout", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="504: the proxy is up, and the backend did not answer it in time.",
        boxes=(Box.BACKEND, Box.PROXY),
        evidence="A complete response head with status 504; headers that name the proxy are kept.",
        not_this=(
            "a timeout between us and the server (tcp.timeout): the proxy answered us",
            "a request that got no answer (http.timeout): it got this one",
        ),
        could_also_be=(),
        fix="Find why the backend is slow or unreachable from the proxy; "
        "only then raise the proxy's timeout.",
        confirm=(_TIMED, BODY),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.unexpected_body", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The status is right, and the body lacks the text that this target must contain.",
        boxes=(Box.SERVER, Box.PROXY, Box.BACKEND, Box.INSPECTOR),
        evidence="An accepted status and a body, whole or up to the read limit, without the expected text.",
        not_this=(
            _NETWORK,
            "a healthy service: a good status with the wrong content is a failure here",
        ),
        could_also_be=("http.misdirected", "http.waf"),
        fix="Look at the body: is it the wrong site, "
        "an error page with status 200, or an outdated expectation?",
        confirm=(BODY,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.misdirected", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The request reached a server that does not serve this name: "
        "server name, Host and site disagree.",
        boxes=(Box.PROXY, Box.SERVER),
        evidence="Status 421 (RFC 9110), with the server name and the Host that were sent.",
        not_this=(
            _NETWORK,
            "a wrong certificate (tls.name_mismatch): the handshake for this name was accepted",
        ),
        could_also_be=(),
        fix="Make sni and host_header name the same site, or add the site to the server that was reached.",
        confirm=(GET, HANDSHAKE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.malformed", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The answer is not valid HTTP: a wrong first line, "
        "forbidden framing, or a head beyond all limits.",
        boxes=(Box.SERVER, Box.PROXY, Box.BACKEND),
        evidence="The parser's error and the first bytes of the answer.",
        not_this=(
            _NETWORK,
            "a cut answer (http.truncated): it is wrong, not short",
        ),
        could_also_be=("app.protocol_mismatch",),
        fix="Check that this port speaks HTTP in the form asked for, "
        "with or without TLS; then mend the framing.",
        confirm=(GET, _RAW),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.truncated", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The connection ended before the answer was complete.",
        boxes=(Box.SERVER, Box.PROXY, Box.BACKEND, Box.BALANCER),
        evidence="End of stream with fewer bytes than Content-Length, "
        "or without the last chunk or end of head.",
        not_this=(
            "a reset (tcp.reset): the stream ended in good order, too early",
            "a server that sent nothing (tcp.closed): part of the answer came",
            "an unreachable server (tcp.timeout): it was answering",
        ),
        could_also_be=(),
        fix="Look for a crash, a worker timeout or a buffer limit on the server or the proxy at this time.",
        confirm=(GET, CAPTURE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.timeout", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The request was received, and the head of the answer did not come in time.",
        boxes=(Box.SERVER, Box.BACKEND, Box.PROXY, Box.TUNNEL, Box.FIREWALL),
        evidence="Every byte of the request acknowledged and no complete response head until the deadline.",
        not_this=(
            "a filtered port (tcp.timeout): the connection stands and the request was acknowledged",
            "lost packets on the way there (tcp.stalled): the other kernel has every byte",
            "a proxy that gave up (http.gateway_timeout): no answer came at all",
        ),
        could_also_be=("mtu.black_hole", "http.slow"),
        fix="Look for a hung worker, lock or backend on the server; "
        "if its log says answered, test the path back.",
        confirm=(_TIMED, SOCKETS),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.redirect_loop", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=False,
        meaning="The redirects lead back to a place already visited, or on without end.",
        boxes=(Box.SERVER, Box.PROXY, Box.BACKEND),
        evidence="The list of hops, with one repeated or their limit passed.",
        not_this=(
            _NETWORK,
            "one plain redirect (http.redirect_denied): they were followed, and there is no end",
        ),
        could_also_be=(),
        fix="Make proxy and application agree on scheme and host; often X-Forwarded-Proto is missing.",
        confirm=(_FOLLOW,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.redirect_denied", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=False,
        meaning="The answer redirects to a place that this scan may not or will not follow.",
        boxes=(Box.SERVER, Box.PROXY, Box.SCAN),
        evidence="The redirect status, its Location, and the rule that forbids it.",
        not_this=(
            _NETWORK,
            "a redirect loop (http.redirect_loop): the next hop was not asked",
        ),
        could_also_be=(),
        fix="Correct the Location the server sends, or allow that destination for this scan.",
        confirm=(GET,),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.client_certificate_required", severity=Severity.FAIL, state=State.FAIL, osi="L7",
        emitted=True,
        meaning="The handshake succeeded without a client certificate, "
        "and the server then refuses the request for it.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="An answer that asks for a client certificate after "
        "a handshake in which the server asked for one.",
        not_this=(
            "a fault of the server's certificate (tls.rejected_by_verifier): it is ours that is missing",
            "a refusal in the handshake (tls.client_certificate_required): the handshake was completed",
        ),
        could_also_be=(),
        fix="Give this client a certificate the server accepts, or expect this status in the inventory.",
        confirm=(GET, BODY, HANDSHAKE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.slow", severity=Severity.SLOW, state=State.SLOW, osi="L7", emitted=True,
        meaning="The answer is right, and its first byte took longer than the round trips explain, "
        "or its body came so slowly that it had no end in our time.",
        boxes=(Box.SERVER, Box.BACKEND, Box.PROXY),
        evidence="Time to first byte above its threshold in round trips, or a body still coming and "
        "unfinished when our time was up, measured while our own loop kept time.",
        not_this=(
            "a slow network (tcp.slow): the round trips are already taken off",
            "a slow handshake (tls.slow): the time is counted from the request",
            "a body that stopped (tcp.stalled): bytes still came in the second half of our time",
        ),
        could_also_be=("mtu.masked",),
        fix="Profile the application and what it waits for: database, backend, cold start, queue.",
        confirm=(_TIMED,),
        proves=("ip", "tcp", "http"),
    ),
    Code(
        name="http.rate_limited", severity=Severity.WARN, state=State.OK, osi="L7", emitted=True,
        meaning="429: the service works and asks this client to slow down.",
        boxes=(Box.PROXY, Box.SERVER, Box.INSPECTOR),
        evidence="A complete response head with status 429; Retry-After is kept.",
        not_this=("an outage (http.unavailable): the service chose to put us off",),
        could_also_be=("http.waf",),
        fix="Lower --rate or --per-host, or ask for an exception for this scanner.",
        confirm=(GET,),
        proves=("ip", "tcp", "http"),
    ),
    Code(
        name="http.waf", severity=Severity.WARN, state=State.OK, osi="L7", emitted=False,
        meaning="A web application firewall refused the request. The service behind it was not asked.",
        boxes=(Box.PROXY, Box.INSPECTOR),
        evidence="A refusal with headers or a body that a known firewall writes; they are kept.",
        not_this=(
            "a packet filter (ip.admin_prohibited): only a box that reads HTTP can write this answer",
            "an outage (http.unavailable): the refusal is a decision",
        ),
        could_also_be=("http.auth_required", "http.rate_limited"),
        fix="Ask for an exception for this scanner's address or request, or send a request the rule accepts.",
        confirm=(GET, BODY),
        proves=("ip", "tcp"),
    ),
    Code(
        name="http.auth_required", severity=Severity.WARN, state=State.OK, osi="L7", emitted=True,
        meaning="401, 403 or 407: the service works, and wants credentials or does not allow this client.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="A complete response head with status 401, 403 or 407.",
        not_this=(
            "an outage (http.unavailable): the service answered and decided",
            "a packet filter (ip.admin_prohibited): only a box that reads HTTP can write this answer",
        ),
        could_also_be=("http.waf",),
        fix="Set expect_status for this target if the refusal is right, "
        "or probe a path that needs no credentials.",
        confirm=(GET,),
        proves=("ip", "tcp", "http"),
    ),
    Code(
        name="http.quic_blocked", severity=Severity.WARN, state=State.OK, osi="L4", emitted=False,
        meaning="The service offers HTTP/3, and UDP to its port is silent while TCP works. "
        "Clients fall back, later.",
        boxes=(Box.FIREWALL, Box.NAT, Box.ROUTER, Box.HOST),
        evidence="An Alt-Svc offer of h3 over TCP, and two QUIC attempts without any answer.",
        not_this=("an outage (http.timeout): the same service answers over TCP",),
        could_also_be=("mtu.reduced",),
        fix="Allow UDP to this port as well as TCP, or stop offering h3.",
        confirm=(_QUIC, GET),
        proves=("ip", "tcp", "http"),
    ),
)
