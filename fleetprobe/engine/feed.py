"""Inventory entries from an iterator to many workers, at once or through a thread when reading may block."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

T = TypeVar("T", covariant=True)

AHEAD = 4096


class Feed(Protocol[T]):
    """Where workers take their items from."""

    @property
    def waiting(self) -> int:
        """Items that can be taken without waiting; at least 1 while the source may have more."""

    @property
    def exhausted(self) -> bool:
        """Whether the source was read to its end."""

    async def take(self) -> T | None:
        """The next item, or None when there are no more. Raises what the source raised."""

    def stop(self) -> int:
        """Hand out nothing more; returns how many items were read but never taken."""


class Direct(Generic[T]):
    """Reads in the loop's own thread: for arguments and files, which never block for long.

    A second thread that computes makes the loop wait for the interpreter lock after every system call
    that gives it away; docs/design/002-engine.md has the figures.
    """

    def __init__(self, source: Iterable[T]) -> None:
        self._source = iter(source)
        self.exhausted = False
        self._stopped = False

    @property
    def waiting(self) -> int:
        """1 until the source has ended."""
        return 0 if self.exhausted or self._stopped else 1

    async def take(self) -> T | None:
        """The next item, or None when there are no more. Raises what the source raised."""
        if not self.waiting:
            return None
        item = next(self._source, None)
        self.exhausted = item is None
        return item

    def stop(self) -> int:
        """Hand out nothing more. Nothing is read ahead, so nothing is dropped."""
        self._stopped = True
        return 0


class Threaded(Generic[T]):
    """Pulls from `source` in a thread of its own and hands items to whoever asks first.

    A reader that blocks (a terminal, a slow pipe) holds up neither probes nor the end of the run.
    """

    def __init__(self, source: Iterable[T]) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[T] = deque()
        self._askers: deque[asyncio.Future[None]] = deque()
        self._room = threading.Semaphore(AHEAD)
        self._over = False
        self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._read, args=(source,), name="fleetprobe-feed", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items read but not yet taken."""
        return len(self._items)

    async def take(self) -> T | None:
        """The next item, or None when there are no more. Raises what the source raised."""
        while True:
            # Whether the source has ended is read first: its last item comes before its end.
            over = self._over or self._stopped
            if self._items:
                break
            if over:
                if self._failure is not None and not self._stopped:
                    raise self._failure
                return None
            await self._call_for_more()
        self._room.release()
        return self._items.popleft()

    async def _call_for_more(self) -> None:
        asker: asyncio.Future[None] = self._loop.create_future()
        self._askers.append(asker)
        # The reader may have looked for askers just before; then nobody else would wake this one.
        if self._items or self._over:
            self._wake_one()
        if self._over:
            self._wake_all()
        await asker

    @property
    def exhausted(self) -> bool:
        """Whether the source was read to its end."""
        return self._over and self._failure is None

    def stop(self) -> int:
        """Hand out nothing more; returns how many items were read but never taken."""
        self._stopped = True
        dropped = len(self._items)
        self._items.clear()
        self._room.release()
        self._wake_all()
        return dropped

    def _read(self, source: Iterable[T]) -> None:
        try:
            for item in source:
                self._room.acquire()
                if self._stopped:
                    return
                self._items.append(item)
                if self._askers:
                    self._call(self._wake_one)
        except BaseException as failure:  # noqa: BLE001  # handed to the takers, who raise it
            self._failure = failure
        finally:
            self._over = True
            self._call(self._wake_all)

    def _call(self, wake: Callable[[], None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(wake)

    def _wake_one(self) -> None:
        while self._askers and self._items:
            asker = self._askers.popleft()
            if not asker.done():
                asker.set_result(None)
                return

    def _wake_all(self) -> None:
        while self._askers:
            asker = self._askers.popleft()
            if not asker.done():
                asker.set_result(None)


def shuffled(source: Iterable[T], seed: int, window: int = AHEAD) -> Iterator[T]:
    """The same items in a seeded order, mixed within a sliding window, so that memory does not grow."""
    random_order = random.Random(seed)
    held: list[T] = []
    for item in source:
        if len(held) < window:
            held.append(item)
            continue
        at = random_order.randrange(window)
        yield held[at]
        held[at] = item
    random_order.shuffle(held)
    yield from held
