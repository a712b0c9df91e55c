"""A silent attempt and its twin from another source port, over real sockets: which of the two is told."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import uvloop

from fleetprobe.net.interface import Address, Event
from fleetprobe.net.live import tcp
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.witness import CUT_SHORT
from tests.net.backlog import Full

Case = Callable[[Reactor], Awaitable[None]]
HERE = Address("127.0.0.1", 4)
ROOT = Path(__file__).parents[2]
UNSHARE = ("unshare", "--user", "--map-root-user", "--net", "--fork", "--kill-child")


def test_two_silent_attempts_are_both_told_with_their_own_source_ports(
    within: Callable[[Case], None], full: Full
) -> None:
    async def case(reactor: Reactor) -> None:
        started = reactor.now()
        dial, stream = await tcp.dial(reactor, HERE, full.port, started + 0.8, 0.3)
        assert stream is None
        assert dial.twin is not None
        for one in (dial, dial.twin):
            assert one.fault is not None
            assert (one.fault.event, one.fault.detail) == (Event.SILENT, "")
        assert dial.local_port != dial.twin.local_port
        assert 0.3 <= dial.twin.started_s - dial.started_s < 0.4
        assert 0.8 <= dial.ended_s - started < 1.0
        assert dial.twin.twin is None

    within(case)


def test_an_attempt_that_answers_before_its_time_gets_no_twin(within: Callable[[Case], None], full: Full) -> None:
    full.opened()

    async def case(reactor: Reactor) -> None:
        dial, stream = await tcp.dial(reactor, HERE, full.port, reactor.now() + 2.0, 0.3)
        assert (dial.fault, dial.twin) == (None, None)
        assert stream is not None
        stream.abort()
        refused, _ = await tcp.dial(reactor, HERE, 1, reactor.now() + 2.0, 0.3)
        assert (refused.fault is not None, refused.twin) == (True, None)

    within(case)


def test_a_deadline_before_the_twins_time_leaves_one_attempt(within: Callable[[Case], None], full: Full) -> None:
    async def case(reactor: Reactor) -> None:
        dial, _ = await tcp.dial(reactor, HERE, full.port, reactor.now() + 0.2, 0.3)
        assert dial.twin is None
        assert dial.fault is not None

    within(case)


def test_the_twin_that_answers_first_is_told_and_its_elder_is_cut_short(
    within: Callable[[Case], None], full: Full
) -> None:
    async def case(reactor: Reactor) -> None:
        asyncio.get_running_loop().call_later(0.15, full.opened)
        started = reactor.now()
        dial, stream = await tcp.dial(reactor, HERE, full.port, started + 3.0, 0.3)
        assert stream is not None
        assert dial.fault is None
        assert dial.twin is not None
        assert dial.twin.fault is not None
        assert dial.twin.fault.detail == CUT_SHORT
        assert dial.started_s > dial.twin.started_s
        assert dial.ended_s - started < 0.6
        assert dial.local_port != dial.twin.local_port
        assert stream.info() is not None
        stream.abort()

    within(case)


def test_the_first_attempt_that_answers_late_is_told_and_its_twin_is_cut_short(
    within: Callable[[Case], None], full: Full
) -> None:
    async def case(reactor: Reactor) -> None:
        # The first SYN is repeated at 1.0 s, that of the twin at 1.3 s.
        asyncio.get_running_loop().call_later(0.6, full.opened)
        started = reactor.now()
        dial, stream = await tcp.dial(reactor, HERE, full.port, started + 3.0, 0.3)
        assert stream is not None
        assert dial.twin is not None
        assert dial.started_s < dial.twin.started_s
        assert 0.9 < dial.ended_s - started < 1.25
        assert dial.syn_retransmits == 1
        assert dial.twin.fault is not None
        assert dial.twin.fault.detail == CUT_SHORT
        stream.abort()

    within(case)


def test_a_refusal_of_the_twin_ends_both(within: Callable[[Case], None], full: Full) -> None:
    async def case(reactor: Reactor) -> None:
        asyncio.get_running_loop().call_later(0.15, full.shut)
        started = reactor.now()
        dial, stream = await tcp.dial(reactor, HERE, full.port, started + 3.0, 0.3)
        assert stream is None
        assert dial.fault is not None
        assert dial.fault.errno_name == "ECONNREFUSED"
        assert reactor.now() - started < 0.6
        assert dial.twin is not None

    within(case)


def test_a_cancelled_pair_leaves_nothing_behind(within: Callable[[Case], None], full: Full) -> None:
    async def case(reactor: Reactor) -> None:
        for after_s in (0.02, 0.15):
            task = asyncio.ensure_future(tcp.dial(reactor, HERE, full.port, reactor.now() + 5.0, 0.1))
            await asyncio.sleep(after_s)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert task.cancelled()

    within(case)


# With rules in a namespace of its own: a message for one of the two, and paths chosen by the source port.

RULES = """
table inet twin {
  chain input { type filter hook input priority filter; policy accept;
    ip daddr 127.0.0.2 tcp dport 443 tcp flags & (syn | ack) == syn numgen inc mod 2 0 drop
    ip daddr 127.0.0.2 tcp dport 443 reject with icmp admin-prohibited
    tcp dport 444 tcp sport 41000-41999 drop
    ip6 daddr ::1 tcp dport 443 tcp flags & (syn | ack) == syn numgen inc mod 2 0 drop
    ip6 daddr ::1 tcp dport 443 reject with icmpv6 admin-prohibited
  }
}
"""


async def _inside() -> dict[str, Any]:
    """The cases of the namespace, as JSON-ready values."""
    reactor = Reactor(asyncio.get_running_loop())
    told: dict[str, Any] = {}
    try:
        for name, address in (("v4", Address("127.0.0.2", 4)), ("v6", Address("::1", 6))):
            dial, stream = await tcp.dial(reactor, address, 443, reactor.now() + 2.0, 0.3)
            told[name] = {**asdict(dial), "open": stream is not None}
            dials = await tcp.dial_from(reactor, address, 444, (41001, 42001, 41002), reactor.now() + 0.3)
            told[f"bundle {name}"] = [(one.local_port, one.fault.event if one.fault else None) for one in dials]
        return told
    finally:
        reactor.close()


@pytest.fixture(scope="module")
def namespace() -> dict[str, Any]:
    """What was told inside; skipped aloud, or failed where it is required, when there can be no namespace."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
    script = 'ip link set lo up; nft -f -; echo ready >&2; exec "$@"'
    command = [*UNSHARE, "sh", "-ec", script, "sh", sys.executable, __file__]
    ran = subprocess.run(
        command, input=RULES, env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert not (ran.returncode and "ready" in ran.stderr), ran.stderr
    if ran.returncode:
        reason = f"no namespaces here: {ran.stderr.strip()[-500:]}"
        if os.environ.get("FLEETPROBE_REQUIRE_LAB") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


@pytest.mark.lab
@pytest.mark.parametrize(("name", "number"), [("v4", (3, 13)), ("v6", (1, 1))])
def test_a_message_for_one_of_the_two_is_told_with_its_numbers(
    namespace: dict[str, Any], name: str, number: tuple[int, int]
) -> None:
    dial = namespace[name]
    assert not dial["open"]
    icmp = dial["fault"]["icmp"]
    assert (icmp["type"], icmp["code"]) == number
    assert dial["started_s"] - dial["twin"]["started_s"] == pytest.approx(0.3, abs=0.1)
    assert dial["ended_s"] - dial["started_s"] < 0.2
    assert dial["twin"]["fault"] == {
        "event": "silent", "errno_name": None, "icmp": None, "detail": CUT_SHORT, "alert": None,
    }


@pytest.mark.lab
@pytest.mark.parametrize("name", ["v4", "v6"])
def test_given_source_ports_are_the_ones_used_and_each_meets_its_own_path(
    namespace: dict[str, Any], name: str
) -> None:
    assert namespace[f"bundle {name}"] == [[41001, "silent"], [42001, "error"], [41002, "silent"]]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(uvloop.run(_inside())))
