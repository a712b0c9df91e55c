"""The lab's network as text: one shell script that builds namespaces, links, addresses, routes and firewalls.

    cl  --(eth0/c0)-- r1 --(m0/m0)-- r2 --(s0/eth0)-- sv
    cl4 --(eth0/c1)-/ r1 --(m1/m0)-- r3
    the vantages that scenarios have to themselves --(eth0/oN)-/
    one of them whose link takes time --(eth0/vN)-- delay --(oN/oN)-/

The script runs with all capabilities of a fresh user namespace and needs no other right. All of it is pure:
the same scenarios give the same script.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetprobe.lab.scenario import (
    HOOKS,
    JUMBO_BYTES,
    USUAL_MTU_BYTES,
    Firewall,
    OwnVantage,
    Place,
    Scenario,
)

RESOLVER = ("203.0.113.53", "2001:db8:3::53")
"""Where clients send their DNS questions."""
AUTHORITY = ("203.0.113.54", "2001:db8:3::54")
"""The Python name server, which the resolver asks for names that misbehave."""
DNS_PORT = 53
DELAY = "delay"
"""The namespace between the two halves of each link that takes time; it is no machine and has no address."""


@dataclass(frozen=True, slots=True)
class _End:
    place: str
    device: str
    addresses: tuple[str, ...] = ()
    mtu_bytes: int = USUAL_MTU_BYTES
    relayed: bool = False
    """Its frames are read and sent by a program rather than by the kernel."""


_Link = tuple[_End, _End]


@dataclass(frozen=True, slots=True)
class DelayedLink:
    """Two interfaces of the namespace `DELAY`, between which frames take their time."""

    near: str
    far: str
    delay_ms: int
    mtu_bytes: int


_LINKS: tuple[_Link, ...] = (
    (_End(Place.CLIENT, "eth0", ("198.18.1.10/24", "2001:db8:1::10/64")),
     _End(Place.ROUTER_NEAR, "c0", ("198.18.1.1/24", "2001:db8:1::1/64"))),
    (_End(Place.CLIENT_V4, "eth0", ("198.18.4.10/24",)),
     _End(Place.ROUTER_NEAR, "c1", ("198.18.4.1/24",))),
    (_End(Place.ROUTER_NEAR, "m0", ("198.18.12.1/24", "2001:db8:12::1/64"), JUMBO_BYTES),
     _End(Place.ROUTER_FAR, "m0", ("198.18.12.2/24", "2001:db8:12::2/64"), JUMBO_BYTES)),
    (_End(Place.ROUTER_NEAR, "m1", ("198.18.13.1/24", "2001:db8:13::1/64")),
     _End(Place.ROUTER_ASIDE, "m0", ("198.18.13.2/24", "2001:db8:13::2/64"))),
    (_End(Place.ROUTER_FAR, "s0", ("203.0.113.1/24", "2001:db8:3::1/64"), JUMBO_BYTES),
     _End(Place.SERVER, "eth0", ("203.0.113.10/24", "2001:db8:3::10/64"), JUMBO_BYTES)),
)

_ROUTES: dict[str, tuple[str, ...]] = {
    Place.CLIENT: ("0.0.0.0/0 via 198.18.1.1", "::/0 via 2001:db8:1::1"),
    Place.CLIENT_V4: ("0.0.0.0/0 via 198.18.4.1",),
    Place.ROUTER_NEAR: ("203.0.113.0/24 via 198.18.12.2", "2001:db8:3::/64 via 2001:db8:12::2"),
    Place.ROUTER_FAR: ("198.18.0.0/16 via 198.18.12.1", "2001:db8:1::/48 via 2001:db8:12::1"),
    Place.ROUTER_ASIDE: ("198.18.0.0/16 via 198.18.13.1", "2001:db8:1::/48 via 2001:db8:13::1"),
    # To the server its link is an ordinary one, but for the vantages that have a wide one themselves.
    Place.SERVER: (
        f"0.0.0.0/0 via 203.0.113.1 mtu {USUAL_MTU_BYTES}", f"::/0 via 2001:db8:3::1 mtu {USUAL_MTU_BYTES}",
    ),
}

INFRASTRUCTURE = frozenset(
    {address.partition("/")[0] for link in _LINKS for end in link for address in end.addresses}
    | {*RESOLVER, *AUTHORITY}
)
"""Addresses that no scenario may claim for a server of its own."""

# Without duplicate address detection an IPv6 address is usable at once, not after two seconds. It must be
# off before the links exist. Default ICMP limits answer about one error in ten of a busy scan, and which
# target gets it is chance (research: 7 of 100), so routers and server answer every packet.
_SYSCTL_EVERYWHERE = (
    ("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/all/accept_ra", "0"), ("ipv6/conf/default/accept_ra", "0"),
    ("ipv4/icmp_ratelimit", "0"), ("ipv4/icmp_ratemask", "0"), ("ipv6/icmp/ratelimit", "0"),
    ("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0"),
)
_SYSCTL_ROUTER = (
    ("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/send_redirects", "0"), ("ipv4/conf/default/send_redirects", "0"),
)
# Only group 0 is mapped, so this is everybody in the lab.
_SYSCTL_CLIENT = (("ipv4/ping_group_range", "0 0"),)
_SYSCTL: dict[str, tuple[tuple[str, str], ...]] = {
    Place.CLIENT: _SYSCTL_CLIENT, Place.CLIENT_V4: _SYSCTL_CLIENT, Place.SERVER: (),
    Place.ROUTER_NEAR: _SYSCTL_ROUTER, Place.ROUTER_FAR: _SYSCTL_ROUTER,
    Place.ROUTER_ASIDE: _SYSCTL_ROUTER,
    # It must not say a word of its own.
    DELAY: (("ipv6/conf/all/disable_ipv6", "1"), ("ipv6/conf/default/disable_ipv6", "1")),
}


def namespace_file(state: Path, place: str) -> Path:
    """Where a namespace is bound, as seen by processes in the lab's mount namespace."""
    return state / "ns" / place


