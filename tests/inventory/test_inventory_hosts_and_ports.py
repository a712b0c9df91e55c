"""Hosts and ports: one canonical form, everything else refused with its reason."""

from __future__ import annotations

import pytest

from fleetprobe.inventory.hosts import canonical_host
from fleetprobe.inventory.ports import one_port, port_list
from fleetprobe.inventory.refused import Refused


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("WWW.Example.NET.", "www.example.net"),
        ("_dmarc.a_b.example.net", "_dmarc.a_b.example.net"),
        ("r3---sn-x.example.net", "r3---sn-x.example.net"),
        ("münchen.test", "xn--mnchen-3ya.test"),
        ("MÜNCHEN。test", "xn--mnchen-3ya.test"),
        ("faß.test", "xn--fa-hia.test"),
        ("xn--mnchen-3ya.test", "xn--mnchen-3ya.test"),
        ("web\uff11.test", "web1.test"),
        ("1e100.test", "1e100.test"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0:0::0001", "2001:db8::1"),
        ("fe80::1%eth0.100", "fe80::1%eth0.100"),
    ],
)
def test_a_good_host_gets_its_canonical_form(text: str, canonical: str) -> None:
    assert canonical_host(text) == canonical
    assert canonical_host(canonical) == canonical


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("0x7f.1", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"),
        ("127。0。0。1", "127.0.0.1"),
        ("192.0.2.1.", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("0XC0.0.2.1", "192.0.2.1"),
    ],
)
def test_an_oddly_spelt_ipv4_address_is_refused_with_the_right_spelling(text: str, hint: str) -> None:
    with pytest.raises(Refused, match=f"write {hint}"):
        canonical_host(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "-a",
        "a-",
        "a b",
        "a\tb",
        "a\0b",
        "a\nb",
        "a/b",
        "a@b",
        "a%41",
        "[2001:db8::1]",
        "256.1.1.1",
        "1.2.3.4.5",
        "host.1",
        "host.0x",
        "089.1.1.1",
        "127.0.0.\u0661",
        "2001:db8::1%eth0",
        "fe80::1%",
        "fe80::1%a b",
        "fe80::1%\x1b[2J",
        "fe80::1%sixteen-letters-",
        "2001:db8::g",
        "xn--a",
        "☃.test",
        "a" * 64,
        "a" * 70_000,
        "\ud800.test",
        "x\u202e.test",
    ],
)
def test_a_host_that_is_neither_name_nor_address_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        canonical_host(text)


def test_a_name_of_253_octets_passes_and_one_of_254_does_not() -> None:
    name = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])
    assert len(name) == 253
    assert canonical_host(name) == name
    with pytest.raises(Refused, match="253"):
        canonical_host(name + "d")


def test_a_short_name_whose_a_labels_are_too_long_is_refused() -> None:
    with pytest.raises(Refused, match="octets as A-labels"):
        canonical_host(".".join(["ü" * 30] * 8))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("0", "is zero"),
        ("00", "is zero"),
        ("65536", "too large"),
        ("65616", "too large"),
        ("9" * 5000, "too large"),
        ("080", "leading zero"),
        ("8_0", "plain decimal"),
        ("+80", "plain decimal"),
        ("-80", "plain decimal"),
        (" 80", "white space"),
        ("80\n", "white space"),
        ("\u0661\u0662", "ASCII digits"),
        ("\uff18\uff10", "ASCII digits"),
        ("²", "ASCII digits"),
    ],
)
def test_a_port_that_int_would_forgive_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason):
        one_port(text)


def test_the_first_and_the_last_port_pass() -> None:
    assert (one_port("1"), one_port("65535")) == (1, 65535)


def test_a_port_list_keeps_its_order_and_drops_repeats() -> None:
    assert port_list("443,22,8000-8002,22") == (443, 22, 8000, 8001, 8002)
    assert len(port_list("1-65535")) == 65535


@pytest.mark.parametrize(
    "text", ["22,", ",22", "22,,443", "443-22", "0-5", "1-65536", "1-2-3", "1-65535,1-65535"]
)
def test_a_malformed_or_oversized_port_list_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        port_list(text)
