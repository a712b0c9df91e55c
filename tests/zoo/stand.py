"""Stands the zoo up on this machine's loopback addresses, and takes it down."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleetprobe.lab.programs import child_environment, find_program
from tests.zoo.book import PORT, Book, Nginx, OpenSsl, Server
from tests.zoo.files import INVENTORY, NGINX_CONF, PLAN, openssl_command, write_files
from tests.zoo.rows import write_book

_READY_S = 20.0
_POLL_S = 0.02
_END_S = 5.0
_V6_PORTS = 400


class ZooError(Exception):
    """The zoo does not stand: a program is missing, or a server did not come up."""


@dataclass(frozen=True, slots=True)
class Zoo:
    """A zoo that stands. All its files are in `directory`."""

    directory: Path
    book: Book

    @property
    def inventory(self) -> Path:
        """One line for every server."""
        return self.directory / INVENTORY

    @property
    def servers(self) -> Sequence[Server]:
        """All of them."""
        return self.book.servers


@contextmanager
def standing(directory: Path) -> Iterator[Zoo]:
    """The zoo, from when each of its servers listens. Raises ZooError."""
    programs = {name: _program(name) for name in ("nginx", "openssl")}
    book = write_book(_free_octet(), _free_ports())
    write_files(book, directory)
    with ExitStack() as stack:
        children = [_started(stack, _nginx_command(programs["nginx"], directory), directory, "nginx")]
        for server in book.servers:
            if isinstance(server.player, OpenSsl):
                command = openssl_command(server, directory, programs["openssl"])
                children.append(_started(stack, command, directory, server.name))
        children.append(_played(stack, directory))
        until = time.monotonic() + _READY_S
        for server in book.servers:
            if isinstance(server.player, Nginx | OpenSsl):
                _wait_until_open(server, until, children, directory)
        yield Zoo(directory, book)


def _program(name: str) -> str:
    found = find_program(name)
    if found is None:
        raise ZooError(f"{name} is not installed")
    return found


def _nginx_command(program: str, directory: Path) -> list[str]:
    return [program, "-p", str(directory), "-c", str(directory / NGINX_CONF), "-e", str(directory / "error.log")]


def _started(stack: ExitStack, command: Sequence[str], directory: Path, name: str) -> subprocess.Popen[bytes]:
    with open(directory / f"{name}.log", "wb") as log:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=child_environment())
    stack.callback(_end, child)
    return child


def _played(stack: ExitStack, directory: Path) -> subprocess.Popen[bytes]:
    """Our own servers, which say themselves when they listen and end with us."""
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    command = [sys.executable, "-m", "tests.zoo.played", str(directory / PLAN), str(writing)]
    with open(directory / "played.log", "wb") as log:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=(writing,), env=child_environment(),
        )
    os.close(writing)
    assert child.stdin is not None
    stack.callback(child.stdin.close)
    stack.callback(_end, child)
    ready, _, _ = select.select([reading], [], [], _READY_S)
    if not ready or os.read(reading, 16) != b"ready\n":
        raise ZooError(f"our own servers do not start: {_tail(directory / 'played.log')}")
    return child


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _wait_until_open(
    server: Server, until: float, children: Sequence[subprocess.Popen[bytes]], directory: Path
) -> None:
    family = socket.AF_INET6 if ":" in server.address else socket.AF_INET
    while True:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            if sock.connect_ex((server.address, server.port)) == 0:
                return
        name = "nginx" if isinstance(server.player, Nginx) else server.name
        log = directory / f"{name}.log"
        if time.monotonic() > until or any(child.poll() is not None for child in children):
            raise ZooError(f"{server.name} does not listen: {_tail(log)}")
        time.sleep(_POLL_S)


def _free_octet() -> int:
    """A second octet for 127.x.0.0/16 in which nobody listens on our port."""
    for step in range(200):
        octet = 20 + (os.getpid() + step) % 200
        if _is_free(f"127.{octet}.1.1", PORT):
            return octet
    raise ZooError(f"port {PORT} is taken on all of 127.0.0.0/8")


def _free_ports() -> int:
    """The first of a run of ports on ::1, below those that the kernel gives away."""
    for step in range(20):
        first = 20_000 + (os.getpid() * 7 + step * _V6_PORTS) % 8_000
        if all(_is_free("::1", first + offset) for offset in range(_V6_PORTS)):
            return first
    raise ZooError("no run of free ports on ::1")


def _is_free(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((address, port))
        except OSError:
            return False
    return True


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-500:] if log.exists() else "nothing was said"
