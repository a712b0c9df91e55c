"""An examined target, or a line that named none, becomes one row of the result record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from fleetprobe.codes.command import STARTTLS, fill
from fleetprobe.codes.table import CODES
from fleetprobe.examination import AddressResult, Climb, Examination, Step
from fleetprobe.model.attempt import Attempt
from fleetprobe.model.target import BadLine, Target
from fleetprobe.model.verdict import Finding, Outcome, State, Verdict
from fleetprobe.record.columns import EMPTY_RESULT, SCHEMA_VERSION

_PHASES = ("dns_duration_ms", "tcp_connect_duration_ms", "tls_handshake_duration_ms", "http_time_to_first_byte_ms")

Row = dict[str, Any]


def result_row(examined: Examination, run_id: str, vantage: str, seq: int) -> Row:
    """The row of one examined target (design §7)."""
    target, verdict = examined.target, examined.verdict
    row = _identity(run_id, vantage, seq, target.target_id)
    row.update(
        started_at=_utc(examined.started_at),
        target=target.canonical,
        server_address=target.host,
        server_port=target.port,
        service=target.service,
        path=target.path,
        sni=target.sni,
        host_header=target.host_header,
        connect_to=target.connect_to,
        labels=dict(target.labels),
        source=target.source,
        proven_layers=list(verdict.proven_layers),
        findings=[listed(finding) for finding in verdict.also],
        addresses=[_address(result) for result in examined.addresses],
        attempts=[_attempt(item, examined.started_s) for item in _attempts(examined)],
        layers=_layers(examined),
    )
    for facts in examined.facts().values():
        if facts is not None:
            row.update(facts.columns())
    _conclude(row, verdict, target)
    _phases(row, examined)
    return row


def bad_line_row(bad: BadLine, run_id: str, vantage: str, seq: int, now: float) -> Row:
    """The row of an inventory line that names no target, so that nothing is lost."""
    row = _identity(run_id, vantage, seq, bad.target_id)
    code = CODES["input.invalid"]
    row.update(
        started_at=_utc(now),
        duration_ms=0.0, queue_ms=0.0, witness_ms=0.0, unattributed_ms=0.0,
        target=bad.raw,
        labels={},
        source=bad.source,
        state=str(code.state),
        layer=code.layer,
        code=code.name,
        confidence="observed",
        summary=bad.reason[:160],
        fix=code.fix,
        fix_commands=[], repro=[], not_this=list(code.not_this), could_also_be=[], proven_layers=[],
        findings=[], addresses=[], attempts=[], layers=[],
    )
    return row


def _identity(run_id: str, vantage: str, seq: int, target_id: str) -> Row:
    row: Row = dict(EMPTY_RESULT)
    name = f"{run_id}\x1f{target_id}\x1f{vantage}".encode()
    row.update(
        kind="result",
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        result_id=hashlib.blake2b(name, digest_size=8).hexdigest(),
        target_id=target_id,
        vantage=vantage,
        seq=seq,
        settled=True,
        truncated=False,
    )
    return row


def _conclude(row: Row, verdict: Verdict, target: Target) -> None:
    finding = verdict.finding
    row["state"] = str(verdict.state)
    row["settled"] = all(one.settled for one in verdict.also) and (finding is None or finding.settled)
    if finding is None or finding.code is None:
        row.update(summary=_plain(verdict), fix_commands=[], repro=[], not_this=[], could_also_be=[])
        return
    row.update(concluded(finding, target, row))


def concluded(finding: Finding, target: Target, row: Mapping[str, Any]) -> Row:
    """The columns that a finding with a code fills when it is the verdict; `row` has those of the evidence."""
    assert finding.code is not None
    code, values = CODES[finding.code], {**_values(target, row), **_way(finding.facts)}
    return {
        "layer": finding.layer,
        "code": finding.code,
        "confidence": str(finding.confidence),
        "summary": finding.summary,
        "fix": code.fix,
        "fix_commands": _commands(code.fix_commands, values),
        "repro": _commands(code.confirm, values),
        "not_this": list(code.not_this),
        "could_also_be": list(finding.could_also_be),
    }


def fix_commands(code: str, target: Target, row: Mapping[str, Any], more: Mapping[str, str | None]) -> list[str]:
    """The commands that mend a code, filled with what the row says and with `more`, values by placeholder."""
    return _commands(CODES[code].fix_commands, {**_values(target, row), **more})


def _plain(verdict: Verdict) -> str:
    if verdict.state is State.OK:
        return f"every layer passes: {' '.join(verdict.proven_layers)}"
    return "too little evidence for a verdict"


def _phases(row: Row, examined: Examination) -> None:
    """duration = queue + phases of the deciding climb + witnesses + unattributed (design §7)."""
    duration = (examined.ended_s - examined.started_s) * 1000.0
    speaker = examined.deciding
    shown: list[Step] = list(examined.trunk.steps)
    queue = witness = 0.0
    if speaker is not None:
        deciding = speaker.deciding
        shown += deciding.steps if deciding else []
        queue = speaker.queue_s * 1000.0
        witness = _beyond(deciding, speaker.climbs) * 1000.0 if len(speaker.climbs) > 1 else 0.0
    spent: dict[str, float] = {}
    for step in shown:
        if step.duration is not None:
            spent[step.duration] = round(step.phase_ms, 3)
    for name in _PHASES:
        row[name] = spent.get(name)
    known = queue + witness + sum(spent.values())
    row.update(
        duration_ms=round(max(duration, known), 3),
        queue_ms=round(queue, 3),
        witness_ms=round(witness, 3),
        unattributed_ms=round(max(duration - known, 0.0), 3),
    )


def _beyond(deciding: Climb | None, climbs: Sequence[Climb]) -> float:
    """Seconds spent on other climbs and witnesses; what ran side by side counts once, and not beside the climb."""
    total, reached = 0.0, float("-inf")
    for climb in sorted(climbs, key=lambda one: one.started_s):
        total += max(0.0, climb.ended_s - max(climb.started_s, reached))
        reached = max(reached, climb.ended_s)
    return total - (deciding.ended_s - deciding.started_s if deciding else 0.0)


def _layers(examined: Examination) -> list[Row]:
    """One entry a rung, in climbing order; a layer blamed from above takes the blame in its own entry."""
    proven = examined.verdict.proven_layers
    steps = examined.steps()
    entries = [_step(step, proven, examined.started_s) for step in steps]
    by_layer: dict[str, Row] = {}
    for entry in entries:
        by_layer.setdefault(entry["layer"], entry)
    for step in steps:
        if step.broke:
            for finding in step.findings:
                if finding.layer != step.layer and finding.breaks:
                    _blame(entries, by_layer, finding, step.layer)
    missed = (name for name in examined.ladder if name not in by_layer)
    entries.extend(_entry(name, Outcome.SKIPPED, None, None, None, {}) for name in missed)
    return entries


def _step(step: Step, proven: Sequence[str], origin_s: float) -> Row:
    outcome, code, spoke = step.outcome, None, False
    for finding in step.findings:
        if finding.layer == step.layer:
            spoke = True
            code = code or finding.code
            if finding.tentative and step.layer not in proven:
                outcome = Outcome.UNKNOWN
    if not spoke:
        outcome = Outcome.UNKNOWN
    # What the judge made of the facts stands beside them: what it names is the proof of the verdict.
    judged = next((finding.facts for finding in step.findings if finding.layer == step.layer), {})
    facts = {**(step.facts.record() if step.facts is not None else {}), **judged}
    start = round((step.started_s - origin_s) * 1000.0, 3)
    return _entry(step.layer, outcome, code, start, round((step.ended_s - step.started_s) * 1000.0, 3), facts)


def _blame(entries: list[Row], by_layer: dict[str, Row], finding: Finding, seen_at: str) -> None:
    outcome = Outcome.FAIL if finding.state is State.FAIL else Outcome.UNKNOWN
    entry = by_layer.get(finding.layer)
    if entry is None:
        entry = by_layer[finding.layer] = _entry(finding.layer, outcome, finding.code, None, None, finding.facts)
        # Our own limits stand at the ground; a fault of the target, above the rung that met it.
        ours = finding.state is not State.FAIL
        entries.insert(0 if ours else entries.index(by_layer[seen_at]) + 1, entry)
    elif entry["code"] is None:
        entry.update(outcome=str(outcome), code=finding.code)


def _entry(
    layer: str,
    outcome: Outcome,
    code: str | None,
    start_ms: float | None,
    duration_ms: float | None,
    facts: Mapping[str, Any],
) -> Row:
    return {
        "layer": layer,
        "outcome": str(outcome),
        "code": code,
        "start_ms": start_ms,
        "duration_ms": duration_ms,
        "facts": facts,
    }


def listed(finding: Finding) -> Row:
    """An entry of the column `findings`."""
    assert finding.code is not None
    if finding.state in (State.FAIL, State.UNKNOWN, State.BLOCKED, State.SLOW):
        severity = str(finding.state)
    else:
        usual = str(CODES[finding.code].severity)
        severity = "warn" if usual == "fail" else usual
    return {
        "code": finding.code,
        "severity": severity,
        "layer": finding.layer,
        "summary": finding.summary,
        "facts": dict(finding.facts),
    }


def _address(result: AddressResult) -> Row:
    climb = result.deciding
    duration = round((climb.ended_s - climb.started_s) * 1000.0, 3) if climb else None
    return {
        "address": result.address.text,
        "family": f"ipv{result.address.family}",
        "outcome": str(result.verdict.state),
        "code": result.verdict.code,
        "duration_ms": duration,
    }


def _attempts(examined: Examination) -> Sequence[Attempt]:
    climbs: list[Climb] = [examined.trunk]
    for result in examined.addresses:
        climbs += result.climbs
    return [attempt for climb in climbs for attempt in climb.attempts]


def _attempt(attempt: Attempt, origin_s: float) -> Row:
    return {
        "purpose": attempt.purpose,
        "transport": attempt.transport,
        "address": attempt.address,
        "port": attempt.port,
        "local_port": attempt.local_port,
        "start_ms": round((attempt.started_s - origin_s) * 1000.0, 3),
        "duration_ms": round(max(attempt.ended_s - attempt.started_s, 0.0) * 1000.0, 3),
        "outcome": attempt.outcome,
    }


def _values(target: Target, row: Mapping[str, Any]) -> Mapping[str, str | int | None]:
    """What the commands to copy are filled with."""
    dialled = target.connect_to or target.host
    address = row["network_peer_address"] or (dialled if target.is_literal else None)
    named = not target.is_literal or target.connect_to is not None
    size, six = row["path_mtu_bytes"], address is not None and ":" in address
    segment = None if size is None else size - (60 if six else 40)
    return {
        "host": target.host,
        "address": address,
        "bare": None if address is None else address.partition("%")[0],
        "port": target.port,
        "name": None if target.is_literal else dialled,
        "sni": target.sni or (target.host if named else None),
        "path": target.path or "/",
        "service": target.service,
        "starttls": target.service if target.service in STARTTLS else None,
        "xmpphost": target.sni or target.host if target.service == "xmpp" else None,
        "family": "6" if six else "4",
        "mtu": size,
        "mss": segment,
        "mss4": None if six else segment,
        "mss6": segment if six else None,
    }


def _way(facts: Mapping[str, Any]) -> Mapping[str, str | None]:
    """Our next hop and interface, as far as the finding names them."""
    gateway, interface = facts.get("gateway"), facts.get("interface")
    return {"gateway": gateway, "interface": interface, "link": interface if gateway is None else None}


def _commands(templates: Sequence[str], values: Mapping[str, str | int | None]) -> list[str]:
    """The commands that make sense for this target, ready to copy."""
    lines = (fill(template, values) for template in templates)
    return [line for line in lines if line is not None]


def _utc(seconds: float) -> str:
    """RFC 3339 in UTC with microseconds."""
    whole, micro = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_utc_second(whole)}.{micro:06d}Z"


@lru_cache(maxsize=4)
def _utc_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
