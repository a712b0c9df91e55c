"""Judges of the ways off this machine: interfaces, default routes and their gateways, resolvers."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from fleetprobe.model.policy import Slow
from fleetprobe.model.verdict import Outcome
from fleetprobe.net.interface import DnsReply, Event
from fleetprobe.net.witness import Link, NeighbourState, Poked
from fleetprobe.vantage.check import Check
from fleetprobe.vantage.facts import Gateway, Resolver, Ways

_DEAD: Final = frozenset({"DOWN", "LOWERLAYERDOWN", "NOTPRESENT", "DORMANT"})
_LEAST_MTU: Final = {4: 576, 6: 1280}
"""What every link must carry: RFC 791 §3.1 (a datagram every host takes) and RFC 8200 §5."""
_UNRESOLVED: Final = frozenset({NeighbourState.INCOMPLETE, NeighbourState.FAILED})
_ALIVE: Final = frozenset({Poked.PORT_CLOSED, Poked.ANSWERED})
_SLOW_MS: Final = Slow().dns_ms
_SHOWN: Final = 32
_DENIED_FIX: Final = "Allow outgoing packets in this machine's firewall: `nft list ruleset`."
_LOST_FIX: Final = "Correct the nameservers in /etc/resolv.conf, or name one that answers with --resolver."


def interfaces(links: Sequence[Link], ways: Sequence[Ways]) -> tuple[Check, ...]:
    """One check for each interface that carries addresses or a default route; at most 32."""
    if not links:
        return (Check(name="interface", outcome=Outcome.UNKNOWN, summary="netlink does not tell the interfaces"),)
    routed = {hop.interface for way in ways for route in way.defaults[:1] for hop in route.hops}
    carrying = [link for link in links if not link.loopback and (_global(link) or link.name in routed)]
    told = [_loopback(link) for link in links if link.loopback and not link.up]
    if not any(_alive(link) and _global(link) for link in carrying):
        told.append(
            Check(
                name="interface",
                outcome=Outcome.FAIL,
                summary="no interface but loopback is up with a usable address: nothing can leave this machine",
                facts={"interfaces": [link.name for link in links][:_SHOWN]},
                fix="Bring an interface up and give it an address: `ip -br link`, `ip -br addr`.",
            )
        )
    told += [_interface(link, routed) for link in carrying[:_SHOWN]]
    return tuple(told)


def _interface(link: Link, routed: set[str]) -> Check:
    facts = {
        "interface": link.name,
        "up": link.up,
        "carrier": link.carrier,
        "operstate": link.operstate,
        "mtu_bytes": link.mtu_bytes,
        "mac": link.mac,
        "addresses": list(link.addresses[:_SHOWN]),
    }
    facts = {name: value for name, value in facts.items() if value is not None}
    if not _alive(link):
        way = "and the default route leads there" if link.name in routed else "its networks cannot be reached"
        why = "is switched off" if not link.up else f"has no carrier ({link.operstate})"
        outcome = Outcome.FAIL if link.name in routed else Outcome.WARN
        mend = f"Run `ip link set {link.name} up`." if not link.up else f"Check cable, port and peer of {link.name}."
        return Check(
            name="interface", outcome=outcome, summary=f"{link.name} {why}: {way}", facts=facts, fix=mend
        )
    small = [family for family in _families(link) if link.mtu_bytes < _LEAST_MTU[family]]
    if small:
        least = max(_LEAST_MTU[family] for family in small)
        return Check(
            name="interface",
            outcome=Outcome.WARN,
            summary=f"{link.name} has MTU {link.mtu_bytes}, less than the {least} that IPv{small[-1]} asks of a link",
            facts=facts,
            fix=f"Run `ip link set {link.name} mtu 1500`, or what the link really carries.",
        )
    carrier = "up with carrier" if link.carrier else "up"
    addresses = " ".join(_global(link)) or "no address of its own"
    summary = f"{link.name} is {carrier}, MTU {link.mtu_bytes}, {addresses}"
    return Check(name="interface", outcome=Outcome.PASS, summary=summary, facts=facts)


def _loopback(link: Link) -> Check:
    return Check(
        name="interface",
        outcome=Outcome.WARN,
        summary=f"loopback ({link.name}) is switched off: a resolver or target on this machine cannot be reached",
        facts={"interface": link.name, "up": False},
        fix=f"Run `ip link set {link.name} up`.",
    )


def _alive(link: Link) -> bool:
    return link.up and link.carrier is not False and link.operstate not in _DEAD


def _global(link: Link) -> list[str]:
    """Addresses that reach beyond the link."""
    return [text for text in link.addresses if not ipaddress.ip_interface(text).is_link_local]


def _families(link: Link) -> list[int]:
    return sorted({ipaddress.ip_interface(text).version for text in link.addresses})


def routes(ways: Sequence[Ways], gateways: Sequence[Gateway]) -> tuple[Check, ...]:
    """One check for each family."""
    if not ways:
        return (Check(name="route", outcome=Outcome.UNKNOWN, summary="netlink does not tell the routes"),)
    anywhere = any(way.defaults or way.networks for way in ways)
    found = {gateway.family: gateway for gateway in gateways}
    return tuple(
        _route(way, found.get(way.family)) if way.defaults else _no_default(way, anywhere) for way in ways
    )


def _no_default(way: Ways, anywhere: bool) -> Check:
    family = f"IPv{way.family}"
    facts = {"family": way.family, "networks": way.networks}
    if way.networks:
        summary = f"no {family} default route: only what lies in {way.networks} known networks can be reached"
        fix = f"Add a default route for {family} if targets lie beyond: `ip -{way.family} route`."
        return Check(name="route", outcome=Outcome.WARN, summary=summary, facts=facts, fix=fix)
    summary = f"no {family} route at all: {family} targets will be blocked (vantage.no_route), not failed"
    fix = f"Configure {family} on this machine, or scan with --family {10 - way.family}."
    outcome = Outcome.WARN if anywhere else Outcome.FAIL
    if not anywhere:
        summary, fix = f"no {family} route at all, and no other family either", f"Configure {family} here."
    return Check(name="route", outcome=outcome, summary=summary, facts=facts, fix=fix)


def _route(way: Ways, gateway: Gateway | None) -> Check:
    best = way.defaults[0]
    facts = {
        "family": way.family,
        "gateways": [hop.gateway for hop in best.hops if hop.gateway],
        "interfaces": [hop.interface for hop in best.hops],
        "metric": best.metric,
        "table": best.table,
        "default_routes": len(way.defaults),
        "networks": way.networks,
    }
    if gateway is None:
        summary = f"IPv{way.family} leaves by {best.hops[0].interface}, straight, without a gateway"
        return Check(name="route", outcome=Outcome.PASS, summary=summary, facts=facts)
    facts["gateway_state"] = str(gateway.state) if gateway.state else None
    facts["gateway_answer"] = str(gateway.poked) if gateway.poked else None
    facts = {name: value for name, value in facts.items() if value is not None}
    place = f"IPv{way.family} leaves by {gateway.address} dev {gateway.interface}"
    if gateway.state in _UNRESOLVED or gateway.poked is Poked.FROM_SELF:
        return Check(
            name="route",
            outcome=Outcome.FAIL,
            summary=f"{place}, which does not answer ARP/ND: every target beyond would be blocked",
            facts=facts,
            fix="Repair the gateway, its cable or VLAN, or correct its address in the default route.",
        )
    if gateway.poked is Poked.DENIED:
        return Check(
            name="route",
            outcome=Outcome.FAIL,
            summary=f"our own firewall refuses to send to {gateway.address} (EPERM)",
            facts=facts,
            fix=_DENIED_FIX,
        )
    return Check(name="route", outcome=Outcome.PASS, summary=f"{place}, {_gateway_word(gateway)}", facts=facts)


def _gateway_word(gateway: Gateway) -> str:
    if gateway.poked in _ALIVE:
        return "which answers"
    match gateway.state:
        case NeighbourState.REACHABLE:
            return "whose hardware address was confirmed just now"
        case NeighbourState.PERMANENT:
            return "whose hardware address is written by hand and never checked"
        case None | NeighbourState.NONE:
            return "to which nothing was sent lately"
        case _:
            return f"whose hardware address is known, not confirmed lately ({gateway.state})"


def resolvers(asked: Sequence[Resolver]) -> tuple[Check, ...]:
    """One check for each nameserver; silence spoils a scan only when nobody answers."""
    lost = [one.reply is not None and one.reply.rcode is None for one in asked]
    return tuple(_resolver(one, all(lost)) for one in asked)


def _resolver(one: Resolver, alone: bool) -> Check:
    reply = one.reply
    facts: dict[str, object] = {"server": one.server, "question": ". NS"}
    if reply is None:
        summary = f"{one.server} was not asked (--offline)"
        return Check(name="resolver", outcome=Outcome.SKIPPED, summary=summary, facts={"server": one.server})
    facts.update(duration_ms=round(reply.duration_ms, 3))
    if reply.rcode is None:
        if reply.fault is not None and reply.fault.errno_name is not None:
            facts.update(errno_name=reply.fault.errno_name)
        after = "nobody is left, so no name can be resolved" if alone else "others answer, but later"
        return Check(
            name="resolver",
            outcome=Outcome.FAIL if alone else Outcome.WARN,
            summary=f"{one.server} {_lost(reply)}: {after}",
            facts=facts,
            fix=_DENIED_FIX if _denied(reply) else _LOST_FIX,
        )
    facts.update(rcode=reply.rcode)
    took = f"in {reply.duration_ms:.1f} ms"
    if reply.rcode != "NOERROR":
        return Check(
            name="resolver",
            outcome=Outcome.WARN,
            summary=f"{one.server} is alive, and answers {reply.rcode} to `. NS` {took}: it may refuse us",
            facts=facts,
            fix=f"Ask it for a name (`dig @{one.server.rpartition(':')[0].strip('[]')} example.com`); "
            "if it refuses, allow this machine there.",
        )
    if reply.duration_ms > _SLOW_MS:
        return Check(
            name="resolver",
            outcome=Outcome.WARN,
            summary=f"{one.server} answers, but only {took}: names will be slow",
            facts=facts,
            fix="Find out why the resolver is slow, or name a nearer one with --resolver.",
        )
    return Check(name="resolver", outcome=Outcome.PASS, summary=f"{one.server} answers {took}", facts=facts)


def _lost(reply: DnsReply) -> str:
    fault = reply.fault
    if _denied(reply):
        return "cannot be asked, as our own firewall refuses (EPERM)"
    if fault is None or fault.event is Event.SILENT:
        return f"is silent for {reply.duration_ms / 1000:.1f} s"
    return f"does not answer ({fault.errno_name or fault.event})"


def _denied(reply: DnsReply) -> bool:
    return reply.fault is not None and reply.fault.errno_name == "EPERM"
