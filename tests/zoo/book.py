"""The book of the zoo: every server with what it presents, who plays it, and the verdict that it must get."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fleetprobe.lab.scenario import Expectation
from tests.zoo.mint import Key, Minted

PORT = 8443
DOMAIN = "zoo.test"
_PER_ROW = 200
_UNTIDY = frozenset({
    "tls.wrong_order", "tls.extra_certs", "tls.duplicate_certs", "tls.root_sent", "tls.cross_sign",
    "tls.expiring", "tls.legacy_version", "tls.must_staple", "tls.pedantic",
})


@dataclass(frozen=True, slots=True)
class Nginx:
    """Played by the zoo's one nginx."""

    lines: tuple[str, ...] = ()
    """Further directives of its server block."""
    beside: tuple[str, ...] = ()
    """Directives of another server block, for all names but its own. In all of them `{file}` stands for its chain and
    key, `{authority}` for whoever issues to clients."""


@dataclass(frozen=True, slots=True)
class OpenSsl:
    """Played by a process of `openssl s_server`."""

    arguments: tuple[str, ...] = ()
    """Beside those for certificate, chain and address; `{file}` and `{authority}` as for nginx, `{staple}`
    for its OCSP answer."""


@dataclass(frozen=True, slots=True)
class Script:
    """Played by the lab's scripted server."""

    steps: tuple[str, ...]
    """As in the lab's scenarios."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of its TLS context: `version`, `ciphers`."""


@dataclass(frozen=True, slots=True)
class Asyncio:
    """Played by a server on asyncio's own TLS, which leaves without the alert where others send one."""

    options: Mapping[str, Any] = field(default_factory=dict)
    """`version`, `ciphers`, `client_certificate`."""


Player = Nginx | OpenSsl | Script | Asyncio


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the zoo and the target that asks for it."""

    name: str
    truth: str
    """What is the matter with it, in a few words."""
    player: Player
    presents: tuple[Minted, ...]
    key: Key | None
    address: str
    port: int
    target: str
    fields: Mapping[str, Any]
    stores: tuple[str, ...]
    """Names of the bundles that its target is held against; the first one decides."""
    expect: Expectation
    facts: Mapping[str, Any]
    """What must stand among the facts of what was found."""

    @property
    def host(self) -> str:
        """The name, or address, that is asked for."""
        return self.target.partition("://")[2].rpartition(":")[0].strip("[]")

    @property
    def trust(self) -> str:
        """The bundle that decides."""
        return self.stores[0]

    @property
    def causes(self) -> tuple[str, ...]:
        """The codes that are the truth, the verdict's first; `ok` alone where nothing is the matter."""
        return (*self.expect.code[:1], *self.expect.findings) or ("ok",)


@dataclass(slots=True)
class Book:
    """Servers as they are written down; each gets an address of its own."""

    octet: int
    """The second one of all addresses: 127.OCTET.x.y."""
    v6_port: int
    """The first port on ::1."""
    servers: list[Server] = field(default_factory=list)
    bundles: dict[str, tuple[Minted, ...]] = field(default_factory=dict)
    staples: dict[str, bytes] = field(default_factory=dict)
    """OCSP answers, by the name of the server that staples them."""

    @property
    def next_address(self) -> str:
        """The IPv4 address that the next server gets."""
        row, place = divmod(len(self.servers), _PER_ROW)
        return f"127.{self.octet}.{row + 1}.{place + 1}"

    def add(
        self, name: str, truth: str, player: Player, presents: Sequence[Minted], expect: Expectation, *,
        trust: str = "root", stores: Sequence[str] = (), scheme: str = "https", host: str | None = None,
        v6: bool = False, mended: Sequence[Minted] = (), reason: str | None = None, **fields: Any,
    ) -> None:
        """Write one down.

        `trust` is its bundle, or `stores` several; `host` is the name asked for, by default the server's own
        (`own_name`); `mended` what it should present, where the scan must find that out; `reason` why a name does not
        fit; `fields` are further ones of its target.
        """
        assert name not in {server.name for server in self.servers}, name
        address, port = self.next_address, PORT
        if v6:
            address, port = "::1", self.v6_port + len(self.servers)
        host = own_name(name) if host is None else host
        if host != address:
            fields = {"connect_to": address, **fields}
        asked = f"[{host}]" if ":" in host else host
        facts: dict[str, Any] = {"install_sha256": [one.sha256 for one in mended]} if mended else {}
        facts |= {"reason": reason} if reason else {}
        self.servers.append(Server(
            name=name, truth=truth, player=player, presents=tuple(presents),
            key=presents[0].key if presents else None, address=address, port=port,
            target=f"{scheme}://{asked}:{port}", fields=fields, stores=tuple(stores) or (trust,),
            expect=expect, facts=facts,
        ))


def own_name(name: str) -> str:
    """The host name of a server."""
    return f"{name.replace('_', '-')}.{DOMAIN}"


def ok(*findings: str, without: Sequence[str] = ()) -> Expectation:
    """Well, with exactly these warnings about TLS."""
    others = _UNTIDY - set(findings)
    return Expectation(state=("ok",), findings=findings, without=(*sorted(others), *without))


def fails(
    code: str, *findings: str, how: Sequence[str] = ("observed",), without: Sequence[str] = (),
    columns: Mapping[str, Any] | None = None, says: Sequence[str] = (),
) -> Expectation:
    """Broken, by this code with one of these confidences, and these findings beside it."""
    return Expectation(
        state=("fail",), code=(code,), confidence=tuple(how), findings=findings, without=tuple(without),
        columns=columns or {}, says=tuple(says),
    )


PROVEN = ("proven",)
INFERRED = ("inferred",)
