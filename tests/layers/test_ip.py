"""Our own routing table speaks about ourselves: it blocks a target and never fails one."""

from __future__ import annotations

import pytest

from fleetprobe.decide import decide
from fleetprobe.layer import Ground
from fleetprobe.layers.ip import LAYER, IpFacts, judge, probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.verdict import State, Verdict
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.interface import Address, Route

PLACES = {4: Address("203.0.113.9", 4), 6: Address("2001:db8:3::9", 6)}


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize(
    ("errno_name", "usable", "code", "word"),
    [
        ("ENETUNREACH", True, "ip.no_route", "no route to"),
        ("ENETUNREACH", False, "vantage.no_route", "no IPv"),
        ("EINVAL", True, "ip.route_rejected", "blackhole"),
        ("EACCES", True, "ip.route_rejected", "prohibit"),
        ("EHOSTUNREACH", True, "ip.route_rejected", "unreachable"),
        ("EINVAL", False, "ip.route_rejected", "blackhole"),
    ],
)
def test_no_way_is_our_own_tables_word_and_nothing_is_sent(
    family: int, errno_name: str, usable: bool, code: str, word: str
) -> None:
    address = PLACES[family]
    net = FakeNet().way(Route(address=address.text, errno_name=errno_name, family_usable=usable))
    target = Target(service="tcp", host=address.text, port=80)
    ground = Ground(target=target, policy=Policy(), deadline=net.now() + 9, address=address)
    told = drive(probe(ground, net))
    (finding,) = judge(told, Policy())
    assert (finding.code, finding.state) == (code, State.BLOCKED)
    assert word in finding.summary
    assert address.text in finding.summary
    assert finding.code in LAYER.emits
    assert net.count("dial") == 0
    assert ground.attempts == []
    assert told.columns() == {"errno_name": errno_name}


def test_a_way_proves_nothing_yet() -> None:
    route = Route(address="203.0.113.9", gateway="198.18.1.1", source="198.18.1.10", interface="eth0", mtu_bytes=1400)
    (finding,) = judge(IpFacts(route), Policy())
    assert (finding.code, finding.tentative, finding.breaks) == (None, True, False)
    assert IpFacts(route).record() == {
        "address": "203.0.113.9", "gateway": "198.18.1.1", "source": "198.18.1.10", "interface": "eth0",
        "path_mtu_bytes": 1400,
    }
    verdict = decide(("ip",), [finding])
    assert isinstance(verdict, Verdict)
    assert (verdict.state, verdict.proven_layers) == (State.UNKNOWN, ())
