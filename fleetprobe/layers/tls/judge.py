"""What the facts of a handshake mean: why it broke, which certificates are wrong, whether it was slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from fleetprobe.layer import found, passed
from fleetprobe.layers.tls import chain, exchange, hygiene, labels, upkeep
from fleetprobe.layers.tls.certificate import Certificate
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.names import mismatch
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
    if (fault is None or (fault.event is not Event.SILENT and facts.certificates)) and not _known_good(facts, policy):
        faults, elsewhere = labels.tell(facts, chain.faults(facts, policy.as_of), policy.as_of)
        findings += faults
        warnings += (*elsewhere, *upkeep.due(facts, chain.judged_path(facts), policy), *hygiene.untidy(facts))
        if not (findings or warnings):
            _note_good(facts, policy)
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


_GOOD: dict[object, None] = {}
"""Chains about which there was nothing to say, whatever the name: on most hosts of a fleet there are few others."""
_MOST_GOOD: Final = 4096


def _known_good(facts: TlsFacts, policy: Policy) -> bool:
    """Whether judging it anew would find nothing. OpenSSL has verified it in this handshake, like every other."""
    leaf = facts.certificates[0] if facts.certificates else None
    if not isinstance(leaf, Certificate) or (key := _good(facts, policy)) is None or key not in _GOOD:
        return False
    return mismatch(leaf, facts.server_name) is None


def _note_good(facts: TlsFacts, policy: Policy) -> None:
    if (key := _good(facts, policy)) is not None:
        if len(_GOOD) >= _MOST_GOOD:
            del _GOOD[next(iter(_GOOD))]
        _GOOD[key] = None


def _good(facts: TlsFacts, policy: Policy) -> object | None:
    """All that a judgement of a good chain goes by but the name; None of one that is not good."""
    seen = facts.handshake
    if seen.fault is not None or seen.verify_errors or facts.held or seen.too_dear:
        return None
    path = tuple(one.sha256 for one in facts.path)
    agreed = seen.protocol_version, bool(seen.ocsp_staple_bytes)
    return facts.fingerprints, path, agreed, policy.as_of, policy.expiring


def _slow(facts: TlsFacts, policy: Policy) -> Finding | None:
    limit_ms = policy.slow.tls_ms + policy.slow.tls_rtts * (facts.rtt_ms or 0.0)
    took_ms = facts.duration_ms
    if took_ms <= limit_ms or facts.handshake.lag_ms > policy.slow.lag_share * took_ms:
        return None
    summary = f"the handshake with {facts.address} took {took_ms:.0f} ms, over the limit of {limit_ms:.0f} ms"
    return found("tls.slow", summary, {"duration_ms": round(took_ms, 3), "limit_ms": round(limit_ms, 3)})
