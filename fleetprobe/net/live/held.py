"""Connections kept open a little after their climb: a witness for the day when only new ones die."""

from __future__ import annotations

import errno
import socket
from collections import OrderedDict
from socket import SocketType

from fleetprobe.net.interface import Address, Dial
from fleetprobe.net.live.reactor import Reactor
from fleetprobe.net.live.stream import close, tcp_info
from fleetprobe.net.survey import Held

_MOST = 64
_LONGEST_S = 10.0
_FRESH_ACK_MS = 1500.0
"""Keepalives leave every second; an acknowledgement younger than this answers one of the last two."""


class Holder:
    """Keeps at most one connection per address, 64 in all, ten seconds each."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._held: OrderedDict[str, tuple[SocketType, Dial]] = OrderedDict()

    def take(self, sock: SocketType, dial: Dial) -> bool:
        """Keep an open connection; False when it is not wanted, and stays the caller's."""
        self.let_go()
        if dial.address.text in self._held or len(self._held) >= _MOST:
            return False
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
        except OSError:
            return False
        self._held[dial.address.text] = (sock, dial)
        return True

    def ask(self, address: Address) -> Held | None:
        """How the connection kept to this address is doing; None: there is none."""
        self.let_go()
        kept = self._held.get(address.text)
        if kept is None:
            return None
        sock, dial = kept
        info = tcp_info(sock)
        lives = _open(sock) and info is not None and info.last_ack_received_ms <= _FRESH_ACK_MS
        return Held(port=dial.port, age_s=self._reactor.now() - dial.ended_s, lives=lives)

    def drop(self, address: Address) -> None:
        """Close the one kept to this address: its source port is wanted."""
        kept = self._held.pop(address.text, None)
        if kept is not None:
            close(kept[0], self._reactor)

    def close(self) -> None:
        """Close every one."""
        while self._held:
            _, (sock, _) = self._held.popitem()
            close(sock, self._reactor)

    def let_go(self) -> None:
        """Close those that have been kept long enough."""
        oldest = next(iter(self._held.values()), None)
        while oldest is not None and self._reactor.now() - oldest[1].ended_s > _LONGEST_S:
            self._held.popitem(last=False)
            close(oldest[0], self._reactor)
            oldest = next(iter(self._held.values()), None)


def _open(sock: SocketType) -> bool:
    """Whether the peer has neither closed nor reset it."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except OSError as no:
        return no.errno in (errno.EAGAIN, errno.EWOULDBLOCK)
