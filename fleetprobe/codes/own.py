"""Codes about ourselves: the inventory, the policy, this machine and its place; never a target's fault."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import CONNECT, NEIGHBOUR, PING, ROUTE
from fleetprobe.model.verdict import State

_INPUT: Final = (
    Code(
        name="input.invalid", severity=Severity.FAIL, state=State.UNKNOWN, osi="-", emitted=True,
        meaning="The inventory line names no target that could be probed. Nothing was sent.",
        boxes=(Box.SCAN,),
        evidence="The file, the line number, the text as read and the rule it breaks.",
        not_this=("a target that is down (tcp.timeout): no packet was sent, so nothing is known about it",),
        could_also_be=(),
        fix="Correct the inventory line named in the source; "
        "host:port, [v6]:port or scheme://host is understood.",
        confirm=(),
    ),
)

_POLICY: Final = (
    Code(
        name="policy.denied", severity=Severity.FAIL, state=State.BLOCKED, osi="-", emitted=True,
        meaning="The allow and deny rules of this scan forbid the address. Nothing was sent to it.",
        boxes=(Box.SCAN,),
        evidence="The final socket address and the rule that matched it.",
        not_this=(
            "a firewall that prohibits us (ip.admin_prohibited): the rule is our own and no packet left",
            "a target that is down (tcp.timeout): it was not asked",
        ),
        could_also_be=(),
        fix="Leave it so, or widen --allow / narrow --deny if this address is meant to be scanned.",
        confirm=("fleetprobe scan --dry-run {service}://{host}:{port}",),
    ),
)

_LOCAL: Final = (
    Code(
        name="local.fd_limit", severity=Severity.FAIL, state=State.UNKNOWN, osi="-", emitted=True,
        meaning="This process, or this machine, has no file descriptor left for another socket.",
        boxes=(Box.OWN,),
        evidence="EMFILE or ENFILE from socket() or from opening a file, with the limit in force.",
        not_this=("a target that is down (tcp.timeout): the socket was never made, so nothing was asked",),
        could_also_be=(),
        fix="Raise the limit on open files, or lower --concurrency.",
        confirm=("ulimit -Sn", "ulimit -Hn", "cat /proc/sys/fs/file-nr"),
        fix_commands=('ulimit -Sn "$(ulimit -Hn)"',),
    ),
    Code(
        name="local.ports_exhausted", severity=Severity.FAIL, state=State.UNKNOWN, osi="L4", emitted=True,
        meaning="Every local port that could form a new 5-tuple "
        "with this destination is in use on this machine.",
        boxes=(Box.OWN,),
        evidence="EADDRNOTAVAIL from connect() while the source address exists, with the local port range.",
        not_this=(
            "a closed port (tcp.refused): the kernel refused us a source port, the target was not asked",
            "a machine without an address (vantage.no_address): the address is there, the ports are gone",
        ),
        could_also_be=(),
        fix="Lower --per-host or --concurrency, or widen the local port range of this machine.",
        confirm=("sysctl net.ipv4.ip_local_port_range", "ss -s",
                 "ss -Htan state time-wait dst {address}:{port} | wc -l"),
        fix_commands=('sudo sysctl -w net.ipv4.ip_local_port_range="15000 64999"',),
    ),
    Code(
        name="local.conntrack_full", severity=Severity.FAIL, state=State.UNKNOWN, osi="L3/4", emitted=True,
        meaning="The connection-tracking table of this machine is full, "
        "so it drops new flows and keeps old ones.",
        boxes=(Box.OWN,),
        evidence="At least 95 % of nf_conntrack_max in use while new flows were lost.",
        not_this=("a filtered port (tcp.filtered): the packets were dropped here, before the first hop",),
        could_also_be=("tcp.new_flows_dropped",),
        fix="Lower --rate, or raise nf_conntrack_max on this machine.",
        confirm=("sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max",),
        fix_commands=(
            ("sudo sysctl -w "
             "net.netfilter.nf_conntrack_max=$(($(sysctl -n net.netfilter.nf_conntrack_max) * 2))"),
        ),
    ),
    Code(
        name="local.send_denied", severity=Severity.FAIL, state=State.UNKNOWN, osi="L3", emitted=True,
        meaning="This machine's own firewall or security policy refused to send the packet.",
        boxes=(Box.OWN,),
        evidence="EPERM or EACCES from a send, or an ICMP prohibition "
        "whose sender is one of our own addresses.",
        not_this=(
            "a firewall on the path (ip.admin_prohibited): the refusal carries our own address or none",
            "a closed port (tcp.refused): the packet never left",
        ),
        could_also_be=("ip.route_rejected",),
        fix="Allow the traffic in this machine's output rules, or scan from a machine that may send it.",
        confirm=("sudo nft list ruleset", "ip rule show", ROUTE),
    ),
    Code(
        name="local.message_too_long", severity=Severity.FAIL, state=State.UNKNOWN, osi="L3", emitted=False,
        meaning="This machine refused the packet as larger than its own link or a path MTU it has cached.",
        boxes=(Box.OWN,),
        evidence="EMSGSIZE whose origin is local, with the MTU of the link and of the route.",
        not_this=("a black hole on the path (mtu.black_hole): the packet was refused here, and aloud",),
        could_also_be=("mtu.reduced",),
        fix="Set the right MTU on this machine's link, or clear the cached path MTU.",
        confirm=(ROUTE, "ip link show"),
        fix_commands=("sudo ip -{family} route flush cache",),
    ),
    Code(
        name="local.overload", severity=Severity.FAIL, state=State.UNKNOWN, osi="-", emitted=True,
        meaning="This process was too busy to watch the target: the silence or the delay may be its own.",
        boxes=(Box.OWN,),
        evidence="Loop lag or queue wait above the share of the phase that a fair measurement allows.",
        not_this=(
            "a target that times out (tcp.timeout): we may not have been listening when it answered",
            "a slow server (http.slow): our own delay is in the figure",
        ),
        could_also_be=(),
        fix="Lower --concurrency or --rate, or give this machine more CPU, and scan these targets again.",
        confirm=("uptime", "cat /proc/pressure/cpu"),
    ),
    Code(
        name="local.clock_skew", severity=Severity.FAIL, state=State.UNKNOWN, osi="-", emitted=True,
        meaning="The clock of this machine is wrong, so certificate dates cannot be judged here.",
        boxes=(Box.OWN,),
        evidence="At least two independent sources of time that "
        "disagree with our clock in the same direction.",
        not_this=("an expired certificate (tls.expired): the dates were compared with a wrong clock",),
        could_also_be=(),
        fix="Synchronise the clock of this machine, then scan again.",
        confirm=("timedatectl status", "date -u"),
        fix_commands=("sudo timedatectl set-ntp true",),
    ),
    Code(
        name="local.bug", severity=Severity.FAIL, state=State.UNKNOWN, osi="-", emitted=True,
        meaning="Our own program failed on this target. Nothing can be said about the network.",
        boxes=(Box.SCAN,),
        evidence="The exception and where it was raised.",
        not_this=("a fault of the target (tcp.timeout): our own program broke while asking",),
        could_also_be=(),
        fix="Report the bug with this record; the facts hold the exception.",
        confirm=("fleetprobe check {service}://{host}:{port}",),
    ),
)

_VANTAGE: Final = (
    Code(
        name="vantage.link_down", severity=Severity.FAIL, state=State.BLOCKED, osi="L1", emitted=True,
        meaning="The interface that leads to this target has no carrier or is switched off.",
        boxes=(Box.OWN, Box.SWITCH),
        evidence="The link flags of the interface the route names: not up, or no carrier.",
        not_this=("an outage of the targets (ip.host_silent): nothing can leave through this interface",),
        could_also_be=(),
        fix="Plug in or bring up the interface the facts name, then scan again.",
        confirm=("ip -br link show", ROUTE),
    ),
    Code(
        name="vantage.no_address", severity=Severity.FAIL, state=State.BLOCKED, osi="L3", emitted=False,
        meaning="This machine has no usable source address of the target's address family.",
        boxes=(Box.OWN,),
        evidence="No global address of the family on any interface that is up, "
        "or EADDRNOTAVAIL that ports do not explain.",
        not_this=("a broken target (ip.host_silent): we had no address to speak from",),
        could_also_be=(),
        fix="Give this machine an address of that family, or scan with the other --family.",
        confirm=("ip -{family} -br addr show scope global",),
    ),
    Code(
        name="vantage.no_route", severity=Severity.FAIL, state=State.BLOCKED, osi="L3", emitted=True,
        meaning="This machine has no usable route at all for the target's address family.",
        boxes=(Box.OWN,),
        evidence="ENETUNREACH at once with no packet sent, "
        "and a route table without any route off this machine.",
        not_this=(
            "a broken target or a broken family there (ip.v6_only_broken): we lack the family here",
            "a router that has no route (ip.net_unreachable): no packet reached a router",
        ),
        could_also_be=(),
        fix="Configure a default route for that family on this machine, or scan with the other --family.",
        confirm=("ip -{family} route show", ROUTE),
    ),
    Code(
        name="vantage.gateway_unreachable", severity=Severity.FAIL, state=State.BLOCKED, osi="L2/3",
        emitted=True,
        meaning="Our own next hop does not answer ARP or neighbour discovery, or is dead. "
        "Every target behind it is blocked by this one fault.",
        boxes=(Box.GATEWAY, Box.SWITCH, Box.OWN),
        evidence="Host unreachable with our own address as its sender for a target that is routed, "
        "or the next hop INCOMPLETE or FAILED after the attempt.",
        not_this=(
            "as many outages as there are targets (ip.host_silent): no packet got past the first hop",
            "a router that cannot find the host (ip.host_unreachable): the message is our own kernel's",
        ),
        could_also_be=(),
        fix="Repair the gateway, its cable or its VLAN, or correct the gateway address on this machine.",
        confirm=(ROUTE, "ip -{family} neigh show", "ip -{family} route show default"),
    ),
    Code(
        name="vantage.resolver_unreachable", severity=Severity.FAIL, state=State.BLOCKED, osi="L7",
        emitted=True,
        meaning="No resolver that this machine is configured to use answers any question.",
        boxes=(Box.RESOLVER, Box.OWN, Box.FIREWALL),
        evidence="Every configured resolver silent or unreachable, asked twice, for more than one name.",
        not_this=(
            "a name that does not exist (dns.nxdomain): nobody answered, so nobody denied it",
            "a dead target (ip.host_silent): its address was never learnt",
        ),
        could_also_be=("vantage.no_egress",),
        fix="Correct the nameservers in resolv.conf, repair the resolver, or name another with --resolver.",
        confirm=("cat /etc/resolv.conf", "dig {name}", "resolvectl status"),
    ),
    Code(
        name="vantage.no_egress", severity=Severity.FAIL, state=State.BLOCKED, osi="L3", emitted=False,
        meaning="The control targets outside fail as well: this place cannot reach the outside at all.",
        boxes=(Box.OWN, Box.GATEWAY, Box.FIREWALL),
        evidence="Every configured control target failed in the same minutes, while the gateway resolves.",
        not_this=("an outage of the targets (ip.host_silent): known-good controls failed beside them",),
        could_also_be=("local.send_denied",),
        fix="Restore this machine's way out: default route, egress rule, proxy or uplink.",
        confirm=("ip -{family} route show default", PING, CONNECT),
    ),
    Code(
        name="vantage.suspect", severity=Severity.FAIL, state=State.BLOCKED, osi="-", emitted=False,
        meaning="Targets began to fail together while we were scanning them; the scan may have provoked it.",
        boxes=(Box.OWN, Box.FIREWALL, Box.NAT),
        evidence="Failures in one prefix that begin after a number of our probes and end when we pause.",
        not_this=("so many outages at once (ip.host_silent): the same targets answered before and after",),
        could_also_be=("tcp.new_flows_dropped", "local.conntrack_full"),
        fix="Lower --rate and --per-prefix, ask for an exception for this scanner, then scan these again.",
        confirm=(CONNECT, NEIGHBOUR),
    ),
)

OWN_CODES: Final = (*_INPUT, *_POLICY, *_LOCAL, *_VANTAGE)
