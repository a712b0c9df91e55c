"""Codes of the network layer: our routes, what routers said, and where the path ends."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import CONNECT, PATH, PING, ROUTE
from fleetprobe.model.verdict import State

_TRACE: Final = "tracepath -n {address}"

IP_CODES: Final = (
    Code(
        name="ip.no_route", severity=Severity.FAIL, state=State.BLOCKED, osi="L3", emitted=True,
        meaning="This machine's table has routes, but none that covers this destination. No packet was sent.",
        boxes=(Box.OWN,),
        evidence="ENETUNREACH at once with an empty error queue, and a route lookup that finds nothing.",
        not_this=(
            "a router without a route (ip.net_unreachable): our own kernel said so and no packet left",
            "a dead host (ip.host_silent): it was not asked",
        ),
        could_also_be=(),
        fix="Add a route to this destination, or a default route, on this machine.",
        confirm=(ROUTE, "ip -{family} route show"),
    ),
    Code(
        name="ip.route_rejected", severity=Severity.FAIL, state=State.BLOCKED, osi="L3", emitted=True,
        meaning="This machine's own table holds an unreachable, "
        "prohibit or blackhole route for this destination.",
        boxes=(Box.OWN,),
        evidence="EHOSTUNREACH, EACCES or EINVAL at once with an empty error queue, "
        "and that type of route found.",
        not_this=(
            "a firewall on the path (ip.admin_prohibited): no packet left this machine",
            "a dead host (ip.host_silent): it was not asked",
        ),
        could_also_be=("local.send_denied",),
        fix="Take the rejecting route out of this machine's table, or leave it if it is meant.",
        confirm=(ROUTE, "ip -{family} route show table all type unreachable",
                 "ip -{family} route show table all type prohibit",
                 "ip -{family} route show table all type blackhole", "ip -{family} rule show"),
    ),
    Code(
        name="ip.net_unreachable", severity=Severity.FAIL, state=State.FAIL, osi="L3", emitted=True,
        meaning="A router on the path said that it has no route to the target's network.",
        boxes=(Box.ROUTER, Box.GATEWAY, Box.FIREWALL),
        evidence="ICMP net unreachable (3/0, v6 1/0) from an address that is not ours, quoting our packet; "
        "inferred for a silent address when it quoted those to two neighbours.",
        not_this=(
            "a route missing on this machine (ip.no_route): the message came from the router in the facts",
            "a closed port (tcp.refused): the packet never reached the host",
            "a firewall that drops packets (tcp.filtered): that says nothing, here a router named what it lacks",
        ),
        could_also_be=(),
        fix="Restore the route to the target's network on the router that the facts name.",
        confirm=(_TRACE, PATH, ROUTE),
        proves=("link",),
    ),
    Code(
        name="ip.host_unreachable", severity=Severity.FAIL, state=State.FAIL, osi="L3", emitted=True,
        meaning="A router said that it cannot deliver to this host, "
        "usually because the host does not answer its ARP or neighbour discovery.",
        boxes=(Box.ROUTER, Box.FIREWALL, Box.HOST),
        evidence="ICMP host unreachable (3/1, v6 1/3) from an address that is not ours, quoting our packet.",
        not_this=(
            "a closed port (tcp.refused): the packet was not delivered to any port",
            "a neighbour missing on our own segment (link.neighbour_unresolved): another router sent this",
            "a dead gateway of ours (vantage.gateway_unreachable): the message came through it",
        ),
        could_also_be=("ip.admin_prohibited",),
        fix="Start the host or correct its address and VLAN; "
        "if the answer came within one round trip, look for a reject rule.",
        confirm=(_TRACE, PATH, PING),
        proves=("link",),
    ),
    Code(
        name="ip.admin_prohibited", severity=Severity.FAIL, state=State.FAIL, osi="L3", emitted=True,
        meaning="A firewall or router said that policy forbids this traffic. The facts name who said it.",
        boxes=(Box.FIREWALL, Box.ROUTER, Box.HOST),
        evidence="ICMP prohibited (3/9, 3/10, 3/13; v6 1/1, 1/5, 1/6) from an address that is not ours; "
        "inferred for a silent address when it came for the same port of two neighbours.",
        not_this=(
            "a closed port (tcp.refused): a rule answered, whatever listens behind it",
            "proof that the host is down: the message says forbidden, and nothing about the host",
            "our own firewall (local.send_denied): the sender is not this machine",
        ),
        could_also_be=(),
        fix="Ask the owner of the box in the facts to allow this source, address and port.",
        confirm=(CONNECT, PATH, _TRACE),
        proves=("link",),
    ),
    Code(
        name="ip.routing_loop", severity=Severity.FAIL, state=State.FAIL, osi="L3", emitted=True,
        meaning="The packet used up its whole hop limit: routers pass it around in a circle.",
        boxes=(Box.ROUTER, Box.GATEWAY),
        evidence="ICMP time exceeded in transit (11/0, "
        "v6 3/0) for a packet that left with the full hop limit.",
        not_this=(
            "a dead host (ip.host_silent): the packet never came near it",
            "a firewall that drops packets (tcp.filtered): a router reported the loss, and why",
        ),
        could_also_be=(),
        fix="Correct the routes between the routers that repeat in the trace.",
        confirm=("mtr -n -r -c 3 {address}", _TRACE),
        proves=("link",),
    ),
    Code(
        name="ip.path_dies", severity=Severity.FAIL, state=State.FAIL, osi="L3", emitted=True,
        meaning="Routers answer up to the hop the facts name; behind it nothing answers at all.",
        boxes=(Box.ROUTER, Box.FIREWALL, Box.TUNNEL, Box.HOST),
        evidence="A walk by hop limit with a last answering hop short of the target, "
        "repeated, on several ports.",
        not_this=(
            "a closed port (tcp.refused): a closed port on a live host answers at once",
            "a dead gateway of ours (vantage.gateway_unreachable): it passed our packets on",
        ),
        could_also_be=("ip.host_silent", "tcp.filtered"),
        fix="Look at the first router or firewall behind the last answering hop: "
        "its route onward and its rules.",
        confirm=(PATH, _TRACE),
        proves=("link",),
    ),
    Code(
        name="ip.host_silent", severity=Severity.FAIL, state=State.FAIL, osi="L3", emitted=True,
        meaning="The host gave no answer of any kind on any port or to a ping. "
        "It is down, or all is dropped.",
        boxes=(Box.HOST, Box.FIREWALL, Box.ROUTER),
        evidence="Several ports and protocols tried twice without one reply, "
        "while this vantage's controls pass.",
        not_this=(
            "a closed port (tcp.refused): a live host answers a closed port with a reset",
            "a fault of this vantage (vantage.no_egress): its controls pass",
        ),
        could_also_be=("tcp.filtered", "ip.path_dies"),
        fix="Check that the host runs, then its firewall and every rule between; "
        "from here they look the same.",
        confirm=(PING, CONNECT, PATH),
    ),
    Code(
        name="ip.v4_only_broken", severity=Severity.WARN, state=State.OK, osi="L3", emitted=True,
        meaning="Only IPv4 is broken: every IPv4 address of this name fails and IPv6 works.",
        boxes=(Box.HOST, Box.FIREWALL, Box.ROUTER, Box.NAT),
        evidence="Each address dialled by itself, and this vantage's IPv4 proven to work.",
        not_this=(
            "a fault in DNS (dns.servfail): both address records were answered",
            "missing IPv4 here (vantage.no_route): the control over IPv4 passes",
        ),
        could_also_be=("ip.address_partial",),
        fix="Repair the service, rule or route for IPv4, or withdraw the A record.",
        confirm=("nc -4 -vz -w 5 {name} {port}", "nc -6 -vz -w 5 {name} {port}"),
        proves=("ip",),
    ),
    Code(
        name="ip.v6_only_broken", severity=Severity.WARN, state=State.OK, osi="L3", emitted=True,
        meaning="Only IPv6 is broken: every IPv6 address of this name fails and IPv4 works. "
        "Clients that try IPv6 first lose time on each connection.",
        boxes=(Box.HOST, Box.FIREWALL, Box.ROUTER),
        evidence="Each address dialled by itself, and this vantage's IPv6 proven to work.",
        not_this=(
            "a fault in DNS (dns.servfail): both address records were answered",
            "missing IPv6 here (vantage.no_route): the control over IPv6 passes",
        ),
        could_also_be=("ip.address_partial",),
        fix="Repair the service, rule or route for IPv6, or withdraw the AAAA record.",
        confirm=("nc -6 -vz -w 5 {name} {port}", "nc -4 -vz -w 5 {name} {port}"),
        proves=("ip",),
    ),
    Code(
        name="ip.address_partial", severity=Severity.WARN, state=State.OK, osi="L3/4", emitted=True,
        meaning="Some addresses of this name work and some do not. Which one a client meets is chance.",
        boxes=(Box.HOST, Box.BALANCER, Box.FIREWALL, Box.ROUTER, Box.SERVER),
        evidence="Each address dialled by itself: at least one that works and one that fails, both listed.",
        not_this=(
            "a service that is down: at least one address serves",
            "a fault in DNS (dns.servfail): the addresses were answered, and each was dialled by itself",
        ),
        could_also_be=("ip.v4_only_broken", "ip.v6_only_broken", "tcp.flow_dependent"),
        fix="Repair the addresses that fail, or take them out of the name.",
        confirm=("dig +short {name} A", "dig +short {name} AAAA", CONNECT),
        proves=("ip",),
    ),
)
