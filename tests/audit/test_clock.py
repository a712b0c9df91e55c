"""Our clock against those of the servers, and issuers that vouch for too many sites."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from fleetprobe.audit.clock import Clocks
from fleetprobe.audit.issuers import Issuers

NOW = datetime.now(UTC).replace(microsecond=0)


def answered(address: str, ahead_s: float, date: str | None = None) -> dict[str, Any]:
    told = date if date is not None else format_datetime(NOW + timedelta(seconds=ahead_s), usegmt=True)
    http = {"layer": "http", "facts": {"date": told}, "start_ms": 0.0}
    return {"network_peer_address": address, "started_at": NOW.isoformat(), "layers": [http]}


def clocks(*ahead_s: float) -> Clocks:
    seen = Clocks()
    for number, one in enumerate(ahead_s):
        seen.see(answered(f"198.51.100.{number}", one))
    return seen


@pytest.mark.parametrize(
    ("ahead_s", "told"),
    [
        ((), None),
        ((7200, 7200), None),
        ((7200, 7201, 7190), 7200),
        ((-7200, -7200, -7200, 0), -7200),
        ((30, 20, 10, 0), None),
        ((7200, -7200, 90000), None),
        ((7200, 7200, 7200, 0, 0, 0), None),
        ((0, 0, 0, 0, 86400 * 30), None),
    ],
)
def test_servers_that_agree_outweigh_us_and_no_others(ahead_s: Sequence[float], told: float | None) -> None:
    assert clocks(*ahead_s).ahead_s == told


def test_one_address_has_one_voice() -> None:
    seen = Clocks()
    for _ in range(5):
        seen.see(answered("198.51.100.1", 7200))
    assert (seen.servers, seen.ahead_s) == (1, None)


@pytest.mark.parametrize(
    "date", ["", "now", "Thu, 99 Foo 99999999999 00:00:00 GMT", "\x1b[2J", "1", "Mon, 01 Jan 0001"]
)
def test_what_is_no_date_is_passed_over(date: str) -> None:
    seen = Clocks()
    seen.see(answered("198.51.100.1", 0, date))
    assert seen.servers == 0


def dated(code: str, start_days: float, end_days: float) -> dict[str, Any]:
    out = {
        "not_before": (NOW + timedelta(start_days)).isoformat(), "not_after": (NOW + timedelta(end_days)).isoformat(),
    }
    return {"code": code, "findings": [], "layers": [{"layer": "tls", "facts": {"out_of_date": [out]}}]}


def beside(row: dict[str, Any], code: str, severity: str, **facts: Any) -> dict[str, Any]:
    return {**row, "findings": [{"code": code, "severity": severity, "facts": facts}]}


def test_dates_that_the_servers_would_accept_are_excused_and_no_others() -> None:
    """The code is `local.clock_skew`, "local.clock_skew" in the record; see the scenario of late results."""
    two_days = clocks(*[2 * 86400.0] * 4)
    assert two_days.excuses(dated("tls.not_yet_valid", 1, 90))
    assert not two_days.excuses(dated("tls.not_yet_valid", 3, 90))
    assert not two_days.excuses(dated("tls.expired", -90, -1))
    assert not two_days.excuses(dated("tls.name_mismatch", 1, 90))
    assert clocks(*[-2 * 86400.0] * 4).excuses(dated("tls.expired", -90, -1))
    assert not clocks(0, 0, 0, 0).excuses(dated("tls.not_yet_valid", 0.01, 90))
    assert not two_days.excuses(
        {"code": "tls.expired", "findings": [], "layers": [{"layer": "tls", "facts": {}}]}
    )


def test_a_clock_excuses_nothing_beside_which_something_else_failed() -> None:
    behind, row = clocks(*[-2 * 86400.0] * 4), dated("tls.expired", -90, -1)
    assert behind.excuses(beside(row, "tls.root_sent", "warn"))
    assert not behind.excuses(beside(row, "tls.name_mismatch", "fail"))
    assert not behind.excuses(beside(row, "tls.issuer_unknown", "fail"))
    assert not behind.excuses(beside(row, "tls.not_yet_valid", "fail", out_of_date=[{"depth": 1}]))


def test_only_those_servers_are_counted_that_agree() -> None:
    seen = clocks(7200, 7200, 7200, 7190, 0)
    assert (seen.ahead_s, seen.servers) == (7200, 4)


def vouched(name: str, issuer: str = "CN=Box", code: str = "tls.issuer_unknown", *also: str) -> dict[str, Any]:
    facts = {"server_name": name, "certificates": [{"subject": "CN=x", "issuer": issuer}, {"subject": issuer}]}
    findings = [{"code": one} for one in also]
    return {"code": code, "findings": findings, "layers": [{"layer": "tls", "facts": facts}]}


def issuers(*rows: dict[str, Any]) -> Issuers:
    seen = Issuers()
    for row in rows:
        seen.see(row)
    return seen


MANY = [vouched(f"www.site{number}.example") for number in range(5)]


def test_five_sites_of_one_unknown_issuer_are_too_many() -> None:
    told = issuers(*MANY).sites(MANY[0])
    assert told is not None
    assert (told[0], len(told[1])) == ("CN=Box", 5)
    assert issuers(*MANY[:4]).sites(MANY[0]) is None
    assert issuers(*MANY).sites(vouched("www.site0.example", "CN=Other")) is None


@pytest.mark.parametrize(
    "rows",
    [
        [vouched(f"host{number}.corp.example") for number in range(20)],
        [vouched(f"host{number}.dc.corp.co.uk") for number in range(20)],
        [vouched(f"192.0.2.{number}") for number in range(20)],
        [vouched(f"2001:db8::{number}") for number in range(20)],
        [vouched(f"host{number}") for number in range(20)],
        [vouched(f"db{number}.corp") for number in range(20)],
        [vouched(f"db.site{number}.internal") for number in range(20)],
        [vouched(f"db{number}.home.arpa") for number in range(20)],
        [vouched(f"a.site{number}.example", code="tls.expired") for number in range(20)],
        [vouched(f"a.site{n}.example", "CN=Box", "tls.issuer_unknown", "tls.name_mismatch") for n in range(9)],
        [vouched(f"a.site{number}.example", f"CN={number}") for number in range(20)],
    ],
)
def test_a_private_authority_of_one_owner_is_ordinary(rows: Sequence[dict[str, Any]]) -> None:
    assert issuers(*rows).sites(rows[0]) is None


def test_sites_below_a_short_label_of_a_country_are_told_apart() -> None:
    rows = [vouched(f"www.site{number}.co.uk") for number in range(5)]
    assert issuers(*rows).sites(rows[0]) is not None


def alone(row: dict[str, Any]) -> dict[str, Any]:
    """The same of a chain that is the leaf alone."""
    facts = row["layers"][0]["facts"]
    return {**row, "layers": [{"layer": "tls", "facts": {**facts, "certificates": facts["certificates"][:1]}}]}


def test_an_issuer_that_all_sites_forgot_to_send_is_not_known_to_be_untrusted() -> None:
    """Five shops of one public authority, none of which sends its intermediate."""
    forgot = [alone(one) for one in MANY]
    assert issuers(*forgot).sites(forgot[0]) is None
    assert issuers(*MANY).sites(forgot[0]) is None
    untrusted = [{**one, "code": "tls.untrusted_root"} for one in forgot]
    assert issuers(*untrusted).sites(untrusted[0]) is not None
