"""Certificates that nobody would issue: `python -m benchmarks.soak_certificates -o FILE`.

100,000 chains of the lab, one certificate of each bent at random: bytes changed, cut out, put in, lengths made false.
Each is priced, read, tried against its issuers, judged and recorded as after a handshake. Nothing may be raised, none
may take longer than 100 ms of processor time, and none that OpenSSL rejects may pass.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.netns import where
from fleetprobe.lab.chains import chain, make_world
from fleetprobe.lab.issue import Use
from fleetprobe.lab.scenario import Certificate as Kind
from fleetprobe.layers.tls.certificate import Certificate, Malformed, read
from fleetprobe.layers.tls.facts import TlsFacts
from fleetprobe.layers.tls.graph import try_issuers
from fleetprobe.layers.tls.judge import judge
from fleetprobe.layers.tls.names import mismatch
from fleetprobe.model.policy import Policy
from fleetprobe.model.verdict import State
from fleetprobe.net.handshake import Handshake
from fleetprobe.net.interface import Event, Fault
from fleetprobe.net.live.dear import Price

_MOST_MS = 100.0
_ERRORS = ((), ((20, 0), (21, 0)), ((7, 0),), ((19, 1),), ((79, 1), (25, 2)), ((10, 1),), ((47, 0),), ((26, 0),))


def main(argv: Sequence[str]) -> int:
    """Exit 1 when anything was raised, took too long, or passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args(argv)
    report: dict[str, Any] = {"soak": "certificates", **where(), **soak(options.count, options.seed)}
    Path(options.output).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({name: report[name] for name in ("count", "unreadable", "raised", "passed", "worst_ms")}))
    return int(bool(report["raised"]) or bool(report["passed"]) or report["worst_ms"] > _MOST_MS)


def soak(count: int, seed: int) -> dict[str, Any]:
    """What came of so many bent chains."""
    chance = random.Random(seed)
    now = datetime.now(UTC)
    world = make_world(now)
    chains = [
        [one.public_bytes(Encoding.DER) for one in chain(kind, Use(names=("x.lab.test",)), world).certificates]
        for kind in Kind if kind is not Kind.OVERSIZE  # nobody reads that one
    ]
    policy = Policy(as_of=now)
    raised: Counter[str] = Counter()
    unreadable = passed = 0
    worst_ms = 0.0
    for _ in range(count):
        ders = list(chance.choice(chains))
        position = chance.randrange(len(ders))
        ders[position] = bent(chance, ders[position])
        errors = chance.choice(_ERRORS)
        before_s = time.process_time()
        try:
            broken, well = diagnose(tuple(ders), position, errors, policy)
        except Exception as error:  # noqa: BLE001  # counted, and the soak fails: that is what it is for
            raised[type(error).__name__] += 1
            continue
        worst_ms = max(worst_ms, (time.process_time() - before_s) * 1000.0)
        unreadable += broken
        passed += well and bool(errors)
    return {
        "count": count, "seed": seed, "unreadable": unreadable, "raised": dict(raised), "passed": passed,
        "worst_ms": round(worst_ms, 3),
    }


def bent(chance: random.Random, der: bytes) -> bytes:
    """One place bent, or a few."""
    found = bytearray(der)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        at = chance.randrange(len(found))
        match chance.randrange(20):
            case 0:
                del found[at]
            case 1:
                found.insert(at, chance.randrange(256))
            case 2:
                found[at : at + 4] = bytes((0x84, 0xFF, 0xFF, 0xFF))
            case _:
                found[at] = chance.randrange(256)
    return bytes(found)


def diagnose(
    ders: tuple[bytes, ...], position: int, errors: tuple[tuple[int, int], ...], policy: Policy
) -> tuple[bool, bool]:
    """Whether the bent certificate is unreadable, and whether the target passes."""
    price = Price()
    too_dear = any(price.too_dear(der) for der in reversed(ders))
    seen = Handshake(
        started_s=0.0, ended_s=0.01, chain_der=ders, path_der=ders, verify_errors=errors, too_dear=too_dear,
        fault=Fault(Event.ERROR, detail="tls") if too_dear else None,
    )
    known = {der: read(der) for der in ders}
    certificates = tuple(known[der] for der in ders)
    trials = try_issuers(certificates, certificates, errors, {one.sha256: der for der, one in known.items()})
    facts = TlsFacts("192.0.2.1:443", "x.lab.test", seen, certificates, 1.0, path=certificates, trials=trials)
    findings = judge(facts, policy)
    for one in certificates:
        if isinstance(one, Certificate):
            mismatch(one, "xn--strae-oqa.lab.test")
    json.dumps([facts.record(), facts.columns(), [dict(finding.facts) for finding in findings]])
    return isinstance(certificates[position], Malformed), findings[0].state is not State.FAIL


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
