"""The end of a run: results that waited for what other hosts present are read back, judged again, and amended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio.lowlevel

from fleetprobe.layers.tls.again import JUDGED, judge_again
from fleetprobe.model.policy import Policy
from fleetprobe.net.interface import Net
from fleetprobe.record.amend import amend_row, amended
from fleetprobe.record.fix import without_offer
from fleetprobe.sinks.reread import Reread, Unsettled

Row = dict[str, Any]

_CERTIFICATES_READ = 16


async def settle(reread: Reread, net: Net, policy: Policy) -> AsyncIterator[tuple[Unsettled, Row]]:
    """Each result that was not settled, and the record that settles it."""
    for one in reread.unsettled():
        if one is None:
            await anyio.lowlevel.checkpoint()
        else:
            yield one, await _settled(one, net, policy)


async def _settled(one: Unsettled, net: Net, policy: Policy) -> Row:
    recorded = next((dict(step["facts"]) for step in one.row["layers"] if step["layer"] == "tls"), {})
    presented = _certificates(one, net, recorded.get("chain_sha256", ())[:_CERTIFICATES_READ])
    if not presented or "verify_errors" not in recorded:
        return amend_row(one.row, {"settled": True}, "its certificates are not at hand any more")
    path = _certificates(one, net, recorded.get("path_sha256", ())) or ()
    findings, facts = await judge_again(recorded, presented, path, net, policy)
    fields = amended(without_offer(one.row), findings, JUDGED, facts)
    why = "other hosts present what its chain lacks" if len(fields) > 1 else "no other host says more about its chain"
    return amend_row(one.row, fields, why)


def _certificates(one: Unsettled, net: Net, wanted: list[str]) -> tuple[bytes, ...] | None:
    """All of them, or None."""
    found = [one.certificate(sha256) or net.pool.der(sha256) for sha256 in wanted]
    return tuple(der for der in found if der is not None) if all(found) else None
