"""L4: the address accepts a connection on the port, or says no, or somebody on the way does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fleetprobe.layer import Ground, Layer, Witness, found, passed
from fleetprobe.layers import flows, icmp, origin, silence
from fleetprobe.layers.sockets import OWN_ERRNO, attempt_of, outcome, where
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.interface import Dial, Event, Fault, Icmp, Net, Route
from fleetprobe.net.witness import Neighbour, NeighbourState


@dataclass(frozen=True, slots=True)
class TcpFacts:
    """One connection attempt.

    | field | type | meaning |
    |---|---|---|
    | address, port | text, int | the far end |
    | local_address, local_port | text, int | our end |
    | event | text | connected, silent, reset or error |
    | errno_name | text | the kernel's errno, when it gave one |
    | icmp_type, icmp_code, icmp_from | int, int, text | the ICMP message that ended it, and its sender |
    | duration_ms | number | from SYN to the deciding event |
    | rtt_ms | number | the kernel's smoothed round trip (TCP_INFO) |
    | syn_retransmits | int | SYNs sent beyond the first |
    | mss_bytes | int | largest segment we may send |
    """

    dial: Dial
    route: Route | None
    neighbour: Neighbour | None = None
    """The next hop as the kernel knew it, when our own kernel gave up."""

    @property
    def started_s(self) -> float:
        """When the first SYN left; a twin that answers does not make the wait before it undone."""
        twin = self.dial.twin
        return self.dial.started_s if twin is None else min(self.dial.started_s, twin.started_s)

    @property
    def duration_ms(self) -> float:
        """From the first SYN to the deciding event, in milliseconds."""
        return (self.dial.ended_s - self.started_s) * 1000.0

    @property
    def syn_retransmits(self) -> int | None:
        """SYNs beyond the first, those of both attempts together."""
        one, twin = self.dial.syn_retransmits, self.dial.twin
        if one is None or twin is None:
            return one
        return one + 1 + (twin.syn_retransmits or 0)

    @property
    def silences(self) -> int:
        """How many attempts heard nothing to their end."""
        return sum(
            dial is not None and dial.fault is not None and dial.fault.event is Event.SILENT and not dial.fault.detail
            for dial in (self.dial, self.dial.twin)
        )

    def record(self) -> Mapping[str, Any]:
        """The facts as JSON-ready values."""
        dial, fault = self.dial, self.dial.fault
        icmp = fault.icmp if fault else None
        facts = {
            "address": dial.address.text,
            "port": dial.port,
            "local_address": dial.local_address,
            "local_port": dial.local_port,
            "event": str(fault.event) if fault else "connected",
            "errno_name": fault.errno_name if fault else None,
            "icmp_type": icmp.type if icmp else None,
            "icmp_code": icmp.code if icmp else None,
            "icmp_from": icmp.sender if icmp else None,
            "duration_ms": round(self.duration_ms, 3),
            "rtt_ms": dial.rtt_ms,
            "syn_retransmits": self.syn_retransmits,
            "mss_bytes": dial.mss_bytes,
            "twin_local_port": dial.twin.local_port if dial.twin else None,
            "twin_event": outcome(dial.twin.fault) if dial.twin else None,
        }
        return {name: value for name, value in facts.items() if value is not None}

    def columns(self) -> Mapping[str, Any]:
        """Columns of the result record."""
        dial, fault = self.dial, self.dial.fault
        icmp = fault.icmp if fault else None
        return {
            "network_peer_address": dial.address.text,
            "network_peer_port": dial.port,
            "network_local_address": dial.local_address,
            "network_local_port": dial.local_port,
            "network_type": f"ipv{dial.address.family}",
            "network_transport": "tcp",
            "tcp_rtt_ms": dial.rtt_ms,
            "tcp_syn_retransmits": self.syn_retransmits,
            "tcp_mss_bytes": dial.mss_bytes,
            "icmp_type": icmp.type if icmp else None,
            "icmp_code": icmp.code if icmp else None,
            "icmp_from": icmp.sender if icmp else None,
            "errno_name": fault.errno_name if fault else None,
        }


async def probe(ground: Ground, net: Net) -> TcpFacts:
    """Dial the address of this climb and leave the open stream on the ground."""
    assert ground.address is not None
    policy, port = ground.policy, ground.target.port
    again_s = policy.again_s if policy.witnesses and ground.handshakes_left > 1 else None
    until_s = ground.until(ground.connect_s, net.now())
    dial, ground.stream = await net.dial(ground.address, port, until_s, again_s=again_s, segments=ground.segments)
    if ground.stream is not None and ground.on_hole is not None:
        ground.stream.tell_hole(ground.on_hole)
    ground.attempts.append(attempt_of(dial, "climb"))
    if dial.twin is not None:
        ground.attempts.append(attempt_of(dial.twin, "again"))
    below = ground.facts.get("ip")
    route = below.route if below is not None else None
    return TcpFacts(dial, route, _next_hop(dial, route, net))


def _next_hop(dial: Dial, route: Route | None, net: Net) -> Neighbour | None:
    """Looked up only when our own kernel has given up on it."""
    icmp = dial.fault.icmp if dial.fault is not None else None
    if icmp is None or not icmp.from_self or route is None or route.interface is None:
        return None
    return net.neighbour(route.gateway or dial.address.text, route.interface)


def judge(facts: TcpFacts, policy: Policy) -> Sequence[Finding]:
    """Tell refused, rejected, unreachable and silent apart, and our own limits from all of them."""
    fault = facts.dial.fault
    if fault is None:
        return (_PASSED, *_slow(facts, policy), *_reset_at_once(facts))
    if fault.icmp is not None:
        return (_icmp(facts, fault.icmp),)
    if fault.event is Event.SILENT:
        return (_silent(facts),)
    if fault.errno_name == "ECONNREFUSED":
        summary = f"{_where(facts)} answered the SYN with RST after {facts.duration_ms:.1f} ms"
        # On our own link or machine no box can stand between, so nobody else can have refused.
        direct = facts.route is not None and facts.route.gateway is None
        return (found("tcp.refused", summary, facts.record(), final=direct),)
    if fault.event is Event.RESET:
        reset = {**facts.record(), "phase": "before data", "bytes_received": 0, "bytes_sent": 0}
        return (found("tcp.reset", f"{_where(facts)} accepted the connection and reset it at once", reset),)
    return (_local(facts, fault),)


def _reset_at_once(facts: TcpFacts) -> Sequence[Finding]:
    """A warning only: whether a reset right after the handshake is seen in time is a race."""
    if not facts.dial.reset_at_once:
        return ()
    summary = f"{_where(facts)} accepted the connection and reset it at once"
    reset = found("tcp.reset", summary, {**facts.record(), "phase": "before data"})
    return (replace(reset, state=State.OK),)


def _slow(facts: TcpFacts, policy: Policy) -> Sequence[Finding]:
    dial = facts.dial
    if facts.syn_retransmits:
        times = "once" if facts.syn_retransmits == 1 else f"{facts.syn_retransmits} times"
        summary = f"{_where(facts)} connected after {facts.duration_ms:.0f} ms: the SYN had to be sent again {times}"
        return (found("tcp.syn_retransmit", summary, facts.record()),)
    if dial.rtt_ms is not None and dial.rtt_ms > policy.slow.tcp_rtt_ms:
        return (found("tcp.slow", f"{_where(facts)} is {dial.rtt_ms:.0f} ms away (TCP round trip)", facts.record()),)
    return ()


def _silent(facts: TcpFacts) -> Finding:
    waited = facts.duration_ms
    if facts.dial.lag_ms > waited / 2:
        late = f"{facts.dial.lag_ms:.0f} of {waited:.0f} ms"
        summary = f"our own event loop was late by {late}: {_where(facts)} not judged"
        return found("local.overload", summary, facts.record())
    sent = (facts.syn_retransmits or 0) + 1
    summary = f"{_where(facts)} answered none of {sent} SYN in {waited / 1000:.1f} s: no reply, no ICMP"
    return found(
        "tcp.timeout", summary, facts.record(), confidence=Confidence.INFERRED, silences=max(facts.silences, 1)
    )


def _icmp(facts: TcpFacts, told: Icmp) -> Finding:
    if told.from_self:
        return _own_kernel(facts, told)
    return icmp.answered(told, facts.dial.address.text, facts.dial.port, facts.record())


def _own_kernel(facts: TcpFacts, icmp: Icmp) -> Finding:
    """The offender is ourselves: the kernel gave up on the neighbour, or our own firewall said no."""
    if (icmp.type, icmp.code) not in ((3, 1), (1, 3)) or not _unresolved(facts):
        summary = f"our own machine rejected the SYN to {_where(facts)} (ICMP {icmp.type}/{icmp.code} from ourselves)"
        return found("local.send_denied", summary, facts.record())
    gateway = facts.route.gateway if facts.route else None
    if gateway is not None:
        summary = f"next hop {gateway} did not answer ARP/ND, so {_where(facts)} was never reached"
        told = {**facts.record(), "gateway": gateway}
        return found("vantage.gateway_unreachable", summary, told, factor=f"gateway {gateway}")
    summary = f"{facts.dial.address.text} is on our own link and did not answer ARP/ND"
    return found("link.neighbour_unresolved", summary, facts.record())


def _unresolved(facts: TcpFacts) -> bool:
    """Whether the kernel really asked for the neighbour and got no answer; a reject of our own comes at once."""
    if facts.neighbour is None:
        return facts.duration_ms > _ARP_MS
    return facts.neighbour.state in (NeighbourState.INCOMPLETE, NeighbourState.FAILED)


def _local(facts: TcpFacts, fault: Fault) -> Finding:
    """An errno without any packet from outside: our own kernel's word."""
    name = fault.errno_name or "UNKNOWN"
    code = _ERRNO.get(name, "local.bug")
    return found(code, f"our own kernel refused to connect to {_where(facts)}: {name}", facts.record())


