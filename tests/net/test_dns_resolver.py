"""The resolver against a nameserver on loopback that does everything a nameserver should not do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
import uvloop

from fleetprobe.layers.dns import DnsFacts, judge
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence
from fleetprobe.net.interface import Event, RecordType, Resolution
from fleetprobe.net.live import dns_opinion, nameserver
from fleetprobe.net.live.dns import Resolver

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
BOTH = frozenset({4, 6})
Sends = list[tuple[float, bytes]]
"""What to send back, and how many seconds after the question."""


@pytest.fixture(params=sorted(LOOPS))
def runner(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    def run(work: Awaitable[None]) -> None:
        async def guarded() -> None:
            await asyncio.wait_for(work, 20)

        with asyncio.Runner(loop_factory=LOOPS[request.param]) as held:
            held.run(guarded())

    return run


@dataclass
class HostileServer:
    """Answers by the first label of the name: `nx`, `servfail`, `slow`, …; see `_sends`."""

    text: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    asked_root: int = 0
    seen_over_tcp: int = 0
    mute: bool = False
    heals: bool = False
    """Answer every name well, whatever its first label asks for."""
    talks: set[asyncio.Task[Any]] = field(default_factory=set)

    def answer(self, wire: bytes, *, over_tcp: bool) -> Sends:
        query = dns.message.from_wire(wire)
        name = query.question[0].name
        if name == dns.name.root:
            self.asked_root += 1
            return [] if self.mute else [(0.0, self._coded(query, dns.rcode.REFUSED))]
        self.asked[name.to_text(omit_final_dot=True)] += 1
        self.seen_over_tcp += over_tcp
        return [] if self.mute else self._sends(name.labels[0].decode(), query, over_tcp)

    def _sends(self, kind: str, query: dns.message.Message, over_tcp: bool) -> Sends:
        name, record_type = query.question[0].name, query.question[0].rdtype
        good = self._good(query).to_wire()
        match "good" if self.heals else kind.split("-")[0]:
            case "silent":
                return []
            case "mutefour" if record_type == dns.rdatatype.A:
                return []
            case "mutesix" if record_type == dns.rdatatype.AAAA:
                return []
            case "slowsix" if record_type == dns.rdatatype.AAAA:
                return [(0.7, good)]
            case "slow":
                return [(1.5, good)]
            case "slowish":
                return [(0.4, good)]
            case "nx":
                return [(0.0, self._coded(query, dns.rcode.NXDOMAIN))]
            case "nodata" | "fouronly" | "sixfails" if record_type == dns.rdatatype.AAAA or kind == "nodata":
                code = dns.rcode.SERVFAIL if kind == "sixfails" else dns.rcode.NOERROR
                return [(0.0, self._coded(query, code))]
            case "servfail":
                return [
                    (
                        0.0,
                        self._coded(
                            query,
                            dns.rcode.SERVFAIL,
                            dns.edns.EDEOption(dns.edns.EDECode.DNSSEC_BOGUS, "bogus"),
                        ),
                    )
                ]
            case "refused":
                return [(0.0, self._coded(query, dns.rcode.REFUSED))]
            case "formerr":
                return [(0.0, self._coded(query, dns.rcode.FORMERR))]
            case "noedns" if query.edns >= 0:
                return [(0.0, self._coded(query, dns.rcode.FORMERR))]
            case "junk":
                junk = [b"", b"\x00", query.to_wire()[:2], bytes(range(256)) * 2, query.to_wire()]
                return [*((0.01, piece) for piece in junk), (0.3, good)]
            case "flood":
                return [(0.0, b"noise")] * 200
            case "wrongid":
                return [(0.0, bytes([good[0] ^ 1]) + good[1:]), (0.2, good)]
            case "wrongname":
                other = dns.message.make_query("other.test.", record_type)
                other.id = query.id
                return [(0.0, self._good(other).to_wire()), (0.2, good)]
            case "tc" | "tcgone" | "tclies" if not over_tcp:
                return [(0.0, self._truncated(query))]
            case "tcgone":
                return [(0.0, b"")]
            case "tclies":
                return [(0.0, b"\x00\x09junk")]
            case "halfcut" if not over_tcp:
                answer = dns.message.from_wire(good)
                answer.flags |= dns.flags.TC
                return [(0.0, answer.to_wire()[:-20])]
            case "loop":
                return [(0.0, self._aliases(query, [name, dns.name.from_text("b.test."), name]))]
            case "dangling":
                gone = dns.name.from_text("gone.test.")
                return [(0.0, self._aliases(query, [name, gone], rcode=dns.rcode.NXDOMAIN))]
            case "bare":
                return [(0.0, self._aliases(query, [name, self._bare_end(name)]))]
            case "alias":
                end = dns.name.from_text("end.test.")
                return [(0.0, self._aliases(query, [name, end], ends_well=True))]
            case "longchain":
                chain = [name, *(dns.name.from_text(f"c{number}.test.") for number in range(40))]
                return [(0.0, self._aliases(query, chain))]
            case "nastyalias":
                nasty = dns.name.Name((b"a\x00\x1b[2J\xff", b"evil.dot", b"test", b""))
                return [(0.0, self._aliases(query, [name, nasty], ends_well=True))]
            case "many" if record_type == dns.rdatatype.A:
                return [(0.0, self._many(query, over_tcp=over_tcp))]
            case "unrelated":
                return [(0.0, self._unrelated(query))]
        return [(0.0, good)]

    @staticmethod
    def _bare_end(name: dns.name.Name) -> dns.name.Name:
        """`bare-nx` leads to `nx`, `bare-bare-nx` to `bare-nx`; some ends have a rule of their own."""
        rest = name.labels[0].decode().removeprefix("bare-")
        match rest.split("-"):
            case ["round"]:
                rest = "bare-back"
            case ["back"]:
                rest = "bare-round"
            case ["deep", number]:
                rest = f"bare-deep-{int(number) + 1}"
            case ["root"]:
                return dns.name.root
        return dns.name.from_text(f"{rest}.test.")

    def _good(self, query: dns.message.Message) -> dns.message.Message:
        answer = dns.message.make_response(query)
        name, record_type = query.question[0].name, query.question[0].rdtype
        text = "198.18.0.1" if record_type == dns.rdatatype.A else "2001:db8::1"
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", record_type, text))
        return answer

    def _coded(self, query: dns.message.Message, rcode: dns.rcode.Rcode, *options: dns.edns.Option) -> bytes:
        answer = dns.message.make_response(query)
        answer.set_rcode(rcode)
        if options:
            answer.use_edns(0, options=list(options))
        return answer.to_wire()

    def _truncated(self, query: dns.message.Message) -> bytes:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.TC
        return answer.to_wire()

    def _aliases(
        self,
        query: dns.message.Message,
        chain: list[dns.name.Name],
        *,
        rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
        ends_well: bool = False,
    ) -> bytes:
        answer = dns.message.make_response(query)
        answer.set_rcode(rcode)
        for owner, target in itertools.pairwise(chain):
            record = dns.rrset.from_text(owner, 30, "IN", "CNAME", target.to_text())
            answer.answer.append(record)
        if ends_well and query.question[0].rdtype == dns.rdatatype.A:
            answer.answer.append(dns.rrset.from_text(chain[-1], 90, "IN", "A", "198.18.0.2"))
        return answer.to_wire(max_size=65535)

    def _many(self, query: dns.message.Message, *, over_tcp: bool) -> bytes:
        if not over_tcp:
            return self._truncated(query)
        answer = dns.message.make_response(query)
        texts = [f"198.18.{number // 250}.{number % 250}" for number in range(4000)]
        answer.answer.append(dns.rrset.from_text(query.question[0].name, 60, "IN", "A", *texts))
        return answer.to_wire(max_size=65535)

    def _unrelated(self, query: dns.message.Message) -> bytes:
        answer = dns.message.make_response(query)
        answer.answer.append(dns.rrset.from_text("other.test.", 60, "IN", "A", "198.18.6.6"))
        return answer.to_wire()

    def serve_udp(self) -> asyncio.DatagramProtocol:
        server = self

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.transport = cast(asyncio.DatagramTransport, transport)

            def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
                loop = asyncio.get_running_loop()
                for delay_s, wire in server.answer(data, over_tcp=False):
                    loop.call_later(delay_s, self.transport.sendto, wire, address)

        return Protocol()

    async def serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        self.talks.add(talk)
        talk.add_done_callback(self.talks.discard)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            size = int.from_bytes(await reader.readexactly(2))
            for delay_s, wire in self.answer(await reader.readexactly(size), over_tcp=True):
                await asyncio.sleep(delay_s)
                # One byte first: a reader that takes what comes for the whole would fail.
                framed = wire if wire[:1] == b"\x00" or not wire else len(wire).to_bytes(2) + wire
                writer.write(framed[:1])
                await asyncio.sleep(0.01)
                writer.write(framed[1:])
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def hostile(host: str = "127.0.0.1") -> AsyncIterator[HostileServer]:
    """A server on one free port, UDP and TCP."""
    server = HostileServer()
    loop = asyncio.get_running_loop()
    listener = await asyncio.start_server(server.serve_tcp, host, 0)
    port = listener.sockets[0].getsockname()[1]
    transport, _ = await loop.create_datagram_endpoint(server.serve_udp, local_addr=(host, port))
    server.text = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        yield server
    finally:
        transport.close()
        listener.close()
        # Who talks still is heard out: a loop that closes over an open connection fails the next test as well.
        await asyncio.sleep(0)
        if server.talks:
            await asyncio.wait(set(server.talks), timeout=5.0)
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def resolving(
    *servers: str, families: frozenset[int] = BOTH, hosts_path: str = "/nonexistent"
) -> AsyncIterator[Resolver]:
    resolver = Resolver(servers, families, hosts_path=hosts_path)
    try:
        yield resolver
    finally:
        await resolver.close()


async def ask(resolver: Resolver, name: str, budget_s: float = 3.0) -> Resolution:
    return await resolver.resolve(name, time.monotonic() + budget_s)


def texts(resolution: Resolution) -> list[str]:
    return [address.text for address in resolution.addresses]


def verdict(resolution: Resolution) -> tuple[str | None, Confidence, int]:
    """Code, confidence and silences of the main finding."""
    finding = judge(DnsFacts(resolution), Policy())[0]
    return finding.code, finding.confidence, finding.silences


def closed_port() -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


Run = Callable[[Awaitable[None]], None]


@pytest.mark.parametrize(
    ("name", "code", "rcode"),
    [
        ("nx.test", "dns.nxdomain", "NXDOMAIN"),
        ("nodata.test", "dns.nodata", "NOERROR"),
        ("servfail.test", "dns.servfail", "SERVFAIL"),
        ("refused.test", "dns.refused", "REFUSED"),
        ("formerr.test", "dns.formerr", "FORMERR"),
        ("loop.test", "dns.cname_loop", "NOERROR"),
        ("longchain.test", "dns.cname_loop", "NOERROR"),
        ("dangling.test", "dns.cname_dangling", "NXDOMAIN"),
        ("unrelated.test", "dns.nodata", "NOERROR"),
        ("tcgone.test", "dns.tcp_blocked", "NOERROR"),
        ("tclies.test", "dns.tcp_blocked", "NOERROR"),
    ],
)
def test_what_a_nameserver_answers_is_the_verdict(runner: Run, name: str, code: str, rcode: str) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, name)
            assert verdict(resolution) == (code, Confidence.OBSERVED, 0)
            assert DnsFacts(resolution).rcode == rcode
            assert {reply.server for reply in resolution.replies} == {server.text}
            assert {reply.record_type for reply in resolution.replies} == set(RecordType)
            assert resolution.source == "none"

    runner(work())


@pytest.mark.parametrize(
    "name", ["junk.test", "wrongid.test", "wrongname.test", "tc.test", "halfcut.test", "noedns.test"]
)
def test_a_good_answer_is_found_behind_whatever_comes_before_it(runner: Run, name: str) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, name)
            assert texts(resolution) == ["2001:db8::1", "198.18.0.1"]
            assert resolution.source == "dns"
            assert verdict(resolution)[0] is None

    runner(work())


def test_a_plain_name_takes_one_question_per_type_and_is_asked_once_for_all(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            all_at_once = await asyncio.gather(*(ask(resolver, "Good.test.") for _ in range(50)))
            later = await ask(resolver, "good.TEST")
            assert {id(resolution) for resolution in (*all_at_once, later)} == {id(later)}
            assert texts(later) == ["2001:db8::1", "198.18.0.1"]
            assert later.min_ttl_s == 60
            assert later.replies == ()
            assert server.asked == Counter({"good.test": 2})

    runner(work())


def test_only_the_families_asked_for_are_asked(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text, families=frozenset({4})) as resolver:
            assert texts(await ask(resolver, "good.test")) == ["198.18.0.1"]
            assert server.asked == Counter({"good.test": 1})

    runner(work())


def test_a_name_with_one_family_is_clean_and_not_asked_again(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "fouronly.test")
            assert texts(resolution) == ["198.18.0.1"]
            assert resolution.replies == ()

    runner(work())


def test_a_family_that_fails_beside_one_that_works_is_kept_as_evidence_and_breaks_nothing(
    runner: Run,
) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "sixfails.test")
            assert texts(resolution) == ["198.18.0.1"]
            assert [(r.record_type, r.rcode) for r in resolution.replies] == [(RecordType.AAAA, "SERVFAIL")]
            assert verdict(resolution)[0] is None

    runner(work())


def test_a_family_that_is_silent_beside_one_that_works_costs_a_bounded_wait(
    runner: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        monkeypatch.setattr(dns_opinion, "_OTHER_TYPE_S", 0.3)
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "mutefour.test", 8.0)
            assert texts(resolution) == ["2001:db8::1"]
            assert resolution.duration_ms < 1200
            assert resolution.unanswered == (RecordType.A,)

    runner(work())


def test_a_type_that_nobody_answers_is_named_as_what_the_time_went_into(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "mutesix.test", 4.0)
            assert texts(resolution) == ["198.18.0.1"]
            assert resolution.unanswered == (RecordType.AAAA,)
            _, slow = judge(DnsFacts(resolution), Policy())
            assert slow.code == "dns.slow"
            assert slow.summary.startswith(f"mutesix.test: A answered, AAAA unanswered by {server.text} for 1.")

    runner(work())


@pytest.mark.parametrize("name", ["slow.test", "slowsix.test"])
def test_a_type_that_is_answered_late_is_slow_and_not_unanswered(runner: Run, name: str) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, name, 4.0)
            assert texts(resolution) == ["2001:db8::1", "198.18.0.1"]
            assert resolution.unanswered == ()
            _, slow = judge(DnsFacts(resolution), Policy())
            assert slow.code == "dns.slow"
            assert slow.summary == f"{name} took {resolution.duration_ms:.0f} ms to resolve"

    runner(work())


def test_a_second_nameserver_that_answers_the_type_leaves_nothing_unanswered(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as ignores, hostile() as answers:
            answers.heals = True
            async with resolving(ignores.text, answers.text) as resolver:
                resolution = await ask(resolver, "mutesix.test", 4.0)
                assert texts(resolution) == ["2001:db8::1", "198.18.0.1"]
                assert resolution.unanswered == ()

    runner(work())


def test_a_slow_answer_after_many_fast_ones_is_slow_and_not_a_timeout(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            for number in range(60):
                assert texts(await ask(resolver, f"fast-{number}.test"))
            resolution = await ask(resolver, "slow.test", 4.0)
            assert texts(resolution) == ["2001:db8::1", "198.18.0.1"]
            assert 1500 <= resolution.duration_ms < 3900
            codes = [finding.code for finding in judge(DnsFacts(resolution), Policy())]
            assert codes == [None, "dns.slow"]

    runner(work())


def test_silence_for_one_name_from_a_living_nameserver_is_a_timeout_of_the_name(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            started = time.monotonic()
            resolution = await ask(resolver, "silent.test", 1.0)
            assert time.monotonic() - started < 1.3
            assert verdict(resolution) == ("dns.timeout", Confidence.INFERRED, 2)
            assert [control.rcode for control in resolution.controls] == ["REFUSED"]
            assert all(r.fault and r.fault.event is Event.SILENT for r in resolution.replies)

    runner(work())


def test_a_nameserver_silent_to_everything_is_the_vantage_and_not_the_name(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            server.mute = True
            resolution = await ask(resolver, "good.test", 1.2)
            assert verdict(resolution) == ("vantage.resolver_unreachable", Confidence.INFERRED, 2)
            assert [control.rcode for control in resolution.controls] == [None]

    runner(work())


def test_a_closed_port_is_heard_at_once(runner: Run) -> None:
    async def work() -> None:
        async with resolving(closed_port()) as resolver:
            resolution = await ask(resolver, "good.test", 4.0)
            assert verdict(resolution) == ("vantage.resolver_unreachable", Confidence.OBSERVED, 0)
            assert resolution.duration_ms < 1900
            fault = resolution.replies[0].fault
            assert fault is not None
            assert fault.errno_name == "ECONNREFUSED"
            assert fault.icmp is not None
            assert (fault.icmp.type, fault.icmp.code, fault.icmp.sender) == (3, 3, "127.0.0.1")

    runner(work())


def test_a_dead_first_nameserver_does_not_hide_the_second(runner: Run) -> None:
    async def work() -> None:
        dead = closed_port()
        async with hostile() as server, resolving(dead, server.text) as resolver:
            assert texts(await ask(resolver, "good.test"))
            resolution = await ask(resolver, "nx.test")
            assert verdict(resolution)[0] == "dns.nxdomain"
            assert {reply.server for reply in resolution.replies} == {dead, server.text}

    runner(work())


def test_nameservers_that_disagree_are_all_listed_and_data_wins(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as bad, hostile() as good:
            bad._sends = lambda kind, query, over_tcp: [(0.0, bad._coded(query, dns.rcode.NXDOMAIN))]  # type: ignore[method-assign]  # one server of the pair lies
            async with resolving(bad.text, good.text) as resolver:
                resolution = await ask(resolver, "good.test")
            assert texts(resolution) == ["2001:db8::1", "198.18.0.1"]
            said = {(reply.server, reply.rcode) for reply in resolution.replies}
            assert said == {(bad.text, "NXDOMAIN"), (good.text, "NOERROR")}

    runner(work())


def test_an_alias_chain_is_followed_and_only_its_end_counts(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "alias.test")
            assert texts(resolution) == ["198.18.0.2"]
            assert resolution.cnames == ("end.test",)
            assert resolution.min_ttl_s == 30

    runner(work())


@pytest.mark.parametrize(
    ("name", "code", "confidence", "said"),
    [
        ("bare-nx.test", "dns.cname_dangling", Confidence.OBSERVED, "is an alias of nx.test, which does not exist"),
        ("bare-nodata.test", "dns.cname_dangling", Confidence.OBSERVED, "of nodata.test, which has no address"),
        ("bare-bare-nx.test", "dns.cname_dangling", Confidence.OBSERVED, "of nx.test, which does not exist"),
        ("bare-dangling.test", "dns.cname_dangling", Confidence.OBSERVED, "of gone.test, which does not exist"),
        ("bare-refused.test", "dns.cname_dangling", Confidence.INFERRED, "asked for that: REFUSED"),
        ("bare-silent.test", "dns.cname_dangling", Confidence.INFERRED, "asked for that: silent"),
        ("bare-deep-0.test", "dns.cname_dangling", Confidence.INFERRED, "no address comes with it"),
        ("bare-root.test", "dns.cname_dangling", Confidence.INFERRED, "asked for that: REFUSED"),
        ("bare-round.test", "dns.cname_loop", Confidence.OBSERVED, "lead back to bare-round.test after 2 steps"),
        ("bare-loop.test", "dns.cname_loop", Confidence.OBSERVED, "lead back to loop.test after 3 steps"),
        ("bare-longchain.test", "dns.cname_loop", Confidence.OBSERVED, "through 16 aliases"),
    ],
)  # fmt: skip
def test_an_alias_that_comes_alone_is_followed_to_what_its_end_is(
    runner: Run, name: str, code: str, confidence: Confidence, said: str
) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, name, 2.0)
            finding = judge(DnsFacts(resolution), Policy())[0]
            assert (finding.code, finding.confidence) == (code, confidence)
            assert said in finding.summary
            assert resolution.duration_ms < 2200

    runner(work())


def test_an_alias_that_comes_alone_works_when_its_end_does(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "bare-bare-good.test")
            assert texts(resolution) == ["2001:db8::1", "198.18.0.1"]
            assert resolution.cnames == ("bare-good.test", "good.test")
            assert resolution.min_ttl_s == 30
            assert verdict(resolution)[0] is None

    runner(work())


def test_an_end_of_one_family_is_enough_and_the_other_family_only_is_no_proof(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            assert texts(await ask(resolver, "bare-fouronly.test")) == ["198.18.0.1"]
        async with hostile() as server, resolving(server.text, families=frozenset({6})) as resolver:
            finding = judge(DnsFacts(await ask(resolver, "bare-fouronly.test")), Policy())[0]
            assert (finding.code, finding.confidence) == ("dns.cname_dangling", Confidence.INFERRED)
            assert "which has no AAAA record" in finding.summary

    runner(work())


def test_a_chain_without_end_costs_a_bounded_number_of_questions(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text, families=frozenset({4})) as resolver:
            await ask(resolver, "bare-deep-0.test")
            # Once in bulk, once directly, and then eight links further.
            assert server.asked["bare-deep-0.test"] == 2
            assert sum(server.asked.values()) == 10

    runner(work())


def test_a_second_nameserver_that_follows_the_alias_makes_up_for_one_that_does_not(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as bare, hostile() as follows:
            follows.heals = True
            async with resolving(bare.text, follows.text) as resolver:
                assert texts(await ask(resolver, "bare-refused.test"))

    runner(work())


def test_a_hostile_alias_comes_out_as_printable_ascii(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "nastyalias.test")
            assert texts(resolution) == ["198.18.0.2"]
            text = json.dumps(DnsFacts(resolution).record(), ensure_ascii=False)
            assert text.isascii()
            assert text.isprintable()

    runner(work())


def test_four_thousand_addresses_are_cut_to_64_and_said_to_be(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "many.test")
            assert len(resolution.addresses) == 64
            assert resolution.truncated
            assert server.seen_over_tcp >= 1

    runner(work())


def test_a_flood_of_junk_ends_the_question_and_not_the_program(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, "flood.test", 1.5)
            assert verdict(resolution) == ("dns.timeout", Confidence.INFERRED, 2)

    runner(work())


@pytest.mark.parametrize(
    "name",
    [
        "good.test\0.evil.test",
        "a..test",
        "x" * 64 + ".test",
        "",
        ".",
        "a b.test",
        "ü.test",
        ".".join(["a"] * 130),
    ],
)
def test_a_text_that_is_no_host_name_is_never_asked(runner: Run, name: str) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            resolution = await ask(resolver, name)
            assert verdict(resolution)[0] == "input.invalid"
            assert server.asked == Counter()

    runner(work())


def test_the_hosts_file_comes_first_and_is_said_to(runner: Run, tmp_path: Path) -> None:
    async def work() -> None:
        path = tmp_path / "hosts"
        path.write_text("192.0.2.7 good.test\n2001:db8::7 good.test\n192.0.2.8 good.test\n")
        async with hostile() as server, resolving(server.text, hosts_path=str(path)) as resolver:
            resolution = await ask(resolver, "good.test")
            assert texts(resolution) == ["2001:db8::7", "192.0.2.7", "192.0.2.8"]
            assert resolution.hosts_line == f"{path}:1"
            assert server.asked == Counter()
            assert [f.code for f in judge(DnsFacts(resolution), Policy())] == [None, "dns.hosts_override"]

    runner(work())


def test_an_ipv6_nameserver_is_asked_in_bulk_and_directly(runner: Run) -> None:
    async def work() -> None:
        async with hostile("::1") as server, resolving(server.text) as resolver:
            assert texts(await ask(resolver, "good.test")) == ["2001:db8::1", "198.18.0.1"]
            assert verdict(await ask(resolver, "nx.test"))[0] == "dns.nxdomain"

    runner(work())


def test_thousands_of_names_on_a_dead_nameserver_are_no_storm_and_end_soon(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            server.mute = True
            first = await asyncio.gather(*(ask(resolver, f"good-{n}.test", 1.5) for n in range(300)))
            started = time.monotonic()
            rest = await asyncio.gather(*(ask(resolver, f"more-{n}.test", 2.5) for n in range(2000)))
            assert time.monotonic() - started < 4.0
            codes = Counter(verdict(resolution)[0] for resolution in (*first, *rest))
            assert codes == Counter({"vantage.resolver_unreachable": 2300})
            assert server.asked_root <= 6
            assert not any(name.startswith("more-") for name in server.asked)

    runner(work())


def test_a_dead_nameserver_that_comes_back_is_used_again(
    runner: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        monkeypatch.setattr(nameserver, "_FRESH_S", 0.3)
        async with hostile() as server, resolving(server.text) as resolver:
            server.mute = True
            await asyncio.gather(*(ask(resolver, f"good-{n}.test", 1.0) for n in range(30)))
            server.mute = False
            await asyncio.sleep(0.6)
            assert texts(await ask(resolver, "good.test"))

    runner(work())


def test_many_missing_names_at_once_are_all_judged_and_asked_no_more_than_needed(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            every = await asyncio.gather(*(ask(resolver, f"nx-{number}.test", 8.0) for number in range(60)))
            assert {verdict(resolution)[0] for resolution in every} == {"dns.nxdomain"}
            assert all(count <= 4 for count in server.asked.values())

    runner(work())


def test_one_asker_that_is_cancelled_does_not_disturb_the_other(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            impatient = asyncio.ensure_future(ask(resolver, "slowish.test"))
            patient = asyncio.ensure_future(ask(resolver, "slowish.test"))
            await asyncio.sleep(0.1)
            impatient.cancel()
            assert texts(await patient) == ["2001:db8::1", "198.18.0.1"]
            assert impatient.cancelled()

    runner(work())


def test_an_asker_with_less_time_gets_its_answer_in_time(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server, resolving(server.text) as resolver:
            patient = asyncio.ensure_future(ask(resolver, "slowish.test"))
            await asyncio.sleep(0.05)
            started = time.monotonic()
            hurried = await ask(resolver, "slowish.test", 0.05)
            assert time.monotonic() - started < 0.3
            assert verdict(hurried)[0] == "local.overload"
            assert texts(await patient)

    runner(work())


def test_closing_ends_every_question_and_gives_the_descriptors_back(runner: Run) -> None:
    async def work() -> None:
        async with hostile() as server:
            before = open_descriptors()
            resolver = Resolver([server.text], BOTH, hosts_path="/nonexistent")
            asking = [asyncio.ensure_future(ask(resolver, f"silent-{n}.test", 1.0)) for n in range(10)]
            await asyncio.sleep(0.6)
            await resolver.close()
            await asyncio.gather(*asking, return_exceptions=True)
            for _ in range(40):
                if open_descriptors() <= before:
                    break
                await asyncio.sleep(0.05)
            assert open_descriptors() <= before

    runner(work())


EXHAUSTED = """
import asyncio, json, os, resource, sys, time
import uvloop
from fleetprobe.layers.dns import DnsFacts, judge
from fleetprobe.model.policy import Policy
from fleetprobe.net.live.dns import Resolver

