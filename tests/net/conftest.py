"""What several tests of the live network begin with: a reactor on either event loop, and a silent port."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from fleetprobe.net.live.reactor import Reactor
from tests.net.backlog import Full

Case = Callable[[Reactor], Awaitable[None]]


@pytest.fixture(params=["asyncio", "uvloop"])
def within(request: pytest.FixtureRequest) -> Callable[[Case], None]:
    """Run a case with a reactor on either event loop, and see that it left no descriptor open."""

    def run(case: Case) -> None:
        async def main() -> None:
            reactor = Reactor(asyncio.get_running_loop())
            try:
                before = len(os.listdir("/proc/self/fd"))
                await asyncio.wait_for(case(reactor), 10)
                assert len(os.listdir("/proc/self/fd")) == before
            finally:
                reactor.close()

        if request.param == "uvloop":
            uvloop.run(main())
        else:
            asyncio.run(main())

    return run


@pytest.fixture
def full() -> Iterator[Full]:
    """A listener that takes no more connections."""
    there = Full()
    yield there
    there.close()


@pytest.fixture
def silent_port(full: Full) -> int:
    """A loopback port whose full backlog drops every further SYN."""
    return full.port
