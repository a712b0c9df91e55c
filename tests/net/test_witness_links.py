"""The link table reads hostile or odd dumps without harm, shares one dump for 50 ms, and is cheap."""

from __future__ import annotations

import socket
import struct
from typing import cast

import pytest

from fleetprobe.net.live.links import LinkTable, open_links, packets_out
from fleetprobe.net.live.netlink import Rtnetlink, attribute
from fleetprobe.net.witness import NeighbourState

NEW_NEIGHBOUR = 28
NEIGHBOUR = struct.Struct("=BBHiHBB")


class ScriptedKernel:
    """Answers every dump with the messages given, and counts how often it was asked."""

    def __init__(self, *messages: tuple[int, bytes]) -> None:
        self.messages = list(messages)
        self.dumps = 0

    def dump(self, _question: int, _body: bytes) -> list[tuple[int, bytes]]:
        self.dumps += 1
        return self.messages

    def as_kernel(self) -> Rtnetlink:
        return cast("Rtnetlink", self)


def entry(address: str, state: int, mac: bytes = b"") -> tuple[int, bytes]:
    index = socket.if_nametoindex("lo")
    body = NEIGHBOUR.pack(socket.AF_INET, 0, 0, index, state, 0, 0)
    hardware = attribute(2, mac) if mac else b""
    return NEW_NEIGHBOUR, body + attribute(1, socket.inet_aton(address)) + hardware


def test_loopback_of_this_machine_is_up_and_has_its_address() -> None:
    table = open_links()
    assert table is not None
    (loopback,) = (link for link in table.links() if link.loopback)
    table.close()
    assert (loopback.name, loopback.up, loopback.operstate, loopback.mac) == ("lo", True, "UNKNOWN", None)
    assert "127.0.0.1/8" in loopback.addresses
    assert loopback.mtu_bytes >= 1280


def test_the_counter_of_loopback_rises_with_what_is_sent() -> None:
    before = packets_out("lo")
    assert before is not None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(5):
            sock.sendto(b"x", ("127.0.0.1", 9))
    after = packets_out("lo")
    assert after is not None
    assert after >= before + 5


@pytest.mark.parametrize(
    ("number", "state"),
    [(1, "INCOMPLETE"), (2, "REACHABLE"), (4, "STALE"), (8, "DELAY"), (16, "PROBE"), (32, "FAILED"),
     (64, "NOARP"), (128, "PERMANENT"), (0, "NONE"), (3, "NONE")],
)
def test_every_state_has_its_name_and_an_unknown_one_claims_nothing(number: int, state: str) -> None:
    table = LinkTable(ScriptedKernel(entry("198.18.1.1", number)).as_kernel())
    found = table.neighbour("198.18.1.1", "lo")
    assert found is not None
    assert (found.state, found.mac) == (NeighbourState(state), None)


def test_one_dump_serves_all_callers_for_50_ms() -> None:
    now = [100.0]
    kernel = ScriptedKernel(entry("198.18.1.1", 2, b"\x02\0\0\0\0\x01"))
    table = LinkTable(kernel.as_kernel(), clock=lambda: now[0])
    for _ in range(500):
        assert table.neighbour("198.18.1.1", "lo") is not None
        assert table.neighbour("198.18.1.2", "lo") is None
    assert kernel.dumps == 1
    now[0] += 0.051
    kernel.messages = []
    assert table.neighbour("198.18.1.1", "lo") is None
    assert kernel.dumps == 2


def test_both_families_have_dumps_of_their_own() -> None:
    kernel = ScriptedKernel()
    table = LinkTable(kernel.as_kernel(), clock=lambda: 100.0)
    table.neighbour("198.18.1.1", "lo")
    table.neighbour("2001:db8::1", "lo")
    assert kernel.dumps == 2


@pytest.mark.parametrize("address", ["not an address", "", "198.18.1.1.1", "::g"])
def test_an_address_that_is_none_has_no_neighbour(address: str) -> None:
    assert LinkTable(ScriptedKernel().as_kernel()).neighbour(address, "lo") is None
