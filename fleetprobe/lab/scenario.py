"""What a scenario is: a fault in the laboratory, the targets that show it, and what to say of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

USUAL_MTU_BYTES = 1500
"""Ethernet (RFC 894)."""
JUMBO_BYTES = 9000
"""What network cards that carry more than that usually carry, and what all links on the way to the servers do."""


class Place(StrEnum):
    """The network namespaces of the laboratory, in the order a packet of the client crosses them."""

    CLIENT = "cl"
    """The vantage of an ordinary run: IPv4 and IPv6, default routes to the first router."""
    CLIENT_V4 = "cl4"
    """A second vantage on the same link that has no IPv6 address and no IPv6 route."""
    ROUTER_NEAR = "r1"
    ROUTER_FAR = "r2"
    ROUTER_ASIDE = "r3"
    """Beside the way to the servers, where scenarios may set what would disturb the others."""
    SERVER = "sv"


VANTAGES = (Place.CLIENT, Place.CLIENT_V4)
"""Where a scan can be started, beside the vantages that scenarios have to themselves."""


class Verb(StrEnum):
    """One thing a scripted server does to a connection it has accepted."""

    HEAR = "hear"
    """Read until at least one byte has come."""
    TAKE = "take"
    """`take N`: read N bytes and leave what follows them: a ClientHello may come with what is said before it."""
    REQUEST = "request"
    """Read until a blank line has come: a whole HTTP request head."""
    ISSUER = "issuer"
    """Send an HTTP 200 with the certificate, in DER, that `Certificate.HIDDEN_ISSUER` lacks."""
    TLS = "tls"
    """Complete a TLS handshake; all later verbs speak through it."""
    ONCE = "once"
    """`once HOW`: read once, at most 1400 bytes, and take that for the whole ClientHello. Go on as after `tls` if it
    is; if not, end like HOW: alert (decode_error), refuse (handshake_failure), close, reset or silence."""
    NEEDS = "needs"
    """`needs HOW TEXT`: go on as after `tls` if the ClientHello contains the text, a name for example; if not, end like
    HOW, as after `once`. Text that begins with 0x stands for bytes."""
    MINDS = "minds"
    """`minds HOW TEXT`: as `needs`, but go on if the ClientHello does not contain it."""
    FLIGHT = "flight"
    """`flight N`: read a ClientHello and send the first N bytes of the genuine answer to it."""
    SAY = "say"
    """`say TEXT`: send the text as UTF-8."""
    HEX = "hex"
    """`hex 1503…`: send these bytes below TLS, even when a handshake has been made."""
    FILL = "fill"
    """`fill N`: send N bytes of filler."""
    ANSWER = "answer"
    """`answer N`: send an HTTP 200 with a body of N bytes, head and body in one piece, so that neither comes alone."""
    ECHO = "echo"
    """Send back whatever comes until the peer closes."""
    WAIT = "wait"
    """`wait S`: do nothing for S seconds."""
    SILENCE = "silence"
    """Read and discard, and never answer, until the peer closes."""
    FAREWELL = "farewell"
    """Send a TLS close_notify."""
    CLOSE = "close"
    """Send a FIN, then read what still comes, so that the kernel does not turn the FIN into a RST."""
    RESET = "reset"
    """Send a RST at once."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a server's script."""

    verb: Verb
    argument: str = ""


CUT_SHORT = {
    # A TLS alert record: level fatal (2), decode_error (50).
    "alert": (Step(Verb.HEX, "15030300020232"), Step(Verb.CLOSE)),
    # The same with handshake_failure (40).
    "refuse": (Step(Verb.HEX, "15030300020228"), Step(Verb.CLOSE)),
    "close": (Step(Verb.CLOSE),),
    "reset": (Step(Verb.RESET),),
    "silence": (Step(Verb.SILENCE),),
}
"""What is left to do for a server that does not like the ClientHello, by the first argument of its step."""


