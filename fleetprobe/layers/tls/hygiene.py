"""What is untidy about a chain that holds: order, repetitions, what it does not need, what strict readers refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fleetprobe.layer import found
from fleetprobe.layers.tls.certificate import TEXT_CHARS, Certificate, Read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import Shape, lay, same_name
from fleetprobe.layers.tls.shown import role, show
from fleetprobe.layers.tls.strict import INVALID_CA, NO_ISSUER_KEY_ID, WHY
from fleetprobe.model.verdict import Finding

_SHOWN: Final = 16

EMITS: Final = frozenset({
    "tls.wrong_order", "tls.extra_certs", "tls.duplicate_certs", "tls.root_sent", "tls.cross_sign", "tls.pedantic",
})


def untidy(facts: TlsFacts) -> Iterator[Finding]:
    """Warnings about a path that reaches a trust anchor; nothing about any other."""
    path = [one for one in facts.path if isinstance(one, Certificate)]
    if facts.trust_anchor is None or len(path) < len(facts.path):
        return
    shape = lay(facts.fingerprints, [one.sha256 for one in path])
    twins = _twins(facts, shape, path)
    crossed = {position: twin for position, twin in twins.items() if _crosses(facts, position, twin)}
    beyond = _beyond(facts, shape, crossed)
    if not _in_order(facts.fingerprints, path):
        yield _wrong_order(facts, shape)
    if extra := [position for position in shape.unused if position not in twins and position not in beyond]:
        summary = f"{facts.address} sends {_count(len(extra))} that its chain does not use"
        yield found("tls.extra_certs", summary, _listed(facts, extra))
    if shape.repeated:
        summary = f"{facts.address} sends {_count(len(shape.repeated))} for the second time"
        yield found("tls.duplicate_certs", summary, _listed(facts, shape.repeated))
    root = shape.positions[-1]
    if root is not None and len(path) > 1:
        summary = f"{facts.address} sends the root as well: {show(path[-1].subject)}"
        yield found("tls.root_sent", summary, _listed(facts, [root]))
    if crossed:
        yield _cross_sign(facts, crossed, beyond)
    if pedantic := _pedantic(facts, path):
        yield pedantic


def _wrong_order(facts: TlsFacts, shape: Shape) -> Finding:
    sent = [position for position in shape.positions if position is not None]
    as_written = ", ".join(str(position + 1) for position in sent)
    summary = f"the chain of {facts.address} is complete and out of order: it should be {as_written} of what is sent"
    return found("tls.wrong_order", summary, {"order_of_issue": sent[:_SHOWN], **_listed(facts, sorted(sent))})


def _cross_sign(facts: TlsFacts, twins: Mapping[int, Certificate], beyond: Sequence[int]) -> Finding:
    position, twin = next(iter(twins.items()))
    other = facts.certificates[position]
    issuer = other.issuer if isinstance(other, Certificate) else ""
    summary = f"{facts.address} sends {show(twin.subject)} as cross-signed by {show(issuer)}, a second path"
    evidence = {"issuers": [issuer[:TEXT_CHARS]], "path_sha256": [one.sha256 for one in facts.path[:_SHOWN]]}
    return found("tls.cross_sign", summary, {**evidence, **_listed(facts, [*twins, *beyond])})


def _pedantic(facts: TlsFacts, path: Sequence[Certificate]) -> Finding | None:
    """What X509_V_FLAG_X509_STRICT would say; it looks at no path of one certificate."""
    met = [
        (number, depth)
        for depth, one in enumerate(path) if len(path) > 1
        for number in one.strict_faults
        if not (number == NO_ISSUER_KEY_ID and depth == len(path) - 1) and not (number == INVALID_CA and depth == 0)
    ]
    if not met:
        return None
    number, depth = met[0]
    summary = f"strict clients refuse the chain of {facts.address}: its {role(depth)} {WHY[number]}"
    listed = [
        {"code": number, "depth": depth, "why": WHY[number], "certificate_sha256": path[depth].sha256}
        for number, depth in met[:_SHOWN]
    ]
    return found("tls.pedantic", summary, {"strict": listed})


def _in_order(presented: Sequence[str], path: Sequence[Certificate]) -> bool:
    """Whether each issuer comes somewhere behind what it issued; what is sent twice may serve either time."""
    after = 0
    for one in path:
        if one.sha256 not in presented:
            continue
        if one.sha256 not in presented[after:]:
            return False
        after = presented.index(one.sha256, after) + 1
    return True


def _twins(facts: TlsFacts, shape: Shape, path: Sequence[Certificate]) -> Mapping[int, Certificate]:
    """What is not used and has name and key of one that is: the same authority by another certificate."""
    used = {one.key_sha256: one for one in reversed(path)}
    twins: dict[int, Certificate] = {}
    for position, one in _unused(facts, shape):
        twin = used.get(one.key_sha256)
        if twin is not None and same_name(twin.subject, one.subject):
            twins[position] = twin
    return twins


def _crosses(facts: TlsFacts, position: int, twin: Certificate) -> bool:
    """Whether another issuer signed it; with the same one it is an older or a newer issue of the twin."""
    one = facts.certificates[position]
    return isinstance(one, Certificate) and not same_name(twin.issuer, one.issuer)


def _beyond(facts: TlsFacts, shape: Shape, crossed: Mapping[int, Certificate]) -> Sequence[int]:
    """What stands above a cross-signed certificate: it belongs to the second path."""
    rest = [(position, one) for position, one in _unused(facts, shape) if position not in crossed]
    reached: list[int] = []
    above = [one for position in crossed if isinstance(one := facts.certificates[position], Certificate)]
    while above:
        below = above.pop()
        for position, one in rest:
            if position not in reached and _may_issue(one, below):
                reached.append(position)
                above.append(one)
    return sorted(reached)


def _may_issue(one: Certificate, below: Certificate) -> bool:
    """By name, and by key identifier where both state it."""
    known = one.key_id is not None and below.issuer_key_id is not None
    return same_name(one.subject, below.issuer) and not (known and one.key_id != below.issuer_key_id)


def _unused(facts: TlsFacts, shape: Shape) -> Iterator[tuple[int, Certificate]]:
    for position in shape.unused:
        one = facts.certificates[position] if position < len(facts.certificates) else None
        if isinstance(one, Certificate):
            yield position, one


def _listed(facts: TlsFacts, positions: Sequence[int]) -> Mapping[str, Any]:
    """Positions from 0, the leaf, and the subjects of those that were read."""
    shown = positions[:_SHOWN]
    subjects = [_subject(facts.certificates[position]) for position in shown if position < len(facts.certificates)]
    return {"positions": list(shown), "count": len(positions), "subjects": subjects}


def _subject(one: Read) -> str:
    return one.subject[:TEXT_CHARS] if isinstance(one, Certificate) else "unreadable"


def _count(number: int) -> str:
    return "a certificate" if number == 1 else f"{number} certificates"
