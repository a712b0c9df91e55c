"""Codes of the TLS handshake: TCP stands, and the two sides do not come to an agreement."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import CAPTURE, CONNECT, HANDSHAKE, LISTEN, SOCKETS, get, handshake, nameless_handshake
from fleetprobe.model.verdict import State

_NO_SNI: Final = nameless_handshake()
_TLS12: Final = handshake("-tls1_2")
_TLS13: Final = handshake("-tls1_3")
_OLD: Final = handshake("-tls1 -cipher DEFAULT@SECLEVEL=0")
_ANY_CIPHER: Final = handshake("-cipher ALL@SECLEVEL=0")
_SMALL_HELLO: Final = handshake("-groups P-256")
# The same with a share of 1.2 kB before it; needs OpenSSL 3.5, which offers that of itself.
_LARGE_HELLO: Final = handshake("-groups X25519MLKEM768:P-256")
_PLAIN_HTTP: Final = "curl -sv -o /dev/null --max-time 10 --connect-to ::{address}:{port} http://{host}:{port}/"
_TIMED: Final = get("--trace-time -o /dev/null")

TLS_CODES: Final = (
    Code(
        name="tls.not_tls", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The first bytes back are not TLS: "
        "the port speaks another protocol, or plain text before an upgrade.",
        boxes=(Box.SERVER, Box.PROXY, Box.BALANCER, Box.INSPECTOR),
        evidence="First bytes received that no TLS record can begin with; they are kept.",
        not_this=(
            "a certificate fault (tls.rejected_by_verifier): no certificate was ever sent",
            "a closed port (tcp.refused): something accepted the connection and spoke",
            "a server that is down (tcp.timeout): it answered",
        ),
        could_also_be=("app.protocol_mismatch",),
        fix="Turn TLS on for this port, or correct the port or the service in the inventory.",
        confirm=(LISTEN, _PLAIN_HTTP, HANDSHAKE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.no_answer", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The ClientHello was acknowledged and not one byte came back.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR, Box.TUNNEL, Box.FIREWALL),
        evidence="All our bytes acknowledged, zero bytes received until the deadline.",
        not_this=(
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
            "lost packets on the way there (tcp.stalled): the kernel at the other end acknowledged the hello",
            "a certificate fault (tls.rejected_by_verifier): no certificate was ever sent",
        ),
        could_also_be=("mtu.black_hole", "tls.not_tls", "tls.large_hello_intolerant"),
        fix="Check that the service speaks TLS here and is not hung; "
        "then test the path back with small segments.",
        confirm=(HANDSHAKE, _SMALL_HELLO, LISTEN),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.stalled", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The handshake began and stopped midway: some bytes came back, then silence, "
        "or only a drop now and then.",
        boxes=(Box.TUNNEL, Box.FIREWALL, Box.ROUTER, Box.SERVER, Box.INSPECTOR),
        evidence="At least one byte of a TLS answer, all ours acknowledged, and no end of it by the deadline.",
        not_this=(
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
            "a certificate fault (tls.rejected_by_verifier): the handshake never got as far as a decision",
            "a refusal (tls.alert): nobody said no",
        ),
        could_also_be=("mtu.black_hole",),
        fix="Test the path with small segments first; "
        "if they stall as well, look at the server's load and log.",
        confirm=(HANDSHAKE, SOCKETS, CAPTURE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.dropped", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The other side ended the connection before the handshake was done, without a fatal alert.",
        boxes=(Box.SERVER, Box.PROXY, Box.BALANCER, Box.FIREWALL, Box.INSPECTOR),
        evidence="RST, end of stream or close_notify between our "
        "first hello byte and the end of the handshake.",
        not_this=(
            "a refused connection (tcp.refused): this one had been accepted",
            "a certificate we reject (tls.rejected_by_verifier): the other side left first",
            "a firewall that drops packets (tcp.timeout): that is silent, this was ended",
        ),
        could_also_be=("tls.not_tls", "tls.sni_required", "tls.version_unsupported", "tls.no_shared_cipher",
                       "tls.client_certificate_required", "tls.large_hello_intolerant"),
        fix="Read the server's TLS log; if it saw no hello, "
        "look for a filter on the server name or a dead backend.",
        confirm=(HANDSHAKE, _NO_SNI, _SMALL_HELLO, CAPTURE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.alert", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The server ended the handshake with a fatal alert. The facts name it.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="A fatal alert record, with number and name, that has no code of its own.",
        not_this=(
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
            "a network fault (tcp.reset): the server said in TLS why it stopped",
            "a server without TLS (tls.not_tls): an alert is TLS",
        ),
        could_also_be=("tls.no_shared_cipher", "tls.sni_required", "tls.client_certificate_required"),
        fix="Look up the alert in the server's log and make versions, "
        "ciphers, names and client certificates agree.",
        confirm=(HANDSHAKE, _NO_SNI, _TLS12, _TLS13),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.protocol_error", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The answer began as TLS and then broke the protocol.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="An error of the TLS library on bytes received after a valid first TLS record.",
        not_this=(
            "a server without TLS (tls.not_tls): its first record was TLS",
            "a certificate fault (tls.rejected_by_verifier): the records themselves are wrong",
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
        ),
        could_also_be=(),
        fix="Update or restart the TLS implementation on the server or the box before it that rewrites TLS.",
        confirm=(HANDSHAKE, _TLS12, _TLS13),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.version_unsupported", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="Client and server share no TLS version, "
        "or the server breaks off when it is offered one that it does not know.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="Alert protocol_version (70), or a ServerHello with a version that this client does not accept. "
        "Proven where the same offer without TLS 1.3 is answered and with it fails again.",
        not_this=(
            "a certificate fault (tls.rejected_by_verifier): no certificate was judged",
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
        ),
        could_also_be=(),
        fix="Enable TLS 1.2 and 1.3 on the server.",
        confirm=(_TLS12, _TLS13, _OLD),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.no_shared_cipher", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="Client and server share a TLS version and no cipher suite. The facts name what the server takes.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="A handshake that ends in handshake_failure (40), insufficient_security (71) or without an alert; "
        "an offer of every suite is answered with one that the usual offer has not, and the usual one fails again.",
        not_this=(
            "a certificate fault (tls.rejected_by_verifier): no certificate was judged",
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
            "an old server (tls.version_unsupported): the version was agreed",
        ),
        could_also_be=(),
        fix="Enable current cipher suites on the server, and a certificate key that fits them.",
        confirm=(HANDSHAKE, _ANY_CIPHER, _TLS12),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.unrecognized_name", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The server knows no site of the name we sent, and says so; "
        "or it, or a box before it, ends the connection for this name alone.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="Fatal alert unrecognized_name (112). Or a hello without the name is answered, "
        "and the same hello with it ends as the climb did.",
        not_this=(
            "a wrong certificate (tls.name_mismatch): none was sent",
            "a name that does not resolve (dns.nxdomain): it resolved, and this server refused it",
        ),
        could_also_be=("dns.stale",),
        fix="Add the name to the server's TLS configuration, or correct the sni in the inventory.",
        confirm=(HANDSHAKE, _NO_SNI),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.sni_required", severity=Severity.FAIL, state=State.FAIL, osi="L5/6", emitted=True,
        meaning="The server needs a server name to choose a site, "
        "and this target sends none or the wrong one.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="A hello with another name of this target is answered, and the same hello as the climb sent it fails "
        "again. Or alert unrecognized_name (112) to a hello without a name.",
        not_this=(
            "a server without a certificate (tls.no_shared_cipher): with a name it presents one",
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
        ),
        could_also_be=(),
        fix="Set the sni of this target in the inventory, or give the server a default certificate.",
        confirm=(_NO_SNI, HANDSHAKE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.client_certificate_required", severity=Severity.FAIL, state=State.FAIL, osi="L5/6",
        emitted=True,
        meaning="The server asks for a client certificate and ends the handshake because we have none.",
        boxes=(Box.SERVER, Box.PROXY),
        evidence="A CertificateRequest followed by a fatal alert: certificate_required (116) or its like; inferred "
        "where it ends the connection right after the handshake without one.",
        not_this=(
            "a fault of the server's certificate (tls.rejected_by_verifier): it is ours that is missing",
            "a refusal in HTTP (http.client_certificate_required): this server ended the connection instead",
            "a closed or filtered port (tcp.timeout): the TCP handshake succeeded",
        ),
        could_also_be=(),
        fix="Give this client a certificate the server accepts, or expect this answer in the inventory.",
        confirm=(HANDSHAKE, _TLS12),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.large_hello_intolerant", severity=Severity.FAIL, state=State.FAIL, osi="L5/6",
        emitted=True,
        meaning="A ClientHello that needs two segments fails and a small one works: "
        "something takes what it reads first for the whole.",
        boxes=(Box.SERVER, Box.INSPECTOR, Box.PROXY, Box.BALANCER),
        evidence="The hello of the climb fails; then a small one is answered, one as long as the first, in small "
        "segments and otherwise like the small one, fails in the same way, and the small one is answered again.",
        not_this=(
            "a path that loses large packets (mtu.black_hole): the large hello fails in small segments too",
            "an old server (tls.version_unsupported): the same versions work in a small hello",
            "a dislike of post-quantum groups (tls.no_shared_cipher): a long hello without them fails as well",
            "a dead service (tls.no_answer): it answered before and after",
        ),
        could_also_be=(),
        fix="Update the server, or the box before it, that reads the hello only once; "
        "until then offer it no post-quantum group.",
        confirm=(_SMALL_HELLO, _LARGE_HELLO, HANDSHAKE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.starttls_refused", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="The service answers in plain text and refuses, or does not offer, the upgrade to TLS.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="A valid greeting, then a refusal of the upgrade "
        "or a list of features without it; kept as text. Inferred where it closes instead of an answer.",
        not_this=(
            "a certificate fault (tls.rejected_by_verifier): no TLS was spoken",
            "a service that is down (tcp.refused): it answered in its own protocol",
        ),
        could_also_be=("tls.interception_suspected",),
        fix="Enable the upgrade to TLS on the service; if it is enabled, find the box that strips the offer.",
        confirm=(HANDSHAKE, LISTEN),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.starttls_injected", severity=Severity.FAIL, state=State.FAIL, osi="L7", emitted=True,
        meaning="Plain-text bytes stand between the upgrade answer and the TLS handshake, where none may be.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="Bytes received after the positive answer to the upgrade and before our ClientHello, "
        "or too soon behind that to answer it; or a positive answer that came before the question.",
        not_this=(
            "a server without TLS (tls.not_tls): it agreed to the upgrade",
            "a certificate fault (tls.rejected_by_verifier): the handshake had not begun",
        ),
        could_also_be=(),
        fix="Update the service so that it discards buffered plain text at the upgrade, "
        "and look for a box that injects.",
        confirm=(HANDSHAKE, CAPTURE),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tls.slow", severity=Severity.SLOW, state=State.SLOW, osi="L5/6", emitted=True,
        meaning="The handshake succeeds and takes longer than its round trips explain.",
        boxes=(Box.SERVER, Box.PROXY, Box.INSPECTOR),
        evidence="Handshake time above its threshold in round trips, measured while our own loop kept time.",
        not_this=(
            "a slow network (tcp.slow): the round trips are already taken off",
            "a slow application (http.slow): no request was sent yet",
        ),
        could_also_be=("mtu.masked",),
        fix="Look at the server's CPU, key type and certificate lookups; offer TLS 1.3 to save a round trip.",
        confirm=(_TIMED, CONNECT),
        proves=("ip", "tcp", "tls"),
    ),
)
