"""What a `*` in a certificate stands for, held against the openssl program."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from fleetprobe.lab.chains import make_world
from fleetprobe.lab.issue import Use, issue_leaf
from fleetprobe.layers.tls.certificate import Certificate, read
from fleetprobe.layers.tls.names import mismatch
from tests.lab.conftest import require_program

WORLD = make_world(datetime.now(UTC))
CASES = [
    ("*.shop.test", "a.shop.test", None),
    ("*.SHOP.test", "A.shop.TEST", None),
    ("*.shop.test", "-x.shop.test", None),
    ("*.shop.test", "xn--bcher-kva.shop.test", None),
    ("*.xn--bcher-kva.test", "a.xn--bcher-kva.test", None),
    ("*.x--y.test", "a.x--y.test", None),
    ("my_host.shop.test", "my_host.shop.test", None),
    ("*.shop.test", "my_host.shop.test", "wildcard_label"),
    ("*.shop.test", "a+b.shop.test", "wildcard_label"),
    ("*.my_zone.test", "a.my_zone.test", "wildcard_label"),
    ("*.x--.test", "a.x--.test", "wildcard_label"),
    ("*.-x.test", "a.-x.test", "wildcard_label"),
    ("*.shop.test", "shop.test", "wildcard_does_not_cover_apex"),
    ("*.shop.test", "a.b.shop.test", "wildcard_covers_one_label"),
]


@pytest.mark.parametrize(("held", "asked", "reason"), CASES)
def test_a_wildcard_covers_what_it_covers_for_openssl(
    held: str, asked: str, reason: str | None, tmp_path: Path
) -> None:
    issuer = WORLD.trusted.root
    leaf = issue_leaf("x", issuer, WORLD.life, Use(names=(held,))).certificate
    certificate = read(leaf.public_bytes(Encoding.DER))
    assert isinstance(certificate, Certificate)
    missed = mismatch(certificate, asked)
    assert (missed.reason if missed else None) == reason
    require_program("openssl")
    (tmp_path / "root").write_bytes(issuer.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "leaf").write_bytes(leaf.public_bytes(Encoding.PEM))
    command = ["openssl", "verify", "-CAfile", "root", "-verify_hostname", asked, "leaf"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (said.returncode == 0, "ostname mismatch" in said.stderr) == (reason is None, reason is not None)
