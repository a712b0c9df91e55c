"""The pictures of the README are drawn from records and fetch nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.cli.program import ROOT, environment
from tests.cli.rows import failed, run_end


def test_pictures_are_drawn_from_a_file_of_records(tmp_path: Path) -> None:
    start = {"kind": "run_start", "argv": ["scan", "-i", "/secret/place/fleet.yaml", "-o", "/secret/place/night.jsonl"]}
    path = tmp_path / "records.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (start, failed(), run_end())))
    subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "pictures.py"), str(tmp_path / "out"), str(path)],
        env=environment(), check=True, capture_output=True, timeout=60,
    )
    check, scan = ((tmp_path / "out" / f"{name}.svg").read_text() for name in ("check", "scan"))
    assert "FAIL" in check
    assert "tls.expired" in check
    assert "tls.expired" in scan
    assert "night.jsonl" in scan
    assert "secret" not in check + scan


@pytest.mark.parametrize("name", ["check", "scan"])
def test_the_committed_pictures_are_well_formed_and_load_nothing(name: str) -> None:
    svg = (ROOT / "docs" / "pictures" / f"{name}.svg").read_text()
    ElementTree.fromstring(svg)  # our own file
    assert not re.search(r"@font-face|url\((?!#)|<image|<script|xlink", svg)
