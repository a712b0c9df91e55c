"""The decision: which witness to ask next, or whom to blame. Pure; no clock, no I/O, no layer's name.

Everything that decides between findings stands in this file and nowhere else. Its rules:

1. What works carries what is under it, except what it says it leaves unproven.
2. A loud break (a refusal, a reset, a bad certificate: somebody spoke) stands; the lowest one is the cause.
   It proves the layers it says it proves.
3. Our own limits are never the target's fault: they decide only when nothing loud was heard from outside.
4. A silent break is forgiven when the rung where it was heard is known to work; otherwise it needs a second silence,
   asked for by a witness. Without one the target is unknown, not failed.
5. A finding that explains another takes its place; a silence explains nothing that was loud.
6. All is well only when every rung works. Too little evidence is unknown, never ok.

Findings may come in any order and more than once from each layer; the result does not depend on it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, replace

from fleetprobe.model.verdict import Confidence, Finding, State, Verdict

ENOUGH_SILENCES = 2


@dataclass(frozen=True, slots=True)
class Offer:
    """A witness that a layer declares: which codes it can say more about, and how often it may be asked."""

    witness: str
    when: frozenset[str]
    times: int = 1


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this witness for the nth time. Two equal asks would be the same probe, so none is made twice."""

    witness: str
    nth: int


def decide(
    ladder: Sequence[str],
    seen: Iterable[Finding],
    offers: Sequence[Offer] = (),
    asked: Set[Ask] = frozenset(),
) -> Ask | Verdict:
    """The next witness to ask, or the verdict when the cause is settled or nothing more can tell.

    `ladder` names the layers bottom first; `asked` holds every ask already answered.
    """
    height = {name: position for position, name in enumerate(ladder)}
    heard = [finding for finding in seen if not finding.tentative]
    if len(heard) > 1:
        heard.sort(key=lambda finding: _order(finding, height))
    findings = _unexplained(heard)
    works = _works(ladder, findings)
    cause = _cause(findings, heard, works, height)
    verdict = _all_well(ladder, findings, works) if cause is None else _broken(ladder, findings, works, cause)
    # A slowness may be asked about, too: a retransmit can be the first sign of a dead path among several.
    doubtful = verdict.finding
    if doubtful is None or doubtful.final or doubtful.confidence is Confidence.PROVEN:
        return verdict
    return _next(doubtful, offers, asked) or verdict


def best(verdicts: Sequence[Verdict]) -> int:
    """Which of a target's addresses speaks for it: the index of its best one, the earlier of equals."""
    return min(range(len(verdicts)), key=lambda index: _goodness(verdicts[index]))


def worst(verdicts: Sequence[Verdict]) -> int:
    """Which address speaks for a target that expects all of them: the index of its worst one, the earlier of equals."""
    return max(range(len(verdicts)), key=lambda index: _GOODNESS[verdicts[index].state])


def _goodness(verdict: Verdict) -> tuple[int, int]:
    """State first; of two failures the one that got farther up the ladder says more."""
    return _GOODNESS[verdict.state], -len(verdict.proven_layers)


_GOODNESS = {State.OK: 0, State.SLOW: 1, State.UNKNOWN: 2, State.FAIL: 3, State.BLOCKED: 4}
"""Unknown stands before fail: an address that we could not judge might work."""

_STRENGTH = {Confidence.PROVEN: 0, Confidence.OBSERVED: 1, Confidence.INFERRED: 2}


def _order(finding: Finding, height: dict[str, int]) -> tuple[object, ...]:
    return (
        height.get(finding.layer, -1),
        finding.rank,
        _STRENGTH[finding.confidence],
        finding.code or "",
        finding.summary,
        -finding.silences,
        sorted(finding.supersedes),
    )


