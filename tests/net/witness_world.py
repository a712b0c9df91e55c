"""A routed world for the witnesses: cl - r1 - r2 - sv in namespaces, one address for each fault.

Run under `unshare` by the tests beside it, with an empty directory as its argument. Reads pickled orders from
stdin, ("sh", place, script) or ("ask", loop, {name: (verb, arguments, named arguments)}), and writes pickled
answers to stdout. The verbs run in cl without any capability.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import uvloop

PLACES = ("cl", "r1", "r2", "sv")
LINKS = (
    ("cl", "eth0", "198.18.1.10/24", "2001:db8:1::10/64", "r1", "c0", "198.18.1.1/24", "2001:db8:1::1/64"),
    ("r1", "m0", "198.18.12.1/24", "2001:db8:12::1/64", "r2", "m0", "198.18.12.2/24", "2001:db8:12::2/64"),
    ("r2", "s0", "203.0.113.1/24", "2001:db8:3::1/64", "sv", "eth0", "203.0.113.10/24", "2001:db8:3::10/64"),
)
SERVED = (*range(11, 20), *range(20, 26), *range(30, 34), *range(40, 44), 50)
"""Last parts of the further addresses of sv, in decimal for IPv4 and IPv6 alike."""
ROUTES = {
    "cl": (
        "default via 198.18.1.1", "default via 2001:db8:1::1",
        "blackhole 198.18.210.0/24", "prohibit 198.18.211.0/24", "unreachable 198.18.212.0/24",
        "blackhole 2001:db8:210::/64", "prohibit 2001:db8:211::/64", "unreachable 2001:db8:212::/64",
    ),
    "r1": (
        "203.0.113.0/24 via 198.18.12.2", "2001:db8:3::/64 via 2001:db8:12::2",
        "203.0.113.14 via 198.18.12.2 mtu 1400", "2001:db8:3::14 via 2001:db8:12::2 mtu 1400",
        "198.51.100.0/24 via 198.18.12.2", "2001:db8:51::/64 via 2001:db8:12::2",
        "blackhole 198.18.200.0/24", "prohibit 198.18.201.0/24", "unreachable 198.18.202.0/24",
        "blackhole 2001:db8:200::/64", "prohibit 2001:db8:201::/64", "unreachable 2001:db8:202::/64",
    ),
    "r2": (
        "198.18.1.0/24 via 198.18.12.1", "2001:db8:1::/64 via 2001:db8:12::1",
        "198.51.100.0/24 via 198.18.12.1", "2001:db8:51::/64 via 2001:db8:12::1",
    ),
    "sv": ("default via 203.0.113.1", "default via 2001:db8:3::1"),
}
# Each rule is made once for IPv4 and once for IPv6; `nft` below says what its words stand for.
RULES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cl": {"output": (
        "{to}30 drop", "{to}31 meta l4proto tcp drop",
        "{to}32 meta l4proto tcp reject with tcp reset", "{to}33 reject with icmpx admin-prohibited",
    )},
    "r1": {
        "prerouting": (
            "{to}43 meta l4proto udp {ttl} 3 drop",
            "{to}50 {ttl} 2-12 {ttl} set 1", "{to}50 {ttl} 13 {ttl} set 2", "{to}50 {ttl} 14 {ttl} set 3",
            "{to}50 {ttl} 15 {ttl} set 4", "{to}50 {ttl} 16 {ttl} set 5",
        ),
        "forward": (
            "{to}20 tcp dport 443 reject with tcp reset", "{to}41 tcp dport 443 reject with tcp reset",
            "{to}22 tcp dport 443 reject with icmpx admin-prohibited",
            "{to}24 meta l4proto udp reject with icmpx port-unreachable",
            "{to}15 meta length > 1400 drop", "{to}17 meta length > 1400 drop",
        ),
    },
    "r2": {"forward": (
        "{to}11 tcp dport 443 drop", "{to}13 drop", "{to}25 meta l4proto {icmp} drop",
        "{by}16 meta length > 1400 drop", "{by}17 meta length > 1400 drop",
        "{by}19 meta length > 1400 limit rate 1/hour burst 1 packets drop",
        "{by}18 meta l4proto {icmp} limit rate over 1/second burst 5 packets drop",
    )},
    "sv": {"input": (
        "{to}21 tcp dport 443 reject with icmpx port-unreachable",
        "{to}40 meta l4proto udp drop", "{to}41 meta l4proto udp drop",
    )},
}
SYSCTL = (
    ("ipv6/conf/all/accept_dad", "0"), ("ipv6/conf/default/accept_dad", "0"),
    ("ipv6/conf/all/accept_ra", "0"), ("ipv6/conf/default/accept_ra", "0"),
    ("ipv4/icmp_ratelimit", "0"), ("ipv6/icmp/ratelimit", "0"), ("ipv4/icmp_ratemask", "0"),
    ("ipv6/icmp/ratemask", "''"),  # else the limit of 50 errors in one burst holds, whatever the rate
    ("ipv4/conf/all/rp_filter", "0"), ("ipv4/conf/default/rp_filter", "0"),
)
ROUTING = (
    ("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/send_redirects", "0"), ("ipv4/conf/default/send_redirects", "0"),
)
ORDER = struct.Struct("!II")
TALKING = 7001
STATE = Path(sys.argv[1])
LIFETIME_S = 600


def nft(place: str) -> str:
    four = {"to": "ip daddr 203.0.113.", "by": "ip saddr 203.0.113.", "ttl": "ip ttl", "icmp": "icmp"}
    six = {"to": "ip6 daddr 2001:db8:3::", "by": "ip6 saddr 2001:db8:3::", "ttl": "ip6 hoplimit", "icmp": "ipv6-icmp"}
    lines = ["table inet world {"]
    for hook, rules in RULES.get(place, {}).items():
        lines += [f"chain {hook} {{", f"type filter hook {hook} priority filter; policy accept;"]
        lines += [rule.format(**words) for rule in rules for words in (four, six)]
        lines.append("}")
    return "\n".join([*lines, "}"])


def inside(place: str, script: str) -> None:
    command = ["nsenter", f"--net={STATE / place}", "sh", "-e", "-s"]
    subprocess.run(command, input=script, text=True, check=True, stdout=subprocess.DEVNULL)


def build() -> None:
    for place in PLACES:
        script = f": > {STATE / place}; unshare --net mount --bind /proc/self/ns/net {STATE / place}"
        subprocess.run(["sh", "-c", script], check=True)
        # Who may ping is left closed in sv, as every new namespace has it.
        further = {"cl": (("ipv4/ping_group_range", "0 0"),), "r1": ROUTING, "r2": ROUTING}
        settings = SYSCTL + further.get(place, ())
        inside(place, "\n".join(f"echo {value} > /proc/sys/net/{key}" for key, value in settings))
    for one, device, _, _, other, peer, _, _ in LINKS:
        script = f"ip link add {device} netns {STATE / one} type veth peer name {peer} netns {STATE / other}"
        subprocess.run(script.split(), check=True)
    devices = [(one, device, four, six) for one, device, four, six, *_ in LINKS]
    devices += [(other, peer, four, six) for *_, other, peer, four, six in LINKS]
    for place, device, _, _ in devices:
        # Else what crosses a veth is a super-packet, and rules about sizes see that.
        inside(place, f"ethtool -K {device} tso off gso off gro off")
        inside(place, f"ip link set lo up; ip link set {device} up")
    for place, device, four, six in devices:
        inside(place, f"ip address add {four} dev {device}; ip address add {six} dev {device} nodad")
    served = [f"ip address add 203.0.113.{n}/32 dev eth0; ip address add 2001:db8:3::{n}/128 dev eth0 nodad"
              for n in SERVED]
    inside("sv", "\n".join(served))
    for place, routes in ROUTES.items():
        adding = [f"ip {'-6' if '::' in route else '-4'} route add {route}" for route in routes]
        inside(place, "\n".join(adding))
        inside(place, f"nft -f - <<'RULES'\n{nft(place)}\nRULES")


def serve() -> None:
    """Port 80 of every address accepts nothing, as the kernel completes handshakes by itself; port 7001 talks."""
    listeners = []
    for family, anywhere in ((socket.AF_INET, ""), (socket.AF_INET6, "::")):
        sock = socket.socket(family)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((anywhere, 80))
        sock.listen(1024)
        listeners.append(sock)
        talker = socket.create_server((anywhere, TALKING), family=family, backlog=64)
        threading.Thread(target=talk, args=(talker,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()


def talk(listener: socket.socket) -> None:
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=reply, args=(peer,), daemon=True).start()


def reply(peer: socket.socket) -> None:
    """Take a request that says how long it is and how long the answer should be; answer it once it is whole."""
    with peer:
        peer.settimeout(10)
        try:
            request = peer.recv(ORDER.size, socket.MSG_WAITALL)
            whole, wished = ORDER.unpack(request)
            while len(request) < whole:
                request += peer.recv(65536) or b"-" * whole
            peer.sendall(bytes(wished))
            peer.recv(1)
        except (OSError, struct.error):
            return


async def exchange(
    reactor: Any, address: Any, port: int, request_bytes: int, reply_bytes: int, until_s: float, *,
    hole_s: float | None = None, mss_bytes: int | None = None, expected: int | None = None,
) -> dict[str, Any]:
    """Dial, send a request of one size and wait for the whole answer of another, or for more, as `expected`."""
    from fleetprobe.net.interface import Segments
    from fleetprobe.net.live import tcp

    expected = reply_bytes if expected is None else expected
    dial, stream = await tcp.dial(reactor, address, port, until_s, segments=Segments(mss_bytes=mss_bytes))
    if stream is None:
        return {"dial": dial}
    try:
        began = reactor.now()
        await stream.send(ORDER.pack(request_bytes, reply_bytes).ljust(request_bytes, b"."), until_s)
        received, got = 0, None
        while received < expected or got is None:
            got = await stream.receive(65536, until_s, hole_s)
            received += len(got.data)
            if not got.data:
                break
        return {"dial": dial, "received": received, "got": got, "waited_s": got.at_s - began, "info": stream.info()}
    finally:
        stream.abort()


async def hello(
    reactor: Any, address: Any, port: int, until_s: float, *,
    hole_s: float | None = None, mss_bytes: int | None = None,
) -> Any:
    """Dial and say a TLS hello, as large as it is by itself."""
    from fleetprobe.net.handshake import Hello
    from fleetprobe.net.interface import Segments
    from fleetprobe.net.live import tcp, tls

    _, stream = await tcp.dial(reactor, address, port, until_s, segments=Segments(mss_bytes=mss_bytes))
    assert stream is not None
    try:
        shaker = tls.Handshaker(reactor.turn, reactor.now, reactor.lag_ms)
        return (await shaker.handshake(stream, Hello(server_name="a.test"), until_s, hole_s))[0]
    finally:
        stream.abort()


async def answer(questions: Mapping[str, tuple[str, tuple[Any, ...], dict[str, Any]]]) -> dict[str, Any]:
    from fleetprobe.net.live import df, knock, links, ping, reactor, rst_origin, udp, walk

    reacting = reactor.Reactor(asyncio.get_running_loop())
    table = links.open_links()
    assert table is not None
    verbs: dict[str, Any] = {
        "knock": knock.knock, "walk": walk.walk, "ping": ping.ping, "poke": udp.poke,
        "rst_origin": rst_origin.rst_origin, "df_search": df.df_search, "exchange": exchange,
        "hello": hello,
    }
    kernel: dict[str, Any] = {
        "links": table.links, "neighbour": table.neighbour, "packets_out": links.packets_out,
    }

    async def one(verb: str, words: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, float]:
        started = time.monotonic()
        if verb in kernel:
            return kernel[verb](*words), time.monotonic() - started
        *place, within_s = words
        answered = await verbs[verb](reacting, *place, reacting.now() + within_s, **named)
        return answered, time.monotonic() - started

    try:
        found = await asyncio.gather(*(one(*question) for question in questions.values()))
        open_files = len(os.listdir("/proc/self/fd"))
        return dict(zip(questions, found, strict=True)) | {"open files": (open_files, 0.0)}
    finally:
        reacting.close()
        table.close()


def agent(loop: str) -> None:
    """Ask from inside cl, without privileges."""
    while True:
        try:
            questions = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        runner = uvloop.run if loop == "uvloop" else asyncio.run
        pickle.dump(runner(answer(questions)), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def start(place: str, *argv: str, plain: bool = True) -> subprocess.Popen[bytes]:
    drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"] if plain else []
    command = ["nsenter", f"--net={STATE / place}", *drop, sys.executable, __file__, str(STATE), *argv]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def obey(orders: BinaryIO, answers: BinaryIO, agents: Mapping[str, subprocess.Popen[bytes]]) -> None:
    while True:
        try:
            order = pickle.load(orders)
        except EOFError:
            return
        if order[0] == "sh":
            told: Any = None
            try:
                inside(order[1], order[2])
            except subprocess.CalledProcessError as no:
                told = no
        else:
            pipes = agents[order[1]]
            assert pipes.stdin is not None
            assert pipes.stdout is not None
            pickle.dump(order[2], pipes.stdin)
            pipes.stdin.flush()
            told = pickle.load(pipes.stdout)
        pickle.dump(told, answers)
        answers.flush()


def main() -> None:
    match sys.argv[2:]:
        case ["serve"]:
            serve()
        case ["agent", loop]:
            agent(loop)
        case _:
            reign()


def reign() -> None:
    signal.alarm(LIFETIME_S)
    subprocess.run(["mount", "-t", "tmpfs", "world", str(STATE)], check=True)
    build()
    server = start("sv", "serve", plain=False)
    assert server.stdout is not None
    if server.stdout.readline() != b"ready\n":
        sys.exit("the server did not start")
    agents = {loop: start("cl", "agent", loop) for loop in ("asyncio", "uvloop")}
    agents["in sv"] = start("sv", "agent", "uvloop")
    pickle.dump("ready", sys.stdout.buffer)
    sys.stdout.buffer.flush()
    obey(sys.stdin.buffer, sys.stdout.buffer, agents)


if __name__ == "__main__":
    main()
