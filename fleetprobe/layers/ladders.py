"""The registry: which rungs each service climbs, ground first. One screen, nothing hidden."""

from __future__ import annotations

from fleetprobe.layer import Ladder
from fleetprobe.layers import app, dns, ip, link, tcp
from fleetprobe.layers.http import layer as http
from fleetprobe.layers.tls import layer as tls
from fleetprobe.model.target import Target

LADDERS: dict[str, Ladder] = {
    "tcp": (dns.LAYER, link.LAYER, ip.LAYER, tcp.LAYER),
    "tls": (dns.LAYER, link.LAYER, ip.LAYER, tcp.LAYER, tls.LAYER),
    "https": (dns.LAYER, link.LAYER, ip.LAYER, tcp.LAYER, tls.LAYER, http.LAYER),
    "http": (dns.LAYER, link.LAYER, ip.LAYER, tcp.LAYER, http.LAYER),
    "ssh": (dns.LAYER, link.LAYER, ip.LAYER, tcp.LAYER, app.LAYER),
    "banner": (dns.LAYER, link.LAYER, ip.LAYER, tcp.LAYER, app.LAYER),
}

_WITHOUT_NAMES: dict[str, Ladder] = {
    service: tuple(layer for layer in ladder if layer.per_address) for service, ladder in LADDERS.items()
}


def ladder_of(target: Target) -> Ladder:
    """The ladder of a target; a literal address has no name to resolve."""
    return (_WITHOUT_NAMES if target.is_literal else LADDERS)[target.service]
