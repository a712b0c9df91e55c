"""Everything that runs on the server machine of the lab: scripted servers, name server, nginx and dnsmasq.

Run as `python -m fleetprobe.lab.serve PLAN READY_FD`; ends with its parent, or when a daemon ends.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from fleetprobe.lab.conversation import converse
from fleetprobe.lab.daemons import by_nginx, dnsmasq_config, dnsmasq_hosts, nginx_config
from fleetprobe.lab.elsewhere import inside
from fleetprobe.lab.nameserver import entries_of, serve_names
from fleetprobe.lab.pki import authority_file, issuer_file, server_file
from fleetprobe.lab.plan import Plan
from fleetprobe.lab.scenario import ClientCertificate, Place, Scenario, Server, Step, TlsRules, TlsVersion, Verb
from fleetprobe.lab.topology import AUTHORITY, DNS_PORT, RESOLVER, namespace_file

_VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1}
_LISTEN_BACKLOG = 512
NO_RULES = TlsRules()
_MAX_TALKS = 1024
_FILLERS = 4
_READY_S = 10.0
_POLL_S = 0.02
_ERROR_PAUSE_S = 0.1
# linux/tcp.h: for a listening socket tcpi_unacked is the length of the accept queue, tcpi_sacked its limit.
_TCP_INFO_QUEUE_BYTES = slice(24, 28)
_TCP_INFO_LIMIT_BYTES = slice(28, 32)


def listen(address: str, port: int, backlog: int = _LISTEN_BACKLOG) -> socket.socket:
    """A non-blocking listening socket on one literal address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.setblocking(False)
    sock.bind((address, port))
    sock.listen(backlog)
    return sock


_VERSIONS = {
    TlsVersion.ONE_ONE: ssl.TLSVersion.TLSv1_1,
    TlsVersion.ONE_TWO: ssl.TLSVersion.TLSv1_2,
    TlsVersion.ONE_THREE: ssl.TLSVersion.TLSv1_3,
}


def tls_context(
    file: Path, rules: TlsRules = NO_RULES, names: Sequence[str] = (), authority: Path | None = None
) -> ssl.SSLContext:
    """A server context with the chain and key of one PEM file, which insists on what the rules say.

    `names` are those that may be asked for, `authority` is the PEM file of whoever must have issued a client's
    certificate; each matters only where a rule asks for it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    context.set_alpn_protocols(["http/1.1"])
    if rules.version is not None:
        with warnings.catch_warnings():
            # Python warns of versions that are retired; that they are is the fault to be shown.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = _VERSIONS[rules.version]
    if rules.ciphers is not None:
        context.set_ciphers(rules.ciphers)
    if rules.client_certificate is not None:
        demanded = rules.client_certificate is ClientCertificate.DEMANDED
        context.verify_mode = ssl.CERT_REQUIRED if demanded else ssl.CERT_OPTIONAL
        context.load_verify_locations(authority)
    if rules.named:
        known = frozenset(names)
        context.sni_callback = lambda _, name, __: None if name in known else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    return context


def context_of(pki: Path, scenario: Scenario, server: Server) -> ssl.SSLContext | None:
    """The context of a server of the lab; None: it speaks no TLS."""
    if server.certificate is None:
        return None
    names = scenario.certificate_names(server)
    return tls_context(server_file(pki, scenario, server), server.tls, names, authority_file(pki))


def with_issuer(pki: Path, server: Server) -> Server:
    """The server with the certificate written out that its steps are to send."""
    if all(step.verb is not Verb.ISSUER for step in server.steps):
        return server
    der = issuer_file(pki).read_bytes()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/pkix-cert\r\nContent-Length: %d\r\n\r\n" % len(der)
    said = Step(Verb.HEX, (head + der).hex())
    return replace(server, steps=tuple(said if step.verb is Verb.ISSUER else step for step in server.steps))


async def accept_forever(sock: socket.socket, server: Server, context: ssl.SSLContext | None) -> None:
    """Play the server's script on every connection, a bounded number of them at once."""
    loop = asyncio.get_running_loop()
    talks: set[asyncio.Task[None]] = set()
    while True:
        try:
            connection, _ = await loop.sock_accept(sock)
        except OSError:  # Out of descriptors, or the peer left while it waited: neither ends the server.
            await asyncio.sleep(_ERROR_PAUSE_S)
            continue
        if len(talks) >= _MAX_TALKS:
            connection.close()
            continue
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        talk = asyncio.create_task(converse(connection, server.steps, context))
        talks.add(talk)
        talk.add_done_callback(talks.discard)


async def fill_backlog(listener: socket.socket) -> list[socket.socket]:
    """Connect to a listener that never accepts until its queue is full; keep the returned sockets open."""
    loop = asyncio.get_running_loop()
    fillers: list[socket.socket] = []
    for _ in range(_FILLERS):
        filler = socket.socket(listener.family, socket.SOCK_STREAM)
        filler.setblocking(False)
        fillers.append(filler)
        try:
            async with asyncio.timeout(_READY_S / _FILLERS):
                await loop.sock_connect(filler, listener.getsockname()[:2])
        except TimeoutError:
            break
        if _queue_is_full(listener):
            return fillers
    raise RuntimeError(f"the accept queue of {listener.getsockname()} did not fill")


