"""Every judge in the order of the ladder, the ground first: facts of a machine become checks."""

from __future__ import annotations

from collections.abc import Sequence

from fleetprobe.model.verdict import Outcome
from fleetprobe.vantage import limits, machine, ways
from fleetprobe.vantage.check import Check
from fleetprobe.vantage.facts import Vantage


def checks(vantage: Vantage) -> tuple[Check, ...]:
    """All of them; pure."""
    return (
        *ways.interfaces(vantage.links, vantage.ways),
        *ways.routes(vantage.ways, vantage.gateways),
        *ways.resolvers(vantage.resolvers),
        limits.descriptors(vantage.descriptors),
        limits.ports(vantage.ports),
        limits.ping(vantage.ping),
        limits.conntrack(vantage.conntrack),
        limits.tcp_states(vantage.census, vantage.ports),
        *machine.tcp_settings(vantage.tcp),
        machine.clock(vantage.clock),
        machine.trust(vantage.trust),
        machine.software(vantage.software),
    )


def spoils(found: Sequence[Check]) -> bool:
    """Whether anything would spoil a scan."""
    return any(check.outcome is Outcome.FAIL for check in found)
