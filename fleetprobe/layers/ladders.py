"""The registry: which rungs each service climbs, ground first. One screen, nothing hidden."""

from __future__ import annotations

from dataclasses import replace

from fleetprobe.layer import Ladder, Layer
from fleetprobe.layers import app, dns, ip, link, tcp
from fleetprobe.layers.http import layer as http
from fleetprobe.layers.mtu import judge as mtu
from fleetprobe.layers.mtu import ladder, path
from fleetprobe.layers.starttls import layer as starttls
from fleetprobe.layers.starttls.dialogues import DIALOGUES
from fleetprobe.layers.tls import default_certificate, large_hello, other_name, other_offer
from fleetprobe.layers.tls import layer as tls
from fleetprobe.model.target import Target


def _over_tcp(*upper: Layer) -> Ladder:
    """The common ground, and rungs above the connection, whose stalls are held against the size of the packets."""
    if not upper:
        return (dns.LAYER, link.LAYER, ip.LAYER, tcp.LAYER)
    # Asked before the ladder of sizes: they say something only where small segments make no difference. The length
    # comes first, as the others say short hellos.
    hello = (large_hello, other_name, other_offer, default_certificate) if tls.LAYER in upper else ()
    said = tuple(one.WITNESS for one in hello)
    witnesses = (*tcp.LAYER.witnesses, *said, ladder.witness(upper), path.witness(upper))
    questioned = replace(tcp.LAYER, witnesses=witnesses, emits=tcp.LAYER.emits | mtu.EMITS)
    return (dns.LAYER, link.LAYER, ip.LAYER, questioned, *upper)


LADDERS: dict[str, Ladder] = {
    "tcp": _over_tcp(),
    "tls": _over_tcp(tls.LAYER),
    "https": _over_tcp(tls.LAYER, http.LAYER),
    "http": _over_tcp(http.LAYER),
    "ssh": _over_tcp(app.LAYER),
    "banner": _over_tcp(app.LAYER),
    **dict.fromkeys(DIALOGUES, _over_tcp(starttls.LAYER)),
}

_WITHOUT_NAMES: dict[str, Ladder] = {
    service: tuple(layer for layer in ladder if layer.per_address) for service, ladder in LADDERS.items()
}


def ladder_of(target: Target) -> Ladder:
    """The ladder of a target; a literal address has no name to resolve."""
    return (_WITHOUT_NAMES if target.is_literal else LADDERS)[target.service]
