"""Several trust stores for one chain: who decides, what is said of the others, and what is not theirs to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fleetprobe.cli.evidence import evidence
from fleetprobe.decide import decide
from fleetprobe.layer import Ground
from fleetprobe.layers.tls.again import judge_again
from fleetprobe.layers.tls.certificate import Certificate
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.held import Held
from fleetprobe.layers.tls.judge import judge
from fleetprobe.layers.tls.layer import probe
from fleetprobe.model.policy import Policy
from fleetprobe.model.target import Target
from fleetprobe.model.trust import Store, Trust
from fleetprobe.model.verdict import State, Verdict
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Address
from fleetprobe.net.verified import UNVERIFIABLE, Verified

AS_OF = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = Policy(as_of=AS_OF, expiring=timedelta(0))
LEAF = Certificate(
    sha256="AA" * 32, subject="CN=shop.test", issuer="CN=Middle", common_name="shop.test",
    not_before=AS_OF - 30 * DAY, not_after=AS_OF + 30 * DAY, dns_names=("shop.test",), ip_addresses=(),
    key_type="EC", key_bits=256, signature_hash="sha256", is_ca=False, self_signed=False,
)
MIDDLE = replace(LEAF, sha256="BB" * 32, subject="CN=Middle", issuer="CN=Root", is_ca=True, dns_names=())
ROOT = replace(MIDDLE, sha256="CC" * 32, subject="CN=Root", issuer="CN=Root", self_signed=True)
STALE = replace(LEAF, not_after=AS_OF - DAY)
PATH = (LEAF, MIDDLE, ROOT)
NOTHING = UNVERIFIABLE.errors


def facts(errors: tuple[tuple[int, int], ...], *held: Held, leaf: Certificate = LEAF) -> TlsFacts:
    """A chain that system judges by `errors`, and others as given."""
    seen = Handshake(started_s=0.0, ended_s=0.01, chain_der=(b"leaf", b"middle"), verify_errors=errors)
    path = PATH if not errors else (leaf, MIDDLE)
    return TlsFacts("203.0.113.9:443", "shop.test", seen, (leaf, MIDDLE), 1.0, path=path, held=held)


def said(given: TlsFacts) -> list[tuple[str | None, State, str]]:
    return [(one.code, one.state, one.summary) for one in judge(given, POLICY)]


CORP_OK = Held("corp", (), PATH)


def test_the_first_fails_and_another_passes() -> None:
    (finding,) = judge(facts(((20, 1),), CORP_OK), POLICY)
    assert (finding.code, finding.state) == ("tls.issuer_unknown", State.FAIL)
    assert finding.summary.startswith("fails for system, passes for corp: no issuer found for the chain of ")
    assert finding.facts["trust_verify_codes"] == {"system": 20, "corp": 0}
    told = finding.facts["trusts"]
    assert told["system"] == {"verify_errors": [{"code": 20, "depth": 1}]}
    assert told["corp"]["verify_errors"] == []
    assert (told["corp"]["trust_anchor"]["subject"], told["corp"]["trust_anchor"]["sha256"]) == ("CN=Root", "CC" * 32)


def test_the_first_passes_and_another_fails() -> None:
    given = facts((), Held("corp", ((19, 2),)))
    passed, warning = judge(given, POLICY)
    assert passed.code is None
    assert given.record()["trust"] == "system"
    assert (warning.code, warning.state) == ("tls.untrusted_root", State.OK)
    assert warning.summary.startswith("passes for system, fails for corp: ")
    assert warning.facts["trust_verify_codes"] == {"system": 0, "corp": 19}
    verdict = decide(("tls",), [passed, warning])
    assert isinstance(verdict, Verdict)
    assert (verdict.state, verdict.code, [one.code for one in verdict.also]) == (State.OK, None, ["tls.untrusted_root"])


def test_nobody_is_told_of_labels_when_all_agree_that_it_holds() -> None:
    given = facts((), CORP_OK, Held("old", (), PATH))
    (finding,) = judge(given, POLICY)
    assert finding.code is None
    assert list(given.record()["trusts"]) == ["system", "corp", "old"]


def test_all_fail_each_in_its_own_way_and_only_the_first_speaks() -> None:
    ((code, state, summary),) = said(facts(((20, 1),), Held("corp", ((19, 2),))))
    assert (code, state) == ("tls.issuer_unknown", State.FAIL)
    assert summary.startswith("fails for system and corp: no issuer")


def test_several_that_fail_alike_are_one_warning() -> None:
    labels = ("a", "b", "c", "d", "e")
    _, (code, _, summary) = said(facts((), *(Held(label, ((20, 1),)) for label in labels)))
    assert code == "tls.issuer_unknown"
    assert summary.startswith("passes for system, fails for a, b, c and 2 more: ")
    assert len(summary) <= 160


def test_a_fault_of_the_leaf_itself_names_no_store() -> None:
    stale = facts(((10, 0),), Held("corp", ((10, 0),), PATH), leaf=STALE)
    (code, _, summary), *_ = said(stale)
    assert code == "tls.expired"
    assert summary.startswith("the certificate of ")


def test_an_anchor_that_has_expired_in_one_store_is_told_of_that_one() -> None:
    old = replace(ROOT, not_after=AS_OF - DAY)
    _, (code, state, summary) = said(facts((), Held("corp", ((10, 2),), (LEAF, MIDDLE, old))))
    assert (code, state) == ("tls.expired", State.OK)
    assert summary.startswith("passes for system, fails for corp: ")
    (code, state, summary), *_ = said(facts(((10, 2),), CORP_OK))
    assert (code, state) == ("tls.expired", State.FAIL)
    assert summary.startswith("fails for system, passes for corp: ")


def test_what_could_not_be_verified_neither_passes_nor_fails() -> None:
    given = facts((), Held("corp", NOTHING))
    (finding,) = judge(given, POLICY)
    assert finding.code is None
    assert given.record()["trusts"]["corp"] == {}
    (finding,) = judge(facts(((20, 1),), Held("corp", NOTHING), CORP_OK), POLICY)
    assert finding.summary.startswith("fails for system, passes for corp: ")
    (finding,) = judge(facts(((20, 1),), Held("old", NOTHING)), POLICY)
    assert finding.summary.startswith("no issuer found")


def test_check_shows_a_line_for_each_store() -> None:
    given = facts(((20, 1),), CORP_OK, Held("old", NOTHING))
    assert evidence("tls", given.record(), AS_OF)[-3:] == [
        "trust system: fails, verify code 20 at depth 1", "trust corp: passes up to CN=Root", "trust old: not verified",
    ]
    assert not any("trust" in line for line in evidence("tls", facts(()).record(), AS_OF))
    assert evidence("tls", {"trusts": {"a\x1b": {"verify_errors": [{"code": 1}]}, "b": 3}}, AS_OF) == [
        "trust a\\x1b: fails, verify code 1 at depth ",
    ]


# --- the probe -------------------------------------------------------------------------------------------

DER = tuple(
    x509.load_pem_x509_certificate(pem.bytes()).public_bytes(Encoding.DER)
    for pem in trustme.CA().create_child_ca().issue_cert("shop.test").cert_chain_pems
)
STORES = Trust(known=(Store("system"), Store("corp", "c.pem"), Store("old", "o.pem")), of_run=(Store("system"),))


def climb(answer: Verified, errors: tuple[tuple[int, int], ...] = (), chain: Sequence[bytes] = DER) -> TlsFacts:
    seen = Handshake(started_s=0.0, ended_s=0.01, chain_der=tuple(chain), verify_errors=errors)
    net = FakeNet().host("203.0.113.9", 443, tls=seen).verifies(lambda _: answer)
    where = Address("203.0.113.9", 4)
    _, stream = drive(net.dial(where, 443, net.now() + 1))
    target = Target(service="tls", host="shop.test", port=443, trust=("corp", "old", "system"))
    policy = Policy(trust=STORES)
    facts = drive(probe(Ground(target=target, policy=policy, deadline=9e9, address=where, stream=stream), net))
    # Whoever asks about a better path asks the deciding store.
    asked = [file for verb, file, _ in net.calls if verb == "verify" and file != "c.pem"]
    assert asked == ["o.pem", ""][: len(facts.held)]
    return facts


def test_what_is_judged_once_more_at_the_end_of_the_run_still_names_the_stores() -> None:
    recorded = climb(Verified((), DER), errors=((20, 1),)).record()
    net = FakeNet().verifies(lambda _: Verified((), DER))
    findings, _ = drive(judge_again(recorded, DER, DER[:1], net, Policy(trust=STORES)))
    assert findings[0].summary.startswith("fails for corp, passes for old and system: ")
    assert findings[0].facts["trust_verify_codes"] == {"corp": 20, "old": 0, "system": 0}
    assert {file for verb, file, _ in net.calls if verb == "verify"} >= {"o.pem", ""}
    assert "c.pem" in {file for verb, file, _ in net.calls if verb == "verify"}


def test_each_further_store_is_asked_once_and_the_first_is_the_handshakes() -> None:
    found = climb(Verified((), DER))
    assert (found.trust, [held.label for held in found.held]) == ("corp", ["old", "system"])
    assert all(held.anchor is not None for held in found.held)


def test_where_nothing_was_presented_nothing_is_asked() -> None:
    assert climb(Verified(()), chain=()).held == ()


@pytest.mark.parametrize(
    ("errors", "answer", "held"),
    [
        (((26, 0),), Verified((), DER), ((26, 0),)),
        (((26, 1),), Verified((), DER), ()),
        (((26, 0), (20, 1)), Verified(((20, 1),)), ((26, 0), (20, 1))),
        (((26, 0),), UNVERIFIABLE, NOTHING),
    ],
)
def test_a_leaf_for_another_purpose_is_so_for_every_store(
    errors: tuple[tuple[int, int], ...], answer: Verified, held: tuple[tuple[int, int], ...]
) -> None:
    assert [one.errors for one in climb(answer, errors).held] == [held, held]


def test_the_purpose_of_the_leaf_is_told_once_and_of_no_store() -> None:
    ((code, _, summary),) = said(facts(((26, 0),), Held("corp", ((26, 0),), PATH)))
    assert code == "tls.wrong_usage"
    assert summary.startswith("the certificate of ")