def namespaces(fleet: Sequence[Scenario]) -> tuple[str, ...]:
    """Every namespace of the lab by name: the places first, then the scenarios' own vantages."""
    own = (scenario.run.vantage for scenario in fleet if scenario.own)
    return (*Place, *own, *((DELAY,) if delayed(fleet) else ()))


def delayed(fleet: Sequence[Scenario]) -> tuple[DelayedLink, ...]:
    """The links that take time."""
    return tuple(
        DelayedLink(own.far_device, own.device, own.delay_ms, own.mtu_bytes)
        for own in (scenario.own for scenario in fleet) if own is not None and own.delay_ms
    )


def build_script(fleet: Sequence[Scenario], state: Path) -> str:
    """A POSIX shell script that builds the whole network and binds our own files over those in /etc.

    `state` must hold the directories `ns` and `etc`; `etc` the files named in `ETC_FILES`.
    """
    lines = ["set -e"]
    places, links = namespaces(fleet), (*_LINKS, *_own_links(fleet))
    for place in places:
        file = shlex.quote(str(namespace_file(state, place)))
        # /proc may belong to an outer PID namespace, where only /proc/self is certain to mean ourselves.
        lines += [f": > {file}", f"unshare --net mount --bind /proc/self/ns/net {file}"]
        settings = _SYSCTL_EVERYWHERE + _SYSCTL.get(place, _SYSCTL_CLIENT)
        lines += _inside(state, place, [f"echo {value} > /proc/sys/net/{key}" for key, value in settings])
    for near, far in links:
        one, other = (shlex.quote(str(namespace_file(state, end.place))) for end in (near, far))
        peer = f"type veth peer name {far.device} netns {other}"
        lines.append(f"ip link add {near.device} netns {one} {peer}")
    # All links go up before any address is set: IPv6 takes about a second to get ready on a link that
    # finds its peer later.
    for place in places:
        lines += _inside(state, place, [
            f"ip link set {end.device} mtu {end.mtu_bytes} up" for end in _ends(place, links)
        ])
    for place in places:
        lines += _inside(state, place, list(_configure(place, fleet, _ends(place, links))))
    for scenario in fleet:
        lines += [line for place, commands in _last_touch(scenario) for line in _inside(state, place, commands)]
    for name in ETC_FILES:
        lines.append(f"mount --bind {shlex.quote(str(state / 'etc' / name))} \"$(readlink -f /etc/{name})\"")
    # Over its socket, which no network namespace confines, the machine's own name cache would answer.
    lines.append("if [ -d /run/nscd ]; then mount -t tmpfs none /run/nscd; fi")
    return "\n".join(lines) + "\n"


def _inside(state: Path, place: str, commands: Iterable[str]) -> list[str]:
    file = shlex.quote(str(namespace_file(state, place)))
    return [f"nsenter --net={file} sh -e <<'INSIDE'", *commands, "INSIDE"]


def _configure(place: str, fleet: Sequence[Scenario], devices: Sequence[_End]) -> Iterator[str]:
    # Offloads would hand 64 kB packets to rules that look at sizes, and packets without a checksum to a relay.
    yield from (
        f"ethtool -K {end.device} tso off gso off gro off{' tx off' if end.relayed else ''}" for end in devices
    )
    yield "ip -batch - <<'BATCH'"
    yield "link set lo up"
    for end in devices:
        yield from (f"address add {address} dev {end.device}{_nodad(address)}" for address in end.addresses)
    yield from (f"address add {a}{_width(a)} dev {devices[0].device}{_aside(a)}" for a in _own(place, fleet))
    yield from (f"route add {route}" for route in _routes(place, fleet))
    yield "BATCH"
    yield "nft -f - <<'RULES'"
    yield nft_rules(place, fleet)
    yield "RULES"


