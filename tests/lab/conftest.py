"""One laboratory for all tests, where this machine can carry one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from fleetprobe.lab.lab import Lab
from fleetprobe.lab.preflight import preflight
from fleetprobe.lab.programs import find_program


def require_lab() -> None:
    """Skip aloud where no lab can come up; with FLEETPROBE_REQUIRE_LAB=1 that is a failure."""
    problems = preflight()
    if problems:
        _give_up("no lab here: " + "; ".join(str(problem) for problem in problems))


def require_program(name: str) -> None:
    """The same for a program that one test needs."""
    if find_program(name) is None:
        _give_up(f"{name} is not installed")


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("FLEETPROBE_REQUIRE_LAB") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The whole fleet, up for the session."""
    require_lab()
    one = Lab("wire", private(tmp_path_factory))
    one.up(ephemeral=True)
    yield one
    one.down()


@pytest.fixture
def labs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private directory for labs of a test's own; skips where none can come up."""
    require_lab()
    return private(tmp_path_factory)


def private(factory: pytest.TempPathFactory) -> Path:
    path = factory.mktemp("labs")
    path.chmod(0o700)
    return path
