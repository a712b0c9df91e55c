"""What several trust stores make of one chain: the first decides, the others are told beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from fleetprobe.layers.tls import chain
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.held import Held
from fleetprobe.model.verdict import Finding, State

_DATES: Final = frozenset({"tls.expired", "tls.not_yet_valid"})
_WHOEVER_IS_TRUSTED: Final = _DATES | {
    "tls.name_mismatch", "tls.weak_key", "tls.weak_signature", "tls.malformed", "tls.wrong_usage",
}
"""Found in single certificates; every other fault is one of the way to an anchor."""
_NAMED: Final = 3
_SUMMARY_CHARS: Final = 160


def tell(
    facts: TlsFacts, own: Sequence[Finding], as_of: datetime
) -> tuple[tuple[Finding, ...], tuple[Finding, ...]]:
    """The deciding store's findings with the word of the others in them, and warnings of what only others find."""
    others = {held.label: chain.faults(_given(facts, held), as_of) for held in facts.held if held.judged}
    if not others:
        return tuple(own), ()
    codes = {facts.trust: _codes(own), **{label: _codes(found) for label, found in others.items()}}
    told = tuple(_with_labels(facts, finding, codes) for finding in own)
    return told, tuple(_warnings(facts, codes, others))


def _given(facts: TlsFacts, held: Held) -> TlsFacts:
    """The same handshake as if this store had been the deciding one."""
    seen = replace(facts.handshake, verify_errors=held.errors)
    return replace(facts, handshake=seen, path=held.path, trials=(), trust=held.label, held=(), repair=None)


def _warnings(
    facts: TlsFacts, codes: Mapping[str, frozenset[str]], others: Mapping[str, Sequence[Finding]]
) -> Sequence[Finding]:
    """One for each code that the deciding store does not give rise to, whatever number of others does."""
    warned: dict[str, Finding] = {}
    for found in others.values():
        fault = next((one for one in found if one.code not in _WHOEVER_IS_TRUSTED), None)
        fault = fault or next((one for one in found if one.code in _DATES), None)
        if fault is not None and fault.code and not _fails(fault.code, codes[facts.trust]):
            warning = replace(_with_labels(facts, fault, codes), state=State.OK, settled=True)
            warned.setdefault(fault.code, warning)
    return tuple(warned.values())


def _with_labels(facts: TlsFacts, finding: Finding, codes: Mapping[str, frozenset[str]]) -> Finding:
    """The finding, saying for whom it holds, unless it holds whoever is trusted."""
    code = finding.code or ""
    fails = [label for label in codes if _fails(code, codes[label])]
    passes = [label for label in codes if label not in fails]
    if not passes and code in _WHOEVER_IS_TRUSTED:
        return finding
    words = [f"fails for {_listed(fails)}", *([f"passes for {_listed(passes)}"] if passes else [])]
    if facts.trust in passes:
        words.reverse()
    summary = f"{', '.join(words)}: {finding.summary}"
    more = {"trust_verify_codes": _verify_codes(facts)}
    return replace(finding, summary=summary[:_SUMMARY_CHARS], facts={**finding.facts, **more})


def _fails(code: str, codes: frozenset[str]) -> bool:
    """Whether a store that gives rise to these codes fails where one that gives rise to `code` does."""
    return code in codes if code in _WHOEVER_IS_TRUSTED else bool(codes - _WHOEVER_IS_TRUSTED)


def _verify_codes(facts: TlsFacts) -> Mapping[str, int | None]:
    """For each label the first X509_V number, 0 for none; no number where the chain could not be verified."""
    own = facts.handshake.verify_errors
    return {
        facts.trust: own[0][0] if own else 0,
        **{held.label: (held.errors[0][0] if held.errors else 0) if held.judged else None for held in facts.held},
    }


def _codes(findings: Sequence[Finding]) -> frozenset[str]:
    return frozenset(finding.code for finding in findings if finding.code)


def _listed(labels: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`, `a, b, c and 2 more`."""
    shown = list(labels[:_NAMED])
    last = [f"{len(labels) - _NAMED} more"] if len(labels) > _NAMED else [shown.pop()]
    return " and ".join(filter(None, (", ".join(shown), *last)))
