"""One target on a scripted network: what is dialled, how often, and who speaks for the target."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.engine.budget import Gate, Guard, Limit, Manners
from fleetprobe.engine.one import Examiner
from fleetprobe.layer import Ground, Layer, Witness, found, passed
from fleetprobe.layers.ladders import ladder_of
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Expectations
from fleetprobe.model.verdict import Confidence, State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.interface import Event, Fault, Net
from fleetprobe.net.script import REFUSED, SILENT, Hear, Mute, Say, Step
from tests.engine.world import GOOD, V4, V6, examine, row, target


def test_a_healthy_target_costs_one_connection_and_every_rung_is_proven() -> None:
    net = FakeNet().name("shop.test", V4).host(V4, 80, *GOOD)
    examined = examine(net, target())
    assert examined.verdict.state is State.OK
    assert examined.verdict.proven_layers == ("dns", "link", "ip", "tcp", "http")
    assert (net.count("dial"), net.count("resolve"), net.left_open) == (1, 1, 0)


def test_every_address_is_dialled_once_and_one_of_each_family_climbs_to_the_top() -> None:
    addresses = (V6, V4, "2001:db8::10", "203.0.113.10")
    net = FakeNet().name("shop.test", *addresses)
    for address in addresses:
        net.host(address, 80, *GOOD)
    examined = examine(net, target())
    assert examined.verdict.state is State.OK
    assert [net.count("dial", address) for address in addresses] == [1, 1, 1, 1]
    assert [net.count("send", address) for address in addresses] == [1, 1, 0, 0]
    assert {result.verdict.state for result in examined.addresses} == {State.OK}
    assert net.left_open == 0


def test_of_many_addresses_eight_are_dialled() -> None:
    addresses = [f"203.0.113.{n}" for n in range(1, 21)]
    net = FakeNet().name("shop.test", *addresses)
    for address in addresses:
        net.host(address, 80, *GOOD)
    assert len(examine(net, target()).addresses) == 8
    assert net.count("dial") == 8


def test_when_the_first_address_of_a_family_fails_the_next_one_climbs_to_the_top() -> None:
    net = FakeNet().name("shop.test", V4, "203.0.113.10").host(V4, 80, fault=REFUSED).host("203.0.113.10", 80, *GOOD)
    examined = examine(net, target())
    assert examined.verdict.state is State.OK
    assert net.count("send", "203.0.113.10") == 1
    assert [finding.code for finding in examined.verdict.also] == ["ip.address_partial"]


def test_all_addresses_expected_means_that_the_worst_one_speaks() -> None:
    net = FakeNet().name("shop.test", V4, "203.0.113.10").host(V4, 80, *GOOD).host("203.0.113.10", 80, fault=REFUSED)
    examined = examine(net, target(expect=Expectations(addresses="all")))
    assert (examined.verdict.state, examined.verdict.code) == (State.FAIL, "tcp.refused")
    assert examined.deciding is not None
    assert examined.deciding.address.text == "203.0.113.10"


def test_a_refusal_is_loud_and_nothing_is_asked_twice() -> None:
    net = FakeNet().host(V4, 80, fault=REFUSED)
    examined = examine(net, target(host=V4))
    assert (examined.verdict.state, examined.verdict.code) == (State.FAIL, "tcp.refused")
    assert "ip" in examined.verdict.proven_layers
    assert net.count("dial") == 1


def test_a_silent_connect_gets_a_twin_and_a_survey_and_then_stands_as_inferred() -> None:
    net = FakeNet().host(V4, 80, fault=SILENT)
    examined = examine(net, target(host=V4))
    verdict = examined.verdict
    assert (verdict.state, verdict.code) == (State.FAIL, "tcp.filtered")
    assert verdict.finding is not None
    assert verdict.finding.confidence is Confidence.INFERRED
    assert verdict.finding.could_also_be
    assert net.count("survey") == 1
    purposes = [attempt["purpose"] for attempt in row(examined)["attempts"]]
    assert purposes[:2] == ["climb", "again"]
    assert set(purposes[2:]) == {"survey"}


def test_without_witnesses_one_silence_is_unknown() -> None:
    net = FakeNet().host(V4, 80, fault=SILENT)
    examined = examine(net, target(host=V4), policy=Policy(witnesses=False))
    assert (examined.verdict.state, examined.verdict.code) == (State.UNKNOWN, "tcp.timeout")
    assert net.count("dial") == 1


def test_when_the_twin_connects_the_target_is_slow_and_not_failed() -> None:
    net = FakeNet().host(V4, 80, fault=SILENT).host(V4, 80, *GOOD)
    examined = examine(net, target(host=V4))
    assert (examined.verdict.state, examined.verdict.code) == (State.SLOW, "tcp.syn_retransmit")
    assert (net.count("survey"), net.left_open) == (0, 0)


def test_a_silence_above_the_connection_is_repeated_over_a_fresh_one() -> None:
    net = FakeNet().host(V4, 80, Hear(b"GET"), Mute())
    examined = examine(net, target(host=V4))
    assert (examined.verdict.state, examined.verdict.code) == (State.FAIL, "http.timeout")
    # Once in small packets, too: had they passed, the size of the packets would be in question.
    assert [attempt["purpose"] for attempt in row(examined)["attempts"]] == ["climb", "mtu", "again"]
    assert "tcp" in examined.verdict.proven_layers


def test_a_name_that_does_not_exist_ends_the_climb_and_nothing_is_dialled() -> None:
    net = FakeNet()
    examined = examine(net, target())
    assert (examined.verdict.state, examined.verdict.code) == (State.FAIL, "dns.nxdomain")
    assert (examined.addresses, examined.speaker, net.count("dial")) == ([], None, 0)
    assert {entry["layer"]: entry["outcome"] for entry in row(examined)["layers"]}["tcp"] == "skipped"


def test_a_slow_name_is_not_forgotten_when_the_rest_works() -> None:
    net = FakeNet().name("shop.test", V4, duration_ms=1500.0).host(V4, 80, *GOOD)
    examined = examine(net, target())
    assert (examined.verdict.state, examined.verdict.code) == (State.SLOW, "dns.slow")


def test_a_denied_address_is_never_dialled_and_blocks_only_itself() -> None:
    guard = Guard(deny=[ipaddress.ip_network(V4)])
    net = FakeNet().name("shop.test", V4, V6).host(V4, 80, *GOOD).host(V6, 80, *GOOD)
    examined = examine(net, target(), guard=guard)
    assert (examined.verdict.state, net.count("dial", V4), net.count("dial", V6)) == (State.OK, 0, 1)
    assert [result.verdict.code for result in examined.addresses] == ["policy.denied", None]
    alone = FakeNet().host(V4, 80, *GOOD)
    examined = examine(alone, target(host=V4), guard=guard)
    assert (examined.verdict.state, examined.verdict.code) == (State.BLOCKED, "policy.denied")
    assert not alone.calls


def test_without_a_route_nothing_is_sent() -> None:
    from fleetprobe.net.interface import Route

    net = FakeNet().host(V4, 80, *GOOD).way(Route(address=V4, errno_name="ENETUNREACH"))
    examined = examine(net, target(host=V4))
    assert (examined.verdict.state, examined.verdict.code) == (State.BLOCKED, "ip.no_route")
    assert net.count("dial") == 0


async def broken_probe(ground: Ground, net: Net) -> object:
    raise KeyError("a bug of ours")


@pytest.mark.parametrize("rung", ["probe", "judge"])
def test_a_bug_of_ours_is_unknown_and_never_the_targets_fault(rung: str) -> None:
    async def probe(ground: Ground, net: Net) -> object:
        return await broken_probe(ground, net) if rung == "probe" else object()

    def judge(facts: object, policy: Policy) -> list[object]:
        raise KeyError("a bug of ours")

    bad = Layer(name="http", probe=probe, judge=judge, emits=frozenset())  # type: ignore[arg-type]  # it only raises
    net = FakeNet().host(V4, 80, *GOOD)
    examined = examine(net, target(host=V4), ladder=(*ladder_of(target(service="tcp", host=V4)), bad))
    assert (examined.verdict.state, examined.verdict.code) == (State.UNKNOWN, "local.bug")
    assert "KeyError" in row(examined)["summary"]
    assert net.left_open == 0


def test_a_witness_with_a_probe_of_its_own_is_asked_as_declared_and_listed() -> None:
    asked: list[str] = []

    async def silent(ground: Ground, net: Net) -> None:
        return None

    async def aside(ground: Ground, net: Net) -> None:
        asked.append(ground.address.text if ground.address else "")

    layer = Layer(
        name="tcp",
        probe=silent,
        emits=frozenset(),
        judge=lambda facts, policy: (found("tcp.timeout", "nothing", {}, silences=1, confidence=Confidence.INFERRED),),
        witnesses=(
            Witness(
                name="aside",
                when=frozenset({"tcp.timeout"}),
                times=2,
                probe=aside,
                judge=lambda facts, policy: (found("tcp.refused", "no", {}),) if len(asked) == 2 else (),
            ),
        ),
    )
    examined = examine(FakeNet(), target(host=V4), ladder=(layer,))
    assert asked == [V4, V4]
    assert (examined.verdict.state, examined.verdict.code) == (State.FAIL, "tcp.refused")
    assert examined.deciding is not None
    assert [climb.purpose for climb in examined.deciding.climbs] == ["climb", "aside", "aside"]


def test_nothing_is_asked_past_the_deadline_and_the_deadline_is_kept() -> None:
    for deadline_s in (1.0, 3.3, 5.0, 40.0):
        net = FakeNet().name("shop.test", V4, V6, duration_ms=800.0)
        net.host(V4, 80, Mute()).host(V6, 80, fault=SILENT)
        examined = examine(net, target(), policy=Policy(deadline_s=deadline_s))
        assert examined.ended_s - examined.started_s <= deadline_s + 1e-6
        assert examined.verdict.state in (State.FAIL, State.UNKNOWN)


def test_a_cancelled_examination_leaves_no_connection_open() -> None:
    async def main() -> int:
        net = FakeNet().name("shop.test", V4, V6).host(V4, 80, Hear(b"x" * 99)).host(V6, 80, Hear(b"x" * 99))

        async def never(ground: Ground, network: Net) -> object:
            await asyncio.sleep(3600)
            return None

        stuck = Layer(name="http", probe=never, judge=lambda facts, policy: (), emits=frozenset(), everywhere=False)
        gate = Gate(Manners(per_host=Limit(1)), Guard())
        ladder = (*ladder_of(target(service="tcp")), stuck)
        task = asyncio.ensure_future(Examiner(net, Policy(), gate).examine(target(), ladder))
        while net.count("dial") < 2 or len(net.streams) < 2:
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        return net.left_open

    assert asyncio.run(asyncio.wait_for(main(), 10)) == 0


_FAULTS = st.sampled_from([None, REFUSED, SILENT, Fault(Event.ERROR, "EHOSTUNREACH"), Fault(Event.RESET, "ECONNRESET")])
_SCRIPTS: st.SearchStrategy[tuple[Step, ...]] = st.sampled_from(
    [GOOD, (), (Mute(),), (Hear(b"GET"), Say(b"HTTP/1.1 500 no\r\n\r\n")), (Say(b"SSH-2.0-x\r\n"),)]
)


@given(
    addresses=st.lists(st.sampled_from([V4, V6, "203.0.113.10", "2001:db8::10"]), unique=True, min_size=1),
    data=st.data(),
)
def test_in_any_world_the_phases_add_up_and_every_connection_is_ended_and_listed(
    addresses: list[str], data: st.DataObject
) -> None:
    net = FakeNet().name("shop.test", *addresses, duration_ms=data.draw(st.floats(0, 2000)))
    for address in addresses:
        for _ in range(data.draw(st.integers(1, 2))):
            net.host(
                address, 80, *data.draw(_SCRIPTS), fault=data.draw(_FAULTS), connect_ms=data.draw(st.floats(0, 4000))
            )
    examined = examine(net, target())
    told = row(examined)
    parts = ("queue_ms", "dns_duration_ms", "tcp_connect_duration_ms", "http_time_to_first_byte_ms", "witness_ms")
    total = sum(told[part] or 0.0 for part in (*parts, "tls_handshake_duration_ms", "unattributed_ms"))
    assert told["duration_ms"] == pytest.approx(total, abs=0.01)
    assert told["duration_ms"] == pytest.approx((examined.ended_s - examined.started_s) * 1000, abs=0.01)
    assert all(told[part] is None or told[part] >= 0 for part in parts)
    assert net.left_open == 0
    assert len(told["attempts"]) >= net.count("dial")
    # Eight, and twelve where the ladder of sizes was climbed.
    assert net.count("dial") <= 12 * len(addresses)
    assert [result.address.text for result in examined.addresses] == addresses


def test_a_pass_that_nothing_carries_is_no_evidence() -> None:
    async def probe(ground: Ground, net: Net) -> None:
        return None

    upper = Layer(name="http", probe=probe, judge=lambda facts, policy: (), emits=frozenset())
    lower = Layer(name="tcp", probe=probe, judge=lambda facts, policy: (passed("tcp", {}),), emits=frozenset())
    assert examine(FakeNet(), target(host=V4), ladder=(lower, upper)).verdict.state is State.UNKNOWN
    assert examine(FakeNet(), target(host=V4), ladder=(lower,)).verdict.state is State.OK
