"""The feed hands out every item once, in order, whatever the source does; shuffling loses nothing."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprobe.engine.feed import AHEAD, Direct, Feed, Threaded, shuffled


async def drain(feed: Feed[int], into: list[int]) -> None:
    while (item := await feed.take()) is not None:
        into.append(item)
        await asyncio.sleep(0)


KINDS: list[Callable[[Iterator[int]], Feed[int]]] = [Direct, Threaded]


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=25)
@given(size=st.integers(0, 300), takers=st.integers(1, 7))
def test_every_item_is_handed_out_once_to_whoever_asks(
    kind: Callable[[Iterator[int]], Feed[int]], size: int, takers: int
) -> None:
    async def main() -> list[int]:
        feed = kind(iter(range(1, size + 1)))
        got: list[int] = []
        await asyncio.wait_for(asyncio.gather(*(drain(feed, got) for _ in range(takers))), 20)
        assert feed.exhausted
        return got

    assert asyncio.run(main()) == list(range(1, size + 1))


def test_more_than_fits_ahead_passes_and_no_more_than_that_is_ever_held() -> None:
    most = 0

    async def main() -> int:
        nonlocal most
        feed = Threaded(range(1, 3 * AHEAD))
        count = 0
        while await feed.take() is not None:
            count += 1
            most = max(most, feed.waiting)
            if count % 512 == 0:
                await asyncio.sleep(0.001)
        return count

    assert asyncio.run(main()) == 3 * AHEAD - 1
    assert most <= AHEAD


def test_a_source_that_blocks_holds_up_neither_the_items_before_nor_the_loop() -> None:
    released = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        released.wait(20)
        yield 2

    async def main() -> list[int | None]:
        feed = Threaded(source())
        first = await asyncio.wait_for(feed.take(), 5)
        waiting = asyncio.ensure_future(feed.take())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        assert not feed.exhausted
        released.set()
        return [first, await asyncio.wait_for(waiting, 5), await asyncio.wait_for(feed.take(), 5)]

    assert asyncio.run(main()) == [1, 2, None]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_source_raises_comes_to_the_taker_after_the_items_before_it(
    kind: Callable[[Iterator[int]], Feed[int]],
) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("broken inventory")

    async def main() -> None:
        feed = kind(source())
        assert await asyncio.wait_for(feed.take(), 5) == 1
        with pytest.raises(LookupError, match="broken inventory"):
            await asyncio.wait_for(feed.take(), 5)
        assert not feed.exhausted

    asyncio.run(main())


def test_reading_directly_reads_nothing_ahead_and_stops_at_once() -> None:
    async def main() -> None:
        source = iter(range(1, 10))
        feed = Direct(source)
        assert [await feed.take(), feed.waiting, feed.exhausted] == [1, 1, False]
        assert feed.stop() == 0
        assert [await feed.take(), feed.waiting, feed.exhausted] == [None, 0, False]
        assert next(source) == 2

    asyncio.run(main())


class Paused(deque[int]):
    """Lets something happen between a look at the length and what is done about it, as a thread switch would."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self._then: Callable[[], object] | None = then

    def __len__(self) -> int:
        seen = super().__len__()
        if seen == 0 and self._then is not None and threading.current_thread() is threading.main_thread():
            then, self._then = self._then, None
            then()
        return seen


def test_an_item_that_arrives_last_while_a_taker_looks_away_is_not_lost() -> None:
    release = threading.Event()

    def source() -> Iterator[int]:
        release.wait(20)
        yield 1

    async def main() -> int | None:
        feed = Threaded(source())

        def meanwhile() -> None:
            release.set()
            feed._thread.join(10)

        feed._items = Paused(meanwhile)
        return await asyncio.wait_for(feed.take(), 5)

    assert asyncio.run(main()) == 1


def test_an_item_that_arrives_while_a_taker_sits_down_to_wait_wakes_it() -> None:
    release, end = threading.Event(), threading.Event()
    arrived = threading.Event()

    def source() -> Iterator[int]:
        release.wait(20)
        yield 1
        arrived.set()
        end.wait(20)

    async def main() -> int | None:
        feed = Threaded(source())

        def meanwhile() -> None:
            release.set()
            arrived.wait(10)

        feed._items = Paused(meanwhile)
        try:
            return await asyncio.wait_for(feed.take(), 0.5)
        finally:
            end.set()

    assert asyncio.run(main()) == 1


def test_stopping_wakes_all_who_wait_and_drops_what_was_read_even_from_a_source_without_end() -> None:
    async def main() -> None:
        released = threading.Event()

        def source() -> Iterator[int]:
            released.wait(20)
            number = 0
            while True:
                number += 1
                yield number

        feed = Threaded(source())
        waiting = [asyncio.ensure_future(feed.take()) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert feed.stop() == 0
        assert await asyncio.wait_for(asyncio.gather(*waiting), 5) == [None, None, None]
        released.set()
        feed._thread.join(10)
        assert not feed._thread.is_alive()
        assert await asyncio.wait_for(feed.take(), 5) is None

    asyncio.run(main())


def test_stopping_tells_how_many_were_read_and_never_taken() -> None:
    async def main() -> int:
        feed = Threaded(range(1, 11))
        await asyncio.wait_for(feed.take(), 5)
        feed._thread.join(10)
        return feed.stop()

    assert asyncio.run(main()) == 9


def test_a_taker_that_is_cancelled_takes_nothing_with_it() -> None:
    released = threading.Event()

    def source() -> Iterator[int]:
        released.wait(20)
        yield from (1, 2)

    async def main() -> list[int | None]:
        feed = Threaded(source())
        gone, stays = asyncio.ensure_future(feed.take()), asyncio.ensure_future(feed.take())
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.wait([gone])
        released.set()
        return [await asyncio.wait_for(stays, 5), await asyncio.wait_for(feed.take(), 5)]

    assert asyncio.run(main()) == [1, 2]


@given(st.lists(st.integers(), max_size=60), st.integers(), st.integers(1, 20))
def test_shuffling_loses_nothing_and_the_seed_decides(items: list[int], seed: int, window: int) -> None:
    once = list(shuffled(items, seed, window))
    assert Counter(once) == Counter(items)
    assert once == list(shuffled(iter(items), seed, window))


@given(st.integers(0, 200), st.integers(), st.integers(1, 20))
def test_nothing_comes_earlier_than_the_window_allows_and_little_is_read_ahead(
    size: int, seed: int, window: int
) -> None:
    read = 0

    def source() -> Iterator[int]:
        nonlocal read
        for number in range(size):
            read += 1
            yield number

    for place, number in enumerate(shuffled(source(), seed, window)):
        assert number < place + window
        assert read <= place + window + 1


def test_two_seeds_give_two_orders() -> None:
    assert list(shuffled(range(50), 1)) != list(shuffled(range(50), 2))
