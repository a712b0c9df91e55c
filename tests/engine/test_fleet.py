"""Many targets: each is handed over once, within bounds, and what our own limits spoiled is tried again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from fleetprobe.engine.budget import Gate, Guard
from fleetprobe.engine.feed import Direct
from fleetprobe.engine.fleet import Fleet
from fleetprobe.engine.one import Examiner
from fleetprobe.examination import Examination
from fleetprobe.layers.ladders import ladder_of
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import BadLine, Entry
from fleetprobe.model.verdict import State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.interface import Event, Fault
from tests.engine.world import FREE, GOOD, V4, target

Result = Examination | BadLine
FULL = Fault(Event.ERROR, "EMFILE")


def fleet_of(net: FakeNet, emit: Callable[[Result], Awaitable[None]], workers: int = 10) -> Fleet:
    return Fleet(Examiner(net, Policy(), Gate(FREE, Guard())), ladder_of, emit, workers)


def scan(net: FakeNet, entries: list[Entry], workers: int = 10) -> tuple[list[Result], Fleet]:
    async def main() -> tuple[list[Result], Fleet]:
        results: list[Result] = []

        async def emit(result: Result) -> None:
            results.append(result)

        fleet = fleet_of(net, emit, workers)
        await asyncio.wait_for(fleet.run(Direct(iter(entries))), 60)
        return results, fleet

    return asyncio.run(main())


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetprobe.engine.fleet._RETRY_AFTER_S", 0.001)


def test_every_entry_is_handed_over_once_and_duplicates_are_counted() -> None:
    net = FakeNet()
    entries: list[Entry] = []
    for n in range(200):
        net.host(f"198.51.100.{n}", 80, *GOOD)
        entries.append(target(host=f"198.51.100.{n}", source=f"list:{n}"))
    bad = BadLine(source="list:999", raw="???", reason="no target")
    results, fleet = scan(net, [*entries, bad, *entries[:5]])
    assert Counter(result.source if isinstance(result, BadLine) else result.target.source for result in results) == {
        **{f"list:{n}": 1 for n in range(200)},
        "list:999": 1,
    }
    assert (fleet.duplicates, fleet.unfinished) == (5, 0)
    assert net.left_open == 0


def test_an_empty_feed_ends_at_once() -> None:
    assert scan(FakeNet(), [])[0] == []


@pytest.mark.parametrize("workers", [1, 3])
def test_never_more_targets_in_flight_than_workers(workers: int) -> None:
    inside, most = 0, 0

    class Counting(FakeNet):
        async def dial(self, *args, **kwargs):  # type: ignore[no-untyped-def]  # passes everything through
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            try:
                return await super().dial(*args, **kwargs)
            finally:
                inside -= 1

    net = Counting()
    for n in range(40):
        net.host(f"198.51.100.{n}", 80, *GOOD)
    scan(net, [target(host=f"198.51.100.{n}") for n in range(40)], workers)
    assert most == workers


def test_what_our_own_limits_spoiled_is_tried_again() -> None:
    net = FakeNet().host(V4, 80, fault=FULL).host(V4, 80, *GOOD)
    (result,), _ = scan(net, [target(host=V4)])
    assert isinstance(result, Examination)
    assert result.verdict.state is State.OK
    assert net.count("dial") == 2


def test_what_our_own_limits_spoil_again_and_again_is_unknown_after_three_tries() -> None:
    net = FakeNet().host(V4, 80, fault=FULL)
    (result,), _ = scan(net, [target(host=V4)])
    assert isinstance(result, Examination)
    assert (result.verdict.state, result.verdict.code) == (State.UNKNOWN, "local.fd_limit")
    assert net.count("dial") == 3


def test_a_fault_of_the_target_is_not_tried_again() -> None:
    net = FakeNet().host(V4, 81, *GOOD)
    (result,), _ = scan(net, [target(host=V4)])
    assert isinstance(result, Examination)
    assert (result.verdict.code, net.count("dial")) == ("tcp.refused", 1)


def test_after_our_own_limits_fewer_workers_go_on_and_nothing_is_lost() -> None:
    net = FakeNet()
    for n in range(60):
        net.host(f"198.51.100.{n}", 80, fault=FULL).host(f"198.51.100.{n}", 80, *GOOD)
    results, fleet = scan(net, [target(host=f"198.51.100.{n}") for n in range(60)], 16)
    assert len(results) == 60
    assert {result.verdict.state for result in results if isinstance(result, Examination)} == {State.OK}
    assert fleet.unfinished == 0


def test_a_failing_output_ends_the_run_with_its_own_exception() -> None:
    async def main() -> None:
        async def emit(result: Result) -> None:
            raise OSError("disk full")

        net = FakeNet().host(V4, 80, *GOOD)
        with pytest.raises(ExceptionGroup) as caught:
            await fleet_of(net, emit).run(Direct(iter([target(host=V4)])))
        assert caught.group_contains(OSError, match="disk full")

    asyncio.run(main())


def test_what_was_cut_off_is_counted_as_unfinished() -> None:
    async def main() -> int:
        async def emit(result: Result) -> None:
            await asyncio.sleep(3600)

        net = FakeNet()
        for n in range(5):
            net.host(f"198.51.100.{n}", 80, *GOOD)
        fleet = fleet_of(net, emit, workers=3)
        entries: list[Entry] = [target(host=f"198.51.100.{n}") for n in range(5)]
        run = asyncio.ensure_future(fleet.run(Direct(iter(entries))))
        while net.count("abort") + net.count("release") < 3:
            await asyncio.sleep(0)
        run.cancel()
        await asyncio.wait([run])
        return fleet.unfinished

    assert asyncio.run(asyncio.wait_for(main(), 10)) == 3
