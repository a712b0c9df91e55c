"""The readers of this machine: real sockets and files are counted, odd or missing ones do no harm."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import trustme

from fleetprobe.net.live.netlink import Rtnetlink, attribute
from fleetprobe.vantage import anchors, routing, sysctl, tcp_table
from fleetprobe.vantage.facts import Conntrack, DefaultRoute, Hop, Ports, TcpCensus
from fleetprobe.vantage.kernel_clock import Watch

PORTS = Ports(low=32768, high=60999, reserved=0)
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def a_line(local: str, remote: str, state: str, uid: int = 1000, inode: int = 0) -> str:
    return f"   0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000  {uid:>4}        0 {inode} 1 0 20\n"


def machine(place: Path, **files: str) -> Path:
    """A /proc with these files; `__` in a name is a slash."""
    for name, text in files.items():
        path = place / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return place


@contextmanager
def forgotten(pairs: int) -> Iterator[None]:
    """Connections on loopback that the far side closed and we did not: ours are in CLOSE-WAIT."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=pairs))
        for _ in range(pairs):
            ours = stack.enter_context(socket.socket())
            ours.connect(listener.getsockname())
            theirs, _ = listener.accept()
            theirs.close()
            assert ours.recv(1) == b""
        yield


# --- TCP states ------------------------------------------------------------------------------------------


def test_sockets_that_an_application_forgot_to_close_are_found_with_the_process_that_holds_them() -> None:
    def ours(found: TcpCensus) -> int:
        return sum(count for name, count in found.close_wait_owners.items() if name.endswith(f"({os.getpid()})"))

    before = ours(tcp_table.census(PORTS))
    with forgotten(40):
        found = tcp_table.census(PORTS)
        assert ours(found) - before == 40
        assert found.states["CLOSE-WAIT"] >= 40
        assert found.states["LISTEN"] >= 1
        assert found.complete
    assert ours(tcp_table.census(PORTS)) == before


def test_time_wait_is_counted_for_each_far_end_and_for_ports_the_kernel_chose(tmp_path: Path) -> None:
    lines = [a_line(f"0100007F:{port:04X}", "057100CB:01BB", "06") for port in range(40000, 40003)]
    lines += [a_line("0100007F:01BB", "067100CB:9C40", "06")] * 9
    lines += [a_line("0100007F:9C40", "067100CB:0050", "06"), a_line("0100007F:9C41", "067100CB:0050", "FF")]
    six = a_line("B80D0120000000000000000001000000:9C40", "B80D0120000000000000000002000000:01BB", "01")
    proc = machine(tmp_path, net__tcp=HEAD + "".join(lines), net__tcp6=HEAD + six)
    found = tcp_table.census(PORTS, proc)
    assert found.states == {"TIME-WAIT": 13, "ESTAB": 1, "0xff": 1}
    assert (found.busiest_far_end, found.busiest_time_wait) == ("203.0.113.5:443", 3)
    assert tcp_table.census(None, proc).busiest_time_wait == 0


def test_a_far_end_of_either_family_is_written_as_an_address() -> None:
    assert tcp_table._end("0100007F:1F90") == "127.0.0.1:8080"
    assert tcp_table._end("B80D0120000000000000000002000000:01BB") == "[2001:db8::2]:443"
    assert tcp_table._end("nonsense") is None


def test_a_process_that_is_not_ours_to_see_is_told_by_its_user(tmp_path: Path) -> None:
    proc = machine(tmp_path, net__tcp=HEAD + a_line("0100007F:0050", "0100007F:9C40", "08", 33, 777))
    assert tcp_table.census(PORTS, proc).close_wait_owners == {"uid 33": 1}
    (proc / "71" / "fd").mkdir(parents=True)
    (proc / "71" / "comm").write_text("sh\x1bop\n")
    (proc / "71" / "fd" / "3").symlink_to("socket:[777]")
    (proc / "71" / "fd" / "4").symlink_to("/dev/null")
    assert tcp_table.census(PORTS, proc).close_wait_owners == {"sh\x1bop (71)": 1}


def test_without_a_table_or_with_a_broken_one_there_is_nothing_to_count(tmp_path: Path) -> None:
    assert tcp_table.census(PORTS, tmp_path).states == {}
    proc = machine(tmp_path, net__tcp=HEAD + "no table at all\n" + "x y z zz 1 2 3 4 5 6 7 8\n", net__tcp6="")
    assert tcp_table.census(PORTS, proc).states == {}


def test_a_table_longer_than_the_bound_is_read_up_to_it_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_table, "_MOST_LINES", 3)
    proc = machine(tmp_path, net__tcp=HEAD + a_line("0100007F:0050", "0100007F:9C40", "01") * 9)
    found = tcp_table.census(PORTS, proc)
    assert (found.states, found.complete) == ({"ESTAB": 3}, False)


# --- limits and settings ---------------------------------------------------------------------------------


def test_source_ports_are_the_range_without_the_reserved_ones(tmp_path: Path) -> None:
    proc = machine(
        tmp_path,
        sys__net__ipv4__ip_local_port_range="40000\t40009\n",
        sys__net__ipv4__ip_local_reserved_ports="53,39990-40001,40005,40005,40008-99999999,no-port\n",
    )
    found = sysctl.ports(proc)
    assert found == Ports(low=40000, high=40009, reserved=5)
    assert found.usable == 5
    assert sysctl.ports(tmp_path / "none") is None


def test_this_machines_own_limits_can_be_read() -> None:
    ports, rights, settings = sysctl.ports(), sysctl.ping_rights(), sysctl.tcp_settings()
    assert ports is not None
    assert 0 < ports.low <= ports.high < 65536
    assert rights.lowest_group is not None
    assert settings.tcp_syn_retries is not None
    assert (sysctl.descriptors().soft or 1) > 0


