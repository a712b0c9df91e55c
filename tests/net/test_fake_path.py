"""The scripted network answers searches and falls into holes as the real one does."""

from __future__ import annotations

import pytest

from fleetprobe.net.fake import FakeNet, FakeStream, drive
from fleetprobe.net.fake_path import plain_search
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Address, Event, Received, Segments
from fleetprobe.net.path import DfProbe, DfSearch, Direction, Hole, Passed
from fleetprobe.net.script import Hear, LargeLost, Say

HOST = Address("203.0.113.9", 4)
SIX = Address("2001:db8:3::9", 6)
BACK = Hole(Direction.REVERSE, 0.0, 0, 0, 65, 0, 1, 1, 0)
THERE = Hole(Direction.FORWARD, 0.0, 1, 3, 1, 0, 0, 0, 3)
TLS = Handshake(started_s=0, ended_s=0.02, bytes_received=4000)


def connect(net: FakeNet, mss_bytes: int | None = None) -> FakeStream:
    dial, stream = drive(net.dial(HOST, 80, net.now() + 3, segments=Segments(mss_bytes=mss_bytes)))
    assert isinstance(stream, FakeStream)
    info = stream.info()
    assert info is not None and dial.mss_bytes == info.send_mss_bytes
    return stream


def ask(net: FakeNet, stream: FakeStream, request: bytes, hole_s: float | None = None) -> tuple[Received, float]:
    drive(stream.send(request, net.now() + 3))
    started = net.now()
    return drive(stream.receive(10_000, started + 3, hole_s)), net.now() - started


@pytest.mark.parametrize("address", [HOST, SIX])
def test_an_address_without_a_script_carries_what_its_device_does(address: Address) -> None:
    net = FakeNet()
    started = net.now()
    told = drive(net.df_search(address, (1500, 1280, 9000), started + 1, ttls=(None, 1)))
    assert [(probe.ttl, probe.size_bytes, probe.outcome) for probe in told.probes] == [
        (1, 1280, Passed.OTHER), (1, 1500, Passed.OTHER), (1, 9000, Passed.LOCAL),
        (None, 1280, Passed.PASSED), (None, 1500, Passed.PASSED), (None, 9000, Passed.LOCAL),
    ]
    assert (told.largest_passed, told.smallest_failed, told.farthest_ttl(1500)) == (1500, None, 1)
    assert told.started_s == started and told.ended_s == net.now() == pytest.approx(started + 0.001)
    assert net.count("df_search", address.text) == 1


@pytest.mark.parametrize("address", [HOST, SIX])
def test_a_plain_search_can_lose_large_packets_in_silence_or_with_a_word(address: Address) -> None:
    silent = plain_search(address, (1280, 1400, 1500), (1, 2, None), passes_bytes=1400)
    assert (silent.largest_passed, silent.smallest_failed, silent.reported_mtu) == (1400, 1500, None)
    assert (silent.farthest_ttl(1280), silent.farthest_ttl(1500)) == (2, 1)
    assert silent.ended_s == 1.0
    spoken = plain_search(address, (1280, 1500), passes_bytes=1400, reported_by="198.18.1.1")
    assert (spoken.largest_passed, spoken.reported_mtu) == (1280, 1400)


def test_a_scripted_search_is_moved_to_the_present_and_keeps_its_deadline() -> None:
    script = DfSearch(HOST, 33_434, 0.0, 0.5, (DfProbe(1400, None, Passed.PASSED),), 1500, 1400)
    net = FakeNet().path(HOST.text, script)
    started = net.now()
    told = drive(net.df_search(HOST, (1400,), started + 2))
    assert (told.probes, told.cached_mtu_bytes) == (script.probes, 1400)
    assert told.started_s == started
    assert told.ended_s == pytest.approx(started + 0.5)
    hurried = drive(net.df_search(HOST, (1400,), net.now() + 0.1))
    assert hurried.ended_s - hurried.started_s == pytest.approx(0.1)


