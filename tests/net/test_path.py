"""The shapes of sizes and holes: what an ICMP message means for a size, and the arithmetic of a search."""

from __future__ import annotations

import pytest

from fleetprobe.net.interface import Address, Icmp
from fleetprobe.net.path import DfProbe, DfSearch, Passed, meaning

FOUR, SIX = Address("203.0.113.9", 4), Address("2001:db8:3::9", 6)
ROUTER = {4: "198.18.1.1", 6: "2001:db8:1::1"}


def icmp(kind: int, code: int, sender: str, *, from_self: bool = False) -> Icmp:
    return Icmp(kind, code, sender, from_self)


def found(*probes: DfProbe) -> DfSearch:
    return DfSearch(FOUR, 33_434, 0.0, 1.0, probes)


@pytest.mark.parametrize(
    ("address", "message", "means"),
    [
        (FOUR, icmp(3, 3, FOUR.text), Passed.PASSED),
        (SIX, icmp(1, 4, SIX.text), Passed.PASSED),
        (Address("fe80::9%eth0", 6), icmp(1, 4, "fe80::9"), Passed.PASSED),
        (FOUR, icmp(3, 3, ROUTER[4]), Passed.OTHER),
        (FOUR, icmp(3, 1, FOUR.text), Passed.OTHER),
        (FOUR, icmp(3, 4, ROUTER[4]), Passed.TOO_BIG),
        (SIX, icmp(2, 0, ROUTER[6]), Passed.TOO_BIG),
        (FOUR, icmp(2, 0, ROUTER[4]), Passed.OTHER),
        (SIX, icmp(3, 4, ROUTER[6]), Passed.OTHER),
        (FOUR, icmp(3, 4, "192.0.2.2", from_self=True), Passed.LOCAL),
        (SIX, icmp(2, 0, "2001:db8::2", from_self=True), Passed.LOCAL),
        (FOUR, icmp(11, 0, ROUTER[4]), Passed.OTHER),
    ],
)
def test_only_the_hosts_own_word_passes_a_size_and_only_the_wires_word_fails_it(
    address: Address, message: Icmp, means: Passed
) -> None:
    assert meaning(address, message) is means


def test_the_largest_size_that_passed_and_the_next_one_that_failed() -> None:
    told = found(
        DfProbe(1280, None, Passed.SILENT), DfProbe(1400, None, Passed.PASSED), DfProbe(1420, None, Passed.SILENT),
        DfProbe(1500, None, Passed.SILENT), DfProbe(9000, None, Passed.LOCAL),
    )
    assert (told.largest_passed, told.smallest_failed) == (1400, 1420)


def test_without_an_answer_of_the_host_nothing_failed_either() -> None:
    told = found(DfProbe(1280, None, Passed.SILENT), DfProbe(1500, None, Passed.SILENT))
    assert (told.largest_passed, told.smallest_failed, told.reported_mtu) == (None, None, None)


def test_our_own_refusal_and_strange_messages_are_no_failure_of_a_size() -> None:
    told = found(
        DfProbe(1400, None, Passed.PASSED), DfProbe(1500, None, Passed.OTHER, icmp(3, 13, ROUTER[4])),
        DfProbe(9000, None, Passed.LOCAL, mtu_bytes=1500),
    )
    assert (told.smallest_failed, told.reported_mtu) == (None, None)


def test_the_smallest_reported_mtu_counts_and_a_router_that_reports_none_does_not() -> None:
    too_big = icmp(3, 4, ROUTER[4])
    told = found(
        DfProbe(1420, None, Passed.TOO_BIG, too_big, 1400), DfProbe(1500, None, Passed.TOO_BIG, too_big, 1480),
        DfProbe(1510, None, Passed.TOO_BIG, too_big),
    )
    assert told.reported_mtu == 1400


@pytest.mark.parametrize("family", [4, 6])
def test_a_packet_of_limited_ttl_has_come_as_far_as_somebody_says(family: int) -> None:
    address = FOUR if family == 4 else SIX
    expired = icmp(11 if family == 4 else 3, 0, ROUTER[family])
    closed = icmp(3, 3, FOUR.text) if family == 4 else icmp(1, 4, SIX.text)
    told = DfSearch(address, 33_434, 0.0, 1.0, (
        DfProbe(200, 1, Passed.OTHER, expired), DfProbe(1500, 1, Passed.OTHER, expired),
        DfProbe(200, 2, Passed.OTHER, expired), DfProbe(1500, 2, Passed.SILENT),
        DfProbe(200, 3, Passed.PASSED, closed), DfProbe(1500, 3, Passed.SILENT),
        DfProbe(1500, None, Passed.PASSED, closed),
    ))
    assert (told.farthest_ttl(200), told.farthest_ttl(1500), told.farthest_ttl(900)) == (3, 1, None)


def test_our_own_kernels_word_about_a_ttl_is_nobodys_on_the_way() -> None:
    own = icmp(11, 0, "192.0.2.2", from_self=True)
    assert not DfProbe(200, 1, Passed.OTHER, own).arrived
    assert not DfProbe(200, 1, Passed.OTHER, icmp(3, 13, ROUTER[4])).arrived
