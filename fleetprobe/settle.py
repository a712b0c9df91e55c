"""The end of a run: results that waited for what other hosts present are read back, judged again, and amended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import anyio.lowlevel

from fleetprobe.audit.clock import DATES, Clocks
from fleetprobe.audit.issuers import Issuers
from fleetprobe.layer import found
from fleetprobe.layers.tls.again import JUDGED, judge_again
from fleetprobe.layers.tls.shown import show
from fleetprobe.model.policy import Policy
from fleetprobe.net.interface import Net
from fleetprobe.record.amend import amend_row, amended, warned
from fleetprobe.record.fix import without_offer
from fleetprobe.record.overrule import overrule
from fleetprobe.sinks.reread import Reread, Unsettled

Row = dict[str, Any]

_CERTIFICATES_READ = 16


EMITS: Final = frozenset({"tls.interception_suspected", "local.clock_skew"})
_SITES_NAMED: Final = 3


class Fleet:
    """What only many results together can tell: the time by their clocks, and issuers with too many sites."""

    def __init__(self) -> None:
        self.clocks = Clocks()
        self.issuers = Issuers()

    def see(self, row: Mapping[str, Any]) -> None:
        """Take note of one result."""
        self.clocks.see(row)
        if not row["settled"]:
            self.issuers.see(row)


async def settle(
    reread: Reread, net: Net, policy: Policy, fleet: Fleet
) -> AsyncIterator[tuple[Unsettled, Row]]:
    """Each result that was not settled, and the record that settles it."""
    for one in reread.unsettled():
        if one is None:
            await anyio.lowlevel.checkpoint()
        else:
            fields, why = await _settled(one, net, policy)
            yield one, _in_the_light_of(fleet, one.row, fields, why)


def _in_the_light_of(fleet: Fleet, row: Mapping[str, Any], fields: Row, why: str) -> Row:
    by_now = {**row, **fields}
    ahead_s = fleet.clocks.ahead_s
    if ahead_s is not None and fleet.clocks.excuses(by_now):
        days = abs(ahead_s) / 86400.0
        apart = f"{days:.1f} days" if days >= 2 else f"{abs(ahead_s) / 60.0:.0f} minutes"
        side = "behind" if ahead_s > 0 else "ahead of"
        summary = f"our clock is {apart} {side} those of {fleet.clocks.servers} servers"
        evidence = {"servers_ahead_s": round(ahead_s, 1), "servers": fleet.clocks.servers}
        skewed = found(
            "local.clock_skew", f"{summary}: dates of certificates cannot be judged", evidence,
            could_also_be=(str(by_now["code"]),),
        )
        return amend_row(row, overrule(row, fields, skewed, DATES), "the clock of this machine is wrong")
    if (told := fleet.issuers.sites(by_now)) is not None:
        issuer, sites = told
        named = ", ".join(show(site) for site in sites[:_SITES_NAMED])
        summary = f"an unknown issuer ({show(issuer)}) vouches for {len(sites)} sites or more, {named} among them"
        suspicion = found("tls.interception_suspected", summary, {"issuer": issuer, "sites": list(sites)})
        fields = warned(row, fields, suspicion)
        return amend_row(row, fields, "its issuer vouches for many sites")
    return amend_row(row, fields, why)


async def _settled(one: Unsettled, net: Net, policy: Policy) -> tuple[Row, str]:
    recorded = next((dict(step["facts"]) for step in one.row["layers"] if step["layer"] == "tls"), {})
    presented = _certificates(one, net, recorded.get("chain_sha256", ())[:_CERTIFICATES_READ])
    if not presented or "verify_errors" not in recorded:
        return {"settled": True}, "its certificates are not at hand any more"
    path = _certificates(one, net, recorded.get("path_sha256", ())) or ()
    findings, facts = await judge_again(recorded, presented, path, net, policy)
    fields = amended(without_offer(one.row), findings, JUDGED, facts)
    why = "other hosts present what its chain lacks" if len(fields) > 1 else "no other host says more about its chain"
    return fields, why


def _certificates(one: Unsettled, net: Net, wanted: list[str]) -> tuple[bytes, ...] | None:
    """All of them, or None."""
    found = [one.certificate(sha256) or net.pool.der(sha256) for sha256 in wanted]
    return tuple(der for der in found if der is not None) if all(found) else None
