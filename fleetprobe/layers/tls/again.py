"""The certificates of a recorded handshake judged once more, when the whole fleet has been seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleetprobe.layers.tls import chain, labels
from fleetprobe.layers.tls.certificate import read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import try_issuers
from fleetprobe.layers.tls.held import hold
from fleetprobe.layers.tls.repair import repair
from fleetprobe.model.policy import Policy
from fleetprobe.model.trust import SYSTEM, Trust
from fleetprobe.model.verdict import Finding
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Net

JUDGED = chain.EMITS
"""The codes of the findings that are made anew."""


async def judge_again(
    recorded: Mapping[str, Any], presented: Sequence[bytes], path: Sequence[bytes], net: Net, policy: Policy
) -> tuple[Sequence[Finding], Mapping[str, Any]]:
    """Findings about certificates, and the facts that are new.

    `recorded` are the facts of the tls layer as they stand in a record, with the keys address, server_name,
    verify_errors, ca_file, trust and trusts; `presented` and `path` are DER, leaf first.
    """
    errors = tuple((int(one["code"]), int(one["depth"])) for one in recorded["verify_errors"])
    known = {der: read(der) for der in {*presented, *path}}
    certificates = tuple(known[der] for der in presented)
    taken = tuple(known[der] for der in path)
    ders = {one.sha256: der for der, one in known.items()}
    label, ca_file = recorded.get("trust", SYSTEM), recorded.get("ca_file")
    others = [name for name in recorded.get("trusts", ()) if name != label]
    file = file_of(label, policy.trust) if ca_file is None else ca_file
    seen = Handshake(started_s=0.0, ended_s=0.0, chain_der=tuple(presented), verify_errors=errors)
    facts = TlsFacts(
        address=recorded["address"],
        server_name=recorded["server_name"],
        handshake=seen,
        certificates=certificates,
        rtt_ms=None,
        path=taken,
        trials=try_issuers(certificates, taken, errors, ders),
        ca_file=ca_file,
        trust=label,
        held=await hold(seen, policy.trust.named(others), known, net),
        repair=await repair(
            certificates, errors, ders, net, file, policy.as_of, sent=recorded.get("chain_sha256", ())
        ),
    )
    told, elsewhere = labels.tell(facts, chain.faults(facts, policy.as_of), policy.as_of)
    return (*told, *elsewhere), {"repair": facts.repair.record()} if facts.repair else {}


def file_of(label: str, trust: Trust) -> str | None:
    """What `Net.verify` takes for a label of this run; None, the run's first store, where nobody knows it."""
    return next((store.file for store in (*trust.of_run, *trust.known) if store.label == label), None)
