"""Servers that begin in plain text: they go on in TLS when they are asked, or do not, or slip something in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.zoo.authorities import Authorities
from tests.zoo.book import PROVEN, Book, Script, fails, ok, own_name
from tests.zoo.mint import PAST, Wish, mint

# HandshakeV10 of the MySQL protocol, with CLIENT_SSL among the capabilities and without.
_MYSQL: Final = (
    "hex 4a0000000a382e302e3336000700000073616c7473616c7400ff{:02x}210200ffc1150000000000000000000073616c7473616c74"
    "73616c74006d7973716c5f6e61746976655f70617373776f726400"
)
# LDAPMessage with an ExtendedResponse (RFC 4511 §4.12, §4.14); the resultCode is success or protocolError.
_LDAP: Final = "hex 300c02010178070a01{:02x}04000400"
_XMPP: Final = (
    "say <?xml version='1.0'?><stream:stream from='im.zoo.test' id='1' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'><stream:features>{}</stream:features>"
)
_XMPP_TLS: Final = "urn:ietf:params:xml:ns:xmpp-tls"
_GREETED: Final = ("say 220 mx.zoo.test ESMTP\r\n", "hear")
_OFFERED: Final = (*_GREETED, "say 250-mx.zoo.test\r\n250-SIZE 10240000\r\n250 STARTTLS\r\n", "hear")

AGREE: Final[Mapping[str, tuple[str, ...]]] = {
    "smtp": (*_OFFERED, "say 220 2.0.0 Ready\r\n"),
    "imap": (
        "say * OK ready\r\n", "hear", "say * CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\nf1 OK done\r\n", "hear",
        "say f2 OK begin\r\n",
    ),
    "pop3": ("say +OK ready\r\n", "hear", "say +OK\r\nTOP\r\nSTLS\r\n.\r\n", "hear", "say +OK\r\n"),
    "ftp": ("say 220-Welcome\r\n to all\r\n220 ready\r\n", "hear", "say 234 go on\r\n"),
    "postgres": ("take 8", "say S"),
    "mysql": (_MYSQL.format(0xFF), "take 36"),
    "ldap": ("hear", _LDAP.format(0)),
    "xmpp": (
        "hear", _XMPP.format(f"<starttls xmlns='{_XMPP_TLS}'><required/></starttls>"), "hear",
        f"say <proceed xmlns='{_XMPP_TLS}'/>",
    ),
}
"""What a server of each service says until TLS begins."""

REFUSE: Final[Mapping[str, tuple[str, ...]]] = {
    "smtp": (*_GREETED, "say 250-mx.zoo.test\r\n250 SIZE\r\n"),
    "imap": ("say * OK ready\r\n", "hear", "say * CAPABILITY IMAP4rev1\r\nf1 OK done\r\n"),
    "pop3": ("say +OK ready\r\n", "hear", "say +OK\r\nTOP\r\n.\r\n"),
    "ftp": ("say 220 ready\r\n", "hear", "say 502 no such command\r\n"),
    "postgres": ("take 8", "say N"),
    "mysql": (_MYSQL.format(0xF7),),
    "ldap": ("hear", _LDAP.format(2)),
    "xmpp": ("hear", _XMPP.format("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")),
}
"""What one says that does not offer TLS, or refuses it."""


def write(book: Book, known: Authorities) -> None:
    """All of them."""
    refused = fails("tls.starttls_refused", without=("tls.not_tls", "tls.no_answer"))
    for service, steps in AGREE.items():
        name = f"u_{service}"
        script = Script((*steps, "tls", "silence"))
        book.add(name, "nothing: it begins in plain text", script, known.ours.chain(name), ok(), scheme=service)
    for service, steps in REFUSE.items():
        name = f"u_{service}_refused"
        book.add(name, "does not go on in TLS", Script((*steps, "silence")), [], refused, scheme=service)
    name = "u_smtp_later"
    later = Script((*_OFFERED, "say 454 4.7.0 TLS not available\r\n", "silence"))
    book.add(name, "offers TLS and takes it back", later, [], refused, scheme="smtp")
    _injected(book, known)
    _certificates(book, known)


def _injected(book: Book, known: Authorities) -> None:
    """Plain text behind the agreement, which must not be taken for what comes encrypted (CVE-2011-0411)."""
    injected = fails("tls.starttls_injected", without=("tls.not_tls", "tls.protocol_error"))
    for service, behind in (("smtp", "250 2.1.0 Ok"), ("pop3", "+OK logged in")):
        *steps, last = AGREE[service]
        name = f"u_{service}_injected"
        script = Script((*steps, f"{last}{behind}\r\n", "tls", "silence"))
        book.add(name, "plain text before TLS begins", script, known.ours.chain(name), injected, scheme=service)
    name = "u_postgres_injected"
    script = Script(("take 8", "hex 53520000000800000000", "tls", "silence"))
    book.add(name, "plain text before TLS begins", script, known.ours.chain(name), injected, scheme="postgres")


def _certificates(book: Book, known: Authorities) -> None:
    """What is wrong with a certificate is the same behind a dialogue."""
    ours = known.ours
    missing = fails("tls.missing_intermediate", how=PROVEN, without=("tls.issuer_unknown",))
    for service, name, truth, chain, verdict in (
        ("smtp", "u_smtp_expired", "leaf expired", ours.chain("u_smtp_expired", life=PAST), fails("tls.expired")),
        ("imap", "u_imap_missing", "both intermediates missing", (ours.leaf("u_imap_missing"),), missing),
        ("postgres", "u_postgres_self_signed", "signed by itself",
         (mint(Wish(name="database", hosts=(own_name("u_postgres_self_signed"),))),), fails("tls.self_signed")),
    ):
        script = Script((*AGREE[service], "tls", "silence"))
        book.add(name, truth, script, chain, verdict, scheme=service)
