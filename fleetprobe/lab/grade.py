"""Expected against found: every target of a lab beside the record that the scanner wrote about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from fleetprobe.lab.scenario import Expectation, LabTarget
from fleetprobe.record.amend import apply_amends


class Grade(StrEnum):
    """How one answer compares with the expectation."""

    RIGHT = "right"
    WRONG = "wrong"
    MISSING = "missing"
    """No record was written for the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The part of a record that is graded."""

    state: str
    code: str | None
    confidence: str | None
    findings: tuple[str, ...]
    summary: str = ""
    record: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The whole record, for the columns that an expectation names."""

    def __str__(self) -> str:
        return " ".join(word for word in (self.state, self.code, self.confidence) if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeRow:
    """One target's line in the report."""

    case: str
    """`SCENARIO#N`."""
    target: str
    expected: Expectation
    found: Answer | None
    grade: Grade
    why: str
    """What differs, in a few words; empty when right."""
    duration_ms: float | None

    @property
    def scenario(self) -> str:
        """Name of the scenario that the target belongs to."""
        return self.case.partition("#")[0]


def grade(records: Iterable[Mapping[str, Any]], targets: Sequence[LabTarget]) -> list[GradeRow]:
    """Compare the `result` records of one or more runs with what the targets expect, in the targets' order.

    Records are matched by their label `case`; `amend` records are applied, the last record of a case counts.
    """
    found = _by_case(records)
    return [_row(target, found.get(target.case)) for target in targets]


def _by_case(records: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {_case(result): result for result in apply_amends(records)}


def _case(result: Mapping[str, Any]) -> str:
    return str((result.get("labels") or {}).get("case", ""))


def _row(target: LabTarget, record: Mapping[str, Any] | None) -> GradeRow:
    answer = None if record is None else _answer(record)
    why = "no record" if answer is None else "; ".join(_differences(target.expect, answer))
    verdict = Grade.MISSING if answer is None else Grade.WRONG if why else Grade.RIGHT
    return GradeRow(
        case=target.case, target=target.target, expected=target.expect, found=answer, grade=verdict, why=why,
        duration_ms=None if record is None else record.get("duration_ms"),
    )


def _answer(record: Mapping[str, Any]) -> Answer:
    return Answer(
        state=record["state"], code=record["code"], confidence=record["confidence"],
        findings=tuple(finding["code"] for finding in record.get("findings") or ()),
        summary=record.get("summary") or "", record=record,
    )


def _differences(expect: Expectation, answer: Answer) -> list[str]:
    pairs: list[tuple[str, Sequence[str | None], str | None]] = [("state", expect.state, answer.state)]
    if expect.code or len(expect.state) == 1:
        pairs.append(("code", expect.code or (None,), answer.code))
    if expect.confidence:
        pairs.append(("confidence", expect.confidence, answer.confidence))
    wrong = [
        f"{what} {got or 'none'}, not {' or '.join(str(one or 'none') for one in want)}"
        for what, want, got in pairs if got not in want
    ]
    wrong += [f"finding {code} is missing" for code in expect.findings if code not in answer.findings]
    wrong += [f"finding {code} is wrong" for code in expect.without if code in (answer.code, *answer.findings)]
    columns = {name: answer.record.get(name) for name in expect.columns}
    wrong += [f"{name} {columns[name]}, not {want}" for name, want in expect.columns.items() if columns[name] != want]
    wrong += [f"the summary does not name {name}" for name in expect.says if name not in answer.summary]
    return wrong
