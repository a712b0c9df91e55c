"""A climb that hangs gets a second one beside it: two silences for the time of one, and no more connections."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest

from fleetprobe.engine.beside import Beside
from fleetprobe.engine.budget import Gate, Guard
from fleetprobe.engine.one import Examiner
from fleetprobe.examination import Climb, Step
from fleetprobe.layer import Ground, Layer
from fleetprobe.layers.ladders import ladder_of
from fleetprobe.model.policy import Policy, Slow
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Finding, State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.interface import Address, Net, Resolution
from fleetprobe.net.live.net import LiveNet
from fleetprobe.record.result import result_row
from tests.engine.world import FREE

POLICY = Policy(exchange_s=0.9, beside_s=0.4, slow=Slow(http_ms=300.0))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
Talk = Callable[[int, asyncio.StreamWriter], Awaitable[None]]


async def silent(nth: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(3.0)


async def late(nth: int, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(0.6)
    writer.write(ANSWER)


async def silent_at_first(nth: int, writer: asyncio.StreamWriter) -> None:
    if nth == 0:
        await asyncio.sleep(3.0)
    writer.write(ANSWER)


async def silent_then_closed(nth: int, writer: asyncio.StreamWriter) -> None:
    if nth == 0:
        await asyncio.sleep(3.0)


async def stalled_body(nth: int, writer: asyncio.StreamWriter) -> None:
    writer.write(ANSWER[:-1])
    await writer.drain()
    await asyncio.sleep(3.0)


async def body_silent_at_first(nth: int, writer: asyncio.StreamWriter) -> None:
    """Its head comes so late that the second climb does not see it in its shorter time."""
    await asyncio.sleep(0.6)
    if nth == 0:
        await stalled_body(nth, writer)
    writer.write(ANSWER)


def scanned(talk: Talk, policy: Policy = POLICY) -> tuple[dict[str, Any], int]:
    """The row of an http target that talks so, and how many connections it saw."""

    async def examine() -> tuple[dict[str, Any], int]:
        numbers = count()
        seen: list[int] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(nth := next(numbers))
            with suppress(asyncio.CancelledError):  # the examination ends before the server has had its say
                await reader.readuntil(b"\r\n\r\n")
                await talk(nth, writer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        target = Target(service="http", host="127.0.0.1", port=server.sockets[0].getsockname()[1])
        net = LiveNet()
        try:
            examined = await Examiner(net, policy, Gate(FREE, Guard())).examine(target, ladder_of(target))
        finally:
            await net.close()
            server.close()
        return result_row(examined, "run", "here", 0), len(seen)

    return asyncio.run(examine())


def whole(row: dict[str, Any]) -> float:
    parts = (
        "queue_ms", "dns_duration_ms", "tcp_connect_duration_ms", "tls_handshake_duration_ms",
        "http_time_to_first_byte_ms", "witness_ms", "unattributed_ms",
    )
    return sum(row[part] or 0.0 for part in parts)


@pytest.mark.parametrize(("talk", "code"), [(silent, "http.timeout"), (stalled_body, "tcp.stalled")])
def test_two_silences_cost_the_time_of_one(talk: Talk, code: str) -> None:
    row, connections = scanned(talk)
    assert (row["state"], row["code"], row["confidence"]) == ("fail", code, "inferred")
    assert connections == 2
    assert [attempt["purpose"] for attempt in row["attempts"]] == ["climb", "again"]
    assert 900 <= row["duration_ms"] < 1300
    assert row["duration_ms"] == pytest.approx(whole(row), abs=0.01)
    assert "0.9 s" in row["summary"]


def test_without_witnesses_nothing_stands_beside_and_one_silence_is_unknown() -> None:
    row, connections = scanned(silent, Policy(exchange_s=0.9, beside_s=0.4, witnesses=False))
    assert (row["state"], row["code"], connections) == ("unknown", "http.timeout", 1)


def test_a_late_answer_makes_the_second_climb_needless() -> None:
    row, connections = scanned(late)
    assert (row["state"], row["code"]) == ("slow", "http.slow")
    assert connections == 2
    assert [attempt["purpose"] for attempt in row["attempts"]] == ["climb", "again"]
    assert [layer["layer"] for layer in row["layers"]] == ["link", "ip", "tcp", "http"]
    assert row["http_time_to_first_byte_ms"] == pytest.approx(600, abs=100)
    assert row["duration_ms"] < 900


def test_a_quick_answer_costs_one_connection() -> None:
    async def quick(nth: int, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)

    row, connections = scanned(quick)
    assert (row["state"], connections) == ("ok", 1)


def test_what_the_second_climb_finds_forgives_the_silence_of_the_first() -> None:
    row, connections = scanned(silent_at_first)
    assert (row["state"], connections) == ("ok", 2)
    assert [finding["code"] for finding in row["findings"]] == ["http.timeout"]
    assert row["http_time_to_first_byte_ms"] < 300
    assert row["duration_ms"] == pytest.approx(whole(row), abs=0.01)


def test_what_the_second_climb_hears_aloud_is_the_cause() -> None:
    row, _ = scanned(silent_then_closed)
    assert (row["state"], row["code"], row["confidence"]) == ("fail", "tcp.closed", "observed")


def test_another_silence_of_the_second_climb_is_no_repetition() -> None:
    row, connections = scanned(body_silent_at_first)
    assert (row["state"], row["code"], connections) == ("slow", "http.slow", 3)
    assert [finding["code"] for finding in row["findings"]] == ["tcp.stalled"]
    assert [attempt["purpose"] for attempt in row["attempts"]] == ["climb", "again", "again"]
    assert row["duration_ms"] == pytest.approx(whole(row), abs=0.01)


@pytest.mark.parametrize(("below_s", "counts"), [(0.05, True), (0.25, False)])
def test_a_silence_counts_only_where_the_second_climb_had_time_to_hear(below_s: float, counts: bool) -> None:
    def silence(started_s: float, ended_s: float) -> Step:
        finding = Finding(layer="http", state=State.FAIL, code="http.timeout", silences=1)
        return Step(layer="http", started_s=started_s, ended_s=ended_s, findings=(finding,), facts=None)

    async def probe(ground: Ground, net: Net) -> None:
        await asyncio.sleep(0.6)

    async def ask() -> tuple[Climb | None, list[Climb]]:
        now = asyncio.get_running_loop().time

        async def begin(climb: Climb, until_s: float) -> None:
            await asyncio.sleep(below_s)
            started = now()
            await asyncio.sleep(until_s - started)
            climb.add(silence(started, now()))

        beside = Beside(begin, None, now)
        layer = Layer(name="http", probe=probe, judge=lambda *_: silence(0.0, 0.0).findings, emits=frozenset())
        target = Target(service="http", host="192.0.2.1", port=80)
        ground = Ground(target=target, policy=Policy(exchange_s=0.6, beside_s=0.2), deadline=now() + 9.0)
        first = Climb(purpose="climb", started_s=now())
        first.add(await beside.ask(layer, ground, FakeNet()))
        return await beside.take(first), beside.given_up

    climb, given_up = asyncio.run(ask())
    assert (climb is not None, len(given_up)) == (counts, 0 if counts else 1)


class Named(LiveNet):
    """A name with four addresses, all of them here."""

    async def resolve(self, name: str, until_s: float) -> Resolution:
        return Resolution(
            name=name, addresses=tuple(Address(f"127.0.0.{last}", 4) for last in range(1, 5)), source="dns",
            started_s=self.now(), duration_ms=0.1,
        )


def test_addresses_that_hang_do_not_keep_the_next_one_waiting_with_an_idle_connection() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.CancelledError, TimeoutError):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 1.5)
            if writer.get_extra_info("sockname")[0] != "127.0.0.4":
                await asyncio.sleep(3.0)
            writer.write(ANSWER)
        writer.close()

    async def examine() -> dict[str, Any]:
        server = await asyncio.start_server(serve, "0.0.0.0", 0)
        target = Target(service="http", host="shop.test", port=server.sockets[0].getsockname()[1])
        net = Named()
        try:
            examined = await Examiner(net, POLICY, Gate(FREE, Guard())).examine(target, ladder_of(target))
        finally:
            await net.close()
            server.close()
        return result_row(examined, "run", "here", 0)

    row = asyncio.run(examine())
    assert (row["state"], row["network_peer_address"]) == ("ok", "127.0.0.4")
    assert [address["outcome"] for address in row["addresses"]] == ["fail", "fail", "fail", "ok"]
    assert row["duration_ms"] < 2000
    assert row["duration_ms"] == pytest.approx(whole(row), abs=0.01)
