"""What the facts of a handshake mean: why it broke, which certificates are wrong, whether it was slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fleetprobe.layer import found, passed
from fleetprobe.layers.tls import chain, exchange, hygiene, labels, upkeep
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Finding
from fleetprobe.net.interface import Event

# A pass says nothing beyond the facts of its step, so that one finding serves all.
_PASSED = passed("tls", {})

EMITS = exchange.EMITS | chain.EMITS | hygiene.EMITS | upkeep.EMITS | {"tls.slow"}


def judge(facts: TlsFacts, policy: Policy) -> Sequence[Finding]:
    """All findings, the one that tells why the climb stops first; it carries all the facts."""
    fault = facts.handshake.fault
    findings: list[Finding] = []
    warnings: list[Finding] = []
    if fault is not None:
        ended_by = exchange.broken(facts, fault)
        why = exchange.why(facts, ended_by)
        findings += [why, ended_by] if why else [ended_by]
    # A silence is weak evidence: a certificate fault beside it would drown it without explaining it.
    if fault is None or (fault.event is not Event.SILENT and facts.certificates):
        faults, elsewhere = labels.tell(facts, chain.faults(facts, policy.as_of), policy.as_of)
        findings += faults
        warnings += (*elsewhere, *upkeep.due(facts, chain.judged_path(facts), policy), *hygiene.untidy(facts))
    if facts.last_word is not None and (refused := exchange.refused_after(facts, facts.last_word)):
        findings.append(refused)
    if findings:
        findings[0] = replace(findings[0], facts={**facts.record(), **findings[0].facts})
    else:
        findings.append(_PASSED)
    if fault is None and (slow := _slow(facts, policy)):
        warnings.append(slow)
    findings += sorted(warnings, key=lambda finding: finding.rank)
    return tuple(findings)


def _slow(facts: TlsFacts, policy: Policy) -> Finding | None:
    limit_ms = policy.slow.tls_ms + policy.slow.tls_rtts * (facts.rtt_ms or 0.0)
    took_ms = facts.duration_ms
    if took_ms <= limit_ms or facts.handshake.lag_ms > policy.slow.lag_share * took_ms:
        return None
    summary = f"the handshake with {facts.address} took {took_ms:.0f} ms, over the limit of {limit_ms:.0f} ms"
    return found("tls.slow", summary, {"duration_ms": round(took_ms, 3), "limit_ms": round(limit_ms, 3)})
