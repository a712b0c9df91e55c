"""A link that the chain lacks, proven by the certificate that closes it; and where the chain then ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from fleetprobe.layer import found
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.repair import Repair
from fleetprobe.layers.tls.shown import show
from fleetprobe.model.verdict import Confidence, Finding

EMITS: Final = frozenset({"tls.missing_intermediate", "tls.untrusted_root"})


def told(facts: TlsFacts, repair: Repair) -> Sequence[Finding]:
    """What the repaired path proves of a chain that ends nowhere; nothing where it only shows what was sent.

    What was added must be worth installing, or nothing is said of where the path leads with it.
    """
    if repair.added and not repair.missing:
        return []
    return list(_told(facts, repair)) if repair.missing or repair.root_found_at else []


def _told(facts: TlsFacts, repair: Repair) -> Iterator[Finding]:
    evidence: dict[str, Any] = {
        "openssl_verify_codes": [code for code, _ in facts.handshake.verify_errors],
        **repair.record(),
    }
    if repair.missing:
        first, more = repair.missing[0], len(repair.missing) - 1
        which = f"{show(first.certificate.subject)}{f' and {more} more' if more else ''}"
        summary = f"{facts.address} does not send {which}; {_seen_at(first.found_at)}"
        # A host that is seen later may present an issuer that is in date, for one that was sent.
        settled = repair.holds
        yield found("tls.missing_intermediate", summary, evidence, confidence=Confidence.PROVEN, settled=settled)
    if repair.root is not None:
        root, at = show(repair.root.subject), repair.root_found_at
        where = f"; {_seen_at(at)}" if at else ""
        summary = f"the chain of {facts.address} ends in an untrusted root ({root}){where}"
        yield found("tls.untrusted_root", summary, evidence, confidence=Confidence.PROVEN, settled=False)


def _seen_at(found_at: str) -> str:
    """`found_at` begins with a digit or a bracket where it is the address of a host."""
    return f"{found_at} presents it" if found_at[:1] in "[0123456789" else f"it comes from {found_at}"
