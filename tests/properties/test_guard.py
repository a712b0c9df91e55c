"""The allow and deny lists answer as a naive reading of them would."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetprobe.engine.budget import Guard, Network
from fleetprobe.net.interface import Address

# A few bits only, so that addresses and networks meet often.
_V4, _V6 = int(ipaddress.IPv4Address("198.51.100.0")), int(ipaddress.IPv6Address("2001:db8::"))


def _network4(offset: int, prefix: int) -> Network:
    return ipaddress.IPv4Network((_V4 + offset, prefix), strict=False)


def _network6(offset: int, prefix: int) -> Network:
    return ipaddress.IPv6Network((_V6 + offset, prefix), strict=False)


networks = st.one_of(
    st.builds(_network4, st.integers(0, 63), st.integers(26, 32)),
    st.builds(_network6, st.integers(0, 63), st.integers(122, 128)),
    st.sampled_from([ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]),
)
addresses = st.one_of(
    st.integers(0, 63).map(lambda at: str(ipaddress.IPv4Address(_V4 + at))),
    st.integers(0, 63).map(lambda at: str(ipaddress.IPv6Address(_V6 + at))),
    st.integers(0, 63).map(lambda at: f"::ffff:{ipaddress.IPv4Address(_V4 + at)}"),
    st.sampled_from(["255.255.255.255", "0.0.0.0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"]),
)


def naively(text: str, listed: list[Network]) -> bool:
    ip = ipaddress.ip_address(text)
    seen = [ip] if ip.version == 4 or ip.ipv4_mapped is None else [ip.ipv4_mapped]
    return any(one in network for one in seen for network in listed if network.version == one.version)


NO_HOSTS = [ipaddress.ip_network(n) for n in ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8")]


@pytest.mark.parametrize("text", ["0.0.0.0", "::", "224.0.0.1", "240.0.0.1", "255.255.255.255", "ff02::1"])
def test_what_names_no_single_host_is_never_touched_even_when_allowed(text: str) -> None:
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    assert Guard(allow=everything).denied(Address(text, ipaddress.ip_address(text).version)) is not None


@given(st.lists(networks, max_size=5), st.lists(networks, max_size=5), addresses)
def test_deny_wins_and_an_allow_list_shuts_out_the_rest(allow: list[Network], deny: list[Network], text: str) -> None:
    if naively(text, NO_HOSTS):
        assert Guard(allow, deny).denied(Address(text, ipaddress.ip_address(text).version)) is not None
        return
    expected = naively(text, deny) or (bool(allow) and not naively(text, allow))
    reason = Guard(allow, deny).denied(Address(text, ipaddress.ip_address(text).version))
    assert (reason is not None) == expected
    if reason is not None:
        assert text in reason
        assert ("not on the allow" in reason) != naively(text, deny)


def test_an_address_with_a_zone_is_judged_by_its_address() -> None:
    guard = Guard(deny=[ipaddress.ip_network("fe80::/10")])
    assert guard.denied(Address("fe80::1%lo", 6)) is not None


def test_neighbouring_ranges_of_the_whole_space_do_not_overflow() -> None:
    guard = Guard(deny=[ipaddress.ip_network("128.0.0.0/1"), ipaddress.ip_network("0.0.0.0/1")])
    assert guard.denied(Address("255.255.255.255", 4)) is not None
    assert guard.denied(Address("0.0.0.0", 4)) is not None
    assert guard.denied(Address("::1", 6)) is None
