"""Rejections with a reason of their own: which number means what, at which certificate, and what follows from what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.layers.tls import rejected
from fleetprobe.layers.tls.certificate import Certificate, Read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import Trial
from fleetprobe.layers.tls.judge import judge
from fleetprobe.layers.tls.layer import LAYER
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import Confidence, Finding, State
from fleetprobe.net.handshake import Handshake

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy(as_of=AS_OF)

LEAF = Certificate(
    sha256="AA" * 32, subject="CN=shop.test", issuer="CN=Lower CA", common_name="shop.test",
    not_before=AS_OF - 30 * DAY, not_after=AS_OF + 300 * DAY, dns_names=("shop.test", "shop.other.test"),
    ip_addresses=(), key_type="EC", key_bits=256, signature_hash="sha256", is_ca=False, self_signed=False,
    key_sha256="A0", purposes=("clientAuth",), issuer_key_id="B0B0",
)
LOWER = replace(
    LEAF, sha256="BB" * 32, subject="CN=Lower CA", issuer="CN=Upper CA", is_ca=True, key_sha256="B0", path_length=0,
    signs_certificates=True, dns_names=(), purposes=(),
)
UPPER = replace(
    LOWER, sha256="CC" * 32, subject="CN=Upper CA", issuer="CN=Root CA", key_sha256="C0",
    permitted_names=("other.test",), excluded_names=("bad.test",),
)
ROOT = replace(UPPER, sha256="DD" * 32, subject="CN=Root CA", self_signed=True, key_sha256="D0", path_length=None)
STALE = replace(LOWER, sha256="B1" * 32, key_sha256="B9")
NEW_ROOT = replace(ROOT, sha256="D7" * 32, key_sha256="D7")
PATH = (LEAF, LOWER, UPPER, ROOT)


def facts(
    *errors: tuple[int, int], path: Sequence[Read] = PATH, trials: tuple[Trial, ...] = (),
    presented: Sequence[Read] = (),
) -> TlsFacts:
    seen = Handshake(started_s=10.0, ended_s=10.02, chain_der=(b"", b"", b""), verify_errors=errors)
    return TlsFacts(
        "203.0.113.9:443", "shop.test", seen, tuple(presented or path[:3]), 1.0, path=tuple(path), trials=trials
    )


def codes(given_: TlsFacts) -> list[str | None]:
    return [finding.code for finding in judge(given_, POLICY)]


def one(given_: TlsFacts) -> Finding:
    (finding,) = judge(given_, POLICY)
    return finding


REJECTED: dict[str, tuple[TlsFacts, list[str]]] = {
    "the leaf's signature": (facts((7, 0)), ["tls.bad_signature"]),
    "an issuer's signature": (facts((7, 1)), ["tls.bad_signature"]),
    "a trusted root with the issuer's key and not its signature": (
        facts(
            (7, 2), path=(LEAF, LOWER, replace(UPPER, issuer_key_id="D0"), replace(ROOT, key_id="D0")),
            presented=PATH[:3],
        ),
        ["tls.bad_signature"],
    ),
    "a trusted root with nothing but the issuer's name": (facts((7, 2), presented=PATH[:3]), ["tls.issuer_unknown"]),
    "the same, presented": (facts((7, 2), presented=PATH), ["tls.bad_signature"]),
    "a trusted root of the name, and the one that signed": (
        facts(
            (7, 2), presented=(*PATH[:3], NEW_ROOT),
            trials=(Trial(UPPER.sha256, ROOT.sha256, False), Trial(UPPER.sha256, NEW_ROOT.sha256, True)),
        ),
        ["tls.issuer_unknown"],
    ),
    "too long": (facts((22, 101), (20, 101)), ["tls.chain_oversize"]),
    "an issuer that is no CA, and all that follows": (
        facts((79, 1), (26, 1), (25, 2), (32, 1)),
        ["tls.issuer_not_ca"],
    ),
    "an issuer without keyCertSign": (facts((32, 1)), ["tls.issuer_not_ca"]),
    "an issuer that is no CA above one that is for other things": (
        facts((79, 2), (26, 0)),
        ["tls.issuer_not_ca", "tls.wrong_usage"],
    ),
    "too many authorities": (facts((25, 2)), ["tls.path_length"]),
    "a name that is not permitted": (facts((47, 0)), ["tls.name_constraint"]),
    "a name that is excluded": (facts((48, 0)), ["tls.name_constraint"]),
    "a constraint that cannot be read": (facts((52, 2)), ["tls.name_constraint"]),
    "a leaf for other purposes": (facts((26, 0)), ["tls.wrong_usage"]),
    "a CA for other purposes": (facts((26, 1)), ["tls.wrong_usage"]),
    "a false signature under an unknown issuer": (
        facts((20, 2), (21, 0), (7, 0)),
        ["tls.issuer_unknown", "tls.bad_signature"],
    ),
    "an unknown issuer and a leaf for other purposes": (
        facts((20, 2), (26, 0)),
        ["tls.issuer_unknown", "tls.wrong_usage"],
    ),
    "an own signature and other purposes": (
        facts((18, 0), (26, 0), path=(replace(LEAF, self_signed=True),)),
        ["tls.self_signed", "tls.wrong_usage"],
    ),
    "a number that nobody knows beside one that is known": (
        facts((25, 2), (105, 1)),
        ["tls.path_length", "tls.rejected_by_verifier"],
    ),
    # 24 and 50 are the key of an issuer that is missing and a refusal of the program's own.
    "a number that is near another": (facts((24, 1)), ["tls.rejected_by_verifier"]),
    "a number in the midst of others": (facts((50, 1)), ["tls.rejected_by_verifier"]),
}


@pytest.mark.parametrize("case", REJECTED.values(), ids=REJECTED)
def test_each_cause_gives_one_finding_in_the_order_of_the_table(case: tuple[TlsFacts, list[str]]) -> None:
    given_, expected = case
    findings = judge(given_, POLICY)
    assert [finding.code for finding in findings] == expected
    for finding in findings:
        assert 0 < len(finding.summary) <= 160
        assert finding.summary.isascii()
        assert given_.address in finding.summary


def test_every_code_of_this_kind_occurs_above_and_lets_the_climb_go_on() -> None:
    assert {code for _, some in REJECTED.values() for code in some} >= rejected.EMITS
    # The handshake is broken off for other chains of this code.
    assert rejected.EMITS - LAYER.goes_on == {"tls.chain_oversize"}


errors = st.lists(st.tuples(st.integers(1, 120), st.integers(0, 6)), min_size=1, max_size=6)


@given(errors, st.integers(0, 4), st.booleans())
def test_whatever_openssl_rejects_is_never_ok(
    met: list[tuple[int, int]], length: int, fits: bool
) -> None:
    """The graph explains; it cannot turn a rejection into a pass, whatever it sees."""
    path = PATH[:length]
    trials = tuple(Trial(one.sha256, STALE.sha256, fits) for one in path)
    findings = judge(facts(*met, path=path, trials=trials, presented=PATH[:3]), POLICY)
    assert findings[0].state is State.FAIL
    assert all(finding.code is not None for finding in findings)


def test_the_certificate_is_named_by_its_depth_in_the_path_that_was_judged() -> None:
    told = one(facts((79, 2), presented=(LEAF, UPPER, LOWER)))
    assert (told.facts["depth"], told.facts["subject"]) == (2, "CN=Upper CA")
    assert "at depth 2" in told.summary
    beyond = one(facts((79, 9)))
    assert beyond.facts["depth"] == 9
    assert "subject" not in beyond.facts


def test_a_namesake_in_the_trust_store_proves_nothing() -> None:
    told = one(facts((7, 2), presented=PATH[:3]))
    assert (told.confidence, told.facts["issuer_wanted"]) == (Confidence.INFERRED, "CN=Root CA")
    assert told.summary.endswith("the trusted CN=Root CA has another key")


def test_what_is_too_long_for_us_is_not_said_to_be_so_for_everybody() -> None:
    told = one(facts((22, 101), (20, 101)))
    assert told.confidence is Confidence.INFERRED
    assert "more than 100 CAs" in told.summary
    assert "some clients stop at 6" in told.summary
    assert told.facts["limit"] == 100


def test_why_an_issuer_may_not_issue_is_told() -> None:
    assert "is no CA" in one(facts((79, 1), path=(LEAF, replace(LOWER, is_ca=False), ROOT))).summary
    mute = replace(LOWER, signs_certificates=False)
    assert "without keyCertSign" in one(facts((79, 1), (32, 1), path=(LEAF, mute, ROOT))).summary
    assert "without keyCertSign" not in one(facts((79, 1), path=(LEAF, replace(mute, is_ca=False), ROOT))).summary


def test_what_an_authority_gave_itself_does_not_count_for_the_length() -> None:
    limit = replace(UPPER, path_length=0)
    told = one(facts((25, 2), path=(LEAF, LOWER, limit, ROOT)))
    assert (told.facts["path_length"], told.facts["authorities_below"]) == (0, 1)
    issued_itself = replace(LOWER, sha256="B7" * 32, issuer="CN=Lower CA")
    longer = one(facts((25, 3), path=(LEAF, issued_itself, LOWER, limit, ROOT)))
    assert longer.facts["authorities_below"] == 1


def test_a_forbidden_name_is_told_with_the_nearest_constraint() -> None:
    told = one(facts((47, 0)))
    assert told.facts["names"] == ["shop.test", "shop.other.test"]
    assert told.facts["constrained_by"] == "CN=Upper CA"
    assert told.facts["permitted"] == ["other.test"]
    assert told.facts["excluded"] == ["bad.test"]
    unknown = one(facts((47, 0), path=(LEAF, LOWER)))
    assert "constrained_by" not in unknown.facts


def test_what_the_certificate_is_for_is_told() -> None:
    told = one(facts((26, 0)))
    assert told.facts["purposes"] == ["clientAuth"]
    assert "only for clientAuth" in told.summary


UNKNOWN = ((20, 0), (21, 0))


@pytest.mark.parametrize(
    ("fits", "code", "confidence"),
    [
        ([], "tls.issuer_unknown", Confidence.INFERRED),
        ([False], "tls.bad_signature", Confidence.OBSERVED),
        ([False, False], "tls.bad_signature", Confidence.OBSERVED),
        ([False, None], "tls.issuer_unknown", Confidence.INFERRED),
        ([None], "tls.issuer_unknown", Confidence.INFERRED),
        ([True], "tls.issuer_unknown", Confidence.INFERRED),
    ],
)
def test_an_issuer_is_called_false_only_when_every_key_of_its_name_was_checked(
    fits: list[bool | None], code: str, confidence: Confidence
) -> None:
    trials = tuple(Trial(LEAF.sha256, f"{at:064X}", fit) for at, fit in enumerate(fits))
    told = one(facts(*UNKNOWN, path=(LEAF,), trials=trials))
    assert (told.code, told.confidence) == (code, confidence)
    assert told.facts["issuer_key_id"] == "B0B0"


def test_what_was_tried_for_another_certificate_does_not_count() -> None:
    trials = (Trial(LOWER.sha256, UPPER.sha256, False),)
    assert codes(facts(*UNKNOWN, path=(LEAF,), trials=trials)) == ["tls.issuer_unknown"]


def test_a_false_signature_names_who_did_not_sign_and_who_did() -> None:
    trials = (Trial(LEAF.sha256, LOWER.sha256, False), Trial(LEAF.sha256, STALE.sha256, True))
    told = one(facts((7, 0), trials=trials))
    assert told.facts["did_not_sign"] == [LOWER.sha256]
    assert told.facts["signed"] == STALE.sha256
