"""Every fault of the lab is really there: seen by plain sockets, before any scanner judges it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetprobe.lab.fleet import ScanGroup, all_targets, load_fleet
from fleetprobe.lab.lab import Lab, inventory_lines
from fleetprobe.lab.scenario import LabTarget, Place
from fleetprobe.lab.topology import RESOLVER
from tests.lab.conftest import require_program
from tests.lab.signatures import (
    HOLES,
    NEIGHBOUR_FAILURE_MS,
    SIGNATURES,
    UNEXPLAINED,
    WARNINGS,
    Observation,
    healthy,
)

pytestmark = pytest.mark.lab

WIRE = Path(__file__).with_name("wire.py")
SIZES = Path(__file__).with_name("sizes.py")
LOSSES = Path(__file__).with_name("losses.py")
SCANS_AT_ONCE = 12
TARGETS = all_targets(load_fleet())
BY_CHANCE = [target for target in TARGETS if len(target.expect.state) > 1]
CARRIES = {"mtu-hole-odd-size": 1437, "mtu-hole-jumbo": 1500, "mtu-reduced-jumbo": 1500}
"""Scenario to the bytes of the largest IP packet that its narrow path carries, where that is not the usual size."""
USUAL_NARROW = 1400
STEPS = (1280, 1380, 1400, 1420, 1450, 1476, 1492, 1500, 4000, 8000)
"""The sizes that a scan asks about: it can tell no other."""


def carries(case: str) -> int:
    return CARRIES.get(case.partition("#")[0], USUAL_NARROW)


def observe(lab: Lab) -> dict[str, Observation]:
    """Look at every target of a lab, one process per group of settings, a few at a time."""

    def look(group: ScanGroup) -> dict[str, Observation]:
        args = group.settings.args
        resolver = args[args.index("--resolver") + 1] if "--resolver" in args else RESOLVER[0]
        found = run(group, WIRE, group.targets, resolver)
        if measured := [target for target in group.targets if target.case.startswith("mtu-")]:
            for case, sizes in run(group, SIZES, measured, str(carries(measured[0].case))).items():
                found[case]["sizes"] = sizes
        return found

    def run(group: ScanGroup, script: Path, targets: Sequence[LabTarget], *args: str) -> dict[str, Observation]:
        done = lab.run_in(
            group.settings.vantage, [sys.executable, str(script), str(lab.ca_file), *args],
            timeout_s=60, stdin="\n".join(inventory_lines(targets)),
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Observation] = json.loads(done.stdout)
        return found

    first, *rest = lab.groups()
    # The first is by far the largest and has timings to show, so it has the machine to itself.
    seen = look(first)
    with ThreadPoolExecutor(SCANS_AT_ONCE) as pool:
        for found in pool.map(look, rest):
            seen.update(found)
    return seen


@pytest.fixture(scope="module")
def observations(lab: Lab) -> dict[str, Observation]:
    return observe(lab)


@pytest.mark.parametrize("target", [t for t in TARGETS if t not in BY_CHANCE], ids=lambda target: target.case)
def test_the_wire_shows_what_the_target_expects(
    target: LabTarget, observations: dict[str, Observation]
) -> None:
    assert_shown(target, observations[target.case])


def assert_shown(target: LabTarget, seen: Observation) -> None:
    if target.fields.get("expect_addresses") == "all":
        # One bad address decides, so the good ones are not looked at.
        bad = {address: what for address, what in seen["addresses"].items() if what["connect"] != "open"}
        seen = {**seen, "addresses": bad}
    marks = [SIGNATURES[code] for code in target.expect.code] or [healthy]

    def holds(what: Observation) -> bool:
        return any(mark(what) for mark in marks)

    if {"observed", "inferred"} <= set(target.expect.confidence):
        # Chance decides which of these the fault itself shows, and which only beside its neighbours.
        assert holds(seen) or UNEXPLAINED(seen), json.dumps(seen, indent=1)
        return
    assert holds(seen), json.dumps(seen, indent=1)
    assert all(WARNINGS[code](seen) for code in target.expect.findings), json.dumps(seen, indent=1)


@pytest.mark.parametrize("scenario", ["absent-host-behind-router", "absent-host-on-own-link", "gateway-dead",
                                      "gateway-gone"])
def test_an_unanswered_neighbour_is_reported_after_three_seconds(
    scenario: str, observations: dict[str, Observation]
) -> None:
    for case in (f"{scenario}#1", f"{scenario}#2"):
        (address,) = observations[case]["addresses"].values()
        assert NEIGHBOUR_FAILURE_MS[0] <= address["ms"] <= NEIGHBOUR_FAILURE_MS[1]


@pytest.mark.parametrize("family", ["198.18.64.", "2001:db8:64::"])
def test_a_router_with_default_limits_tells_some_of_a_prefix_and_leaves_the_others_silent(
    family: str, observations: dict[str, Observation]
) -> None:
    asked = [
        seen for case, seen in observations.items() if case.startswith("prohibited-prefix-few-are-told#")
        for address in seen["addresses"] if address.startswith(family) and not address.endswith("200")
    ]
    told = sum(SIGNATURES["ip.admin_prohibited"](seen) for seen in asked)
    silent = sum(UNEXPLAINED(seen) for seen in asked)
    assert len(asked) == told + silent == 20
    assert told >= 2
    assert silent >= 2


@pytest.mark.parametrize(
    "target", [t for t in TARGETS if "path_mtu_direction" in t.expect.columns], ids=lambda target: target.case
)
def test_a_hole_is_in_the_direction_and_of_the_size_that_its_scenario_says(
    target: LabTarget, observations: dict[str, Observation]
) -> None:
    (seen,) = observations[target.case]["sizes"].values()
    assert target.expect.columns["path_mtu_bytes"] == max(step for step in STEPS if step <= carries(target.case))
    assert HOLES[str(target.expect.columns["path_mtu_direction"])](seen), json.dumps(seen, indent=1)
    assert (seen["just_fits"]["ending"], seen["one_too_large"]["ending"]) == ("whole", "silent")


@pytest.mark.parametrize(
    "target", [t for t in TARGETS if "mtu.black_hole" in t.expect.without and t not in BY_CHANCE],
    ids=lambda target: target.case,
)
def test_what_must_not_be_called_a_hole_ends_alike_with_segments_of_any_size(
    target: LabTarget, observations: dict[str, Observation]
) -> None:
    (seen,) = observations[target.case]["sizes"].values()
    for request in ("own", "long"):
        assert seen[f"{request}_large"]["ending"] == seen[f"{request}_small"]["ending"], json.dumps(seen, indent=1)


def test_the_marks_of_one_kind_of_path_are_not_found_on_another(observations: dict[str, Observation]) -> None:
    # A server that has learnt a path MTU announces a smaller segment size, and then it looks like a clamp.
    harmless = {"mtu.reduced", "mtu.clamped"}
    kinds = {"mtu-reduced": harmless, "mtu-clamped": harmless, "mtu-not-the-path": set[str](),
             "mtu-full": set[str](), "mtu-hole-masked": {"mtu.masked"}, "mtu-hole": {"mtu.black_hole"}}
    marks = {**{code: holds for code, holds in WARNINGS.items() if code.startswith("mtu.")},
             "mtu.black_hole": SIGNATURES["mtu.black_hole"]}
    measured = {case: seen for case, seen in observations.items() if case.startswith("mtu-")}
    assert len(measured) > 90
    for case, seen in measured.items():
        allowed = next(codes for start, codes in kinds.items() if case.startswith(start))
        shown = {code for code, holds in marks.items() if holds(seen)}
        assert shown <= allowed, (case, shown)


def test_the_marks_of_an_untidy_chain_are_found_where_it_is_expected_and_nowhere_else(
    observations: dict[str, Observation]
) -> None:
    of_trust = ("tls.issuer_unknown", "tls.untrusted_root", "tls.interception_suspected")
    marks = {code: holds for code, holds in WARNINGS.items() if code.startswith("tls.") and code not in of_trust}
    chains = [target for target in TARGETS if target.case.startswith(("chain-", "certificate-", "tls-version-"))]
    sound = [target for target in chains if target.expect.state == ("ok",)]
    assert len(marks) == 9
    assert len(sound) >= 10
    for target in chains:
        shown = {code for code, holds in marks.items() if holds(observations[target.case])}
        assert shown == set(target.expect.findings).difference(of_trust), target.case


def test_who_trusts_the_other_authority_accepts_what_others_reject(observations: dict[str, Observation]) -> None:
    addresses = observations["trust-first-label-fails#1"]["addresses"].values()
    assert [address["elsewhere"]["ending"] for address in addresses] == ["done", "done"]


def test_a_narrow_way_back_shows_in_nothing_but_the_segments_that_come(observations: dict[str, Observation]) -> None:
    for number in range(1, 5):
        ((address, seen),) = observations[f"mtu-reduced-reverse#{number}"]["sizes"].items()
        assert seen["datagrams"]["full"] == "ECONNREFUSED"
        assert seen["own_large"]["rcv_mss"] == (1328 if ":" in address else 1348)


@pytest.mark.parametrize("scenario", ["mtu-hole-reverse-icmp-filtered", "mtu-hole-reverse-silent", "mtu-hole-masked"])
def test_a_full_datagram_of_ours_passes_where_only_the_way_back_is_a_hole(
    scenario: str, observations: dict[str, Observation]
) -> None:
    for number in range(1, 5):
        (seen,) = observations[f"{scenario}#{number}"]["sizes"].values()
        assert seen["datagrams"] == {"small": "ECONNREFUSED", "full": "ECONNREFUSED"}


@pytest.mark.parametrize("rtt_ms", [80, 300])
@pytest.mark.parametrize("kind", ["mtu-full", "mtu-hole"])
def test_a_link_that_takes_time_takes_as_much_as_its_scenario_says(
    kind: str, rtt_ms: int, observations: dict[str, Observation]
) -> None:
    for number in range(1, 5):
        (seen,) = observations[f"{kind}-{rtt_ms}-ms-away#{number}"]["sizes"].values()
        talks = (seen[f"{asked}_{segments}"] for asked in ("own", "long") for segments in ("large", "small"))
        rtts_ms = [talk["at_first"]["rtt_us"] / 1000 for talk in talks]
        # Never less; more only as this busy machine has it, and not every time.
        assert rtt_ms <= min(rtts_ms) < 1.2 * rtt_ms, rtts_ms


@pytest.mark.parametrize("scenario", ["mtu-full-80-ms-away", "mtu-full-300-ms-away"])
def test_no_packet_that_crossed_a_link_that_takes_time_has_a_wrong_checksum(
    scenario: str, lab: Lab, observations: dict[str, Observation]
) -> None:
    (own,) = {group.settings.vantage for group in lab.groups() if group.name == scenario}
    for place in (own, Place.SERVER):
        rows = [line.split() for line in lab.run_in(place, ["cat", "/proc/net/snmp"]).stdout.splitlines()]
        (names, values) = (row[1:] for row in rows if row[0] == "Tcp:")
        # One count for both families.
        tcp = dict(zip(names, map(int, values), strict=True))
        assert tcp["InSegs"] > 50
        assert tcp["InCsumErrors"] == 0


def test_a_packet_of_9000_bytes_arrives_where_all_links_are_wide(observations: dict[str, Observation]) -> None:
    for number in range(1, 5):
        ((address, seen),) = observations[f"mtu-full-jumbo#{number}"]["sizes"].items()
        assert seen["datagrams"]["full"] == "ECONNREFUSED"
        assert seen["own_large"]["at_first"]["snd_mss"] == 9000 - (72 if ":" in address else 52)


def test_what_the_lab_loses_at_random_is_as_much_as_its_scenario_says(lab: Lab) -> None:
    (group,) = (group for group in lab.groups() if group.name == "loss-at-random")
    done = lab.run_in(
        group.settings.vantage, [sys.executable, str(LOSSES)], timeout_s=30,
        stdin="\n".join(inventory_lines(group.targets)),
    )
    assert done.returncode == 0, done.stderr
    # Of 200 datagrams, with the loss of the way back on top; six standard deviations to either side.
    bounds = {5: (155, 199), 20: (87, 169)}
    for case, loss in zip([target.case for target in BY_CHANCE], (5, 5, 20, 20), strict=True):
        low, high = bounds[loss]
        assert low <= json.loads(done.stdout)[case] <= high, done.stdout


def test_where_source_ports_are_few_some_connections_must_wait(observations: dict[str, Observation]) -> None:
    waits = [
        address["out_of_ports"] for case, seen in observations.items() if case.startswith("few-source-ports#")
        for address in seen["addresses"].values()
    ]
    assert len(waits) == 12
    assert sum(waits) > 0


def test_a_cut_answer_comes_by_tcp_where_nobody_drops_it(observations: dict[str, Observation]) -> None:
    assert observations["dns-answer-needs-tcp#1"]["dns"]["cut"]
    assert not observations["dns-tcp-dropped#2"]["dns"]["cut"]


def test_a_healthy_connect_is_fast_in_both_families(observations: dict[str, Observation]) -> None:
    addresses = observations["healthy-web-server#1"]["addresses"]
    assert sorted(addresses) == ["2001:db8:3::11", "203.0.113.11"]
    assert all(address["ms"] < 500 for address in addresses.values())


def test_ping_is_dead_where_it_is_said_to_be_and_alive_elsewhere(lab: Lab) -> None:
    require_program("ping")

    def ping(address: str) -> int:
        argv = ["ping", "-c", "1", "-W", "1", address]
        return lab.run_in(Place.CLIENT, argv, drop_privileges=False, timeout_s=10).returncode

    assert ping("203.0.113.13") == 1
    assert ping("2001:db8:3::13") == 1
    assert ping("203.0.113.11") == 0
    assert ping("2001:db8:3::11") == 0


def test_our_own_servers_stand_in_for_nginx_and_dnsmasq(labs: Path) -> None:
    lab = Lab("plain", labs)
    only = [scenario.name for scenario in load_fleet() if "nginx" in scenario.needs]
    only += ["dns-name-does-not-exist", "dns-server-failure", "dns-alias-loop", "dns-one-name-never-answered"]
    status = lab.up(only=only, ephemeral=True, daemons=False)
    try:
        assert (status.http_server, status.name_server) == ("python", "python")
        seen = observe(lab)
        targets = all_targets(lab.fleet())
        assert len(targets) == len(seen) >= 15
        for target in targets:
            assert_shown(target, seen[target.case])
    finally:
        lab.down()
