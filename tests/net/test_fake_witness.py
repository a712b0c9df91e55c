"""What a scripted network says about its silences: twins, surveys, origins, links, bundles of paths."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.interface import Address, Dial, Event, Fault, Net, Route
from fleetprobe.net.script import REFUSED, SILENT, Say
from fleetprobe.net.witness import CUT_SHORT, Neighbour, NeighbourState, Poked, RstOrigin, host_answer

HOST, OTHER = Address("203.0.113.9", 4), Address("203.0.113.10", 4)


def pair(net: FakeNet, *, until_s: float = 3.3, again_s: float | None = 1.25) -> Dial:
    return drive(net.dial(HOST, 80, net.now() + until_s, again_s=again_s))[0]


def test_it_is_still_a_net() -> None:
    net: Net = FakeNet()
    assert [link.name for link in net.links()] == ["fake0"]
    assert not net.heard(4)


def test_a_silent_attempt_gets_a_twin_that_meets_the_next_script() -> None:
    net = FakeNet().host(HOST.text, 80, fault=SILENT).host(HOST.text, 80, Say(b"hi"), connect_ms=5)
    start = net.now()
    dial = pair(net)
    assert dial.fault is None
    assert dial.ended_s == pytest.approx(start + 1.255)
    assert net.now() == pytest.approx(start + 1.255)
    assert dial.twin is not None
    assert dial.twin.fault == Fault(Event.SILENT, detail=CUT_SHORT)
    assert (dial.twin.started_s, dial.local_port != dial.twin.local_port) == (start, True)
    assert (net.count("dial"), net.left_open) == (2, 1)
    assert drive(net.streams[0].receive(9, net.now() + 1)).data == b"hi"


def test_a_first_attempt_that_answers_late_wins_over_a_silent_twin() -> None:
    net = FakeNet().host(HOST.text, 80, connect_ms=2000).host(HOST.text, 80, fault=SILENT)
    dial = pair(net)
    assert dial.fault is None
    assert dial.twin is not None
    assert dial.twin.started_s > dial.started_s
    assert dial.twin.fault is not None
    assert dial.twin.fault.detail == CUT_SHORT


def test_two_silent_attempts_last_to_the_deadline() -> None:
    net = FakeNet().host(HOST.text, 80, fault=SILENT)
    start = net.now()
    dial = pair(net)
    assert dial.twin is not None
    assert [one.fault for one in (dial, dial.twin)] == [SILENT, SILENT]
    assert net.now() == start + 3.3


def test_a_loud_twin_is_told() -> None:
    net = FakeNet().host(HOST.text, 80, fault=SILENT).host(HOST.text, 80, fault=REFUSED)
    dial = pair(net)
    assert dial.fault == REFUSED
    assert dial.twin is not None


@pytest.mark.parametrize(("again_s", "until_s"), [(None, 3.3), (4.0, 3.3), (1.25, 1.0)])
def test_there_is_no_twin_unless_it_is_asked_for_and_has_time(again_s: float | None, until_s: float) -> None:
    net = FakeNet().host(HOST.text, 80, fault=SILENT)
    assert pair(net, until_s=until_s, again_s=again_s).twin is None
    assert net.count("dial") == 1


def test_a_quick_answer_needs_no_twin() -> None:
    net = FakeNet().host(HOST.text, 80, connect_ms=1200)
    assert (pair(net).twin, net.count("dial")) == (None, 1)


def test_a_plain_survey_follows_the_table_and_uses_up_no_script() -> None:
    net = FakeNet().host(HOST.text, 80, fault=SILENT).host(HOST.text, 80, Say(b"hi")).host(HOST.text, 443)
    start = net.now()
    told = drive(net.survey(HOST, 80, start + 0.5))
    assert [(one.port, one.fault) for one in told.knocks] == [(443, None), (1, REFUSED)]
    assert [(one.port, one.fault) for one in told.fresh] == [(80, SILENT)]
    assert (told.poke.outcome, told.ping.permitted, told.walk) == (Poked.SILENT, False, None)
    assert (told.started_s, told.ended_s, net.now()) == (start, start + 0.5, start + 0.5)
    assert pair(net, again_s=None).fault == SILENT
    absent = drive(net.survey(OTHER, 80, net.now() + 0.5))
    assert not any(host_answer(one) for one in (*absent.knocks, *absent.fresh))


def test_a_plain_survey_knows_what_was_heard_before() -> None:
    net = FakeNet().host(HOST.text, 80).host(OTHER.text, 80, fault=SILENT)
    before = drive(net.survey(OTHER, 80, net.now() + 0.1))
    assert (before.heard_port, before.gateway_heard, net.heard(4)) == (None, False, False)
    pair(net)
    assert (net.heard(4), net.heard(6)) == (True, False)
    assert drive(net.survey(OTHER, 80, net.now() + 0.1)).gateway_heard
    assert drive(net.survey(HOST, 81, net.now() + 0.1)).heard_port == 80
    assert drive(net.survey(HOST, 80, net.now() + 0.1)).heard_port is None


def test_silence_and_our_own_addresses_are_not_heard() -> None:
    net = FakeNet().host(HOST.text, 80, fault=SILENT).host(OTHER.text, 80)
    net.way(Route(address=OTHER.text, local=True))
    pair(net)
    drive(net.dial(OTHER, 80, net.now() + 1))
    assert not net.heard(4)
    assert FakeNet().hears(6).heard(6)


def test_a_scripted_survey_is_moved_to_the_present_and_cut_at_the_deadline() -> None:
    told = drive(FakeNet().survey(HOST, 80, 1000.6))
    net = FakeNet().around(replace(told, started_s=0.0, ended_s=0.4, heard_port=22))
    start = net.now()
    assert drive(net.survey(HOST, 80, start + 2)).ended_s == start + 0.4
    assert drive(net.survey(HOST, 80, net.now() + 0.1)).heard_port == 22
    assert net.now() == pytest.approx(start + 0.5)
    assert net.count("survey", HOST.text, 80) == 2


def test_an_origin_is_scripted_or_the_host_itself_and_there_is_none_on_our_own_link() -> None:
    net = FakeNet()
    plain = drive(net.rst_origin(HOST, 80, net.now() + 1))
    assert plain is not None
    assert plain.nearer is False
    assert drive(net.rst_origin(HOST, 81, net.now() + 1)) == plain
    near = RstOrigin(address=OTHER, port=80, started_s=0.0, ended_s=0.1, rst_ttl=2, expires_at="192.0.2.1")
    told = drive(net.origin(OTHER.text, near).rst_origin(OTHER, 80, net.now() + 1))
    assert told is not None
    assert told.nearer is True
    on_link = FakeNet().way(Route(address=HOST.text, interface="fake0"))
    assert drive(on_link.rst_origin(HOST, 80, on_link.now() + 1)) is None


def test_a_bundle_answers_by_source_port() -> None:
    net = FakeNet().host(HOST.text, 80).bundle(HOST.text, lambda port: port % 2 == 1)
    dial = pair(net)
    assert dial.twin is not None
    dead, alive = dial.twin.local_port, dial.local_port
    assert dead is not None
    assert alive is not None
    for _ in range(2):
        silent, answered = drive(net.flows(HOST, 80, (dead, alive), net.now() + 1.2))
        assert (silent.local_port, answered.local_port) == (dead, alive)
        assert (silent.fault, answered.fault) == (SILENT, None)


def test_links_and_next_hops_are_scripted_or_well() -> None:
    net = FakeNet()
    (link,) = net.links()
    down = replace(link, carrier=False, operstate="DOWN")
    assert net.wires(down).links() == (down,)
    assert net.wires().links() == ()
    known = net.neighbour("192.0.2.1", "fake0")
    assert known is not None
    assert known.state is NeighbourState.REACHABLE
    lost = Neighbour(address="192.0.2.1", interface="fake0", state=NeighbourState.FAILED, mac=None)
    assert net.next_hop(lost).neighbour("192.0.2.1", "fake0") == lost
    assert drive(net.survey(HOST, 80, net.now() + 0.1)).neighbour == lost


def test_a_stream_is_aborted_or_released_once() -> None:
    net = FakeNet().host(HOST.text, 80)
    for first, second in (("abort", "release"), ("release", "abort")):
        _, stream = drive(net.dial(HOST, 80, net.now() + 1))
        assert stream is not None
        getattr(stream, first)()
        getattr(stream, second)()
        assert stream.info() is None
        assert (net.count(first), net.left_open) == (1, 0)
        net.calls.clear()


def test_many_pairs_side_by_side_end_together() -> None:
    net = FakeNet()
    start = net.now()

    async def everything() -> list[tuple[Dial, object]]:
        dials = [net.dial(Address(f"198.51.100.{n}", 4), 80, start + 3.3, again_s=1.25) for n in range(50)]
        return await asyncio.gather(*dials)

    told = asyncio.run(everything())
    assert net.now() == start + 3.3
    assert all(dial.twin is not None and dial.twin.started_s == start + 1.25 for dial, _ in told)
