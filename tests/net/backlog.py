"""A port of loopback that is silent without a firewall: its backlog is full, so that the kernel drops SYNs."""

from __future__ import annotations

import socket

HOST = "127.0.0.1"


class Full:
    """A listener whose full backlog drops SYNs until it is `opened`."""

    def __init__(self) -> None:
        self.server = socket.socket()
        self.server.bind((HOST, 0))
        self.server.listen(0)
        self.port = int(self.server.getsockname()[1])
        self._callers = [socket.socket() for _ in range(3)]
        for caller in self._callers:
            caller.setblocking(False)
            caller.connect_ex(self.server.getsockname())

    def opened(self) -> None:
        """From now on a SYN is answered."""
        self.server.listen(64)

    def shut(self) -> None:
        """From now on a SYN is refused."""
        self.server.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the port."""
        for one in (*self._callers, self.server):
            one.close()