def test_ping_rights_are_what_the_kernel_does_and_not_what_the_range_seems_to_say(tmp_path: Path) -> None:
    status = machine(tmp_path, self__status="Name:\tx\nCapEff:\t0000000000002000\n",
                     sys__net__ipv4__ping_group_range="0\t4294967295\n")
    seen, real = sysctl.ping_rights(status), sysctl.ping_rights()
    assert (seen.in_range, seen.raw_sockets) == (True, True)
    assert seen.errno_name == real.errno_name
    nothing = sysctl.ping_rights(tmp_path / "none")
    assert (nothing.lowest_group, nothing.in_range, nothing.raw_sockets) == (None, None, False)


def test_the_connection_table_is_read_where_there_is_one(tmp_path: Path) -> None:
    proc = machine(tmp_path, sys__net__netfilter__nf_conntrack_count="7\n", sys__net__netfilter__nf_conntrack_max="9\n")
    assert sysctl.conntrack(proc) == Conntrack(entries=7, most=9)
    (proc / "sys/net/netfilter/nf_conntrack_max").write_text("much\n")
    assert sysctl.conntrack(proc) is None
    assert sysctl.conntrack(tmp_path / "none") is None


# --- clock and trust -------------------------------------------------------------------------------------


def test_the_clock_reads_and_a_step_between_start_and_end_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch()
    now = watch.read()
    assert now.year == datetime.now(UTC).year
    assert abs(now.stepped_ms) < 50.0
    assert now.monotonic_resolution_ms < 1.0
    wall = time.time
    monkeypatch.setattr("fleetprobe.vantage.kernel_clock.time.time", lambda: wall() + 3.0)
    assert 2900.0 < watch.read().stepped_ms < 3100.0


def test_the_trust_store_tells_its_authorities_by_how_soon_they_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ones = [trustme.CA(organization_unit_name=f"unit {number}") for number in range(2)]
    path = tmp_path / "ca.pem"
    garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    path.write_bytes(b"".join(one.cert_pem.bytes() for one in [*ones, ones[0]]) + garbage)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    found = anchors.read()
    assert (found.source, found.count, found.skipped, found.expired) == (str(path), 2, 1, 0)
    assert len(found.soonest) == 2
    assert found.soonest[0].name.startswith("unit ")
    late = anchors.read(datetime.now(UTC) + timedelta(days=365 * 2000))
    assert (late.expired, late.soonest) == (2, ())


def test_a_trust_store_that_cannot_be_used_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path))
    assert "not a regular file" in (anchors.read().unusable or "")


# --- routes ----------------------------------------------------------------------------------------------

ROUTE = struct.Struct("=BBBBBBBBI")


class ScriptedKernel:
    """Answers every dump with the routes given."""

    def __init__(self, *routes: bytes) -> None:
        self.routes = routes

    def dump(self, _question: int, _body: bytes) -> list[tuple[int, bytes]]:
        return [(24, route) for route in self.routes]

    def as_kernel(self) -> Rtnetlink:
        return cast("Rtnetlink", self)


def a_route(*found: tuple[int, bytes], length: int = 0, table: int = 254, kind: int = 1, flags: int = 0) -> bytes:
    head = ROUTE.pack(socket.AF_INET, length, 0, 0, table, 0, 0, kind, flags)
    return head + b"".join(attribute(name, value) for name, value in found)


def index() -> bytes:
    return struct.pack("=I", socket.if_nametoindex("lo"))


def four(text: str) -> bytes:
    return socket.inet_aton(text)


def test_the_default_route_of_least_metric_in_the_main_table_comes_first_and_odd_ones_are_left_out() -> None:
    number = struct.Struct("=I").pack
    found = routing.ways(
        ScriptedKernel(
            a_route((4, index()), (5, four("192.0.2.9")), (6, number(50)), table=100),
            a_route((4, index()), (5, four("192.0.2.2")), (6, number(200))),
            a_route((4, index()), (5, four("192.0.2.1")), (6, number(100))),
            a_route((4, index()), (6, number(0)), kind=7),
            a_route((4, index()), flags=0x200),
            a_route((4, index()), table=255),
            a_route((5, four("192.0.2.3"))),
            a_route((1, four("198.51.100.0")), (4, index()), length=24),
            a_route((1, four("127.0.0.0")), (4, index()), length=8),
            b"short",
        ).as_kernel()
    )
    assert [way.family for way in found] == [4, 6]
    assert [(route.hops[0].gateway, route.metric, route.table) for route in found[0].defaults] == [
        ("192.0.2.1", 100, 254), ("192.0.2.2", 200, 254), ("192.0.2.9", 50, 100),
    ]
    assert found[0].networks == 1


def test_a_route_spread_over_several_hops_is_read_and_a_broken_list_of_hops_ends() -> None:
    (number,) = struct.unpack("=I", index())
    hop = attribute(5, four("192.0.2.1"))
    several = struct.pack("=HBBi", 8 + len(hop), 0, 0, number) + hop
    several += struct.pack("=HBBi", 8, 0, 0, number) + struct.pack("=HBBi", 0, 0, 0, number)
    (four_way, _) = routing.ways(ScriptedKernel(a_route((9, several))).as_kernel())
    hops = (Hop(gateway="192.0.2.1", interface="lo"), Hop(gateway=None, interface="lo"))
    assert four_way.defaults == (DefaultRoute(hops=hops, metric=0, table=254),)
    (four_way, _) = routing.ways(ScriptedKernel(a_route((9, b"\x01\x02"))).as_kernel())
    assert four_way.defaults == ()
