"""Which certificates close the gap of a chain: real certificates, and OpenSSL's own word on every path."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprobe.lab.issue import Issued
from fleetprobe.layers.tls.certificate import read
from fleetprobe.layers.tls.repair import Repair, pool
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.pool import MOST_BYTES, MOST_OF_A_NAME, Pool
from tests.layers.chain_world import OVER, Fleet, authority, der, leaf, sha256

ROOT = authority("Root")
UPPER = authority("Upper", ROOT)
LOWER = authority("Lower", UPPER)
LEAF = leaf(LOWER)
PRIVATE = authority("Private Root")
PRIVATE_LOWER = authority("Private Lower", PRIVATE)
PRIVATE_LEAF = leaf(PRIVATE_LOWER)


def added(repair: Repair | None) -> list[str]:
    assert repair is not None
    return [one.certificate.sha256 for one in repair.added]


@pytest.mark.parametrize(
    ("presented", "missing"),
    [
        ((LEAF,), (LOWER, UPPER)), ((LEAF, LOWER), (UPPER,)), ((LEAF, UPPER), (LOWER,)),
        ((LEAF, PRIVATE), (LOWER, UPPER)),
    ],
)
def test_what_another_host_presents_closes_the_gap(presented: Sequence[Issued], missing: Sequence[Issued]) -> None:
    fleet = Fleet([ROOT], [LOWER, UPPER])
    assert fleet.errors(*presented)
    repair = fleet.repair(*presented)
    assert repair is not None
    assert added(repair) == [sha256(one) for one in missing]
    assert [one.sha256 for one in repair.install] == [sha256(one) for one in (LEAF, LOWER, UPPER)]
    assert (repair.anchor and repair.anchor.sha256, repair.root, repair.errors) == (sha256(ROOT), None, ())
    assert {one.found_at for one in repair.added} <= {"198.51.100.1:443", "198.51.100.2:443"}


@pytest.mark.parametrize("elsewhere", [(), (UPPER,), (LOWER,), (PRIVATE, PRIVATE_LOWER)])
def test_a_gap_that_nobody_can_close_stays_open(elsewhere: Sequence[Issued]) -> None:
    assert Fleet([ROOT], elsewhere).repair(LEAF) is None


def test_a_chain_to_a_private_root_that_is_not_sent_is_followed_to_it() -> None:
    repair = Fleet([ROOT], [PRIVATE]).repair(PRIVATE_LEAF, PRIVATE_LOWER)
    assert repair is not None
    assert (added(repair), repair.anchor, repair.root and repair.root.sha256) == ([], None, sha256(PRIVATE))
    assert repair.root_found_at == "198.51.100.1:443"


def test_a_missing_link_below_a_private_root_is_both() -> None:
    repair = Fleet([ROOT], [PRIVATE, PRIVATE_LOWER]).repair(PRIVATE_LEAF)
    assert repair is not None
    assert added(repair) == [sha256(PRIVATE_LOWER)]
    assert repair.root is not None


def test_a_cross_sign_that_leads_to_a_trusted_root_beats_an_untrusted_one() -> None:
    bridge = authority("Private Root", ROOT, twin=PRIVATE)
    repair = Fleet([ROOT], [bridge]).repair(PRIVATE_LEAF, PRIVATE_LOWER, PRIVATE)
    assert repair is not None
    assert (added(repair), repair.anchor and repair.anchor.sha256) == ([sha256(bridge)], sha256(ROOT))
    assert sha256(PRIVATE) not in [one.sha256 for one in repair.install]


def test_an_issuer_that_has_expired_is_replaced_by_one_that_is_valid() -> None:
    old = authority("Upper", ROOT, life=OVER, twin=UPPER)
    assert Fleet([ROOT]).repair(LEAF, LOWER, old) is None
    repair = Fleet([ROOT], [old, UPPER]).repair(LEAF, LOWER, old)
    assert repair is not None
    assert (added(repair), repair.errors) == ([sha256(UPPER)], ())


def test_a_leaf_that_has_expired_as_well_hides_no_gap() -> None:
    late = leaf(LOWER, life=OVER)
    repair = Fleet([ROOT], [LOWER, UPPER]).repair(late)
    assert repair is not None
    assert repair.anchor is not None
    assert repair.errors == ((10, 0),)


def test_an_old_key_in_place_of_the_new_one_is_seen_through() -> None:
    renewed = authority("Lower", UPPER)
    child = leaf(renewed)
    repair = Fleet([ROOT], [renewed, UPPER]).repair(child, LOWER, UPPER)
    assert added(repair) == [sha256(renewed)]


@pytest.mark.parametrize("errors", [(), ((18, 0),), ((10, 0),), ((62, 0),), ((25, 1),)])
def test_nothing_is_sought_where_the_path_has_an_end(errors: Sequence[tuple[int, int]]) -> None:
    fleet = Fleet([ROOT], [LOWER, UPPER])
    assert fleet.repair(LEAF, errors=errors) is None
    assert ("verify", "", 0) not in fleet.net.calls


def test_what_may_not_issue_is_no_issuer() -> None:
    imposter = leaf(UPPER)
    child = leaf(imposter)
    fleet = Fleet([ROOT], [imposter, UPPER])
    assert fleet.repair(child) is None


def test_a_heap_of_namesakes_costs_a_bounded_number_of_signatures_and_proves_nothing() -> None:
    fakes = [authority("Lower", UPPER) for _ in range(40)]
    fleet = Fleet([ROOT], [*fakes, UPPER])
    assert len(fleet.net.pool.named("cn=lower")) == MOST_OF_A_NAME
    assert fleet.repair(LEAF) is None
    fleet.net.pool.add("cn=lower", der(LOWER), "198.51.100.99:443", vouched=True)
    assert added(fleet.repair(LEAF)) == [sha256(LOWER), sha256(UPPER)]


@settings(max_examples=40, deadline=None)
@given(st.permutations([LOWER, UPPER, PRIVATE, PRIVATE_LOWER, authority("Lower", UPPER), authority("Lower", ROOT)]))
def test_the_order_in_which_hosts_are_seen_changes_nothing(seen: Sequence[Issued]) -> None:
    repair = Fleet([ROOT], seen).repair(LEAF)
    assert added(repair) == [sha256(LOWER), sha256(UPPER)]


def test_authorities_alone_are_pooled_and_never_the_leaf() -> None:
    net = FakeNet()
    selfish = authority("Selfish")
    presented = [selfish, LOWER, LEAF, UPPER]
    ders = {sha256(one): der(one) for one in presented}
    pool(net, [read(der(one)) for one in presented], frozenset({sha256(UPPER)}), ders, "198.51.100.1:443")
    assert [one.sha256 for one in net.pool] == [sha256(LOWER), sha256(UPPER)]
    assert (net.pool.vouched(sha256(UPPER)), net.pool.vouched(sha256(LOWER))) == (True, False)


def test_the_pool_is_bounded_and_keeps_what_leads_to_an_anchor() -> None:
    kept = Pool()
    kept.add("n", b"x" * (MOST_BYTES + 1), "a")
    assert len(kept) == 0
    for number in range(MOST_OF_A_NAME + 4):
        kept.add("n", b"%d" % number, "a", vouched=number < 2)
    assert len(kept) == MOST_OF_A_NAME
    kept.add("n", b"late", "b", vouched=True)
    told = kept.named("n")
    assert len(told) == MOST_OF_A_NAME
    assert {b"0", b"1", b"late"} <= {one.der for one in told[:3]}
