"""All scenarios together: they live in one laboratory at once, so none may disturb another."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetprobe.lab.load import BUILT_IN, ScenarioError, load_scenario
from fleetprobe.lab.scenario import HOOKS, LabTarget, RunSettings, Scenario
from fleetprobe.lab.topology import INFRASTRUCTURE

_ADDRESS_IN_RULE = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\b2001:db8(?::[0-9a-f]{0,4})+")
MAX_SCENARIOS = 500


@dataclass(frozen=True, slots=True)
class ScanGroup:
    """Targets that are scanned by one run of the scanner."""

    name: str
    """`main`, or the name of the first scenario with these settings."""
    settings: RunSettings
    targets: tuple[LabTarget, ...]


def load_fleet(directory: Path = BUILT_IN, only: Sequence[str] = ()) -> tuple[Scenario, ...]:
    """Read every `*.toml` of a directory, sorted by name, and check them against each other.

    `only` keeps the named scenarios. Raises ScenarioError for a bad file, a scenario that does not exist,
    a look-alike that does not exist, and for two scenarios that share an address or a name.
    """
    paths = sorted(directory.glob("*.toml"))
    if not paths:
        raise ScenarioError(f"{directory}: holds no scenario (*.toml)")
    if len(paths) > MAX_SCENARIOS:
        raise ScenarioError(f"{directory}: holds more than {MAX_SCENARIOS} scenarios")
    fleet = tuple(load_scenario(path) for path in paths)
    check_fleet(fleet)
    unknown = sorted(set(only) - {scenario.name for scenario in fleet})
    if unknown:
        raise ScenarioError(f"no such scenario: {', '.join(unknown)}")
    return tuple(scenario for scenario in fleet if not only or scenario.name in only)


def check_fleet(fleet: Sequence[Scenario]) -> None:
    """Raise ScenarioError where two scenarios collide or a look-alike is not among them."""
    names = {scenario.name for scenario in fleet}
    for scenario in fleet:
        for target in scenario.targets:
            if target.lookalike not in names or target.lookalike == scenario.name:
                raise ScenarioError(f"{scenario.name}.toml: {target.lookalike!r} is no other scenario's name")
    _refuse_sharing("address", ((s.name, a) for s in fleet for a in s.server_addresses))
    _refuse_sharing("name", ((s.name, name) for s in fleet for name in (*(e.name for e in s.dns), *s.hosts)))
    _refuse_sharing("own vantage", ((s.name, str(s.own.number)) for s in fleet if s.own))
    _refuse_infrastructure(fleet)
    _refuse_double_listening(fleet)
    _refuse_foreign_rules(fleet)


def _refuse_sharing(what: str, owned: Iterable[tuple[str, str]]) -> None:
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for scenario, thing in owned:
        owners[thing].add(scenario)
    for thing, who in owners.items():
        if len(who) > 1:
            raise ScenarioError(f"{what} {thing} belongs to several scenarios: {', '.join(sorted(who))}")


def _refuse_infrastructure(fleet: Sequence[Scenario]) -> None:
    for scenario in fleet:
        for address in sorted(INFRASTRUCTURE.intersection(scenario.server_addresses)):
            raise ScenarioError(f"{scenario.name}.toml: {address} belongs to the lab itself")


def _refuse_double_listening(fleet: Sequence[Scenario]) -> None:
    for scenario in fleet:
        taken: set[tuple[str, int]] = set()
        for server in scenario.servers:
            for address in server.addresses:
                if (address, server.port) in taken:
                    where = f"{address} port {server.port}"
                    raise ScenarioError(f"{scenario.name}.toml: two servers listen on {where}")
                taken.add((address, server.port))


def _refuse_foreign_rules(fleet: Sequence[Scenario]) -> None:
    """A firewall rule must name an address, and no address of another scenario."""
    owner = {address: scenario.name for scenario in fleet for address in scenario.server_addresses}
    owner |= {a: s.name for s in fleet if s.own for a in (*s.own.addresses, *s.own.gateways)}
    for scenario in fleet:
        for rule in rules_of(scenario):
            found = _ADDRESS_IN_RULE.findall(rule)
            if not found:
                raise ScenarioError(f"{scenario.name}.toml: rule {rule!r} names no address: it would hit all")
            for address in found:
                if owner.get(address, scenario.name) != scenario.name:
                    raise ScenarioError(f"{scenario.name}.toml: rule {rule!r} hits {owner[address]}")


def rules_of(scenario: Scenario) -> Iterator[str]:
    """Every firewall rule of a scenario in a shared namespace, whatever the hook."""
    for firewall in scenario.firewalls.values():
        for hook in HOOKS:
            yield from getattr(firewall, hook)


def scan_groups(fleet: Iterable[Scenario]) -> tuple[ScanGroup, ...]:
    """The scans that cover a fleet: one for all scenarios without wishes, then one per kind of settings."""
    groups: dict[RunSettings, list[Scenario]] = {}
    for scenario in fleet:
        groups.setdefault(scenario.run, []).append(scenario)
    plain = RunSettings()
    ordered = sorted(groups, key=lambda settings: (settings != plain, groups[settings][0].name))
    return tuple(
        ScanGroup(
            name="main" if settings == plain else groups[settings][0].name,
            settings=settings,
            targets=tuple(target for scenario in groups[settings] for target in scenario.targets),
        )
        for settings in ordered
    )


def all_targets(fleet: Iterable[Scenario]) -> tuple[LabTarget, ...]:
    """Every target of a fleet in order."""
    return tuple(target for scenario in fleet for target in scenario.targets)
