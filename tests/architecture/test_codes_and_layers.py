"""The table of codes, the layers and the lab's scenarios agree with each other."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetprobe import settle
from fleetprobe.codes.table import CODES
from fleetprobe.layer import Judge, Ladder, Layer
from fleetprobe.layers.ladders import LADDERS
from fleetprobe.layers.starttls import layer as starttls

ROOT = Path(__file__).parent.parent.parent
SCENARIOS = ROOT / "fleetprobe" / "lab" / "scenarios"
STARTTLS = {f"{starttls.LAYER.name} behind a dialogue": starttls.LAYER}
LAYERS: dict[str, Layer] = {
    layer.name: layer for ladder in LADDERS.values() for layer in ladder if layer not in STARTTLS.values()
} | STARTTLS
"""Of tcp the one of the last ladder, with every witness; two rungs are called tls."""

MADE_BY_THE_ENGINE = {
    "policy.denied", "local.bug", "input.invalid", "ip.address_partial", "ip.v4_only_broken", "ip.v6_only_broken",
    *settle.EMITS,
}
"""Codes that no layer's judge gives: admission, our own bugs, bad lines, the sum over addresses, and over targets."""

NOT_IN_THE_LAB = {
    "local.conntrack_full": ("layers/test_silence.py", "nf_conntrack_max belongs to the machine, not to a namespace"),
    "input.invalid": ("properties/test_schema.py", "a line of an inventory is no place on a network"),
    "local.clock_skew": ("audit/test_clock.py", "the clock of the machine is not a namespace's own"),
    "local.bug": ("engine/test_one.py", "a bug has no scenario"),
    "local.fd_limit": ("engine/test_fleet.py", "the lab's own servers would starve first"),
    "local.overload": ("engine/test_own_limits.py", "lag of our own loop"),
    "tcp.slow": ("engine/test_own_limits.py", "needs half a second of delay on a link"),
    "mtu.unproven": ("layers/test_mtu_path.py", "said only with --mtu always, which the lab is not scanned with"),
    "tls.protocol_error": ("layers/test_tls_judge.py", "a peer that breaks the protocol on purpose"),
    "tls.rejected_by_verifier": ("layers/test_tls_judge.py", "verify codes that no ordinary chain brings about"),
    "tls.malformed": ("layers/test_tls_judge.py", "a certificate that no tool would issue"),
    "tls.weak_key": ("layers/test_tls_judge.py", "a verify code"),
    "tls.weak_signature": ("layers/test_tls_judge.py", "a verify code"),
}
"""Codes emitted today that no scenario of the lab produces: the test that injects each, and the reason."""


def judges() -> Iterator[tuple[str, Judge]]:
    for name, layer in LAYERS.items():
        yield name, layer.judge
        for witness in layer.witnesses:
            if witness.judge is not None:
                yield f"{name} {witness.name}", witness.judge


@pytest.mark.parametrize(("name", "judge"), [pytest.param(*pair, id=pair[0]) for pair in judges()])
def test_a_judge_is_a_plain_function_of_facts_and_policy(name: str, judge: Judge) -> None:
    assert inspect.isfunction(judge)
    assert not inspect.iscoroutinefunction(judge)
    assert not inspect.isgeneratorfunction(judge)
    assert list(inspect.signature(judge).parameters) == ["facts", "policy"]


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_a_layer_declares_only_codes_of_the_table_that_are_marked_emitted(layer: Layer) -> None:
    assert layer.emits <= set(CODES)
    assert not {name for name in layer.emits if not CODES[name].emitted}


@pytest.mark.parametrize("ladder", LADDERS.values(), ids=LADDERS)
def test_what_a_witness_waits_for_and_what_a_climb_goes_on_with_is_declared(ladder: Ladder) -> None:
    given = frozenset[str]().union(*(layer.emits for layer in ladder))
    for layer in ladder:
        assert layer.goes_on <= layer.emits
        for witness in layer.witnesses:
            # A witness shared by several ladders may wait for more than one of them gives, not for nothing.
            assert witness.when <= (given if witness.layer is None else witness.when)
            assert witness.when & given or witness.afterwards
            assert (witness.probe is None) == (witness.judge is None)
            assert 1 <= witness.times <= 3


def test_every_code_marked_emitted_is_given_by_a_layer_or_by_the_engine() -> None:
    given = MADE_BY_THE_ENGINE.union(*(layer.emits for layer in LAYERS.values()))
    assert {name for name, code in CODES.items() if code.emitted} == given


def test_every_literal_code_in_a_layer_is_declared_by_some_layer() -> None:
    declared = set().union(*(layer.emits for layer in LAYERS.values()))
    for path in sorted((ROOT / "fleetprobe" / "layers").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        for name in CODES:
            if f'found("{name}"' in text:
                assert name in declared, f"{path.name} gives {name}, which no layer declares"


def scenarios() -> dict[str, dict[str, Any]]:
    return {path.stem: tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(SCENARIOS.glob("*.toml"))}


def rows(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = scenario["target"]
    assert found
    return found


def expected_codes(scenario: dict[str, Any]) -> set[str]:
    """What must be said; one of several codes that can be right need not be."""
    found: set[str] = set()
    for target in rows(scenario):
        code = target["expect"].get("code")
        found.update([code] if isinstance(code, str) else (), target["expect"].get("findings", ()))
    return found


def test_every_code_emitted_has_a_scenario_or_a_reason_and_none_has_both() -> None:
    produced = set().union(*map(expected_codes, scenarios().values()))
    emitted = {name for name, code in CODES.items() if code.emitted}
    assert produced <= emitted
    assert emitted - produced == set(NOT_IN_THE_LAB)


@pytest.mark.parametrize("code", NOT_IN_THE_LAB)
def test_what_the_lab_does_not_produce_is_injected_by_the_test_named(code: str) -> None:
    where, reason = NOT_IN_THE_LAB[code]
    assert reason
    assert f'"{code}"' in (ROOT / "tests" / where).read_text(encoding="utf-8")


def test_every_target_of_the_lab_names_a_look_alike_that_expects_something_else() -> None:
    everything = scenarios()
    for name, scenario in everything.items():
        for target in rows(scenario):
            other = target.get("lookalike") or scenario.get("lookalike")
            assert other in everything, f"{name}: {target['target']} names no scenario as its look-alike"
            assert other != name
            theirs = [row["expect"] for row in rows(everything[str(other)])]
            assert any(expect != target["expect"] for expect in theirs), f"{name} and {other} expect the same"