class Certificate(StrEnum):
    """What is wrong (or not) with the certificate chain a server presents."""

    GOOD = "good"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    SELF_SIGNED = "self_signed"
    WRONG_NAME = "wrong_name"
    UNTRUSTED_ROOT = "untrusted_root"
    """A whole chain, its root included, from an authority that the lab does not trust."""
    UNKNOWN_ISSUER = "unknown_issuer"
    """The leaf alone, from an authority that no host of the lab presents."""
    MISSING_INTERMEDIATE = "missing_intermediate"
    """The leaf alone, although the authority is trusted."""
    HIDDEN_ISSUER = "hidden_issuer"
    """The leaf alone, below the trusted root, from an authority that no host presents; see `Server.issuer_url`."""
    MISSING_UPPER = "missing_upper"
    """As `deep`, without the upper intermediate."""
    ROOT_NOT_SENT = "root_not_sent"
    """Leaf and intermediate of an authority that the lab does not trust."""
    MISSING_BOTH = "missing_both"
    """The leaf alone, from an authority that the lab does not trust and that other hosts present."""
    INTERCEPTED = "intercepted"
    """A chain without its root, from a box that vouches for whatever is asked for; no host presents its root."""
    EXPIRED_ISSUER = "expired_issuer"
    """The intermediate as it was before it was renewed, expired by now; other hosts present the new one."""
    LONG = "long"
    """Good, and with so many names that the handshake's flight takes two full segments and a short one."""
    DEEP = "deep"
    """Good, by two intermediates, each of which may have as many below it as there are."""
    CONSTRAINED = "constrained"
    """Good, from an authority that may certify names below lab.test alone."""
    WRONG_ORDER = "wrong_order"
    """As `deep`, the upper intermediate before the lower one."""
    EXTRA = "extra"
    """Good, and an intermediate that has nothing to do with it."""
    DUPLICATE = "duplicate"
    """Good, the intermediate twice."""
    ROOT_SENT = "root_sent"
    """Good, the trusted root included."""
    CROSS_SIGN = "cross_sign"
    """Good, and the trusted root's key once more, certified by the authority that the lab does not trust."""
    BAD_SIGNATURE = "bad_signature"
    """The leaf names the intermediate and its key, and was signed with another key."""
    REKEYED = "rekeyed"
    """The leaf was signed with the new key of the intermediate; the certificate of the old key is sent."""
    ISSUER_NOT_CA = "issuer_not_ca"
    """The leaf was issued by another leaf."""
    PATH_LENGTH = "path_length"
    """Two intermediates, the upper of which may have none below it."""
    NAME_CONSTRAINT = "name_constraint"
    """From an authority that may certify names below elsewhere.test alone."""
    WRONG_USAGE = "wrong_usage"
    """For clients (extended key usage clientAuth)."""
    EXPIRING = "expiring"
    """The leaf has ten days left."""
    EXPIRING_ISSUER = "expiring_issuer"
    """The intermediate has ten days left."""
    MANY_NAMES = "many_names"
    """Good, with a thousand names: large, and less than what clients read."""
    OVERSIZE = "oversize"
    """With so many names that the chain is above the 100 KiB that OpenSSL reads."""
    PEDANTIC = "pedantic"
    """Good, and the leaf does not state its issuer's key, which strict clients ask for (RFC 5280 §4.2.1.1)."""
    MUST_STAPLE = "must_staple"
    """The leaf promises a stapled OCSP answer; no server of the lab sends one."""


class TlsVersion(StrEnum):
    """A version of TLS as people call it."""

    ONE_ONE = "1.1"
    ONE_TWO = "1.2"
    ONE_THREE = "1.3"


