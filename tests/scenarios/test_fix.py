"""The file to install: what three clients refuse before and accept after, and what it must never do to a disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shlex
import shutil
import socket
import ssl
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from fleetprobe.lab.issue import Issued, Life, Rights, Use, issue_authority, issue_leaf
from fleetprobe.record.amend import apply_amends
from tests.cli.program import FLEETPROBE, environment, run
from tests.scenarios.presenting import key_of, pem, presenting, serving

NOW = datetime.now(UTC).replace(microsecond=0)
LIFE: Life = (NOW - timedelta(1), NOW + timedelta(200))
OVER: Life = (NOW - timedelta(100), NOW - timedelta(1))
HERE = Use(addresses=("127.0.0.1",))
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n"

ROOT = issue_authority("Fix Root", None, LIFE, Rights())
UPPER = issue_authority("Upper CA", ROOT, LIFE, Rights())
LOWER = issue_authority("Lower CA", UPPER, LIFE, Rights())
OLD_UPPER = issue_authority("Upper CA", ROOT, OVER, Rights(), UPPER.key)
PRIVATE = issue_authority("Private Root", None, LIFE, Rights())
PRIVATE_LOWER = issue_authority("Private CA", PRIVATE, LIFE, Rights())
HOSTILE = issue_authority("../../x\n-----BEGIN CERTIFICATE-----\nAAAA\0\x1b[2J", ROOT, LIFE, Rights())

Row = dict[str, Any]


def leaf(issuer: Issued, name: str = "127.0.0.1", life: Life = LIFE) -> Issued:
    return issue_leaf(name, issuer, life, HERE)


BARE = leaf(LOWER)
CHAINS = {
    "bare": (BARE,),
    "whole": (leaf(LOWER), LOWER, UPPER),
    "aged": (leaf(LOWER), LOWER, OLD_UPPER),
    "late": (leaf(LOWER, life=OVER),),
    "private": (leaf(PRIVATE_LOWER),),
    "private-whole": (leaf(PRIVATE_LOWER), PRIVATE_LOWER, PRIVATE),
    "mixed-up": (leaf(LOWER), UPPER, LOWER, ROOT),
    "hostile": (leaf(HOSTILE, "../../" + "x" * 58),),
    "hostile-whole": (leaf(HOSTILE), HOSTILE),
    "twin": (BARE, UPPER),
}


def fingerprint(one: Issued) -> str:
    return hashlib.sha256(one.certificate.public_bytes(Encoding.DER)).hexdigest().upper()


@dataclass(frozen=True)
class Fleet:
    """Where each chain is presented, and the root to trust."""

    ports: Mapping[str, int]
    root: Path

    def scan(self, order: str, *words: str, complaint: str = "") -> list[Row]:
        """One after the other in this order; all records."""
        lines = "".join(f"https://127.0.0.1:{self.ports[name]}/\n" for name in order.split())
        ca = ("--ca-file", str(self.root))
        done = run("scan", "-i", "-", "--concurrency", "1", "--no-config", *ca, *words, stdin=lines)
        assert complaint in done.stderr if complaint else not done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def of(self, records: list[Row], name: str) -> Row:
        return next(one for one in apply_amends(records) if one["server_port"] == self.ports[name])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    root = folder / "our root.pem"
    root.write_bytes(pem(ROOT))
    with ExitStack() as stack:
        ports = {
            name: stack.enter_context(presenting(chain, folder, says=ANSWER)) for name, chain in CHAINS.items()
        }
        yield Fleet(ports, root)


def repair_of(row: Row) -> Row:
    facts: Row = next(one for one in row["layers"] if one["layer"] == "tls")["facts"]
    found: Row = facts.get("repair", {})
    return found


def held(path: Path) -> list[str]:
    """The fingerprints of what a file holds, as another reader of PEM takes it."""
    found = x509.load_pem_x509_certificates(path.read_bytes())
    return [hashlib.sha256(one.public_bytes(Encoding.DER)).hexdigest().upper() for one in found]


def by_openssl(port: int, root: Path) -> bool:
    words = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", str(root), "-verify_return_error"]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False).returncode == 0


def by_curl(port: int, root: Path) -> bool:
    words = ["curl", "-sS", "--noproxy", "*", "--cacert", str(root), f"https://127.0.0.1:{port}/"]
    done = subprocess.run(words, capture_output=True, timeout=20, check=False)
    assert done.returncode in (0, 60), done.stderr  # 60: the certificate is not accepted
    return done.returncode == 0


def by_python(port: int, root: Path) -> bool:
    context = ssl.create_default_context(cafile=str(root))
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="127.0.0.1"):
                return True
        except ssl.SSLCertVerificationError:
            return False


@pytest.mark.parametrize(("broken", "order"), [
    ("bare", "whole bare"), ("bare", "bare whole"), ("aged", "whole aged"), ("aged", "aged whole"),
])
def test_what_three_clients_refuse_they_accept_with_the_file_installed(
    fleet: Fleet, tmp_path: Path, broken: str, order: str
) -> None:
    if any(shutil.which(tool) is None for tool in ("openssl", "curl")):
        pytest.skip("openssl or curl is not installed")
    row = fleet.of(fleet.scan(order, "--fix-dir", str(tmp_path)), broken)
    file, own = Path(repair_of(row)["fix_file"]), CHAINS[broken][0]
    assert file == tmp_path / f"{fingerprint(own)}.pem"
    assert held(file) == [fingerprint(one) for one in (own, LOWER, UPPER)]
    with serving(file.read_bytes(), key_of(own), tmp_path, says=ANSWER) as port:
        for accepts in (by_openssl, by_curl, by_python):
            assert not accepts(fleet.ports[broken], fleet.root)
            assert accepts(port, fleet.root)


@pytest.mark.parametrize("order", ["whole bare", "bare whole"])
def test_the_commands_say_the_same_by_hand(fleet: Fleet, tmp_path: Path, order: str) -> None:
    folder = tmp_path / "to install"
    row = fleet.of(fleet.scan(order, "--fix-dir", str(folder)), "bare")
    verify, connect = row["fix_commands"]
    assert shlex.split(verify)[:4] == ["openssl", "verify", "-CAfile", str(fleet.root)]
    assert shlex.split(verify)[-1] == repair_of(row)["fix_file"] == str(folder / f"{fingerprint(BARE)}.pem")
    assert row["fix"].startswith("Install the file that the first command checks")
    done = subprocess.run(["sh", "-c", verify], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout.strip()[-2:]) == (0, "OK"), done.stderr
    before = subprocess.run(["sh", "-c", connect], capture_output=True, text=True, timeout=20, check=False)
    assert before.returncode != 0, "nothing is installed yet"
    there, here = f":{fleet.ports['bare']} ", ":{} "
    with serving(Path(repair_of(row)["fix_file"]).read_bytes(), key_of(BARE), tmp_path, says=ANSWER) as port:
        after = subprocess.run(
            ["sh", "-c", connect.replace(there, here.format(port))], capture_output=True, timeout=20, check=False
        )
    assert after.returncode == 0


def test_the_commands_and_the_file_are_for_the_store_that_decides(fleet: Fleet, tmp_path: Path) -> None:
    lines = "".join(f"https://127.0.0.1:{fleet.ports[name]}/\n" for name in ("whole", "bare"))
    stores = ("--trust-store", f"corp={fleet.root}", "--trust")
    base = ("scan", "-i", "-", "--concurrency", "1", "--no-config", "--fix-dir", str(tmp_path))
    done = run(*base, *stores, "corp,system", stdin=lines)
    row = fleet.of([json.loads(line) for line in done.stdout.splitlines()], "bare")
    assert [shlex.split(command).count(str(fleet.root)) for command in row["fix_commands"]] == [1, 1]
    assert held(Path(repair_of(row)["fix_file"])) == [fingerprint(one) for one in (BARE, LOWER, UPPER)]
    done = run(*base, *stores, "system", stdin=lines)
    row = fleet.of([json.loads(line) for line in done.stdout.splitlines()], "bare")
    assert "fix_file" not in repair_of(row), "the system's store does not know this root"


def test_without_a_directory_the_certificate_to_add_is_named_and_stands_in_the_records(fleet: Fleet) -> None:
    for order in ("whole bare", "bare whole"):
        records = fleet.scan(order)
        row = fleet.of(records, "bare")
        assert [command.split()[1] for command in row["fix_commands"]] == ["s_client"]
        assert row["fix"].startswith(f"Add CN=Lower CA (SHA-256 {fingerprint(LOWER)[:16]}, from 127.0.0.1:")
        lines = {one["sha256"] for one in records if one["kind"] == "certificate"}
        assert {fingerprint(LOWER), fingerprint(UPPER)} <= lines
        assert "fix_file" not in repair_of(row)


def test_what_comes_from_the_pool_of_an_earlier_run_is_in_the_records_of_this_one(
    fleet: Fleet, tmp_path: Path
) -> None:
    pool = str(tmp_path / "pool.pem")
    fleet.scan("whole", "--pool", pool)
    records = fleet.scan("bare", "--pool", pool)
    kinds = [(one["kind"], one.get("sha256")) for one in records]
    result = next(at for at, (kind, _) in enumerate(kinds) if kind == "result")
    for one in (LOWER, UPPER):
        assert ("certificate", fingerprint(one)) in kinds[:result]


def test_a_file_holds_no_root_and_says_what_was_missing_and_where_it_was(fleet: Fleet, tmp_path: Path) -> None:
    row = fleet.of(fleet.scan("whole bare", "--fix-dir", str(tmp_path)), "bare")
    file = Path(repair_of(row)["fix_file"])
    text = file.read_text("ascii")
    assert fingerprint(ROOT) not in held(file)
    missing = f"127.0.0.1:{fleet.ports['bare']} does not send it; it is from 127.0.0.1:{fleet.ports['whole']}"
    assert text.count(missing) == 2
    assert all(line.startswith("# ") for line in text.partition("-----BEGIN")[0].splitlines())
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert sorted(one.name for one in tmp_path.iterdir()) == [file.name], "and no scratch file is left"


def test_a_chain_out_of_order_is_offered_tidy_beside_a_target_that_works(fleet: Fleet, tmp_path: Path) -> None:
    row = fleet.of(fleet.scan("mixed-up", "--fix-dir", str(tmp_path)), "mixed-up")
    assert (row["state"], row["fix"]) == ("ok", None)
    assert held(Path(repair_of(row)["fix_file"])) == [fingerprint(one) for one in (CHAINS["mixed-up"][0], LOWER, UPPER)]
    (verify,) = row["fix_commands"]
    assert subprocess.run(["sh", "-c", verify], capture_output=True, timeout=20, check=False).returncode == 0
    assert fleet.of(fleet.scan("mixed-up"), "mixed-up")["fix_commands"] == []


@pytest.mark.parametrize(("name", "order", "why"), [
    ("late", "whole late", "has expired: verify code 10 at depth 0"),
    ("late", "late whole", "has expired: verify code 10 at depth 0"),
    ("private", "private-whole private", "its root is not trusted: verify code 20 at depth 1"),
    ("private", "private private-whole", "its root is not trusted: verify code 20 at depth 1"),
])
def test_what_openssl_would_not_accept_is_not_offered_and_the_facts_say_why(
    fleet: Fleet, tmp_path: Path, name: str, order: str, why: str
) -> None:
    row = fleet.of(fleet.scan(order, "--fix-dir", str(tmp_path)), name)
    assert row["code"] == "tls.missing_intermediate"
    assert why in repair_of(row)["fix_refused"]
    assert [command.split()[1] for command in row["fix_commands"]] == ["s_client"]
    assert list(tmp_path.iterdir()) == []


def test_a_healthy_fleet_leaves_an_empty_directory(fleet: Fleet, tmp_path: Path) -> None:
    row = fleet.of(fleet.scan("whole", "--fix-dir", str(tmp_path / "a" / "b")), "whole")
    assert (repair_of(row), row["fix_commands"]) == ({}, [])
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_names_from_the_network_get_into_no_path_and_no_line_of_their_own(fleet: Fleet, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "down"
    row = fleet.of(fleet.scan("hostile-whole hostile", "--fix-dir", str(folder)), "hostile")
    own = CHAINS["hostile"][0]
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.pem")] == [
        f"deep/down/{fingerprint(own)}.pem"
    ]
    file = Path(repair_of(row)["fix_file"])
    assert held(file) == [fingerprint(own), fingerprint(HOSTILE)]
    comments = file.read_bytes().partition(b"\n-----BEGIN")[0]
    assert b"-----" not in comments
    assert b"\x1b" not in comments
    verify = row["fix_commands"][0]
    assert subprocess.run(["sh", "-c", verify], capture_output=True, timeout=20, check=False).returncode == 0


def test_targets_that_share_a_leaf_share_its_file(fleet: Fleet, tmp_path: Path) -> None:
    for _ in range(2):
        records = fleet.scan("twin whole bare", "--fix-dir", str(tmp_path))
        files = {repair_of(fleet.of(records, name))["fix_file"] for name in ("twin", "bare")}
        assert files == {str(tmp_path / f"{fingerprint(BARE)}.pem")}
        assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", ["file", "link", "dangling", "pipe", "folder"])
def test_what_somebody_else_put_there_is_left_alone(fleet: Fleet, tmp_path: Path, kind: str) -> None:
    taken, other = tmp_path / f"{fingerprint(BARE)}.pem", tmp_path / "precious"
    other.write_text("precious")
    match kind:
        case "file":
            taken.write_text("precious")
        case "link":
            taken.symlink_to(other)
        case "dangling":
            taken.symlink_to(tmp_path / "nowhere")
        case "pipe":
            os.mkfifo(taken)
        case _:
            taken.mkdir()
    row = fleet.of(fleet.scan("whole bare", "--fix-dir", str(tmp_path)), "bare")
    file = Path(repair_of(row)["fix_file"])
    assert file.name.startswith(f"{fingerprint(BARE)}-")
    assert held(file) == [fingerprint(one) for one in (BARE, LOWER, UPPER)]
    assert other.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_leaf_whose_both_names_are_taken_is_told_and_costs_the_run_nothing(fleet: Fleet, tmp_path: Path) -> None:
    fleet.scan("whole bare", "--fix-dir", str(tmp_path))
    (written,) = tmp_path.iterdir()
    written.write_text("mine")
    fleet.scan("whole bare", "--fix-dir", str(tmp_path))
    (second,) = (one for one in tmp_path.iterdir() if one != written)
    second.write_text("mine too")
    records = fleet.scan("whole bare", "--fix-dir", str(tmp_path), complaint="hold something else")
    assert "hold something else" in repair_of(fleet.of(records, "bare"))["fix_refused"]
    assert (written.read_text(), second.read_text()) == ("mine", "mine too")


@pytest.mark.parametrize("kind", ["file", "below a file", "too long", "not ours"])
def test_a_directory_that_cannot_be_written_is_an_error_before_anything_is_sent(
    fleet: Fleet, tmp_path: Path, kind: str
) -> None:
    plain = tmp_path / "plain"
    plain.write_text("")
    paths = {"file": str(plain), "below a file": str(plain / "x"), "too long": "x" * 300, "not ours": "/proc/fixes"}
    path = paths[kind]
    output = tmp_path / "out.jsonl"
    words = ("scan", f"https://127.0.0.1:{fleet.ports['bare']}/", "-o", str(output), "--no-config")
    done = run(*words, "--fix-dir", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--fix-dir" in done.stderr and len(done.stderr.splitlines()) == 1
    assert not output.exists()


def test_a_disk_that_is_full_costs_the_files_and_not_the_run(fleet: Fleet, tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for the full disk: a file may be made and tried, and no chain gets into it."""
    folder = tmp_path / "fixes"
    lines = "".join(f"https://127.0.0.1:{fleet.ports[name]}/\n" for name in ("whole", "bare"))
    done = subprocess.run(
        [*FLEETPROBE, "scan", "-i", "-", "--concurrency", "1", "--no-config", "--ca-file", str(fleet.root),
         "--fix-dir", str(folder)],
        input=lines, capture_output=True, text=True, timeout=60, check=False, env=environment(),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
    )
    assert done.returncode == 1, done.stderr
    row = fleet.of([json.loads(line) for line in done.stdout.splitlines()], "bare")
    assert row["code"] == "tls.missing_intermediate"
    assert os.strerror(errno.EFBIG) in repair_of(row)["fix_refused"]
    assert [command.split()[1] for command in row["fix_commands"]] == ["s_client"]
    assert row["fix"].startswith("Add CN=Lower CA")
    assert done.stderr.count(os.strerror(errno.EFBIG)) == 1
    assert list(folder.iterdir()) == []


def test_a_directory_that_looks_like_an_option_is_none(fleet: Fleet, tmp_path: Path) -> None:
    lines = "".join(f"https://127.0.0.1:{fleet.ports[name]}/\n" for name in ("whole", "bare"))
    words = ["scan", "-i", "-", "--concurrency", "1", "--no-config", "--ca-file", str(fleet.root), "--fix-dir=-x"]
    done = run(*words, stdin=lines, cwd=tmp_path)
    row = fleet.of([json.loads(line) for line in done.stdout.splitlines()], "bare")
    verify = subprocess.run(["sh", "-c", row["fix_commands"][0]], capture_output=True, cwd=tmp_path, check=False)
    assert verify.returncode == 0
