"""Codes of the transport layer: refused, rejected, silent, reset, closed and stalled are six stories."""

from __future__ import annotations

from typing import Final

from fleetprobe.codes.boxes import Box
from fleetprobe.codes.code import Code, Severity
from fleetprobe.codes.command import CAPTURE, CONNECT, LISTENER, PATH, PING, SOCKETS
from fleetprobe.model.verdict import State

_PACED: Final = "ss -tnoi dst {address}:{port}"

TCP_CODES: Final = (
    Code(
        name="tcp.refused", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="The host answered our SYN with RST at once: it is up, and nothing listens on this port.",
        boxes=(Box.HOST, Box.BALANCER, Box.FIREWALL),
        evidence="ECONNREFUSED with an empty error queue, after about one round trip.",
        not_this=(
            "a firewall that drops packets (tcp.filtered): that is silent, this was answered",
            "a host that is down (ip.host_silent): something at this address answered",
            "a certificate or TLS fault (tls.alert): no connection was made, so no TLS was spoken",
        ),
        could_also_be=("tcp.rejected",),
        fix="Start the service, or correct the port or the address it listens on.",
        confirm=(CONNECT, LISTENER),
        proves=("ip",),
    ),
    Code(
        name="tcp.rejected", severity=Severity.FAIL, state=State.FAIL, osi="L3/4", emitted=True,
        meaning="A firewall rule rejected the connection aloud: with ICMP port unreachable, "
        "or with a RST from a box nearer than the host. The facts say by whom.",
        boxes=(Box.FIREWALL, Box.HOST, Box.ROUTER),
        evidence="ICMP port unreachable (3/3, v6 1/4) on the error queue, "
        "or a RST at a hop limit that ends before the host.",
        not_this=(
            "a port where nothing listens (tcp.refused): a kernel answers that with RST from the host itself",
            "a firewall that drops packets (tcp.filtered): that is silent, this was answered",
            "proof that the host is down: a rule answered before any service could",
        ),
        could_also_be=(),
        fix="Allow this source and port in the rules of the box that answered.",
        confirm=(CONNECT, CAPTURE, PATH),
        proves=("link",),
    ),
    Code(
        name="tcp.timeout", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="Nothing answered our SYNs: packets are dropped "
        "on the way there or back, or the host is down.",
        boxes=(Box.FIREWALL, Box.HOST, Box.ROUTER, Box.NAT, Box.BALANCER, Box.SERVER),
        evidence="At least two connects, each past a retransmitted SYN, "
        "with no reply and an empty error queue.",
        not_this=(
            "a closed port (tcp.refused): a closed port on a live host answers at once",
            "a fault in TLS or the application (tls.no_answer): no connection was made",
        ),
        could_also_be=("tcp.filtered", "ip.host_silent", "ip.path_dies", "tcp.new_flows_dropped",
                       "tcp.flow_dependent", "local.send_denied", "local.conntrack_full"),
        fix="Find where the packets end: capture on the host, "
        "then check security groups, firewalls and the way back.",
        confirm=(CONNECT, PATH, PING, CAPTURE),
    ),
    Code(
        name="tcp.filtered", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="The host is alive, and only this port is silent: "
        "a rule drops it, or its accept queue is full.",
        boxes=(Box.FIREWALL, Box.HOST, Box.SERVER),
        evidence="This port silent twice, while another port or protocol of the same address answered.",
        not_this=(
            "a host that is down (ip.host_silent): it answered on something else",
            "a closed port (tcp.refused): a closed port answers with RST",
            "a missing route (ip.path_dies): packets to this host arrive",
        ),
        could_also_be=("tcp.flow_dependent", "tcp.new_flows_dropped"),
        fix="Allow this port in the host's firewall and security group; "
        "if they do, look at the accept queue.",
        confirm=(CONNECT, PATH, LISTENER, "ssh {host} nstat -az TcpExtListenOverflows"),
        proves=("ip",),
    ),
    Code(
        name="tcp.reset", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="An established connection was killed by RST. "
        "The facts name the phase and the bytes before it.",
        boxes=(Box.SERVER, Box.HOST, Box.FIREWALL, Box.NAT, Box.BALANCER, Box.INSPECTOR),
        evidence="ECONNRESET after the TCP handshake, with phase, bytes in and out, and elapsed time.",
        not_this=(
            "a refused connection (tcp.refused): this one had been accepted",
            "a firewall that drops packets (tcp.filtered): that is silent, this was answered",
            "an HTTP error (http.status): no complete answer came",
        ),
        could_also_be=("tcp.closed", "tcp.idle_evicted", "tcp.flow_dependent"),
        fix="Read the server's log at this time for a crash or a refusal; "
        "if it saw none, look at boxes between.",
        confirm=(CAPTURE, CONNECT),
        proves=("ip",),
    ),
    Code(
        name="tcp.closed", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="The server accepted the connection and closed it in good order without sending a byte.",
        boxes=(Box.SERVER, Box.BALANCER, Box.INSPECTOR),
        evidence="End of stream after the TCP handshake with zero bytes received, where bytes were due.",
        not_this=(
            "a refused connection (tcp.refused): this one had been accepted",
            "a crash on the wire (tcp.reset): the close was orderly",
            "a cut answer (http.truncated): not one byte of an answer came",
        ),
        could_also_be=("app.protocol_mismatch",),
        fix="Check who may connect and what the server expects first; "
        "a balancer without a backend closes so too.",
        confirm=(CONNECT, CAPTURE),
        proves=("ip",),
    ),
    Code(
        name="tcp.stalled", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="The connection stands, but data stopped moving: "
        "ours is not acknowledged, or a body stopped midway.",
        boxes=(Box.FIREWALL, Box.NAT, Box.BALANCER, Box.TUNNEL, Box.ROUTER, Box.HOST, Box.SERVER),
        evidence="Silence until the deadline with our bytes unacknowledged and retransmitted, or mid-body.",
        not_this=(
            "a closed port (tcp.refused): the TCP handshake succeeded",
            "a server that closed (tcp.closed): no end of stream came",
            "a slow answer (http.slow): a slow server still acknowledges and, once it sends, goes on",
        ),
        could_also_be=("mtu.black_hole", "tcp.flow_dependent", "tcp.idle_evicted"),
        fix="Test the path with small segments, "
        "then look for a box that lost the flow, or a full accept queue.",
        confirm=(_PACED, CAPTURE, PATH),
        proves=("ip",),
    ),
    Code(
        name="tcp.flow_dependent", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="The outcome depends on the source port: "
        "one member of a bundle, route set or pool is broken.",
        boxes=(Box.ROUTER, Box.SWITCH, Box.BALANCER, Box.NAT, Box.BACKEND),
        evidence="Per source port the same outcome each time, "
        "over several ports that fail and several that work.",
        not_this=(
            "random loss, where it is proven: the same source ports fail each time",
            "a host that is down (ip.host_silent): other flows to it work",
        ),
        could_also_be=(),
        fix="Find the broken member of the ECMP set, link bundle or balancer pool and take it out.",
        confirm=("nc -vz -w 5 -p 40001 {address} {port}", "nc -vz -w 5 -p 40002 {address} {port}",
                 "nc -vz -w 5 -p 40003 {address} {port}"),
        proves=("ip",),
    ),
    Code(
        name="tcp.idle_evicted", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=False,
        meaning="The connection dies only after it was idle: a NAT or firewall forgot it.",
        boxes=(Box.NAT, Box.FIREWALL, Box.BALANCER),
        evidence="A held connection that works after a short idle time and fails after a longer one, twice.",
        not_this=(
            "a crash of the server (tcp.reset): the same connection lives on when it is kept busy",
            "a random flake (tcp.flow_dependent): the idle time decides",
        ),
        could_also_be=(),
        fix="Set TCP keepalive below the idle time in the facts, or raise the idle timeout of the box.",
        confirm=(_PACED, "sysctl net.ipv4.tcp_keepalive_time"),
        fix_commands=("sudo sysctl -w net.ipv4.tcp_keepalive_time=120",),
        proves=("ip",),
    ),
    Code(
        name="tcp.new_flows_dropped", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=True,
        meaning="Connections that stand go on working while new ones are dropped: "
        "a state table on the path is full.",
        boxes=(Box.FIREWALL, Box.NAT, Box.BALANCER, Box.HOST),
        evidence="A held connection that still carries data while new SYNs to the same port stay unanswered.",
        not_this=(
            "a server that is down (ip.host_silent): it serves the connections it has",
            "a closed port (tcp.refused): new SYNs are not answered at all",
            "our own table (local.conntrack_full): it was read and has room",
        ),
        could_also_be=(),
        fix="Check the connection-tracking table and connection "
        "limits of the firewall or NAT before the host.",
        confirm=(CONNECT, SOCKETS,
                 "ssh {host} sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"),
        proves=("ip",),
    ),
    Code(
        name="tcp.unexpectedly_open", severity=Severity.FAIL, state=State.FAIL, osi="L4", emitted=False,
        meaning="The inventory says this port must be closed, and it accepts connections.",
        boxes=(Box.SERVER, Box.FIREWALL, Box.BALANCER),
        evidence="A completed TCP handshake on a port whose expectation is closed.",
        not_this=("a network fault (tcp.timeout): the connection works, and that is what is wrong",),
        could_also_be=(),
        fix="Stop the service or close the port, or correct the expectation in the inventory.",
        confirm=(CONNECT, LISTENER),
        proves=("ip",),
    ),
    Code(
        name="tcp.slow", severity=Severity.SLOW, state=State.SLOW, osi="L4", emitted=True,
        meaning="The connection stands, but each round trip to this host takes long. "
        "Every layer above pays it again.",
        boxes=(Box.ROUTER, Box.TUNNEL, Box.FIREWALL, Box.HOST),
        evidence="The kernel's smoothed RTT above its threshold, measured while our own loop kept time.",
        not_this=(
            "a slow application (http.slow): the kernel answers the handshake, not the application",
            "slow name resolution (dns.slow): the time is counted from the first SYN",
        ),
        could_also_be=(),
        fix="Look for distance, a detour or a full queue on the path; "
        "move the service closer or save round trips.",
        confirm=(PATH, PING),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tcp.syn_retransmit", severity=Severity.SLOW, state=State.SLOW, osi="L4", emitted=True,
        meaning="The connection stands only after a SYN was sent again, which costs a second or more.",
        boxes=(Box.ROUTER, Box.FIREWALL, Box.TUNNEL, Box.HOST, Box.SERVER, Box.NAT),
        evidence="The kernel counts at least one retransmitted SYN on a connect that succeeded.",
        not_this=(
            "a slow server (http.slow): the time passed before the connection stood",
            "a port that drops us (tcp.timeout): the connection stood in the end",
        ),
        could_also_be=("tcp.slow", "tcp.flow_dependent"),
        fix="Look for loss on the path or an overflowing accept queue on the host.",
        confirm=(PATH, "ssh {host} nstat -az TcpExtListenOverflows TcpExtListenDrops"),
        proves=("ip", "tcp"),
    ),
    Code(
        name="tcp.icmp_filtered", severity=Severity.INFO, state=State.OK, osi="L3", emitted=False,
        meaning="The host does not answer ping, and TCP works: somebody drops ICMP on purpose.",
        boxes=(Box.FIREWALL, Box.HOST, Box.ROUTER),
        evidence="No echo reply to repeated requests beside a TCP connection that works.",
        not_this=(
            "a host that is down (ip.host_silent): it serves TCP",
            "packet loss (tcp.syn_retransmit): TCP to the same address passes",
        ),
        could_also_be=(),
        fix="Leave it if it is policy, but let ICMP 3/4 and ICMPv6 type 2 through, "
        "or path MTU discovery breaks.",
        confirm=(PING, CONNECT),
        proves=("ip", "tcp"),
    ),
)
