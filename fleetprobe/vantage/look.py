"""The look around: everything there is to see of this machine, in one pass of about two seconds at most."""

from __future__ import annotations

import asyncio
import os
import platform
import ssl
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from OpenSSL import SSL

from fleetprobe.model.version import VERSION
from fleetprobe.net.interface import Address, DnsReply, Event, Fault, RecordType
from fleetprobe.net.live import resolv_conf, udp
from fleetprobe.net.live.links import LinkTable, open_links
from fleetprobe.net.live.nameserver import Nameserver
from fleetprobe.net.live.netlink import Rtnetlink
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.resolv_conf import ServerAddress
from fleetprobe.vantage import anchors, routing, sysctl, tcp_table
from fleetprobe.vantage.facts import Gateway, Hop, Resolver, Software, Vantage, Ways
from fleetprobe.vantage.kernel_clock import Watch

_RESOLV_CONF = "/etc/resolv.conf"
_MOST_RESOLVERS = 16
_RESOLVER_S = 2.0
_GATEWAY_S = 1.1
"""A next hop that never answers is INCOMPLETE by then; the kernel asks it once a second."""


async def look(*, offline: bool = False, resolv: str = _RESOLV_CONF, proc: Path = sysctl.PROC) -> Vantage:
    """See everything. Sends one question to each resolver, at most 16, and two datagrams to each gateway;
    with `offline` nothing at all."""
    watch = Watch()
    links = open_links()
    try:
        ways = _ways()
        servers = resolv_conf.read_servers(resolv)[:_MOST_RESOLVERS]
        resolvers, gateways = await _asked(servers, ways, links, offline)
        ports = sysctl.ports(proc)
        return Vantage(
            links=links.links() if links else (),
            ways=ways,
            gateways=gateways,
            resolvers=resolvers,
            descriptors=sysctl.descriptors(),
            ports=ports,
            ping=sysctl.ping_rights(proc),
            conntrack=sysctl.conntrack(proc),
            census=tcp_table.census(ports, proc),
            clock=watch.read(),
            trust=anchors.read(),
            tcp=sysctl.tcp_settings(proc),
            software=_software(),
        )
    finally:
        if links:
            links.close()


def _ways() -> tuple[Ways, ...]:
    try:
        kernel = Rtnetlink()
    except OSError:
        return ()
    with closing(kernel):
        return routing.ways(kernel)


async def _asked(
    servers: Sequence[ServerAddress], ways: Sequence[Ways], links: LinkTable | None, offline: bool
) -> tuple[tuple[Resolver, ...], tuple[Gateway, ...]]:
    hops = [(way.family, way.defaults[0].hops[0]) for way in ways if way.defaults]
    reactor = Reactor(asyncio.get_running_loop())
    try:
        resolvers = asyncio.gather(*(_resolver(server, reactor, offline) for server in servers))
        gateways = asyncio.gather(*(_gateway(family, hop, reactor, links, offline) for family, hop in hops))
        found = await gateways
        return tuple(await resolvers), tuple(gateway for gateway in found if gateway is not None)
    finally:
        reactor.close()


async def _resolver(server: ServerAddress, reactor: Reactor, offline: bool) -> Resolver:
    if offline:
        return Resolver(server=str(server), reply=None)
    nameserver = Nameserver(server, reactor)
    until_s = reactor.now() + _RESOLVER_S
    try:
        nameserver.begin_control(until_s)
        reply = await nameserver.control(until_s)
        return Resolver(server=str(server), reply=reply or _silence(server))
    finally:
        await nameserver.close()


def _silence(server: ServerAddress) -> DnsReply:
    """The question was still open at its end, as when our own loop is late."""
    fault = Fault(Event.SILENT)
    return DnsReply(server=str(server), record_type=RecordType.A, duration_ms=_RESOLVER_S * 1000.0, fault=fault)


async def _gateway(
    family: int, hop: Hop, reactor: Reactor, links: LinkTable | None, offline: bool
) -> Gateway | None:
    """Ask the next hop anything, so that the kernel must find out where it is, and see what it then knows."""
    if hop.gateway is None:
        return None
    poked = None
    if not offline:
        zone = f"%{hop.interface}" if hop.gateway.startswith("fe80:") else ""
        address = Address(hop.gateway + zone, 6 if ":" in hop.gateway else 4)
        poked = (await udp.poke(reactor, address, reactor.now() + _GATEWAY_S)).outcome
    entry = links.neighbour(hop.gateway, hop.interface) if links else None
    return Gateway(
        family=family,
        address=hop.gateway,
        interface=hop.interface,
        state=entry.state if entry else None,
        poked=poked,
    )


def _software() -> Software:
    return Software(
        fleetprobe=VERSION,
        python=platform.python_version(),
        openssl_of_python=ssl.OPENSSL_VERSION,
        openssl_of_cryptography=SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode("ascii", "replace"),
        kernel=platform.release(),
        root=os.geteuid() == 0,
    )
