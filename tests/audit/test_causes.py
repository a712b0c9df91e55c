"""Targets that fail for one reason become one cause, with those that work beside it as counter-examples."""

from __future__ import annotations

from typing import Any

from fleetprobe.audit.causes import Causes, cause_id
from fleetprobe.record.columns import CAUSE

GATEWAY = "gateway 198.18.1.1"


def row(target: str, code: str | None = None, gateway: str | None = None) -> dict[str, Any]:
    return {
        "target": target,
        "code": code,
        "state": "ok" if code is None else "fail",
        "summary": "one sentence",
        "layers": [{"facts": {} if gateway is None else {"gateway": gateway}}],
    }


def test_one_target_alone_is_no_shared_cause_but_has_its_id() -> None:
    causes = Causes()
    code = "vantage.gateway_unreachable"
    assert causes.see(row("a", code), GATEWAY) == cause_id(code, GATEWAY)
    assert list(causes.rows()) == []


def test_targets_with_one_factor_and_code_are_one_cause_and_others_are_not() -> None:
    causes = Causes()
    for name in "abc":
        causes.see(row(name, "vantage.gateway_unreachable"), GATEWAY)
    causes.see(row("d", "ip.net_unreachable"), GATEWAY)
    causes.see(row("e", "vantage.gateway_unreachable"), "gateway 198.18.1.2")
    (cause,) = causes.rows()
    assert (cause["target_count"], cause["targets"], cause["factor"]) == (3, ["a", "b", "c"], GATEWAY)
    assert set(cause) | {"schema_version", "run_id", "seq"} == set(CAUSE)


def test_targets_that_work_through_the_same_gateway_are_counter_examples() -> None:
    causes = Causes()
    for name in "ab":
        causes.see(row(name, "vantage.gateway_unreachable"), GATEWAY)
    assert causes.see(row("well", gateway="198.18.1.1"), None) is None
    causes.see(row("elsewhere", gateway="198.18.1.2"), None)
    (cause,) = causes.rows()
    assert cause["counter_examples"] == ["well"]


def test_the_widest_cause_comes_first_and_the_lists_stay_short() -> None:
    causes = Causes()
    for number in range(150):
        causes.see(row(f"n{number}", "ip.path_dies"), "router 198.18.12.2")
    for number in range(3):
        causes.see(row(f"m{number}", "ip.path_dies"), "router 198.18.12.3")
    wide, narrow = causes.rows()
    assert (wide["target_count"], len(wide["targets"])) == (150, 100)
    assert narrow["target_count"] == 3


def test_a_fault_without_a_factor_belongs_to_nobody_else() -> None:
    assert Causes().see(row("a", "tcp.refused"), None) is None
