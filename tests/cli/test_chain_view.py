"""The chain as `check` draws it: where the rung is broken, what stands beside it, and records that lie."""

from __future__ import annotations

import shlex
from functools import partial
from typing import Any

import pytest
from rich.console import RenderableType

from fleetprobe.cli.chain_view import chain_view
from fleetprobe.cli.flags import Color
from fleetprobe.cli.ladder_view import ladder_view
from fleetprobe.cli.terminal import ASCII, UNICODE, Marks, console, show
from tests.cli.program import SGR
from tests.cli.rows import failed, layers
from tests.cli.screen import HOSTILE, assert_harmless, drawn, on_terminal, poisoned

Facts = dict[str, Any]
AT = "198.51.100.7:443"


def certificate(sha256: str, subject: str, issuer: str, *, until: str = "2027-02-21", **more: Any) -> Facts:
    return {
        "sha256": sha256, "subject": f"CN={subject}", "issuer": f"CN={issuer}", "not_before": "2026-01-01T00:00:00Z",
        "not_after": f"{until}T00:00:00Z", "self_signed": subject == issuer, **more,
    }


def errors(*told: tuple[int, int]) -> list[Facts]:
    return [{"code": code, "depth": depth} for code, depth in told]


LEAF = certificate("AA", "shop.example", "Lower CA")
LOWER = certificate("BB", "Lower CA", "Upper CA", until="2028-01-01")
UPPER = certificate("CC", "Upper CA", "Root", until="2029-01-01")
ROOT = certificate("DD", "Root", "Root", until="2039-01-01")
PRIVATE = certificate("EE", "Upper CA", "Upper CA", until="2039-01-01")
OLD = certificate("FF", "Lower CA", "Upper CA", until="2026-02-01")


def end(one: Facts) -> Facts:
    return {name: one[name] for name in ("subject", "sha256", "not_after")}


def missing(one: Facts, found_at: str = AT) -> Facts:
    return {**end(one), "found_at": found_at}


def facts(*sent: Facts, path: str, told: list[Facts], **more: Any) -> Facts:
    return {
        "server_name": "shop.example", "certificates": list(sent), "chain_sha256": [one["sha256"] for one in sent],
        "path_sha256": path.split(), "verify_errors": told, **more,
    }


GAP = facts(LEAF, path="AA", told=errors((20, 0), (21, 0)), repair={
    "install_sha256": ["AA", "BB", "CC"], "missing": [missing(LOWER), missing(UPPER, "an earlier run")],
    "verify_code": 0, "trust_anchor": end(ROOT),
})
STRANGER = facts(LEAF, path="AA", told=errors((20, 0)), repair={
    "install_sha256": ["AA", "BB"], "missing": [missing(LOWER)], "verify_code": 20, "untrusted_root": end(PRIVATE),
    "untrusted_root_found_at": "[2001:db8::7]:443",
})
AGED = facts(LEAF, OLD, UPPER, path="AA FF CC DD", told=errors((10, 1)), trust_anchor=end(ROOT), repair={
    "install_sha256": ["AA", "BB", "CC"], "missing": [missing(LOWER)], "verify_code": 0, "trust_anchor": end(ROOT),
})
UNKNOWN = facts(LEAF, path="AA", told=errors((20, 0)))
REKEYED = facts(LEAF, LOWER, path="AA", told=errors((20, 0)))
FORGED = facts(LEAF, LOWER, path="AA BB CC", told=errors((7, 0)))
HEALTHY = facts(LEAF, LOWER, UPPER, path="AA BB CC DD", told=[], trust_anchor=end(ROOT))
UNTIDY = facts(LEAF, UPPER, LOWER, LOWER, OLD, path="AA BB CC DD", told=[], trust_anchor=end(ROOT))
EVERY = (GAP, STRANGER, AGED, UNKNOWN, REKEYED, FORGED, HEALTHY, UNTIDY)


def met(seen: Facts, **changes: Any) -> Facts:
    """A record of that handshake."""
    step = {"layer": "tls", "outcome": "fail", "code": "tls.issuer_unknown", "start_ms": 1.0, "duration_ms": 2.0}
    row = {"code": "tls.issuer_unknown", "findings": [], **changes}
    return failed(layers=[*layers()[:3], {**step, "facts": seen}], **row)