def _queue_is_full(listener: socket.socket) -> bool:
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 64)
    queued = int.from_bytes(info[_TCP_INFO_QUEUE_BYTES], sys.byteorder)
    return queued > int.from_bytes(info[_TCP_INFO_LIMIT_BYTES], sys.byteorder)


@dataclass(slots=True)
class ServerRoom:
    """What must stay alive for as long as the servers do."""

    tasks: list[asyncio.Task[None]]
    sockets: list[socket.socket]

    async def open(
        self, server: Server, endpoints: Sequence[tuple[str, int]], context: ssl.SSLContext | None,
        namespace: Path | None = None,
    ) -> list[int]:
        """Start one scripted server on every endpoint (address and port; 0 for any). The ports in use.

        `namespace` is the file of a network namespace in which to listen, if not our own.
        """
        ports: list[int] = []
        for address, port in endpoints:
            with inside(namespace) if namespace else nullcontext():
                listener = listen(address, port, 1 if server.backlog_full else _LISTEN_BACKLOG)
            self.sockets.append(listener)
            ports.append(int(listener.getsockname()[1]))
            if server.backlog_full:
                self.sockets += await fill_backlog(listener)
            else:
                self.tasks.append(asyncio.create_task(accept_forever(listener, server, context)))
        return ports


async def _serve(plan: Plan, ready_fd: int) -> int:
    fleet = plan.fleet()
    entries = entries_of(fleet)
    room = ServerRoom([], [])
    await serve_names(AUTHORITY if plan.dnsmasq else AUTHORITY + RESOLVER, DNS_PORT, entries)
    daemons = await _start_daemons(plan, fleet)
    for scenario in fleet:
        for server in scenario.servers:
            if not by_nginx(server, plan.nginx):
                endpoints = [(address, server.port) for address in server.addresses]
                there = None if server.place is Place.SERVER else namespace_file(Path(plan.state), server.place)
                await room.open(with_issuer(plan.pki, server), endpoints, context_of(plan.pki, scenario, server), there)
    for address, port in _daemon_endpoints(plan, fleet):
        await _wait_until_open(address, port, daemons)
    os.write(ready_fd, b"ready\n")
    os.close(ready_fd)
    await _first_end(daemons)
    sys.stderr.write(f"{_ended(daemons)} ended, so the lab is no longer whole\n")
    return 1


_Daemons = Mapping[str, asyncio.subprocess.Process]


async def _first_end(daemons: _Daemons) -> None:
    if not daemons:
        await asyncio.Event().wait()  # Nothing but our own servers, which never end.
    waits = [asyncio.create_task(daemon.wait()) for daemon in daemons.values()]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)


def _ended(daemons: _Daemons) -> str:
    return ", ".join(name for name, daemon in daemons.items() if daemon.returncode is not None)


async def _start_daemons(plan: Plan, fleet: Sequence[Scenario]) -> _Daemons:
    start = asyncio.create_subprocess_exec
    daemons: dict[str, asyncio.subprocess.Process] = {}
    if plan.nginx:
        directory = plan.directory("nginx")
        config = directory / "nginx.conf"
        config.write_text(nginx_config(fleet, directory, plan.pki))
        log = str(directory / "error.log")
        daemons["nginx"] = await start(plan.nginx, "-p", str(directory), "-c", str(config), "-e", log)
    if plan.dnsmasq:
        directory = plan.directory("dnsmasq")
        config = directory / "dnsmasq.conf"
        config.write_text(dnsmasq_config(entries_of(fleet), directory))
        (directory / "hosts").write_text(dnsmasq_hosts(entries_of(fleet)))
        # --no-daemon also keeps it from changing to a user that does not exist in the lab.
        daemons["dnsmasq"] = await start(plan.dnsmasq, f"--conf-file={config}", "--no-daemon")
    return daemons


def _daemon_endpoints(plan: Plan, fleet: Sequence[Scenario]) -> list[tuple[str, int]]:
    found = [(a, DNS_PORT) for a in RESOLVER]
    for scenario in fleet:
        for server in scenario.servers:
            if by_nginx(server, plan.nginx):
                found += [(address, server.port) for address in server.addresses]
    return found


async def _wait_until_open(address: str, port: int, daemons: _Daemons) -> None:
    async with asyncio.timeout(_READY_S):
        while True:
            if gone := _ended(daemons):
                raise RuntimeError(f"{gone} ended while starting")
            try:
                _, writer = await asyncio.open_connection(address, port)
            except OSError:
                await asyncio.sleep(_POLL_S)
            else:
                writer.close()
                return


def main(argv: Sequence[str]) -> int:
    """Entry point: path of the plan and the descriptor to write `ready` to."""
    return asyncio.run(_serve(Plan.read(Path(argv[0])), int(argv[1])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
