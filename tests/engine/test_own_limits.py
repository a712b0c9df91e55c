"""What cannot be brought about in the lab is injected here: our own limits, and paths that are only slow."""

from __future__ import annotations

import pytest

from fleetprobe.model.verdict import State
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.interface import Event, Fault, Icmp, Route
from fleetprobe.net.script import SILENT
from tests.engine.world import GOOD, V4, V6, examine, target


@pytest.mark.parametrize(
    ("errno_name", "code"),
    [
        ("EMFILE", "local.fd_limit"),
        ("ENFILE", "local.fd_limit"),
        ("EADDRNOTAVAIL", "local.ports_exhausted"),
        ("EPERM", "local.send_denied"),
        ("ENOBUFS", "local.overload"),
        ("ENOMEM", "local.overload"),
        ("ESOMETHINGNEW", "local.bug"),
    ],
)
@pytest.mark.parametrize("address", [V4, V6])
def test_our_own_kernels_refusal_is_unknown_and_blames_ourselves(errno_name: str, code: str, address: str) -> None:
    net = FakeNet().host(address, 80, fault=Fault(Event.ERROR, errno_name))
    verdict = examine(net, target(host=address)).verdict
    assert (verdict.state, verdict.code) == (State.UNKNOWN, code)
    assert "tcp" not in verdict.proven_layers


@pytest.mark.parametrize(
    ("route", "code"),
    [
        (Route(address=V4, errno_name="ENETUNREACH"), "ip.no_route"),
        (Route(address=V4, errno_name="ENETUNREACH", family_usable=False), "vantage.no_route"),
        (Route(address=V4, errno_name="EINVAL"), "ip.route_rejected"),
        (Route(address=V4, errno_name="EACCES"), "ip.route_rejected"),
        (Route(address=V4, errno_name="EHOSTUNREACH"), "ip.route_rejected"),
    ],
)
def test_our_own_table_blocks_and_nothing_is_sent(route: Route, code: str) -> None:
    net = FakeNet().host(V4, 80, *GOOD).way(route)
    verdict = examine(net, target(host=V4)).verdict
    assert (verdict.state, verdict.code, net.count("dial")) == (State.BLOCKED, code, 0)


def test_the_same_errno_with_an_icmp_message_from_outside_is_the_networks_word() -> None:
    unreachable = Icmp(type=3, code=1, sender="192.0.2.1", from_self=False)
    net = FakeNet().host(V4, 80, fault=Fault(Event.ERROR, "EHOSTUNREACH", unreachable))
    assert examine(net, target(host=V4)).verdict.code == "ip.host_unreachable"


def test_a_silence_that_was_mostly_our_own_lag_is_not_the_targets() -> None:
    net = FakeNet().host(V4, 80, fault=SILENT, lag_ms=2500.0)
    verdict = examine(net, target(host=V4)).verdict
    assert (verdict.state, verdict.code) == (State.UNKNOWN, "local.overload")
    little = FakeNet().host(V4, 80, fault=SILENT, lag_ms=100.0)
    assert examine(little, target(host=V4)).verdict.code == "tcp.filtered"


def test_a_far_target_is_slow_and_a_near_one_is_not() -> None:
    far, near = FakeNet().host(V4, 80, *GOOD, rtt_ms=600.0), FakeNet().host(V4, 80, *GOOD, rtt_ms=400.0)
    assert (examine(far, target(host=V4)).verdict.state, examine(far, target(host=V4)).verdict.code) == (
        State.SLOW,
        "tcp.slow",
    )
    assert examine(near, target(host=V4)).verdict.state is State.OK
