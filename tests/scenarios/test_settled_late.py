"""A gap that only a later target closes: amend records, whatever the order and wherever the records go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from fleetprobe.lab.issue import Issued, Life, Rights, Use, issue_authority, issue_leaf
from fleetprobe.record.amend import apply_amends
from fleetprobe.record.columns import AMEND
from tests.cli.program import run
from tests.scenarios.presenting import presenting

NOW = datetime.now(UTC).replace(microsecond=0)
LIFE: Life = (NOW - timedelta(1), NOW + timedelta(200))
OVER: Life = (NOW - timedelta(100), NOW - timedelta(1))
HERE = Use(addresses=("127.0.0.1",))

ROOT = issue_authority("Root", None, LIFE, Rights())
UPPER = issue_authority("Upper", ROOT, LIFE, Rights())
LOWER = issue_authority("Lower", UPPER, LIFE, Rights())
PRIVATE = issue_authority("Private Root", None, LIFE, Rights())
BRIDGE = issue_authority("Private Root", ROOT, LIFE, Rights(), PRIVATE.key)
OLD_UPPER = issue_authority("Upper", ROOT, OVER, Rights(), UPPER.key)

Row = dict[str, Any]


def leaf(issuer: Issued) -> Issued:
    return issue_leaf("127.0.0.1", issuer, LIFE, HERE)


CHAINS = {
    "bare": (leaf(LOWER),),
    "half": (leaf(LOWER), LOWER),
    "whole": (leaf(LOWER), LOWER, UPPER),
    "aged": (leaf(LOWER), LOWER, OLD_UPPER),
    "private": (leaf(PRIVATE), PRIVATE),
    "bridge": (leaf(ROOT), BRIDGE),
    "nobody": (leaf(issue_authority("Nobody", None, LIFE, Rights())),),
}
EXPECTED = {
    "bare": ("fail", "tls.missing_intermediate", "proven"),
    "half": ("fail", "tls.missing_intermediate", "proven"),
    "whole": ("ok", None, None),
    "aged": ("fail", "tls.expired", "observed"),
    "private": ("fail", "tls.missing_intermediate", "proven"),
    "bridge": ("ok", None, None),
    "nobody": ("fail", "tls.issuer_unknown", "inferred"),
}


@dataclass(frozen=True)
class Fleet:
    """Where each chain is presented, and the root to trust."""

    ports: Mapping[str, int]
    root: Path

    def scan(self, order: str, *words: str) -> tuple[list[Row], int]:
        """One after the other in this order; all records, and the exit code."""
        lines = "".join(f"tls://127.0.0.1:{self.ports[name]}\n" for name in order.split())
        done = run(
            "scan", "-i", "-", "--concurrency", "1", "--ca-file", str(self.root), "--no-config", *words, stdin=lines
        )
        assert not done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.returncode

    def verdicts(self, records: list[Row]) -> dict[str, tuple[str, str | None, str | None]]:
        names = {port: name for name, port in self.ports.items()}
        told = apply_amends(records)
        return {names[one["server_port"]]: (one["state"], one["code"], one["confidence"]) for one in told}

    def of(self, records: list[Row], name: str) -> Row:
        return next(one for one in apply_amends(records) if one["server_port"] == self.ports[name])


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("chains")
    root = folder / "root.pem"
    root.write_bytes(ROOT.certificate.public_bytes(Encoding.PEM))
    with ExitStack() as stack:
        ports = {name: stack.enter_context(presenting(chain, folder)) for name, chain in CHAINS.items()}
        yield Fleet(ports, root)


ORDERS = (
    "bare half aged private nobody whole bridge",
    "whole bridge bare half aged private nobody",
    "nobody private bridge aged whole half bare",
)


@pytest.mark.parametrize("order", ORDERS)
def test_the_verdicts_do_not_depend_on_the_order(fleet: Fleet, order: str) -> None:
    records, code = fleet.scan(order)
    assert code == 1
    assert fleet.verdicts(records) == EXPECTED
    assert all(one["settled"] for one in apply_amends(records))


def test_what_is_seen_too_late_is_said_afterwards_and_counted(fleet: Fleet) -> None:
    records, _ = fleet.scan("bare whole")
    kinds = [one["kind"] for one in records if one["kind"] != "certificate"]
    assert kinds == ["run_start", "result", "result", "amend", "run_end"]
    result, amend, end = records[kinds.index("result")], *records[-2:]
    result = next(one for one in records if one["kind"] == "result")
    assert (result["code"], result["settled"]) == ("tls.issuer_unknown", False)
    assert amend["was"] == {"state": "fail", "code": "tls.issuer_unknown", "confidence": "inferred"}
    assert set(amend) == set(AMEND)
    fields = amend["fields"]
    assert fields["settled"] is True
    assert f"127.0.0.1:{fleet.ports['whole']} presents it" in fields["summary"]
    assert fields["could_also_be"] == []
    repair = next(one for one in fields["layers"] if one["layer"] == "tls")["facts"]["repair"]
    assert [one["subject"] for one in repair["missing"]] == ["CN=Lower", "CN=Upper"]
    assert fields["addresses"][0]["code"] == "tls.missing_intermediate"
    assert end["counts_by_code"] == {"tls.missing_intermediate": 1}
    assert end["counts_by_state"] == {"fail": 1, "ok": 1}
    assert end["lines"] == len(records) - 1


def test_what_is_seen_in_time_needs_no_amendment(fleet: Fleet) -> None:
    records, _ = fleet.scan("whole bare")
    assert [one["kind"] for one in records if one["kind"] == "amend"] == []
    assert fleet.of(records, "bare")["code"] == "tls.missing_intermediate"


def test_a_file_is_read_back_from_where_this_run_began(fleet: Fleet, tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    fleet.scan("bare", "-o", str(output), "-q")
    before = output.stat().st_size
    fleet.scan("bare nobody whole", "-o", str(output), "-q", "--append")
    added = output.read_bytes()[before:]
    records = [json.loads(line) for line in added.splitlines()]
    amended = [one for one in records if one["kind"] == "amend"]
    assert {one["run_id"] for one in amended} == {records[0]["run_id"]}
    assert [len(one["fields"]) > 1 for one in amended] == [True, False], "the second one stays as it is"
    end = records[-1]
    assert end["lines_sha256"] == hashlib.sha256(b"".join(added.splitlines(True)[:-1])).hexdigest().upper()


def test_an_issuer_out_of_date_is_replaced_by_what_another_host_presents(fleet: Fleet) -> None:
    records, _ = fleet.scan("aged whole")
    finding = next(one for one in fleet.of(records, "aged")["layers"] if one["layer"] == "tls")["facts"]
    assert finding["repair"]["missing"][0]["subject"] == "CN=Upper"


def test_what_one_run_has_learnt_the_next_one_knows(fleet: Fleet, tmp_path: Path) -> None:
    pool = tmp_path / "kept" / "pool.pem"
    fleet.scan("whole", "--pool", str(pool))
    assert pool.read_bytes().count(b"BEGIN CERTIFICATE") == 2
    records, _ = fleet.scan("bare", "--pool", str(pool))
    assert records[0]["vantage_facts"]["pool"] == {"source": str(pool), "count": 2}
    told = fleet.of(records, "bare")
    assert (told["code"], told["settled"]) == ("tls.missing_intermediate", True)
    assert "an earlier run" in told["summary"]
    assert fleet.verdicts(fleet.scan("bare")[0])["bare"][1] == "tls.issuer_unknown", "without the file"


@pytest.mark.parametrize("broken", ["folder", "device"])
def test_a_pool_that_cannot_be_read_is_an_error_before_anything_is_sent(
    fleet: Fleet, tmp_path: Path, broken: str
) -> None:
    path = str(tmp_path) if broken == "folder" else "/dev/zero"
    done = run("scan", f"tls://127.0.0.1:{fleet.ports['bare']}", "--pool", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert path in done.stderr


ADDRESSES = tuple(f"127.0.0.{number}" for number in range(2, 6))


def of_tomorrow(folder: Path, date: datetime, stack: ExitStack) -> str:
    """Four servers with certificates that begin in a day, and this Date in their answers; their URLs, one a line."""
    says = f"HTTP/1.1 200 OK\r\nDate: {format_datetime(date, usegmt=True)}\r\nContent-Length: 0\r\n\r\n".encode()
    life = (NOW + timedelta(1), NOW + timedelta(90))
    lines = ""
    for address in ADDRESSES:
        chain = (issue_leaf(address, ROOT, life, Use(addresses=(address,))),)
        port = stack.enter_context(presenting(chain, folder, address=address, says=says))
        lines += f"https://{address}:{port}/\n"
    return lines


@pytest.mark.parametrize(
    ("ahead", "expected", "code"),
    [
        (timedelta(2), ("unknown", "local.clock_skew", "observed"), 3),
        (timedelta(0), ("fail", "tls.not_yet_valid", "observed"), 1),
        (timedelta(hours=2), ("fail", "tls.not_yet_valid", "observed"), 1),
    ],
)
def test_a_wrong_clock_of_ours_is_no_fault_of_certificates(
    fleet: Fleet, tmp_path: Path, ahead: timedelta, expected: tuple[str, str, str], code: int
) -> None:
    with ExitStack() as stack:
        lines = of_tomorrow(tmp_path, NOW + ahead, stack)
        done = run("scan", "-i", "-", "--ca-file", str(fleet.root), "--no-config", stdin=lines)
    records = [json.loads(line) for line in done.stdout.splitlines()]
    told = list(apply_amends(records))
    assert {(one["state"], one["code"], one["confidence"]) for one in told} == {expected}
    assert all(one["settled"] for one in told)
    assert (done.returncode, records[-1]["counts_by_code"]) == (code, {expected[1]: len(ADDRESSES)})


def test_a_result_that_our_clock_spoilt_says_so_in_every_place(fleet: Fleet, tmp_path: Path) -> None:
    with ExitStack() as stack:
        lines = of_tomorrow(tmp_path, NOW + timedelta(2), stack)
        done = run("scan", "-i", "-", "--ca-file", str(fleet.root), "--no-config", stdin=lines)
    told = list(apply_amends(json.loads(line) for line in done.stdout.splitlines()))
    assert len(told) == len(ADDRESSES)
    for one in told:
        assert [(at["outcome"], at["code"]) for at in one["addresses"]] == [("unknown", "local.clock_skew")]
        entries = {entry["layer"]: (entry["outcome"], entry["code"]) for entry in one["layers"]}
        assert entries["local"] == ("unknown", "local.clock_skew")
        assert entries["tls"] == ("unknown", None)
        assert one["layers"][0]["facts"]["servers"] == len(ADDRESSES)
        assert "tls" not in one["proven_layers"]
        assert "tls.not_yet_valid" not in {entry["code"] for entry in one["findings"]}
