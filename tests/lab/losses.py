"""How many of 200 datagrams to a closed port are answered, for each target. Runs inside a vantage of the lab.

Reads JSON lines of inventory fields from stdin and writes one JSON object, case to number. It shares no code with
fleetprobe.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from urllib.parse import urlsplit

CLOSED_PORT = 33998
DATAGRAMS = 200
PAUSE_S = 0.0015
"""Kernels answer about a thousand in a second."""
PATIENCE_S = 0.5


def main() -> None:
    asked: dict[str, list[socket.socket]] = {}
    for fields in map(json.loads, sys.stdin):
        address = str(urlsplit(fields["target"]).hostname)
        asked[fields["labels"]["case"]] = [send(address) for _ in range(DATAGRAMS)]
    time.sleep(PATIENCE_S)
    json.dump({case: sum(refused(sock) for sock in sockets) for case, sockets in asked.items()}, sys.stdout)


def send(address: str) -> socket.socket:
    """A datagram over a socket of its own, for a socket remembers only one refusal."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.connect((address, CLOSED_PORT))
    sock.send(b"?")
    time.sleep(PAUSE_S)
    return sock


def refused(sock: socket.socket) -> bool:
    with sock:
        try:
            sock.recv(1)
        except ConnectionRefusedError:
            return True
        except BlockingIOError:
            return False
    return False


if __name__ == "__main__":
    main()
