"""The laws of the decision hold for any evidence whatever."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.decide import ENOUGH_SILENCES, Ask, Offer, best, decide, worst
from fleetprobe.model.verdict import Confidence, Finding, State, Verdict
from tests.properties.evidence import BREAKING, OWN, WORDS, Case, carried, cases

_STRENGTH = list(Confidence)


def ruled(case: Case) -> Verdict:
    """The verdict when nobody can be asked any more."""
    verdict = decide(case.ladder, case.seen)
    assert isinstance(verdict, Verdict)
    return verdict


def works(case: Case) -> set[str]:
    return {layer for layer in case.ladder if carried(case, layer)}


def loud(case: Case) -> list[Finding]:
    return [one for one in case.seen if one.breaks and one.silences == 0 and one.layer in case.ladder]


def ours(case: Case) -> list[Finding]:
    return [one for one in case.seen if one.breaks and one.silences == 0 and one.layer not in case.ladder]


def quiet(case: Case) -> list[Finding]:
    return [one for one in case.seen if one.breaks and one.silences and not forgiven(case, one)]


def rung(finding: Finding) -> str:
    return finding.rung or finding.layer


def forgiven(case: Case, finding: Finding) -> bool:
    if rung(finding) in case.ladder:
        return carried(case, rung(finding))
    return works(case) == set(case.ladder)


def pardoned(case: Case, finding: Finding) -> bool:
    return finding.silences > 0 and forgiven(case, finding)


def height(case: Case, finding: Finding) -> int:
    return case.ladder.index(finding.layer) if finding.layer in case.ladder else -1


def speaks_first(case: Case, among: list[Finding]) -> Finding:
    """The lowest; of one layer the lowest rank; of one rank the best carried."""
    return min(
        among,
        key=lambda one: (height(case, one), one.rank, _STRENGTH.index(one.confidence), one.code, one.summary),
    )


def blamed(case: Case) -> Finding | None:
    """The finding behind the verdict, as it was seen; None when the verdict blames nobody."""
    finding = ruled(case).finding
    if finding is None or not finding.breaks:
        return None
    same = [
        one
        for one in case.seen
        if (one.code, one.summary, one.rank, one.confidence)
        == (finding.code, finding.summary, finding.rank, finding.confidence)
    ]
    assert same, "the verdict blames a finding that nobody made"
    return same[0]


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_evidence_does_not_matter(case: Case, dice: Random) -> None:
    shuffled = list(case.seen)
    dice.shuffle(shuffled)
    assert decide(case.ladder, shuffled, case.offers, case.asked) == decide(
        case.ladder, case.seen, case.offers, case.asked
    )


@given(cases())
def test_hearing_the_same_loud_thing_twice_changes_nothing(case: Case) -> None:
    again = tuple(one for one in case.seen if one.silences == 0)
    assert decide(case.ladder, case.seen + again) == decide(case.ladder, case.seen)


@given(cases("loud"))
def test_the_lowest_loud_break_is_the_cause_whatever_else_was_seen(case: Case) -> None:
    assert blamed(case) == speaks_first(case, loud(case))
    assert ruled(case).state is speaks_first(case, loud(case)).state


@given(cases("own loud"))
def test_our_own_limits_decide_only_when_nothing_loud_was_heard_and_not_all_works(case: Case) -> None:
    if loud(case) or works(case) == set(case.ladder):
        assert blamed(case) not in ours(case)
    else:
        assert blamed(case) == speaks_first(case, ours(case))


@given(cases("own loud"))
def test_our_own_limits_never_fail_the_target_through_a_silence_of_its_own(case: Case) -> None:
    cause = blamed(case)
    if cause is not None and cause.silences:
        assert works(case) == set(case.ladder)


@given(cases("silent"))
def test_a_silence_decides_only_when_nothing_loud_broke_and_is_forgiven_when_its_layer_works(case: Case) -> None:
    if loud(case) or (ours(case) and works(case) != set(case.ladder)):
        assert blamed(case) not in quiet(case)
    elif quiet(case):
        assert blamed(case) == speaks_first(case, quiet(case))
    else:
        assert blamed(case) is None


@given(cases("silent"))
def test_one_silence_is_unknown_and_two_stand(case: Case) -> None:
    assert ENOUGH_SILENCES == 2
    cause = blamed(case)
    if cause is not None and cause.silences > 0:
        heard_nothing = sum(one.silences for one in case.seen if rung(one) == rung(cause))
        assert ruled(case).state is (State.UNKNOWN if heard_nothing < 2 else cause.state)


@given(cases())
def test_a_verdict_of_ok_or_slow_means_that_every_rung_works_and_nothing_is_left_open(case: Case) -> None:
    verdict = ruled(case)
    well = blamed(case) is None and case.ladder != () and works(case) == set(case.ladder)
    assert (verdict.state in (State.OK, State.SLOW)) == well
    if not well and blamed(case) is None:
        assert verdict.state is State.UNKNOWN
        assert verdict.finding is None


@given(cases())
def test_the_lowest_slowness_speaks_for_a_target_that_works(case: Case) -> None:
    verdict = ruled(case)
    if verdict.state not in (State.OK, State.SLOW):
        return
    slow = [one for one in case.seen if one.state is State.SLOW]
    told = {one.code: speaks_first(case, [other for other in case.seen if other.code == one.code]) for one in slow}
    still_slow = [one for one in told.values() if one.state is State.SLOW and not pardoned(case, one)]
    if still_slow:
        assert verdict.finding == speaks_first(case, still_slow)
        assert verdict.state is State.SLOW
    else:
        assert verdict.finding is None
        assert verdict.state is State.OK


@given(cases())
def test_what_is_proven_is_what_evidence_carries_less_the_layer_blamed(case: Case) -> None:
    verdict, cause = ruled(case), blamed(case)
    expected = [name for name in case.ladder if carried(case, name) and (not cause or name != cause.layer)]
    assert list(verdict.proven_layers) == expected


@given(cases("loud", "loud", "pass"))
def test_a_layer_that_broke_loudly_is_never_listed_as_known_good(case: Case) -> None:
    assert not {one.layer for one in loud(case)} & set(ruled(case).proven_layers)


@given(cases("own silent", "pass"))
def test_nothing_of_our_own_decides_when_every_rung_works(case: Case) -> None:
    if works(case) == set(case.ladder) and not loud(case):
        assert ruled(case).state in (State.OK, State.SLOW)


@given(cases())
def test_what_the_cause_could_also_be_loses_what_is_proven_and_nothing_else(case: Case) -> None:
    verdict, cause = ruled(case), blamed(case)
    if cause is None:
        return
    assert verdict.finding is not None
    left = [code for code in cause.could_also_be if code.split(".")[0] not in works(case)]
    assert list(verdict.finding.could_also_be) == left


@given(cases())
def test_everything_else_that_has_a_code_is_told_once_in_the_order_of_the_ladder(case: Case) -> None:
    verdict = ruled(case)
    own_code = verdict.code
    by_code = {
        code: speaks_first(case, [one for one in case.seen if one.code == code])
        for code in {one.code for one in case.seen if one.code is not None} - {own_code}
    }
    assert {one.code for one in verdict.also} == set(by_code)
    assert len(verdict.also) == len(by_code)
    for one in verdict.also:
        source = by_code[str(one.code)]
        assert one.state is (State.OK if pardoned(case, source) else source.state)
        assert (one.summary, one.layer, one.silences) == (source.summary, source.layer, source.silences)
    assert [one.summary for one in verdict.also] == [
        one.summary
        for one in sorted(
            by_code.values(),
            key=lambda one: (height(case, one), one.rank, _STRENGTH.index(one.confidence), one.code, one.summary),
        )
    ]


@given(cases())
def test_a_witness_is_asked_in_turn_and_never_the_same_twice(case: Case) -> None:
    answer = decide(case.ladder, case.seen, case.offers, case.asked)
    cause = blamed(case) or ruled(case).finding
    open_asks = [
        Ask(offer.witness, nth)
        for offer in case.offers
        for nth in range(1, offer.times + 1)
        if cause is not None and cause.code in offer.when and Ask(offer.witness, nth) not in case.asked
    ]
    if cause is None or cause.confidence is Confidence.PROVEN or not open_asks:
        assert answer == ruled(case)
    else:
        assert answer == open_asks[0]


@given(cases())
def test_asking_always_ends_and_never_exceeds_what_was_declared(case: Case) -> None:
    asked: set[Ask] = set()
    while isinstance(answer := decide(case.ladder, case.seen, case.offers, asked), Ask):
        assert answer not in asked
        asked.add(answer)
    most = {offer.witness: 0 for offer in case.offers}
    for offer in case.offers:
        most[offer.witness] = max(most[offer.witness], offer.times)
    for witness, times in most.items():
        assert sum(ask.witness == witness for ask in asked) <= times


def test_a_witness_is_declared_for_one_time_unless_it_says_more() -> None:
    silent = Finding(layer="able", state=State.FAIL, code="able.cut", silences=1)
    offer = Offer("again", frozenset({"able.cut"}))
    assert decide(("able",), [silent], [offer]) == Ask("again", 1)
    assert isinstance(decide(("able",), [silent], [offer], {Ask("again", 1)}), Verdict)


@given(st.lists(st.sampled_from(State), min_size=1, max_size=8))
def test_the_best_address_speaks_and_the_earlier_of_equals(states: list[State]) -> None:
    goodness = [State.OK, State.SLOW, State.UNKNOWN, State.FAIL, State.BLOCKED]
    index = best([Verdict(state=state) for state in states])
    assert all(goodness.index(states[index]) <= goodness.index(state) for state in states)
    assert states[index] not in states[:index]


@given(st.lists(st.sampled_from(State), min_size=1, max_size=8))
def test_the_worst_address_speaks_when_all_are_expected_and_the_earlier_of_equals(states: list[State]) -> None:
    goodness = [State.OK, State.SLOW, State.UNKNOWN, State.FAIL, State.BLOCKED]
    index = worst([Verdict(state=state) for state in states])
    assert all(goodness.index(states[index]) >= goodness.index(state) for state in states)
    assert states[index] not in states[:index]


def test_of_two_failed_addresses_the_one_that_got_farther_speaks_whichever_comes_first() -> None:
    near = Verdict(state=State.FAIL, proven_layers=("able",))
    far = Verdict(state=State.FAIL, proven_layers=("able", "baker"))
    assert (best([near, far]), best([far, near])) == (1, 0)
    assert best([far, Verdict(state=State.SLOW)]) == 1


def test_of_two_equal_findings_the_longer_silence_speaks_in_either_order() -> None:
    short = Finding(layer="able", state=State.FAIL, code="able.cut", silences=1, facts={"waited": 1})
    long = Finding(layer="able", state=State.FAIL, code="able.cut", silences=2, facts={"waited": 2})
    for seen in ([short, long], [long, short]):
        verdict = decide(("able",), seen)
        assert isinstance(verdict, Verdict)
        assert verdict.finding is not None
        assert verdict.finding.facts == {"waited": 2}


def test_what_is_final_is_not_asked_about_and_anything_else_is() -> None:
    refused = Finding(layer="able", state=State.FAIL, code="able.cut")
    offers = [Offer("origin", frozenset({"able.cut"}))]
    assert decide(("able",), [refused], offers) == Ask("origin", 1)
    assert isinstance(decide(("able",), [replace(refused, final=True)], offers), Verdict)


def test_a_tentative_finding_is_neither_a_pass_nor_a_break() -> None:
    verdict = decide(("able",), [Finding(layer="able", tentative=True)])
    assert isinstance(verdict, Verdict)
    assert (verdict.state, verdict.proven_layers) == (State.UNKNOWN, ())


@given(cases())
def test_a_finding_that_breaks_nothing_is_never_blamed(case: Case) -> None:
    verdict = ruled(case)
    if verdict.finding is not None:
        assert verdict.finding.state in (*BREAKING, State.SLOW)
        assert verdict.finding.code is not None
        assert verdict.finding.code.split(".")[1] in WORDS
        assert verdict.finding.layer in (*case.ladder, OWN)
