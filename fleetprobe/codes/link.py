"""Codes of the link layer: whether a neighbour on our own segment answers at all."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import NEIGHBOUR, ROUTE
from fleetprobe.model.verdict import State

LINK_CODES: Final = (
    Code(
        name="link.neighbour_unresolved", severity=Severity.FAIL, state=State.FAIL, osi="L2", emitted=True,
        meaning="The target is on our own segment and never answered ARP or neighbour discovery. "
        "It is off, elsewhere, or in another VLAN.",
        boxes=(Box.HOST, Box.SWITCH, Box.OWN),
        evidence="Host unreachable with our own address as its sender for an on-link target, "
        "or the neighbour entry INCOMPLETE or FAILED after the attempt.",
        not_this=(
            "a firewall that drops packets (tcp.filtered): a firewalled host still answers ARP",
            "a router's message (ip.host_unreachable): the sender is our own kernel",
            "a dead gateway (vantage.gateway_unreachable): traffic on one segment does not use it",
        ),
        could_also_be=(),
        fix="Power on the host, correct its address or VLAN, or correct this machine's prefix length.",
        confirm=(ROUTE, NEIGHBOUR, "ip -br addr show"),
    ),
    Code(
        name="link.mac_changed", severity=Severity.WARN, state=State.OK, osi="L2", emitted=False,
        meaning="The hardware address behind this IP address changed during the scan. "
        "Two machines may be claiming the address.",
        boxes=(Box.HOST, Box.SWITCH, Box.OWN),
        evidence="Two different link addresses for one neighbour in one run, with their times.",
        not_this=("an application that fails now and then (http.status): frames went to different machines",),
        could_also_be=(),
        fix="Find both hardware addresses on the switch and take the IP address from one; "
        "a failover pair is normal.",
        confirm=(NEIGHBOUR, "sudo arping -D -c 3 {address}"),
        proves=("link",),
    ),
)
