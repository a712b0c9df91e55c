"""Admission: never more inside than allowed, no place lost by a cancelled wait, the rate kept."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprobe.engine.budget import Gate, Guard, Limit, Manners
from fleetprobe.net.interface import Address

HOSTS = [Address(f"198.51.100.{n}", 4) for n in (1, 2)] + [Address("203.0.113.1", 4), Address("2001:db8::1", 6)]
FREE = Limit()


def prefix(address: Address) -> str:
    return address.text.rpartition(".")[0] or "v6"


@settings(deadline=None)
@given(
    visits=st.lists(
        st.tuples(st.sampled_from(HOSTS), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 6))), max_size=25
    ),
    host=st.integers(1, 3),
    net=st.integers(1, 4),
    whole=st.integers(1, 5),
)
def test_never_more_inside_than_allowed_and_every_place_comes_back(
    visits: list[tuple[Address, int, int | None]], host: int, net: int, whole: int
) -> None:
    manners = Manners(everything=Limit(whole), per_host=Limit(host), per_prefix=Limit(net))

    async def main() -> None:
        gate = Gate(manners, Guard())
        inside: Counter[str] = Counter()

        async def visit(address: Address, turns: int) -> None:
            await gate.admission(address).enter(time.monotonic)
            for place, most in ((address.text, host), (prefix(address), net), ("all", whole)):
                inside[place] += 1
                assert inside[place] <= most
            try:
                for _ in range(turns):
                    await asyncio.sleep(0)
            finally:
                inside.subtract((address.text, prefix(address), "all"))
                gate.admission(address).leave()

        async def disturbed(address: Address, turns: int, cancel_after: int | None) -> None:
            task = asyncio.ensure_future(visit(address, turns))
            if cancel_after is not None:
                for _ in range(cancel_after):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

        await asyncio.wait_for(asyncio.gather(*(disturbed(*one) for one in visits)), 10)
        # Whatever was cancelled, the gate is empty again: a full house gets in at once.
        for _ in range(min(host, net, whole)):
            await asyncio.wait_for(gate.admission(HOSTS[0]).enter(time.monotonic), 1)

    asyncio.run(main())


@pytest.mark.parametrize("crowd", [1, 20])
def test_the_rate_is_kept_however_many_ask(crowd: int) -> None:
    manners = Manners(everything=Limit(per_second=200.0), per_host=FREE, per_prefix=FREE)

    async def main() -> list[float]:
        gate = Gate(manners, Guard())
        starts: list[float] = []

        async def asker() -> None:
            for _ in range(60 // crowd):
                await gate.admission(HOSTS[0]).enter(time.monotonic)
                starts.append(time.monotonic())
                gate.admission(HOSTS[0]).leave()

        await asyncio.gather(*(asker() for _ in range(crowd)))
        return sorted(starts)

    starts = asyncio.run(main())
    assert len(starts) == 60
    # 59 gaps of 5 ms; one start that a busy machine delays makes the next gap shorter.
    assert starts[-1] - starts[0] >= 59 * 0.005 - 0.040
    for first in range(40):
        assert starts[first + 20] - starts[first] >= 20 * 0.005 - 0.040


def test_waiting_time_is_told() -> None:
    async def main() -> tuple[float, float]:
        gate = Gate(Manners(everything=FREE, per_host=Limit(1), per_prefix=FREE), Guard())
        first = await gate.admission(HOSTS[0]).enter(time.monotonic)
        asyncio.get_running_loop().call_later(0.05, gate.admission(HOSTS[0]).leave)
        return first, await gate.admission(HOSTS[0]).enter(time.monotonic)

    first, second = asyncio.run(main())
    assert first < 0.04
    assert 0.04 <= second < 5


def test_those_who_wait_for_a_host_hold_no_place_that_others_need() -> None:
    async def main() -> None:
        gate = Gate(Manners(everything=Limit(2), per_host=Limit(1), per_prefix=FREE), Guard())
        await gate.admission(HOSTS[0]).enter(time.monotonic)
        waiting = asyncio.ensure_future(gate.admission(HOSTS[0]).enter(time.monotonic))
        await asyncio.sleep(0)
        await asyncio.wait_for(gate.admission(HOSTS[2]).enter(time.monotonic), 1)
        waiting.cancel()
        await asyncio.wait([waiting])

    asyncio.run(main())


def test_lanes_of_idle_hosts_are_forgotten_and_busy_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fleetprobe.engine.budget._IDLE_KEPT", 64)

    async def main() -> None:
        manners = Manners(everything=FREE, per_host=Limit(1), per_prefix=FREE)
        gate = Gate(manners, Guard())
        busy = Address("192.0.2.1", 4)
        await gate.admission(busy).enter(time.monotonic)
        for n in range(1000):
            other = Address(f"198.18.{n // 250}.{n % 250}", 4)
            await gate.admission(other).enter(time.monotonic)
            gate.admission(other).leave()
        assert len(gate._hosts) <= 65
        second = asyncio.ensure_future(gate.admission(busy).enter(time.monotonic))
        await asyncio.sleep(0.01)
        assert not second.done()
        gate.admission(busy).leave()
        await asyncio.wait_for(second, 1)

    asyncio.run(main())