class ClientCertificate(StrEnum):
    """How a server that asks for a client certificate, one of the lab's authority, bears not to get it."""

    DEMANDED = "demanded"
    """It says no in TLS."""
    MISSED = "missed"
    """It completes the handshake and says no to the request; its steps do, as nginx does of itself."""
    WELCOME = "welcome"
    """It serves us all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsRules:
    """What a server insists on in a handshake, beyond what its library does by itself."""

    client_certificate: ClientCertificate | None = None
    """None: it does not ask for one."""
    version: TlsVersion | None = None
    """The only version it speaks."""
    ciphers: str | None = None
    """The only cipher suites that it takes below TLS 1.3, in the words of openssl-ciphers(1)."""
    named: bool = False
    """Who asks for none of the server's `names` gets the alert unrecognized_name (RFC 6066 §3)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One service, listening on each of its addresses."""

    addresses: tuple[str, ...]
    port: int
    place: Place = Place.SERVER
    """Which machine it runs on; elsewhere than on `sv` the kernel of the server can have settings of its own."""
    steps: tuple[Step, ...] = ()
    """What the Python server does with every connection."""
    nginx: str | None = None
    """Body of an nginx `location / {…}`; used in place of the steps where nginx is installed."""
    certificate: Certificate | None = None
    tls: TlsRules = TlsRules()
    names: tuple[str, ...] = ()
    """DNS names in the certificate; empty means the scenario's own names and addresses."""
    issuer_url: str | None = None
    """Where its leaf says that the issuer can be had (RFC 5280 §4.2.2.1)."""
    backlog_full: bool = False
    """Listen, fill the accept queue with own connections, and never accept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsEntry:
    """What the lab's name server says about one name."""

    name: str
    addresses: tuple[str, ...] = ()
    cname: str | None = None
    rcode: str = "NOERROR"
    delay_s: float = 0.0
    silent: bool = False
    """Never answer for this name."""
    ignores: str | None = None
    """`A` or `AAAA`: never answer a question for that type."""
    truncated: bool = False
    """Over UDP say only that the answer is too large (TC, RFC 1035 §4.1.1); over TCP give it."""

    @property
    def plain(self) -> bool:
        """Whether any name server could serve this: addresses, at once, without an error."""
        strange = self.silent or self.ignores or self.truncated or self.delay_s or self.cname or self.rcode != "NOERROR"
        return bool(self.addresses) and not strange


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """nft rules of one namespace, one string per rule, as `nft` reads them after `add rule`."""

    sets: tuple[str, ...] = ()
    """Named sets, each `NAME { type …; }`."""
    prerouting: tuple[str, ...] = ()
    input: tuple[str, ...] = ()
    forward: tuple[str, ...] = ()
    output: tuple[str, ...] = ()


HOOKS = ("prerouting", "input", "forward", "output")
"""Where rules can stand, named as in `Firewall`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnVantage:
    """A client that one scenario has to itself: like `cl`, on a link of its own to the first router.

    Its link is 198.18.(100+N).0/24 and 2001:db8:1:N::/64; it is .10 and ::10, the router .1 and ::1.
    """

    number: int
    """N, from 1 to 99; the router's end of the link is the device `oN`, its own end is `eth0`."""
    delay_ms: int = 0
    """How long the link takes, each way."""
    mtu_bytes: int = USUAL_MTU_BYTES
    """IP packets that the link carries; above the usual, the way to the servers carries them too."""
    settings: tuple[str, ...] = ()
    """As `Scenario.settings`."""
    commands: tuple[str, ...] = ()
    """Commands of `ip` in the vantage, once everything else is built."""
    router: tuple[str, ...] = ()
    """Commands of `ip` in the router, after that."""
    output: tuple[str, ...] = ()
    """nft rules of the vantage's output hook; they need not name an address."""

    @property
    def device(self) -> str:
        """The router's end of the link."""
        return f"o{self.number}"

    @property
    def far_device(self) -> str:
        """Where a link takes time: the device that the delay has towards the vantage."""
        return f"v{self.number}"

    @property
    def addresses(self) -> tuple[str, str]:
        """Its own addresses."""
        return f"198.18.{100 + self.number}.10", f"2001:db8:1:{self.number}::10"

    @property
    def gateways(self) -> tuple[str, str]:
        """The router's addresses on the link."""
        return f"198.18.{100 + self.number}.1", f"2001:db8:1:{self.number}::1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the scanner must say of one target."""

    state: tuple[str, ...]
    """Any of these is right: which one can be chance."""
    code: tuple[str, ...] = ()
    """Likewise. Empty means that there must be none, or, beside several states, that it is not looked at."""
    confidence: tuple[str, ...] = ()
    """Likewise. Empty means that the confidence is not looked at."""
    findings: tuple[str, ...] = ()
    """Codes that must be among the findings, whatever the verdict is."""
    without: tuple[str, ...] = ()
    """Codes that must be neither the verdict nor a finding, e.g. the fault that this one only looks like."""
    says: tuple[str, ...] = ()
    """What the summary must name, e.g. the address of the box that is to blame."""
    columns: Mapping[str, str | int] = field(default_factory=dict)
    """Columns of the record and what must stand in them, e.g. `path_mtu_bytes` and 1400."""

    def __str__(self) -> str:
        return " ".join(filter(None, (" or ".join(words) for words in (self.state, self.code, self.confidence))))


