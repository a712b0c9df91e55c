"""What is known by the end of a run, laid over a result that was written before: columns to replace (design §7)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from fleetprobe.model.target import Target
from fleetprobe.model.verdict import Confidence, Finding
from fleetprobe.record.columns import SCHEMA_VERSION
from fleetprobe.record.result import concluded, listed

Row = dict[str, Any]


def amend_row(result: Mapping[str, Any], fields: Row, reason: str) -> Row:
    """The record that amends a result; `seq` is set when it is written."""
    return {
        "kind": "amend",
        "schema_version": SCHEMA_VERSION,
        "run_id": result["run_id"],
        "result_id": result["result_id"],
        "target_id": result["target_id"],
        "target": result["target"],
        "seq": 0,
        "reason": reason[:160],
        "was": {name: result[name] for name in ("state", "code", "confidence")},
        "fields": fields,
    }


def apply_amends(records: Iterable[Mapping[str, Any]]) -> Iterator[Row]:
    """Each result with what amends it laid over; results with the same `result_id` count once, as the last one."""
    results: dict[str, Row] = {}
    for record in records:
        if record["kind"] == "result":
            results[record["result_id"]] = dict(record)
        elif record["kind"] == "amend" and record["result_id"] in results:
            results[record["result_id"]].update(record["fields"])
    yield from results.values()


def amended(
    result: Mapping[str, Any], judged: Sequence[Finding], replaces: frozenset[str], facts: Mapping[str, Any]
) -> Row:
    """The columns of a result that change when the findings of these codes are judged anew.

    `judged` has the lowest rank first; `facts` are what was learnt about the layer that they belong to. The result is
    settled in any case.
    """
    fields: Row = {"settled": True}
    told = {str(one["code"]) for one in result["findings"]} | {str(result["code"])}
    if not judged or ({one.code for one in judged} <= told and not _news(result, judged[0].layer, facts)):
        return fields
    first, *rest = judged
    kept = [one for one in result["findings"] if one["code"] not in replaces]
    if result["code"] in replaces:
        if result["code"] != first.code or first.confidence is Confidence.PROVEN:
            fields.update(layer=first.layer, code=first.code)
            fields.update(concluded(first, target_of(result), {**result, **fields}))
            fields["addresses"] = [_address(one, result, first) for one in result["addresses"]]
    else:
        rest = list(judged)
    fields["findings"] = [*(listed(one) for one in rest), *kept]
    # What the finding says that speaks stands among the facts of its layer, in place of what the earlier one said.
    evidence = {**(first.facts if result["code"] in replaces else {}), **facts}
    fields["layers"] = [
        {**one, "code": first.code if one["code"] in replaces else one["code"], "facts": {**one["facts"], **evidence}}
        if one["layer"] == first.layer
        else one
        for one in result["layers"]
    ]
    return fields


def warned(result: Mapping[str, Any], fields: Row, finding: Finding) -> Row:
    """The fields of an amendment, and one more finding beside the verdict."""
    return {**fields, "findings": [*fields.get("findings", result["findings"]), listed(finding)]}


def _news(result: Mapping[str, Any], layer: str, facts: Mapping[str, Any]) -> bool:
    """Whether any of these facts differs from what was recorded."""
    recorded: dict[str, Any] = {}
    for one in result["layers"]:
        if one["layer"] == layer:
            recorded.update(one["facts"])
    return any(recorded.get(name) != value for name, value in facts.items())


def _address(one: Mapping[str, Any], result: Mapping[str, Any], finding: Finding) -> Mapping[str, Any]:
    decides = one["address"] == result["network_peer_address"] and one["code"] == result["code"]
    return {**one, "code": finding.code} if decides else one


def target_of(result: Mapping[str, Any]) -> Target:
    """The target as far as commands to copy need it."""
    return Target(
        service=result["service"],
        host=result["server_address"],
        port=result["server_port"],
        path=result["path"],
        sni=result["sni"],
        host_header=result["host_header"],
        connect_to=result["connect_to"],
    )
