"""What a healthy TLS target costs above the handshake itself, in processor time: `python -m benchmarks.handshakes`.

The rival is `handshake_loop.c`, compiled here against the system's OpenSSL: it connects, shakes hands with the same
offer, verifies by the same CA file, takes the chain as DER, cuts the connection, and has no opinion. Both ask the
same nginx on the same addresses of 127.1.0.0/16, in turns, each a whole process pinned to one core; nginx has
another. User and system time of two sizes of fleet are taken, and the slope between them, so that starting falls
out. Counts are checked, and that all agreed on one version, suite and group, before any time is believed.

What our OpenSSL offers beyond the system's is told apart: it makes a second key share, for X25519MLKEM768, and four
times the hello. `tls classical` is the same scan with the groups that the rival offers, by a configuration file of
OpenSSL; the product itself never offers so, as the long hello finds faults of its own. Needs nginx, a C compiler and
OpenSSL's headers (Debian: nginx-light, gcc, libssl-dev).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shlex
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL

from benchmarks.connects import UNBOUNDED
from benchmarks.netns import ROOT, environment, where
from fleetprobe.lab.chains import chain, make_world
from fleetprobe.lab.issue import Use
from fleetprobe.lab.scenario import Certificate
from fleetprobe.net.live.tls_hello import outgoing

NAME = "www.fleet.test"
CLASSICAL = "X25519:P-256:X448:P-521:P-384"
"""What OpenSSL 3.0 offers of itself (SSL_CTX_set1_groups_list(3))."""
_PATIENT = ("--concurrency", "100", "--timeout", "30")
"""Fewer at once and longer than usual, so that no deadline passes on a busy machine; processor time is the same."""
_CONFIGURATION = f"""openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = offer
[offer]
Groups = {CLASSICAL}
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of process."""

    kind: str
    ms_per_target: float
    """Processor time: the median of the slopes of all rounds."""
    least_ms: float
    most_ms: float
    user_ms: float
    start_ms: float
    """What is left for a fleet of none."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds of one process."""

    user_s: float
    system_s: float

    @property
    def cpu_s(self) -> float:
        """Both."""
        return self.user_s + self.system_s


@dataclass(frozen=True, slots=True)
class Fleet:
    """The server, and where the files are."""

    folder: Path
    port: int
    core: int
    sizes: tuple[int, int]

    @property
    def ca_file(self) -> Path:
        """The root that both trust."""
        return self.folder / "ca.pem"

    @property
    def classical(self) -> Mapping[str, str]:
        """The environment in which our library offers what the rival's does."""
        return {"OPENSSL_CONF": str(self.folder / "classical.cnf")}

    @property
    def loop(self) -> Path:
        """The rival."""
        return self.folder / "handshake_loop"

    def addresses(self, size: int) -> list[str]:
        """Distinct ones, so that no state of a host is shared."""
        return [f"127.1.{n >> 8}.{n & 255}" for n in range(1, size + 1)]


Run = Callable[[Fleet, int], Spent]


