"""Judges of what a scan takes for granted: the clock, the trust store, TCP settings, versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fleetprobe.model.verdict import Outcome
from fleetprobe.vantage.check import Check, known
from fleetprobe.vantage.facts import Anchor, Clock, Software, TcpSettings, Trust

_FIRST_YEAR: Final = 2025
"""Before it there was no such program, so an earlier clock is wrong."""
_LAST_YEAR: Final = 2100
_STEP_MS: Final = 100.0
_WRONG_MS: Final = 5000.0
_COARSE_MS: Final = 1.0
_ENDING_DAYS: Final = 30


def clock(facts: Clock) -> Check:
    """Certificates are held against the wall clock, durations against the monotonic one."""
    told = known(facts)
    fix = "Start a time service: `timedatectl set-ntp true`, or chrony; then look at `timedatectl`."
    if not _FIRST_YEAR <= facts.year < _LAST_YEAR:
        return Check(
            name="clock",
            outcome=Outcome.FAIL,
            summary=f"the clock says {facts.year}: every certificate would seem expired or not yet valid",
            facts=told,
            fix=fix,
        )
    if facts.monotonic_resolution_ms > _COARSE_MS:
        summary = f"the monotonic clock has steps of {facts.monotonic_resolution_ms:.3g} ms: durations are coarse"
        fix = "Look at /sys/devices/system/clocksource/clocksource0/current_clocksource."
        return Check(name="clock", outcome=Outcome.WARN, summary=summary, facts=told, fix=fix)
    if abs(facts.stepped_ms) > _STEP_MS:
        summary = f"the clock was moved by {facts.stepped_ms:+.0f} ms while we looked"
        return Check(name="clock", outcome=Outcome.WARN, summary=summary, facts=told, fix=fix)
    if facts.synchronised is None:
        summary = "the kernel does not tell whether anybody keeps the clock right"
        return Check(name="clock", outcome=Outcome.UNKNOWN, summary=summary, facts=told)
    if not facts.synchronised:
        summary = "nobody keeps the clock right (unsynchronised): dates of certificates may be misjudged"
        return Check(name="clock", outcome=Outcome.WARN, summary=summary, facts=told, fix=fix)
    if facts.most_wrong_ms is not None and facts.most_wrong_ms > _WRONG_MS:
        summary = f"the clock was set right long ago: it may be wrong by {facts.most_wrong_ms / 1000:.1f} s"
        return Check(name="clock", outcome=Outcome.WARN, summary=summary, facts=told, fix=fix)
    summary = "the clock is kept right" + (
        f", wrong by {facts.most_wrong_ms:.0f} ms at most" if facts.most_wrong_ms is not None else ""
    )
    return Check(name="clock", outcome=Outcome.PASS, summary=summary, facts=told)


def trust(facts: Trust) -> Check:
    """Without anchors every chain ends nowhere."""
    told = {**known(facts), "soonest": [known(anchor) for anchor in facts.soonest]}
    fix = "Install or update the package ca-certificates, or name a file with --ca-file."
    if facts.unusable is not None:
        summary = f"the trust store cannot be used: {facts.unusable}"
        fix = "Correct or unset SSL_CERT_FILE, or name a file with --ca-file."
        return Check(name="trust store", outcome=Outcome.FAIL, summary=summary, facts=told, fix=fix)
    if facts.count <= facts.expired:
        what = "holds no certificate authority" if not facts.count else "holds none that has not expired"
        summary = f"the trust store ({facts.source}) {what}: every TLS target would seem untrusted"
        return Check(name="trust store", outcome=Outcome.FAIL, summary=summary, facts=told, fix=fix)
    noun = "authority" if facts.count == 1 else "authorities"
    chosen = "" if facts.by == "distribution" else f", by {' and '.join(facts.by.split())}"
    summary = f"{facts.count} trusted {noun} in {facts.source}{chosen}"
    ending = [anchor for anchor in facts.soonest if anchor.days_left <= _ENDING_DAYS]
    if ending:
        names = _names(ending)
        summary = f"{summary}; soon to end: {names}. Chains up to them will fail then"
        return Check(name="trust store", outcome=Outcome.WARN, summary=summary, facts=told, fix=fix)
    if facts.expired:
        summary += f", {facts.expired} of them expired"
    if facts.soonest:
        summary += f"; the first ends in {facts.soonest[0].days_left} days"
    return Check(name="trust store", outcome=Outcome.PASS, summary=summary, facts=told)


def _names(anchors: Sequence[Anchor]) -> str:
    return ", ".join(f"{anchor.name} in {anchor.days_left} days" for anchor in anchors)


def tcp_settings(facts: TcpSettings) -> tuple[Check, ...]:
    """One check that tells the settings, or one for each that hides faults from a probe."""
    told = known(facts)
    odd = [
        Check(
            name="tcp settings", outcome=Outcome.WARN, summary=summary, facts=told,
            fix=f"Run `sysctl -w net.ipv4.{setting}` as root, at least for the scan.",
        )
        for summary, setting in _odd(facts)
    ]
    if odd:
        return tuple(odd)
    resent = "at 1, 2, 3 and 4 s" if facts.tcp_syn_linear_timeouts else "at 1 and 3 s"
    summary = f"an unanswered SYN is sent again {resent}"
    if facts.tcp_mtu_probing == 1:
        summary += "; tcp_mtu_probing is 1: this machine gets past an MTU black hole after some 3 s"
    return (Check(name="tcp settings", outcome=Outcome.PASS, summary=summary, facts=told),)


def _odd(facts: TcpSettings) -> list[tuple[str, str]]:
    """What hides faults: the sentence, and the setting that would not."""
    found: dict[str, str] = {}
    if facts.tcp_mtu_probing is not None and facts.tcp_mtu_probing >= 2:
        found["tcp_mtu_probing=0"] = "this machine always begins small, so MTU black holes stay hidden"
    if facts.tcp_sack == 0:
        found["tcp_sack=1"] = "selective acknowledgement, which proves a black hole on the way there, is missing"
    if facts.ip_no_pmtu_disc:
        found["ip_no_pmtu_disc=0"] = "our packets may be fragmented on the way, so MTU faults stay hidden"
    if facts.tcp_syn_retries is not None and facts.tcp_syn_retries < 2:
        found["tcp_syn_retries=6"] = "two lost packets and a target seems silent"
    names = ((setting.partition("=")[0], setting, why) for setting, why in found.items())
    return [(f"{name} is {getattr(facts, name)}: {why}", setting) for name, setting, why in names]


def software(facts: Software) -> Check:
    """Versions, for whoever reads a report later."""
    who = "as root, which nothing here needs" if facts.root else "without root, as it should"
    summary = (
        f"fleetprobe {facts.fleetprobe}, Python {facts.python}, {facts.openssl_of_cryptography} "
        f"({facts.openssl_of_python} in Python's ssl), Linux {facts.kernel}; run {who}"
    )
    return Check(name="software", outcome=Outcome.PASS, summary=summary, facts=known(facts))
