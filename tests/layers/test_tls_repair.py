"""Which certificates close the gap of a chain: real certificates, and OpenSSL's own word on every path."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetprobe.lab.issue import Issued, Rights, issue_authority
from fleetprobe.layers.tls.certificate import read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.gap import told
from fleetprobe.layers.tls.repair import Repair, pool
from fleetprobe.net.fake import FakeNet
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.pool import MOST_BYTES, MOST_OF_A_NAME, Pool
from tests.layers.chain_world import LIFE, OVER, Fleet, authority, der, leaf, sha256

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


def told_of(fleet: Fleet, *presented: Issued) -> list[tuple[str | None, bool]]:
    """Codes, and whether they are settled."""
    errors = fleet.errors(*presented)
    found = fleet.repair(*presented)
    seen = Handshake(started_s=0.0, ended_s=0.01, verify_errors=errors)
    facts = TlsFacts("192.0.2.1:443", "x.lab.test", seen, (), 1.0, repair=found)
    return [(one.code, one.settled) for one in told(facts, found)] if found else []


def test_an_issuer_out_of_date_is_nothing_to_install() -> None:
    old = authority("Upper", ROOT, life=OVER, twin=UPPER)
    assert told_of(Fleet([ROOT], [old]), LEAF, LOWER) == []
    assert told_of(Fleet([ROOT], [old, UPPER]), LEAF, LOWER) == [("tls.missing_intermediate", True)]


def test_a_gap_beside_an_issuer_out_of_date_is_a_gap_and_not_the_end_of_it() -> None:
    old = authority("Lower", UPPER, life=OVER, twin=LOWER)
    assert told_of(Fleet([ROOT], [UPPER]), LEAF, old) == [("tls.missing_intermediate", False)]


def test_a_trusted_root_is_never_called_untrusted() -> None:
    short = issue_authority("Short", ROOT, LIFE, Rights(path_length=0))
    below = issue_authority("Below", short, LIFE, Rights())
    child = leaf(below)
    assert Fleet([ROOT], [short, below, ROOT]).errors(child, below, short) == ((25, 2),)
    for presented in ((child,), (child, below), (child, below, short, ROOT)):
        assert told_of(Fleet([ROOT], [short, below, ROOT]), *presented) == []


def test_an_anchor_that_has_expired_is_reached_in_vain() -> None:
    over = authority("Root", life=OVER, twin=ROOT)
    assert told_of(Fleet([over], [LOWER, UPPER]), LEAF) == []
    assert Fleet([over]).repair(LEAF, LOWER, UPPER) is None


@pytest.mark.parametrize("purpose", [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE, ExtendedKeyUsageOID.CLIENT_AUTH])
def test_an_issuer_for_other_purposes_closes_no_gap(purpose: x509.ObjectIdentifier) -> None:
    narrow = for_purpose(authority("Narrow", ROOT), ROOT, purpose)
    assert told_of(Fleet([ROOT], [narrow]), leaf(narrow)) == []
    alone = for_purpose(authority("Narrow Root"), None, purpose)
    below = authority("Below", alone)
    assert told_of(Fleet([alone], [below]), leaf(below)) == []


def for_purpose(one: Issued, issuer: Issued | None, purpose: x509.ObjectIdentifier) -> Issued:
    """The same authority, for this purpose alone."""
    made = one.certificate
    builder = x509.CertificateBuilder(
        made.issuer, made.subject, made.public_key(), made.serial_number, made.not_valid_before_utc,
        made.not_valid_after_utc, [*made.extensions],
    ).add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
    return Issued(builder.sign((issuer or one).key, hashes.SHA256()), one.key)


def test_where_a_root_was_left_out_a_cross_sign_of_it_by_a_stranger_is_not_missing() -> None:
    evil = authority("Evil Root")
    cross = authority("Private Root", evil, twin=PRIVATE)
    assert told_of(Fleet([ROOT], [cross, evil]), PRIVATE_LEAF, PRIVATE_LOWER) == []
    known = Fleet([ROOT], [cross, evil, PRIVATE])
    assert told_of(known, PRIVATE_LEAF, PRIVATE_LOWER) == [("tls.untrusted_root", False)]
    repair = known.repair(PRIVATE_LEAF, PRIVATE_LOWER)
    assert repair is not None
    assert (repair.root and repair.root.sha256, repair.added) == (sha256(PRIVATE), ())


def test_crosses_of_strangers_do_not_use_up_the_search() -> None:
    crosses = [authority("Lower", authority(f"Evil {number}"), twin=LOWER) for number in range(15)]
    for fleet in (Fleet([ROOT], [*crosses, LOWER, UPPER]), Fleet([ROOT], [LOWER, UPPER, *crosses])):
        assert added(fleet.repair(LEAF)) == [sha256(LOWER), sha256(UPPER)]


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
