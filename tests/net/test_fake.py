"""The scripted network keeps its promises: its clock, its scripts, its counts."""

from __future__ import annotations

import asyncio

import pytest

from fleetprobe.net.fake import FakeNet, FakeStream, drive
from fleetprobe.net.handshake import Handshake, Hello
from fleetprobe.net.interface import Address, Dial, Event, Fault, Net, Route, Stream
from fleetprobe.net.script import REFUSED, Close, Deaf, Fail, Hear, Mute, Reset, Say, Step

HOST = Address("203.0.113.9", 4)


def connect(net: FakeNet, *, until_s: float = 5.0) -> FakeStream:
    _, stream = drive(net.dial(HOST, 80, net.now() + until_s))
    assert isinstance(stream, FakeStream)
    return stream


def talk(*script: Step) -> tuple[FakeNet, FakeStream]:
    net = FakeNet().host(HOST.text, 80, *script)
    return net, connect(net)


def hear(
    net: FakeNet, stream: FakeStream, limit_bytes: int = 100, wait_s: float = 5.0
) -> tuple[bytes, Event]:
    got = drive(stream.receive(limit_bytes, net.now() + wait_s))
    return got.data, got.event


def test_it_is_a_net_and_its_streams_are_streams() -> None:
    net: Net = FakeNet()
    stream: Stream = talk()[1]
    assert net.now() > 0
    assert stream.info() is not None


def test_a_name_in_the_table_resolves_in_order_and_takes_its_time() -> None:
    net = FakeNet().name("shop.test", "2001:db8::9", "203.0.113.9", duration_ms=30.0)
    before = net.now()
    found = drive(net.resolve("shop.test", before + 4))
    assert found.addresses == (Address("2001:db8::9", 6), HOST)
    assert found.started_s == before
    assert net.now() == pytest.approx(before + 0.030)


def test_a_name_that_is_not_in_the_table_does_not_exist() -> None:
    net = FakeNet()
    found = drive(net.resolve("nowhere.test", net.now() + 4))
    assert found.addresses == ()
    assert {reply.rcode for reply in found.replies} == {"NXDOMAIN"}


def test_a_port_that_is_not_in_the_table_refuses_and_an_absent_address_is_silent_until_the_deadline() -> None:
    net = FakeNet().host(HOST.text, 80)
    start = net.now()
    refused, no_stream = drive(net.dial(HOST, 81, start + 3))
    assert (refused.fault, no_stream) == (REFUSED, None)
    assert refused.ended_s == pytest.approx(start + 0.001)
    asked = net.now()
    silent, _ = drive(net.dial(Address("203.0.113.77", 4), 80, asked + 3))
    assert silent.fault is not None
    assert silent.fault.event is Event.SILENT
    assert (silent.ended_s, net.now()) == (asked + 3, asked + 3)


def test_a_slow_connect_past_the_deadline_is_silence() -> None:
    net = FakeNet().host(HOST.text, 80, connect_ms=4000)
    dial, stream = drive(net.dial(HOST, 80, net.now() + 3))
    assert stream is None
    assert dial.fault is not None
    assert dial.fault.event is Event.SILENT
    assert dial.rtt_ms is None


def test_hosts_said_twice_script_the_first_and_then_every_later_connection() -> None:
    net = FakeNet().host(HOST.text, 80, fault=REFUSED).host(HOST.text, 80, Say(b"hi"))
    outcomes = [drive(net.dial(HOST, 80, net.now() + 3))[0].fault for _ in range(3)]
    assert outcomes == [REFUSED, None, None]


def test_an_answer_waits_for_what_it_answers() -> None:
    script = Say(b"220 hello\r\n", after_ms=5), Hear(b"EHLO"), Say(b"250 ok\r\n", after_ms=7), Close()
    net, stream = talk(*script)
    assert hear(net, stream) == (b"220 hello\r\n", Event.DONE)
    assert hear(net, stream, wait_s=1) == (b"", Event.SILENT)
    drive(stream.send(b"EHLO me\r\n", net.now() + 1))
    asked = net.now()
    assert hear(net, stream) == (b"250 ok\r\n", Event.DONE)
    assert net.now() == pytest.approx(asked + 0.007)
    assert hear(net, stream) == (b"", Event.CLOSED)
    assert hear(net, stream) == (b"", Event.CLOSED)


def test_the_wrong_question_gets_no_answer() -> None:
    net, stream = talk(Hear(b"GET"), Say(b"HTTP/1.1 200 OK\r\n\r\n"))
    drive(stream.send(b"POST / HTTP/1.1\r\n\r\n", net.now() + 1))
    assert hear(net, stream) == (b"", Event.SILENT)


def test_a_long_say_is_read_in_pieces_of_the_size_asked_for() -> None:
    net, stream = talk(Say(b"abcdef"))
    assert [hear(net, stream, 4)[0], hear(net, stream, 4)[0]] == [b"abcd", b"ef"]


def test_what_was_not_ready_before_one_deadline_comes_before_the_next() -> None:
    net, stream = talk(Say(b"late", after_ms=1500))
    assert hear(net, stream, wait_s=1) == (b"", Event.SILENT)
    assert hear(net, stream, wait_s=1) == (b"late", Event.DONE)