async def work(server):
    resolver = Resolver([server], frozenset({4, 6}), hosts_path="/nonexistent")
    # The limit falls below what is open already: not one more descriptor can be made.
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    try:
        while True:
            held.append(os.dup(0))
    except OSError:
        pass
    names = [f"{kind}-{n}.test" for n in range(20) for kind in ("good", "nx")]
    told = await asyncio.gather(*(resolver.resolve(name, time.monotonic() + 2.0) for name in names))
    codes = sorted({judge(DnsFacts(one), Policy())[0].code for one in told})
    for fd in held:
        os.close(fd)
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 50, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    again = await resolver.resolve("good-0.test", time.monotonic() + 2.0)
    errors = sorted({reply.fault.errno_name for one in told for reply in one.replies})
    await resolver.close()
    print(json.dumps({"codes": codes, "errors": errors, "again": [a.text for a in again.addresses]}))

loop = uvloop.new_event_loop if sys.argv[2] == "uvloop" else asyncio.new_event_loop
with asyncio.Runner(loop_factory=loop) as runner:
    runner.run(work(sys.argv[1]))
"""


@pytest.mark.parametrize("loop", sorted(LOOPS))
def test_the_limit_on_descriptors_is_ours_and_is_not_remembered_against_the_name(loop: str) -> None:
    async def work() -> dict[str, list[str]]:
        async with hostile() as server:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", EXHAUSTED, server.text, loop,
                stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            out, _ = await asyncio.wait_for(child.communicate(), 20)
            assert child.returncode == 0
            said: dict[str, list[str]] = json.loads(out)
            return said

    said = asyncio.run(work())
    assert said == {"codes": ["local.fd_limit"], "errors": ["EMFILE"], "again": ["2001:db8::1", "198.18.0.1"]}
