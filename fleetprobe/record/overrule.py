"""A verdict of a written result taken back: a finding of our own side becomes it in every place that told it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fleetprobe.model.verdict import Finding, Outcome
from fleetprobe.record.amend import target_of
from fleetprobe.record.result import concluded

Row = dict[str, Any]


def overrule(result: Mapping[str, Any], fields: Row, finding: Finding, excused: frozenset[str]) -> Row:
    """The fields of an amendment by which `finding` becomes the verdict and the `excused` codes are told no more.

    As if it had been known at the time: the layer that failed is unknown, its facts stay, and an entry of the finding's
    own layer stands at the ground.
    """
    now = {**result, **fields}
    ground = {
        "layer": finding.layer, "outcome": str(Outcome.UNKNOWN), "code": finding.code, "start_ms": None,
        "duration_ms": None, "facts": dict(finding.facts),
    }
    return {
        **fields,
        "state": str(finding.state),
        **concluded(finding, target_of(result), now),
        "findings": [one for one in now["findings"] if one["code"] not in excused],
        "addresses": [_excused(one, finding.code, excused) for one in now["addresses"]],
        "layers": [ground, *(_excused(one, None, excused) for one in _others(now["layers"], finding.layer))],
    }


def _others(layers: Sequence[Mapping[str, Any]], layer: str) -> Sequence[Mapping[str, Any]]:
    return [one for one in layers if one["layer"] != layer]


def _excused(one: Mapping[str, Any], code: str | None, excused: frozenset[str]) -> Mapping[str, Any]:
    """An entry that failed by what is excused is unknown, with this code; any other one as it was."""
    return {**one, "outcome": str(Outcome.UNKNOWN), "code": code} if one["code"] in excused else one