def test_an_ending_that_is_due_fails_the_send_too() -> None:
    net, stream = talk(Reset(after_ms=0))
    assert drive(stream.send(b"x", net.now() + 1)).event is Event.RESET
    assert stream.sent == b""
    alert = Fault(Event.ERROR, detail="alert 116")
    net, stream = talk(Hear(), Fail(alert))
    assert drive(stream.send(b"x", net.now() + 1)).event is Event.DONE
    assert drive(stream.receive(10, net.now() + 1)).fault == alert


def test_a_deaf_peer_leaves_our_bytes_unacknowledged_and_a_mute_one_does_not() -> None:
    for script, unacked in ((Deaf(), 1), (Mute(), 0)):
        net, stream = talk(script)
        drive(stream.send(b"x", net.now() + 1))
        assert hear(net, stream) == (b"", Event.SILENT)
        info = stream.info()
        assert info is not None
        assert info.unacked_segments == unacked


def test_a_late_loop_shows_as_a_clock_past_the_moment_of_the_event() -> None:
    net, stream = talk(Say(b"x", after_ms=10, late_ms=40))
    got = drive(stream.receive(1, net.now() + 5))
    assert net.now() - got.at_s == pytest.approx(0.040)


def test_a_handshake_is_moved_to_the_present_and_opens_the_stream() -> None:
    told = Handshake(started_s=0, ended_s=0.02, protocol_version="TLSv1.3", alpn="http/1.1")
    net = FakeNet().host(HOST.text, 80, Hear(), Say(b"secret"), tls=told)
    start = net.now() + 0.001
    handshake, secure = drive(net.handshake(connect(net), Hello(server_name="a.test"), net.now() + 5))
    assert (handshake.started_s, handshake.ended_s) == pytest.approx((start, start + 0.02))
    assert secure is not None
    assert secure.peer_alpn == "http/1.1"


def test_a_handshake_may_depend_on_the_hello() -> None:
    def by_name(hello: Hello) -> Handshake:
        refused = Fault(Event.ERROR) if hello.server_name is None else None
        return Handshake(started_s=0, ended_s=0.01, fault=refused)

    net = FakeNet().host(HOST.text, 80, tls=by_name)
    assert drive(net.handshake(connect(net), Hello(server_name=None), net.now() + 5))[1] is None
    assert drive(net.handshake(connect(net), Hello(server_name="a.test"), net.now() + 5))[1] is not None


def test_a_host_without_tls_leaves_a_hello_unanswered() -> None:
    net, stream = talk()
    start = net.now()
    handshake, secure = drive(net.handshake(stream, Hello(server_name=None), start + 5))
    assert secure is None
    assert handshake.fault is not None
    assert handshake.fault.event is Event.SILENT
    assert net.now() == start + 5


def test_every_verb_is_counted_and_open_connections_are_seen() -> None:
    net, stream = talk(Say(b"x"))
    connect(net)
    hear(net, stream)
    stream.abort()
    stream.abort()
    net.route(HOST)
    assert net.count("dial", HOST.text, 80) == 2
    assert net.count("dial", "198.51.100.1") == 0
    assert [net.count(verb) for verb in ("receive", "abort", "route", "resolve")] == [1, 1, 1, 0]
    assert net.left_open == 1
    assert stream.info() is None


def test_a_scripted_way_replaces_the_plain_one() -> None:
    none = Route(address=HOST.text, errno_name="ENETUNREACH")
    assert FakeNet().way(none).route(HOST) == none
    assert FakeNet().route(HOST).gateway is not None


def test_waits_of_climbs_side_by_side_overlap_and_nobody_is_late() -> None:
    net = FakeNet().host(HOST.text, 80, connect_ms=2)
    silent = [Address(f"198.51.100.{n}", 4) for n in range(1, 40)]
    start = net.now()

    async def many_quick_ones() -> list[Dial]:
        return [(await net.dial(HOST, 80, net.now() + 3))[0] for _ in range(200)]

    async def everything() -> list[Dial]:
        waits = [asyncio.ensure_future(net.dial(address, 80, start + 3)) for address in silent]
        quick = await many_quick_ones()
        await asyncio.wait(waits)
        return quick

    quick = asyncio.run(everything())
    assert net.now() == start + 3
    assert [dial.fault for dial in quick] == [None] * 200
    assert quick[-1].ended_s == pytest.approx(start + 0.4)


def test_a_cancelled_wait_does_not_hold_up_the_others() -> None:
    net = FakeNet()

    async def cancel_one() -> None:
        waiting = asyncio.ensure_future(net.clock.reach(net.now() + 1))
        await asyncio.sleep(0)
        waiting.cancel()
        await net.clock.reach(net.now() + 2)

    start = net.now()
    asyncio.run(cancel_one())
    assert net.now() == start + 2


def test_drive_refuses_a_coroutine_that_never_ends() -> None:
    async def for_ever() -> None:
        net = FakeNet()
        while True:
            await net.clock.reach(net.now() + 1)

    with pytest.raises(RuntimeError, match="not done"):
        drive(for_ever(), turns=50)
