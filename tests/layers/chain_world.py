"""Chains of real certificates, and the same OpenSSL that the product uses to say which of them hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL, crypto

from fleetprobe.lab.issue import Issued, Life, Rights, Use, issue_authority, issue_leaf
from fleetprobe.layers.tls.certificate import Certificate, read
from fleetprobe.layers.tls.graph import name_key
from fleetprobe.layers.tls.repair import Repair, repair
from fleetprobe.net.fake import FakeNet, drive
from fleetprobe.net.live.verify import Verifier

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
LIFE: Life = (NOW - 30 * DAY, NOW + 300 * DAY)
OVER: Life = (NOW - 30 * DAY, NOW - DAY)


def authority(
    name: str, issuer: Issued | None = None, *, life: Life = LIFE, twin: Issued | None = None,
    issuer_urls: Sequence[str] = (),
) -> Issued:
    """A CA; with `twin` it has that one's key."""
    return issue_authority(name, issuer, life, Rights(), twin.key if twin else None, issuer_urls)


def leaf(issuer: Issued | None, *, life: Life = LIFE, issuer_urls: Sequence[str] = ()) -> Issued:
    """The certificate of a server."""
    return issue_leaf("x.lab.test", issuer, life, Use(names=("x.lab.test",), issuer_urls=issuer_urls))


def der(one: Issued | x509.Certificate) -> bytes:
    """Its DER."""
    return (one.certificate if isinstance(one, Issued) else one).public_bytes(Encoding.DER)


def sha256(one: Issued) -> str:
    """Its fingerprint."""
    return read(der(one)).sha256


@dataclass
class Fleet:
    """What is trusted, and what other hosts have presented."""

    trusted: Sequence[Issued]
    elsewhere: Sequence[Issued] = ()
    net: FakeNet = field(default_factory=FakeNet)

    def __post_init__(self) -> None:
        self.verifier = Verifier(self._context(), self._context)
        self.net.verifies(self.verifier.verify)
        for number, one in enumerate(self.elsewhere):
            self.pool(one, f"198.51.100.{number + 1}:443")

    def pool(self, one: Issued, at: str) -> None:
        """Let another host present it."""
        found = read(der(one))
        assert isinstance(found, Certificate)
        self.net.pool.add(name_key(found.subject), der(one), at)

    def errors(self, *presented: Issued) -> tuple[tuple[int, int], ...]:
        """What OpenSSL says of the chain as it is sent."""
        return self.verifier.verify([der(one) for one in presented]).errors

    def repair(self, *presented: Issued, errors: Sequence[tuple[int, int]] | None = None) -> Repair | None:
        """The best path for a chain that OpenSSL rejects like this."""
        told = self.errors(*presented) if errors is None else errors
        certificates = [read(der(one)) for one in presented]
        ders = {read(der(one)).sha256: der(one) for one in presented}
        return drive(repair(certificates, told, ders, self.net, None, NOW))

    def _context(self) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        store = context.get_cert_store()
        assert store is not None
        for one in self.trusted:
            store.add_cert(crypto.X509.from_cryptography(one.certificate))
        return context
