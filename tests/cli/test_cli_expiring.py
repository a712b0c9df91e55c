"""`--expiring`: the horizon of a scan and of a check, against a real server of this machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fleetprobe.lab.chains import chain, make_world
from fleetprobe.lab.issue import Use
from fleetprobe.lab.scenario import Certificate
from tests.cli.program import run
from tests.net.test_tls_chain_live import pem
from tests.net.test_tls_live import echo, serving, speaking_tls


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A server whose certificate has ten days left."""
    made = chain(Certificate.EXPIRING, Use(addresses=("127.0.0.1",)), make_world(datetime.now(UTC)))
    with serving(speaking_tls(pem(made), tmp_path_factory.mktemp("server"), echo)) as port:
        yield port


@pytest.mark.parametrize("command", ["scan", "check"])
@pytest.mark.parametrize(("args", "told"), [((), True), (("--expiring", "11d"), True), (("--expiring", "9d"), False)])
def test_the_horizon_is_as_given(command: str, args: tuple[str, ...], told: bool, port: int, tmp_path: Path) -> None:
    done = run(command, f"tls://127.0.0.1:{port}", "--format", "jsonl", *args, cwd=tmp_path)
    (result,) = [row for row in map(json.loads, done.stdout.splitlines()) if row["kind"] == "result"]
    codes = [finding["code"] for finding in result["findings"]]
    assert ("tls.expiring" in codes) == told, done.stdout


def test_a_horizon_that_means_nothing_is_a_usage_error(port: int, tmp_path: Path) -> None:
    done = run("scan", f"tls://127.0.0.1:{port}", "--expiring", "soon", cwd=tmp_path)
    assert done.returncode == 2
    assert "--expiring" in done.stderr
