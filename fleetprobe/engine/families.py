"""Some addresses of a target work and some do not: which, and what that costs a client."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fleetprobe.examination import AddressResult
from fleetprobe.layer import found
from fleetprobe.model.verdict import Finding, State, Verdict

_WORKING = (State.OK, State.SLOW)
_ONE_FAMILY = {4: "ip.v4_only_broken", 6: "ip.v6_only_broken"}


def with_partial(results: Sequence[AddressResult], speaker: int, heard: Callable[[int], bool]) -> Verdict:
    """The speaker's verdict, with a warning when other addresses fail.

    `heard` tells whether this machine has had any answer over a family at all in this run: without that
    control a family is never called broken.
    """
    verdict = results[speaker].verdict
    failed = [result for result in results if result.verdict.state is State.FAIL]
    if verdict.state not in _WORKING or not failed:
        return verdict
    return replace(verdict, also=(*verdict.also, _warning(results, failed, heard)))


def _warning(
    results: Sequence[AddressResult], failed: Sequence[AddressResult], heard: Callable[[int], bool]
) -> Finding:
    works = {result.address.family for result in results if result.verdict.state in _WORKING}
    broken = {result.address.family for result in failed}
    codes = {result.address.text: result.verdict.code for result in failed}
    facts = {"failed": codes, "addresses": len(results)}
    listed = ", ".join(f"{address} {code}" for address, code in codes.items())
    whole = len(broken) == 1 and not broken & works
    family = next(iter(broken))
    if not whole or not (heard(family) or any(_spoke(result) for result in failed)):
        return found("ip.address_partial", f"{len(failed)} of {len(results)} addresses fail: {listed}", facts)
    cost = _fallback(failed)
    summary = f"only IPv{family} is broken: {listed}; {cost}"
    return found(_ONE_FAMILY[family], summary, {**facts, "client_cost": cost})


def _spoke(result: AddressResult) -> bool:
    """Whether somebody at the far end answered, so that the family carries packets there and back."""
    finding = result.verdict.finding
    return finding is not None and finding.silences == 0 and "ip" in finding.proves


def _fallback(failed: Sequence[AddressResult]) -> str:
    """What a client that tries this family first pays (RFC 8305 §5: 250 ms before the next attempt)."""
    silent = any(result.verdict.finding is not None and result.verdict.finding.silences for result in failed)
    if silent:
        return "clients lose 250 ms with happy eyeballs, a whole connect timeout without"
    return "clients that fall back lose one round trip, others fail"
