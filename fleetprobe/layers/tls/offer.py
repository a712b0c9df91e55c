"""What our ClientHello offers to a target."""

from __future__ import annotations

from fleetprobe.layers.tls.names import address_of
from fleetprobe.model.target import Target
from fleetprobe.net.handshake import Hello


def asked_name(target: Target) -> str:
    """The name or address that the certificate must cover."""
    return (target.sni or target.host).rstrip(".")


def offer(target: Target) -> Hello:
    """The hello of the climb."""
    asked = asked_name(target)
    return Hello(
        server_name=None if address_of(asked) else asked,
        # A server of another protocol may refuse an offer of HTTP (RFC 7301 §3.2), so only https makes it.
        alpn=("http/1.1",) if target.service == "https" else (),
        ca_file=target.ca_file,
    )
