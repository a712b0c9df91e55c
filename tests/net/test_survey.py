"""A survey over real sockets on loopback: what it remembers, what it shares, and that it keeps its bounds."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from fleetprobe.net import heard as heard_module
from fleetprobe.net.heard import Heard
from fleetprobe.net.interface import Address, Dial, Event, Fault, Icmp, Route
from fleetprobe.net.live import survey as live
from fleetprobe.net.live import walk
from fleetprobe.net.live.held import Holder
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.survey import Surveyor
from fleetprobe.net.script import REFUSED, SILENT
from fleetprobe.net.witness import Poked, Reached, Walk, host_answer

HERE = Address("127.0.0.1", 4)
Case = Callable[[Reactor, Surveyor], Awaitable[None]]


def dial(address: Address = HERE, port: int = 80, fault: Fault | None = None) -> Dial:
    return Dial(address=address, port=port, started_s=0.0, ended_s=0.1, fault=fault)


def routed(address: Address, gateway: str = "127.0.0.1") -> Route:
    return Route(address=address.text, gateway=gateway, interface="lo")


ON_LINK = Route(address=HERE.text, interface="lo")


def run(case: Case, heard: Heard | None = None) -> None:
    """With a surveyor on uvloop, and no descriptor left open."""

    async def main() -> None:
        reactor = Reactor(asyncio.get_running_loop())
        surveyor = Surveyor(reactor, None, heard or Heard(), Holder(reactor))
        before = len(os.listdir("/proc/self/fd"))
        try:
            await asyncio.wait_for(case(reactor, surveyor), 10)
            surveyor.close()
            await asyncio.sleep(0.05)
            assert len(os.listdir("/proc/self/fd")) <= before, "threads of earlier tests may still give some back"
        finally:
            reactor.close()

    uvloop.run(main())


# What has been heard costs no packet.


def test_what_answered_is_remembered_by_address_gateway_and_family() -> None:
    heard = Heard()
    heard.note(dial(port=22), routed(HERE, "192.0.2.1"))
    assert heard.port(HERE, 443) == 22
    assert heard.port(HERE, 22) is None
    assert heard.port(Address("127.0.0.2", 4), 443) is None
    assert heard.beyond("192.0.2.1")
    assert not heard.beyond("192.0.2.2")
    assert not heard.beyond(None)
    assert heard.family(4)
    assert not heard.family(6)


@pytest.mark.parametrize(
    "fault",
    [
        SILENT,
        Fault(Event.SILENT, detail="cut short"),
        Fault(Event.ERROR, "EMFILE"),
        Fault(Event.ERROR, "EHOSTUNREACH", Icmp(3, 1, "192.0.2.9", from_self=True)),
        Fault(Event.ERROR, "EHOSTUNREACH", Icmp(3, 13, "192.0.2.1", from_self=False)),
    ],
    ids=["silence", "cut short", "no descriptor", "our own kernel", "a router"],
)
def test_what_the_host_itself_did_not_say_is_not_remembered_as_its_answer(fault: Fault) -> None:
    heard = Heard()
    heard.note(dial(fault=fault), routed(HERE))
    assert heard.port(HERE, 443) is None


def test_a_refusal_is_an_answer_too() -> None:
    heard = Heard()
    heard.note(dial(port=81, fault=REFUSED), routed(HERE))
    assert heard.port(HERE, 443) == 81


def test_our_own_addresses_prove_no_family() -> None:
    heard = Heard()
    heard.note(dial(), Route(address=HERE.text, local=True))
    assert not heard.family(4)
    heard.note(dial(), ON_LINK)
    assert heard.family(4)


def test_memory_of_answers_does_not_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heard_module, "_KEPT", 3)
    heard = Heard()
    many = [Address(f"198.51.100.{n}", 4) for n in range(10)]
    for address in many:
        heard.note(dial(address), None)
    assert [heard.port(address, 1) for address in many] == [None] * 7 + [80] * 3


# The questions.


def test_a_live_host_with_a_silent_port_is_found_alive_on_link_without_a_walk(silent_port: int) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        started = reactor.now()
        told = await surveyor.survey(HERE, silent_port, ON_LINK, started + 0.6)
        assert 0.55 < reactor.now() - started < 0.9
        assert (told.walk, told.walked, told.gateway_poke, told.gateway_ping) == (None, None, None, None)
        assert told.poke.outcome is Poked.PORT_CLOSED
        assert any(host_answer(one) for one in told.knocks)
        assert silent_port not in {one.port for one in told.knocks}
        assert [one.port for one in told.fresh] == [silent_port] * len(told.fresh)
        assert all(one.fault is not None and one.fault.event is Event.SILENT for one in told.fresh)
        assert len({one.local_port for one in told.fresh}) == len(told.fresh) > 0

    run(case)


@pytest.mark.parametrize("age_s", [5.0, 15.0])
def test_a_port_that_answered_before_is_knocked_on_and_told_while_that_is_recent(
    silent_port: int, age_s: float
) -> None:
    heard = Heard()
    with socket.socket() as server:
        server.bind((HERE.text, 0))
        server.listen(8)
        other = int(server.getsockname()[1])

        async def case(reactor: Reactor, surveyor: Surveyor) -> None:
            heard.note(replace(dial(port=other), ended_s=reactor.now() - age_s), ON_LINK)
            told = await surveyor.survey(HERE, silent_port, ON_LINK, reactor.now() + 0.3)
            assert told.heard_port == (other if age_s < 10 else None)
            assert other in {one.port for one in told.knocks}

        run(case, heard)


def test_behind_a_gateway_the_path_is_walked_and_the_gateway_is_asked(silent_port: int) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        told = await surveyor.survey(HERE, silent_port, routed(HERE, "127.0.0.9"), reactor.now() + 0.6)
        assert told.walk is not None
        assert (told.walked, told.walk.port) == (HERE.text, silent_port)
        assert told.gateway_poke is not None
        assert (told.gateway_poke.address.text, told.gateway_poke.host_alive) == ("127.0.0.9", True)

    run(case)


def test_the_number_of_packets_for_one_silence_is_bounded(silent_port: int) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        told = await surveyor.survey(HERE, silent_port, routed(HERE), reactor.now() + 0.6)
        assert told.walk is not None
        tcp = len(told.knocks) + len(told.fresh) + told.walk.tcp_packets
        udp = told.walk.udp_packets + sum(poke.packets for poke in told.pokes)
        assert tcp + udp <= 30

    run(case)


def test_what_is_known_of_the_neighbours_at_the_end_is_told_with_what_the_survey_itself_met(silent_port: int) -> None:
    heard, neighbour = Heard(), Address("127.0.0.77", 4)
    route = routed(HERE, "127.0.0.9")

    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        asked = asyncio.ensure_future(surveyor.survey(HERE, silent_port, route, reactor.now() + 0.4))
        await asyncio.sleep(0.1)
        # Said after the survey began: what counts is what is known at its end.
        prohibited = Fault(Event.ERROR, "EHOSTUNREACH", Icmp(3, 13, "192.0.2.1", from_self=False))
        heard.note(dial(neighbour, silent_port, prohibited), route)
        told = await asked
        (word,) = told.nearby.words
        assert (word.port, word.addresses) == (silent_port, (neighbour.text,))
        assert 1 in told.nearby.ports
        assert told.gateway_heard

    run(case, heard)


def test_ports_of_a_host_that_fall_silent_together_share_what_is_asked_of_the_host(silent_port: int) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        until_s = reactor.now() + 0.3
        first, second = await asyncio.gather(
            surveyor.survey(HERE, silent_port, ON_LINK, until_s), surveyor.survey(HERE, 9, ON_LINK, until_s)
        )
        assert (first.knocks, first.poke, first.ping) == (second.knocks, second.poke, second.ping)
        assert [len(told.near_dials) for told in (first, second)] == [3, 1]
        assert [len(told.pokes) for told in (first, second)] == [1, 0]
        assert [told.fresh[0].port for told in (first, second)] == [silent_port, 9]

    run(case)


def test_what_was_asked_of_a_host_grows_old(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_HOST_FRESH_S", 0.05)

    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        for _ in range(2):
            told = await surveyor.survey(HERE, silent_port, ON_LINK, reactor.now() + 0.1)
            assert len(told.near_dials) == 3

    run(case)


def test_one_who_is_cancelled_leaves_the_questions_to_the_others(silent_port: int) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        until_s = reactor.now() + 0.3
        one, other = (asyncio.ensure_future(surveyor.survey(HERE, port, ON_LINK, until_s)) for port in (silent_port, 9))
        await asyncio.sleep(0.05)
        one.cancel()
        assert (await other).poke.host_alive

    run(case)


class Walks:
    """Stands in for the walk: counts, and ends when it is told to."""

    def __init__(self, reactor: Reactor, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self._reactor = reactor
        monkeypatch.setattr(walk, "walk", self.walk)

    async def walk(self, reactor: Reactor, address: Address, port: int, until_s: float, **_: object) -> Walk:
        self.asked.append(address.text)
        await self.go.wait()
        now = reactor.now()
        return Walk(
            address=address, port=port, started_s=now, ended_s=now, hops=(), reached_ttl=1, reached_by=Reached.RST
        )


def test_one_walk_serves_a_whole_prefix_behind_one_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        walks = Walks(reactor, monkeypatch)
        walks.go.set()
        asked = [("127.1.2.3", "127.0.0.1"), ("127.1.2.4", "127.0.0.1"), ("127.1.3.4", "127.0.0.1"),
                 ("127.1.2.5", "127.0.0.2")]
        for text, gateway in asked:
            address = Address(text, 4)
            told = await surveyor.survey(address, 9, routed(address, gateway), reactor.now() + 0.3)
            assert told.walk is not None
        assert walks.asked == ["127.1.2.3", "127.1.3.4", "127.1.2.5"]

    run(case)


def test_who_shares_a_walk_tells_to_whom_it_was_made_and_lists_none_of_its_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        Walks(reactor, monkeypatch).go.set()
        first, second = Address("127.1.2.3", 4), Address("127.1.2.4", 4)
        await surveyor.survey(first, 9, routed(first), reactor.now() + 0.3)
        told = await surveyor.survey(second, 9, routed(second), reactor.now() + 0.3)
        assert told.walked == first.text
        assert {one.address for one in told.dials} == {second}

    run(case)


def test_another_port_of_an_address_lists_no_socket_that_an_earlier_walk_opened(
    silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        Walks(reactor, monkeypatch).go.set()
        own, foreign = [
            await surveyor.survey(HERE, port, routed(HERE), reactor.now() + 0.1) for port in (9, silent_port)
        ]
        assert own.own_walk is own.walk is foreign.walk is not None
        assert (foreign.walked, foreign.own_walk) == (HERE.text, None)

    run(case)


def test_a_walk_grows_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_WALK_FRESH_S", 0.2)

    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        walks = Walks(reactor, monkeypatch)
        walks.go.set()
        for pause_s in (0.0, 0.3):
            for last in (3, 4):
                address = Address(f"127.1.2.{last}", 4)
                await surveyor.survey(address, 9, routed(address), reactor.now() + 0.05)
            await asyncio.sleep(0.3 - pause_s)
        assert walks.asked == ["127.1.2.3", "127.1.2.3"]

    run(case)


def test_who_is_cancelled_while_sharing_a_walk_does_not_end_it_for_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        walks = Walks(reactor, monkeypatch)
        monkeypatch.setattr(live, "_WALKERS", 1)
        first, second = Address("127.1.2.3", 4), Address("127.1.2.4", 4)
        until_s = reactor.now() + 1.0
        one = asyncio.ensure_future(surveyor.survey(first, 9, routed(first), until_s))
        other = asyncio.ensure_future(surveyor.survey(second, 9, routed(second), until_s))
        await asyncio.sleep(0.05)
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        assert one.cancelled()
        walks.go.set()
        told = await other
        assert told.walk is not None
        assert walks.asked == [first.text]

    run(case)


def test_a_prefix_is_walked_a_few_times_and_no_more_until_a_walk_tells_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        walks = Walks(reactor, monkeypatch)
        many = [Address(f"127.1.2.{n}", 4) for n in range(1, 9)]
        until_s = reactor.now() + 1.0
        asked = [asyncio.ensure_future(surveyor.survey(one, 9, routed(one), until_s)) for one in many]
        await asyncio.sleep(0.1)
        walks.go.set()
        told = await asyncio.gather(*asked)
        assert len(walks.asked) == live._WALKERS < len(many)
        assert all(one.walk is not None for one in told)
        late = Address("127.1.2.99", 4)
        assert (await surveyor.survey(late, 9, routed(late), reactor.now() + 0.3)).walk is not None
        assert late.text not in walks.asked

    run(case)


def test_a_walk_that_does_not_end_in_time_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        Walks(reactor, monkeypatch)
        started = reactor.now()
        told = await surveyor.survey(HERE, 9, routed(HERE), started + 0.3)
        assert (told.walk, told.walked) == (None, None)
        assert reactor.now() - started < 0.7

    run(case)


@pytest.mark.parametrize(
    ("count", "most", "share"),
    [("950", "1000", 0.95), ("0", "1000", 0.0), ("5", "0", None), ("many", "1000", None), (None, None, None)],
)
def test_the_share_of_our_own_connection_table_is_read_where_there_is_one(
    count: str | None, most: str | None, share: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_CONNTRACK", tmp_path)
    for name, value in (("count", count), ("max", most)):
        if value is not None:
            (tmp_path / f"nf_conntrack_{name}").write_text(f"{value}\n")

    async def case(reactor: Reactor, surveyor: Surveyor) -> None:
        told = await surveyor.survey(HERE, 9, ON_LINK, reactor.now() + 0.2)
        assert told.conntrack_share == share

    run(case)
