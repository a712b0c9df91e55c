"""What is untidy about a chain that holds: order, repetitions, and certificates that it does not need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fleetprobe.layer import found
from fleetprobe.layers.tls.certificate import TEXT_CHARS, Certificate, Read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import Shape, lay, twins
from fleetprobe.layers.tls.shown import show
from fleetprobe.model.verdict import Finding

_SHOWN: Final = 16

EMITS: Final = frozenset({
    "tls.wrong_order", "tls.extra_certs", "tls.duplicate_certs", "tls.root_sent", "tls.cross_sign",
})


def untidy(facts: TlsFacts) -> Iterator[Finding]:
    """Warnings about a path that reaches a trust anchor; nothing about any other."""
    path = [one for one in facts.path if isinstance(one, Certificate)]
    if facts.trust_anchor is None or len(path) < len(facts.path):
        return
    shape = lay(facts.fingerprints, [one.sha256 for one in path])
    twins = {position: twin for position in shape.unused if (twin := _twin(facts, position, path))}
    if not shape.in_order:
        yield _wrong_order(facts, shape)
    if extra := [position for position in shape.unused if position not in twins]:
        summary = f"{facts.address} sends {_count(len(extra))} that its chain does not use"
        yield found("tls.extra_certs", summary, _listed(facts, extra))
    if shape.repeated:
        summary = f"{facts.address} sends {_count(len(shape.repeated))} for the second time"
        yield found("tls.duplicate_certs", summary, _listed(facts, shape.repeated))
    root = shape.positions[-1]
    if root is not None and len(path) > 1:
        summary = f"{facts.address} sends the root as well: {show(path[-1].subject)}"
        yield found("tls.root_sent", summary, _listed(facts, [root]))
    if twins:
        yield _cross_sign(facts, twins)


def _wrong_order(facts: TlsFacts, shape: Shape) -> Finding:
    sent = [position for position in shape.positions if position is not None]
    as_written = ", ".join(str(position + 1) for position in sent)
    summary = f"the chain of {facts.address} is complete and out of order: it should be {as_written} of what is sent"
    return found("tls.wrong_order", summary, {"order_of_issue": sent[:_SHOWN], **_listed(facts, sorted(sent))})


def _cross_sign(facts: TlsFacts, twins: Mapping[int, Certificate]) -> Finding:
    position, twin = next(iter(twins.items()))
    other = facts.certificates[position]
    issuer = other.issuer if isinstance(other, Certificate) else ""
    summary = f"{facts.address} sends {show(twin.subject)} as cross-signed by {show(issuer)}, a second path"
    evidence = {"issuers": [issuer[:TEXT_CHARS]], "path_sha256": [one.sha256 for one in facts.path[:_SHOWN]]}
    return found("tls.cross_sign", summary, {**evidence, **_listed(facts, list(twins))})


def _twin(facts: TlsFacts, position: int, path: Sequence[Certificate]) -> Certificate | None:
    """The certificate of the path that has this one's name and key and another issuer."""
    one = facts.certificates[position] if position < len(facts.certificates) else None
    if not isinstance(one, Certificate):
        return None
    return next((used for used in path if twins(used, one)), None)


def _listed(facts: TlsFacts, positions: Sequence[int]) -> Mapping[str, Any]:
    """Positions from 0, the leaf, and the subjects of those that were read."""
    shown = positions[:_SHOWN]
    subjects = [_subject(facts.certificates[position]) for position in shown if position < len(facts.certificates)]
    return {"positions": list(shown), "count": len(positions), "subjects": subjects}


def _subject(one: Read) -> str:
    return one.subject[:TEXT_CHARS] if isinstance(one, Certificate) else "unreadable"


def _count(number: int) -> str:
    return "a certificate" if number == 1 else f"{number} certificates"
