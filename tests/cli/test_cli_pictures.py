"""The pictures of the README are drawn from records and fetch nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.cli.program import ROOT, environment
from tests.cli.rows import failed, run_end


def draw(folder: Path, *records: Mapping[str, object], more: Sequence[str] = ()) -> None:
    path = folder / "records.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in records))
    subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "pictures.py"), str(folder / "out"), str(path), *more],
        env=environment(), check=True, capture_output=True, timeout=60,
    )


def test_pictures_are_drawn_from_a_file_of_records(tmp_path: Path) -> None:
    start = {"kind": "run_start", "argv": ["scan", "-i", "/secret/place/fleet.yaml", "-o", "/secret/place/night.jsonl"]}
    draw(tmp_path, start, failed(), run_end())
    check, scan = ((tmp_path / "out" / f"{name}.svg").read_text() for name in ("check", "scan"))
    assert "FAIL" in check
    assert "tls.expired" in check
    assert "tls.expired" in scan
    assert "night.jsonl" in scan
    assert "secret" not in check + scan
    assert not (tmp_path / "out" / "sizes.svg").exists()


def test_a_check_of_a_hole_is_drawn_from_a_file_of_its_own(tmp_path: Path) -> None:
    step = {"layer": "mtu", "outcome": "fail", "code": "mtu.black_hole", "start_ms": None, "duration_ms": 1.0}
    ladder = [{"size_bytes": 1400, "met": "passes"}, {"size_bytes": 1401, "met": "stalls", "hole": "reverse"}]
    facts = {"ladder": ladder, "path_mtu_bytes": 1400, "stalls_at_bytes": 1401, "path_mtu_direction": "reverse"}
    path = tmp_path / "hole.jsonl"
    hole = failed(code="mtu.black_hole", layers=[{**step, "facts": facts}])
    path.write_text("".join(json.dumps(row) + "\n" for row in (hole, run_end())))
    start = {"kind": "run_start", "argv": ["scan", "-i", "fleet.yaml", "-o", "night.jsonl"]}
    draw(tmp_path, start, failed(), run_end(), more=["--sizes", str(path)])
    assert "1401" in (tmp_path / "out" / "sizes.svg").read_text()
    assert "1401" not in (tmp_path / "out" / "check.svg").read_text()


@pytest.mark.parametrize("name", ["check", "scan", "sizes"])
def test_the_committed_pictures_are_well_formed_and_load_nothing(name: str) -> None:
    svg = (ROOT / "docs" / "pictures" / f"{name}.svg").read_text()
    ElementTree.fromstring(svg)  # our own file
    assert not re.search(r"@font-face|url\((?!#)|<image|<script|xlink", svg)
