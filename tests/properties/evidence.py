"""Evidence drawn at random: ladders, findings and offers with layer names that mean nothing.

A finding is drawn as two small numbers and decoded digit by digit. That is twenty times faster than composed
strategies, which is what lets a mutation run finish in minutes, and it still shrinks to something small.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

from hypothesis import strategies as st

from fleetprobe.decide import Ask, Offer
from fleetprobe.model.verdict import Confidence, Finding, State

T = TypeVar("T")

NAMES = ("able", "baker", "charlie", "dog", "easy")
OWN = "own"
"""Stands for local, vantage and policy: not a rung of any ladder."""
WORDS = ("bent", "cut", "dull")
CODES = tuple(f"{layer}.{word}" for layer in (*NAMES, OWN) for word in WORDS)
BREAKING = (State.FAIL, State.UNKNOWN, State.BLOCKED)
WITNESSES = ("again", "elsewhere", "later")

_KINDS = ("pass", "pass", "pass", "tentative", "warn", "slow", "loud", "loud", "silent", "silent")
_SHAPES = len(NAMES) * 2 * 3 * len(_KINDS) * 3 * 3 * 3 * 3 * 3
_DETAILS = 5 * 32 * 32 * (len(CODES) + 1) ** 2
_OFFERS = len(WITNESSES) * 3 * 2 ** len(CODES)


class Digits:
    """Takes one number apart, digit by digit, each digit in a base of its own."""

    def __init__(self, number: int) -> None:
        self._rest = number

    def one_of(self, choices: Sequence[T]) -> T:
        self._rest, at = divmod(self._rest, len(choices))
        return choices[at]

    def some_of(self, choices: Sequence[T]) -> tuple[T, ...]:
        return tuple(choice for choice in choices if self.one_of((False, True)))


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that is handed to `decide`."""

    ladder: tuple[str, ...]
    seen: tuple[Finding, ...]
    offers: tuple[Offer, ...]
    asked: frozenset[Ask]


@lru_cache(maxsize=65536)
def finding(ladder: tuple[str, ...], layers: tuple[str, ...], shape: int, detail: int, kind: str = "") -> Finding:
    """The finding that two numbers stand for, about one of the layers. Its summary tells it from every other.

    What speaks of no rung was mostly seen at one; now and then so was what speaks of another rung.
    """
    digits, more = Digits(shape), Digits(detail)
    drawn = digits.one_of(_KINDS)
    kind = kind or drawn
    layer = digits.one_of(layers)
    if kind in ("pass", "tentative"):
        unproven = frozenset(more.some_of(NAMES)) if digits.one_of((False, True)) else frozenset()
        return _named(Finding(layer=layer, unproven=unproven, tentative=kind == "tentative"))
    silences = digits.one_of((1, 2)) if kind == "silent" else 0
    if kind in ("warn", "slow"):
        silences = digits.one_of((0, 0, 1))
    state = {"warn": State.OK, "slow": State.SLOW}.get(kind) or digits.one_of(BREAKING)
    placed = bool(ladder) and digits.one_of((True, True, False) if layer == OWN else (False, False, True))
    made = Finding(
        layer=layer,
        rung=more.one_of(ladder) if placed else None,
        state=state,
        silences=silences,
        code=f"{layer}.{digits.one_of(WORDS)}",
        confidence=digits.one_of(tuple(Confidence)[::-1]),
        rank=digits.one_of((0, 1, 2)),
        proves=frozenset(more.some_of(NAMES)),
        could_also_be=tuple(dict.fromkeys(filter(None, (more.one_of(("", *CODES)), more.one_of(("", *CODES)))))),
    )
    return _named(made)


def _named(made: Finding) -> Finding:
    sets = (sorted(made.proves), sorted(made.unproven), made.could_also_be)
    return replace(made, summary=f"{made.state} {made.silences} {made.tentative} {made.rung} {sets}")


def _offer(number: int) -> Offer:
    digits = Digits(number)
    return Offer(digits.one_of(WITNESSES), times=digits.one_of((1, 2, 3)), when=frozenset(digits.some_of(CODES)))


def _asked(number: int) -> frozenset[Ask]:
    return frozenset(Digits(number).some_of([Ask(witness, nth) for nth in (1, 2, 3) for witness in WITNESSES]))


def cases(*must: str) -> st.SearchStrategy[Case]:
    """A ladder and whatever was seen on it and beside it, among it one finding of each kind that must occur.

    `own` before a kind puts that one beside the ladder: `own loud`.
    """
    pair = st.tuples(st.integers(0, _SHAPES - 1), st.integers(0, _DETAILS - 1))

    def build(
        height: int, drawn: list[tuple[int, int]], musts: tuple[tuple[int, int], ...], offers: list[int], asked: int
    ) -> Case:
        ladder = NAMES[:height]
        seen = [finding(ladder, (*ladder, *ladder, OWN), *numbers) for numbers in drawn]
        for wish, numbers in zip(must, musts, strict=True):
            own, _, kind = wish.rpartition(" ")
            it = finding(ladder, (OWN,) if own else ladder, *numbers, kind)
            seen.insert(numbers[1] % (len(seen) + 1), it)
        return Case(ladder, tuple(seen), tuple(map(_offer, offers)), _asked(asked))

    make: Callable[..., Case] = build
    return st.builds(
        make,
        st.integers(1 if must else 0, len(NAMES)),
        st.lists(pair, max_size=7),
        st.tuples(*[pair for _ in must]),
        st.lists(st.integers(0, _OFFERS - 1), max_size=3),
        st.integers(0, 2**9 - 1),
    )


def carried(case: Case, layer: str) -> bool:
    """Whether anything seen shows that this layer works, said once more and otherwise than `decide` says it."""
    above = case.ladder[case.ladder.index(layer) :]
    if any(one.layer == layer and one.state in BREAKING and one.silences == 0 for one in case.seen):
        return False
    for one in case.seen:
        if layer in one.unproven:
            continue
        if one.code is None and not one.tentative and one.layer in above:
            return True
        if one.state in BREAKING and one.silences == 0 and not one.proves.isdisjoint(above):
            return True
    return False