def _unexplained(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Rule 5: without the findings that others explain; those that explain each other in a circle all stay."""
    if not any(finding.supersedes for finding in findings):
        return findings
    return [finding for finding in findings if not any(_explains(other, finding, findings) for other in findings)]


def _explains(other: Finding, finding: Finding, findings: Sequence[Finding]) -> bool:
    if finding.code not in other.supersedes:
        return False
    if other.code in _explained_from(finding, findings):
        return False
    # What was heard aloud is not explained away by a silence.
    return _is_loud(other) or not _is_loud(finding)


def _explained_from(finding: Finding, findings: Sequence[Finding]) -> Set[str]:
    """Every code that the finding explains, and those that these explain in turn."""
    reached: set[str] = set(finding.supersedes)
    grown = True
    while grown:
        further = {code for other in findings if other.code in reached for code in other.supersedes}
        grown = not further <= reached
        reached |= further
    return reached


def _works(ladder: Sequence[str], findings: Sequence[Finding]) -> frozenset[str]:
    """Rules 1 and 2: the layers that evidence carries."""
    carried: set[str] = set()
    for finding in findings:
        shown = _shown_to_work(finding)
        top = max((ladder.index(name) for name in shown if name in ladder), default=-1)
        carried.update(name for name in ladder[: top + 1] if name not in finding.unproven)
    carried.difference_update(finding.layer for finding in findings if _is_loud(finding))
    return frozenset(carried)


def _shown_to_work(finding: Finding) -> Set[str]:
    if finding.code is None:
        return {finding.layer}
    return finding.proves if _is_loud(finding) else frozenset()


def _is_loud(finding: Finding) -> bool:
    return finding.breaks and finding.silences == 0


def _cause(
    findings: Sequence[Finding], heard: Sequence[Finding], works: frozenset[str], height: dict[str, int]
) -> Finding | None:
    """Rules 2 to 4: the finding to blame; findings come lowest first."""
    loud = [finding for finding in findings if _is_loud(finding) and finding.layer in height]
    ours = [finding for finding in findings if _is_loud(finding) and finding.layer not in height]
    quiet = [
        finding
        for finding in findings
        if finding.breaks and finding.silences > 0 and not _pardoned(finding, works, height)
    ]
    if works.issuperset(height):
        # What explains something that was heard stands for it.
        explained = {finding.code for finding in heard} - {finding.code for finding in findings}
        ours = [finding for finding in ours if finding.supersedes & explained]
    return next(iter(loud + ours + quiet), None)


def _pardoned(finding: Finding, works: frozenset[str], ladder: Collection[str]) -> bool:
    """Rule 4: a silence that what works has explained away."""
    if finding.silences == 0:
        return False
    return finding.seen_at in works or (finding.seen_at not in ladder and works.issuperset(ladder))


def _next(cause: Finding, offers: Sequence[Offer], asked: Set[Ask]) -> Ask | None:
    for offer in offers:
        if cause.code in offer.when:
            for nth in range(1, offer.times + 1):
                ask = Ask(offer.witness, nth)
                if ask not in asked:
                    return ask
    return None


def _broken(
    ladder: Sequence[str], findings: Sequence[Finding], works: frozenset[str], cause: Finding
) -> Verdict:
    silences = sum(finding.silences for finding in findings if finding.seen_at == cause.seen_at)
    unexplained = cause.silences > 0 and silences < ENOUGH_SILENCES
    still_open = _open(cause, works)
    return Verdict(
        state=State.UNKNOWN if unexplained else cause.state,
        finding=cause if still_open == cause.could_also_be else replace(cause, could_also_be=still_open),
        proven_layers=tuple(name for name in ladder if name in works and name != cause.layer),
        also=_others(ladder, findings, works, cause),
    )


def _all_well(ladder: Sequence[str], findings: Sequence[Finding], works: frozenset[str]) -> Verdict:
    also = _others(ladder, findings, works, None)
    proven = tuple(name for name in ladder if name in works)
    if len(proven) < len(ladder) or not ladder:
        return Verdict(state=State.UNKNOWN, proven_layers=proven, also=also)
    slow = next((finding for finding in also if finding.state is State.SLOW), None)
    if slow is None:
        return Verdict(state=State.OK, proven_layers=proven, also=also)
    rest = tuple(finding for finding in also if finding is not slow)
    return Verdict(state=State.SLOW, finding=slow, proven_layers=proven, also=rest)


def _others(
    ladder: Sequence[str], findings: Sequence[Finding], works: frozenset[str], cause: Finding | None
) -> tuple[Finding, ...]:
    """Every coded finding but the cause, once each; a forgiven silence stays visible as a warning."""
    kept: dict[str, Finding] = {}
    for finding in findings:
        if finding.code is None or (cause is not None and finding.code == cause.code):
            continue
        pardoned = _pardoned(finding, works, ladder)
        kept.setdefault(finding.code, replace(finding, state=State.OK) if pardoned else finding)
    return tuple(kept.values())


def _open(cause: Finding, works: frozenset[str]) -> tuple[str, ...]:
    """What else the cause could be, less what the evidence has since ruled out."""
    return tuple(code for code in cause.could_also_be if code.partition(".")[0] not in works)
