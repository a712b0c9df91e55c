"""The loopback fleet serves the same faults on this machine's own addresses, without any namespace."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetprobe.lab.fleet import load_fleet
from fleetprobe.lab.loopback import Loopback, fits_loopback
from fleetprobe.lab.programs import child_environment
from fleetprobe.lab.state import LabError
from tests.lab.signatures import SIGNATURES, WARNINGS, Observation, healthy

WIRE = Path(__file__).with_name("wire.py")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Loopback]:
    one = Loopback()
    one.up()
    yield one
    one.down()


@pytest.fixture(scope="module")
def observations(fleet: Loopback) -> dict[str, Observation]:
    lines = "\n".join(json.dumps(target.inventory_fields()) for target in fleet.targets())
    done = subprocess.run(
        [sys.executable, str(WIRE), str(fleet.ca_file), "127.0.0.1"], input=lines, capture_output=True,
        text=True, timeout=60, check=True, env=child_environment(),
    )
    found: dict[str, Observation] = json.loads(done.stdout)
    return found


def test_every_loopback_target_shows_its_fault(
    fleet: Loopback, observations: dict[str, Observation]
) -> None:
    targets = fleet.targets()
    assert len(targets) >= 40
    wrong = [
        (target.case, observations[target.case])
        for target in targets
        for holds in [SIGNATURES[code] for code in target.expect.code] or [healthy]
        if not holds(observations[target.case])
        or not all(WARNINGS[code](observations[target.case]) for code in target.expect.findings)
    ]
    assert wrong == []


def test_the_loopback_fleet_covers_many_layers(fleet: Loopback) -> None:
    codes = {code for target in fleet.targets() for code in target.expect.code}
    assert {"tcp.refused", "tcp.reset", "tcp.closed", "tls.expired", "tls.self_signed", "tls.not_tls",
            "http.status", "http.bad_gateway", "http.unexpected_body", "http.slow", "app.no_banner"} <= codes


def test_every_loopback_target_stays_on_this_machine(fleet: Loopback) -> None:
    for target in fleet.targets():
        fields = target.inventory_fields()
        host = target.target.partition("//")[2]
        dialled = fields.get("connect_to") or host.rpartition(":")[0]
        assert dialled in ("127.0.0.1", "[::1]", "::1"), target


def test_faults_of_the_network_do_not_fit_on_loopback() -> None:
    left_out = {scenario.name for scenario in load_fleet() if not fits_loopback(scenario)}
    assert {"syn-dropped-on-the-way", "routing-loop", "dns-server-failure", "no-ipv6-at-vantage"} <= left_out
    assert "reset-at-accept" not in left_out


def test_a_loopback_fleet_that_is_down_has_no_files_and_no_targets() -> None:
    one = Loopback(only=("reset-at-accept",))
    assert len(one.up()) >= 1
    directory = one.directory
    one.down()
    assert not directory.exists()
    with pytest.raises(LabError, match="not up"):
        one.targets()
