"""Warnings beside a handshake that works: untidy chains, dates that come near, an old version, no staple."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fleetprobe.layers.tls import hygiene, upkeep
from fleetprobe.layers.tls.certificate import Certificate, Malformed, Read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.judge import judge
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Finding, State
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Event, Fault

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy(as_of=AS_OF)

LEAF = Certificate(
    sha256="AA" * 32, subject="CN=shop.test", issuer="CN=Lab Issuing CA", common_name="shop.test",
    not_before=AS_OF - 30 * DAY, not_after=AS_OF + 60 * DAY, dns_names=("shop.test",), ip_addresses=(),
    key_type="EC", key_bits=256, signature_hash="sha256", is_ca=False, self_signed=False, key_sha256="A0",
)
LOWER = replace(
    LEAF, sha256="BB" * 32, subject="CN=Lab Issuing CA", issuer="CN=Lab Policy CA", is_ca=True, key_sha256="B0",
    not_after=AS_OF + 700 * DAY,
)
UPPER = replace(LOWER, sha256="CC" * 32, subject="CN=Lab Policy CA", issuer="CN=Lab Root CA", key_sha256="C0")
ROOT = replace(UPPER, sha256="DD" * 32, subject="CN=Lab Root CA", self_signed=True, key_sha256="D0")
CROSS = replace(ROOT, sha256="D1" * 32, issuer="CN=Old Root CA", self_signed=False)
OLD_ROOT = replace(ROOT, sha256="D8" * 32, subject="CN=Old Root CA", issuer="CN=Old Root CA", key_sha256="D9")
BRIDGE = replace(CROSS, sha256="D3" * 32, issuer="CN=Bridge CA")
BRIDGED = replace(CROSS, sha256="D4" * 32, subject="CN=Bridge CA", key_sha256="D5")
OTHER = replace(LOWER, sha256="EE" * 32, subject="CN=Another CA", key_sha256="E0")
RENEWED = replace(LOWER, sha256="B1" * 32, not_after=AS_OF + 900 * DAY)
BROKEN = Malformed(sha256="FF" * 32, field="extensions")
PATH = (LEAF, LOWER, UPPER, ROOT)
WHOLE = Handshake(started_s=10.0, ended_s=10.02, bytes_received=2000, chain_der=(b"",), protocol_version="TLSv1.3")


def facts(
    *presented: Read, path: Sequence[Read] = PATH, errors: tuple[tuple[int, int], ...] = (), **changes: Any
) -> TlsFacts:
    seen = replace(WHOLE, chain_der=(b"",) * len(presented), verify_errors=errors, **changes)
    return TlsFacts("203.0.113.9:443", "shop.test", seen, presented, 1.0, path=tuple(path))


def warned(given: TlsFacts, policy: Policy = POLICY) -> list[Finding]:
    found = [one for one in judge(given, policy) if one.code is not None]
    return [one for one in found if one.state is State.OK]


TIDY = facts(LEAF, LOWER, UPPER)
UNTIDY: dict[str, tuple[TlsFacts, list[str]]] = {
    "in order": (TIDY, []),
    "wrong order": (facts(LEAF, UPPER, LOWER), ["tls.wrong_order"]),
    "root first": (facts(LEAF, ROOT, LOWER, UPPER), ["tls.wrong_order", "tls.root_sent"]),
    "root last": (facts(LEAF, LOWER, UPPER, ROOT), ["tls.root_sent"]),
    "twice": (facts(LEAF, LOWER, LOWER, UPPER), ["tls.duplicate_certs"]),
    "the leaf twice": (facts(LEAF, LEAF, LOWER, UPPER), ["tls.duplicate_certs"]),
    "a stranger": (facts(LEAF, LOWER, OTHER, UPPER), ["tls.extra_certs"]),
    "an unreadable stranger": (facts(LEAF, LOWER, UPPER, BROKEN), ["tls.extra_certs"]),
    "an older issue of the intermediate": (facts(LEAF, RENEWED, LOWER, UPPER), []),
    "a newer issue of the root": (facts(LEAF, LOWER, UPPER, replace(ROOT, sha256="D2" * 32)), []),
    "one sent twice, once before what it issued": (facts(LEAF, UPPER, LOWER, UPPER), ["tls.duplicate_certs"]),
    "all of it twice": (facts(LEAF, UPPER, LEAF, LOWER, UPPER), ["tls.duplicate_certs"]),
    "one twice, both times before what it issued": (
        facts(LEAF, UPPER, UPPER, LOWER), ["tls.wrong_order", "tls.duplicate_certs"],
    ),
    "a cross-signed root": (facts(LEAF, LOWER, UPPER, CROSS), ["tls.cross_sign"]),
    "a cross-signed root and the old root": (
        facts(LEAF, LOWER, UPPER, CROSS, OLD_ROOT), ["tls.cross_sign"],
    ),
    "a cross-signed root and the whole path above it": (
        facts(LEAF, LOWER, UPPER, OLD_ROOT, BRIDGED, BRIDGE), ["tls.cross_sign"],
    ),
    "a cross-signed root, and an old root with another key": (
        facts(LEAF, LOWER, UPPER, replace(CROSS, issuer_key_id="01"), replace(OLD_ROOT, key_id="02")),
        ["tls.extra_certs", "tls.cross_sign"],
    ),
    "the old root without what it cross-signed": (facts(LEAF, LOWER, UPPER, OLD_ROOT), ["tls.extra_certs"]),
    "strict readers want a key identifier": (
        facts(replace(LEAF, strict_faults=(85,)), LOWER, UPPER, path=(replace(LEAF, strict_faults=(85,)), *PATH[1:])),
        ["tls.pedantic"],
    ),
    "the last of the path needs none": (facts(LEAF, path=(LEAF, replace(ROOT, strict_faults=(85,)))), []),
    "a leaf is no CA": (facts(LEAF, path=(replace(LEAF, strict_faults=(79,)), ROOT)), []),
    "a root of version 1": (facts(LEAF, path=(LEAF, replace(ROOT, strict_faults=(79,)))), ["tls.pedantic"]),
    "a path of one": (facts(LEAF, path=(replace(LEAF, strict_faults=(92, 89)),)), []),
    "the same name and another key": (
        facts(LEAF, LOWER, UPPER, replace(CROSS, key_sha256="99")),
        ["tls.extra_certs"],
    ),
    "everything at once": (
        facts(LEAF, UPPER, OTHER, LOWER, LOWER, ROOT, CROSS),
        ["tls.wrong_order", "tls.extra_certs", "tls.duplicate_certs", "tls.root_sent", "tls.cross_sign"],
    ),
    "a trusted leaf that signed itself": (
        facts(replace(LEAF, self_signed=True), path=[replace(LEAF, self_signed=True)]),
        [],
    ),
    "what the store alone has needs no order": (facts(LEAF, UPPER, path=(LEAF, LOWER, UPPER, ROOT)), []),
    "no path known": (facts(LEAF, UPPER, LOWER, path=()), []),
    "a path that cannot be read to its end": (facts(LEAF, UPPER, LOWER, path=(LEAF, LOWER, UPPER, BROKEN)), []),
}


@pytest.mark.parametrize("case", UNTIDY.values(), ids=UNTIDY)
def test_an_untidy_chain_that_holds_is_told_by_name(case: tuple[TlsFacts, list[str]]) -> None:
    given, expected = case
    first, *rest = judge(given, POLICY)
    assert (first.code, first.state) == (None, State.OK)
    assert [one.code for one in rest] == expected
    for one in rest:
        assert one.state is State.OK
        assert 0 < len(one.summary) <= 160
        assert one.summary.isascii()
        assert given.address in one.summary


def test_every_warning_of_this_kind_occurs_above() -> None:
    assert {code for _, codes in UNTIDY.values() for code in codes} == hygiene.EMITS


def test_what_is_untidy_is_named_by_position_and_subject() -> None:
    given = facts(LEAF, UPPER, OTHER, LOWER, LOWER, ROOT, CROSS)
    told = {str(one.code): one.facts for one in warned(given)}
    assert told["tls.wrong_order"]["order_of_issue"] == [0, 3, 1, 5]
    assert told["tls.extra_certs"]["positions"] == [2]
    assert told["tls.extra_certs"]["subjects"] == ["CN=Another CA"]
    assert told["tls.duplicate_certs"]["positions"] == [4]
    assert told["tls.root_sent"]["subjects"] == ["CN=Lab Root CA"]
    assert told["tls.cross_sign"]["issuers"] == ["CN=Old Root CA"]
    assert told["tls.cross_sign"]["path_sha256"] == [one.sha256 for one in PATH]


@pytest.mark.parametrize("number", [2, 7, 18, 19, 20, 22, 25, 26, 34, 47, 66, 68, 79])
def test_a_chain_that_is_rejected_is_not_called_untidy(number: int) -> None:
    given = facts(LEAF, UPPER, OTHER, LOWER, LOWER, errors=((number, 1),))
    assert not hygiene.EMITS & {one.code for one in judge(given, POLICY)}


def test_a_chain_that_is_only_out_of_date_is_looked_at_all_the_same() -> None:
    old = replace(LEAF, not_after=AS_OF - DAY)
    given = facts(old, UPPER, LOWER, path=(old, LOWER, UPPER, ROOT), errors=((10, 0),))
    assert [one.code for one in judge(given, POLICY)] == ["tls.expired", "tls.wrong_order"]


def test_certificates_beyond_those_that_are_read_count_by_their_bytes() -> None:
    given = facts(LEAF, LOWER, UPPER)
    more = replace(given.handshake, chain_der=(b"", b"", b"", b"junk", b"more", b"junk"))
    told = {str(one.code): one.facts for one in warned(replace(given, handshake=more))}
    assert told["tls.extra_certs"]["positions"] == [3, 4]
    assert told["tls.duplicate_certs"]["positions"] == [5]
    assert told["tls.extra_certs"]["subjects"] == []


def ending(**left: timedelta) -> TlsFacts:
    """A path whose certificates have so much left: leaf, lower, root."""
    found = {"leaf": LEAF, "lower": LOWER, "upper": UPPER, "root": ROOT}
    path = [
        replace(one, not_before=AS_OF - 365 * DAY, not_after=AS_OF + left[name]) if name in left else one
        for name, one in found.items()
    ]
    return facts(*path[:3], path=path)


@pytest.mark.parametrize(
    ("left", "depths", "days"),
    [
        ({"leaf": 30 * DAY}, [], None),
        ({"leaf": 30 * DAY - timedelta(seconds=1)}, [0], 29),
        ({"leaf": timedelta(hours=3)}, [0], 0),
        ({"leaf": timedelta(0)}, [0], 0),
        ({"lower": 10 * DAY}, [1], 10),
        ({"root": 10 * DAY}, [3], 10),
        ({"leaf": 20 * DAY, "lower": 5 * DAY}, [0, 1], 5),
    ],
)
def test_the_nearest_end_in_the_whole_path_is_told(
    left: dict[str, timedelta], depths: list[int], days: int | None
) -> None:
    told = [one for one in warned(ending(**left)) if one.code == "tls.expiring"]
    assert [item["depth"] for one in told for item in one.facts["expiring"]] == depths
    assert [one.facts["days_left"] for one in told] == ([] if days is None else [days])


def test_an_anchor_that_ends_is_told_as_not_presented() -> None:
    (told,) = warned(ending(root=10 * DAY))
    (item,) = told.facts["expiring"]
    assert (item["subject"], item["presented"]) == ("CN=Lab Root CA", False)
    assert "at depth 3" in told.summary


def test_what_has_expired_is_not_expiring_as_well() -> None:
    given = replace(ending(leaf=-DAY), handshake=replace(WHOLE, verify_errors=((10, 0),)))
    assert [one.code for one in judge(given, POLICY)] == ["tls.expired"]


def test_how_soon_is_soon_is_policy_and_nought_means_never() -> None:
    given = ending(leaf=40 * DAY)
    assert [one.code for one in warned(given, replace(POLICY, expiring=45 * DAY))] == ["tls.expiring"]
    assert warned(given) == []
    assert warned(ending(leaf=timedelta(0)), replace(POLICY, expiring=timedelta(0))) == []


@pytest.mark.parametrize(
    ("life_days", "horizon_days", "soon_days"),
    [
        (6, 30, 2), (10, 30, 10 / 3), (29, 30, 29 / 3), (45, 30, 15), (90, 30, 30), (90, 60, 30), (398, 30, 30),
        (90, 7, 7),
    ],
)
def test_no_certificate_is_soon_to_end_before_the_last_third_of_its_life(
    life_days: float, horizon_days: float, soon_days: float
) -> None:
    for hours, soon in ((1, False), (-1, True)):
        end = AS_OF + soon_days * DAY + timedelta(hours=hours)
        brief = replace(LEAF, not_before=end - life_days * DAY, not_after=end)
        assert upkeep.ends_soon(brief, AS_OF, horizon_days * DAY) == soon


@pytest.mark.parametrize(
    ("version", "codes"),
    [("TLSv1", ["tls.legacy_version"]), ("TLSv1.1", ["tls.legacy_version"]), ("SSLv3", ["tls.legacy_version"]),
     ("TLSv1.2", []), ("TLSv1.3", []), (None, [])],
)
def test_a_retired_version_is_told(version: str | None, codes: list[str]) -> None:
    assert [one.code for one in warned(facts(LEAF, LOWER, UPPER, protocol_version=version))] == codes


def test_a_staple_that_was_promised_is_missed() -> None:
    promising = replace(LEAF, must_staple=True)
    path = (promising, LOWER, UPPER, ROOT)
    given = facts(promising, LOWER, UPPER, path=path)
    assert [one.code for one in warned(given)] == ["tls.must_staple"]
    assert warned(facts(promising, LOWER, UPPER, path=path, ocsp_staple_bytes=471)) == []
    assert warned(facts(LEAF, replace(LOWER, must_staple=True), UPPER, path=PATH)) == []


def test_a_handshake_that_broke_is_no_place_to_miss_a_staple_or_a_version() -> None:
    given = facts(
        replace(LEAF, must_staple=True), LOWER, UPPER, fault=Fault(Event.ERROR), alerts_received=((2, 40),),
        protocol_version="TLSv1",
    )
    assert [one.code for one in judge(given, POLICY)] == ["tls.alert"]