def table(seen: Facts, marks: Marks = UNICODE, width: int = 80, **changes: Any) -> list[str]:
    """What is drawn of the chain, in lines."""
    view = chain_view(met(seen, **changes), marks, width)
    assert view is not None
    return drawn(view, width).splitlines()


def test_the_rung_is_broken_where_a_certificate_is_not_sent() -> None:
    assert table(GAP) == [
        "    root ├─✓─┤ CN=Root",
        "         │   │ trust store, until 2039-01-01",
        "  issuer ├ ✗ ┤ CN=Upper CA",
        "         │   │ not sent, from an earlier run, until 2029-01-01",
        "  issuer ├ ✗ ┤ CN=Lower CA",
        "         │   │ not sent, 198.51.100.7:443 presents it, until 2028-01-01",
        "    leaf ├─✓─┤ CN=shop.example",
        "         │   │ sent, until 2027-02-21",
    ]


def test_a_root_that_nobody_trusts_is_a_broken_rung_as_well() -> None:
    assert table(STRANGER)[:4] == [
        "    root ├ ✗ ┤ CN=Upper CA",
        "         │   │ not trusted, [2001:db8::7]:443 presents it, until 2039-01-01",
        "  issuer ├ ✗ ┤ CN=Lower CA",
        "         │   │ not sent, 198.51.100.7:443 presents it, until 2028-01-01",
    ]


def test_an_issuer_that_has_expired_stands_beside_the_one_that_has_not() -> None:
    told = table(AGED, code="tls.expired")
    at = told.index("  issuer ├ ✗ ┤ CN=Lower CA")
    assert told[at + 1] == "         │   │ expired, sent, until 2026-02-01"
    assert told[-2:] == [
        "           ! in its place: CN=Lower CA, until 2028-01-01, 198.51.100.7:443", "           presents it",
    ]
    assert sum("✗" in line for line in told) == 1


def test_an_issuer_that_nobody_knows_is_drawn_by_the_name_that_is_wanted() -> None:
    assert table(UNKNOWN)[:2] == [
        "  issuer ├ ✗ ┤ CN=Lower CA", "         │   │ not found, not sent, not trusted, seen at no host",
    ]
    assert "another key" in table(REKEYED)[1]
    assert table(REKEYED)[-1] == "           ! sent and not used: CN=Lower CA, until 2028-01-01"


def test_a_signature_that_does_not_fit_breaks_the_rung_that_bears_it() -> None:
    told = table(FORGED, code="tls.bad_signature")
    assert told[0] == "    root ├─✓─┤ CN=Upper CA", "its name stands in what it signed"
    assert told[-2:] == [
        "    leaf ├ ✗ ┤ CN=shop.example", "         │   │ its issuer's key did not sign it, sent, until 2027-02-21",
    ]


@pytest.mark.parametrize(("number", "words"), [
    (10, "expired"), (9, "not valid yet"), (18, "signed by itself"), (79, "no authority"), (26, "not for servers"),
    (47, "an authority above forbids its names"), (62, "OpenSSL verify code 62"),
])
def test_what_openssl_says_of_a_certificate_stands_at_it(number: int, words: str) -> None:
    told = table(facts(LEAF, LOWER, path="AA BB CC DD", told=errors((number, 0)), trust_anchor=end(ROOT)))
    assert told[-1] == f"         │   │ {words}, sent, until 2027-02-21"
    assert sum("✗" in line for line in told) == 1


def test_faults_that_are_not_openssls_stand_at_their_certificates_too() -> None:
    told = table(HEALTHY, code="tls.name_mismatch")
    assert told[-1] == "         │   │ not for shop.example, sent, until 2027-02-21"
    weak = {"code": "tls.weak_key", "facts": {"weak": [{"depth": 1, "why": "RSA key of 1024 bits"}]}}
    assert any("RSA key of 1024 bits, sent" in line for line in table(HEALTHY, findings=[weak]))


def test_a_chain_out_of_order_is_told_by_its_numbers_and_what_is_sent_for_nothing_beside_it() -> None:
    row: Facts = {"state": "ok", "code": None, "findings": [{"code": "tls.wrong_order", "severity": "warn"}]}
    told = table(UNTIDY, **row)
    assert not any("✗" in line for line in told)
    assert "         │   │ sent as number 3, until 2028-01-01" in told
    assert told[-2:] == [
        "           ! sent again: CN=Lower CA, until 2028-01-01",
        "           ! sent and not used: CN=Lower CA, until 2026-02-01",
    ]


