"""One nameserver asked directly: its address as written, bounded questions, any bytes, our own lag."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import dns.message
import dns.name
import dns.rdatatype
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprobe.net.interface import DnsReply, Event, RecordType
from fleetprobe.net.live.dns import is_name
from fleetprobe.net.live.dns_question import parse_answer
from fleetprobe.net.live.nameserver import Nameserver
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.resolv_conf import ServerAddress, parse_server, read_servers

NAME = dns.name.from_text("good.test.")


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.53", "192.0.2.53", 53),
        ("192.0.2.53:5353", "192.0.2.53", 5353),
        ("2001:db8::53", "2001:db8::53", 53),
        ("[2001:DB8::53]", "2001:db8::53", 53),
        ("[2001:db8::53]:65535", "2001:db8::53", 65535),
        ("fe80::1%eth0", "fe80::1%eth0", 53),
    ],
)
def test_a_nameserver_is_an_address_with_a_port_if_wanted(text: str, host: str, port: int) -> None:
    assert parse_server(text) == ServerAddress(host, port)
    assert parse_server(str(parse_server(text))) == ServerAddress(host, port)


@pytest.mark.parametrize("text", [
    "", "dns.example", "127.1", "192.0.2.53 ", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536",
    "192.0.2.53:+53", "192.0.2.53:5_3", "192.0.2.53:053000", "192.0.2.53:\u0665\u0663",
    "[2001:db8::1", "[2001:db8::1]x", "[2001:db8::1]:",
])  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a|does not appear"):
        parse_server(text)


def test_resolv_conf_gives_its_nameservers_once_each_and_bad_lines_nothing(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_bytes(
        b"# nameserver 192.0.2.1\nsearch example.test\nnameserver 192.0.2.2 # comment\nnameserver\n"
        b"nameserver dns.example\n\xff\xfe\nnameserver 2001:db8::53\noptions ndots:5\nnameserver 192.0.2.2\n"
    )
    assert [str(server) for server in read_servers(str(path))] == ["192.0.2.2:53", "[2001:db8::53]:53"]


def test_without_resolv_conf_the_loopback_address_is_asked(tmp_path: Path) -> None:
    assert [str(server) for server in read_servers(str(tmp_path / "none"))] == ["127.0.0.1:53"]


@pytest.mark.parametrize(
    "name", ["a", "a.test", "xn--bcher-kva.test", "_dmarc.a.test", "1.2.3.x", "a" * 63 + ".b"]
)
def test_host_names_may_be_asked(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "a.", ".a", "-a.test", "a-.test", "a b", "a\n", "a\\.b", "ä", "a" * 64]
)
def test_other_texts_may_not(name: str) -> None:
    assert not is_name(name)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 2))
def test_no_bytes_make_the_parser_raise_and_noise_is_no_answer(noise: bytes, kind: int) -> None:
    query = dns.message.make_query(NAME, dns.rdatatype.A)
    wire = query.to_wire()
    header = wire[:2] + b"\x81\x80" + wire[4:]
    datagram = [noise, header[:12] + noise, header[:6] + b"\x00\x05" + header[8:] + noise][kind]
    answer = parse_answer(datagram, query)
    assert answer is None or query.is_response(answer)


class Counting(asyncio.DatagramProtocol):
    """Answers after a while and counts the most questions that waited at once."""

    def __init__(self, delay_s: float) -> None:
        self.delay_s = delay_s
        self.waiting = 0
        self.most = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        asyncio.get_running_loop().call_later(self.delay_s, self._answer, data, address)

    def _answer(self, data: bytes, address: tuple[str, int]) -> None:
        self.waiting -= 1
        answer = dns.message.make_response(dns.message.from_wire(data))
        self.transport.sendto(answer.to_wire(), address)  # type: ignore[attr-defined]  # a datagram transport


async def asked(
    questions: int, budget_s: float, protocol: asyncio.DatagramProtocol, lag_s: float = 0.0
) -> list[DnsReply]:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: protocol, local_addr=("127.0.0.1", 0))
    reactor = Reactor(loop)
    server = Nameserver(ServerAddress(*transport.get_extra_info("sockname")), reactor)
    until_s = time.monotonic() + budget_s
    try:
        asking = [asyncio.ensure_future(server.ask(NAME, RecordType.A, until_s)) for _ in range(questions)]
        if lag_s:
            await asyncio.sleep(0.05)
            time.sleep(lag_s)  # noqa: ASYNC251  # the loop is to be late
        return await asyncio.gather(*asking)
    finally:
        await server.close()
        reactor.close()
        transport.close()


def test_no_more_than_64_questions_are_on_the_wire_at_once() -> None:
    protocol = Counting(0.05)
    replies = asyncio.run(asked(200, 5.0, protocol))
    assert {reply.rcode for reply in replies} == {"NOERROR"}
    assert protocol.most == 64


def test_a_question_that_never_gets_its_turn_is_our_own_doing() -> None:
    replies = asyncio.run(asked(100, 0.3, asyncio.DatagramProtocol()))
    events = {(reply.fault.event, reply.fault.errno_name) for reply in replies if reply.fault}
    assert events == {(Event.SILENT, None), (Event.ERROR, "EAGAIN")}


def test_a_silence_that_was_our_own_lag_is_not_the_nameservers() -> None:
    (reply,) = asyncio.run(asked(1, 0.4, asyncio.DatagramProtocol(), lag_s=0.5))
    assert reply.fault is not None
    assert (reply.fault.event, reply.fault.errno_name) == (Event.ERROR, "EAGAIN")


def test_an_answer_that_came_while_we_were_late_still_counts() -> None:
    (reply,) = asyncio.run(asked(1, 0.4, Counting(0.0), lag_s=0.2))
    assert reply.rcode == "NOERROR"
