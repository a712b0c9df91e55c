"""A finding that explains another takes its place, and nothing gets better by it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.decide import Ask, Offer, decide
from fleetprobe.model.verdict import Confidence, Finding, State, Verdict
from tests.properties.evidence import CODES, Case, cases

WELL = (State.OK, State.SLOW)


@st.composite
def explaining(draw: st.DrawFn, *must: str) -> Case:
    """Evidence in which some findings that break say that they explain others."""
    case = draw(cases(*must))
    spread = st.frozensets(st.sampled_from(CODES), max_size=4)
    seen = tuple(replace(one, supersedes=draw(spread)) if one.breaks else one for one in case.seen)
    return replace(case, seen=seen)


def ruled(case: Case) -> Verdict:
    """The verdict when nobody can be asked any more."""
    every = frozenset(Ask(offer.witness, nth) for offer in case.offers for nth in range(1, offer.times + 1))
    verdict = decide(case.ladder, case.seen, case.offers, every)
    assert isinstance(verdict, Verdict)
    return verdict


def bare(case: Case) -> Case:
    """The same evidence, in which nothing explains anything."""
    return replace(case, seen=tuple(replace(one, supersedes=frozenset()) for one in case.seen))


def finding(code: str, *explains: str, silences: int = 0, state: State = State.FAIL) -> Finding:
    return Finding(
        layer=code.partition(".")[0], state=state, code=code, silences=silences, summary=code,
        supersedes=frozenset(explains),
    )


@given(explaining("loud"))
def test_an_explanation_never_makes_a_broken_target_well(case: Case) -> None:
    if ruled(bare(case)).state not in WELL:
        assert ruled(case).state not in WELL


@given(explaining("silent", "pass"))
def test_an_explanation_of_silences_never_makes_a_target_well_that_was_not(case: Case) -> None:
    if ruled(bare(case)).state not in WELL:
        assert ruled(case).state not in WELL


@given(explaining(), st.randoms(use_true_random=False))
def test_the_order_of_explanations_does_not_matter(case: Case, dice: Random) -> None:
    shuffled = list(case.seen)
    dice.shuffle(shuffled)
    assert decide(case.ladder, shuffled, case.offers, case.asked) == decide(
        case.ladder, case.seen, case.offers, case.asked
    )


@given(explaining("loud"))
def test_what_is_blamed_was_seen(case: Case) -> None:
    verdict = ruled(case)
    if verdict.finding is not None and verdict.finding.breaks:
        assert any(
            (one.code, one.summary) == (verdict.finding.code, verdict.finding.summary) for one in case.seen
        )


@given(explaining("loud", "loud"))
def test_something_that_broke_is_always_left_to_blame(case: Case) -> None:
    """However findings explain each other, in a chain or in a circle, one of them must remain."""
    verdict = ruled(case)
    assert verdict.finding is not None
    assert verdict.finding.breaks


@given(explaining())
def test_an_explanation_of_what_was_not_seen_changes_nothing(case: Case) -> None:
    seen = frozenset(one.code for one in case.seen)
    idle = replace(case, seen=tuple(replace(one, supersedes=one.supersedes - seen) for one in case.seen))
    told, plain = ruled(idle), ruled(bare(case))
    assert (told.state, told.code, told.proven_layers) == (plain.state, plain.code, plain.proven_layers)


def test_the_explanation_takes_the_place_of_what_it_explains_and_what_that_proved() -> None:
    refused = replace(finding("dog.refused"), proves=frozenset({"charlie"}))
    box = finding("dog.rejected", "dog.refused")
    verdict = decide(("charlie", "dog"), [refused, box])
    assert isinstance(verdict, Verdict)
    assert (verdict.code, verdict.also, verdict.proven_layers) == ("dog.rejected", (), ())
    alone = decide(("charlie", "dog"), [refused])
    assert isinstance(alone, Verdict)
    assert alone.proven_layers == ("charlie",)


def test_it_takes_the_place_of_every_finding_with_that_code() -> None:
    twice = [finding("dog.silent", silences=1), replace(finding("dog.silent", silences=1), summary="again")]
    verdict = decide(("dog",), [*twice, finding("dog.filtered", "dog.silent", silences=2)])
    assert isinstance(verdict, Verdict)
    assert (verdict.state, verdict.code, verdict.also) == (State.FAIL, "dog.filtered", ())


@pytest.mark.parametrize("length", [2, 3, 4])
def test_findings_that_explain_each_other_in_a_circle_all_stay(length: int) -> None:
    words = [f"dog.{word}" for word in ("bent", "cut", "dull", "eaten")[:length]]
    circle = [finding(code, words[(at + 1) % length]) for at, code in enumerate(words)]
    verdict = decide(("dog",), circle)
    assert isinstance(verdict, Verdict)
    assert verdict.state is State.FAIL
    assert {verdict.code, *(one.code for one in verdict.also)} == set(words)


def test_a_chain_leaves_its_head() -> None:
    chain = [finding("dog.bent", "dog.cut"), finding("dog.cut", "dog.dull"), finding("dog.dull")]
    verdict = decide(("dog",), chain)
    assert isinstance(verdict, Verdict)
    assert (verdict.code, verdict.also) == ("dog.bent", ())


def test_one_of_two_explanations_is_enough_though_the_other_is_mutual() -> None:
    mutual = [finding("dog.bent", "dog.cut"), finding("dog.cut", "dog.bent")]
    for third in ("dog.aged", "dog.dull"):
        verdict = decide(("dog",), [*mutual, finding(third, "dog.cut")])
        assert isinstance(verdict, Verdict)
        assert "dog.cut" not in {verdict.code, *(one.code for one in verdict.also)}


def test_a_finding_that_explains_itself_stays() -> None:
    verdict = decide(("dog",), [finding("dog.bent", "dog.bent")])
    assert isinstance(verdict, Verdict)
    assert verdict.code == "dog.bent"


def test_a_warning_explains_no_break_away() -> None:
    warning = finding("dog.warned", "dog.bent", state=State.OK)
    verdict = decide(("dog",), [finding("dog.bent"), warning, Finding(layer="dog")])
    assert isinstance(verdict, Verdict)
    assert (verdict.state, verdict.code) == (State.FAIL, "dog.bent")


def test_an_explained_silence_is_not_asked_about_again() -> None:
    offers = (Offer("again", frozenset({"dog.silent"})), Offer("proof", frozenset({"dog.filtered"})))
    silent = finding("dog.silent", silences=2)
    assert decide(("dog",), [silent], offers) == Ask("again", 1)
    filtered = replace(finding("dog.filtered", "dog.silent", silences=2), confidence=Confidence.INFERRED)
    assert decide(("dog",), [silent, filtered], offers) == Ask("proof", 1)


def test_the_silences_of_what_it_explains_do_not_count_for_it() -> None:
    silent, filtered = finding("dog.silent", silences=5), finding("dog.filtered", "dog.silent", silences=1)
    verdict = decide(("dog",), [silent, filtered])
    assert isinstance(verdict, Verdict)
    assert verdict.state is State.UNKNOWN


def test_a_silence_that_is_explained_is_still_forgiven_when_the_rung_works() -> None:
    silent, filtered = finding("dog.silent", silences=2), finding("dog.filtered", "dog.silent", silences=2)
    verdict = decide(("dog",), [silent, filtered, Finding(layer="dog")])
    assert isinstance(verdict, Verdict)
    assert verdict.state is State.OK
    assert [(one.code, one.state) for one in verdict.also] == [("dog.filtered", State.OK)]


def test_our_own_word_that_explains_something_heard_stands_though_every_rung_works() -> None:
    ours = Finding(layer="own", state=State.UNKNOWN, code="own.denied", supersedes=frozenset({"dog.silent"}))
    silent, passed = finding("dog.silent", silences=2), Finding(layer="dog")
    told = decide(("dog",), [silent, ours, passed])
    assert isinstance(told, Verdict)
    assert told.code == "own.denied"


def test_our_own_words_that_explain_each_other_only_do_not_stand_where_every_rung_works() -> None:
    """In a circle nothing is explained away, so nothing of the network's stands behind them."""
    ours = [
        Finding(layer="own", state=State.UNKNOWN, code="own.denied", supersedes=frozenset({"own.late"})),
        Finding(layer="own", state=State.UNKNOWN, code="own.late", supersedes=frozenset({"own.denied"})),
    ]
    told = decide(("dog",), [*ours, Finding(layer="dog")])
    assert isinstance(told, Verdict)
    assert told.state is State.OK