def _last_touch(scenario: Scenario) -> Iterator[tuple[str, list[str]]]:
    """What breaks the finished network: settings, then the commands around a vantage of the scenario's own.

    Settings come after the rules because those of nf_conntrack exist only once a rule wants it.
    """
    own = scenario.own
    settings: list[tuple[str, tuple[str, ...]]] = list(scenario.settings.items())
    if own is not None:
        settings.append((scenario.run.vantage, own.settings))
    for place, lines in settings:
        pairs = (line.partition("=") for line in lines)
        yield place, [f"echo {shlex.quote(value)} > /proc/sys/net/{key}" for key, _, value in pairs]
    if own is not None:
        yield scenario.run.vantage, [f"ip {command}" for command in own.commands]
        yield Place.ROUTER_NEAR, [f"ip {command}" for command in own.router]


def _own_links(fleet: Sequence[Scenario]) -> tuple[_Link, ...]:
    return tuple(
        link for scenario in fleet if scenario.own for link in _own_link(scenario.run.vantage, scenario.own)
    )


def _own_link(place: str, own: OwnVantage) -> tuple[_Link, ...]:
    """One link, or the two halves of one that takes time."""
    v4, v6 = own.addresses
    gateway4, gateway6 = own.gateways
    kind = (own.mtu_bytes, bool(own.delay_ms))
    client = _End(place, "eth0", (f"{v4}/24", f"{v6}/64"), *kind)
    router = _End(Place.ROUTER_NEAR, own.device, (f"{gateway4}/24", f"{gateway6}/64"), *kind)
    if not own.delay_ms:
        return ((client, router),)
    return (client, _End(DELAY, own.far_device, (), *kind)), (_End(DELAY, own.device, (), *kind), router)


def _ends(place: str, links: Sequence[_Link]) -> list[_End]:
    return [end for link in links for end in link if end.place == place]


def _routes(place: str, fleet: Sequence[Scenario]) -> list[str]:
    for scenario in fleet:
        if scenario.own and scenario.run.vantage == place:
            v4, v6 = scenario.own.gateways
            return [f"0.0.0.0/0 via {v4}", f"::/0 via {v6}"]
    routes = [*_ROUTES.get(place, ())]
    if place == Place.SERVER:
        routes += [route for scenario in fleet if scenario.own for route in _wide_routes(scenario.own)]
    return routes + [
        route for scenario in fleet for there, some in scenario.routes.items() if there == place for route in some
    ]


def _wide_routes(own: OwnVantage) -> tuple[str, ...]:
    """The server's routes to a vantage whose link carries more than usual: as much as the server's own link does."""
    if own.mtu_bytes <= USUAL_MTU_BYTES:
        return ()
    v4, v6 = own.addresses
    return f"{v4}/32 via 203.0.113.1", f"{v6}/128 via 2001:db8:3::1"


def _own(place: str, fleet: Sequence[Scenario]) -> list[str]:
    shared = [a for scenario in fleet for there in Place if there == place for a in scenario.addresses_at(there)]
    return [*RESOLVER, *AUTHORITY, *shared] if place == Place.SERVER else shared


def _nodad(address: str) -> str:
    return " nodad" if ":" in address else ""


def _aside(address: str) -> str:
    """An address that its machine answers to and never speaks from by itself (RFC 6724 §5, rule 3)."""
    return " nodad preferred_lft 0" if ":" in address else ""


def _width(address: str) -> str:
    return "/128" if ":" in address else "/32"


def nft_rules(place: str, fleet: Sequence[Scenario]) -> str:
    """The one nft table of a namespace, with the rules of all scenarios in order."""
    walls = [(s.name, wall) for s in fleet for there, wall in s.firewalls.items() if there == place]
    walls += [(s.name, Firewall(output=s.own.output)) for s in fleet if s.own and s.run.vantage == place]
    lines = ["table inet lab {"]
    lines += [f"  set {text}" for _, wall in walls for text in wall.sets]
    for hook in HOOKS:
        lines += [f"  chain {hook} {{", f"    type filter hook {hook} priority filter; policy accept;"]
        for name, wall in walls:
            rules: tuple[str, ...] = getattr(wall, hook)
            lines += [f"    {rule} comment \"{name}\"" for rule in rules]
        lines.append("  }")
    return "\n".join([*lines, "}"])


ETC_FILES = ("resolv.conf", "hosts", "nsswitch.conf")


def etc_files(fleet: Sequence[Scenario]) -> dict[str, str]:
    """The name service configuration of every machine in the lab: file name under /etc to content."""
    hosts = ["127.0.0.1 localhost", "::1 localhost"]
    for near, far in _LINKS:
        hosts += [f"{a.partition('/')[0]} {end.place}" for end in (near, far) for a in end.addresses]
    hosts += [f"{address} {name}" for scenario in fleet for name, address in scenario.hosts.items()]
    return {
        "resolv.conf": f"nameserver {RESOLVER[0]}\noptions timeout:2 attempts:2\n",
        "hosts": "\n".join(hosts) + "\n",
        # Without this a desktop's mdns or systemd modules would answer before our resolver is asked.
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
    }
