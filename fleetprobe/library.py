"""Where the pool of a run comes from, beside what its hosts present, and what of it is kept for the next run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from fleetprobe import pool_file
from fleetprobe.issuer_files import Authority, bundled, load_list
from fleetprobe.net.pool import Pool
from fleetprobe.pool_file import UnusablePool


class Library:
    """The files behind one pool. To be made on the running event loop, where alone the pool is touched later."""

    def __init__(self, pool: Pool, kept: str | None, *, required: bool) -> None:
        """`kept` is the file between runs; that it cannot be read is an error if it is `required`."""
        self._pool = pool
        self._kept = None if kept is None else Path(kept)
        self._required = required
        self._lent: set[str] = set()
        self._loop = asyncio.get_running_loop()

    def open(self, listed: str | None, ca_file: str | None) -> Mapping[str, object]:
        """Read everything before the run: facts for its first line. Raises UnusablePool and UnusableList.

        May be called in a thread, as long as nobody else uses the pool.
        """
        if self._kept is not None:
            try:
                pool_file.load(self._kept, self._pool)
            except UnusablePool:
                if self._required:
                    raise
        kept = {"source": None if self._kept is None else str(self._kept), "count": len(self._pool)}
        facts: dict[str, object] = {"pool": kept}
        if listed is not None:
            facts["intermediates"] = load_list(listed, self._pool)
        for authority in self._first(ca_file):
            authority.lend(self._pool)
        self._pool.learnt = False
        return facts

    def lend(self, ca_file: str | None) -> None:
        """Let the fleet know what a CA file of the inventory holds. From any thread; each file is read once."""
        if found := list(self._first(ca_file)):
            self._loop.call_soon_threadsafe(self._take, found)

    def save(self) -> None:
        """What the run has learnt helps the next one; that it cannot be kept costs this one nothing."""
        if self._kept is not None and self._pool.learnt:
            with suppress(UnusablePool):
                pool_file.save(self._kept, self._pool)

    def _first(self, ca_file: str | None) -> Iterable[Authority]:
        if ca_file is None or ca_file in self._lent:
            return ()
        self._lent.add(ca_file)
        return bundled(ca_file)

    def _take(self, authorities: Iterable[Authority]) -> None:
        for authority in authorities:
            authority.lend(self._pool)
