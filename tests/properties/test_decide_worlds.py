"""In worlds drawn at random, with climbs and witnesses played out, the decision blames exactly what is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum, auto

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.decide import Ask, Offer, decide
from fleetprobe.model.verdict import Confidence, Finding, State, Verdict
from tests.properties.evidence import NAMES, OWN

AGAIN, ASIDE = "again", "aside"


class How(Enum):
    """In which way a rung of the world is not well."""

    LOUD = auto()
    """Somebody says no, every time."""
    SILENT = auto()
    """Nothing comes back, every time."""
    SHY = auto()
    """Nothing comes back, ever, yet what stands on it works: ICMP where it is filtered."""
    LOST_ONCE = auto()
    """Nothing comes back the first time."""


@dataclass(frozen=True, slots=True)
class World:
    """One ladder and what is wrong with it."""

    ladder: tuple[str, ...]
    ill: dict[str, How]
    unproven: dict[str, frozenset[str]] = field(default_factory=dict)
    """What the pass of a rung leaves open below it."""
    own_limit_at: str | None = None
    """The rung at which our own machine gives out, in the first climb."""

    def climb(self, nth: int) -> list[Finding]:
        """What one climb finds."""
        seen: list[Finding] = []
        for height, name in enumerate(self.ladder):
            if nth == 1 and name == self.own_limit_at:
                return [*seen, Finding(layer=OWN, state=State.UNKNOWN, code=f"{OWN}.limit")]
            match self.ill.get(name):
                case How.LOUD:
                    proves = frozenset(self.ladder[height - 1 : height])
                    return [*seen, Finding(layer=name, state=State.FAIL, code=f"{name}.no", proves=proves)]
                case How.SILENT:
                    return [*seen, silence(name)]
                case How.LOST_ONCE if nth == 1:
                    return [*seen, silence(name)]
                case How.SHY:
                    seen.append(silence(name))
                case _:
                    open_below = self.unproven.get(name, frozenset())
                    seen.append(Finding(layer=name, unproven=open_below & set(self.ladder[:height])))
        return seen


def silence(layer: str) -> Finding:
    return Finding(
        layer=layer,
        state=State.FAIL,
        code=f"{layer}.silent",
        confidence=Confidence.INFERRED,
        silences=1,
        could_also_be=tuple(f"{name}.silent" for name in NAMES),
    )


@dataclass(slots=True)
class Played:
    """How the examination of a world went."""

    verdict: Verdict
    asks: list[Ask]
    seen: list[Finding]


def play(world: World, offers: tuple[Offer, ...], aside: Callable[[int], list[Finding]] = lambda nth: []) -> Played:
    """Climb, then ask whatever is wanted until there is a verdict."""
    seen = world.climb(1)
    asks: list[Ask] = []
    for _ in range(50):
        match decide(world.ladder, seen, offers, frozenset(asks)):
            case Ask() as ask:
                assert ask not in asks
                asks.append(ask)
                seen = seen + (world.climb(1 + ask.nth) if ask.witness == AGAIN else aside(ask.nth))
            case Verdict() as verdict:
                return Played(verdict, asks, seen)
    raise AssertionError("it never ends")


def again(world: World, times: int = 1) -> tuple[Offer, ...]:
    return (Offer(AGAIN, frozenset(f"{name}.silent" for name in world.ladder), times),)


ladders = st.integers(1, len(NAMES)).map(lambda height: NAMES[:height])


@st.composite
def worlds(draw: st.DrawFn, *kinds: How, most: int = 1, own: bool = False) -> World:
    """A world in which up to `most` rungs are ill in one of these ways."""
    ladder = draw(ladders)
    ill = draw(st.dictionaries(st.sampled_from(ladder), st.sampled_from(kinds), max_size=most)) if kinds else {}
    return World(ladder, ill, own_limit_at=draw(st.sampled_from(ladder)) if own else None)


@given(worlds(), st.booleans())
def test_a_healthy_target_is_ok_at_once_with_every_rung_proven(world: World, offered: bool) -> None:
    played = play(world, again(world) if offered else ())
    assert played.asks == []
    assert played.verdict == Verdict(state=State.OK, proven_layers=world.ladder)


@given(worlds(How.LOUD, How.SILENT))
def test_the_broken_rung_is_blamed_and_everything_under_it_is_proven(world: World) -> None:
    played = play(world, again(world))
    if not world.ill:
        assert played.verdict.state is State.OK
        return
    ((layer, how),) = world.ill.items()
    below = world.ladder[: world.ladder.index(layer)]
    assert played.verdict.state is State.FAIL
    assert played.verdict.code == f"{layer}.{'no' if how is How.LOUD else 'silent'}"
    assert played.verdict.proven_layers == below
    assert played.asks == ([] if how is How.LOUD else [Ask(AGAIN, 1)])


@given(worlds(How.SILENT))
def test_two_silences_fail_with_inferred_confidence_and_without_a_witness_one_is_unknown(world: World) -> None:
    if not world.ill:
        return
    (layer,) = world.ill
    alone, twice = play(world, ()).verdict, play(world, again(world)).verdict
    assert (alone.state, alone.code) == (State.UNKNOWN, f"{layer}.silent")
    assert (twice.state, twice.code) == (State.FAIL, f"{layer}.silent")
    assert twice.finding is not None
    assert twice.finding.confidence is Confidence.INFERRED
    below = set(world.ladder[: world.ladder.index(layer)])
    assert set(twice.finding.could_also_be) == {f"{name}.silent" for name in set(NAMES) - below}


@given(worlds(How.LOST_ONCE))
def test_what_is_lost_once_is_forgiven_when_the_second_climb_works_and_stays_as_a_warning(world: World) -> None:
    verdict = play(world, again(world)).verdict
    assert verdict.state is State.OK
    assert verdict.proven_layers == world.ladder
    assert [(one.code, one.state) for one in verdict.also] == [(f"{name}.silent", State.OK) for name in world.ill]


@given(worlds(How.SHY, most=4), st.booleans())
def test_a_lower_silence_is_forgiven_when_something_above_works(world: World, offered: bool) -> None:
    verdict = play(world, again(world) if offered else ()).verdict
    top_works = world.ladder[-1] not in world.ill
    assert (verdict.state is State.OK) == top_works
    if top_works:
        assert {one.code for one in verdict.also} == {f"{name}.silent" for name in world.ill}
        assert verdict.finding is None


@given(worlds(How.SHY, most=4), st.data())
def test_of_silent_rungs_under_a_loud_one_the_loud_one_is_blamed(world: World, data: st.DataObject) -> None:
    layer = data.draw(st.sampled_from(world.ladder))
    broken = World(world.ladder, {**world.ill, layer: How.LOUD})
    assert play(broken, again(broken)).verdict.code == f"{layer}.no"


@given(worlds(How.SHY, How.LOUD, How.SILENT, How.LOST_ONCE, most=5), st.integers(0, 3))
def test_no_rung_is_ever_blamed_that_did_not_break(world: World, times: int) -> None:
    verdict = play(world, again(world, times)).verdict
    if verdict.finding is not None:
        assert verdict.finding.layer in world.ill
    broken = [name for name, how in world.ill.items() if how in (How.LOUD, How.SILENT)]
    if broken:
        assert verdict.state in (State.FAIL, State.UNKNOWN)


@given(worlds(How.LOUD, How.SILENT, How.LOST_ONCE, own=True))
def test_our_own_limits_never_fail_the_target(world: World) -> None:
    verdict = play(world, (), aside=lambda nth: []).verdict
    assert world.own_limit_at is not None
    limit = world.ladder.index(world.own_limit_at)
    reached = [name for name in world.ill if world.ladder.index(name) < limit]
    if not reached:
        assert (verdict.state, verdict.code) == (State.UNKNOWN, f"{OWN}.limit")


@given(worlds(own=True))
def test_our_own_limits_are_forgotten_when_a_second_climb_reaches_the_top(world: World) -> None:
    offers = (Offer(AGAIN, frozenset({f"{OWN}.limit"})),)
    played = play(world, offers)
    assert played.asks == [Ask(AGAIN, 1)]
    assert (played.verdict.state, played.verdict.code) == (State.OK, None)


@given(worlds(), st.data())
def test_what_a_pass_leaves_unproven_stays_doubtful_until_something_else_carries_it(
    world: World, data: st.DataObject
) -> None:
    doubtful = data.draw(st.sampled_from(world.ladder))
    at = world.ladder.index(doubtful)
    above = {name: frozenset({doubtful}) for name in world.ladder[at + 1 :]}
    sick = World(world.ladder, {doubtful: How.SHY}, unproven=above)
    verdict = play(sick, again(sick)).verdict
    assert (verdict.state, verdict.code) == (State.FAIL, f"{doubtful}.silent")
    if above:
        eased = World(world.ladder, {doubtful: How.SHY}, unproven=dict(list(above.items())[1:]))
        assert play(eased, again(eased)).verdict.state is State.OK


@given(worlds(How.SILENT), st.integers(1, 4), st.integers(1, 4))
def test_witnesses_are_asked_in_the_order_declared_as_often_as_declared(world: World, first: int, second: int) -> None:
    if not world.ill:
        return
    codes = frozenset(f"{name}.silent" for name in world.ladder)
    played = play(world, (Offer(ASIDE, codes, first), Offer(AGAIN, codes, second)))
    assert played.asks == [Ask(ASIDE, nth + 1) for nth in range(first)] + [Ask(AGAIN, nth + 1) for nth in range(second)]


@given(worlds(How.SILENT))
def test_a_proof_ends_the_asking(world: World) -> None:
    if not world.ill:
        return
    (layer,) = world.ill
    codes = frozenset(f"{name}.silent" for name in world.ladder)
    proof = Finding(layer=layer, state=State.FAIL, code=f"{layer}.proof", confidence=Confidence.PROVEN)
    offers = (Offer(ASIDE, codes), Offer(AGAIN, codes | {f"{layer}.proof"}, 3))
    played = play(world, offers, aside=lambda nth: [proof])
    assert played.asks == [Ask(ASIDE, 1)]
    assert played.verdict.finding == proof


@given(worlds(), st.data())
def test_the_lowest_slow_rung_makes_a_target_slow_that_works_otherwise(world: World, data: st.DataObject) -> None:
    slow = data.draw(st.lists(st.sampled_from(world.ladder), unique=True, min_size=1))
    notes = [Finding(layer=name, state=State.SLOW, code=f"{name}.slow") for name in slow]
    verdict = decide(world.ladder, [*world.climb(1), *notes])
    lowest = min(slow, key=world.ladder.index)
    assert isinstance(verdict, Verdict)
    assert (verdict.state, verdict.code, verdict.proven_layers) == (State.SLOW, f"{lowest}.slow", world.ladder)
    assert {one.code for one in verdict.also} == {one.code for one in notes} - {f"{lowest}.slow"}


STRONGER = [(strong, weak) for at, strong in enumerate(Confidence) for weak in list(Confidence)[at + 1 :]]


@pytest.mark.parametrize(("strong", "weak"), STRONGER)
def test_of_two_findings_about_one_rung_the_better_carried_speaks(strong: Confidence, weak: Confidence) -> None:
    first = Finding(layer="able", state=State.FAIL, code="able.z", confidence=strong, summary="z")
    second = Finding(layer="able", state=State.FAIL, code="able.a", confidence=weak, summary="a")
    for seen in ([first, second], [second, first]):
        assert decide(("able",), seen) == Verdict(state=State.FAIL, finding=first, also=(second,))


def test_of_two_findings_alike_in_all_else_the_first_by_its_code_speaks() -> None:
    first = Finding(layer="able", state=State.FAIL, code="able.a", summary="z")
    second = Finding(layer="able", state=State.FAIL, code="able.z", summary="a")
    for seen in ([first, second], [second, first]):
        assert decide(("able",), seen) == Verdict(state=State.FAIL, finding=first, also=(second,))


def test_a_silence_about_a_lower_rung_heard_at_a_higher_one_takes_the_proof_from_the_lower() -> None:
    stalled = replace(silence("able"), rung="baker", silences=2, could_also_be=())
    assert decide(("able", "baker"), [Finding(layer="able"), stalled]) == Verdict(state=State.FAIL, finding=stalled)
    works = decide(("able", "baker"), [Finding(layer="able"), stalled, Finding(layer="baker")])
    assert works == Verdict(state=State.OK, proven_layers=("able", "baker"), also=(replace(stalled, state=State.OK),))


def test_a_silence_of_our_own_decides_until_every_rung_works() -> None:
    mute = Finding(layer=OWN, state=State.BLOCKED, code=f"{OWN}.mute", silences=2)
    half = decide(("able", "baker"), [Finding(layer="able"), mute])
    assert half == Verdict(state=State.BLOCKED, finding=mute, proven_layers=("able",))
    whole = decide(("able", "baker"), [Finding(layer="baker"), mute])
    assert whole == Verdict(state=State.OK, proven_layers=("able", "baker"), also=(replace(mute, state=State.OK),))


def test_without_a_ladder_or_without_evidence_nothing_is_ok() -> None:
    assert decide((), []) == Verdict(state=State.UNKNOWN)
    assert decide(NAMES, []) == Verdict(state=State.UNKNOWN)
    lower = Finding(layer=NAMES[-2])
    assert decide(NAMES, [lower]) == Verdict(state=State.UNKNOWN, proven_layers=NAMES[:-1])
    hopeful = Finding(layer=NAMES[-1], tentative=True)
    assert decide(NAMES, [hopeful]) == Verdict(state=State.UNKNOWN)
    slow = Finding(layer=NAMES[0], state=State.SLOW, code=f"{NAMES[0]}.slow")
    assert decide(NAMES, [slow]).state is State.UNKNOWN  # type: ignore[union-attr]  # nobody was offered to be asked
