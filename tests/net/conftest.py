"""What several tests of the live network begin with: a reactor on either event loop, and a silent port."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from fleetprobe.net.live.reactor import Reactor
from tests.net.backlog import Full
from tests.net.world import World, raised

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
                assert len(os.listdir("/proc/self/fd")) <= before, "threads of earlier tests may still give some back"
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


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """The routed world of witness_world.py, one for all tests beside it."""
    state = tmp_path_factory.mktemp("world")
    errors = state.with_name("world-errors")
    try:
        with raised(state, errors) as there:
            yield there
    except (FileNotFoundError, EOFError) as no:
        reason = f"no namespaces here: {no}; {errors.read_text(errors='replace').strip()[-500:]}"
        if os.environ.get("FLEETPROBE_REQUIRE_LAB") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
