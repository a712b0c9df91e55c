"""Command lines that people copy: templates that several codes share, and the one safe way to fill them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from shlex import quote
from typing import Final

PLACEHOLDERS: Final = frozenset({
    "host", "address", "port", "name", "sni", "path", "service", "family", "mtu", "mss", "mss4", "mss6",
    "gateway", "interface", "link", "bare", "starttls", "xmpphost", "chain", "anchors",
})
"""host: as in the inventory · address: the literal dialled · name: what DNS was asked, None for a literal ·
sni: the server name sent, None for a literal · path: starts with `/` · service: the ladder, which is also the
URL scheme · family: 4 or 6 · mtu: the largest IP packet that passes · mss: the TCP segment that fills it,
mss4 and mss6 the same where the family is that one ·
gateway: our next hop on the way, interface: ours towards it · link: our interface where there is no next hop ·
bare: the address without a zone · starttls: the service, where it begins in plain text, and xmpphost: the name that
XMPP asks for; None elsewhere · chain: the file of a chain to install (`--fix-dir`) · anchors: the CA file that is
trusted in place of the system's, None for the system's."""

STARTTLS: Final = frozenset({"smtp", "imap", "pop3", "ftp", "postgres", "mysql", "ldap", "xmpp"})
"""The services that begin in plain text, called as openssl-s_client(1) calls them."""

_PREAMBLE: Final = "-starttls {starttls} -xmpphost {xmpphost}"

NEIGHBOUR: Final = "ip neigh show {address}"
ROUTE: Final = "ip route get {address}"
PING: Final = "ping -{family} -c 3 {address}"
PATH: Final = "mtr -n -r -c 10 --tcp --port {port} {address}"
CONNECT: Final = "nc -vz -w 5 {address} {port}"
CAPTURE: Final = "sudo tcpdump -ni any host {address} and tcp port {port}"
SOCKETS: Final = "ss -tni dst {address}:{port}"
LISTENER: Final = "ssh {host} ss -ltn sport = :{port}"


def handshake(options: str) -> str:
    """Return the template of one TLS handshake with these options of openssl s_client."""
    return f"openssl s_client {_PREAMBLE} -connect {{address}}:{{port}} -servername {{sni}} {options} </dev/null"


def nameless_handshake() -> str:
    """Return the template of a handshake that asks for no name."""
    return f"openssl s_client {_PREAMBLE} -connect {{address}}:{{port}} -noservername </dev/null"


def leaf(options: str) -> str:
    """Return the template that shows these fields (options of openssl x509) of the certificate presented."""
    return f"{handshake('2>/dev/null')} | openssl x509 -noout {options}"


def get(options: str) -> str:
    """Return the template of one request to the address dialled, with these options of curl."""
    url = "{service}://{host}:{port}{path}"
    return f"curl -sv {options} --max-time 15 --connect-to {{host}}:{{port}}:{{address}}:{{port}} {url}"


HANDSHAKE: Final = handshake("-showcerts")
CHAIN_FILE: Final = "openssl verify -CAfile {anchors} -untrusted {chain} {chain}"
CHAIN_INSTALLED: Final = handshake("-CAfile {anchors} -verify_return_error")
GET: Final = get("-o /dev/null")
# What a stranger sends is shown through cat -v, so that it cannot drive the terminal.
BODY: Final = get("-o -") + " | cat -v"
LISTEN: Final = "timeout 10 nc {address} {port} | cat -v"

_MAY_GO: Final = frozenset({"-servername", "-verify_hostname", "-CAfile", "-starttls", "-xmpphost"})
_PLACEHOLDER: Final = re.compile(r"\{([a-z]+[46]?)\}(?=(:?))")


def fill(template: str, values: Mapping[str, str | int | None]) -> str | None:
    """Return the command with every value quoted for a POSIX shell, or None if it cannot be said.

    An IPv6 host or address directly before a colon gets its brackets. Where a value is missing or None, an
    option that may go (`-servername` for an IP literal, `-CAfile` for the system's trust) goes with it; otherwise the
    command has no meaning. A placeholder outside PLACEHOLDERS is a bug and raises KeyError.
    """
    words: list[str] = []
    for word, names, alone in _words(template):
        if not names:
            words.append(word)
        elif alone is not None and values.get(alone) is not None:
            words.append(quote(str(values[alone])))
        elif alone is None and all(values.get(name) is not None for name in names):
            words.append(_PLACEHOLDER.sub(lambda match: _value(match, values), word))
        elif words and words[-1] in _MAY_GO:
            words.pop()
        else:
            return None
    return " ".join(words)


@cache
def _words(template: str) -> tuple[tuple[str, frozenset[str], str | None], ...]:
    """The words of a template, the placeholders in each, and the one that is the whole word, if one is.

    There are only as many templates as the table has.
    """
    words = tuple(
        (
            word,
            frozenset(match[1] for match in _PLACEHOLDER.finditer(word)),
            word[1:-1] if word[1:-1] in PLACEHOLDERS and word == f"{{{word[1:-1]}}}" else None,
        )
        for word in template.split(" ")
    )
    for _, names, _ in words:
        if unknown := names - PLACEHOLDERS:
            raise KeyError(f"unknown placeholder {sorted(unknown)} in {template!r}")
    return words


def _value(match: re.Match[str], values: Mapping[str, str | int | None]) -> str:
    """Quote one value, with brackets where an IPv6 literal stands before a colon."""
    text = str(values[match[1]])
    if match[1] in {"host", "address"} and match[2] and ":" in text:
        text = f"[{text}]"
    return quote(text)