@dataclass(frozen=True, slots=True, kw_only=True)
class LabTarget:
    """One inventory line and the answer that is expected for it."""

    case: str
    """`SCENARIO#N`, unique in the lab; travels as the label `case`, by which records are matched."""
    target: str
    fields: Mapping[str, Any]
    """Further inventory fields, e.g. `expect_status`."""
    expect: Expectation
    lookalike: str
    """Name of the scenario that this target must not be taken for."""

    def inventory_fields(self) -> dict[str, Any]:
        """The JSON object of this target's inventory line."""
        labels = {**self.fields.get("labels", {}), "case": self.case}
        return {"target": self.target, **self.fields, "labels": labels}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How a scan must be started for a scenario; scenarios with equal settings share one scan."""

    vantage: str = Place.CLIENT
    """Name of a namespace: one of `VANTAGES`, or a scenario's own."""
    args: tuple[str, ...] = ()
    """Further arguments of `fleetprobe scan`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One fault, as read from one file."""

    name: str
    """The file's name without its ending: a few words joined by hyphens."""
    title: str
    teaches: str
    """One or two sentences: what to learn from it."""
    targets: tuple[LabTarget, ...]
    needs: tuple[str, ...] = ()
    """Programs without which the lab falls back to its own servers; named in `lab list`."""
    addresses: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)
    """Addresses that exist without a server of ours behind them."""
    routes: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)
    """Routes in the words of `ip route add`."""
    settings: Mapping[Place, tuple[str, ...]] = field(default_factory=dict)
    """Kernel settings below /proc/sys/net, each `NAME=VALUE`; they hold for the whole namespace."""
    hosts: Mapping[str, str] = field(default_factory=dict)
    """Name to address: lines of the hosts file, which every machine of the lab reads."""
    own: OwnVantage | None = None
    firewalls: Mapping[Place, Firewall] = field(default_factory=dict)
    servers: tuple[Server, ...] = ()
    dns: tuple[DnsEntry, ...] = ()
    run: RunSettings = RunSettings()

    @property
    def server_addresses(self) -> tuple[str, ...]:
        """Every address that is served or that the server machine has, sorted, without repetition."""
        places = {Place.SERVER, *(server.place for server in self.servers)}
        return tuple(sorted({address for place in places for address in self.addresses_at(place)}))

    def addresses_at(self, place: Place) -> tuple[str, ...]:
        """The addresses that this scenario gives a machine, its servers' included, sorted, without repetition."""
        served = {address for server in self.servers if server.place is place for address in server.addresses}
        return tuple(sorted(served.union(self.addresses.get(place, ()))))

    def certificate_names(self, server: Server) -> tuple[str, ...]:
        """The DNS names that a good certificate of this server covers."""
        if server.names:
            return server.names
        return tuple(e.name for e in self.dns if set(e.addresses) & set(server.addresses))