def main(argv: Sequence[str]) -> int:
    """Measure, print a table, write JSON. Exit 1 when the goal is missed."""
    options = _options(argv)
    if options.agree is not None:
        print(json.dumps(_agree(options.agree)))
        return 0
    with tempfile.TemporaryDirectory() as folder, _fleet(Path(folder), options) as fleet:
        agreed = {
            "loop": _loop_agrees(fleet), "tls": _ours_agrees(fleet, {}),
            "tls classical": _ours_agrees(fleet, fleet.classical),
        }
        _same(agreed)
        kinds: dict[str, Run] = {
            "loop": _loop, "tls": _tls, "tls classical": _tls_classical, "tcp": _tcp,
        }
        rows = {row.kind: row for row in _measure(fleet, kinds, options.rounds)}
    print(f"{'kind':14} {'ms/target':>10} {'least':>8} {'most':>8} {'user':>8} {'start ms':>9}")
    for row in rows.values():
        print(
            f"{row.kind:14} {row.ms_per_target:10.3f} {row.least_ms:8.3f} {row.most_ms:8.3f}"
            f" {row.user_ms:8.3f} {row.start_ms:9.0f}"
        )
    above = {kind: round(rows[kind].ms_per_target - rows["loop"].ms_per_target, 3) for kind in ("tls", "tls classical")}
    for kind, ms in above.items():
        print(f"{kind}: {ms:.3f} ms above the loop")
    report = {
        "benchmark": "handshakes", **where(), "rounds": options.rounds, "sizes": list(fleet.sizes), "agreed": agreed,
        "method": "processor time of whole processes pinned to one core; slope between two sizes; median of rounds",
        "goal_ms": options.goal, "above_the_loop_ms": above, "rows": [asdict(row) for row in rows.values()],
    }
    if options.output:
        Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if above["tls"] > options.goal:
        print(f"goal missed: at most {options.goal} ms above the loop")
        return 1
    return 0


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs=2, default=(1000, 5000), metavar=("FEW", "MANY"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--goal", type=float, default=0.35, help="milliseconds above the loop")
    parser.add_argument("-o", "--output", help="write the figures to this JSON file")
    parser.add_argument("--agree", type=int, metavar="PORT", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _measure(fleet: Fleet, kinds: Mapping[str, Run], rounds: int) -> list[Row]:
    """All kinds in turns, so that what else the machine does meets all of them."""
    few, many = fleet.sizes
    spent: dict[str, list[tuple[Spent, Spent]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, run in kinds.items():
            spent[kind].append((run(fleet, few), run(fleet, many)))
    return [_row(kind, pairs, few, many) for kind, pairs in spent.items()]


def _row(kind: str, pairs: Sequence[tuple[Spent, Spent]], few: int, many: int) -> Row:
    slopes = [(b.cpu_s - a.cpu_s) / (many - few) for a, b in pairs]
    user = [(b.user_s - a.user_s) / (many - few) for a, b in pairs]
    slope = statistics.median(slopes)
    start = statistics.median(a.cpu_s for a, _ in pairs) - slope * few
    return Row(
        kind=kind,
        ms_per_target=round(slope * 1000.0, 4),
        least_ms=round(min(slopes) * 1000.0, 4),
        most_ms=round(max(slopes) * 1000.0, 4),
        user_ms=round(statistics.median(user) * 1000.0, 4),
        start_ms=round(start * 1000.0, 1),
    )


def _loop(fleet: Fleet, size: int) -> Spent:
    output, spent = _spent(fleet, _loop_command(fleet), "".join(f"{one}\n" for one in fleet.addresses(size)))
    told = json.loads(output)
    if told["done"] != size or told["verify_errors"]:
        raise SystemExit(f"the loop did not do its work, so the time means nothing: {told}")
    return spent


def _tls(fleet: Fleet, size: int) -> Spent:
    return _scan(fleet, "tls", [f"tls://{one}:{fleet.port} sni={NAME}" for one in fleet.addresses(size)])


def _tls_classical(fleet: Fleet, size: int) -> Spent:
    lines = [f"tls://{one}:{fleet.port} sni={NAME}" for one in fleet.addresses(size)]
    return _scan(fleet, "tls", lines, fleet.classical)


def _tcp(fleet: Fleet, size: int) -> Spent:
    return _scan(fleet, "tcp", [f"tcp://{one}:{fleet.port}" for one in fleet.addresses(size)])


def _scan(fleet: Fleet, service: str, lines: Sequence[str], more: Mapping[str, str] | None = None) -> Spent:
    """One whole process; raises unless every record says ok."""
    inventory, output = fleet.folder / "fleet.txt", fleet.folder / "fleet.jsonl"
    inventory.write_text("".join(f"{line}\n" for line in lines))
    output.unlink(missing_ok=True)
    command = [sys.executable, "-m", "fleetprobe", "scan", "-i", str(inventory), "-o", str(output)]
    _, spent = _spent(fleet, [*command, "--ca-file", str(fleet.ca_file), *_PATIENT, *UNBOUNDED], "", more)
    rows = [json.loads(line) for line in output.read_bytes().splitlines()]
    good = sum(row["kind"] == "result" and row["state"] == "ok" and row["service"] == service for row in rows)
    clean = all(not row["findings"] for row in rows if row["kind"] == "result")
    if good != len(lines) or not clean or rows[-1]["counts_by_state"] != {"ok": len(lines)}:
        raise SystemExit(f"{service}: {good} of {len(lines)} records are ok, so the time means nothing: {rows[-1]}")
    return spent


def _spent(fleet: Fleet, command: Sequence[str], text: str, more: Mapping[str, str] | None = None) -> tuple[str, Spent]:
    """What a process on our core printed, and the processor time that it and its children took."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, input=text, text=True, stdout=subprocess.PIPE, cwd=ROOT, env={**environment(), **(more or {})},
        check=False, timeout=300,
        preexec_fn=lambda: os.sched_setaffinity(0, {fleet.core}),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{shlex.join(command)} ended with {done.returncode}")
    return done.stdout, Spent(after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime)


def _loop_command(fleet: Fleet) -> list[str]:
    return [str(fleet.loop), str(fleet.ca_file), NAME, str(fleet.port), "-"]


def _loop_agrees(fleet: Fleet) -> dict[str, Any]:
    """What the rival agrees on with the server."""
    told: dict[str, Any] = json.loads(_spent(fleet, _loop_command(fleet), "127.1.0.1\n")[0])
    return {name: told[name] for name in ("library", "version", "cipher", "group")}


def _ours_agrees(fleet: Fleet, more: Mapping[str, str]) -> dict[str, Any]:
    """What the library that we use agrees on, asked in a process of its own, as the environment is read once."""
    command = [sys.executable, "-m", "benchmarks.handshakes", "--agree", str(fleet.port)]
    told: dict[str, Any] = json.loads(_spent(fleet, command, "", more)[0])
    return told


def _agree(port: int) -> dict[str, Any]:
    connection = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD), None)
    connection.set_tlsext_host_name(NAME.encode())
    connection.set_connect_state()
    hello = b""
    with socket.create_connection(("127.1.0.1", port), timeout=10) as sock:
        while connection.get_state_string() != b"SSL negotiation finished successfully":
            try:
                connection.do_handshake()
            except SSL.WantReadError:
                out = outgoing(connection)
                hello = hello or out
                sock.sendall(out)
                connection.bio_write(sock.recv(65536))
    return {
        "library": SSL.SSLeay_version(SSL.SSLEAY_VERSION).decode(),
        "version": connection.get_protocol_version_name(),
        "cipher": connection.get_cipher_name(),
        "group": connection.get_group_name(),
        "hello_bytes": len(hello),
    }


def _same(agreed: Mapping[str, Mapping[str, Any]]) -> None:
    seen = {tuple(str(told[name]).lower() for name in ("version", "cipher", "group")) for told in agreed.values()}
    if len(seen) != 1:
        raise SystemExit(f"not the same handshake, so the times cannot be compared: {agreed}")


@contextmanager
def _fleet(folder: Path, options: argparse.Namespace) -> Iterator[Fleet]:
    """Certificates, the rival, and a server on every address of 127.0.0.0/8."""
    cores = sorted(os.sched_getaffinity(0))
    listener = _listener()
    port = listener.getsockname()[1]
    fleet = Fleet(folder, port, cores[0], (options.sizes[0], options.sizes[1]))
    _write_certificates(folder)
    (folder / "classical.cnf").write_text(_CONFIGURATION)
    source = ROOT / "benchmarks" / "handshake_loop.c"
    subprocess.run(["cc", "-O2", "-o", str(fleet.loop), str(source), "-lssl", "-lcrypto"], check=True)
    (folder / "nginx.conf").write_text(_nginx(folder, port))
    child = subprocess.Popen(
        ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)], stderr=subprocess.DEVNULL,
        # What it is given there it takes for its listening socket, as in an upgrade of itself.
        pass_fds=[listener.fileno()], env={**environment(), "NGINX": f"{listener.fileno()};"},
        preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),  # noqa: PLW1509 - no threads here
    )
    listener.close()
    try:
        yield fleet
    finally:
        child.terminate()
        child.wait(20)


def _listener() -> socket.socket:
    """A port on every loopback address, and where it is allowed on no other interface."""
    listener = socket.socket()
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
    listener.bind(("0.0.0.0", 0))
    listener.listen(4096)
    return listener


def _nginx(folder: Path, port: int) -> str:
    user = "user root;\n" if os.getuid() == 0 else ""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"  {kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    return (
        f"daemon off;\n{user}worker_processes 4;\npid {folder}/nginx.pid;\nerror_log {folder}/error.log crit;\n"
        f"events {{ worker_connections 8192; }}\nhttp {{\n  access_log off;\n{temporary}"
        f"  server {{\n    listen 0.0.0.0:{port} ssl backlog=4096;\n    ssl_protocols TLSv1.2 TLSv1.3;\n"
        f"    ssl_certificate {folder}/server.pem;\n    ssl_certificate_key {folder}/server.pem;\n  }}\n}}\n"
    )


def _write_certificates(folder: Path) -> None:
    world = make_world(datetime.now(UTC))
    made = chain(Certificate.GOOD, Use(names=(NAME,)), world)
    pem = serialization.Encoding.PEM
    key = made.key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(world.trusted.root.certificate.public_bytes(pem))
    (folder / "server.pem").write_bytes(b"".join(one.public_bytes(pem) for one in made.certificates) + key)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
