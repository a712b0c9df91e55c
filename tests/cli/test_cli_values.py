"""What the text behind a flag means."""

from __future__ import annotations

import sys
from datetime import timedelta
from ipaddress import ip_network
from types import ModuleType

import pytest
import typer

from fleetprobe.cli.values import days, limit, mapping, networks, resolvers, trust, without_secrets
from fleetprobe.engine.budget import Limit
from fleetprobe.model.trust import Store, Trust


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("8", Limit(8, None)),
        ("50/s", Limit(None, 50.0)),
        ("0.5/s", Limit(None, 0.5)),
        ("8,50/s", Limit(8, 50.0)),
        ("50/s, 8", Limit(8, 50.0)),
        ("0", Limit(None, None)),
        ("0,0/s", Limit(None, None)),
    ],
)
def test_a_limit_is_at_once_per_second_or_both(text: str, meant: Limit) -> None:
    assert limit("--per-host", text) == meant


@pytest.mark.parametrize(
    ("text", "meant"), [("500", Limit(None, 500.0)), ("100,500/s", Limit(100, 500.0)), ("0", Limit())]
)
def test_a_bare_number_behind_rate_is_per_second(text: str, meant: Limit) -> None:
    assert limit("--rate", text, bare_is_rate=True) == meant


@pytest.mark.parametrize("text", ["", "x", "-1", "1,2", "1/s,2/s", "1/m", "1e3", "8,", "inf", "１", "1,2/s,3"])  # noqa: RUF001  # a full-width digit is meant
def test_anything_else_is_refused_and_the_flag_named(text: str) -> None:
    with pytest.raises(typer.BadParameter) as told:
        limit("--per-host", text)
    assert told.value.param_hint == "'--per-host'"


def test_networks_are_cidr_or_one_address() -> None:
    found = networks("--deny", ["192.0.2.0/24", "2001:db8::1"])
    assert found == (ip_network("192.0.2.0/24"), ip_network("2001:db8::1"))
    for wrong in ("192.0.2.1/24", "192.0.2", "name.example", ""):
        with pytest.raises(typer.BadParameter):
            networks("--deny", [wrong])


def test_resolvers_get_their_port_and_are_never_names() -> None:
    assert resolvers([]) is None
    assert resolvers(["192.0.2.53", "[2001:db8::53]:5353"]) == ("192.0.2.53:53", "[2001:db8::53]:5353")
    with pytest.raises(typer.BadParameter):
        resolvers(["dns.example"])


def test_a_mapping_gives_columns_to_fields() -> None:
    found = mapping(["host=Host Name,port=svc", "path=url path"])
    assert found == {"host": "Host Name", "port": "svc", "path": "url path"}
    for wrong in (["host"], ["host="], ["nope=x"], ["host=a,host=b"]):
        with pytest.raises(typer.BadParameter):
            mapping(wrong)


def test_whatever_stands_before_an_at_sign_is_not_recorded() -> None:
    assert without_secrets(["scan", "https://u:p@h/", "-q"]) == ["scan", "***@h/", "-q"]


@pytest.mark.parametrize(("text", "number"), [("30d", 30), ("0d", 0), (" 7d ", 7), ("99999d", 99999)])
def test_a_horizon_is_a_number_of_days(text: str, number: int) -> None:
    assert days("--expiring", text) == timedelta(days=number)


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "2w", "30 d", "100000d", "３d"])  # noqa: RUF001  # a full-width digit is meant
def test_a_horizon_without_its_unit_is_refused_and_the_flag_named(text: str) -> None:
    with pytest.raises(typer.BadParameter) as told:
        days("--expiring", text)
    assert told.value.param_hint == "'--expiring'"


def test_trust_is_the_systems_unless_a_flag_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "certifi", None)
    system, corp = Store("system"), Store("corp", "a=b.pem")
    assert trust(None, None, []) == Trust(known=(system,), of_run=(system,))
    assert trust("x.pem", None, []) == Trust(known=(system,), of_run=(Store("ca_file", "x.pem"),))
    assert trust(None, "corp, system", ["corp=a=b.pem"]) == Trust(known=(system, corp), of_run=(corp, system))


def test_certifi_is_a_label_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    package = ModuleType("certifi")
    vars(package)["where"] = lambda: "/there/cacert.pem"
    monkeypatch.setitem(sys.modules, "certifi", package)
    assert trust(None, "certifi", []).of_run == (Store("certifi", "/there/cacert.pem"),)
    monkeypatch.setitem(sys.modules, "certifi", None)
    with pytest.raises(typer.BadParameter, match="not installed"):
        trust(None, "certifi", [])


@pytest.mark.parametrize(
    ("ca_file", "labels", "stores", "flag"),
    [
        ("", None, [], "--ca-file"),
        ("x.pem", "system", [], "--trust"),
        (None, "", [], "--trust"),
        (None, "corp", [], "--trust"),
        (None, "system,system", [], "--trust"),
        (None, None, ["corp"], "--trust-store"),
        (None, None, ["corp="], "--trust-store"),
        (None, None, ["=x.pem"], "--trust-store"),
        (None, None, ["system=x.pem"], "--trust-store"),
        (None, None, ["certifi=x.pem"], "--trust-store"),
        (None, None, ["corp=x.pem", "corp=x.pem"], "--trust-store"),
    ],
)
def test_trust_that_means_nothing_names_its_flag(
    ca_file: str | None, labels: str | None, stores: list[str], flag: str
) -> None:
    with pytest.raises(typer.BadParameter) as told:
        trust(ca_file, labels, stores)
    assert told.value.param_hint == f"'{flag}'"
