"""What the comparison of TLS tools reads out of their words, on outputs that they gave, and how it judges."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tls_tools import TOOLS, Ask
from benchmarks.tls_words import WORDS, names_the_cause
from fleetprobe.codes.table import CODES
from tests.zoo.book import Book, Nginx, Server, fails, ok
from tests.zoo.rows import write_book

TOLD = {tool.title: tool.told for tool in TOOLS}
S_CLIENT = """\
depth=0 CN = NAME
verify error:num=20:unable to get local issuer certificate
verify return:1
depth=0 CN = NAME
verify error:num=21:unable to verify the first certificate
CONNECTION ESTABLISHED
Verification error: unable to verify the first certificate
DONE
"""
S_CLIENT_REFUSED = "4007:error:0A000410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure:../ssl/rec.c:1:\n"


def server(causes: Sequence[str]) -> Server:
    book = Book(20, 20_000)
    book.add("one", "", Nginx(), [], fails(causes[0], *causes[1:]) if causes else ok())
    return book.servers[0]


def asked(tmp_path: Path, report: Any = None) -> Ask:
    ask = Ask(server([]), "one.zoo.test", tmp_path / "ca.pem", tmp_path / "report.json")
    if report is not None:
        ask.report.write_text(json.dumps(report))
    return ask


@pytest.mark.parametrize(
    ("title", "text", "words"),
    [
        ("curl", "200\n", "ok"),
        ("curl", "421\n", "HTTP 421"),
        ("curl", "000\ncurl: (60) SSL certificate problem: certificate has expired\n",
         "(60) SSL certificate problem: certificate has expired"),
        ("openssl s_client", S_CLIENT, "20, 21: unable to verify the first certificate"),
        ("openssl s_client", "CONNECTION ESTABLISHED\nVerification: OK\nDONE\n", "ok"),
        ("openssl s_client", S_CLIENT_REFUSED, "sslv3 alert handshake failure"),
        ("openssl s_client", "write:errno=104\n", "errno 104 (Connection reset by peer)"),
        ("testssl.sh", "", "exit 1, no verdict"),
        ("sslyze", "", "exit 1, no verdict"),
    ],
)
def test_words_are_taken_from_what_is_printed(tmp_path: Path, title: str, text: str, words: str) -> None:
    assert TOLD[title](asked(tmp_path), text, 1) == words


def test_testssl_is_read_from_its_report(tmp_path: Path) -> None:
    fine = {"id": "cert_chain_of_trust", "severity": "OK", "finding": "passed."}
    bad = {"id": "cert_chain_of_trust", "severity": "CRITICAL", "finding": "failed (chain incomplete)."}
    noise = {"id": "cert_revocation", "severity": "HIGH", "finding": "Neither CRL nor OCSP URI provided"}
    assert TOLD["testssl.sh"](asked(tmp_path, [fine, noise]), "", 0) == "ok"
    assert TOLD["testssl.sh"](asked(tmp_path, [bad, noise]), "", 0) == "chain_of_trust: failed (chain incomplete)."


def test_sslyze_is_read_from_its_report(tmp_path: Path) -> None:
    path = {"trust_store": {"name": "Supplied CA file"}, "was_validation_successful": False,
            "validation_error": "validation failed: no (encountered processing <x>)"}
    deployment = {"path_validation_results": [path], "received_chain_has_valid_order": False,
                  "received_chain_contains_anchor_certificate": None, "verified_chain_has_sha1_signature": None}
    attempt = {"status": "COMPLETED", "result": {"certificate_deployments": [deployment]}}
    result = {"connectivity_status": "COMPLETED", "scan_result": {"certificate_info": attempt}}
    report = {"server_scan_results": [result]}
    assert TOLD["sslyze"](asked(tmp_path, report), "", 0) == "validation failed: no; chain out of order"


@pytest.mark.parametrize(
    ("causes", "text", "named"),
    [
        (["tls.missing_intermediate"], "failed (chain incomplete)", True),
        (["tls.missing_intermediate"], "20, 21: unable to get local issuer certificate", False),
        (["tls.issuer_unknown"], "20, 21: unable to get local issuer certificate", True),
        (["tls.self_signed"], "18: self-signed certificate", True),
        (["tls.self_signed"], "19: self-signed certificate in certificate chain", False),
        (["tls.untrusted_root"], "19: self-signed certificate in certificate chain", True),
        ([], "ok", True),
        ([], "(60) SSL certificate problem", False),
        (["tls.expired"], "ok", False),
    ],
)
def test_a_text_that_stands_for_two_causes_names_neither(causes: Sequence[str], text: str, named: bool) -> None:
    assert names_the_cause(server(causes), "curl", text, ()) is named


def test_we_are_judged_by_code_and_by_every_finding_that_is_due() -> None:
    both = server(["tls.missing_intermediate", "tls.expired"])
    assert names_the_cause(both, "fleetprobe", "", ("fail", "tls.missing_intermediate", "proven", "tls.expired"))
    assert not names_the_cause(both, "fleetprobe", "", ("fail", "tls.missing_intermediate", "proven"))
    assert not names_the_cause(server([]), "fleetprobe", "", ("fail", "tls.expired", "observed"))


def test_every_cause_in_the_zoo_has_its_words_and_each_of_them_is_a_code() -> None:
    causes = {server.causes[0] for server in write_book(20, 20_000).servers}
    assert causes - {"ok"} <= set(WORDS) <= set(CODES)
