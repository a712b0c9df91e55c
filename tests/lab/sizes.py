"""What the wire shows of segment sizes: the same exchange with large and with small segments, by plain sockets.

Runs inside a vantage of the lab, after `wire.py` and with the same input: JSON lines of inventory fields. Its second
argument is what the path carries, in bytes of IP packet. Writes one JSON object, case to address to what was seen.
It shares no code with fleetprobe.
"""

from __future__ import annotations

import errno
import fcntl
import json
import socket
import ssl
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

STALL_S = 4.0
"""Longer than the three seconds after which a server with tcp_mtu_probing finds its way."""
DATAGRAM_S = 0.7
CLOSED_PORT = 33997
SMALL_MSS = 1240
SMALL_BYTES = 200
SPARE_BYTES = 200
"""Beyond two full segments: with so much filler a request takes two of them and a short one."""
SIOCGIFMTU = 0x8921
IP_RECVERR, IPV6_RECVERR, MSG_ERRQUEUE = 11, 25, 0x2000
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PROBE = 10, 23, 3
EXTENDED_ERROR = struct.Struct("=IBBBBII")
LINGER_RESET = struct.pack("ii", 1, 0)
# struct tcp_info, linux/tcp.h.
INFO_OFFSETS = {
    "snd_mss": 16, "rcv_mss": 20, "unacked": 24, "sacked": 28, "pmtu": 60, "rtt_us": 68, "retransmits": 100,
    "data_segments_in": 152, "out_of_order": 224,
}

Seen = dict[str, Any]


def observe(fields: dict[str, Any], ca_file: str, narrow: int) -> dict[str, Seen]:
    url = urlsplit(fields["target"])
    address, port = str(url.hostname), url.port or {"http": 80, "https": 443}[url.scheme]
    trust = ssl.create_default_context(cafile=ca_file) if url.scheme == "https" else None
    head = f"GET {url.path or '/'} HTTP/1.1\r\nHost: lab\r\n"
    widest = link_mtu("eth0")
    filler = "x" * (2 * widest + SPARE_BYTES)
    own, long = f"{head}\r\n".encode(), f"{head}X-Filler: {filler}\r\n\r\n".encode()
    headers = 60 if ":" in address else 40
    # Large segments first: what a router says of them is remembered for the whole machine.
    first = {"own_large": (own, None), "long_large": (long, None), "one_too_large": (long, narrow - headers + 1)}
    then = {"own_small": (own, SMALL_MSS), "long_small": (long, SMALL_MSS), "just_fits": (long, narrow - headers)}
    seen: Seen = {"narrow": narrow}
    for asked in (first, then):
        with ThreadPoolExecutor(len(asked)) as pool:
            talks = {name: pool.submit(exchange, address, port, *what, trust) for name, what in asked.items()}
        seen.update({name: talk.result() for name, talk in talks.items()})
    seen["datagrams"] = {"small": datagram(address, SMALL_BYTES), "full": datagram(address, widest)}
    return {address: seen}


def link_mtu(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFMTU, struct.pack("16sI20x", name.encode(), 0))
    return int(struct.unpack_from("I", answer, 16)[0])


def exchange(address: str, port: int, request: bytes, mss: int | None, trust: ssl.SSLContext | None) -> Seen:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    sock.settimeout(STALL_S)
    if mss is not None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, mss)
    start = time.monotonic()
    found: Seen = {"ending": "silent", "bytes": 0, "at_first": None}
    try:
        sock.connect((address, port))
        found["at_first"] = info(sock)
        if trust is not None:
            # Without the handshake at once: a failed one would take the socket and its story along.
            sock = trust.wrap_socket(sock, server_hostname=address, do_handshake_on_connect=False)
            sock.do_handshake()
        sock.sendall(request)
        found["ending"] = hear(sock, found)
    except TimeoutError:
        pass
    except ConnectionResetError:
        found["ending"] = "reset"
    except OSError as error:
        found["ending"] = type(error).__name__
    with sock:
        return {**found, **info(sock), "ms": (time.monotonic() - start) * 1000}


def hear(sock: socket.socket, found: Seen) -> str:
    data = b""
    while chunk := sock.recv(65536):
        data += chunk
        found["bytes"] = len(data)
        head, mark, body = data.partition(b"\r\n\r\n")
        sizes = [int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length:")]
        if mark and sizes and len(body) >= sizes[0]:
            return "whole"
    return "closed"


def info(sock: socket.socket) -> Seen:
    raw = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    return {name: struct.unpack_from("=I", raw, offset)[0] for name, offset in INFO_OFFSETS.items()}


def datagram(address: str, size: int) -> str:
    """What becomes of an unfragmented packet of `size` bytes to a closed port: refused, too big N, or silent."""
    v6 = ":" in address
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
        sock.setsockopt(level, IPV6_MTU_DISCOVER if v6 else IP_MTU_DISCOVER, PROBE)
        sock.setsockopt(level, IPV6_RECVERR if v6 else IP_RECVERR, 1)
        sock.settimeout(DATAGRAM_S)
        sock.connect((address, CLOSED_PORT))
        try:
            sock.send(b"?" * (size - (48 if v6 else 28)))
            sock.recv(64)
        except TimeoutError:
            return "silent"
        except OSError as error:
            told = EXTENDED_ERROR.unpack_from(sock.recvmsg(64, 512, MSG_ERRQUEUE)[1][0][2])
            return f"too big {told[5]}" if error.errno == errno.EMSGSIZE else errno.errorcode[error.errno or 0]
        return "answered"


def main() -> None:
    targets = [json.loads(line) for line in sys.stdin]
    with ThreadPoolExecutor(len(targets)) as pool:
        seen = list(pool.map(lambda fields: observe(fields, sys.argv[1], int(sys.argv[2])), targets))
    stuck = {
        address for one in seen for address, what in one.items()
        if what["own_large"]["ending"] == "silent" and what["own_small"]["ending"] == "whole"
    }
    for one in seen:
        for address, what in one.items():
            what["some_port_stuck"] = address in stuck
    json.dump({t["labels"]["case"]: s for t, s in zip(targets, seen, strict=True)}, sys.stdout)


if __name__ == "__main__":
    main()
