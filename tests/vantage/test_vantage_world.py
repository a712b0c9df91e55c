"""The doctor on machines made for it: gateways that live and do not, cables pulled, resolvers dead and alive."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fleetprobe.lab.preflight import UNSHARE, preflight

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
RESOLVER = """
import socket, struct
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    query, peer = sock.recvfrom(4096)
    sock.sendto(query[:2] + bytes.fromhex("8180 0001 0000 0000 0000") + query[12:17], peer)
"""
# A neighbour in a namespace of its own is the gateway; what follows is run beside it, the doctor last.
WORLD = """
set -e
mount --bind "$1" /etc/resolv.conf
for name in all default; do echo 0 > /proc/sys/net/ipv6/conf/$name/accept_dad; done
ip link set lo up
gateway="$2/gateway"; : > "$gateway"
unshare --net mount --bind /proc/self/ns/net "$gateway"
ip link add eth0 type veth peer name peer0 netns "$gateway"
beside() { nsenter --net="$gateway" "$@"; }
beside ip link set lo up
beside ip addr add 198.18.5.9/24 dev peer0
beside ip -6 addr add 2001:db8:5::9/64 dev peer0 nodad
beside ip link set peer0 up
ip addr add 198.18.5.1/24 dev eth0
ip -6 addr add 2001:db8:5::1/64 dev eth0 nodad
ip link set eth0 up
for try in $(seq 50); do ip -o link show eth0 | grep -q 'state UP' && break; sleep 0.05; done
ip route add default via 198.18.5.9
ip -6 route add default via 2001:db8:5::9
"$PYTHON" -c "$RESOLVER" > "$2/resolver" & answering=$!
for try in $(seq 50); do [ -s "$2/resolver" ] && break; sleep 0.05; done
eval "$CHANGE"
code=0
"$PYTHON" -m fleetprobe doctor $FLAGS || code=$?
kill $answering
exit $code
"""


@dataclass(frozen=True)
class Told:
    """What the doctor said."""

    code: int
    rows: list[dict[str, Any]]

    def of(self, name: str) -> list[tuple[str, str]]:
        return [(row["outcome"], row["summary"]) for row in self.rows if row["check"] == name]

    def facts(self, name: str) -> dict[str, Any]:
        facts: dict[str, Any] = next(row["facts"] for row in self.rows if row["check"] == name)
        return facts


def doctor(place: Path, change: str = "", flags: str = "", resolv: str = "nameserver 127.0.0.1\n") -> Told:
    problems = preflight()
    if problems:
        reason = "no namespaces here: " + "; ".join(map(str, problems))
        (pytest.fail if os.environ.get("FLEETPROBE_REQUIRE_LAB") == "1" else pytest.skip)(reason)
    (place / "resolv.conf").write_text(resolv)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "RESOLVER": RESOLVER}
    done = subprocess.run(
        [*UNSHARE, "sh", "-c", WORLD, "sh", str(place / "resolv.conf"), str(place)],
        env={**environment, "CHANGE": change, "FLAGS": flags},
        capture_output=True, text=True, timeout=60, check=False, cwd=place,
    )
    assert done.stdout, done.stderr
    return Told(done.returncode, [json.loads(line) for line in done.stdout.splitlines()])


def test_a_machine_in_order_with_a_living_gateway_and_resolver(tmp_path: Path) -> None:
    told = doctor(tmp_path)
    assert told.code == 0
    assert told.of("interface") == [
        ("pass", "eth0 is up with carrier, MTU 1500, 198.18.5.1/24 2001:db8:5::1/64")
    ]
    assert told.of("route") == [
        ("pass", "IPv4 leaves by 198.18.5.9 dev eth0, which answers"),
        ("pass", "IPv6 leaves by 2001:db8:5::9 dev eth0, which answers"),
    ]
    ((outcome, summary),) = told.of("resolver")
    assert outcome == "pass"
    assert summary.startswith("127.0.0.1:53 answers in ")
    assert told.facts("ping")["errno_name"] == "EACCES"


def test_a_gateway_that_is_not_there_spoils_the_scan_in_both_families(tmp_path: Path) -> None:
    told = doctor(tmp_path, "ip route replace default via 198.18.5.77; ip -6 route replace default via 2001:db8:5::77")
    assert told.code == 1
    assert [outcome for outcome, _ in told.of("route")] == ["fail", "fail"]
    assert all("does not answer ARP/ND" in summary for _, summary in told.of("route"))
    assert told.facts("route")["gateway_state"] in ("INCOMPLETE", "FAILED")


def test_with_offline_nothing_leaves_and_nothing_is_claimed(tmp_path: Path) -> None:
    change = (
        "ip route replace default via 198.18.5.77\n"
        "nft 'add table inet spy; add chain inet spy out { type filter hook output priority 0; }'\n"
        "nft add rule inet spy out meta nfproto ipv4 counter\n"
        "trap 'nft list table inet spy > seen' EXIT\n"
    )
    told = doctor(tmp_path, change, "--offline")
    assert told.code == 0
    assert told.of("resolver") == [("skipped", "127.0.0.1:53 was not asked (--offline)")]
    assert "to which nothing was sent lately" in told.of("route")[0][1]
    assert "packets 0 bytes 0" in (tmp_path / "seen").read_text()


def test_a_pulled_cable_is_seen_at_the_interface(tmp_path: Path) -> None:
    told = doctor(tmp_path, "beside ip link set peer0 down; sleep 0.2", "--offline")
    assert told.code == 1
    failed = [summary for outcome, summary in told.of("interface") if outcome == "fail"]
    assert any("eth0 has no carrier" in summary for summary in failed), told.of("interface")


def test_without_ipv6_there_is_a_warning_and_without_anything_a_failure(tmp_path: Path) -> None:
    told = doctor(tmp_path, "ip -6 route flush table main", "--offline")
    assert told.code == 0
    assert [outcome for outcome, _ in told.of("route")] == ["pass", "warn"]
    told = doctor(tmp_path, "ip link set eth0 down", "--offline")
    assert told.code == 1
    assert [outcome for outcome, _ in told.of("route")] == ["fail", "fail"]


def test_dead_resolvers_spoil_the_scan_only_when_all_are(tmp_path: Path) -> None:
    told = doctor(tmp_path, resolv="nameserver 198.18.5.9\nnameserver 127.0.0.1\n")
    assert told.code == 0
    assert [outcome for outcome, _ in told.of("resolver")] == ["warn", "pass"]
    told = doctor(tmp_path, "nft add table inet f; nft 'add chain inet f i { type filter hook input priority 0; }'; "
                  "nft add rule inet f i udp dport 53 drop", resolv="nameserver 198.18.5.9\nnameserver 127.0.0.1\n")
    assert told.code == 1
    (refused, _), (silent, why) = told.of("resolver")
    assert (refused, silent) == ("fail", "fail")
    assert "is silent" in why


def test_limits_of_the_namespace_are_its_own(tmp_path: Path) -> None:
    told = doctor(
        tmp_path,
        "echo '40000 40019' > /proc/sys/net/ipv4/ip_local_port_range\n"
        "echo '0 0' > /proc/sys/net/ipv4/ping_group_range\n"
        "ip link set eth0 mtu 500\n"
        "ulimit -n 100\n",
        "--offline",
    )
    assert told.code == 1
    assert told.of("ports")[0][0] == told.of("descriptors")[0][0] == "fail"
    assert told.of("ping") == [("pass", "echo requests are permitted")]
    assert told.facts("ports")["usable"] == 20
    assert told.of("interface")[0][0] == "warn"
