"""Which nameservers to ask: addresses as given or as resolv.conf(5) lists them, never names."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from pathlib import Path

_PORT = 53
_PORT_DIGITS, _PORT_LIMIT = 5, 65_536
_SIZE_LIMIT_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a nameserver listens. An IPv6 link-local address keeps its zone."""

    host: str
    port: int

    def __str__(self) -> str:
        """`host:port`, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def sockaddr(self) -> tuple[str, int] | tuple[str, int, int, int]:
        """The form that connect(2) wants, without a look-up of any kind; OSError for an unknown zone."""
        if self.family is socket.AF_INET:
            return (self.host, self.port)
        host, _, zone = self.host.partition("%")
        return (host, self.port, 0, socket.if_nametoindex(zone) if zone else 0)


def parse_server(text: str) -> ServerAddress:
    """`ADDR`, `ADDR:PORT`, `[V6]` or `[V6]:PORT`; ValueError for anything else, names included."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        if not bracket or bool(rest) is not bool(port):
            raise ValueError(f"not a nameserver address: {text!r}")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        port = port or "-"
    else:
        host, port = text, ""
    if port and not (
        port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS and 0 < int(port) < _PORT_LIMIT
    ):
        raise ValueError(f"not a port: {text!r}")
    return ServerAddress(str(ipaddress.ip_address(host)), int(port or _PORT))


def read_servers(path: str) -> list[ServerAddress]:
    """The nameservers of a resolv.conf; the loopback address when it names none, as resolv.conf(5) says."""
    try:
        with Path(path).open("rb") as file:
            lines = file.read(_SIZE_LIMIT_BYTES).decode("ascii", "replace").splitlines()
    except OSError:
        lines = []
    found = (_server_of(line) for line in lines)
    # A bad line is skipped, as libc does: the others may work.
    return list(dict.fromkeys(server for server in found if server is not None)) or [
        ServerAddress("127.0.0.1", _PORT)
    ]


def _server_of(line: str) -> ServerAddress | None:
    match line.split():
        case ["nameserver", text, *_]:
            try:
                return parse_server(text)
            except ValueError:
                return None
    return None
