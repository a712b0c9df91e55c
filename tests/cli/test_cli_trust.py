"""Trust by label through the whole program: real handshakes on loopback, two bundles, and what the records say."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.cli.program import run

OURS, THEIRS = trustme.CA(organization_name="Ours"), trustme.CA(organization_name="Theirs")
NO_SYSTEM = {"SSL_CERT_DIR": "", "SSL_CERT_FILE": "/nonexistent/ca.pem"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A TLS server under OURS, whose root is not sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    OURS.create_child_ca().issue_cert("localhost", "127.0.0.1").configure_cert(context)
    listening = socket.create_server(("127.0.0.1", 0))

    def talk(peer: socket.socket) -> None:
        peer.settimeout(10)
        with suppress(OSError), peer, context.wrap_socket(peer, server_side=True) as secured:
            secured.recv(1)

    def accept() -> None:
        with suppress(OSError):
            while True:
                peer, _ = listening.accept()
                threading.Thread(target=talk, args=(peer,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"tls://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("stores")
    named = []
    for name, authority in (("ours", OURS), ("theirs", THEIRS)):
        path = folder / f"{name}.pem"
        authority.cert_pem.write_to_path(path)
        named += ["--trust-store", f"{name}={path}"]
    return named


def scan(*args: str, stdin: str = "") -> tuple[int, list[dict[str, Any]]]:
    done = run("scan", "--no-config", "--format", "jsonl", "--mtu", "never", *args, stdin=stdin, env=NO_SYSTEM)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def result(rows: list[dict[str, Any]]) -> dict[str, Any]:
    (row,) = [row for row in rows if row["kind"] == "result"]
    return row


def tls_facts(row: dict[str, Any]) -> dict[str, Any]:
    facts = next(step["facts"] for step in row["layers"] if step["layer"] == "tls")
    assert isinstance(facts, dict)
    return facts


def fingerprint(authority: trustme.CA) -> str:
    return sha256(x509.load_pem_x509_certificate(authority.cert_pem.bytes()).public_bytes(Encoding.DER)).hexdigest()


def test_the_first_label_fails_and_the_second_passes(server: str, flags: list[str]) -> None:
    code, rows = scan(*flags, "--trust", "theirs,ours", server)
    row = result(rows)
    assert (code, row["state"], row["code"]) == (1, "fail", "tls.untrusted_root")
    assert row["summary"].startswith("fails for theirs, passes for ours: ")
    facts = tls_facts(row)
    assert facts["trust"] == "theirs"
    assert list(facts["trusts"]) == ["theirs", "ours"]
    assert facts["trusts"]["theirs"]["verify_errors"][0]["code"] == 20
    assert facts["trusts"]["ours"]["verify_errors"] == []
    assert facts["trusts"]["ours"]["trust_anchor"]["sha256"] == fingerprint(OURS).upper()


def test_the_first_label_passes_and_the_second_fails(server: str, flags: list[str]) -> None:
    code, rows = scan(*flags, "--trust", "ours,theirs", server)
    row = result(rows)
    assert (code, row["state"], row["code"]) == (0, "ok", None)
    (warning,) = row["findings"]
    assert (warning["code"], warning["severity"]) == ("tls.issuer_unknown", "warn")
    assert warning["summary"].startswith("passes for ours, fails for theirs: ")
    assert warning["facts"]["trust_verify_codes"] == {"ours": 0, "theirs": 20}


def test_run_start_has_every_store_that_can_be_named(server: str, flags: list[str]) -> None:
    _, rows = scan(*flags, "--trust", "ours", server)
    told = rows[0]["vantage_facts"]
    assert told["trust"] == told["trusts"]["ours"]
    assert {"ours", "theirs", "system"} <= set(told["trusts"])
    assert "cannot be read" in told["trusts"]["system"]["unusable"]
    for label, authority in (("ours", OURS), ("theirs", THEIRS)):
        store = told["trusts"][label]
        assert (store["count"], store["skipped"], store["by"]) == (1, 0, "ca_file")
        assert store["source"].endswith(f"{label}.pem")
        assert store["sha256"] == sha256(fingerprint(authority).encode()).hexdigest().upper()


def test_an_inventory_line_has_its_own_labels_whatever_the_run_trusts(
    server: str, flags: list[str], tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.pem"
    THEIRS.cert_pem.write_to_path(theirs)
    code, rows = scan(*flags, "--ca-file", str(theirs), "-i", "-", stdin=f"{server} trust=ours\n")
    assert (code, result(rows)["state"]) == (0, "ok")
    assert rows[0]["vantage_facts"]["trust"]["source"] == str(theirs)
    code, rows = scan(*flags, "--ca-file", str(theirs), server)
    assert (code, result(rows)["code"], tls_facts(result(rows))["trust"]) == (1, "tls.untrusted_root", "ca_file")


@pytest.mark.parametrize(("label", "word"), [("korp", "unknown trust korp"), ("system", "cannot be read")])
def test_a_label_that_cannot_be_used_is_a_bad_line_with_its_place(
    label: str, word: str, server: str, flags: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "fleet.txt"
    path.write_text(f"# one\n{server} trust={label}\n{server} trust=ours\n")
    _, rows = scan(*flags, "--trust", "ours", "-i", str(path))
    bad = next(row for row in rows if row["kind"] == "result" and row["code"] == "input.invalid")
    assert bad["source"] == f"{path}:2"
    assert word in bad["summary"]


@pytest.mark.parametrize("args", [["--trust", "korp"], ["--trust-store", "korp=/nonexistent"], ["--trust", "system"]])
def test_a_run_whose_own_trust_cannot_be_used_does_not_begin(args: list[str], server: str) -> None:
    assert scan(*args, server) == (2, [])


def test_check_shows_what_each_store_says(server: str, flags: list[str]) -> None:
    done = run(
        "check", "--no-config", "--format", "human", "--mtu", "never", *flags, "--trust", "theirs,ours", server,
        env=NO_SYSTEM,
    )
    assert "trust theirs: fails, verify code 20" in done.stdout
    assert "trust ours: passes up to" in done.stdout
