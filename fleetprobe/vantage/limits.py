"""Judges of what this machine can carry: descriptors, ports, ping, connection table, TCP states."""

from __future__ import annotations

from typing import Final

from fleetprobe.model.verdict import Outcome
from fleetprobe.vantage.check import Check, known
from fleetprobe.vantage.facts import Conntrack, Descriptors, PingRights, Ports, TcpCensus

_DESCRIPTORS_FOR_DEFAULT: Final = 1398
"""1000 targets in flight, the default, at three quarters of the limit less 64 spare ones."""
_DESCRIPTORS_LEAST: Final = 128
_PORTS_ENOUGH: Final = 2048
_PORTS_LEAST: Final = 64
"""One silent port can cost 12 SYNs of a path walk and its repetitions at a time, each from its own port."""
_TABLE_FULL, _TABLE_FILLING = 0.95, 0.80
_PORTS_WAITING: Final = 0.80
_CLOSE_WAIT_PILE: Final = 32
"""A few are applications on their way to close(); a pile is one that forgot it."""


def descriptors(facts: Descriptors) -> Check:
    """A scan raises the soft limit to the hard one by itself."""
    told = known(facts)
    if facts.hard is None:
        summary = "the number of open files is not limited"
        return Check(name="descriptors", outcome=Outcome.PASS, summary=summary, facts=told)
    summary = f"{facts.hard} open files at most"
    if facts.soft != facts.hard:
        summary += f" (now {'unlimited' if facts.soft is None else facts.soft}; a scan raises that by itself)"
    if facts.hard >= _DESCRIPTORS_FOR_DEFAULT:
        return Check(name="descriptors", outcome=Outcome.PASS, summary=summary, facts=told)
    return Check(
        name="descriptors",
        outcome=Outcome.FAIL if facts.hard < _DESCRIPTORS_LEAST else Outcome.WARN,
        summary=f"{summary}: too few for 1000 targets in flight",
        facts=told,
        fix="Raise the hard limit: `ulimit -Hn 65536` as root, LimitNOFILE=65536 in the unit, or limits.conf.",
    )


def ports(facts: Ports | None) -> Check:
    """Source ports are shared by connections to different far ends, so their number bounds those to one."""
    if facts is None:
        return Check(name="ports", outcome=Outcome.UNKNOWN, summary="the range of source ports is not to be seen")
    told = {**known(facts), "usable": facts.usable}
    span = f"{facts.usable} source ports ({facts.low} to {facts.high}, {facts.reserved} reserved)"
    if facts.usable >= _PORTS_ENOUGH:
        return Check(name="ports", outcome=Outcome.PASS, summary=span, facts=told)
    return Check(
        name="ports",
        outcome=Outcome.FAIL if facts.usable < _PORTS_LEAST else Outcome.WARN,
        summary=f"only {span}: probes of one host may find none left (local.ports_exhausted)",
        facts=told,
        fix="Widen the range: `sysctl -w net.ipv4.ip_local_port_range='32768 60999'` as root.",
    )


def ping(facts: PingRights) -> Check:
    """Ping is a second witness to a silence, never needed for a verdict."""
    told = known(facts)
    if facts.errno_name is None:
        return Check(name="ping", outcome=Outcome.PASS, summary="echo requests are permitted", facts=told)
    why = facts.errno_name
    if facts.in_range is False:
        why = f"no group of ours is in ping_group_range {facts.lowest_group} to {facts.highest_group}"
    raw = "; CAP_NET_RAW is there, but is not what these sockets ask for" if facts.raw_sockets else ""
    return Check(
        name="ping",
        outcome=Outcome.WARN,
        summary=f"echo requests are not permitted: {why}{raw}. Silent hosts are judged without ping",
        facts=told,
        fix="Run `sysctl -w net.ipv4.ping_group_range='0 2147483647'` as root.",
    )


def conntrack(facts: Conntrack | None) -> Check:
    """A full table drops new connections and keeps old ones: every new target would seem silent."""
    if facts is None or facts.most <= 0:
        return Check(name="conntrack", outcome=Outcome.PASS, summary="no connection table of our own to fill")
    share = facts.entries / facts.most
    told = {"entries": facts.entries, "most": facts.most, "share": round(share, 4)}
    summary = f"our own connection table holds {facts.entries} of {facts.most} ({share:.0%})"
    if share < _TABLE_FILLING:
        return Check(name="conntrack", outcome=Outcome.PASS, summary=summary, facts=told)
    full = share >= _TABLE_FULL
    after = "new connections may be dropped here (local.conntrack_full)" if full else "a large scan may fill it"
    return Check(
        name="conntrack",
        outcome=Outcome.FAIL if full else Outcome.WARN,
        summary=f"{summary}: {after}",
        facts=told,
        fix="Raise net.netfilter.nf_conntrack_max, exempt the scan from tracking, or scan with a lower --rate.",
    )


def tcp_states(census: TcpCensus, facts: Ports | None) -> Check:
    """CLOSE-WAIT is an application that forgot close(); TIME-WAIT is normal where we closed first."""
    told = {**known(census), "usable_ports": facts.usable if facts else None}
    told = {name: value for name, value in told.items() if value is not None}
    waiting, closing = census.states.get("TIME-WAIT", 0), census.states.get("CLOSE-WAIT", 0)
    if facts is not None and facts.usable and census.busiest_time_wait >= _PORTS_WAITING * facts.usable:
        return Check(
            name="tcp states",
            outcome=Outcome.WARN,
            summary=f"{census.busiest_time_wait} of {facts.usable} source ports towards {census.busiest_far_end} "
            "are in TIME-WAIT: normal for the side that closed first, but the ports may run out",
            facts=told,
            fix="Let that client keep its connections open, or widen ip_local_port_range; waiting a minute helps.",
        )
    if closing >= _CLOSE_WAIT_PILE:
        owner = max(census.close_wait_owners, key=census.close_wait_owners.__getitem__, default=None)
        by = f", most by {owner}" if owner else ""
        return Check(
            name="tcp states",
            outcome=Outcome.WARN,
            summary=f"{closing} sockets in CLOSE-WAIT{by}: an application of this machine forgot close(). "
            "That is no congestion",
            facts=told,
            fix="Mend or restart the application that holds them: `ss -tnp state close-wait`.",
        )
    summary = f"{sum(census.states.values())} sockets: {_counts(census.states)}"
    if waiting:
        summary += "; TIME-WAIT is normal for the side that closed first"
    return Check(name="tcp states", outcome=Outcome.PASS, summary=summary, facts=told)


def _counts(states: dict[str, int]) -> str:
    ranked = sorted(states.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count} {name}" for name, count in ranked) or "none"
