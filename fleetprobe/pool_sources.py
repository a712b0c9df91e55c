"""Where the pool of a run comes from, beside what its hosts present, and what of it is kept for the next run."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from fleetprobe import pool_file
from fleetprobe.issuer_files import Authority, bundled, load_list
from fleetprobe.model.target import Entry, Target
from fleetprobe.model.trust import MACHINE
from fleetprobe.net.pool import Pool
from fleetprobe.pool_file import UnusablePool


class PoolSources:
    """The files behind one pool. To be made on the running event loop, where alone the pool is touched later."""

    def __init__(self, pool: Pool, kept: str | None, *, required: bool) -> None:
        """`kept` is the file between runs; that it cannot be read is an error if it is `required`."""
        self._pool = pool
        self._kept = None if kept is None else Path(kept)
        self._required = required
        self._lent: set[str] = set()
        self._loop = asyncio.get_running_loop()

    def open(self, listed: str | None, stores: Iterable[str]) -> Mapping[str, object]:
        """Read everything before the run: facts for its first line. Raises UnusablePool and UnusableList.

        `stores` are the files of the run's own trust, and MACHINE, in which OpenSSL looks in any case.
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
        for file in stores:
            for authority in self._first(file):
                authority.lend(self._pool)
        self._pool.learnt = False
        return facts

    def lending(self, found: Iterable[Entry]) -> Iterator[Entry]:
        """The same entries; what their own CA files hold helps the whole fleet. From any thread."""
        for entry in found:
            if isinstance(entry, Target) and entry.ca_file and (authorities := list(self._first(entry.ca_file))):
                self._loop.call_soon_threadsafe(self._take, authorities)
            yield entry

    def save(self) -> None:
        """What the run has learnt helps the next one; that it cannot be kept costs this one nothing."""
        if self._kept is not None and self._pool.learnt:
            with suppress(UnusablePool):
                pool_file.save(self._kept, self._pool)

    def _first(self, ca_file: str) -> Iterable[Authority]:
        """What a file holds, the first time that it is named."""
        if ca_file == MACHINE or ca_file in self._lent:
            return ()
        self._lent.add(ca_file)
        return bundled(ca_file)

    def _take(self, authorities: Iterable[Authority]) -> None:
        for authority in authorities:
            authority.lend(self._pool)
