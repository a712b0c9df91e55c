"""Specs and fields to targets: what is understood, what is refused, what several targets cost."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import pytest

from fleetprobe.inventory.row import Row
from fleetprobe.inventory.spec import expand, parse
from fleetprobe.model.target import BadLine, Entry, Target


def target(spec: str, **fields: Any) -> Target:
    entry = parse(spec, fields, "fleet.txt:1", base="inv")
    assert isinstance(entry, Target), entry
    return entry


def reason(spec: str, **fields: Any) -> str:
    entry = parse(spec, fields, "fleet.txt:1", base="inv")
    assert isinstance(entry, BadLine), entry
    assert entry.source == "fleet.txt:1"
    return entry.reason


def expanded(spec: str, room: int = 1000, **fields: Any) -> list[Entry]:
    return list(expand(Row(spec=spec, fields=fields, source="f:1", raw=spec), "", room))


@pytest.mark.parametrize(
    ("spec", "canonical"),
    [
        ("www.example.net:443", "https://www.example.net:443"),
        ("www.example.net:80", "http://www.example.net:80"),
        ("www.example.net:22", "ssh://www.example.net:22"),
        ("www.example.net:8443", "tcp://www.example.net:8443"),
        ("[2001:DB8::1]:443", "https://[2001:db8::1]:443"),
        ("[fe80::1%eth0]:22", "ssh://[fe80::1%eth0]:22"),
        ("ssh://[fe80::1%25eth0]:22", "ssh://[fe80::1%eth0]:22"),
        ("HTTPS://WWW.example.net", "https://www.example.net:443"),
        ("https://www.example.net/", "https://www.example.net:443"),
        ("https://www.example.net?q=1", "https://www.example.net:443/?q=1"),
        ("https://www.example.net/a?b=c#d", "https://www.example.net:443/a?b=c"),
        ("http://www.example.net/é", "http://www.example.net:80/%C3%A9"),
        ("http://[2001:db8::1]/", "http://[2001:db8::1]:80"),
        ("ssh://bastion.example.net", "ssh://bastion.example.net:22"),
        ("tls://www.example.net:443", "tls://www.example.net:443"),
        ("http://www.example.net/@me", "http://www.example.net:80/@me"),
        ("https://192.0.2.0/24", "https://192.0.2.0:443/24"),
    ],
)
def test_a_spec_has_one_canonical_form_and_parses_back_to_itself(spec: str, canonical: str) -> None:
    first = target(spec)
    assert first.canonical == canonical
    assert target(canonical).target_id == first.target_id


def test_port_and_service_may_come_from_fields() -> None:
    assert target("2001:db8::1", port=443).canonical == "https://[2001:db8::1]:443"
    assert target("www.example.net", service="HTTPS").port == 443
    assert target("www.example.net:8443", service="https", path="/x").path == "/x"
    assert target("https://www.example.net:443", service="https", port="443").port == 443


def test_a_host_without_a_port_says_what_to_add() -> None:
    assert reason("www.example.net") == "no port is given; add it, as in www.example.net:443"
    assert "[2001:db8::1:443]:443" in reason("2001:db8::1:443")
    assert "tls has no usual port" in reason("tls://www.example.net")


def test_every_field_reaches_the_target() -> None:
    made = target(
        "https://www.example.net",
        sni="Shop.Example.net",
        host_header="SHOP.example.net:8443",
        connect_to="[2001:DB8::9]",
        path="/h",
        expect_status=[200, "3xx", "204,205-206"],
        expect_body="ok",
        expect_addresses="all",
        ca_file="ca/x.pem",
        timeout=1.5,
        labels={"tier": 1, "env": "prod", "live": True, "gone": None},
    )
    assert (made.sni, made.host_header, made.connect_to) == (
        "shop.example.net",
        "shop.example.net:8443",
        "2001:db8::9",
    )
    assert made.expect.status == ((200, 200), (204, 206), (300, 399))
    assert (made.expect.body, made.expect.addresses) == ("ok", "all")
    assert (made.ca_file, made.timeout_s) == ("inv/ca/x.pem", 1.5)
    assert made.labels == (("env", "prod"), ("live", "true"), ("tier", "1"))


@pytest.mark.parametrize(
    ("written", "ranges"),
    [
        (404, ((404, 404),)),
        ("2XX", ((200, 299),)),
        ("200-299, 250", ((200, 299),)),
        (["301", "200,201", "202-203"], ((200, 203), (301, 301))),
    ],
)
def test_expected_statuses_become_sorted_merged_ranges(
    written: Any, ranges: tuple[tuple[int, int], ...]
) -> None:
    assert target("https://a.test", expect_status=written).expect.status == ranges


def test_an_absolute_ca_file_stays_and_nothing_in_it_is_expanded() -> None:
    assert target("https://a.test", ca_file="/etc/ca.pem").ca_file == "/etc/ca.pem"
    assert target("https://a.test", ca_file="$HOME/~x.pem").ca_file == "inv/$HOME/~x.pem"


@pytest.mark.parametrize(
    ("fields", "fragment"),
    [
        ({"snii": "a"}, "did you mean sni?"),
        ({"x" * 5000: "a"}, "unknown field"),
        ({"port": True}, "true or false"),
        ({"port": 443.0}, "plain decimal"),
        ({"port": 0}, "zero"),
        ({"port": -1}, "plain decimal"),
        ({"port": " 443"}, "white space"),
        ({"port": [443]}, "a list"),
        ({"port": "443\n"}, "control character U+000A"),
        ({"sni": ""}, "empty"),
        ({"sni": "192.0.2.1"}, "must be a name"),
        ({"host_header": "2001:db8::1"}, "not host, host:port"),
        ({"host_header": "[a.test]"}, "not host, host:port"),
        ({"host_header": "a.test:"}, "port"),
        ({"connect_to": "192.0.2.1:443"}, "takes no port"),
        ({"connect_to": "[2001:db8::1]:443"}, "takes no port"),
        ({"connect_to": "127.1"}, "127.0.0.1"),
        ({"path": "a"}, "slash"),
        ({"path": "/a b"}, "white space"),
        ({"path": "/a\r\nHost: b"}, "control character U+000D"),
        ({"path": "/" + "a" * 3000}, "at most 2048"),
        ({"expect_status": "20"}, "not like 200"),
        ({"expect_status": []}, "1 to 64"),
        ({"expect_status": [200] * 65}, "at most 64"),
        ({"expect_status": ",".join(["200"] * 65)}, "not 65"),
        ({"expect_status": "300-200"}, "backwards"),
        ({"expect_status": {"a": 1}}, "a mapping"),
        ({"expect_body": "a\nb"}, "control character"),
        ({"expect_body": "\ud800"}, "U+D800"),
        ({"expect_addresses": "none"}, "neither any nor all"),
        ({"ca_file": "a/../../b"}, "leaves the inventory's directory"),
        ({"ca_file": "a\0b"}, "U+0000"),
        ({"timeout": 0}, "above 0"),
        ({"timeout": "60.1"}, "above 0"),
        ({"timeout": float("nan")}, "above 0"),
        ({"timeout": "1e1"}, "above 0"),
        ({"labels": ["a"]}, "a list"),
        ({"labels": {"a": {}}}, "a mapping"),
        ({"labels": {"a b": "c"}}, "label name"),
        ({"labels": {"a": "x" * 257}}, "at most 256"),
        ({"labels": {f"k{n}": "v" for n in range(33)}}, "at most 32"),
        ({"labels": {"a": "b\x1b"}}, "U+001B"),
        ({"service": "gopher"}, "known are tcp"),
        ({"service": "ssh"}, "keep one"),
    ],
)
def test_a_wrong_field_is_refused_with_its_reason(fields: dict[str, Any], fragment: str) -> None:
    assert fragment in reason("https://www.example.net", **fields)


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ("a.test:8443", {"expect_status": 200}),
        ("a.test:8443", {"path": "/x"}),
        ("a.test:22", {"sni": "a.test"}),
        ("a.test:80", {"ca_file": "x"}),
        ("a.test:8443", {"expect_body": "x"}),
        ("a.test:443,22", {"host_header": "a.test"}),
    ],
)
def test_an_expectation_the_service_never_looks_at_is_refused(spec: str, fields: dict[str, Any]) -> None:
    [entry] = expanded(spec, **fields)
    assert isinstance(entry, BadLine)
    assert "means nothing to service" in entry.reason


@pytest.mark.parametrize(
    "spec",
    [
        "http://user:hunter2@h.test/",
        "http://user:hunt/hunter2@h.test/",
        "http://u:hunter2?@h.test",
        "hunter2@h.test:22",
        "u:hunter2@[2001:db8::1]:22",
        "http:/u:hunter2@h.test",
        "ftp://u:hunter2@h.test",
        "http://u:hunter2 @h.test/",
    ],
)
def test_a_password_in_a_target_is_refused_and_never_echoed(spec: str) -> None:
    entry = parse(spec, {}, "f:1", raw=f"{spec} sni=a")
    assert isinstance(entry, BadLine)
    assert "hunt" not in entry.reason + entry.raw


def test_a_bad_line_keeps_512_characters_and_can_be_encoded() -> None:
    entry = parse("\ud800" * 9000, {}, "f\udcff:1")
    assert isinstance(entry, BadLine)
    assert len(entry.raw) == 512
    assert (entry.raw + entry.source + entry.reason).encode()


@pytest.mark.parametrize(
    ("spec", "hosts"),
    [
        ("192.0.2.0/30:443", ["192.0.2.1", "192.0.2.2"]),
        ("192.0.2.0/31:443", ["192.0.2.0", "192.0.2.1"]),
        ("192.0.2.7/32:443", ["192.0.2.7"]),
        ("2001:db8::/126:443", ["2001:db8::1", "2001:db8::2", "2001:db8::3"]),
        ("[2001:db8::]/127:443", ["2001:db8::", "2001:db8::1"]),
        ("[2001:db8::1/128]:443", ["2001:db8::1"]),
        ("192.0.2.254-255:443", ["192.0.2.254", "192.0.2.255"]),
        ("192.0.2.255-192.0.3.1:443", ["192.0.2.255", "192.0.3.0", "192.0.3.1"]),
    ],
)
def test_networks_and_ranges_name_their_hosts(spec: str, hosts: list[str]) -> None:
    entries = expanded(spec)
    assert [entry.host for entry in entries if isinstance(entry, Target)] == hosts
    assert {entry.source for entry in entries} == {"f:1"}


def test_ports_multiply_hosts_and_pick_their_own_service() -> None:
    entries = expanded("192.0.2.1-2", port="22,443")
    assert [entry.canonical for entry in entries if isinstance(entry, Target)] == [
        "ssh://192.0.2.1:22",
        "https://192.0.2.1:443",
        "ssh://192.0.2.2:22",
        "https://192.0.2.2:443",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        "192.0.2.1/24:443",
        "192.0.2.0/33:443",
        "192.0.2.0/024:443",
        "192.0.2/24:443",
        "192.0.2.9-1:443",
        "192.0.2.1-256:443",
        "192.0.2.1-:443",
        "192.0.2.0/24",
        "192.0.2.0/24x:443",
        "[2001:db8::/64:443",
        "2001:db8::]/64:443",
        "10-20:443",
        "https://192.0.2.1-9:443",
        "tcp://192.0.2.0/24:443",
        "192.0.2.0/24:443/x",
    ],
)
def test_a_malformed_network_or_range_is_one_bad_line(spec: str) -> None:
    [entry] = expanded(spec)
    assert isinstance(entry, BadLine)


@pytest.mark.parametrize(
    ("spec", "count"),
    [("0.0.0.0/2:80", 1_073_741_822), ("2001:db8::/64:443", 2**64 - 1), ("0.0.0.0/0:80", 2**32 - 2)],
)
def test_a_network_of_a_thousand_million_hosts_is_one_bad_line_at_no_cost(spec: str, count: int) -> None:
    tracemalloc.start()
    started = time.process_time()
    [entry] = expanded(spec, room=1_000_000)
    elapsed = time.process_time() - started
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(entry, BadLine)
    assert str(count) in entry.reason
    assert "1000000" in entry.reason
    assert peak_bytes < 100_000
    assert elapsed < 0.1


def test_a_large_network_is_expanded_lazily() -> None:
    spec = "10.0.0.0/8:443"
    tracemalloc.start()
    entries = expand(Row(spec=spec, source="f:1", raw=spec), "", 2**24)
    first = next(entries)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(first, Target)
    assert first.host == "10.0.0.1"
    assert peak_bytes < 100_000


def test_a_spec_of_several_targets_is_refused_where_one_is_wanted() -> None:
    assert "names 254 targets" in reason("192.0.2.0/24:443")


@pytest.mark.parametrize(
    "filler", ["a", ".", "-", "ü", "ā", "1", "1.", ":", "[", "xn--", "\u0300", "/", ",1", "%", "@"]
)
def test_a_hostile_64_kib_spec_is_refused_quickly(filler: str) -> None:
    text = (filler * 65536)[:65536]
    started = time.process_time()
    for spec in (text, f"{text}:443", f"https://{text[:4000]}", text[:253], f"h.test:{text[:4000]}"):
        assert isinstance(parse(spec, {"port": "443", "sni": text, "labels": {text: text}}, "f:1"), BadLine)
    assert time.process_time() - started < 0.25


# Frozen: warehouses join nights by these. They were computed from design §7 by hand, not by running Target.
@pytest.mark.parametrize(
    ("spec", "fields", "target_id"),
    [
        ("tcp://192.0.2.1:5432", {}, "2a76c5a1de88e83a"),
        ("https://www.example.net", {}, "923d5dc64a36f538"),
        ("https://www.example.net/health?deep=1", {}, "b71d99a250c781ea"),
        ("ssh://[2001:db8::22]", {}, "89c330f16b7cb236"),
        ("ssh://[fe80::1%eth0]:22", {}, "c29ce8ebfe2a5586"),
        ("https://münchen.test", {}, "4994ab091024d01c"),
        ("tls://192.0.2.9:636", {"sni": "ldap.example.net"}, "24d0a899e547010c"),
        (
            "https://shop.example.net",
            {"connect_to": "192.0.2.21", "host_header": "shop.example.net:443"},
            "7bcf6435e1f3defe",
        ),
    ],
)
def test_target_ids_never_change(spec: str, fields: dict[str, str], target_id: str) -> None:
    assert target(spec, **fields).target_id == target_id


def test_what_is_not_identity_does_not_change_the_id() -> None:
    plain = target("https://a.test")
    other = target(
        "https://A.test.:443/", labels={"a": "b"}, timeout=3, expect_status=200, expect_addresses="all"
    )
    assert plain.target_id == other.target_id
    assert plain.target_id != target("https://a.test", sni="a.test").target_id
