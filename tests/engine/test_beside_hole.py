"""The question about a hole is put beside the climb: it ends when what was missing comes, and with nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from fleetprobe.engine.beside import Beside
from fleetprobe.examination import Climb
from fleetprobe.layer import Ground, Layer, Stall
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Finding, State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.interface import Stream, TcpInfo
from fleetprobe.net.path import Direction, Hole

STUCK = TcpInfo(
    rtt_ms=1.0, rtt_var_ms=0.5, total_retransmits=2, unacked_segments=0, sacked_segments=0, send_mss_bytes=1448,
    receive_mss_bytes=536, advertised_mss_bytes=1448, path_mtu_bytes=1500, bytes_acked=80, bytes_received=10,
    data_segments_in=2, out_of_order_segments=1,
)
PASS = Finding(layer="http")
LOUD = Finding(layer="tcp", state=State.FAIL, code="tcp.closed")
SILENCE = Finding(layer="http", state=State.FAIL, code="http.timeout", silences=1)


def hole(direction: Direction = Direction.REVERSE) -> Hole:
    return Hole(
        direction=direction, since_ms=100.0, sacked_segments=0, unacked_segments=0, bytes_acked=80, bytes_received=10,
        data_segments_in=2, out_of_order_segments=1, retransmits=2,
    )


class Told:
    """A stream of which only the kernel's account is asked for."""

    def __init__(self, account: TcpInfo | None) -> None:
        self.account = account

    def info(self) -> TcpInfo | None:
        return self.account


class Question:
    """A witness that takes its time, and waits for the end of the rung before it ends itself."""

    def __init__(self, takes_s: float) -> None:
        self.takes_s = takes_s
        self.asked: list[Stall] = []
        self.told: list[bool] = []

    async def look(self, climb: Climb, stall: Stall) -> None:
        self.asked.append(stall)
        await asyncio.sleep(self.takes_s)
        self.told.append(await stall.went_on())


def climb_over(
    finding: Finding, *, account: TcpInfo | None, takes_s: float, seen: Hole | None, rungs: int = 1,
    lasts_s: float = 0.05, seen_after_s: float = 0.0,
) -> tuple[Question, Beside]:
    """So many rungs one after the other, each of which meets the hole, or hangs for long, and ends with the finding."""
    question = Question(takes_s)

    async def ask() -> Beside:
        now = asyncio.get_running_loop().time

        async def begin(climb: Climb, until_s: float) -> None:
            await asyncio.sleep(until_s - now())

        beside = Beside(begin, question.look, now)

        async def probe(ground: Ground, net: Any) -> str:
            if seen is not None:
                asyncio.get_running_loop().call_later(seen_after_s, beside.hole, seen)
            await asyncio.sleep(lasts_s)
            return "facts"

        layer = Layer(name="http", probe=probe, judge=lambda *_: (finding,), emits=frozenset())
        target = Target(service="http", host="192.0.2.1", port=80)
        ground = Ground(target=target, policy=Policy(exchange_s=1.0, beside_s=0.1), deadline=now() + 9.0)
        ground.stream = cast(Stream, Told(account))
        for _ in range(rungs):
            await beside.ask(layer, ground, FakeNet())
        await beside.looked()
        await beside.give_up()
        return beside

    return question, asyncio.run(ask())


@pytest.mark.parametrize(
    ("direction", "come"),
    [
        (Direction.REVERSE, lambda info: replace(info, bytes_received=1458)),
        (Direction.FORWARD, lambda info: replace(info, bytes_acked=1528)),
    ],
)
def test_the_question_is_dropped_when_the_missing_bytes_come(
    direction: Direction, come: Callable[[TcpInfo], TcpInfo]
) -> None:
    question, _ = climb_over(PASS, account=come(STUCK), takes_s=0.5, seen=hole(direction))
    assert (len(question.asked), question.told) == (1, [])


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("account", [STUCK, None], ids=["still missing", "connection gone"])
def test_a_server_that_gives_up_on_us_does_not_end_the_question(direction: Direction, account: TcpInfo | None) -> None:
    question, _ = climb_over(LOUD, account=account, takes_s=0.2, seen=hole(direction))
    assert question.told == [False]


def test_a_question_that_is_done_first_learns_how_the_rung_ended() -> None:
    come = replace(STUCK, bytes_received=9000)
    assert climb_over(PASS, account=come, takes_s=0.0, seen=hole())[0].told == [True]
    assert climb_over(SILENCE, account=STUCK, takes_s=0.0, seen=hole())[0].told == [False]


def test_what_was_lost_once_and_came_does_not_hide_what_is_lost_in_the_next_rung() -> None:
    question, beside = climb_over(
        PASS, account=replace(STUCK, bytes_received=9000), takes_s=0.5, seen=hole(), rungs=2
    )
    assert len(question.asked) == 2
    assert len(beside.given_up) == 1, "what the first question opened is still told"


def test_a_rung_that_hangs_without_a_sign_is_asked_about_too_and_only_once() -> None:
    question, _ = climb_over(SILENCE, account=STUCK, takes_s=0.1, seen=None, lasts_s=0.3)
    assert [stall.hole for stall in question.asked] == [None]
    assert question.told == [False]
    quick, _ = climb_over(PASS, account=STUCK, takes_s=0.1, seen=None, lasts_s=0.02)
    assert quick.asked == []


def test_a_sign_that_comes_late_is_asked_about_anew() -> None:
    question, beside = climb_over(
        SILENCE, account=STUCK, takes_s=0.3, seen=hole(), lasts_s=0.4, seen_after_s=0.2
    )
    assert [stall.hole is None for stall in question.asked] == [True, False]
    assert question.told == [False]
    assert len(beside.given_up) == 2, "the question without a sign, and the second climb"


def test_a_hole_explains_itself_without_a_second_climb() -> None:
    _, with_sign = climb_over(SILENCE, account=STUCK, takes_s=0.1, seen=hole(), lasts_s=0.3)
    _, without = climb_over(SILENCE, account=STUCK, takes_s=0.1, seen=None, lasts_s=0.3)
    assert (len(with_sign.given_up), len(without.given_up)) == (0, 1)