def _where(facts: TcpFacts) -> str:
    return where(facts.dial.address.text, facts.dial.port)


_ARP_MS = 900.0
"""The kernel gives a neighbour three questions, a second apart (arp(7) retrans_time, mcast_solicit)."""

# A pass says nothing beyond the facts of its step, so that one finding serves all.
_PASSED = passed("tcp", {})

_ERRNO = {
    **OWN_ERRNO,
    "EACCES": "ip.route_rejected",
    "EINVAL": "ip.route_rejected",
    "ENETUNREACH": "ip.no_route",
    "EHOSTUNREACH": "ip.route_rejected",
    "ENETDOWN": "vantage.no_route",
}

LAYER = Layer(
    name="tcp",
    probe=probe,
    judge=judge,
    emits=frozenset({
        "tcp.refused", "tcp.reset", "tcp.timeout", "tcp.rejected", "tcp.syn_retransmit", "tcp.slow",
        "ip.net_unreachable", "ip.host_unreachable", "ip.admin_prohibited", "ip.routing_loop",
        "ip.no_route", "ip.route_rejected", "vantage.no_route", "vantage.gateway_unreachable",
        "link.neighbour_unresolved", "local.fd_limit", "local.ports_exhausted", "local.send_denied",
        "local.overload", "local.bug",
    }) | silence.EMITS | origin.EMITS | flows.EMITS,
    duration="tcp_connect_duration_ms",
    witnesses=(
        Witness(name="survey", when=frozenset({"tcp.timeout"}), probe=silence.probe, judge=silence.judge),
        Witness(name="again", when=frozenset({"tcp.flow_dependent"})),
        Witness(name="flows", when=frozenset({"tcp.syn_retransmit"}), probe=flows.probe, judge=flows.judge),
        Witness(name="origin", when=frozenset({"tcp.refused"}), probe=origin.probe, judge=origin.judge),
    ),
)
