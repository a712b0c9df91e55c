"""The address of an issuer as a stranger's certificate gives it (RFC 5280 §4.2.2.1): plain HTTP to port 80, or refused.

Stricter than RFC 3986, and far from what browsers take: whatever two programs might read in two ways is no URL here.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from fleetprobe.net.interface import Address

MOST_CHARS: Final = 512
PORT: Final = 80
_URL: Final = re.compile(r"(?i:http)://(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9.-]{1,253})(?::80)?(/[!-~]*)?")
_ODD: Final = frozenset('"#<>\\^`{|}')
"""Neither reserved nor unreserved (RFC 3986 §2), or a fragment, which no server is sent."""
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where to ask, and for what."""

    host: str
    """As it goes into the Host field: a name in lower case, or an address, an IPv6 one in brackets."""
    address: Address | None
    """Of a literal; a name has to be resolved."""
    path: str
    """With its query; visible ASCII, begins with a slash."""

    @property
    def url(self) -> str:
        """The same for every way to write it, as far as that is certain."""
        return f"http://{self.host}{self.path}"


def place(url: str) -> Place | None:
    """What a URL names, or None where it is not plainly http, a host and a path."""
    found = _URL.fullmatch(url) if len(url) <= MOST_CHARS else None
    if found is None or _ODD & set(url):
        return None
    host, path = found[1].lower(), found[2] or "/"
    if host.startswith("["):
        return _literal(host[1:-1], path, 6)
    last = host.rpartition(".")[2]
    # Where the last part is a number, some read an address: 127.1, 0x7f.1, 017700000001.
    if last[:1].isdigit():
        return _literal(host, path, 4)
    return Place(host, None, path) if all(map(_LABEL.fullmatch, host.split("."))) else None


def _literal(text: str, path: str, family: int) -> Place | None:
    try:
        ip = ipaddress.IPv6Address(text) if family == 6 else ipaddress.IPv4Address(text)
    except ValueError:
        return None
    return Place(f"[{ip}]" if family == 6 else str(ip), Address(str(ip), family), path)
