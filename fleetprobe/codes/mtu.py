"""Codes of the path MTU: small works and large does not, or would not if nobody had helped."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import GET, ROUTE, SOCKETS
from fleetprobe.model.verdict import State

# A ping of 1500 and of 1280 bytes on the wire: less 8 of ICMP and 20 (IPv4) or 40 (IPv6) of IP header,
# which is 1512-40 or 1512-60 once the family is filled in.
_DF_FULL: Final = "ping -{family} -M do -c 3 -s $((1512-{family}0)) {address}"
_DF_SMALL: Final = "ping -{family} -M do -c 3 -s $((1292-{family}0)) {address}"
_TRACE: Final = "tracepath -n {address}"
_CLAMP: Final = "sudo nft add rule inet filter forward tcp flags syn tcp option maxseg size set rt mtu"
_CLAMP_TO: Final = "sudo nft add rule inet filter forward tcp flags syn tcp option maxseg size set {mss}"
_CLAMP_TO_4: Final = "sudo iptables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss {mss4}"
_CLAMP_TO_6: Final = "sudo ip6tables -t mangle -A FORWARD -p tcp --tcp-flags SYN,RST SYN -j TCPMSS --set-mss {mss6}"
_ROUTE_MTU: Final = "sudo ip route add {bare} via {gateway} dev {interface} mtu lock {mtu}"
_ROUTE_MTU_ON_LINK: Final = "sudo ip route add {bare} dev {link} mtu lock {mtu}"

MTU_CODES: Final = (
    Code(
        name="mtu.black_hole", severity=Severity.FAIL, state=State.FAIL, osi="L3", emitted=True,
        meaning="Packets above a certain size vanish and nobody says so: "
        "small exchanges work and large ones hang.",
        boxes=(Box.FIREWALL, Box.TUNNEL, Box.ROUTER, Box.SWITCH, Box.HOST),
        evidence="The same exchange passes with a small segment size and stalls with a large one, "
        "both repeated; no message of too big seen.",
        not_this=(
            "an application fault (http.timeout): the same request is answered when its segments are small",
            "a broken TLS server (tls.no_answer): the same handshake ends when its segments are small",
            "a filtered port (tcp.filtered): small packets pass in both directions",
        ),
        could_also_be=(),
        fix="Clamp the TCP MSS on the router at the narrow link, and let ICMP 3/4 and ICMPv6 type 2 pass.",
        confirm=(_DF_FULL, _DF_SMALL, SOCKETS, GET),
        fix_commands=(
            _CLAMP_TO,
            _CLAMP_TO_4,
            _CLAMP_TO_6,
            "sudo nft insert rule inet filter forward icmp type destination-unreachable accept",
            "sudo nft insert rule inet filter forward icmpv6 type packet-too-big accept",
            _ROUTE_MTU,
            _ROUTE_MTU_ON_LINK,
        ),
        proves=("ip", "tcp"),
    ),
    Code(
        name="mtu.reduced", severity=Severity.INFO, state=State.OK, osi="L3", emitted=True,
        meaning="The path carries smaller packets than our link, and path MTU discovery works as it should.",
        boxes=(Box.TUNNEL, Box.ROUTER),
        evidence="An ICMP message of too big with its sender and size, or a path MTU the kernel learnt.",
        not_this=("a black hole (mtu.black_hole): a router reported the size and the exchange went on",),
        could_also_be=("mtu.clamped",),
        fix="Leave it as it is, and remember the size when a tunnel is added to this path.",
        confirm=(ROUTE, _TRACE),
        proves=("ip", "tcp", "mtu"),
    ),
    Code(
        name="mtu.clamped", severity=Severity.INFO, state=State.OK, osi="L4", emitted=True,
        meaning="The agreed segment size is smaller than our link allows: "
        "a box rewrites it, or the peer's MTU is small.",
        boxes=(Box.FIREWALL, Box.TUNNEL, Box.ROUTER, Box.HOST),
        evidence="The segment size right after the handshake beside the one our link MTU allows.",
        not_this=("a fault (mtu.black_hole): TCP keeps below the limit from its first segment",),
        could_also_be=("mtu.reduced",),
        fix="Leave it for TCP; test UDP and QUIC separately, because nobody clamps those.",
        confirm=(SOCKETS, _DF_FULL),
        proves=("ip", "tcp"),
    ),
    Code(
        name="mtu.unproven", severity=Severity.INFO, state=State.OK, osi="L3", emitted=True,
        meaning="Whether full-size packets pass could not be measured here; "
        "nothing so far says that they do not.",
        boxes=(Box.HOST, Box.FIREWALL),
        evidence="The reason: too few bytes exchanged, no answer to fall back on, or too much loss.",
        not_this=(
            "proof that large packets pass: no exchange was large enough to show it",
            "proof of a fault (tcp.stalled): nothing stalled",
        ),
        could_also_be=("mtu.black_hole", "mtu.masked"),
        fix="Fetch something larger than two segments in each direction, or scan with --mtu always.",
        confirm=(_DF_FULL, _TRACE),
    ),
    Code(
        name="mtu.ptb_ignored", severity=Severity.WARN, state=State.OK, osi="L3", emitted=False,
        meaning="A message of too big arrived, and the sender went on with packets that large.",
        boxes=(Box.HOST, Box.BALANCER, Box.FIREWALL),
        evidence="The message with its size, and later segments from the same sender above that size.",
        not_this=("a firewall that eats the messages (mtu.masked): one arrived",),
        could_also_be=("mtu.black_hole",),
        fix="Deliver the message to the machine that owns the flow (balancers lose it), "
        "or turn on tcp_mtu_probing.",
        confirm=(_TRACE, "sudo tcpdump -ni any icmp or icmp6", "ssh {host} sysctl net.ipv4.tcp_mtu_probing"),
        proves=("ip", "tcp"),
    ),
    Code(
        name="mtu.masked", severity=Severity.WARN, state=State.OK, osi="L3", emitted=True,
        meaning="The path has a black hole, and one end works "
        "around it after a stall of seconds per connection.",
        boxes=(Box.FIREWALL, Box.TUNNEL, Box.ROUTER, Box.SWITCH),
        evidence="Data that moves only after a stall of about three seconds, then in much smaller segments.",
        not_this=(
            "a slow server (http.slow): the delay is gone when the segments are small",
            "a healthy path (mtu.reduced): nobody reported the size",
        ),
        could_also_be=(),
        fix="Clamp the TCP MSS on the router at the narrow link, and let ICMP 3/4 and ICMPv6 type 2 pass.",
        confirm=(_DF_FULL, _DF_SMALL, SOCKETS),
        fix_commands=(_CLAMP,),
        proves=("ip", "tcp"),
    ),
)
