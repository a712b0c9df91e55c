"""What every test run obeys: hypothesis without surprises, and skips that are said aloud or are failures."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

from fleetprobe.layers.tls import facts, judge

# What tests present must not reach the cache of whoever runs them, nor one test the next.
os.environ["FLEETPROBE_POOL"] = "none"

REQUIRE_LAB = "FLEETPROBE_REQUIRE_LAB"

# Other work on the machine must not turn a property into a matter of luck, so there is no time limit per example;
# pytest-timeout ends what hangs.
settings.register_profile("suite", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    """Certificates made by hand share fingerprints, by which the judge of TLS remembers good chains."""
    judge._GOOD.clear()
    facts._ISSUERS.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where everything is required, what cannot run has failed."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get(REQUIRE_LAB) == "1":
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_LAB}=1, so this skip is a failure: {_reason(report)}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how much was not shown, and why, in one place at the end."""
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        reasons = sorted({_reason(report) for report in skipped})
        terminalreporter.section(f"NOT SHOWN: {len(skipped)} tests were skipped", sep="!")
        for reason in reasons:
            terminalreporter.line(f"  {sum(_reason(report) == reason for report in skipped):4} x {reason}")


def _reason(report: pytest.TestReport) -> str:
    longrepr = report.longrepr
    return str(longrepr[2] if isinstance(longrepr, tuple) else longrepr).removeprefix("Skipped: ")