def test_a_script_may_look_at_the_sizes_that_are_asked() -> None:
    net = FakeNet().path(HOST.text, lambda sizes, ttls: plain_search(HOST, sizes, ttls, passes_bytes=1380))
    told = drive(net.df_search(HOST, range(1370, 1400, 5), net.now() + 2))
    assert (told.largest_passed, told.smallest_failed) == (1380, 1385)


@pytest.mark.parametrize("hole", [BACK, THERE])
def test_a_watched_wait_in_a_hole_ends_early_and_another_at_the_deadline(hole: Hole) -> None:
    net = FakeNet().host(HOST.text, 80, Hear(), Say(b"x" * 6000), large_lost=LargeLost(hole))
    for hole_s, lasts_s in ((0.8, 0.8), (0.1, 0.25), (None, 3.0), (9.0, 3.0)):
        got, lasted_s = ask(net, connect(net), b"request", hole_s)
        assert (got.event, got.data) == (Event.SILENT, b"")
        assert lasted_s == pytest.approx(lasts_s)
        assert got.hole is not None and got.hole.direction is hole.direction
        assert got.hole.since_ms == pytest.approx(lasts_s * 1000)


def test_the_kernels_account_shows_the_hole() -> None:
    net = FakeNet().host(HOST.text, 80, Hear(), Say(b"x"), large_lost=LargeLost(THERE))
    stream = connect(net)
    before = stream.info()
    drive(stream.send(b"request", net.now() + 1))
    after = stream.info()
    assert before is not None and before.sacked_segments == 0
    assert after is not None
    assert (after.sacked_segments, after.unacked_segments, after.total_retransmits) == (1, 3, 3)


def test_a_small_mss_passes_and_one_byte_more_does_not() -> None:
    lost = LargeLost(BACK, passes_mss_bytes=1360)
    net = FakeNet().host(HOST.text, 80, Hear(), Say(b"x" * 6000), large_lost=lost)
    for mss, event in ((1360, Event.DONE), (1361, Event.SILENT), (None, Event.SILENT)):
        assert ask(net, connect(net, mss), b"request", 0.5)[0].event is event


def test_only_what_is_large_enough_falls_into_the_hole() -> None:
    net = FakeNet().host(HOST.text, 80, Hear(), Say(b"x"), large_lost=LargeLost(THERE, from_bytes=1400))
    assert ask(net, connect(net), b"r" * 1399, 0.5)[0].event is Event.DONE
    assert ask(net, connect(net), b"r" * 1400, 0.5)[0].event is Event.SILENT
    script = Say(b"banner"), Hear(), Say(b"x" * 6000)
    net = FakeNet().host(HOST.text, 80, *script, large_lost=LargeLost(BACK, from_bytes=1400))
    stream = connect(net)
    assert drive(stream.receive(100, net.now() + 1, 0.5)).data == b"banner"
    assert ask(net, stream, b"request", 0.5)[0].hole is not None


@pytest.mark.parametrize(
    ("lost", "mss_bytes", "falls"),
    [
        (LargeLost(BACK), None, True), (LargeLost(BACK, from_bytes=4000), None, True),
        (LargeLost(BACK, from_bytes=4001), None, False), (LargeLost(BACK, passes_mss_bytes=1360), 1240, False),
        (LargeLost(THERE), None, True), (LargeLost(THERE, from_bytes=1600), None, False),
    ],
)
def test_a_handshake_falls_into_a_hole_that_its_messages_are_too_large_for(
    lost: LargeLost, mss_bytes: int | None, falls: bool
) -> None:
    net = FakeNet().host(HOST.text, 80, tls=TLS, large_lost=lost)
    for hole_s, lasts_s in ((0.8, 0.8), (None, 3.0)):
        stream, started = connect(net, mss_bytes), net.now()
        told, secure = drive(net.handshake(stream, Hello(server_name=None), started + 3, hole_s))
        assert (told.hole is not None, secure is None) == (falls, falls)
        assert net.now() - started == pytest.approx(lasts_s if falls else 0.02)
        if told.hole:
            assert told.hole.direction is lost.hole.direction
            assert told.hole.since_ms == pytest.approx(lasts_s * 1000)
            assert told.fault is not None and told.fault.event is Event.SILENT
