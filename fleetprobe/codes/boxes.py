"""The boxes that can cause a fault, each with the highest layer it reads: a box acts on what it opens."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never


class Box(StrEnum):
    """A device or program between us and the service, named the way a report names it."""

    SCAN = "the scan itself"
    OWN = "our own machine"
    SWITCH = "a switch or access point"
    GATEWAY = "our gateway"
    ROUTER = "a router on the path"
    TUNNEL = "a VPN or tunnel on the path"
    FIREWALL = "a firewall on the path"
    NAT = "a NAT on the path"
    BALANCER = "an L4 load balancer"
    INSPECTOR = "an inspecting middlebox"
    HOST = "the host"
    SERVER = "the server process"
    PROXY = "a reverse proxy"
    BACKEND = "the backend behind a proxy"
    RESOLVER = "our resolver"
    NAMESERVER = "the zone's nameservers"
    AUTHORITY = "the certificate authority"

    @property
    def reads_up_to(self) -> int:
        """The highest OSI layer (2 to 7) this box decapsulates; it can speak no layer above it."""
        match self:
            case Box.SWITCH:
                return 2
            case Box.GATEWAY | Box.ROUTER | Box.TUNNEL:
                return 3
            case Box.FIREWALL | Box.NAT | Box.BALANCER | Box.HOST:
                return 4
            case (
                Box.SCAN | Box.OWN | Box.INSPECTOR | Box.SERVER | Box.PROXY | Box.BACKEND
                | Box.RESOLVER | Box.NAMESERVER | Box.AUTHORITY
            ):
                return 7
            case _:
                assert_never(self)
