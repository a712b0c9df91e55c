"""The lab's certificates: two authorities, one of them trusted, and a leaf for every TLS server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fleetprobe.lab.chains import chain, make_world
from fleetprobe.lab.issue import Use
from fleetprobe.lab.scenario import Scenario, Server


def authority_file(directory: Path) -> Path:
    """The root certificate that clients in the lab trust (PEM)."""
    return directory / "ca.pem"


def issuer_file(directory: Path) -> Path:
    """The intermediate that no host presents (DER), for the server from which it can be had."""
    return directory / "issuer.der"


def stranger_file(directory: Path) -> Path:
    """The root of the authority that clients in the lab do not trust, unless they name it (PEM)."""
    return directory / "elsewhere.pem"


def trust_flags(directory: Path) -> list[str]:
    """Flags of `fleetprobe scan`: the lab's authority is trusted; `lab` and `elsewhere` are labels of the two."""
    ours, theirs = authority_file(directory), stranger_file(directory)
    return ["--ca-file", str(ours), "--trust-store", f"lab={ours}", "--trust-store", f"elsewhere={theirs}"]


def server_file(directory: Path, scenario: Scenario, server: Server) -> Path:
    """Chain and key of one server in one PEM file."""
    return directory / f"{scenario.name}-{scenario.servers.index(server)}.pem"


def write_pki(directory: Path, fleet: Sequence[Scenario], now: datetime | None = None) -> None:
    """Make the authorities and every server's certificate under `directory`, which must exist."""
    world = make_world(now or datetime.now(UTC))
    authority_file(directory).write_bytes(_pem([world.trusted.root.certificate]))
    issuer_file(directory).write_bytes(world.hidden.certificate.public_bytes(serialization.Encoding.DER))
    stranger_file(directory).write_bytes(_pem([world.stranger.root.certificate]))
    for scenario in fleet:
        for server in scenario.servers:
            if server.certificate:
                urls = (server.issuer_url,) if server.issuer_url else ()
                names = scenario.certificate_names(server)
                use = Use(names=names, addresses=server.addresses, issuer_urls=urls)
                made = chain(server.certificate, use, world)
                path = server_file(directory, scenario, server)
                path.touch(mode=0o600)
                path.write_bytes(_pem(made.certificates) + _key_pem(made.key))


def _pem(chain: Iterable[x509.Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in chain)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
