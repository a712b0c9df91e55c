"""Servers that end the handshake before a certificate is judged, or right after; and those that only seem to."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.zoo.authorities import Authorities, rsa_key
from tests.zoo.book import INFERRED, PROVEN, Asyncio, Book, Nginx, OpenSsl, Script, fails, ok, own_name

NGINX, OPENSSL = Nginx(), OpenSsl()
NGINX_12 = Nginx(("ssl_protocols TLSv1.2",))
_SERVED = ("request", "answer 5", "farewell")
_RARE = "AES128-CCM"
"""A cipher suite for RSA keys that the scanner never offers."""
_WARNED_OF_NAME = "15030300020170"
_CLOSE_NOTIFY = "15030300020100"
# A handshake record of 122 bytes that holds a ServerHello (RFC 5246 §7.4.1.3), cut off after its first bytes.
_BEGUN: Final = "160303007a0200007603035f"


def write(book: Book, known: Authorities) -> None:
    """All of them."""
    _versions(book, known)
    _ciphers_and_groups(book, known)
    _names(book, known)
    _client_certificates(book, known)
    _not_tls(book)
    _silent(book, known)
    _ended(book, known)
    _long_hello(book, known)
    _web(book, known)


def _versions(book: Book, known: Authorities) -> None:
    ours = known.ours
    old = ok("tls.legacy_version")
    level = ("-cipher", "DEFAULT:@SECLEVEL=0")
    for name, truth, player, verdict in (
        ("m_tls10_only", "TLS 1.0 alone", OpenSsl(("-tls1", *level)), old),
        ("m_tls11_only", "TLS 1.1 alone", OpenSsl(("-tls1_1", *level)), old),
        ("m_tls11_only_nginx", "TLS 1.1 alone",
         Nginx(("ssl_protocols TLSv1.1", "ssl_ciphers DEFAULT:@SECLEVEL=0")), old),
        ("m_tls12_only", "nothing: TLS 1.2 alone", NGINX_12, ok()),
        ("m_tls13_only", "nothing: TLS 1.3 alone", OpenSsl(("-tls1_3",)), ok()),
    ):
        book.add(name, truth, player, ours.chain(name), verdict)
    name = "m_alert_protocol_version"
    refused = fails("tls.version_unsupported", columns={"tls_alert": 70})
    book.add(name, "no version that it shares with anybody", Script(("hear", "hex 15030300020246", "close")), [],
             refused)
    name = "m_drops_tls13"
    proven = fails("tls.version_unsupported", how=PROVEN, without=("tls.dropped",))
    # 0x0304 in the list of versions (RFC 8446 §4.2.1) is how TLS 1.3 is offered.
    picky = Script(("minds close 0x0304", *_SERVED), {"version": "1.2"})
    book.add(name, "drops whoever offers TLS 1.3", picky, ours.chain(name), proven)


def _ciphers_and_groups(book: Book, known: Authorities) -> None:
    ours, by_rsa = known.ours, known.by_rsa
    key = rsa_key()
    unshared = fails("tls.no_shared_cipher", how=PROVEN, without=("tls.alert", "tls.dropped"))
    for name, truth, player in (
        ("m_no_shared_cipher", "a cipher suite that nobody offers", OpenSsl(("-tls1_2", "-cipher", _RARE))),
        ("m_ccm_only", "CCM suites alone", OpenSsl(("-tls1_2", "-cipher", "DHE-RSA-AES256-CCM8:AES256-CCM8"))),
        ("m_no_shared_cipher_nginx", "a cipher suite that nobody offers",
         Nginx(("ssl_protocols TLSv1.2", f"ssl_ciphers {_RARE}"))),
        ("m_no_shared_cipher_asyncio", "the same, dropped without an alert",
         Asyncio({"version": "1.2", "ciphers": _RARE})),
    ):
        book.add(name, truth, player, by_rsa.chain(name, key=key), unshared)
    name = "m_p521_only"
    book.add(name, "nothing: it asks for another group, P-521", OpenSsl(("-groups", "P-521")), ours.chain(name), ok())
    name = "m_alpn_h2_only"
    no_protocol = fails("tls.alert", columns={"tls_alert": 120})
    book.add(name, "speaks HTTP/2 alone", OpenSsl(("-alpn", "h2")), ours.chain(name), no_protocol)
    name = "m_alpn_http11"
    book.add(name, "nothing: HTTP/1.1 by ALPN", OpenSsl(("-alpn", "http/1.1")), ours.chain(name), ok())


def _names(book: Book, known: Authorities) -> None:
    ours = known.ours
    unknown = fails("tls.unrecognized_name", without=("tls.name_mismatch", "tls.alert"))
    name = "n_sni_unknown_openssl"
    only = ("-servername", "else.zoo.test", "-servername_fatal")
    with_two = (*only, "-cert2", "{file}", "-key2", "{file}")
    # Without a name it answers, which proves that the name is what it refuses.
    proven = replace(unknown, confidence=PROVEN)
    book.add(name, "does not know the name", OpenSsl(with_two), ours.chain(name), proven)
    name = "n_sni_unknown_nginx"
    rejecting = Nginx(beside=("ssl_reject_handshake on",))
    book.add(name, "does not know the name", rejecting, ours.chain(name), unknown, host="unknown.zoo.test")
    name = "n_sni_known_nginx"
    book.add(name, "nothing: it knows this name and no other", rejecting, ours.chain(name), ok())
    name = "n_sni_required"
    here = book.next_address
    needed = fails("tls.sni_required", how=("observed", "proven"), without=("tls.alert",))
    book.add(name, "knows names alone, and is asked by address", rejecting, ours.chain(name), needed, host=here)
    name = "n_sni_warned"
    warned = Script(("hear", f"hex {_WARNED_OF_NAME}", "close"))
    # A warning is no refusal: what ended it is the end of the connection.
    book.add(name, "warns of the name and leaves", warned, [], fails("tls.dropped"))
    name = "n_sni_dropped"
    drops = Script((f"minds reset {own_name(name)}", *_SERVED))
    by_name = fails("tls.unrecognized_name", how=INFERRED, without=("tls.dropped",))
    book.add(name, "drops whoever asks by this name", drops, ours.chain(name), by_name)


def _client_certificates(book: Book, known: Authorities) -> None:
    ours, wanted = known.ours, "tls.client_certificate_required"
    refused = fails(wanted, without=("tls.alert", "tls.dropped", "tls.no_shared_cipher"))
    demands = ("-Verify", "3", "-verify_return_error", "-CAfile", "{authority}")
    name = "o_mtls_12"
    book.add(name, "wants a client certificate, TLS 1.2", OpenSsl(("-tls1_2", *demands)), ours.chain(name), refused)
    name = "o_mtls_13"
    book.add(name, "wants a client certificate, TLS 1.3", OpenSsl(("-tls1_3", *demands)), ours.chain(name), refused)
    name = "o_mtls_13_tls"
    book.add(name, "the same, of a service that is not HTTP", OpenSsl(("-tls1_3", *demands)), ours.chain(name), refused,
             scheme="tls")
    name = "o_mtls_asyncio_tls"
    fenced = Asyncio({"version": "1.3", "client_certificate": True})
    # Without the alert it is a guess, and a good one; later versions of asyncio send it.
    guessed = fails(wanted, how=("inferred", "observed"), without=("tls.dropped",))
    book.add(name, "wants a client certificate, leaves without a word", fenced, ours.chain(name), guessed, scheme="tls")
    name = "o_mtls_asyncio"
    # Who ends the connection after a request may have any reason, and whether by FIN or RST is a race.
    closed = replace(fails("tcp.closed"), code=("tcp.closed", "tcp.reset", wanted))
    book.add(name, "the same, and it is told a request first", fenced, ours.chain(name), closed)
    for name, lines in (
        ("o_mtls_nginx_12", ("ssl_protocols TLSv1.2",)), ("o_mtls_nginx_13", ("ssl_protocols TLSv1.3",)),
    ):
        player = Nginx((*lines, "ssl_verify_client on", "ssl_client_certificate {authority}"))
        book.add(name, "wants a client certificate, says so in HTTP", player, ours.chain(name),
                 fails("http.client_certificate_required", without=("http.status",)))
    name = "o_mtls_optional"
    player = Nginx(("ssl_verify_client optional", "ssl_client_certificate {authority}"))
    book.add(name, "nothing: a client certificate is welcome", player, ours.chain(name), ok())


def _not_tls(book: Book) -> None:
    for name, truth, steps in (
        ("p_speaks_http", "plain HTTP", ("hear", "say HTTP/1.1 400 Bad Request\r\n\r\n", "close")),
        ("p_speaks_ssh", "SSH", ("say SSH-2.0-OpenSSH_9.2\r\n", "silence")),
        ("p_speaks_smtp", "SMTP", ("say 220 mx.zoo.test ESMTP\r\n", "silence")),
        ("p_speaks_ftp", "FTP", ("say 220 ftp.zoo.test FTP server ready.\r\n", "silence")),
        ("p_speaks_noise", "bytes that mean nothing", ("hear", "hex 8f1e00ff7a0953c4d2", "silence")),
    ):
        verdict = fails("tls.not_tls", without=("tls.protocol_error", "tls.alert"))
        book.add(name, truth, Script(steps), [], verdict)
    name = "p_record_too_long"
    endless = Script(("hear", "hex 160303ffff" + "00" * 32, "silence"))
    book.add(name, "a TLS record of 65,535 bytes", endless, [], fails("tls.protocol_error", without=("tls.not_tls",)))


def _silent(book: Book, known: Authorities) -> None:
    silent = fails("tls.no_answer", how=INFERRED, without=("tls.stalled", "tcp.timeout"))
    book.add("p_silent", "never answers, never reads", Script(("wait 60",)), [], silent)
    book.add("p_reads_silent", "reads and never answers", Script(("silence",)), [], silent)
    half = fails("tls.stalled", how=INFERRED, without=("tls.no_answer",))
    book.add("p_half_server_hello", "stops in its ServerHello", Script(("hear", f"hex {_BEGUN}", "silence")), [], half)
    name = "p_half_flight"
    book.add(name, "stops in the middle of its answer", Script(("flight 400", "silence")), known.ours.chain(name), half)
    drops = tuple(step for n in range(0, len(_BEGUN), 2) for step in (f"hex {_BEGUN[n:n + 2]}", "wait 1"))
    book.add("p_tarpit", "a byte a second", Script(("hear", *drops, "silence")), [], half)


def _ended(book: Book, known: Authorities) -> None:
    dropped = fails("tls.dropped", without=("tls.not_tls", "tls.alert"))
    # Whether the hello had been sent when the connection was ended is a race that nobody decides.
    at_once = fails("tls.dropped", how=("observed", "inferred"))
    for name, truth, steps, verdict in (
        ("p_reset_after_hello", "resets after the hello", ("hear", "reset"), dropped),
        ("p_close_after_hello", "closes after the hello", ("hear", "close"), dropped),
        ("p_close_at_once", "closes at once", ("close",), at_once),
        ("p_close_notify", "close_notify for a ServerHello", ("hear", f"hex {_CLOSE_NOTIFY}", "close"), dropped),
    ):
        book.add(name, truth, Script(steps), [], verdict)
    for name, number, word in (
        ("p_alert_handshake_failure", 40, "handshake_failure"), ("p_alert_internal_error", 80, "internal_error"),
        ("p_alert_access_denied", 49, "access_denied"),
    ):
        steps = ("hear", f"hex 150303000202{number:02x}", "close")
        verdict = fails("tls.alert", columns={"tls_alert": number}, says=(word,), without=("tls.no_shared_cipher",))
        book.add(name, f"refuses everybody with alert {word}", Script(steps), [], verdict)
    name = "p_breaks_off_in_flight"
    cut = Script(("flight 600", "reset"))
    book.add(name, "resets in the middle of its answer", cut, known.ours.chain(name), dropped)


def _long_hello(book: Book, known: Authorities) -> None:
    """Who takes one read for the whole hello: ours is longer than a segment, with its post-quantum key share."""
    proven = fails("tls.large_hello_intolerant", how=PROVEN, without=("tls.dropped", "tls.no_answer", "tls.alert"))
    for how in ("reset", "close", "alert", "silence"):
        name = f"p_long_hello_{how}"
        book.add(name, f"a long hello ends in {how}", Script((f"once {how}", *_SERVED)), known.ours.chain(name), proven)


def _web(book: Book, known: Authorities) -> None:
    ours = known.ours
    name = "w_plain_http_to_tls"
    book.add(name, "plain HTTP is asked of a TLS port", NGINX, ours.chain(name), fails("http.status"), scheme="http")
    name = "w_misdirected"
    fenced = ("ssl_certificate {file}", "ssl_certificate_key {file}", "ssl_verify_client on",
              "ssl_client_certificate {authority}", "server_name members.zoo.test")
    book.add(name, "Host is a site with client certificates, the hello is another's", Nginx(beside=fenced),
             ours.chain(name), fails("http.misdirected"), host_header="members.zoo.test")
    name = "w_asyncio"
    book.add(name, "nothing: a server on asyncio", Asyncio(), ours.chain(name), ok())
    name = "w_tls_service"
    book.add(name, "nothing: TLS without HTTP", OPENSSL, ours.chain(name), ok(), scheme="tls")