@pytest.mark.parametrize("code", [None, "http.not_found", "tls.expiring", "tls.legacy_version", "tls.cross_sign"])
def test_a_chain_without_a_fault_is_not_drawn(code: str | None) -> None:
    assert chain_view(met(HEALTHY, code=code), UNICODE, 80) is None


def test_it_stands_in_the_whole_picture_between_ladder_and_verdict() -> None:
    told = drawn(ladder_view(met(GAP), UNICODE, 80), 80)
    assert 0 < told.index("vantage" if "vantage" in told else "here") < told.index("not sent") < told.index(" FAIL ")


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_command_with_the_name_of_a_file_is_longer_than_the_line_and_still_whole(width: int) -> None:
    file = f"/etc/fixes/{'0123456789ABCDEF' * 4}.pem"
    command = f"openssl verify -CAfile /etc/root.pem -untrusted {file} {file}"
    told = drawn(ladder_view(met(GAP, fix_commands=[command]), UNICODE, width), width).splitlines()
    first = next(at for at, line in enumerate(told) if "$ openssl verify" in line)
    lines = [told[first].partition("$ ")[2]]
    while lines[-1].endswith("\\"):
        lines.append(told[first + len(lines)])
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(command)


@pytest.mark.parametrize("seen", EVERY)
def test_a_terminal_without_our_signs_gets_ascii(seen: Facts) -> None:
    view = chain_view(met(seen), ASCII, 80)
    assert view is None or drawn(view, 80).isascii()


@pytest.mark.parametrize("width", [40, 80, 100])
@pytest.mark.parametrize("seen", EVERY)
def test_no_line_is_wider_than_it_may_be(seen: Facts, width: int) -> None:
    long = {**seen, "certificates": [{**one, "subject": "CN=" + "wide " * 60} for one in seen["certificates"]]}
    for row in (met(seen), met(long)):
        view = chain_view(row, UNICODE, width)
        assert view is None or max(map(len, drawn(view, width).splitlines())) <= width


def _shown(view: RenderableType, file: Any) -> None:
    show(console(Color.ALWAYS, file), view)


@pytest.mark.parametrize("poison", HOSTILE)
@pytest.mark.parametrize("seen", EVERY)
def test_names_of_strangers_cannot_steer_a_terminal(seen: Facts, poison: str) -> None:
    keep = ("chain_sha256", "path_sha256")
    evil = {name: value if name in keep else poisoned(value, poison) for name, value in seen.items()}
    evil["certificates"] = [{**one, "sha256": old["sha256"]} for one, old in
                            zip(evil["certificates"], seen["certificates"], strict=True)]
    for bad in (evil, poisoned(seen, poison)):
        row = met(bad, code="tls.name_mismatch")
        view = ladder_view(row, UNICODE, 80)
        told = on_terminal(partial(_shown, view))
        assert_harmless(told)
        assert "leaf" in SGR.sub("", told)


NONSENSE: list[Any] = [None, 3, "x", [], {}, [None], [[1]], {"code": []}, True, [{"code": [], "depth": {}}]]


@pytest.mark.parametrize("nonsense", NONSENSE)
@pytest.mark.parametrize("field", sorted({*GAP, *AGED}))
def test_fields_of_another_shape_do_not_break_the_drawing(field: str, nonsense: object) -> None:
    for seen in (GAP, AGED, STRANGER):
        view = chain_view(met({**seen, field: nonsense}), UNICODE, 80)
        assert view is None or drawn(view, 80)


@pytest.mark.parametrize("nonsense", [None, 3, "x", [], {}, [None], {"sha256": [1]}, [{"sha256": [], "found_at": {}}]])
@pytest.mark.parametrize("field", ["install_sha256", "missing", "trust_anchor", "untrusted_root"])
def test_a_repair_of_another_shape_does_not_break_it_either(field: str, nonsense: object) -> None:
    for seen in (GAP, AGED, STRANGER):
        view = chain_view(met({**seen, "repair": {**seen["repair"], field: nonsense}}), UNICODE, 80)
        assert view is None or drawn(view, 80)


def test_a_chain_of_a_hundred_is_not_drawn_whole() -> None:
    many = [certificate(f"{n:02X}", f"CA {n}", f"CA {n + 1}") for n in range(100)]
    seen = facts(*many, path=" ".join(one["sha256"] for one in many), told=errors((22, 0)))
    assert len(table(seen)) < 50
